"""Expectation maximisation: one pass per iteration where parts are additive."""

import copy
from dataclasses import dataclass

import numpy as np

from ._design import Design, add_grams, block_dot, block_transposed_dot
from ._fit import FitResult, objective_value
from ._ops import get_ops

# Halvings of a gate step that lowers the objective, before it is dropped.
_MAX_HALVINGS = 4


@dataclass
class Parts:
    """The three fitted parts of a mixture; parts replace arrays, so copies are cheap."""

    gate: object
    experts: object
    likelihood: object

    def keep(self):
        """Shallow copies, which later updates of the originals leave alone."""
        return Parts(*(copy.copy(part) for part in (self.gate, self.experts, self.likelihood)))


def require(part, *methods):
    """Raise if a part lacks a method that a trainer needs."""
    for method in methods:
        if not callable(getattr(part, method, None)):
            raise TypeError(
                f"{type(part).__name__} has no method {method!r}, which EM needs; "
                f"add it or use another part."
            )


def fit_em(data, parts, monitor, resp):
    """Fit a mixture of experts by EM.

    Parameters
    ----------
    data : FitData
    parts : Parts
        Started parts; they are copied, not changed. A gate that is fitted already
        is improved from where it stands.
    monitor : Monitor
    resp : ndarray of shape (n, K)
        Responsibilities to start from.

    Returns
    -------
    FitResult
        With the parts of the best iterate.
    """
    require(parts.gate, "fit", "log_proba")
    require(parts.experts, "fit_predict", "predict", "penalty")
    require(parts.likelihood, "log_lik", "update", "log_prior")
    try:
        if is_additive(data, parts):
            return _fit_additive(data, parts.keep(), monitor, resp)
        return _fit_general(data, parts.keep(), monitor, resp)
    finally:
        monitor.close()


def is_additive(data, parts):
    """Whether one sweep over the rows gives all that an iteration needs."""
    return (
        isinstance(data.gate_X, Design)
        and isinstance(data.X, Design)
        and hasattr(parts.gate, "block_step")
        and hasattr(parts.experts, "statistics")
        and hasattr(parts.likelihood, "update_sums")
        and parts.experts.additive(data)
    )


# -- general: any experts, any gate ---------------------------------------------------


def _fit_general(data, parts, monitor, resp):
    log_gate, best, unexplained = None, None, 0
    resp, spare = np.array(resp, dtype=np.float64), np.empty(resp.shape)
    loglik = np.empty(len(resp))
    while True:
        pred = parts.experts.fit_predict(data, resp, parts.likelihood.dispersion)
        _improve_gate(parts.gate, data, resp)
        parts.likelihood.update(data.y, pred, resp, data.weight)
        log_gate = parts.gate.log_proba(data.gate_X)
        log_lik = parts.likelihood.log_lik(data.y, pred)
        missed = get_ops().e_step(log_gate, log_lik, spare, loglik)
        value = _objective(data, parts, loglik)
        if monitor.update(value, load(log_gate, data.weight)):
            best, unexplained = (parts.keep(), resp.copy()), missed
        if monitor.stop:
            break
        resp, spare = spare, resp
    kept, resp = best if best is not None else (parts.keep(), resp)
    return _result(kept, monitor, resp, unexplained)


def _improve_gate(gate, data, resp):
    fit = gate.partial_fit if hasattr(gate, "partial_fit") else gate.fit
    fit(data.gate_X, resp, data.weight)


def _objective(data, parts, loglik):
    explained = np.isfinite(loglik)
    total = data.weight @ loglik if explained.all() else -np.inf
    return objective_value(data, total, parts.gate, parts.experts, parts.likelihood)


def load(log_gate, weight):
    """Share of the rows whose most probable expert is k: (n, K) -> (K,)."""
    top = np.argmax(log_gate, axis=1)
    return np.bincount(top, weights=weight, minlength=log_gate.shape[1]) / weight.sum()


def _result(parts, monitor, resp, unexplained):
    return FitResult(
        parts.gate,
        parts.experts,
        parts.likelihood,
        resp,
        monitor.best,
        monitor.n_iter,
        monitor.converged,
        monitor.history,
        unexplained,
    )


# -- additive: one sweep an iteration ----------------------------------------------------


