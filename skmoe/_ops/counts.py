"""Kernels of mixtures of k laws of counts in each of n rows.

The probabilities of each law follow from one another (Panjer's recursion):
``p(y + 1) = p(y) (a + b y) / (y + 1)``; Poisson, negative binomial and binomial laws are those of
this kind. (Beyond the trials of a binomial law ``a + b y`` is negative, and at them rounding may
make it less than zero or more: it is cut at zero.) A share ``zero`` of extra zeros is added to
each.
"""

import math

import numpy as np

from ._jit import inlined, kernel

# Logarithm of the smallest first probability, the largest mean, the largest count.
_LEAST, _MOST_MEAN, _MOST = -700.0, 2000.0, 10_000
# What sums of probabilities may be wrong by, and where the upper tail ends.
_ROUNDING, _TAIL = 1e-11, 1e-11


@inlined
def _begun(weights, log_first, a, b, zero, mass):
    """Write weighted probabilities of 0; return their sum, negative where sums would be long."""
    total = 0.0
    for k in range(len(weights)):
        mass[k] = 0.0
        if weights[k] > 0.0:
            if not log_first[k] > _LEAST or a[k] > _MOST_MEAN * (1.0 - b[k]):
                return -1.0
            mass[k] = weights[k] * (1.0 - zero[k]) * math.exp(log_first[k])
            total += mass[k] + weights[k] * zero[k]
    return total


@kernel
def counts_quantile(weights, log_first, a, b, zero, levels, mass, out):
    """Write the smallest counts up to which there is enough probability.

    weights, log_first (logarithm of p(0)), a, b and zero (n, k); levels (n, q) or (1, q),
    ascending in a row and inside (0, 1); mass (k,) is for work; out (n, q), NaN where sums
    would be too long, or rounding may decide.
    """
    n_rows, n_laws = weights.shape
    n_levels = levels.shape[1]
    for i in range(n_rows):
        row = i if levels.shape[0] > 1 else 0
        total = _begun(weights[i], log_first[i], a[i], b[i], zero[i], mass)
        last, j, y = 0.0, 0, 0
        out[i] = np.nan
        while total >= 0.0 and y < _MOST:
            while j < n_levels and total >= levels[row, j]:
                gap = min(total - levels[row, j], levels[row, j] - last)
                if gap > _ROUNDING or (y == 0 and total - levels[row, j] > _ROUNDING):
                    out[i, j] = y
                j += 1
            if j == n_levels or levels[row, j] > 1.0 - _TAIL:
                break
            last = total
            for k in range(n_laws):
                mass[k] *= max(a[i, k] + b[i, k] * y, 0.0) / (y + 1.0)
                total += mass[k]
            y += 1


@kernel
def counts_crps(weights, log_first, a, b, zero, y, mass, out):
    """Write continuous ranked probability scores of y (n,); other arguments as above, out (n,)."""
    n_rows, n_laws = weights.shape
    for i in range(n_rows):
        total = _begun(weights[i], log_first[i], a[i], b[i], zero[i], mass)
        out[i] = np.nan
        if not total >= 0.0:
            continue
        score = max(-y[i], 0.0)
        for count in range(_MOST):
            below = min(max(y[i] - count, 0.0), 1.0)
            rest = max(1.0 - total, 0.0)
            score += below * total * total + (1.0 - below) * rest * rest
            if rest < _TAIL:
                out[i] = score + max(y[i] - count - 1.0, 0.0)
                break
            for k in range(n_laws):
                mass[k] *= max(a[i, k] + b[i, k] * count, 0.0) / (count + 1.0)
                total += mass[k]
