"""M-steps of a gate, with or without a penalty on uneven experts."""

import numpy as np

from ._fit import objective_value
from ._lbfgs import minimize

# Iterations of one M-step under a penalty on uneven experts.
_INNER_ITER = 10


def gate_step(gate, data, resp, log_gate=None):
    """M-step of a gate.

    Parameters
    ----------
    gate : gate
        Changed in place.
    data : FitData
    resp : ndarray of shape (n, K)
    log_gate : ndarray of shape (n, K), default=None
        Of the gate as it stands; needed for a penalty on uneven experts, which a gate that
        is not fitted yet goes without.

    Returns
    -------
    gate : gate
    log_gate : ndarray of shape (n, K)
        Log probabilities of the same rows, out of fold where the gate gives such.
    """
    targets = resp
    smooth = hasattr(gate, "resp_gradient") and not getattr(gate, "has_l1", False)
    if data.balance is not None and log_gate is not None:
        if smooth:
            gate = _minimised(gate, data, resp)
            return gate, gate.log_proba(data.gate_X)
        # Most other gates want proper probabilities as targets.
        targets = np.maximum(resp + data.balance.correction(log_gate, data.weight), 0.0)
        targets /= targets.sum(axis=1, keepdims=True)
    if hasattr(gate, "fit_log_proba"):
        return gate, gate.fit_log_proba(data.gate_X, targets, data.weight)
    improve_gate(gate, data, targets)
    return gate, gate.log_proba(data.gate_X)


def improve_gate(gate, data, resp):
    """Fit a gate to responsibilities (n, K), from where it stands if it can."""
    fit = gate.partial_fit if hasattr(gate, "partial_fit") else gate.fit
    fit(data.gate_X, resp, data.weight)
    return gate


def refit_gate(data, result):
    """Fit a gate to all rows if its probabilities in training were out of fold."""
    if hasattr(result.gate, "fit_log_proba"):
        resp = result.resp if result.gate_resp is None else result.gate_resp
        result.gate.fit(data.gate_X, resp, data.weight)


def objective_of_rows(data, parts, loglik, log_gate):
    """The objective from log-likelihoods (n,) and log_gate (n, K) of the training rows."""
    explained = np.isfinite(loglik)
    total = data.weight @ loglik if explained.all() else -np.inf
    value = objective_value(data, total, parts, evidence(data, parts.gate))
    return value if data.balance is None else value - data.balance.value(log_gate, data.weight)


def evidence(data, gate):
    """Weighted sum of the log density that a gate gives the features; 0 where it gives none."""
    if not hasattr(gate, "log_evidence"):
        return 0.0
    return data.weight @ gate.log_evidence(data.gate_X)


def _minimised(gate, data, resp):
    """The gate after a few iterations on its penalised part of the objective, exactly."""

    def loss(flat):
        moved = gate.with_flat(flat)
        log_gate = moved.log_proba(data.gate_X)
        targets = resp + data.balance.correction(log_gate, data.weight)
        value = data.weight @ np.einsum("nk,nk->n", resp, log_gate) / data.total_weight
        value -= moved.penalty() + data.balance.value(log_gate, data.weight)
        gradient = moved.resp_gradient(data.gate_X, targets, data.weight).ravel()
        return -value, moved.penalty_gradient().ravel() - gradient / data.total_weight

    return gate.with_flat(minimize(loss, gate.flat(), max_iter=_INNER_ITER).x)
