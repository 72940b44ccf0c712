"""Quantiles and scores of mixtures of any laws, by numbers."""

import numpy as np

_MAX_STEPS = 200
# Pairs of a row and a level that are looked for together.
_BLOCK = 2**14
# Nodes of Gauss and Legendre between two neighbours of these levels, for scores.
_LEVELS = np.array([1e-10, 1e-6, 1e-3, 0.02, 0.1, 0.25, 0.5])
_LEVELS = np.concatenate([_LEVELS, 1.0 - _LEVELS[-2::-1]])
_N_NODES = 12
# Level of the quantile beyond which nothing is added to a score of counts.
_LAST = 1.0 - 1e-12


def averaged(weights, values):
    """Weighted mean over the laws: (n, k), (n, k, m) -> (n, m)."""
    return np.einsum("nk,nkm->nm", weights, values)


def mixture_quantile(law, weights, levels):
    """Quantiles of mixtures: the smallest values up to which there is enough probability.

    Parameters
    ----------
    law : Law
        Of arrays (n, k, m), with ``ppf``, ``cdf``, ``sf`` and ``log_density``.
    weights : ndarray of shape (n, k)
        Rows sum to one.
    levels : ndarray of shape (q,) or (n, q, m)
        Inside (0, 1).

    Returns
    -------
    ndarray of shape (n, q, m)
    """
    n_rows, _, n_outputs = law.shape
    levels = levels[None, :, None] if levels.ndim == 1 else levels
    levels = np.broadcast_to(levels, (n_rows, levels.shape[1], n_outputs))
    find = _among_counts if law.discrete else _by_halving if law.has_counts else _by_newton
    rows = np.repeat(np.arange(n_rows), levels.shape[1])
    flat, found = levels.reshape(len(rows), n_outputs), np.empty((len(rows), n_outputs))
    for start in range(0, len(rows), _BLOCK):
        some = slice(start, start + _BLOCK)
        found[some] = find(law.on(rows[some]), weights[rows[some]], flat[some])
    return found.reshape(levels.shape)


def _bracket(law, weights, level):
    """The least and the largest quantile (n, m) of the laws with weight."""
    each = law.ppf(level[:, None, :])
    used = (weights > 0.0)[:, :, None]
    low = np.where(used, each, np.inf).min(axis=1)
    return low, np.where(used, each, -np.inf).max(axis=1)


def _among_counts(law, weights, level):
    low, high = _bracket(law, weights, level)
    low = low - 1.0
    while np.any(high - low > 1.0):
        middle = np.floor(0.5 * (low + high))
        enough = averaged(weights, law.cdf(middle[:, None, :])) >= level
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def _by_halving(law, weights, level):
    low, high = _bracket(law, weights, level)
    at_once = averaged(weights, law.cdf(low[:, None, :])) >= level
    high = np.where(at_once, low, high)
    for _ in range(_MAX_STEPS):
        middle = 0.5 * (low + high)
        if np.all((middle <= low) | (middle >= high) | (high - low <= 1e-15 * np.abs(high))):
            break
        enough = averaged(weights, law.cdf(middle[:, None, :])) >= level
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    whole = np.rint(high)  # where the value may be a count
    near = np.abs(whole - high) <= 1e-12 * np.maximum(1.0, np.abs(high))
    enough = averaged(weights, law.cdf(whole[:, None, :])) >= level
    return np.where(near & enough, whole, high)


def _by_newton(law, weights, level):
    low, high = _bracket(law, weights, level)
    if not law.has_mass:
        return newton(law, weights, level, low, high)
    at_zero = averaged(weights, law.cdf(np.zeros((1, 1, 1)))) >= level
    return np.where(at_zero, 0.0, newton(law, weights, level, low, np.where(at_zero, low, high)))


def quantile_of_each(law, levels):
    """Quantiles of laws of values of at least zero, each by itself.

    Parameters
    ----------
    law : Law
    levels : float or ndarray that broadcasts against (n, k, m)
        Inside (0, 1).

    Returns
    -------
    ndarray of shape (n, k, m)
    """
    arrays = np.broadcast_arrays(levels, *(getattr(law, name) for name in law._names))
    level, *parts = (array.reshape(-1, 1) for array in arrays)
    single = type(law)(*(part[:, :, None] for part in parts))
    found = np.zeros(level.shape)
    above = np.flatnonzero(single.cdf(found[:, :, None])[:, 0] < level)
    if len(above):
        single, level = single.on(above), level[above]
        high = (single.mean() + np.sqrt(single.variance()))[:, 0]
        short = np.arange(len(level))
        for _ in range(_MAX_STEPS):
            short = short[single.on(short).cdf(high[short, :, None])[:, 0, 0] < level[short, 0]]
            if not len(short):
                break
            high[short] *= 2.0
        ones = np.ones(level.shape)
        found[above] = newton(single, ones, level, np.zeros(level.shape), high)
    return found.reshape(arrays[0].shape)


