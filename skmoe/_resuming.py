"""``fit(..., checkpoint=path)``: what a fit is, and whether a file is of the same one."""

import hashlib
import os
import re
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from ._checkpoint import FORMAT, Record, from_tree, read, to_tree
from .solvers import EM, Boosting, Pool, Stages

# Parameters that do not change what a fit finds.
_FREE = {"n_jobs", "verbose"}
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LEFT = "It is left as it is: give another path, or delete it to begin anew."


def check_checkpoint(estimator, checkpoint, plan, gating, solver):
    """The path of a checkpoint or None; raises where a fit could not go on from one.

    Parameters
    ----------
    estimator : BaseMoE
    checkpoint : str, path or None
    plan : ExpertPlan
    gating : Gating
    solver : solver

    Returns
    -------
    Path or None
    """
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, (str, os.PathLike)):
        raise TypeError(
            f"checkpoint={checkpoint!r} must be the path of a file, or None for no checkpoint."
        )
    refused = _refused(estimator, plan, gating, solver)
    if refused:
        raise ValueError(
            f"checkpoint={str(checkpoint)!r} does not go with {refused}, whose state it does not "
            f"hold; leave checkpoint out, or train linear, neural or factorised experts by EM(), "
            f"Gradient() or Minibatch()."
        )
    path = Path(checkpoint)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"checkpoint={str(checkpoint)!r} is in {str(path.parent)!r}, and there is no such "
            f"folder; make it first."
        )
    return path


def _refused(estimator, plan, gating, solver):
    """What of a fit has a state that is not stored; None if nothing."""
    gate = gating.gate
    if plan.linear is None:
        return f"experts={estimator.experts!r}"
    own = hasattr(gate, "flat") or hasattr(gate, "updated")
    if gating.foreign or hasattr(gate, "fit_log_proba") or not own:
        return f"gate={estimator.gate!r}"
    if isinstance(solver, (Boosting, Pool, Stages)):
        return f"solver={solver!r}"
    if isinstance(solver, EM) and solver.draws:
        return f"e_step={solver.e_step!r}"
    for name in ("revive", "polish"):
        if getattr(solver, name, False):
            return f"{name}={getattr(solver, name)!r}"
    for name in ("routing", "warm_start"):
        if getattr(estimator, name):
            return f"{name}={getattr(estimator, name)!r}"
    return None


def open_record(estimator, path, door, rng):
    """The record of a fit, and the random numbers that it draws.

    Parameters
    ----------
    estimator : BaseMoE
    path : Path or None
    door : Door
    rng : numpy.random.RandomState

    Returns
    -------
    record : Record or None
    rng : numpy.random.RandomState
        As it was when the fit began first.
    """
    if path is None:
        return None, rng
    version = sys.modules[__package__].__version__
    header = {"format": FORMAT, "skmoe": version, "parameters": parameters_of(estimator)}
    header["data"] = digests(door)
    if not path.exists():
        if estimator.random_state is None:  # what other calls draw in between has no say
            rng = np.random.RandomState(rng.randint(2**32, dtype=np.uint64))
        header["rng"] = to_tree(rng.get_state(legacy=True))
        record = Record(path, header)
        record.write()  # a path that cannot be written to is found out at once
        return record, rng
    found = read(path)
    _compare(path, found, header)
    rng = np.random.RandomState()
    rng.set_state(from_tree(found["rng"]))
    return Record(path, {name: found[name] for name in (*header, "rng")}, found), rng


def _compare(path, found, header):
    """Raise unless a file is of the same fit; the message names what differs."""
    if found["format"] != FORMAT or found.get("skmoe") != header["skmoe"]:
        raise ValueError(
            f"checkpoint={str(path)!r} was written by skmoe {found.get('skmoe')} (format "
            f"{found['format']}), and this is skmoe {header['skmoe']} (format {FORMAT}). {_LEFT}"
        )
    differing = [f"{name} differs" for name in _differing(found["data"], header["data"])]
    for name in _differing(found["parameters"], header["parameters"]):
        was, now = (tree["parameters"].get(name, "absent") for tree in (found, header))
        differing.append(f"{name} was {was} and is {now}")
    if differing:
        raise ValueError(
            f"checkpoint={str(path)!r} is of another fit: {'; '.join(differing)}. {_LEFT}"
        )


def _differing(one, other):
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def parameters_of(estimator):
    """Parameters of an estimator and its parts, by name, as text."""
    params = estimator.get_params(deep=True)
    texts = {name: _text(value) for name, value in params.items()}
    own = {name: text for name, text in texts.items() if name not in _FREE}
    return {"estimator": type(estimator).__name__, **own}


def _text(value):
    """A value as text that is the same in every process."""
    if isinstance(value, np.random.RandomState):
        return "a RandomState"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, np.ndarray) or (isinstance(value, (list, tuple)) and len(value) > 50):
        return f"array {digest(np.asarray(value))}"
    return _ADDRESS.sub("", repr(value))


def digests(door):
    """Checksums of what came through the door, by name."""
    parts = {"X": door.gate_X, "y": door.target, "sample_weight": door.weight}
    if door.expert_X is not door.gate_X:
        parts["X of the experts"] = door.expert_X
    return {name: digest(part) for name, part in parts.items()}


def digest(values):
    """Checksum of an array or CSR matrix, with its shape and type."""
    arrays = [values.data, values.indices, values.indptr] if sp.issparse(values) else [values]
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if not array.flags.c_contiguous and array.ndim > 1:
            for start in range(0, len(array), 4096):
                found.update(np.ascontiguousarray(array[start : start + 4096]))
        else:
            found.update(np.ascontiguousarray(array))
    shape = "x".join(map(str, values.shape))
    return f"{shape} {values.dtype} {found.hexdigest()}"
