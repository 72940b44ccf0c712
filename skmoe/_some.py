"""EM for some of the experts of a mixture; the others stay as they are."""

import copy
from dataclasses import replace

import numpy as np

from ._em import load
from ._fit import FitResult, Parts, left_to_experts, objective_value, update_experts
from ._gate_step import improve_gate, refit_gate
from ._init import thinned
from ._monitor import Monitor
from ._ops import get_ops
from ._path import splits_by_gain
from .experts.linear import LinearExpert

# Iterations that a start is judged by.
_TRIAL_ITER, _TRIAL_TOL, _TRIAL_ROWS = 8, 1e-3, 1000
# Shares of the weight, of rows that are explained worst, that a new expert may begin with.
_WORST = (0.1, 0.25, 0.5)
_MAX_SPLITS = 3


def fit_some(data, parts, fixed, free, monitor, resp):
    """EM for the experts ``free``, their noise and their part of the gate.

    Parameters
    ----------
    data : FitData
    parts : Parts
        The gate of all K experts; experts and likelihood of those in ``free`` only.
    fixed : ndarray of shape (n, K)
        Log-likelihoods of the experts that are frozen; the columns ``free`` are not read.
    free : list of int
    monitor : Monitor
    resp : ndarray of shape (n, K)
        Responsibilities to start from.

    Returns
    -------
    FitResult
        Parts like those given. A gate without `fit_rows` is fitted as a whole. The
        objective leaves out what frozen experts are penalised by.
    """
    parts, log_lik = parts.keep(), fixed.copy()
    whole = not hasattr(parts.gate, "fit_rows")
    if whole:
        parts.gate = copy.deepcopy(parts.gate)
    resp, spare, loglik = resp.copy(), np.empty_like(resp), np.empty(len(resp))
    best, mine = None, np.ascontiguousarray(resp[:, free])
    while True:
        pred = parts.experts.fit_predict(data, mine, parts.likelihood.dispersion)
        if whole:
            log_gate = _refitted(parts.gate, data, resp)
        else:
            parts.gate = parts.gate.fit_rows(data.gate_X, resp, data.weight, free)
            log_gate = parts.gate.log_proba(data.gate_X)
        if not getattr(parts.likelihood, "shared", False):
            update_experts(parts.likelihood)(data.y, pred, mine, data.weight)
        log_lik[:, free] = parts.likelihood.log_lik(data.y, pred)
        missed = get_ops().e_step(log_gate, log_lik, spare, loglik)
        total = data.weight @ loglik if np.isfinite(loglik).all() else -np.inf
        if monitor.update(objective_value(data, total, parts), load(log_gate, data.weight)):
            best = parts.keep(), spare.copy(), missed
        if monitor.stop:
            break
        resp, spare = spare, resp
        mine = left_to_experts(parts.likelihood, data.y, pred, np.ascontiguousarray(resp[:, free]))
    kept, resp, missed = best if best is not None else (parts, spare, missed)
    result = FitResult(
        **vars(kept),
        resp=resp,
        objective=monitor.best,
        n_iter=monitor.n_iter,
        converged=monitor.converged,
        history=monitor.history,
        unexplained=missed,
    )
    refit_gate(data, result)
    return result


def _refitted(gate, data, resp):
    """Log probabilities (n, K) of a gate after its M-step, out of fold where it gives such."""
    if hasattr(gate, "fit_log_proba"):
        return gate.fit_log_proba(data.gate_X, resp, data.weight)
    return improve_gate(gate, data, resp).log_proba(data.gate_X)


def linear_stand_in(data, likelihood, n_experts):
    """Linear experts in the place of others, to try starts: data and parts without a gate."""
    linear = replace(data, X=data.start_X, folds=None)
    if hasattr(likelihood, "first_pred"):
        likelihood = likelihood.selected(list(range(n_experts)))
    experts = LinearExpert().collection(n_experts, data.n_classes, likelihood).start(linear)
    return linear, Parts(None, experts, likelihood)


def best_start(data, parts, fixed, free, starts):
    """The start whose short run on some of the rows ends highest.

    Arguments as in `fit_some`, with several ``resp`` as ``starts``; experts are linear.

    Returns
    -------
    parts : Parts
        Where that run ended.
    resp : ndarray of shape (n, K)
        Responsibilities of all rows there.
    """
    rows = thinned(len(data.y), _TRIAL_ROWS)
    few = data.on(rows)
    runs = []
    for resp in starts:
        monitor = Monitor(_TRIAL_TOL, _TRIAL_ITER, patience=2)
        runs.append(fit_some(few, parts, fixed[rows], free, monitor, resp[rows]))
    best = max(runs, key=lambda run: run.objective)
    log_lik = fixed.copy()
    log_lik[:, free] = best.likelihood.log_lik(data.y, best.experts.predict(data.X))
    resp, loglik = np.empty_like(log_lik), np.empty(len(log_lik))
    get_ops().e_step(best.gate.log_proba(data.gate_X), log_lik, resp, loglik)
    return Parts(best.gate, best.experts, best.likelihood), resp


def starts_of_worst(data, resp, loglik):
    """Responsibilities (n, K + 1) that give a new expert the rows that are explained worst.

    Parameters
    ----------
    data : FitData
    resp : ndarray of shape (n, K)
    loglik : ndarray of shape (n,)

    Returns
    -------
    list of ndarray
    """
    order = np.argsort(loglik, kind="stable")
    reached = np.cumsum(data.weight[order]) / data.total_weight
    found = []
    for share in _WORST:
        new = np.full(len(resp), 0.05)
        new[order[: np.searchsorted(reached, share) + 1]] = 0.95
        found.append(np.column_stack([resp * (1.0 - new)[:, None], new]))
    return found


def starts_of_split(linear, parts, resp, expert):
    """Responsibilities (n, K + 1) that share those of one expert with a new one, last.

    Parameters
    ----------
    linear : FitData
        With views for gate and experts.
    parts : Parts
        One linear expert and its likelihood.
    resp : ndarray of shape (n, K)
    expert : int

    Returns
    -------
    list of ndarray
    """
    mine = np.ascontiguousarray(resp[:, [expert]])
    pred = parts.experts.fit_predict(linear, mine, parts.likelihood.dispersion)
    parts.likelihood.update(linear.y, pred, mine, linear.weight)
    found = []
    view = linear.X
    splits = splits_by_gain(replace(linear, gate_X=view), parts, mine)[:_MAX_SPLITS]
    sides = [view.dot(direction[:, None])[:, 0] > cut for _, direction, cut in splits]
    for right in sides or [np.arange(len(resp)) % 2 == 0]:
        new = mine[:, 0] * np.where(right, 0.95, 0.05)
        out = np.column_stack([resp, new])
        out[:, expert] -= new
        found.append(out)
    return found
