"""Quantiles of mixtures of sums of a Poisson number of gamma variables, by tables."""

import numpy as np
import scipy.special

from ..._ops import get_ops
from ._coded import by_kernel, completed, spread

# Largest Poisson mean for which there are tables, their cells, and what they may be wrong by.
_MOST, _STEP, _ERROR = 300.0, 1 / 12, 2e-14
# Poisson numbers further than so many standard deviations from their mean do not count.
_REACH, _EXTRA = 9.0, 20.0
# Probability of values that lie left, or right, of the table.
_OUTSIDE = 1e-12
# Levels so little above the probability of zero are left to the exact functions.
_ABOVE = 1e-8
# Pairs of a row and a level for which a table pays, and its largest size in numbers.
_PAYS, _LARGEST = 200, 2**21
# Nodes in a cell, from -1 to 1, coefficients of powers from values there, and points between.
_NODES = np.cos(np.pi * (np.arange(8) + 0.5) / 8)
_COEFFICIENTS = np.linalg.inv(np.vander(_NODES, increasing=True)).T
_PROBES = np.array([-1.0, -0.8, 0.1, 0.9])


def compound_quantile(law, weights, levels):
    """Quantiles of mixtures of `TweedieLaw`; arguments as in `Law.mixture_quantile`."""
    levels = spread(levels, law)
    found = np.full((law.shape[0], *levels.shape[1:]), np.nan)
    number, shape, _ = law._sums()
    rows = np.flatnonzero((number <= _MOST).all(axis=(1, 2)))
    powers = np.unique(law._power)
    if len(powers) == 1 and len(rows) * levels.shape[1] >= _PAYS:
        found[rows] = _tabled(
            law.on(rows),
            weights[rows],
            levels[rows] if len(levels) > 1 else levels,
            float(np.unique(shape)[0]),
        )
    return completed(found, law, weights, levels)


def _tabled(law, weights, levels, shape):
    """Quantiles (n, q, m), NaN where they are left to others."""
    number, _, scale = law._sums()
    table = _table(shape, number.max())
    at_zero = np.einsum("nk,nkm->nm", weights, np.exp(-number))[:, None]
    if table is None:
        return np.where(at_zero >= levels, 0.0, np.nan)
    first, end = _numbers(number)
    spreads = np.sqrt(law.variance())
    parts = np.stack([law.mean(), spreads, scale, number, first, end], axis=-1)
    segments = np.array([[get_ops().COMPOUND, 0, law.shape[1]]])
    above = levels > at_zero + _ABOVE * (1.0 - at_zero)
    # Elsewhere any level that is easy to find: the next one, or half of what is not zero.
    easy = np.where(above, levels, np.inf).min(axis=1, keepdims=True)
    easy = np.where(np.isfinite(easy), easy, 0.5 + 0.5 * at_zero)
    wanted = np.where(above, levels, easy)
    no_tables = np.zeros((0, 2, 2))
    found = by_kernel(np.ascontiguousarray(weights), segments, parts, wanted, no_tables, *table)
    return np.where(at_zero >= levels, 0.0, np.where(above, found, np.nan))


def _numbers(mean):
    """Places from 0 on of the numbers from 1 on that count, by fours: the first and the end."""
    spread = np.sqrt(mean)
    most = mean + _REACH * spread + _EXTRA / (1.0 + spread)
    first = np.maximum(0.0, np.floor(mean - _REACH * spread) - 1.0)
    return first, first + 4.0 * np.ceil((most - first) / 4.0)


def _table(shape, number):
    """Grid (1, 2) and cells (c, 6, j) up to a mean number; None where none is near enough."""
    n_terms = 4 + int(_numbers(number)[1])
    log_least = (np.log(_OUTSIDE / max(number, 1.0)) + scipy.special.gammaln(shape + 1.0)) / shape
    low = 0.5 * log_least
    high = np.sqrt(scipy.special.gammainccinv(n_terms * shape, _OUTSIDE))
    a = shape * np.arange(1, n_terms + 1)
    n_cells = int(np.ceil((high - low) / _STEP))
    if n_cells * n_terms > _LARGEST:
        return None
    middle = low + _STEP * (np.arange(n_cells) + 0.5)[:, None, None]
    cells = _below(middle + 0.5 * _STEP * _NODES, a) @ _COEFFICIENTS
    exact, powers = _below(middle + 0.5 * _STEP * _PROBES, a), np.vander(_PROBES, len(_NODES), True)
    if np.abs(cells @ powers.T - exact).max() > _ERROR:
        return None
    return np.array([[low, _STEP]]), cells


def _below(s, a):
    """Probabilities of gamma laws below log1p(exp(s))^2: (c, 1, nodes) -> (c, j, nodes)."""
    return scipy.special.gammainc(a[:, None], np.square(np.logaddexp(0.0, s)))
