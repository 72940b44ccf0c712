"""Predictions of linear experts under a softmax gate, block by block in raw features."""

import numpy as np
import scipy.sparse as sp

from ._ops import get_ops
from .routing import top_k_route

_BLOCK_ROWS = 2048


class LinearPredictor:
    """Mean (or class probabilities) of the mixture in blocks of rows.

    Nothing of the size of the data is made besides the result: scores of a block stay in
    cache, and with ``top_k`` only the chosen experts are evaluated.

    Parameters
    ----------
    parts : Parts
        With a softmax gate and linear or multinomial experts.
    top_k : int or None
    classify : bool
    bias : ndarray of shape (K,), default=None
        Added to ``log_gate`` in the choice of experts.
    """

    def __init__(self, parts, top_k, classify, bias=None):
        self.ops = get_ops()
        self.classify = classify
        self.bias = bias
        self.n_experts = parts.experts.n_experts
        self.top_k = None if top_k is None or top_k >= self.n_experts else top_k
        self.gate = parts.gate.coef_, parts.gate.intercept_
        slopes, intercept = parts.experts.raw()
        self.n_outputs = intercept.shape[1]
        self.experts = slopes, intercept

    def __call__(self, gate_X, expert_X):
        """Predict.

        Parameters
        ----------
        gate_X, expert_X : ndarray or CSR matrix of shape (n, d)
            Numbers without NaN; the same object where both parts see the same.

        Returns
        -------
        ndarray of shape (n, P)
        """
        shared = gate_X is expert_X and self.top_k is None
        packed = self._packed() if shared else None
        out = np.empty((gate_X.shape[0], self.n_outputs))
        for start in range(0, len(out), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            if self.top_k is not None:
                gate = _scores(self.ops, gate_X, rows, *self.gate)
                self._routed(gate, expert_X[rows], out[rows])
                continue
            if shared:
                scores = _scores(self.ops, gate_X, rows, *packed)
                gate, scores = scores[: self.n_experts], scores[self.n_experts :]
            else:
                gate = _scores(self.ops, gate_X, rows, *self.gate)
                scores = _scores(self.ops, expert_X, rows, *self._flat_experts())
            self.ops.gate_weights(gate)
            if self.classify:
                self.ops.class_probabilities(scores, self.n_experts)
            self.ops.mean_block(gate, scores, out[rows])
        return out

    def _flat_experts(self):
        slopes, intercept = self.experts
        return slopes.reshape(-1, slopes.shape[2]), intercept.ravel()

    def _packed(self):
        slopes, intercept = self._flat_experts()
        return np.vstack([self.gate[0], slopes]), np.concatenate([self.gate[1], intercept])

    def _routed(self, gate, X, out):
        if self.bias is not None:
            indices, log_weights = top_k_route(gate.T, self.top_k, self.bias)
            weights = np.exp(log_weights.T, order="C")
        elif self.top_k == 1:
            indices = np.empty((gate.shape[1], 1), dtype=np.intp)
            self.ops.top_one(gate, indices)
            weights = np.ones((1, len(indices)))
        else:
            indices, log_weights = top_k_route(gate.T, self.top_k)
            weights = np.exp(log_weights.T, order="C")
        pred = np.empty((*indices.shape, self.n_outputs))
        X = X.toarray() if sp.issparse(X) else X
        self.ops.routed_linear(X, indices, *self.experts, pred)
        scores = np.ascontiguousarray(pred.transpose(1, 2, 0)).reshape(-1, len(indices))
        if self.classify:
            self.ops.class_probabilities(scores, self.top_k)
        self.ops.mean_block(weights, scores, out)


def _scores(ops, X, rows, slopes, intercept):
    """Scores (q, m) of a slice of rows: slopes (q, d), intercept (q,)."""
    if sp.issparse(X):
        coef = np.vstack([slopes.T, intercept])
        indptr = X.indptr[rows.start : min(rows.stop, X.shape[0]) + 1]
        out = np.empty((len(intercept), len(indptr) - 1))
        ops.csr_forward(X.data, X.indices, indptr, coef, out)
        return out
    scores = slopes @ X[rows].T
    scores += intercept[:, None]
    return scores


def can_predict(parts):
    """Whether the parts are linear with coefficients for raw features."""
    identity = not hasattr(parts.likelihood, "means")  # predictions are the experts' outputs
    return identity and hasattr(parts.experts, "raw") and hasattr(parts.gate, "block_coef")