def newton(law, weights, level, low, high):
    """Newton steps inside a bracket; above the median by the upper tail, which keeps its digits.

    Parameters
    ----------
    law : Law
        Of arrays (n, k, m), with a density everywhere but, perhaps, at zero.
    weights : ndarray of shape (n, k)
    level : ndarray of shape (n, m)
    low, high : ndarray of shape (n, m)
        Values between which the quantiles lie.

    Returns
    -------
    ndarray of shape (n, m)
    """
    found = 0.5 * (low + high)
    rows, last = np.arange(len(found)), np.full(found.shape, np.inf)
    for _ in range(_MAX_STEPS):
        y = found[rows]
        missing, density = _missing(law, weights, level[rows], y)
        low, high = np.where(missing > 0.0, y, low), np.where(missing > 0.0, high, y)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            step = missing / density
        least = 4e-16 * (np.abs(low) + np.abs(high))
        done = (missing == 0.0) | (high - low <= least) | (np.abs(step) <= least)
        # A step that is not half of the last one may go round in a circle.
        good = (np.abs(step) < 0.5 * last) & (low < y + step) & (y + step < high)
        last = np.where(good, np.abs(step), 0.5 * (high - low))
        found[rows] = np.where(done, y, np.where(good, y + step, low + 0.5 * (high - low)))
        going = ~done.all(axis=1)
        if not going.any():
            break
        if not going.all():
            rows, law, weights = rows[going], law.on(going), weights[going]
            low, high, last = low[going], high[going], last[going]
    return found


def _missing(law, weights, level, y):
    """Probability that is missing below y, and the density there: (n, m) each."""
    at = y[:, None, :]
    upper = level > 0.5
    missing = np.empty(y.shape)
    if not upper.all():
        missing = level - averaged(weights, law.cdf(at))
    if upper.any():
        missing = np.where(upper, averaged(weights, law.sf(at)) - (1.0 - level), missing)
    return missing, averaged(weights, np.exp(law.log_density(at)))


def mixture_crps(law, weights, y):
    """Continuous ranked probability scores of mixtures, by integrals over the values.

    Parameters
    ----------
    law : Law
    weights : ndarray of shape (n, k)
    y : ndarray of shape (n, m)

    Returns
    -------
    ndarray of shape (n, m)
    """
    return (_sum_over_counts if law.discrete else _integral)(law, weights, y)


def _sum_over_counts(law, weights, y):
    """Between neighbouring counts the integrand is constant, but for the step at y."""
    last = mixture_quantile(law, weights, np.array([_LAST]))[:, 0]
    low, high = np.minimum(np.floor(y), -1.0), np.maximum(last, np.ceil(y)) + 1.0
    score = np.zeros(y.shape)
    for start in range(int(low.min()), int(high.max()) + 1):
        share = averaged(weights, law.cdf(np.full((1, 1, 1), float(start))))
        below = np.clip(y - start, 0.0, 1.0)  # of [start, start + 1)
        score += below * np.square(share) + (1.0 - below) * np.square(1.0 - share)
    return score


def _integral(law, weights, y):
    """Gauss and Legendre between quantiles, medians of the laws, and y."""
    nodes, node_weights = np.polynomial.legendre.leggauss(_N_NODES)
    corners = mixture_quantile(law, weights, _LEVELS)
    middles = law.ppf(np.full((1, 1, 1), 0.5))
    ends = [y, np.minimum(y, corners[:, 0]), np.maximum(y, corners[:, -1])]
    corners = np.concatenate([corners, middles, np.stack(ends, axis=1)], axis=1)
    if law.has_counts:  # where the probability jumps
        jumps = np.arange(np.floor(ends[1].min()), np.ceil(ends[2].max()) + 1.0)
        jumps = np.broadcast_to(jumps[None, :, None], (len(y), len(jumps), y.shape[1]))
        corners = np.concatenate([corners, jumps], axis=1)
    corners = np.sort(np.clip(corners, ends[1][:, None], ends[2][:, None]), axis=1)
    score = np.zeros(y.shape)
    for j in range(corners.shape[1] - 1):
        centre = 0.5 * (corners[:, j] + corners[:, j + 1])
        half = 0.5 * (corners[:, j + 1] - corners[:, j])
        for node, node_weight in zip(nodes, node_weights):
            at = centre + node * half
            score += half * node_weight * np.square(_rest(law, weights, at, at < y))
    return score


def _rest(law, weights, at, below):
    """Probability up to values (n, m) that are below what was observed, else above them."""
    found = np.zeros(at.shape)
    for mine, side in ((below, "cdf"), (~below, "sf")):
        rows = np.flatnonzero(mine.any(axis=1))
        if len(rows):
            some = law if len(rows) == len(at) else law.on(rows)
            values = averaged(weights[rows], getattr(some, side)(at[rows][:, None]))
            found[rows] += np.where(mine[rows], values, 0.0)
    return found
