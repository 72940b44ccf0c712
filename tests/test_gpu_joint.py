"""Joint descent of networks and trees of gates on a GPU: on the stand-in for CuPy."""

import numpy as np
import pytest
from conftest import require
from numpy.testing import assert_allclose
from sklearn.base import clone

from skmoe import MoEClassifier, MoERegressor, _block_passes
from skmoe._device_joint import DeviceEvaluator
from skmoe._device_memory import Device
from skmoe._ops import is_on_device
from skmoe._whole import WholeEvaluator
from skmoe.datasets import make_moe_regression
from skmoe.experts import FactorExpert, LinearExpert, MLPExpert, _descent
from skmoe.gates import HierarchicalGate, MLPGate, mlp
from skmoe.solvers import Gradient

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_moe_regression(n_samples=300, n_experts=3, random_state=0)
LABELS = np.digitize(Y, np.quantile(Y, [0.4, 0.7]))
COUNTS = np.round(np.exp(np.clip(Y / Y.std(), -2, 2)))
WEIGHT = np.random.RandomState(1).uniform(0.5, 2.0, size=len(Y))
SMALL, DEEP = MLPExpert((5,), activation="tanh"), MLPExpert((5, 4), activation="logistic")
FACTORS = FactorExpert(3)
TREE = HierarchicalGate(((2, 2), 1))
GRADIENT = Gradient(warm_up=1)
TOGETHER = Gradient(objective="prediction")


