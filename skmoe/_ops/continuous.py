"""Quantiles of mixtures of k laws with densities, of any kinds, in each of n rows."""

import math

import numpy as np

from ._jit import inlined, kernel

# Kinds of laws, with what stands in the parts of each.
NORMAL = 0  # loc, scale
LAPLACE = 1  # loc, scale, level (the asymmetric law)
INVERSE_GAUSSIAN = 2  # mean, shape, exp(2 shape / mean) / 2
TRUNCATED = 3  # loc, scale, lower, upper, normal tails at lower and at upper
WIDE = 4  # loc, scale, number of a table over asinh((y - loc) / scale)
POSITIVE = 5  # mean, scale, number of a table over log(y / scale), logarithm of the scale
N_PARTS = 6

_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)
_MAX_STEPS = 300
# Log odds that are so near to those wanted need one last step; by cubics, the product of the
# distances of two points. Points further apart than _FAR give no cubic.
_NEAR, _FAR = 1e-8, 3.0
_HUGE = 1e300


@inlined
def _normal(z):
    """Probabilities below and above, both exact where small, and the density."""
    tail = 0.5 * math.erfc(abs(z) * _ROOT_HALF)
    height = _DENSITY * math.exp(-0.5 * z * z)
    if z < 0.0:
        return tail, 1.0 - tail, height
    return 1.0 - tail, tail, height


@inlined
def _laplace(parts, i, k, y):
    loc, scale, level = parts[i, k, 0], parts[i, k, 1], parts[i, k, 2]
    z = (y - loc) / scale
    if z < 0.0:
        below = level * math.exp((1.0 - level) * z)
        return below, 1.0 - below, below * (1.0 - level) / scale
    above = (1.0 - level) * math.exp(-level * z)
    return 1.0 - above, above, above * level / scale


@inlined
def _inverse_gaussian(parts, i, k, y):
    mean, shape = parts[i, k, 0], parts[i, k, 1]
    if y <= 0.0:
        return 0.0, 1.0, 0.0
    root = math.sqrt(shape / y)
    near, far = root * (y / mean - 1.0), root * (y / mean + 1.0)
    below, above, height = _normal(near)
    reflected = parts[i, k, 2] * math.erfc(far * _ROOT_HALF)
    return below + reflected, max(above - reflected, 0.0), height * root / y


@inlined
def _truncated(parts, i, k, y):
    lower, upper = parts[i, k, 2], parts[i, k, 3]
    at_lower, at_upper = parts[i, k, 4], parts[i, k, 5]
    z = (min(max(y, lower), upper) - parts[i, k, 0]) / parts[i, k, 1]
    below, above, height = _normal(z)
    mass = abs(at_lower - at_upper)
    density = height / (parts[i, k, 1] * mass) if lower <= y <= upper else 0.0
    if lower > parts[i, k, 0]:  # by upper tails
        return (at_lower - above) / mass, (above - at_upper) / mass, density
    return (below - at_lower) / mass, (at_upper - below) / mass, density


@inlined
def _tabled(tables, grids, number, s):
    """Probabilities below and above, and the density by s: log odds by cubics, lines outside."""
    last, step = tables.shape[1] - 1, grids[number, 1]
    inverse = 1.0 / step
    x = (s - grids[number, 0]) * inverse
    if not 0.0 < x < last:  # also where it is not a number, which is no place in a table
        end = last if x >= last else 0
        slope = tables[number, end, 1]
        odds = tables[number, end, 0] + slope * (x - end) * step
    else:
        j = min(int(x), last - 1)
        t = x - j
        first = tables[number, j, 0]
        rise = tables[number, j + 1, 0] - first
        begin, end_slope = tables[number, j, 1] * step, tables[number, j + 1, 1] * step
        bend = 3.0 * rise - 2.0 * begin - end_slope
        twist = begin + end_slope - 2.0 * rise
        odds = first + t * (begin + t * (bend + t * twist))
        slope = (begin + t * (2.0 * bend + 3.0 * t * twist)) * inverse
    small = math.exp(-abs(odds))
    large = 1.0 / (1.0 + small)
    small *= large
    if odds < 0.0:
        return small, large, slope * small * large
    return large, small, slope * small * large


