"""Answers of fitted linear experts and their gate for rows of a GPU."""

import numpy as np
from sklearn.base import is_classifier

from ._device_memory import Device
from ._ops import is_on_device, numpy_of

# Rows that are looked at for NaN and infinity at a time.
_ROWS = 2**16
_ANSWERS = ("gate_proba", "predict", "predict_experts", "predict_proba", "route")


def device_answer(estimator, name, X, others, named):
    """What a method answers on a GPU.

    Parameters
    ----------
    estimator : BaseMoE
    name : str
        Of the method.
    X : object
        As given to it.
    others, named : tuple, dict
        Its other arguments.

    Returns
    -------
    CuPy array or tuple of them; arrays of the host for rows of the host
        None where the answer is the host's: for other parts, options or rows than `_can_answer`
        and `_takes` tell of, and without CuPy. What is wrong with rows is told there, too.
    """
    optional = others or any(v is not None and v is not False for v in named.values())
    if name not in _ANSWERS or optional:
        return None
    if not (_can_answer(estimator, name) and _takes(estimator, X)):
        return None
    device = _find_device(X)
    if device is None or not _is_finite(X):
        return None
    return getattr(_Answers(estimator, device), name)(X)


def _is_finite(X):
    """Whether all numbers are finite, where they are and some rows at a time."""
    xp, starts = numpy_of(X), range(0, len(X), _ROWS)
    return all(bool(xp.isfinite(X[start : start + _ROWS]).all()) for start in starts)


def _find_device(X):
    """The device; None where there is none, as where a model is asked that was trained on one."""
    try:
        device = Device()
    except ImportError:
        return None
    return device if is_on_device(X) or device.xp.cuda.is_available() else None


def _can_answer(estimator, name):
    """Whether the fitted parts have products by columns, and means made of NumPy functions."""
    parts = getattr(estimator, "_parts", None)
    if parts is None or estimator._gating.foreign or getattr(estimator, "gate_per_output", False):
        return False
    scores = hasattr(parts.gate, "block_coef") or hasattr(parts.gate, "block_scorer")
    if not (scores and hasattr(parts.experts, "block_coef")):
        return False
    if not getattr(parts.likelihood, "on_device", False):
        return False
    rule = name in ("predict", "predict_proba")
    return not rule or estimator._rule[0] in ("mean", "top1")


def _takes(estimator, X):
    """Whether rows need no more checks than that they are finite."""
    plain = is_on_device(X) or isinstance(X, np.ndarray)
    if not plain or X.ndim != 2 or X.dtype not in (np.float32, np.float64):
        return False
    named = hasattr(estimator, "feature_names_in_")  # rows without names are warned of
    return not named and len(X) > 0 and X.shape[1] == estimator.n_features_in_


