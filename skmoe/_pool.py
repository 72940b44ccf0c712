"""A gate over experts that are trained once, each on all rows, out of fold."""

import copy
from dataclasses import replace

import numpy as np
from sklearn.model_selection import KFold

from ._em import fit_em, load, require
from ._failures import ExpertsFailed, keep_survivors
from ._fit import Parts, left_to_experts, make_result, objective_value, update_experts
from ._lbfgs import minimize
from ._monitor import Monitor
from ._ops import get_ops
from ._precondition import gram_preconditioner

# Rounds of gate and dispersions, and the rise per row below which they end.
_MAX_ROUNDS, _ROUND_TOL = 20, 1e-4
_GATE_ITER, _GATE_TOL = 200, 1e-7


class FixedExperts:
    """Experts whose predictions of the rows at hand are known and stay as they are.

    Parameters
    ----------
    pred : ndarray of shape (n, K, P)
    """

    def __init__(self, pred):
        self.pred = pred
        self.n_experts = pred.shape[1]

    def fit_predict(self, data, resp, dispersion=None):
        """The predictions."""
        return self.pred

    def predict(self, X):
        """The predictions."""
        return self.pred

    def penalty(self):
        """Nothing is penalised: 0."""
        return 0.0


def fit_pool(data, parts, monitor, *, loss, alphas, n_folds, tol=_ROUND_TOL):
    """Train the experts once, out of fold, and a gate on what they predict.

    Parameters
    ----------
    data : FitData
    parts : Parts
    monitor : Monitor
    loss : {"log", "squared"}
    alphas : sequence of float
        Strengths of the gate's ridge to choose from.
    n_folds : int
        Folds that choose it.
    tol : float, default=1e-4

    Returns
    -------
    FitResult
        With the experts as they were given: each is to be fitted on all rows alike.
    """
    pred, parts = _predictions(data, parts.keep())
    ones = np.ones(pred.shape[:2])
    update_experts(parts.likelihood)(data.y, pred, ones, data.weight)
    if not has_strength(parts.gate):
        if loss != "log":
            raise ValueError(
                f"Pool(loss={loss!r}) trains a softmax gate only, and gate is a "
                f"{type(parts.gate).__name__}; use gate='softmax' or Pool(loss='log')."
            )
        fixed = Parts(parts.gate, FixedExperts(pred), parts.likelihood)
        result = fit_em(data, fixed, monitor, ones / pred.shape[1])
        return replace(result, experts=parts.experts)
    scores = _scores(data, parts, pred, loss, alphas, n_folds, tol)
    best = max(scores, key=scores.get)
    fitted = _fit_gate(data, parts, pred, loss, sorted(alphas, reverse=True), best, tol, monitor)
    result = make_result(fitted, monitor, ones)
    result.history["strengths"] = scores
    return replace(result, experts=parts.experts)


def _predictions(data, parts):
    """Predictions (n, K, P) of experts trained on all rows alike, and the parts that could."""
    require(parts.experts, "fit_predict", "predict", "penalty")
    while True:
        ones = np.ones((len(data.weight), parts.experts.n_experts))
        try:
            return parts.experts.fit_predict(data, ones, parts.likelihood.dispersion), parts
        except ExpertsFailed as failure:
            parts, _ = keep_survivors(parts, ones, failure, refit=True)


def has_strength(gate):
    """Whether a gate has one ridge and linear logits, which `descend` can train."""
    return hasattr(gate, "block_coef") and hasattr(gate, "alpha") and not gate.has_l1


def _scores(data, parts, pred, loss, alphas, n_folds, tol):
    """Mean held-out score of each strength, by strength; higher is better."""
    alphas = sorted(alphas, reverse=True)
    n_folds = min(n_folds, len(data.weight))
    if len(alphas) == 1 or n_folds < 2:
        return dict.fromkeys(alphas[:1], 0.0)
    totals = dict.fromkeys(alphas, 0.0)
    data = replace(data, X=None)  # the gate needs no rows of the experts
    for train, test in KFold(n_folds, shuffle=True, random_state=0).split(pred):
        seen, unseen = data.on(train), data.on(test)
        state = parts
        for alpha in alphas:
            state = _fit_gate(seen, state, pred[train], loss, [alpha], alpha, tol, None)
            totals[alpha] += _score(unseen, state, pred[test], loss)
    return {alpha: float(total / data.total_weight) for alpha, total in totals.items()}


