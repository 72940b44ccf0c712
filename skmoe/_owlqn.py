"""Orthant-wise limited-memory quasi-Newton descent, for penalties with an L1 part."""

import numpy as np

from ._lbfgs import Minimum, identity, two_loop

_ARMIJO = 1e-4
_MAX_EVALS = 30


def pseudo_gradient(x, gradient, weights):
    """Steepest one-sided derivative of ``smooth(x) + sum(weights * |x|)``."""
    right, left = gradient + weights, gradient - weights
    at_zero = np.where(right < 0.0, right, np.where(left > 0.0, left, 0.0))
    return np.where(x != 0.0, gradient + weights * np.sign(x), at_zero)


def minimize_l1(
    fun, x, weights, *, precondition=None, renew=None, watch=None, max_iter=100, tol=1e-9, memory=10
):
    """Minimise a smooth function plus ``sum(weights * |x|)``.

    Parameters
    ----------
    fun : callable
        ``fun(x) -> (value, gradient)``: the whole value, and the gradient of its smooth
        part.
    x : ndarray of shape (p,)
        Start; not written to.
    weights : ndarray of shape (p,)
        Non-negative; 0 where there is no L1 penalty.
    precondition, renew, watch, max_iter, tol, memory :
        As in `skmoe._lbfgs.minimize`.

    Returns
    -------
    Minimum
        ``gradient`` is the pseudo-gradient. Numbers that the penalty removes are exactly
        zero.

    References
    ----------
    Andrew, G. and Gao, J. (2007). Scalable training of L1-regularized log-linear models.
    ICML, 33-40.
    """
    value, gradient = fun(x)
    first = renew(0, x) if renew is not None else None
    precondition = first or precondition or identity
    pairs, n_evals, n_iter, small = [], 1, 0, 0
    while True:
        slope = pseudo_gradient(x, gradient, weights)
        direction = two_loop(slope, pairs, precondition)
        direction[direction * slope >= 0.0] = 0.0
        least = tol * max(1.0, abs(value))
        if -0.5 * (direction @ slope) <= least or small >= 2:
            return Minimum(x, value, slope, n_iter, n_evals, True)
        if n_iter >= max_iter:
            return Minimum(x, value, slope, n_iter, n_evals, False)
        found, used = _search(fun, x, value, slope, direction, weights)
        n_evals += used
        if found is None:
            if pairs:
                pairs = []
                continue
            return Minimum(x, value, slope, n_iter, n_evals, False)
        new_x, new_value, new_gradient = found
        s, t = new_x - x, new_gradient - gradient
        if s @ t > 1e-12 * np.sqrt((s @ s) * (t @ t)):
            pairs = pairs[-(memory - 1) :] + [(s, t, 1.0 / (s @ t))]
        small = small + 1 if value - new_value <= least else 0
        x, value, gradient = new_x, new_value, new_gradient
        n_iter += 1
        if watch is not None and watch(x, value):
            return Minimum(x, value, slope, n_iter, n_evals, False)
        precondition = (renew(n_iter, x) if renew is not None else None) or precondition


def _search(fun, x, value, slope, direction, weights):
    """Backtrack along the direction, projected onto the orthant of the start."""
    orthant = np.where(x != 0.0, np.sign(x), -np.sign(slope))
    step = 1.0
    for n_evals in range(1, _MAX_EVALS + 1):
        point = x + step * direction
        point[(weights > 0.0) & (point * orthant <= 0.0)] = 0.0
        new_value, new_gradient = fun(point)
        if new_value <= value + _ARMIJO * (slope @ (point - x)):
            return (point, new_value, new_gradient), n_evals
        step *= 0.5
    return None, _MAX_EVALS
