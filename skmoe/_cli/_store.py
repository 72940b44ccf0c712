"""Models on disk."""

from dataclasses import dataclass

import joblib

from ._table import CliError

_TRUSTED = ("skmoe.", "sklearn.", "numpy.", "scipy.", "pandas.", "builtins.", "collections.")


@dataclass
class StoredModel:
    """A fitted pipeline, and what it was fitted to.

    Attributes
    ----------
    model : Pipeline
    target : str
    columns : list of str
        Features.
    classify : bool
    """

    model: object
    target: str
    columns: list
    classify: bool


def check_suffix(path):
    """Raise unless a file of this name can be written and read again."""
    if path.suffix == ".skops":
        _skops()
    elif path.suffix not in (".joblib", ".pkl"):
        raise CliError(f"--out {path} must end in .joblib or .skops.")


def _skops():
    try:
        import skops.io
    except ImportError as error:
        raise CliError(
            "a .skops file needs the package skops (pip install skops); or write a .joblib file."
        ) from error
    return skops.io


def save_model(path, stored):
    """Write a model."""
    try:
        if path.suffix == ".skops":
            _skops().dump(vars(stored), path)
        else:
            joblib.dump(vars(stored), path)
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error}") from error


def load_model(path):
    """Read a model.

    A .skops file may only hold types of skmoe, scikit-learn and what they are made of; a
    .joblib file can run anything, so it should come from somebody whom one trusts.

    Raises
    ------
    CliError
        If there is no such file, or it is no model of this command.
    """
    if not path.is_file():
        raise CliError(f"there is no file {path}.")
    if path.suffix == ".skops":
        io = _skops()
        unknown = io.get_untrusted_types(file=path)
        strange = [name for name in unknown if not name.startswith(_TRUSTED)]
        if strange:
            raise CliError(f"{path} holds types that are not trusted: {', '.join(strange)}.")
        found = io.load(path, trusted=unknown)
    else:
        try:
            found = joblib.load(path)
        except Exception as error:  # whatever a file that is no pickle makes of itself
            raise CliError(f"{path} is no model: {error}") from error
    if not isinstance(found, dict) or set(found) != {"model", "target", "columns", "classify"}:
        raise CliError(f"{path} is no model that `python -m skmoe fit --out` has written.")
    return StoredModel(**found)