@inlined
def _mixture(weights, kinds, parts, i, tables, grids, y):
    # One function of all kinds, and arrays with places in them instead of views: calls and
    # views would cost more than the laws themselves.
    below, above, density = 0.0, 0.0, 0.0
    log_y = math.log(y) if y > 0.0 else -np.inf
    for k in range(weights.shape[1]):
        weight, kind = weights[i, k], kinds[k]
        if not weight > 0.0:
            continue
        if kind == POSITIVE:
            first, second, height = 0.0, 1.0, 0.0
            if y > 0.0:
                s = log_y - parts[i, k, 3]
                first, second, height = _tabled(tables, grids, int(parts[i, k, 2]), s)
                height /= y
        elif kind == WIDE:
            inverse = 1.0 / parts[i, k, 1]
            z = (y - parts[i, k, 0]) * inverse
            square = 1.0 + z * z
            root = math.sqrt(square)
            s = math.copysign(math.log(abs(z) + root), z)
            first, second, height = _tabled(tables, grids, int(parts[i, k, 2]), s)
            height *= inverse * root / square
        elif kind == NORMAL:
            first, second, height = _normal((y - parts[i, k, 0]) / parts[i, k, 1])
            height /= parts[i, k, 1]
        elif kind == LAPLACE:
            first, second, height = _laplace(parts, i, k, y)
        elif kind == INVERSE_GAUSSIAN:
            first, second, height = _inverse_gaussian(parts, i, k, y)
        else:
            first, second, height = _truncated(parts, i, k, y)
        below += weight * first
        above += weight * second
        density += weight * height
    return below, above, density


@inlined
def _inside(y, low, high, width):
    """The value, or one between the bounds, of which one or both may be infinite."""
    if low < y < high:
        return y
    if np.isfinite(low) and np.isfinite(high):
        return 0.5 * (low + high)
    return low + width if np.isfinite(low) else high - width


@inlined
def _cubic(wanted, odds, y, gradient, last_odds, last_y, last_gradient):
    """The value at the odds wanted, by the cubic through two points with their derivatives."""
    gap = odds - last_odds
    t = (wanted - last_odds) / gap
    rest = 1.0 - t
    first = (1.0 + 2.0 * t) * rest * rest * last_y + t * rest * rest * gap * last_gradient
    return first + t * t * ((3.0 - 2.0 * t) * y - rest * gap * gradient)


@kernel
def continuous_quantile(weights, kinds, parts, tables, grids, levels, out):
    """Write quantiles of mixtures of laws with densities.

    weights (n, k); kinds (k,) and parts (n, k, 6) as above; tables (t, nodes, 2) of log odds and
    their slopes, and grids (t, 2) with the first node and the step of each; levels (n, q) or
    (1, q), ascending in a row and inside (0, 1); out (n, q), NaN where steps did not arrive.

    Steps inside a bracket, from one level to the next: to where a line (Newton), or the cubic
    through the last two points, has the log odds that are wanted.
    """
    n_rows, n_laws = weights.shape
    for i in range(n_rows):
        row = i if levels.shape[0] > 1 else 0
        low, most, y, width = np.inf, -np.inf, 0.0, 0.0
        for k in range(n_laws):
            if weights[i, k] > 0.0:
                first = 0.0 if kinds[k] in (INVERSE_GAUSSIAN, POSITIVE) else -np.inf
                low = min(low, parts[i, k, 2] if kinds[k] == TRUNCATED else first)
                most = max(most, parts[i, k, 3] if kinds[k] == TRUNCATED else np.inf)
                y += weights[i, k] * parts[i, k, 0]
                width += weights[i, k] * parts[i, k, 1]
        odds, gradient, at = np.nan, np.nan, y
        for j in range(levels.shape[1]):
            high, last_step, reach = most, np.inf, width
            wanted = math.log(levels[row, j]) - math.log1p(-levels[row, j])
            move = (wanted - odds) * gradient
            y = _inside(at + min(move, 4.0 * width) if np.isfinite(move) else y, low, high, width)
            out[i, j] = np.nan
            for _ in range(_MAX_STEPS):
                last_odds, last_gradient, last_at, at = odds, gradient, at, y
                below, above, density = _mixture(weights, kinds, parts, i, tables, grids, y)
                odds, gradient = np.log(below / above), below * above / density
                missing = wanted - odds
                low, high = (y, high) if missing > 0.0 else (low, y)
                step, close = missing * gradient, abs(missing) < _NEAR
                gap = abs(odds - last_odds)
                if 0.5 * abs(missing) < gap < _FAR and np.isfinite(gradient + last_gradient):
                    to = _cubic(wanted, odds, y, gradient, last_odds, last_at, last_gradient)
                    close |= abs(missing * (wanted - last_odds)) < _NEAR
                    step = to - y
                if low <= y + step <= high and (close or abs(step) < 0.5 * last_step):
                    last_step = abs(step)
                    y += step
                elif np.isfinite(low) and np.isfinite(high):
                    last_step = 0.5 * (high - low)
                    y = low + last_step
                    close = False
                else:
                    y = low + reach if np.isfinite(low) else high - reach
                    reach *= 2.0
                    close = False
                if close or high - low <= 4e-16 * min(abs(low) + abs(high), _HUGE):
                    out[i, j] = y
                    break
