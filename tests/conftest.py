"""Helpers for optional packages and for data sets that are not shipped."""

import importlib
import os
from pathlib import Path

import pytest

# Folder of the data sets beside the checkout, unless SKMOE_DATA names another.
_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
if "SKMOE_DATA" not in os.environ and _BESIDE.is_dir():
    os.environ["SKMOE_DATA"] = str(_BESIDE)

# Packages that need a device: missing ones are skipped even where all others
# are required.
_NEED_DEVICE = {"cupy", "cuml"}


def require(module):
    """Return an optional module; skip the test where it is missing.

    With ``SKMOE_REQUIRE_OPTIONAL=1`` the test fails instead.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there, but broken
        required = os.environ.get("SKMOE_REQUIRE_OPTIONAL") == "1"
        if required and package not in _NEED_DEVICE:
            pytest.fail(f"{package} is missing and SKMOE_REQUIRE_OPTIONAL=1 is set")
        pytest.skip(f"needs the optional package {package}")


def shared_data(name):
    """Return the table of a set in the folder SKMOE_DATA; skip where it is missing."""
    import pandas as pd

    folder = os.environ.get("SKMOE_DATA")
    if not folder:
        pytest.skip("needs the environment variable SKMOE_DATA")
    path = Path(folder) / f"{name}.csv.gz"
    if not path.is_file():
        pytest.skip(f"needs {name}.csv.gz in the folder SKMOE_DATA")
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


@pytest.fixture(name="require")
def _require():
    return require


@pytest.fixture(name="shared_data")
def _shared_data():
    return shared_data


# -- a GPU without a GPU ---------------------------------------------------------------------


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The kernels for a GPU, compiled as C++ once for all tests."""
    import fake_cupy

    from skmoe._ops._cuda import SOURCE

    return fake_cupy.compiled(SOURCE, tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def cupy(library):
    """The stand-in for CuPy."""
    import fake_cupy

    with fake_cupy.in_place_of_cupy(library) as module:
        yield module


@pytest.fixture(params=[True, False], ids=["resident", "sent"])
def few(request, monkeypatch):
    """Small blocks, of rows that stay on the device, or that each pass or batch sends."""
    from skmoe._device_memory import Device

    def plan(self, arrays, row_numbers):
        self.size, self.resident = 128, request.param

    monkeypatch.setattr(Device, "plan", plan)
