"""Kernels of predictive distributions: mixtures of k normal laws in each of n rows."""

import math

import numpy as np

from ._jit import kernel

_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)
_MAX_STEPS = 200
# Below this density a step would overflow; the bracket is halved instead.
_SMALL = 1e-200


@kernel
def normal_mixture_quantile(weights, loc, scale, levels, normal, out):
    """Write quantiles of mixtures of normal laws.

    weights, loc, scale (n, k), scale positive; levels (n, q) or (1, q), ascending in a row
    and inside (0, 1); normal, the same quantiles of the standard normal law; out (n, q).

    Halley steps inside a bracket: the mixture's quantile lies between the least and the
    largest of its laws'. Above the median the upper tail is used, which keeps its digits.
    """
    n_rows, n_laws = loc.shape
    for i in range(n_rows):
        below = -np.inf
        row = i if levels.shape[0] > 1 else 0
        for j in range(levels.shape[1]):
            low, high = np.inf, -np.inf
            for k in range(n_laws):
                if weights[i, k] > 0.0:
                    at = loc[i, k] + scale[i, k] * normal[row, j]
                    low, high = min(low, at), max(high, at)
            low = min(max(low, below), high)
            upper = levels[row, j] > 0.5
            level = 1.0 - levels[row, j] if upper else levels[row, j]
            sign = -1.0 if upper else 1.0
            least = 4e-16 * (abs(low) + abs(high))
            y, last = 0.5 * (low + high), np.inf
            for _ in range(_MAX_STEPS):
                share, density, slope = 0.0, 0.0, 0.0
                for k in range(n_laws):
                    weight = weights[i, k]
                    if weight > 0.0:
                        z = (y - loc[i, k]) / scale[i, k]
                        share += weight * 0.5 * math.erfc(-sign * z * _ROOT_HALF)
                        height = weight * _DENSITY * math.exp(-0.5 * z * z) / scale[i, k]
                        density += height
                        slope -= height * z / scale[i, k]
                # What is missing below y; positive where the quantile lies above y.
                missing = sign * (level - share)
                if missing > 0.0:
                    low = y
                else:
                    high = y
                step, bend = np.inf, 1.0
                if density > _SMALL:
                    step = missing / density
                    bend = 1.0 + 0.5 * step * (slope / density)
                if 0.5 < bend < 2.0:
                    step = step / bend
                if missing == 0.0 or high - low <= least or abs(step) <= least:
                    break
                # A step that is not half of the last one may go round in a circle.
                if abs(step) < 0.5 * last and low < y + step < high:
                    last = abs(step)
                    y += step
                else:
                    last = 0.5 * (high - low)
                    y = low + last
            out[i, j] = y
            below = y
