"""The grown path: from one expert to K by splitting the expert that gains most."""

from itertools import islice

import numpy as np
import scipy.special

from ._cells import e_step, log_lik_of
from ._design import Design
from ._em import fit_em
from ._fit import Parts, left_to_experts
from ._init import thinned
from ._monitor import Monitor
from ._ops import get_ops

# Rows and columns that candidate splits are judged on.
_MAX_ROWS, _MAX_COLUMNS = 2000, 24
# Where there are more: how many of these are principal components, and how many the
# steepest of the experts.
_N_COMPONENTS, _N_STEEP = 6, 8
# EM iterations after a split.
_STAGE_ITER, _STAGE_TOL = 15, 1e-4
# Candidates tried where a split ends below its parent.
_MAX_TRIES = 3


def posterior(data, parts):
    """Responsibilities (n, K) and log-likelihood (n,) of fitted parts."""
    log_gate = parts.gate.log_proba(data.gate_X)
    pred = parts.experts.predict(data.X)
    several = log_gate.ndim == 3
    log_lik = log_lik_of(parts.likelihood, data.y, pred, data.observed, several)
    resp, loglik = np.empty(log_lik.shape), np.empty(len(log_lik))
    e_step(log_gate, log_lik, resp, loglik)
    return resp, loglik


def grow(data, make_parts, n_experts, fit=fit_em):
    """Grow a mixture of linear experts from one expert to ``n_experts``.

    Parameters
    ----------
    data, make_parts, fit :
        As in `grown_path`.
    n_experts : int

    Returns
    -------
    FitResult
        With responsibilities.
    """
    path = grown_path(data, make_parts, fit, tol=_STAGE_TOL, max_iter=_STAGE_ITER)
    return next(islice(path, n_experts - 1, None))


def grown_path(data, make_parts, fit, *, tol, max_iter, every=False):
    """Fits of one expert, two experts, and so on, each split from the one before.

    Parameters
    ----------
    data : FitData
        With views for gate and experts.
    make_parts : callable
        ``make_parts(n_experts) -> Parts``, started, with an unfitted gate.
    fit : callable
        Trainer of the stages: ``fit(data, parts, monitor, resp) -> FitResult``.
    tol, max_iter :
        Of the monitor of a stage.
    every : bool, default=False
        Whether all promising splits are tried, not only until one helps.

    Yields
    ------
    FitResult
    """

    def stage(parts, resp):
        return fit(data, parts, Monitor(tol, max_iter), resp)

    n_experts, result = 1, stage(make_parts(1), np.ones((len(data.y), 1)))
    while True:
        yield result
        n_experts += 1
        result = _best_split(data, make_parts(n_experts), result, stage, every)


def _best_split(data, parts, parent, stage, every):
    """Fit the most promising splits until one ends above its parent, or every one of them."""
    kept = Parts(parent.gate, parent.experts, parent.likelihood)
    resp, _ = posterior(data, kept)
    best = None
    for expert, direction, threshold in splits_by_gain(data, kept, resp)[:_MAX_TRIES]:
        right = data.gate_X.dot(direction[:, None])[:, 0] > threshold
        result = stage(parts, _split(resp, expert, right))
        if best is None or result.objective > best.objective:
            best = result
        if best.objective > parent.objective and not every:
            break
    if best is None:  # nothing can be cut: two halves of the heaviest expert
        heaviest = int(np.argmax(data.weight @ resp))
        halves = np.arange(len(resp)) % 2 == 0
        best = stage(parts, _split(resp, heaviest, halves))
    return best


def _split(resp, expert, right):
    """Share the responsibility of one expert between it and a new one."""
    share = np.where(right, 0.95, 0.05)
    new = resp[:, expert] * share
    out = np.column_stack([resp, new])
    out[:, expert] -= new
    return out


def splits_by_gain(data, parts, resp, pred=None):
    """Splits (expert, direction (D,), threshold), the largest gain first.

    Predictions (n, K, P) are given where they are not the experts' own of all rows.
    """
    rows = thinned(len(data.y), _MAX_ROWS)
    gate_X = data.gate_X
    pred = _pred(data, parts, rows) if pred is None else pred[rows]
    residual = _residual(data, rows, pred, parts.likelihood)
    design = gate_X.on(gate_X.X[rows])
    own = left_to_experts(parts.likelihood, data.y[rows], pred, resp[rows])
    weights = own * data.weight[rows, None]
    Z, directions = _columns(design, residual, weights, parts.experts, data.X)
    order = np.argsort(Z[:, : len(directions)], axis=0, kind="stable").T
    found = []
    for k, weight in enumerate(weights.T):
        if not weight.max() > 0:
            continue  # an expert without rows has nothing to split
        gains, thresholds = _gains(Z, order, residual[:, k], weight, data.n_classes is None)
        for column, best in enumerate(np.argmax(gains, axis=1)):
            if np.isfinite(gains[column, best]):
                split = k, directions[column], thresholds[column, best]
                found.append((gains[column, best], *split))
    found.sort(key=lambda split: -split[0])
    return [split[1:] for split in found]