def _score(data, parts, pred, loss):
    log_gate = parts.gate.log_proba(data.gate_X)
    if loss == "squared":
        error = np.einsum("nk,nkm->nm", np.exp(log_gate), pred) - data.y
        return -data.weight @ np.square(error / data.y_scale).sum(axis=1)
    return data.weight @ _e_step(data, parts.likelihood, log_gate, pred)[1]


def _e_step(data, likelihood, log_gate, pred):
    """Responsibilities (n, K) and log-likelihood (n,)."""
    resp, loglik = np.empty(log_gate.shape), np.empty(len(log_gate))
    get_ops().e_step(log_gate, likelihood.log_lik(data.y, pred), resp, loglik)
    return resp, loglik


def _fit_gate(data, parts, pred, loss, path, alpha, tol, monitor):
    """Gate and dispersions for the strength ``alpha``, by way of stronger ones.

    A gate that is fitted already is the start, so that a path of strengths is warm.
    """
    gate, likelihood = copy.copy(parts.gate), copy.copy(parts.likelihood)
    if getattr(gate, "n_experts_", None) != pred.shape[1]:
        gate.fit(data.gate_X, np.full(pred.shape[:2], 1.0 / pred.shape[1]), data.weight)
    for strength in [a for a in path if a >= alpha]:
        gate.set_params(alpha=strength)
        watch = monitor if strength == alpha else None
        gate, likelihood = _alternate(data, gate, likelihood, pred, loss, tol, watch)
    return Parts(gate, FixedExperts(pred), likelihood)


def _alternate(data, gate, likelihood, pred, loss, tol, monitor):
    """Gate by L-BFGS and dispersions by EM in turn, until the objective rests."""
    watch = Monitor(tol, _MAX_ROUNDS, patience=1) if monitor is None else monitor
    parts = Parts(gate, FixedExperts(pred), likelihood)
    best = parts
    squared = _squared_loss(data, pred) if loss == "squared" else None
    while True:
        if squared is None or watch.n_iter == 0:
            part = (
                log_loss(data, parts.likelihood.log_lik(data.y, pred))
                if squared is None
                else squared
            )
            parts.gate = descend(data, parts.gate, part)
        log_gate = parts.gate.log_proba(data.gate_X)
        resp, _ = _e_step(data, parts.likelihood, log_gate, pred)
        own = left_to_experts(parts.likelihood, data.y, pred, resp)
        parts.likelihood.update(data.y, pred, own, data.weight)
        loglik = _e_step(data, parts.likelihood, log_gate, pred)[1]
        value = objective_value(data, data.weight @ loglik, parts)
        if watch.update(value, load(log_gate, data.weight)):
            best = parts.keep()
        if watch.stop:
            return best.gate, best.likelihood


def log_loss(data, log_lik):
    """Loss of gating logits: minus the mean log-likelihood, and its gradient (n, K)."""
    resp, loglik = np.empty(log_lik.shape), np.empty(len(log_lik))
    share = data.weight / data.total_weight

    def loss(log_gate):
        get_ops().e_step(log_gate, log_lik, resp, loglik)
        return -share @ loglik, share[:, None] * (np.exp(log_gate) - resp)

    return loss


def _squared_loss(data, pred):
    """Half the mean squared error, in units of the best expert's, and its gradient (n, K)."""
    share = data.weight / data.total_weight
    errors = np.einsum("n,nkm->km", share, np.square(data.y[:, None, :] - pred))
    unit = np.maximum(errors.min(axis=0), 1e-12 * np.square(data.y_scale))

    def loss(log_gate):
        weights = np.exp(log_gate)
        mean = np.einsum("nk,nkm->nm", weights, pred)
        error = mean - data.y
        value = 0.5 * share @ np.sum(np.square(error) / unit, axis=1)
        slope = np.einsum("nm,nkm->nk", error / unit, pred - mean[:, None, :])
        return value, share[:, None] * weights * slope

    return loss


def descend(data, gate, loss):
    """The gate that minimises a loss of its logits plus its own penalty."""
    design = data.gate_X
    shape = gate.block_coef().shape

    def value_and_gradient(flat):
        moved = gate.with_flat(flat)
        value, slope = loss(moved.log_proba(design))
        gradient = design.transposed_dot(slope) + moved.penalty_gradient()
        return value + moved.penalty(), gradient.ravel()

    curvature = 1.0 / max(2, shape[1]) / data.total_weight
    precondition = gram_preconditioner(design, data.weight, curvature, gate.ridge, shape[1])
    found = minimize(
        value_and_gradient,
        gate.flat(),
        precondition=precondition,
        max_iter=_GATE_ITER,
        tol=_GATE_TOL,
    )
    return gate.with_flat(found.x)
