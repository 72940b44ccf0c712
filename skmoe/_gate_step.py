"""M-steps of a gate, with or without a penalty on uneven experts."""

import numpy as np

from ._fit import objective_value

# Halvings of a step that lowers the penalised objective, before it is dropped.
_MAX_HALVINGS = 10


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
    exact = hasattr(gate, "penalty_gradient") and not hasattr(gate, "log_evidence")
    if data.balance is not None and log_gate is not None:
        targets = resp + data.balance.correction(log_gate, data.weight)
        if exact:
            gate = _guarded(gate, data, resp, targets, log_gate)
            return gate, gate.log_proba(data.gate_X)
        # Most other gates want proper probabilities as targets.
        targets = np.maximum(targets, 0.0)
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
        result.gate.fit(data.gate_X, result.resp, data.weight)


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


def _guarded(gate, data, resp, targets, log_gate):
    """A step towards corrected targets, shortened until it does not lower the objective.

    The targets are right for the gate as it stands only, so that the step begins uphill
    but may be too long.
    """
    before, start = _value(gate, data, resp, log_gate), gate.flat().copy()
    step = improve_gate(gate, data, targets).flat() - start
    for halving in range(_MAX_HALVINGS):
        moved = gate.with_flat(start + 0.5**halving * step)
        if _value(moved, data, resp, moved.log_proba(data.gate_X)) >= before:
            return moved
    return gate.with_flat(start)


def _value(gate, data, resp, log_gate):
    """What an M-step of the gate climbs."""
    gain = data.weight @ np.einsum("nk,nk->n", resp, log_gate) / data.total_weight
    penalty = gate.penalty() if hasattr(gate, "penalty") else 0.0
    return gain - penalty - data.balance.value(log_gate, data.weight)
