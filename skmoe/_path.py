"""The grown path: from one expert to K by splitting the expert that gains most."""

import numpy as np
import scipy.special

from ._design import Design
from ._em import fit_em
from ._fit import Monitor, Parts
from ._init import thinned
from ._ops import get_ops

# Rows and columns that candidate splits are judged on.
_MAX_ROWS, _MAX_COLUMNS = 2000, 24
# Where there are more: how many of these are principal components, and how many the
# steepest of the experts.
_N_COMPONENTS, _N_STEEP = 6, 8
_QUANTILES = (0.25, 0.5, 0.75)
# EM iterations after a split.
_STAGE_ITER, _STAGE_TOL = 15, 1e-4
# Candidates tried where a split ends below its parent.
_MAX_TRIES = 3


def posterior(data, parts):
    """Responsibilities (n, K) and log-likelihood (n,) of fitted parts."""
    log_gate = parts.gate.log_proba(data.gate_X)
    pred = parts.experts.predict(data.X)
    log_lik = parts.likelihood.log_lik(data.y, pred)
    resp, loglik = np.empty(log_lik.shape), np.empty(len(log_lik))
    get_ops().e_step(log_gate, log_lik, resp, loglik)
    return resp, loglik


def grow(data, make_parts, n_experts, fit=fit_em):
    """Grow a mixture of linear experts from one expert to ``n_experts``.

    Parameters
    ----------
    data : FitData
        With views for gate and experts.
    make_parts : callable
        ``make_parts(n_experts) -> Parts``, started, with an unfitted gate.
    n_experts : int
    fit : callable, default=fit_em
        Trainer of the stages: ``fit(data, parts, monitor, resp) -> FitResult``.

    Returns
    -------
    FitResult
        With responsibilities.
    """
    ones = np.ones((len(data.y), 1))
    result = _stage(data, make_parts(1), ones, fit)
    for k in range(2, n_experts + 1):
        result = _best_split(data, make_parts(k), result, fit)
    return result


def _stage(data, parts, resp, fit):
    return fit(data, parts, Monitor(_STAGE_TOL, _STAGE_ITER), resp)


def _best_split(data, parts, parent, fit):
    """Fit the most promising splits until one ends above its parent."""
    kept = Parts(parent.gate, parent.experts, parent.likelihood)
    resp, _ = posterior(data, kept)
    best = None
    for expert, direction, threshold in _candidates(data, kept, resp)[:_MAX_TRIES]:
        right = data.gate_X.dot(direction[:, None])[:, 0] > threshold
        result = _stage(data, parts, _split(resp, expert, right), fit)
        if best is None or result.objective > best.objective:
            best = result
        if best.objective > parent.objective:
            break
    if best is None:  # nothing can be cut: two halves of the heaviest expert
        heaviest = int(np.argmax(data.weight @ resp))
        halves = np.arange(len(resp)) % 2 == 0
        best = _stage(data, parts, _split(resp, heaviest, halves), fit)
    return best


def _split(resp, expert, right):
    """Share the responsibility of one expert between it and a new one."""
    share = np.where(right, 0.95, 0.05)
    new = resp[:, expert] * share
    out = np.column_stack([resp, new])
    out[:, expert] -= new
    return out


def _candidates(data, parts, resp):
    """Splits (expert, direction (D,), threshold), the largest gain first."""
    rows = thinned(len(data.y), _MAX_ROWS)
    gate_X = data.gate_X
    residual = _residual(data, parts, rows)
    design = gate_X.on(gate_X.X[rows])
    weights = resp[rows] * data.weight[rows, None]
    Z, directions = _columns(design, residual, weights, parts.experts, data.X)
    found = []
    for k in range(resp.shape[1]):
        weight = resp[rows, k] * data.weight[rows]
        if not weight.max() > 0:
            continue  # an expert without rows has nothing to split
        for column, direction in enumerate(directions):
            gains, thresholds = _gains(Z, Z[:, column], residual[:, k], weight, data)
            best = int(np.argmax(gains))
            if np.isfinite(gains[best]):
                found.append((gains[best], k, direction, thresholds[best]))
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
    if expert_X.shape == (expert_X.shape[0], n_columns + 1):  # the same columns
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


def _residual(data, parts, rows):
    """What each expert leaves unexplained: (m, K, P)."""
    X = data.X.on(data.X.X[rows]) if isinstance(data.X, Design) else data.X[rows]
    pred = parts.experts.predict(X)
    if data.n_classes is None:
        return (data.y[rows, None, :] - pred) / data.y_scale
    onehot = np.eye(data.n_classes)[data.y[rows]]
    return onehot[:, None, :] - scipy.special.softmax(pred, axis=2)


def _gains(Z, column, residual, weight, data):
    """Gain in log-likelihood of separate linear fits on both sides of thresholds."""
    used = weight > 1e-6 * weight.max()
    Z, column, residual, weight = Z[used], column[used], residual[used], weight[used]
    order = np.argsort(column, kind="stable")
    cumulated = np.cumsum(weight[order])
    at = np.searchsorted(cumulated, np.array(_QUANTILES) * cumulated[-1])
    thresholds = np.unique(column[order][np.minimum(at, len(order) - 1)])
    bins = np.searchsorted(thresholds, column, side="left")
    sides = [_bin_sums(Z, residual, weight, bins == b) for b in range(len(thresholds) + 1)]
    sums = [np.cumsum([side[i] for side in sides], axis=0) for i in range(4)]
    left = [part[:-1] for part in sums]
    right = [part[-1] - part[:-1] for part in sums]
    whole = [part[-1:] for part in sums]
    separate = data.n_classes is None
    gain = _loglik(*left, separate) + _loglik(*right, separate) - _loglik(*whole, separate)
    least = np.minimum(left[3], right[3])
    return np.where(least > 1e-3 * cumulated[-1], gain, -np.inf), thresholds


def _bin_sums(Z, residual, weight, members):
    Z, residual, weight = Z[members], residual[members], weight[members]
    weighted = weight[:, None] * residual
    return (
        (weighted * residual).sum(axis=0),
        Z.T @ weighted,
        (Z * weight[:, None]).T @ Z,
        weight.sum(),
    )


def _loglik(squares, gradient, gram, total, separate):
    """Profile Gaussian log-likelihood of local linear fits, one per leading index."""
    ridge = np.eye(gram.shape[-1]) * (1.0 + 1e-9 * np.trace(gram, axis1=1, axis2=2)[:, None, None])
    step = np.linalg.solve(gram + ridge, gradient)
    rest = np.maximum(squares - np.einsum("tdp,tdp->tp", step, gradient), 0.0)
    total = np.maximum(total, 1e-12)[:, None]
    if not separate:
        rest = rest.mean(axis=1, keepdims=True)
    return -0.5 * (total * np.log(rest / total + 1e-6)).sum(axis=1)