def _columns(design, residual, weights, experts, expert_X):
    """Columns (m, q + 1) to split along and to fit on, and their directions (q, D).

    The features themselves where they are few; else those with the largest slopes, those
    that residuals (m, K, P) and their squares depend on most, and principal components.
    """
    n_columns = design.shape[1] - 1
    if n_columns <= _MAX_COLUMNS:
        return _dense(design), np.eye(n_columns, n_columns + 1)
    basis = np.zeros((design.shape[1], _MAX_COLUMNS))
    steep = np.empty(0, dtype=np.intp)
    same = expert_X.shape == (expert_X.shape[0], n_columns + 1)  # the same columns
    if same and hasattr(experts, "coef"):
        slopes = np.abs(experts.coef[:-1]).max(axis=(1, 2))
        steep = np.argsort(-slopes, kind="stable")[:_N_STEEP]
    screened = _screened(design, residual, weights)
    screened = screened[~np.isin(screened, steep)][: _MAX_COLUMNS - _N_COMPONENTS - len(steep)]
    chosen = np.concatenate([steep, screened])
    basis[chosen, np.arange(len(chosen))] = 1.0
    weight = weights.sum(axis=1)
    basis[:, len(chosen) :] = _principal(design, weight, _MAX_COLUMNS - len(chosen))
    Z = design.dot(basis)
    spread = np.sqrt(np.maximum(weight @ np.square(Z) / weight.sum(), 1e-300))
    return np.column_stack([Z / spread, np.ones(len(Z))]), (basis / spread).T


def _screened(design, residual, weights):
    """Columns, those first that have the strongest linear association with residuals or squares."""
    found = np.zeros(design.shape[1] - 1)
    for target in (residual, np.square(residual)):
        total = np.maximum(weights.sum(axis=0), 1e-300)[:, None]
        mean = np.einsum("mk,mkp->kp", weights, target) / total
        weighted = weights[:, :, None] * (target - mean)
        size = np.sqrt(np.maximum(np.einsum("mkp,mkp->kp", weighted, target - mean), 1e-300))
        slopes = design.transposed_dot((weighted / size).reshape(len(target), -1))[:-1]
        found = np.maximum(found, np.abs(slopes).max(axis=1))
    return np.argsort(-found, kind="stable")


def _principal(design, weight, n_components):
    """Leading principal directions (D, n_components), by subspace iteration."""
    basis = np.random.RandomState(0).normal(size=(design.shape[1], n_components))
    for _ in range(3):
        image = design.transposed_dot(weight[:, None] * design.dot(basis))
        image[-1] = 0.0
        basis = np.linalg.qr(image)[0]
    return basis


def _dense(design):
    if not design.is_sparse:
        return design.block(slice(None))
    return design.dot(np.eye(design.shape[1]))


def _pred(data, parts, rows):
    X = data.X.on(data.X.X[rows]) if isinstance(data.X, Design) else data.X[rows]
    return parts.experts.predict(X)


def _residual(data, rows, pred, likelihood):
    """What each expert leaves unexplained: (m, K, P)."""
    if hasattr(likelihood, "standard_residual"):
        return likelihood.standard_residual(data.y[rows], pred)
    if data.n_classes is None:
        return (data.y[rows, None, :] - pred) / data.y_scale
    onehot = np.eye(data.n_classes)[data.y[rows]]
    return onehot[:, None, :] - scipy.special.softmax(pred, axis=2)


def _gains(Z, order, residual, weight, separate):
    """Gain in log-likelihood of separate linear fits on both sides of cuts of columns.

    Z (m, D), order (q, m) of rows by each column, residual (m, P), weight (m,). Returns
    gains and thresholds, (q, 3) each; minus infinity where there is no cut.
    """
    used = weight > 1e-6 * weight.max()
    order = order[used[order]].reshape(len(order), -1)
    values = np.column_stack([Z, residual])
    n_columns, width = len(order), values.shape[1]
    n_cuts, thresholds = np.zeros(n_columns, dtype=np.intp), np.zeros((n_columns, 3))
    sums = np.zeros((n_columns, 4, width + 1, width))
    get_ops().split_sums(Z, order, np.ascontiguousarray(weight), values, n_cuts, thresholds, sums)
    left, whole = sums[:, :3], sums[:, 3:]
    right = whole - left
    parts = np.concatenate([left, right, whole], axis=1)
    fits = _loglik(parts.reshape(-1, width + 1, width), Z.shape[1], separate).reshape(-1, 7)
    gains = fits[:, :3] + fits[:, 3:6] - fits[:, 6:]
    least = np.minimum(left[:, :, -1, 0], right[:, :, -1, 0])
    found = np.arange(3) < n_cuts[:, None]
    return np.where(found & (least > 1e-3 * whole[:, :, -1, 0]), gains, -np.inf), thresholds


def _loglik(sums, n_columns, separate):
    """Profile Gaussian log-likelihood of local linear fits from sums as of `split_sums`."""
    gram, gradient = sums[:, :n_columns, :n_columns], sums[:, n_columns:-1, :n_columns]
    squares = np.diagonal(sums[:, n_columns:-1, n_columns:], axis1=1, axis2=2)
    ridge = 1.0 + 1e-9 * np.trace(gram, axis1=1, axis2=2)
    diagonal = np.repeat(ridge[:, None], n_columns, axis=1)
    right = np.ascontiguousarray(gradient.transpose(0, 2, 1))
    step, solved = np.empty(right.shape), np.empty(len(right), dtype=bool)
    get_ops().solve_blocks(gram, diagonal, right, step, solved)
    step[~solved] = 0.0
    rest = np.maximum(squares - np.einsum("tdp,tdp->tp", step, right), 0.0)
    total = np.maximum(sums[:, -1, 0], 1e-12)[:, None]
    if not separate:
        rest = rest.mean(axis=1, keepdims=True)
    return -0.5 * (total * np.log(rest / total + 1e-6)).sum(axis=1)
