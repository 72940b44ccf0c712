"""Export to arrays: a JSON file, or a Python file that needs NumPy only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ._describe import (
    check_exportable,
    describe_experts,
    describe_gate,
    describe_head,
)
from ._runtime import ExportedMixture

_FORMAT = "skmoe mixture, version 1"
_TAIL = '''

MIXTURE = from_json(
    r"""{}"""
)
predict, gate_proba = MIXTURE.predict, MIXTURE.gate_proba
'''


def to_numpy(model, path: str | os.PathLike[str] | None = None, *, dtype=np.float64) -> Any:
    """A mixture of layers as an object that needs NumPy only, and as a Python file.

    For softmax, Gaussian, hierarchical and neural gates, and experts that are linear,
    logistic or multilayer perceptrons (built in, or scikit-learn's).

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        On features that are numbers.
    path : str or path, default=None
        A Python file to write: it holds the arrays, and ``predict``, ``gate_proba`` and, for
        classes, ``predict_proba``.
    dtype : dtype, default=numpy.float64
        Of all arrays; ``numpy.float32`` takes half the memory.

    Returns
    -------
    ExportedMixture
        With ``predict``, ``gate_proba``, ``log_likelihood`` (Gaussian noise or classes) and,
        for classes, ``predict_proba``.

    Raises
    ------
    TypeError
        If a part is not made of layers; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.export import to_numpy
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> exported = to_numpy(model)
    >>> bool(np.allclose(exported.predict(X), model.predict(X)))
    True
    """
    parts = describe(model)
    if path is not None:
        source = Path(__file__).with_name("_runtime.py").read_text(encoding="utf-8")
        tail = _TAIL.format(_text(parts))
        if "classes" in parts:
            tail += "predict_proba = MIXTURE.predict_proba\n"
        Path(path).write_text(source + tail, encoding="utf-8")
    return ExportedMixture(parts, dtype)


def to_json(model, path: str | os.PathLike[str] | None = None) -> str:
    """A mixture of layers as JSON, for any language.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        As in `to_numpy`.
    path : str or path, default=None
        File to write.

    Returns
    -------
    str
        The JSON. `skmoe.export.from_json` reads it.

    Raises
    ------
    TypeError
        If a part is not made of layers; the message names it.

    Examples
    --------
    >>> import json
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.export import to_json
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> sorted(json.loads(to_json(model)))[:4]
    ['expert_names', 'experts', 'feature_names', 'format']
    """
    text = _text(describe(model))
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def describe(model):
    """All of a mixture of layers as a dict of arrays, numbers and words.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier

    Returns
    -------
    dict

    Raises
    ------
    TypeError
        If a part is not made of layers; the message names it.
    """
    check_exportable(model)
    head = describe_head(model)
    gate = None
    if not model._gating.foreign:
        gate = describe_gate(model._parts.gate, model._gate_columns)
    if gate is None:
        raise TypeError(
            f"the gate {type(model.gate_).__name__} is not made of layers, and to_numpy and "
            f"to_json cannot express it; to_onnx may."
        )
    experts = describe_experts(model)
    for name, expert, estimator in zip(model.expert_names_, experts, model.experts_, strict=True):
        if expert is None:
            raise TypeError(
                f"expert {name!r} is a {type(estimator).__name__}, which is not made of layers; "
                f"to_numpy and to_json cannot express it, to_onnx may."
            )
    return {"format": _FORMAT, **head, "gate": gate, "experts": experts}


def _text(parts):
    return json.dumps(parts, default=_plain)


def _plain(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")
