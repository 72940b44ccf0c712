"""Outputs by themselves: gates of their own, and targets of which some are missing.

With one gate per output, each output is a mixture of its own, ``p(y | x) = prod_j sum_k
g_kj(x) p_k(y_j | x)``, and log_gate, log_lik and resp have a last axis for outputs. Where
targets are missing, experts see weights by output, of shape (n, K, m), too.
"""

import numpy as np

from ._ops import get_ops


def weighted(resp, weight):
    """Responsibilities (n, K) or (n, K, m) times weights (n,)."""
    return resp * weight.reshape(-1, *[1] * (resp.ndim - 1))


def by_output(weights):
    """Weights of residuals (n, K, m), from (n, K) or (n, K, m)."""
    return weights if weights.ndim == 3 else weights[:, :, None]


def resp_of_outputs(gate, resp, n_outputs):
    """Responsibilities in the shape that a gate takes: the same for each of its outputs."""
    if resp.ndim == 3 or not getattr(gate, "per_output", False):
        return resp
    return np.repeat(resp[:, :, None], n_outputs, axis=2)


def seen(resp, observed):
    """What experts are fitted to: nothing where a target is missing.

    Parameters
    ----------
    resp : ndarray of shape (n, K) or (n, K, m)
    observed : ndarray of bool of shape (n, m) or None
    """
    return resp if observed is None else by_output(resp) * observed[:, None, :]


def log_lik_of(likelihood, y, pred, observed, per_output, experts=None):
    """Log-likelihoods by expert, of all outputs or of each; zero where a target is missing.

    Parameters
    ----------
    likelihood : likelihood
    y : ndarray of shape (n, m)
        Finite numbers where nothing was observed.
    pred : ndarray of shape (n, K, m)
    observed : ndarray of bool of shape (n, m) or None
    per_output : bool
    experts : ndarray of shape (n, K) of int, default=None

    Returns
    -------
    ndarray of shape (n, K) or (n, K, m)
    """
    chosen = () if experts is None else (experts,)
    if observed is None and not per_output:
        return likelihood.log_lik(y, pred, *chosen)
    each = [
        likelihood.of_outputs([j]).log_lik(*_columns(j, y, pred), *chosen)
        for j in range(y.shape[1])
    ]
    each = np.stack(each, axis=2)
    if observed is not None:
        each *= observed[:, None, :]
    return each if per_output else each.sum(axis=2)


def e_step(log_gate, log_lik, resp, loglik):
    """Responsibilities and log-likelihoods of rows, into ``resp`` and ``loglik``.

    Parameters
    ----------
    log_gate, log_lik, resp : ndarray of shape (n, K) or (n, K, m)
    loglik : ndarray of shape (n,)

    Returns
    -------
    int
        Targets that no expert explains.
    """
    if log_gate.ndim == 2:
        return get_ops().e_step(log_gate, log_lik, resp, loglik)
    missed, total = 0, np.zeros(len(loglik))
    for j in range(log_gate.shape[2]):
        one = np.empty(log_gate.shape[:2])
        columns = [np.ascontiguousarray(values[:, :, j]) for values in (log_gate, log_lik)]
        missed += get_ops().e_step(*columns, one, loglik)
        resp[:, :, j], total = one, total + loglik
    loglik[:] = total
    return missed


def output_by_output(answer, likelihood, log_weights, pred, experts=None):
    """An answer of the mixture (n, m), where outputs may have gates of their own.

    Parameters
    ----------
    answer : callable
        ``answer(likelihood, log_weights, pred, experts)``, with weights (n, K).
    likelihood : likelihood
    log_weights : ndarray of shape (n, K) or (n, K, m)
    pred : ndarray of shape (n, K, m)
    experts : ndarray of shape (n, K) of int, default=None
    """
    if log_weights.ndim == 2:
        return answer(likelihood, log_weights, pred, experts)
    each = (
        answer(likelihood.of_outputs([j]), log_weights[:, :, j], pred[:, :, [j]], experts)
        for j in range(log_weights.shape[2])
    )
    return np.concatenate(list(each), axis=1)


def _columns(j, y, pred):
    return np.ascontiguousarray(y[:, [j]]), np.ascontiguousarray(pred[:, :, [j]])
