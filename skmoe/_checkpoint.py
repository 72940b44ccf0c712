"""Checkpoint files: plain values and arrays, without pickle, written in one piece."""

import copy
import importlib
import io
import json
import os
import time
import zipfile
import zlib

import numpy as np

from ._fit import make_result

FORMAT = 1
_PACKAGE = __name__.partition(".")[0]
# What reading a damaged file may raise.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)
# Iterations between two writes at least, and how many times as long as a write takes.
_LEAST_ITER, _LEAST_SHARE = 5, 20.0


class Unstorable(TypeError):
    """A value that cannot be in a checkpoint; the message says where and what it is."""


# -- values to plain trees and back ----------------------------------------------------


def to_tree(value, given=None, where=""):
    """A value as lists, dicts, scalars, strings and arrays.

    Parameters
    ----------
    value : object
        None, scalars, strings, arrays, tuples, lists, dicts with names as keys, objects of
        this package, and any object of the same class as ``given``, if what they hold is
        such values. What is no such value must be held by ``given``, too.
    given : object, default=None
        An object like ``value``, which will be at hand when it is read.
    where : str, default=""
        Name of the value, for an error.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is np.ndarray and value.dtype.kind in "biufcSU":
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biufcSU":
        return {"#": "scalar", "of": value}
    if type(value) is slice:
        ends = [value.start, value.stop, value.step]
        return {"#": "slice", "of": [to_tree(end, None, where) for end in ends]}
    if type(value) in (tuple, list):
        items = [to_tree(item, given, f"{where}[{i}]") for i, item in enumerate(value)]
        return {"#": type(value).__name__, "of": items}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"#": "dict", "of": {k: to_tree(v, given, f"{where}.{k}") for k, v in value.items()}}
    alike = type(value) is type(given)
    if not hasattr(value, "__dict__") or not (alike or _is_own(type(value))):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise Unstorable(f"{where.lstrip('.')} is a {kind}")
    held = {}
    for name, part in vars(value).items():
        known = vars(given).get(name) if alike else None
        try:
            held[name] = to_tree(part, known, f"{where}.{name}")
        except Unstorable:
            if part is not known:
                raise
            held[name] = {"#": "given"}
    if alike:
        return {"#": "alike", "of": held}
    kind = type(value)
    return {"#": "object", "class": [kind.__module__, kind.__qualname__], "of": held}


def from_tree(tree, given=None):
    """The value of a tree; ``given`` as in `to_tree`."""
    if not isinstance(tree, dict):
        return tree
    kind, held = tree["#"], tree.get("of")
    if kind == "scalar":
        return held[()]
    if kind == "slice":
        return slice(*held)
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](from_tree(item, given) for item in held)
    if kind == "dict":
        return {name: from_tree(part, given) for name, part in held.items()}
    if kind == "alike":
        own, known = type(given), vars(given)
    else:
        own, known = _own_class(*tree["class"]), {}
    value = own.__new__(own)
    for name, part in held.items():
        same = isinstance(part, dict) and part["#"] == "given"
        vars(value)[name] = known[name] if same else from_tree(part, known.get(name))
    return value


def _is_own(kind):
    return kind.__module__.partition(".")[0] == _PACKAGE


def _own_class(module, name):
    """A class of this package, and nothing else."""
    if module.partition(".")[0] != _PACKAGE:
        raise ValueError(f"{module}.{name} is no class of {_PACKAGE}")
    kind = getattr(importlib.import_module(module), name)
    if not (isinstance(kind, type) and _is_own(kind)):
        raise ValueError(f"{module}.{name} is no class of {_PACKAGE}")
    return kind


# -- files --------------------------------------------------------------------------------


def write(path, tree):
    """Write a tree of values to a file, which is the old one or the whole new one.

    Parameters
    ----------
    path : Path
    tree : dict
        Of scalars, strings, lists, dicts and arrays.
    """
    arrays = []
    text = json.dumps(_numbered(tree, arrays))
    members = {f"a{i}": array for i, array in enumerate(arrays)}
    header = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        np.savez(file, header=header, **members)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def read(path):
    """Read the tree of a file; ValueError where it is damaged or something else.

    Parameters
    ----------
    path : Path
    """
    try:
        content = io.BytesIO(path.read_bytes())
        with np.load(content, allow_pickle=False) as members:
            tree = json.loads(members["header"].tobytes().decode("utf-8"))
            arrays = [members[f"a{i}"] for i in range(len(members.files) - 1)]
        tree = _filled(tree, arrays)
        if not isinstance(tree, dict) or "format" not in tree:
            raise ValueError("it has no header of a checkpoint")
        return tree
    except _DAMAGE as error:
        raise ValueError(
            f"checkpoint={str(path)!r} is truncated, or no checkpoint of skmoe ({error}). It is "
            f"left as it is: give another path, or delete it to begin anew."
        ) from error


def _numbered(tree, arrays):
    """The tree with places in a list for arrays, which are appended to it."""
    if isinstance(tree, (np.ndarray, np.generic)):
        arrays.append(tree)
        return {"@": len(arrays) - 1}
    if isinstance(tree, list):
        return [_numbered(item, arrays) for item in tree]
    if isinstance(tree, dict):
        return {name: _numbered(item, arrays) for name, item in tree.items()}
    return tree


def _filled(tree, arrays):
    """The inverse of `_numbered`."""
    if isinstance(tree, list):
        return [_filled(item, arrays) for item in tree]
    if isinstance(tree, dict):
        if "@" in tree:
            return arrays[tree["@"]]
        return {name: _filled(item, arrays) for name, item in tree.items()}
    return tree


# -- a fit as a row of trainings ------------------------------------------------------------


class Record:
    """The trainings of one fit: those that are done, and where the present one stands.

    A fit trains several times in a fixed order, one start after the other. In a fit that is
    resumed, the trainings that were done are answered from the file, the one that was
    interrupted goes on, and all else is computed as before.

    Parameters
    ----------
    path : Path
    header : dict
        What the fit is: format, version, data, parameters and random state, as a tree.
    tree : dict, default=None
        What was read from the file; None for a new one.
    """

    def __init__(self, path, header, tree=None):
        self.path, self.header = path, header
        self.done = [] if tree is None else tree["done"]
        self.present = None if tree is None else tree["present"]
        self._number = 0
        self._seconds, self._written = 0.0, -np.inf

    def recording(self, solver):
        """A copy of a solver whose trainings are in the record."""
        twin = copy.copy(solver)
        for name in ("fit", "begin"):
            if hasattr(solver, name):
                setattr(twin, name, self.recorded(getattr(solver, name)))
        return twin

    def recorded(self, fit):
        """A trainer that is answered from the file, or writes to it.

        Parameters
        ----------
        fit : callable
            ``fit(data, parts, monitor, resp, ...) -> FitResult``.
        """

        def train(data, parts, monitor, resp, **options):
            number, self._number = self._number, self._number + 1
            if number < len(self.done):
                return from_tree(self.done[number], _as_result(parts, monitor))
            to_tree(parts, parts)  # what cannot be stored is found out at once
            monitor.saver = Saver(self, parts, monitor)
            result = fit(data, parts, monitor, resp, **options)
            self.done.append(to_tree(result, _as_result(parts, monitor)))
            self.present = None
            self.write()
            return result

        return train

    def write(self):
        """Write the file."""
        began = time.perf_counter()
        write(self.path, {**self.header, "done": self.done, "present": self.present})
        self._written = time.perf_counter()
        self._seconds = self._written - began

    @property
    def is_rested(self):
        """Whether writing again would cost little beside what was done since."""
        return time.perf_counter() - self._written >= _LEAST_SHARE * self._seconds


def _as_result(parts, monitor):
    """Parts in the form of a result, for attributes that are not stored."""
    return make_result(parts, monitor)


class Saver:
    """What a monitor hands the state of a training to.

    Parameters
    ----------
    record : Record
    given : Parts
        That the training began with.
    monitor : Monitor
    """

    def __init__(self, record, given, monitor):
        self.record, self.given, self.monitor = record, given, monitor
        self._pending, self._n_iter = record.present, 0

    def save(self, stage, state):
        """Write the state if it is time.

        Parameters
        ----------
        stage : str
            Name of the loop that can go on from here.
        state : callable
            ``state() -> dict``.
        """
        new = self.monitor.n_iter - self._n_iter
        if new < _LEAST_ITER or not self.record.is_rested:
            return
        tree = to_tree(state(), self.given)
        self.record.present = {"stage": stage, "of": tree, "monitor": self.monitor.state()}
        self.record.write()
        self._n_iter = self.monitor.n_iter

    def resume(self, stage):
        """The state of this loop in the file, and the monitor as it was; else None."""
        present = self._pending
        if present is None or present["stage"] != stage:
            return None
        self._pending = None
        self.monitor.restore(present["monitor"])
        self._n_iter = self.monitor.n_iter
        return from_tree(present["of"], self.given)
