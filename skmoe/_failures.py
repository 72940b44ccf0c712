"""Experts that fail: the mixture goes on with the rest, its gate renormalised."""

import numpy as np
import scipy.special
from sklearn.base import clone

from .routing import rows_by_expert, top_k_route


class ExpertsFailed(Exception):
    """Some experts of a collection failed, and its owner asked to go on without them.

    Attributes
    ----------
    errors : dict of int to Exception
        What each of them raised.
    """

    def __init__(self, errors):
        super().__init__(errors)
        self.errors = errors


def is_own_failure(error):
    """Whether an error is of the expert's own; warnings turned into errors are the user's."""
    return isinstance(error, Exception) and not isinstance(error, (Warning, MemoryError))


def keep_survivors(parts, resp, failure, *, refit):
    """The parts and responsibilities (n, K) of the experts that did not fail.

    Parameters
    ----------
    parts : Parts
    resp : ndarray of shape (n, K)
    failure : ExpertsFailed
    refit : bool
        Whether the gate is fitted next. If not, it has to be able to leave experts out
        as it is.

    Returns
    -------
    parts, resp
    """
    kept = [k for k in range(parts.experts.n_experts) if k not in failure.errors]
    if not kept:
        raise next(iter(failure.errors.values())) from failure
    gate = select_gate(parts.gate, kept, refit=refit)
    chosen = type(parts)(gate, parts.experts.without(failure.errors), parts.likelihood)
    chosen.likelihood = parts.likelihood.selected(kept)
    return chosen, share(resp[:, kept])


def share(resp):
    """Rows that sum to one again; evenly where nothing is left."""
    total = resp.sum(axis=1, keepdims=True)
    even = np.full_like(resp, 1.0 / resp.shape[1])
    return np.divide(resp, total, out=even, where=total > 1e-300)


def select_gate(gate, kept, *, refit):
    """The gate of some of the experts, renormalised.

    Parameters
    ----------
    gate : gate
    kept : list of int
    refit : bool
        Whether it is fitted next, so that a fresh one will do.
    """
    gate = own_gate(gate) if refit else gate
    if hasattr(gate, "selected"):
        return gate.selected(kept)
    if refit and not hasattr(gate, "count_experts"):
        return clone(gate, safe=False)
    return SelectedGate(gate, kept)


class SelectedGate:
    """Some of the experts of a gate that cannot leave experts out by itself.

    Parameters
    ----------
    gate : gate
    experts : list of int
        Those that are left, in their new order.
    """

    def __init__(self, gate, experts):
        self.gate = gate
        self.experts = experts

    def selected(self, kept):
        """A copy with fewer of them."""
        return SelectedGate(self.gate, [self.experts[k] for k in kept])

    def count_experts(self):
        """How many are left."""
        return len(self.experts)

    def fit(self, X, resp, sample_weight=None):
        """Fit the gate; those that are left out get nothing."""
        n_experts = self.gate.count_experts()
        padded = np.zeros((len(resp), n_experts))
        padded[:, self.experts] = resp
        self.gate.fit(X, padded, sample_weight)
        return self

    def log_proba(self, X):
        """Logarithm of the renormalised probabilities: (n, d) -> (n, K)."""
        return renormalised(self.gate.log_proba(X)[:, self.experts])


def own_gate(gate):
    """The gate itself, where it has been left some of its experts and can be fitted to fewer."""
    while isinstance(gate, SelectedGate) and not hasattr(gate.gate, "count_experts"):
        gate = gate.gate
    return gate


def renormalised(log_weights):
    """Log weights (n, k) that sum to one in each row; even where all of them are zero."""
    total = scipy.special.logsumexp(log_weights, axis=1, keepdims=True)
    even = np.full_like(log_weights, -np.log(log_weights.shape[1]))
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(total), log_weights - total, even)


def predict_surviving(experts, X, log_gate, top_k, bias=None):
    """Weights and predictions of the experts that can predict these rows.

    An expert that fails on any row that it is asked for is left out of the whole call.
    A row keeps those of its ``top_k`` experts that are left; where none is, it takes
    the next ones in the order of its gate.

    Parameters
    ----------
    experts : collection with `predict_each`
    X : array, CSR matrix or DataFrame of shape (n, d)
    log_gate : ndarray of shape (n, K)
    top_k : int or None
    bias : ndarray of shape (K,), default=None
        As in `top_k_route`.

    Returns
    -------
    log_weights : ndarray of shape (n, k)
        Minus infinity where the expert failed.
    pred : ndarray of shape (n, k, P)
        Zero where the expert failed.
    indices : ndarray of shape (n, k) of int, or None where ``top_k`` is
    errors : dict of int to Exception
    """
    errors = {}
    if top_k is None:
        parts, errors = experts.predict_each(X)
        found = next((part for part in parts if part is not None), None)
        _check_any_left(found is not None, errors)
        pred = np.stack([np.zeros_like(found) if p is None else p for p in parts], axis=1)
        return (_without(log_gate, list(errors)) if errors else log_gate), pred, None, errors
    while True:
        indices, log_weights = _route_surviving(log_gate, top_k, list(errors), bias)
        asked = np.where(np.isin(indices, list(errors)), len(log_gate.T), indices)
        groups = rows_by_expert(asked, log_gate.shape[1] + 1)[:-1]
        parts, new = experts.predict_each(X, [rows for rows, _ in groups])
        if not new:
            break
        errors.update(new)
        _check_any_left(len(errors) < log_gate.shape[1], errors)
    width = max(part.shape[1] for part in parts)
    pred = np.zeros((*indices.shape, width))
    for part, (rows, slots) in zip(parts, groups):
        pred[rows, slots] = part
    return log_weights, pred, indices, errors


def _check_any_left(left, errors):
    if not left:
        raise ValueError(
            f"no expert is left to predict: {'; '.join(str(error) for error in errors.values())}"
        ) from next(iter(errors.values()))


def _without(log_gate, failed):
    """Log weights (n, K) with those of the failed ones at zero, renormalised."""
    out = np.full_like(log_gate, -np.inf)
    alive = np.setdiff1d(np.arange(log_gate.shape[1]), failed)
    out[:, alive] = renormalised(log_gate[:, alive])
    return out


def _route_surviving(log_gate, top_k, failed, bias):
    """Routes (n, top_k) and log weights, minus infinity for experts that failed."""
    indices, log_weights = top_k_route(log_gate, top_k, bias)
    if not failed:
        return indices, log_weights
    dead = np.isin(indices, failed)
    lost = np.flatnonzero(dead.all(axis=1))
    if len(lost):
        # Failed experts stand last, whatever their gate.
        again = np.clip(log_gate[lost], -1e300, None)
        again[:, failed] = -np.inf
        indices[lost] = np.argsort(-again, axis=1, kind="stable")[:, :top_k]
        dead[lost] = np.isin(indices[lost], failed)
    log_weights = np.take_along_axis(log_gate, indices, axis=1)
    log_weights[dead] = -np.inf
    for row in np.flatnonzero(np.isneginf(log_weights).all(axis=1)):
        log_weights[row, ~dead[row]] = 0.0
    return indices, renormalised(log_weights)
