"""Limited-memory BFGS with a preconditioner and a weak-Wolfe line search.

SciPy's version takes neither an initial inverse Hessian nor a new one in
mid-run; both decide the speed of the fits here.
"""

from dataclasses import dataclass

import numpy as np

_ARMIJO = 1e-4
_CURVATURE = 0.9
# What rounding hides of a decrease, relative to the value, where not said otherwise.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class Minimum:
    """What a minimisation returns: facts, no judgement.

    ``x`` never has a higher ``value`` than the start had.
    """

    x: np.ndarray
    value: float
    gradient: np.ndarray
    n_iter: int
    n_evals: int
    converged: bool


def identity(vector):
    return vector


def two_loop(gradient, pairs, precondition):
    """Two-loop recursion (Nocedal and Wright 2006, algorithm 7.4)."""
    q = gradient.copy()
    steps = []
    for s, t, rho in reversed(pairs):
        a = rho * (s @ q)
        q -= a * t
        steps.append(a)
    scale = 1.0
    if pairs:
        s, t, rho = pairs[-1]
        scale = 1.0 / (rho * (t @ precondition(t)))
    q = scale * precondition(q)
    for (s, t, rho), a in zip(pairs, reversed(steps)):
        q += (a - rho * (t @ q)) * s
    return -q


def _line_search(fun, x, value, gradient, direction, step, max_evals=20):
    """Bisection for the weak Wolfe conditions (Lewis and Overton 2013).

    Returns the best point that satisfies the decrease condition, or None.
    """
    slope = gradient @ direction
    low, high = 0.0, np.inf
    best = None
    for n_evals in range(1, max_evals + 1):
        point = x + step * direction
        new_value, new_gradient = fun(point)
        if not new_value <= value + _ARMIJO * step * slope:  # NaN counts as a failure
            high = step
        else:
            if best is None or new_value < best[1]:
                best = (point, new_value, new_gradient)
            if new_gradient @ direction >= _CURVATURE * slope:
                return best, n_evals
            low = step
        step = 0.5 * (low + high) if np.isfinite(high) else 2.0 * step
    return best, max_evals


def minimize(
    fun,
    x,
    *,
    precondition=None,
    renew=None,
    watch=None,
    max_iter=100,
    tol=1e-9,
    memory=10,
    rounding=_ROUNDING,
    save=None,
    saved=None,
):
    """Minimise a smooth function.

    Parameters
    ----------
    fun : callable
        ``fun(x) -> (value, gradient)``, arrays of shape (p,).
    x : ndarray of shape (p,)
        Start; not written to.
    precondition : callable, optional
        Applies the initial inverse Hessian to a vector; the identity by default.
    renew : callable, optional
        ``renew(n_iter, x)``, called at the start and after each iteration; returns a
        new ``precondition`` or None. The pairs are kept: they hold in the original
        coordinates whatever the initial inverse Hessian is.
    watch : callable, optional
        ``watch(x, value)``, called after each iteration; a true value stops the run.
    max_iter : int, default=100
    tol : float, default=1e-9
        Stop when half the decrease that the quadratic model promises, or two
        decreases in a row, are at most ``tol * max(1, abs(value))``.
    memory : int, default=10
        Number of pairs kept.
    rounding : float, default=1e-10
        Relative error of the values. Where no step lowers the value, and a step was to win
        less than this, the run has converged.
    save : callable, optional
        ``save(state)``, called after each iteration with a dict.
    saved : dict, optional
        Such a state, to go on from; ``precondition`` is then the one of that time.

    Returns
    -------
    Minimum
    """
    if saved is None:
        value, gradient = fun(x)
        first = renew(0, x) if renew is not None else None
        n_evals, small, pairs, n_iter = 1, 0, [], 0
    else:
        first, pairs = None, list(saved["pairs"])
        x, value, gradient, n_evals, small, n_iter = saved["at"]
    precondition = first or precondition or identity
    while n_iter < max_iter:
        direction = two_loop(gradient, pairs, precondition)
        slope = gradient @ direction
        if not slope < 0.0 and pairs:
            pairs = []
            direction = two_loop(gradient, pairs, precondition)
            slope = gradient @ direction
        small_step = tol * max(1.0, abs(value))
        if not -0.5 * slope > small_step:
            return Minimum(x, value, gradient, n_iter, n_evals, True)
        found, used = _line_search(fun, x, value, gradient, direction, 1.0)
        n_evals += used
        if found is None:
            if pairs:  # stale pairs can spoil a direction: try once without
                pairs = []
                continue
            # No step lowers the value: an arrival if less was to be won than rounding hides.
            arrived = -0.5 * slope <= rounding * max(1.0, abs(value))
            return Minimum(x, value, gradient, n_iter, n_evals, arrived)
        new_x, new_value, new_gradient = found
        s, t = new_x - x, new_gradient - gradient
        if s @ t > 1e-12 * np.sqrt((s @ s) * (t @ t)):
            pairs = pairs[-(memory - 1) :] + [(s, t, 1.0 / (s @ t))]
        small = small + 1 if value - new_value <= small_step else 0
        x, value, gradient = new_x, new_value, new_gradient
        n_iter += 1
        if small >= 2 or (watch is not None and watch(x, value)):
            return Minimum(x, value, gradient, n_iter, n_evals, small >= 2)
        renewed = renew(n_iter, x) if renew is not None else None
        precondition = renewed or precondition
        if save is not None:
            save({"at": (x, value, gradient, n_evals, small, n_iter), "pairs": pairs})
    return Minimum(x, value, gradient, n_iter, n_evals, False)
