"""Quantiles and scores of mixtures of counts, by probabilities that follow from each other."""

import numpy as np

from ..._ops import get_ops
from ._numeric import mixture_crps, mixture_quantile


def counts_quantile(law, weights, levels):
    """Quantiles of mixtures of counts; arguments as in `Law.mixture_quantile`."""
    n_rows, n_laws, n_outputs = law.shape
    levels = levels[None, :, None] if levels.ndim == 1 else levels
    levels = np.broadcast_to(levels, (*levels.shape[:2], n_outputs))
    found = np.empty((n_rows, levels.shape[1], n_outputs))
    for j, parts in enumerate(_parts(law, weights)):
        wanted, out = np.ascontiguousarray(levels[:, :, j]), np.empty(found.shape[:2])
        get_ops().counts_quantile(*parts, wanted, np.empty(n_laws), out)
        found[:, :, j] = out
    rows = np.flatnonzero(np.isnan(found).any(axis=(1, 2)))
    if len(rows):
        own = levels[rows] if len(levels) > 1 else levels
        exact = mixture_quantile(law.on(rows), weights[rows], own)
        found[rows] = np.where(np.isnan(found[rows]), exact, found[rows])
    return found


def counts_crps(law, weights, y):
    """Scores of mixtures of counts; arguments as in `Law.mixture_crps`."""
    found = np.empty(y.shape)
    for j, parts in enumerate(_parts(law, weights)):
        out = np.empty(len(y))
        at = np.ascontiguousarray(y[:, j])
        get_ops().counts_crps(*parts, at, np.empty(law.shape[1]), out)
        found[:, j] = out
    rows = np.flatnonzero(np.isnan(found).any(axis=1))
    if len(rows):
        exact = mixture_crps(law.on(rows), weights[rows], y[rows])
        found[rows] = np.where(np.isnan(found[rows]), exact, found[rows])
    return found


def _parts(law, weights):
    """What the kernels take of each output."""
    weights = np.ascontiguousarray(weights)
    recursion = [np.broadcast_to(part, law.shape) for part in law.recursion()]
    for j in range(law.shape[2]):
        yield weights, *(np.ascontiguousarray(part[:, :, j]) for part in recursion)