@pytest.fixture
def few(few, monkeypatch):
    """Small pieces of products, too."""
    monkeypatch.setattr(_block_passes, "_PIECE", 50)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Short first descents on either side: each iteration makes rounding ten times as large."""
    monkeypatch.setattr(_descent, "_FIRST_ITER", 4)
    monkeypatch.setattr(mlp, "_FIRST_ITER", 4)


@pytest.fixture
def passes(monkeypatch):
    """Passes on the device: how far each number is from that of the host, and its size."""
    found, plain = [], DeviceEvaluator.__call__

    def both_ways(self, parts, **more):
        own = plain(self, parts, **more)
        wanted = WholeEvaluator(self.data.on_host())(parts, **more)
        for name, value in vars(wanted).items():
            if value is None:
                assert getattr(own, name) is None
                continue
            apart = np.abs(getattr(own, name) - value).max(initial=0.0)
            found.append((name, apart / (1.0 + np.abs(value).max(initial=0.0))))
        return own

    monkeypatch.setattr(DeviceEvaluator, "__call__", both_ways)
    return found


# -- fits against those of the CPU --------------------------------------------------------------

FITS = {
    "network": (MoERegressor(SMALL), X, Y),
    "two layers": (MoERegressor(DEEP), X, Y),
    "relu": (MoERegressor(MLPExpert((6,), alpha=1.0)), X, Y),
    "single": (MoERegressor(SMALL), X.astype(np.float32), Y),
    "outputs": (MoERegressor(SMALL), X, np.column_stack([Y, X[:, 0] ** 2])),
    "columns": (MoERegressor(SMALL, gate_features=[0, 1], expert_features=[1, 2, 3]), X, Y),
    "classes": (MoEClassifier(SMALL), X, LABELS),
    "factors": (MoERegressor(FACTORS), X, Y),
    "factors, single": (MoERegressor(FACTORS), X.astype(np.float32), Y),
    "factors, outputs": (MoERegressor(FACTORS), X, np.column_stack([Y, X[:, 0] ** 2])),
    "factors, classes": (MoEClassifier(FACTORS, gate=MLPGate((4,))), X, LABELS),
    "gate": (MoERegressor(solver=GRADIENT, gate=MLPGate((6,))), X, Y),
    "gate of two layers": (
        MoERegressor(solver=GRADIENT, gate=MLPGate((6, 4), activation="relu")),
        X,
        Y,
    ),
    "gate of classes": (MoEClassifier(solver=GRADIENT, gate=MLPGate((6,))), X, LABELS),
    "all networks": (MoERegressor(SMALL, gate=MLPGate((6,))), X, Y),
    "all of classes": (MoEClassifier(DEEP, gate=MLPGate((6,))), X, LABELS),
    "tree": (MoERegressor(solver=GRADIENT, gate=TREE), X, Y),
    "tree of networks": (MoERegressor(SMALL, gate=TREE), X, Y),
    "blend": (MoERegressor(solver=TOGETHER), X, np.column_stack([Y, X[:, 0] ** 2])),
    "blend of networks": (MoERegressor(SMALL, gate=MLPGate((6,)), solver=TOGETHER), X, Y),
    "blend of a tree": (MoERegressor(SMALL, gate=TREE, solver=TOGETHER), X, Y),
    "noise": (MoERegressor(SMALL, gate=TREE, likelihood="gaussian_with_noise"), X, Y),
    "tree of classes": (MoEClassifier(SMALL, gate=TREE), X, LABELS),
    "constrained": (MoERegressor(LinearExpert(5.0, l1_ratio=0.5), gate=MLPGate((4,))), X, Y),
}


def ready(name):
    model, rows, target = FITS[name]
    n_experts = 5 if model.gate is TREE else 3
    # Given groups: starts that are looked for end where their steps are small, and rounding tells.
    groups = np.digitize(X[:, 0], np.quantile(X[:, 0], np.arange(1, n_experts) / n_experts))
    settings = {"n_experts": n_experts, "init": np.eye(n_experts)[groups], "n_init": 1}
    return clone(model).set_params(**settings, random_state=0), rows, target


@pytest.mark.parametrize("name", FITS)
def test_fits_are_those_of_the_cpu(cupy, few, passes, name):
    model, rows, target = ready(name)
    model.set_params(max_iter=8)
    here = clone(model).fit(rows, target, sample_weight=WEIGHT)
    assert not passes
    there = clone(model).set_params(device="cuda").fit(rows, target, sample_weight=WEIGHT)
    tolerance = 1e-4 if "single" in name else 1e-9
    assert passes
    assert [one for one in passes if not one[1] <= tolerance] == []
    values, expected = there.history_["objective"], here.history_["objective"]
    assert_allclose(values[:6], expected[:6], rtol=tolerance, atol=tolerance)
    loose = 1e-2 if "single" in name else 1e-6
    assert_allclose(there.predict_experts(X), here.predict_experts(X), atol=10 * loose)
    assert_allclose(there.gate_proba(X), here.gate_proba(X), atol=loose)
    for part in vars(there._parts).values():
        held = [*vars(part).values(), *getattr(part, "layers", getattr(part, "_layers", []))]
        assert not any(map(is_on_device, held))


SHIFTED = np.abs(Y / Y.std()) + 0.1
LAWS = {
    "student_t": Y,
    "asymmetric_laplace": Y,
    "heteroscedastic_gaussian": Y,
    "gamma": SHIFTED,
    "negative_binomial": COUNTS,
    "zero_inflated_poisson": COUNTS,
    "gaussian_with_noise": Y,
    "tweedie": COUNTS,
}


@pytest.mark.parametrize("law", LAWS)
def test_passes_of_laws_are_those_of_the_cpu(cupy, passes, law):
    model = MoERegressor(n_experts=2, likelihood=law, gate=MLPGate((3,)), device="cuda")
    model.set_params(init="kmeans", n_init=1, max_iter=4, random_state=0, solver=GRADIENT)
    model.fit(X, LAWS[law])
    assert {"gram", "gate", "experts", "by_expert"} <= {name for name, _ in passes}
    assert [one for one in passes if not one[1] <= 1e-9] == []


def test_more_experts_warm_starts_and_moves_go_on_there(cupy, passes):
    model = MoERegressor(SMALL, n_experts="auto", max_experts=3, device="cuda", random_state=0)
    model.set_params(max_iter=5, warm_start=True, solver=Gradient(polish=1)).fit(X, Y)
    n_passes = len(passes)
    assert n_passes > 0
    model.fit(X, Y)
    assert len(passes) > n_passes
    assert [one for one in passes if not one[1] <= 1e-9] == []


def test_blocks_leave_room_for_hidden_units(cupy, monkeypatch):
    seen = []
    monkeypatch.setattr(Device, "plan", lambda self, arrays, numbers: seen.append(numbers))
    model = MoERegressor(MLPExpert((7, 3)), n_experts=2, gate=MLPGate((5,)), device="cuda")
    model.set_params(max_iter=1, init="kmeans", n_init=1).fit(X, Y)
    clone(model).set_params(experts=LinearExpert()).fit(X, Y)
    assert seen[0] - seen[1] == 3 * 2 * (7 + 3)


# -- a device, where there is one ------------------------------------------------------------------


@pytest.mark.parametrize("name", FITS)
def test_fits_on_a_device_are_those_of_the_cpu(name):
    module = require("cupy")
    if not module.cuda.is_available():
        pytest.skip("needs a GPU")
    model, rows, target = ready(name)
    model.set_params(max_iter=10)
    here = clone(model).fit(rows, target, sample_weight=WEIGHT)
    there = clone(model).set_params(device="cuda").fit(rows, target, sample_weight=WEIGHT)
    tolerance = 1e-3 if "single" in name else 1e-8
    values, expected = there.history_["objective"], here.history_["objective"]
    assert_allclose(values[:6], expected[:6], rtol=tolerance, atol=tolerance)