@dataclass
class Sweep:
    """Sums of one sweep over the rows at fixed parameters.

    Attributes
    ----------
    experts : statistics of the experts
    gate_gradient : ndarray of shape (D, K)
        ``Z' (weight * (resp - gate_proba))``.
    gate_gram : ndarray of shape (K, D, D) or None
        Weighted Grams of the gate's own columns; None where the experts' serve.
    sum_loglik : float
    load : ndarray of shape (K,)
        Weight of the rows whose most probable expert is k.
    unexplained : int
    """

    experts: object
    gate_gradient: np.ndarray
    gate_gram: np.ndarray | None
    sum_loglik: float
    load: np.ndarray
    unexplained: int

    def __add__(self, other):
        gram = None if self.gate_gram is None else self.gate_gram + other.gate_gram
        return Sweep(
            self.experts + other.experts,
            self.gate_gradient + other.gate_gradient,
            gram,
            self.sum_loglik + other.sum_loglik,
            self.load + other.load,
            self.unexplained + other.unexplained,
        )


def sweep(data, parts, resp=None):
    """One pass over the rows: E-step and the sums for the M-step.

    Parameters
    ----------
    data : FitData
    parts : Parts
    resp : ndarray of shape (n, K), default=None
        Responsibilities to use in the place of those of the E-step.

    Returns
    -------
    Sweep
    """
    shared = data.gate_X.same_columns(data.X)
    total = None
    for rows in data.X.slices():
        given = None if resp is None else resp[rows]
        block = _sweep_block(data, parts, rows, shared, given)
        total = block if total is None else total + block
    return total


def _sweep_block(data, parts, rows, shared, resp):
    ops = get_ops()
    block = data.X.block(rows)
    gate_block = block if shared else data.gate_X.block(rows)
    y, weight = data.y[rows], data.weight[rows]
    log_gate = block_dot(gate_block, parts.gate.block_coef())
    ops.log_softmax(log_gate, log_gate)
    pred = block_dot(block, parts.experts.block_coef()).reshape(len(y), *parts.experts.coef.shape[1:])
    log_lik = parts.likelihood.log_lik(y, pred)
    posterior, loglik = np.empty(log_gate.shape), np.empty(len(y))
    unexplained = ops.e_step(log_gate, log_lik, posterior, loglik)
    resp = posterior if resp is None else resp
    weights = resp * weight[:, None]
    stats = parts.experts.statistics(block, weights, y[:, None, :] - pred)
    gate_gram = None
    if not shared:
        columns = gate_block.shape[1]
        gate_gram = np.zeros((resp.shape[1], columns, columns))
        add_grams(gate_block, weights, gate_gram)
    gradient = block_transposed_dot(gate_block, weights - weight[:, None] * np.exp(log_gate))
    loads = load(log_gate, weight) * weight.sum()
    return Sweep(stats, gradient, gate_gram, float(weight @ loglik), loads, unexplained)


def _fit_additive(data, parts, monitor, resp):
    _improve_gate(parts.gate, data, resp)
    _update_experts(parts, sweep(data, parts, resp))
    kept, unexplained, base, step = parts.keep(), 0, None, None
    while True:
        now, passes = sweep(data, parts), 1
        while step is not None and _value(data, parts, now) < previous - _noise(previous):
            if passes > _MAX_HALVINGS + 1:
                break
            # Only the gate's block step can lower the objective: shorten it alone.
            shrunk = 0.0 if passes > _MAX_HALVINGS else 0.5**passes
            parts.gate = base.moved(shrunk * step)
            now, passes = sweep(data, parts), passes + 1
        previous = _value(data, parts, now)
        if monitor.update(previous, now.load / data.total_weight, passes):
            kept, unexplained = parts.keep(), now.unexplained
        if monitor.stop:
            return _result(kept, monitor, None, unexplained)
        grams = now.experts.gram if now.gate_gram is None else now.gate_gram
        base = parts.gate
        step = base.block_step(now.gate_gradient, grams, data.total_weight)
        _update_experts(parts, now)
        parts.gate = base.moved(step)


def _noise(value):
    """Rounding error of an objective."""
    return 1e-12 * max(1.0, abs(value))


def _update_experts(parts, sums):
    squares = parts.experts.update(sums.experts, parts.likelihood.dispersion)
    parts.likelihood.update_sums(squares, sums.experts.weight)


def _value(data, parts, sums):
    return objective_value(data, sums.sum_loglik, parts.gate, parts.experts, parts.likelihood)

