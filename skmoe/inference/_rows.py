"""First and second derivatives of each expert's log-likelihood, row by row.

An expert has Q coordinates in a row: its P predictors and its q dispersions by output, in
the order in which the likelihood keeps them.
"""

import numpy as np
import scipy.special

# Step of the differences of scores, for laws that tell only their expected curvature.
_STEP = 1e-5


def derivatives(likelihood, y, pred):
    """Scores and observed curvatures of the log-likelihoods of rows.

    Parameters
    ----------
    likelihood : Gaussian, Categorical or LinkedLikelihood
    y : ndarray of shape (n,) or (n, columns)
        Encoded targets.
    pred : ndarray of shape (n, K, P)

    Returns
    -------
    scores : ndarray of shape (n, K, Q)
        By predictors, then by dispersions as in the ``flat()`` of the likelihood (a Gaussian
        variance counts by its logarithm).
    curvatures : ndarray of shape (n, K, Q, Q)
        Minus the second derivatives.
    """
    if hasattr(likelihood, "theta_"):
        return _linked(likelihood, y, pred)
    if hasattr(likelihood, "_variance"):
        return _gaussian(likelihood, y, pred)
    return _categorical(y, pred)


def _gaussian(likelihood, y, pred):
    variance = likelihood.dispersion
    error = y[:, None, :] - pred
    by_mean = error / variance
    halves = 0.5 * error * by_mean
    n_outputs = pred.shape[2]
    curvatures = np.zeros((*pred.shape[:2], 2 * n_outputs, 2 * n_outputs))
    for j in range(n_outputs):
        v = n_outputs + j
        curvatures[:, :, j, j] = 1.0 / variance[:, j]
        curvatures[:, :, j, v] = curvatures[:, :, v, j] = by_mean[:, :, j]
        curvatures[:, :, v, v] = halves[:, :, j]
    return np.concatenate([by_mean, halves - 0.5], axis=2), curvatures


def _categorical(y, pred):
    proba = scipy.special.softmax(pred, axis=2)
    scores = -proba
    scores[np.arange(len(y)), :, y] += 1.0
    curvatures = -proba[:, :, :, None] * proba[:, :, None, :]
    every = np.arange(pred.shape[2])
    curvatures[:, :, every, every] += proba
    return scores, curvatures


def _linked(likelihood, y, pred):
    """Curvatures as central differences of the scores, coordinate by coordinate."""
    columns, eta, theta = likelihood.arrays(y, pred, None)
    shape = eta[0].shape
    at = [np.broadcast_to(part, shape) for part in (*eta, *theta)]

    def scores_at(values):
        own, _, others, _ = likelihood.derivatives(columns, values[: len(eta)], values[len(eta) :])
        return np.stack([np.broadcast_to(part, shape) for part in (*own, *others)])

    scores = scores_at(at)
    n_kinds, (n_experts, n_outputs, n_rows) = len(at), shape
    curvatures = np.zeros((n_rows, n_experts, n_kinds, n_outputs, n_kinds, n_outputs))
    each = np.arange(n_outputs)
    for q in range(n_kinds):
        step = _STEP
        if q < len(eta):
            step = _STEP * likelihood.unit()[:, q * n_outputs : (q + 1) * n_outputs, None]
        ends = [[*at[:q], at[q] + sign * step, *at[q + 1 :]] for sign in (1.0, -1.0)]
        bent = (scores_at(ends[1]) - scores_at(ends[0])) / (2.0 * step)
        curvatures[:, :, :, each, q, each] = bent.transpose(3, 1, 0, 2)
    size = n_kinds * n_outputs
    curvatures = curvatures.reshape(n_rows, n_experts, size, size)
    curvatures = 0.5 * (curvatures + curvatures.swapaxes(2, 3))
    return scores.transpose(3, 1, 0, 2).reshape(n_rows, n_experts, size), curvatures
