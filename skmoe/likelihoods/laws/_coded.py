"""Quantiles of mixtures of laws with densities, by a kernel that knows their kinds."""

import numpy as np

from ..._ops import get_ops
from ._numeric import mixture_quantile

# Numbers of nodes of a table of log odds, how far it reaches, and what it may be wrong by.
_NODES, _END, _ERROR = (1024, 2048, 4096, 8192, 16_384), 1e-13, 2e-10
# Levels nearer to 0 or 1 are left to the exact functions; pairs for which tables pay.
_LEAST_LEVEL, _MANY = 1e-7, 20_000
NO_CELLS = np.zeros((0, 0, 8))


def coded_quantile(law, weights, levels):
    """Quantiles of mixtures; arguments as in `Law.mixture_quantile`.

    Laws of which `Law.coded` tells the kind go to a kernel; what it leaves undone, and all
    other laws, to `mixture_quantile`.
    """
    levels = spread(levels, law)
    found = np.full((law.shape[0], *levels.shape[1:]), np.nan)
    coded = _coded(law, found.shape[0] * found.shape[1] >= _MANY)
    if coded is not None and levels.size:
        kinds, parts, tables, grids = coded
        order = np.argsort(kinds, kind="stable")
        sorted_weights = np.ascontiguousarray(weights[:, order])
        segments = _segments(kinds[order])
        found = by_kernel(sorted_weights, segments, parts[:, order], levels, tables, grids)
    return completed(found, law, weights, levels)


def spread(levels, law):
    """Levels (q,) or (n, q, m) as (1 or n, q, m)."""
    levels = levels[None, :, None] if levels.ndim == 1 else levels
    return np.broadcast_to(levels, (*levels.shape[:2], law.shape[2]))


def by_kernel(weights, segments, parts, levels, tables, grids, cells=NO_CELLS):
    """Quantiles (n, q, m), NaN where the kernel leaves them; arguments as in the kernel.

    Parts are (n, k, m, 6), levels (n or 1, q, m).
    """
    found = np.full((len(weights), *levels.shape[1:]), np.nan)
    safe = np.clip(levels, _LEAST_LEVEL, 1.0 - _LEAST_LEVEL)
    for j in range(levels.shape[2]):
        out = np.empty(found.shape[:2])
        own = np.ascontiguousarray(parts[:, :, j].transpose(0, 2, 1))
        wanted = np.ascontiguousarray(safe[:, :, j])
        with np.errstate(all="ignore"):  # where it is not compiled
            get_ops().continuous_quantile(weights, segments, own, tables, grids, cells, wanted, out)
        found[:, :, j] = np.where(wanted == levels[:, :, j], out, np.nan)
    return found


def _segments(kinds):
    """Kind, first and end (s, 3) of the runs of equal kinds."""
    first = np.flatnonzero(np.diff(kinds, prepend=-1))
    return np.column_stack([kinds[first], first, np.append(first[1:], len(kinds))])


def completed(found, law, weights, levels):
    """Quantiles with those that are NaN by exact steps."""
    rows, columns = (np.flatnonzero(np.isnan(found).any(axis=axes)) for axes in ((1, 2), (0, 2)))
    if len(rows):
        own = levels[:, columns][rows] if len(levels) > 1 else levels[:, columns]
        exact = mixture_quantile(law.on(rows), weights[rows], own)
        place = np.ix_(rows, columns)
        found[place] = np.where(np.isnan(found[place]), exact, found[place])
    return found


def _coded(law, many):
    """Kinds (k,), parts (n, k, m, 6), tables and grids; None where a law has no code."""
    laws = getattr(law, "laws", [law])
    each = [one.coded() for one in laws]
    if any(found is None or (found[2] is not None and not many) for found in each):
        return None
    for n_nodes in _NODES:
        arrays = _arrays(laws, each, n_nodes)
        if arrays is not None:
            return arrays
    return None


def _arrays(laws, each, n_nodes):
    """The same with tables of so many nodes; None where they are too few."""
    ops = get_ops()
    kinds, parts, tables, grids = [], [], [np.zeros((0, n_nodes, 2))], [np.zeros((0, 2))]
    for one, (kind, own, standard) in zip(laws, each, strict=True):
        if standard is not None:
            table = table_of(standard, kind == ops.POSITIVE, n_nodes)
            if table is None:
                return None
            number = sum(map(len, tables)) + table[2].reshape(standard.shape)
            own = [*own, number, np.log(own[1])] if kind == ops.POSITIVE else [*own, number]
            tables.append(table[0])
            grids.append(table[1])
        block = np.zeros((*one.shape, ops.N_PARTS))
        for place, values in enumerate(own):
            block[..., place] = values
        kinds += [kind] * one.shape[1]
        parts.append(block)
    joined = [np.concatenate(arrays) for arrays in (tables, grids)]
    return np.array(kinds), np.concatenate(parts, axis=1), *joined


def table_of(law, positive, n_nodes):
    """Tables of the log odds of standard laws, over the logarithm or asinh of the value.

    Parameters
    ----------
    law : Law
        Of shape (1, k, m).
    positive : bool
        Whether values are positive: over the logarithm.
    n_nodes : int

    Returns
    -------
    tables : ndarray of shape (t, nodes, 2)
        Log odds and their slopes, for each law that differs from others.
    grids : ndarray of shape (t, 2)
        First node and step.
    number : ndarray of shape (k * m,)
        Which table is that of a law. None altogether where cubics are not near enough.
    """
    shapes = np.stack([getattr(law, name).ravel() for name in law._names])
    _, which, number = np.unique(shapes, axis=1, return_index=True, return_inverse=True)
    law = type(law)(*(part[None, which, None] for part in shapes))
    with np.errstate(divide="ignore"):
        ends = [(np.log if positive else np.arcsinh)(law.ppf(p)[0]) for p in (_END, 1.0 - _END)]
    if not np.isfinite(ends).all():
        return None
    start, step = ends[0], (ends[1] - ends[0]) / (n_nodes - 1)  # (t, 1)
    s = start + step * np.arange(n_nodes)[:, None, None]
    odds, slope, _ = _odds(law, s, positive)
    middle, _, share = _odds(law, s[:-1] + 0.5 * step, positive)
    guess = 0.5 * (odds[:-1] + odds[1:]) + step * (slope[:-1] - slope[1:]) / 8.0
    if np.max(np.abs(guess - middle)[share > _LEAST_LEVEL]) > _ERROR:
        return None
    tables = np.stack([odds[..., 0], slope[..., 0]], axis=-1).transpose(1, 0, 2)
    return np.ascontiguousarray(tables), np.hstack([start, step]), number.ravel()


def _odds(law, s, positive):
    """Log odds, their slopes by s, and the smaller of both probabilities."""
    y = np.exp(s) if positive else np.sinh(s)
    below, above = law.cdf(y), law.sf(y)
    by_s = y if positive else np.cosh(s)
    slope = np.exp(law.log_density(y)) * by_s / (below * above)
    return np.log(below / above), slope, np.minimum(below, above)