class _Columns:
    """Standardised columns of blocks of rows, on a device.

    Parameters
    ----------
    device : Device
    center, scale : ndarray of shape (d,)
    columns : ndarray of int or None
        Which of the columns given; all if None.
    """

    def __init__(self, device, center, scale, columns):
        self.device = device
        self._units = device.send(center), device.send(1.0 / scale)
        self._columns = None if columns is None else device.xp.asarray(columns)
        padding = device.ops.PADDING // 8  # numbers of float64
        self.width = -(-(len(center) + 1) // padding) * padding

    def block(self, X):
        """``[(X - center) / scale, 1]`` and padding: (m, D) -> (m, width), in float64."""
        xp = self.device.xp
        X = X if self._columns is None else X[:, self._columns]
        X = xp.ascontiguousarray(X, dtype=np.float64)
        out = xp.empty((len(X), self.width))
        self.device.ops.standardise(X, *self._units, out)
        return out

    def pack(self, coef):
        """Coefficients (D, q) as (width, q)."""
        packed = np.zeros((self.width, coef.shape[1]))
        packed[: len(coef)] = coef
        return self.device.send(packed)


class _Answers:
    """Methods of a fitted mixture, block by block.

    Parameters
    ----------
    estimator : BaseMoE
    device : Device
    """

    def __init__(self, estimator, device):
        self.estimator, self.device = estimator, device
        self.xp, self.ops = device.xp, device.ops
        parts = estimator._parts
        self.n_experts, gate = estimator.n_experts_, parts.gate
        units = parts.experts.on(None)
        self._rows = _Columns(device, units.center, units.scale, estimator._expert_columns)
        self._coef = self._rows.pack(parts.experts.block_coef())
        own = estimator._gate_columns
        self._gate_rows = _Columns(device, gate.mean_, gate.scale_, own)
        self.likelihood, self._scorer = device.moved(parts.likelihood), None
        if hasattr(gate, "block_scorer"):
            self._scorer = device.moved(gate.block_scorer(self._gate_rows.width))
        else:
            self._gate_coef = self._gate_rows.pack(gate.block_coef())
        self.shape = parts.experts.coef.shape[1:]

    # -- answers -----------------------------------------------------------------------------

    def gate_proba(self, X):
        """Probabilities of experts: (n, K)."""
        return self._by_block(lambda rows: (self.xp.exp(self._log_gate(rows)),), X)[0]

    def route(self, X):
        """Experts (n, k) of each row, best first, and their weights."""
        top_k = self.estimator._top_k

        def answer(rows):
            chosen, log_weights = self._routed(rows, top_k or self.n_experts, top_k is not None)
            return chosen, self.xp.exp(log_weights)

        return self._by_block(answer, X)

    def predict_experts(self, X):
        """Means (n, K) or (n, K, m), or class probabilities, of every expert."""
        found = self._by_block(lambda rows: (self._means(rows),), X)[0]
        flat = not is_classifier(self.estimator) and not self.estimator._many_outputs
        return found[:, :, 0] if flat else found

    def predict(self, X):
        """The mean of the mixture, or the most probable class."""
        if is_classifier(self.estimator):
            labels, codes = self.estimator.classes_, self.predict_proba(X).argmax(axis=1)
            if not is_on_device(codes):
                return labels[codes]
            if labels.dtype.kind in "biuf":
                return self.xp.asarray(labels)[codes]
            return labels[codes.get()]  # words have no place on a device
        return self.estimator._shaped(self._by_block(lambda rows: (self._mixed(rows),), X)[0])

    def predict_proba(self, X):
        """Class probabilities of the mixture: (n, C)."""

        def answer(rows):
            proba = self._mixed(rows)
            return (proba / proba.sum(axis=1)[:, None],)

        return self._by_block(answer, X)[0]

    # -- blocks ------------------------------------------------------------------------------

    def _by_block(self, answer, X):
        """Arrays that blocks of rows are answered by, joined where the rows are."""
        numbers = X.shape[1] + self._rows.width + self._gate_rows.width
        numbers += self.n_experts * (4 * self.shape[1] + 6)
        results = np.broadcast_to(0.0, (len(X), self.n_experts * (self.shape[1] + 1)))
        self.device.plan([results], numbers)
        there, found = is_on_device(X), []
        for rows in self.device.slices(len(X)):
            block = answer(X[rows] if there else self.device.send(X[rows]))
            found.append(block if there else tuple(map(self.xp.asnumpy, block)))
        join = self.xp.concatenate if there else np.concatenate
        return tuple(join(parts) for parts in zip(*found))

    def _log_gate(self, rows):
        """Log probabilities (m, K) of the gate."""
        block = self._gate_rows.block(rows)
        if self._scorer is None:
            scores = self.xp.matmul(block, self._gate_coef)
        else:
            scores = self.xp.empty((self.n_experts, len(block)))
            self._scorer(block, scores)
            scores = self.xp.ascontiguousarray(scores.T)
        self.ops.log_softmax(scores, scores)
        return scores

    def _routed(self, rows, top_k, biased):
        """Chosen experts (m, k), best first, and their log weights."""
        xp, log_gate = self.xp, self._log_gate(rows)
        shape, bias = (len(log_gate), top_k), self.estimator.routing_bias_
        chosen, log_weights = xp.empty(shape, dtype=np.int64), xp.empty(shape)
        if not biased or bias is None:
            self.ops.top_k(log_gate, chosen, log_weights)
            return chosen, log_weights
        self.ops.top_k(log_gate + xp.asarray(bias), chosen, log_weights)
        own = xp.ascontiguousarray(xp.take_along_axis(log_gate, chosen, axis=1))
        self.ops.log_softmax(own, log_weights)
        return chosen, log_weights

    def _means(self, rows):
        """Means or class probabilities of all experts: (m, K, P)."""
        pred = self.xp.matmul(self._rows.block(rows), self._coef).reshape(-1, *self.shape)
        if is_classifier(self.estimator):
            proba = self.xp.exp(pred - pred.max(axis=2)[:, :, None])
            return proba / proba.sum(axis=2)[:, :, None]
        return self.likelihood.means(pred) if hasattr(self.likelihood, "means") else pred

    def _mixed(self, rows):
        """Means (m, P) weighted over the experts of each row."""
        top_k, means = self.estimator._rule[1], self._means(rows)
        if top_k is None:
            weights = self.xp.exp(self._log_gate(rows))
        else:
            chosen, log_weights = self._routed(rows, top_k, True)
            weights = self.xp.exp(log_weights)
            means = self.xp.take_along_axis(means, chosen[:, :, None], axis=1)
        return (weights[:, :, None] * means).sum(axis=1)
