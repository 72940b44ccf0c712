"""Quantiles of mixtures of k laws with densities, of any kinds, in each of n rows."""

import math

import numpy as np
from scipy.special import erfcx

from ._jit import inlined, kernel, spliced
from ._vector import COMPILED, deep_exp, vector_log, weighted_rows

# Kinds of laws, with what stands in the parts of each.
NORMAL = 0  # loc, scale
LAPLACE = 1  # loc, scale, level (the asymmetric law)
INVERSE_GAUSSIAN = 2  # mean, shape
TRUNCATED = 3  # loc, scale, lower, upper, normal tails at lower and at upper
WIDE = 4  # loc, scale, number of a table over asinh((y - loc) / scale)
POSITIVE = 5  # mean, scale, number of a table over log(y / scale), logarithm of the scale
# Sums of a Poisson number of gamma variables: mean, standard deviation, scale of the gamma
# variables, mean of the number, first place of the numbers that count, and their end.
COMPOUND = 6
N_PARTS = 6

_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)
_MAX_STEPS = 300
# Log odds that are so near to those wanted need one last step; by cubics, the product of the
# distances of two points. Points further apart than _FAR give no cubic. A step that is not
# short beside the scale of the laws is not the last one.
_NEAR, _FAR, _SHORT = 1e-8, 3.0, 1e-4
_HUGE, _TINY = 1e300, 1e-300
# Rows that step side by side, where the weight of a law lies, and what is known of a lane.
LANES = 128
_WEIGHT = N_PARTS * LANES
# Sums are those of probabilities below and above and of densities; then work of tables.
_PLACE, _N_SUMS = 3 * LANES, 9 * LANES
_LOW, _MOST, _HIGH, _Y, _ODDS, _GRADIENT, _AT, _LAST, _REACH, _WIDTH, _WANTED, _STEPS = range(12)
_N_STATES = 12


def _tail_coefficients(degree=22, middle=3.0):
    """Polynomial of (1 + 2 x) exp(x^2) erfc(x) in u = (x - middle) / (x + middle)."""
    u = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    x = middle * (1.0 + u) / (1.0 - u)
    found = np.polynomial.chebyshev.chebfit(u, (1.0 + 2.0 * x) * erfcx(x), degree)
    return map(float, np.polynomial.chebyshev.cheb2poly(found))


_E0, _E1, _E2, _E3, _E4, _E5, _E6, _E7, _E8, _E9, _E10, _E11, *_MORE = _tail_coefficients()
_E12, _E13, _E14, _E15, _E16, _E17, _E18, _E19, _E20, _E21, _E22 = _MORE


@spliced
def _scaled_tail(x):
    """exp(x^2) erfc(x) for x >= 0 to 2e-15, in a form that loops vectorise."""
    u = (x - 3.0) / (x + 3.0)
    s = u * u
    even = _E16 + s * (_E18 + s * (_E20 + s * _E22))
    even = _E8 + s * (_E10 + s * (_E12 + s * (_E14 + s * even)))
    even = _E0 + s * (_E2 + s * (_E4 + s * (_E6 + s * even)))
    odd = _E15 + s * (_E17 + s * (_E19 + s * _E21))
    odd = _E7 + s * (_E9 + s * (_E11 + s * (_E13 + s * odd)))
    odd = _E1 + s * (_E3 + s * (_E5 + s * odd))
    return (even + u * odd) / (1.0 + 2.0 * x)


@spliced
def _normal(z):
    """Probabilities below and above, both exact where small, and the density."""
    height = deep_exp(-0.5 * z * z)
    tail = 0.5 * height * _scaled_tail(abs(z) * _ROOT_HALF)
    below = tail if z < 0.0 else 1.0 - tail
    above = 1.0 - tail if z < 0.0 else tail
    return below, above, _DENSITY * height


@spliced
def _laplace(loc, scale, level, y):
    z = (y - loc) / scale
    rate = (1.0 - level) if z < 0.0 else level
    rest = level if z < 0.0 else 1.0 - level
    tail = rest * deep_exp(-rate * abs(z))
    below = tail if z < 0.0 else 1.0 - tail
    above = 1.0 - tail if z < 0.0 else tail
    return below, above, tail * rate / scale


@spliced
def _inverse_gaussian(mean, shape, y):
    """Of y > 0. The reflected part has the normal density of the near one, so nothing is huge."""
    root = math.sqrt(shape / y)
    near, far = root * (y / mean - 1.0), root * (y / mean + 1.0)
    below, above, height = _normal(near)
    reflected = 0.5 / _DENSITY * height * _scaled_tail(far * _ROOT_HALF)
    return below + reflected, max(above - reflected, 0.0), height * root / y


@spliced
def _truncated(loc, scale, ends, tails, y):
    lower, upper = ends
    below, above, height = _normal((min(max(y, lower), upper) - loc) / scale)
    mass = abs(tails[0] - tails[1])
    density = height / (scale * mass) if lower <= y <= upper else 0.0
    flipped = lower > loc  # by upper tails
    first = tails[0] - above if flipped else below - tails[0]
    second = above - tails[1] if flipped else tails[1] - below
    return first / mass, second / mass, density


@kernel
def _look_up(n_lanes, law, tables, grids, work):
    """Put t inside a cell, log odds and slopes at its ends, and its width where s was in work.

    Reads from anywhere in a table keep a loop from becoming vector instructions, so this is all
    that the loop does.
    """
    last = tables.shape[1] - 1
    for r in range(n_lanes):
        number = int(law[r + 2 * LANES])
        step = grids[number, 1]
        x = (work[r + _PLACE] - grids[number, 0]) / step
        # Also what is no number has a place in the table.
        j = int(x) if 0.0 < x < last else (last - 1 if x >= last else 0)
        work[r + _PLACE] = x - j
        work[r + _PLACE + LANES] = tables[number, j, 0]
        work[r + _PLACE + 2 * LANES] = tables[number, j + 1, 0]
        work[r + _PLACE + 3 * LANES] = tables[number, j, 1] * step
        work[r + _PLACE + 4 * LANES] = tables[number, j + 1, 1] * step
        work[r + _PLACE + 5 * LANES] = step


@spliced
def _tabled(work, r):
    """Probabilities below and above, and the density by s: log odds by cubics, lines outside."""
    t, step = work[r + _PLACE], work[r + _PLACE + 5 * LANES]
    left, right = work[r + _PLACE + LANES], work[r + _PLACE + 2 * LANES]
    begin, end = work[r + _PLACE + 3 * LANES], work[r + _PLACE + 4 * LANES]
    rise = right - left
    bend = 3.0 * rise - 2.0 * begin - end
    twist = begin + end - 2.0 * rise
    odds = left + t * (begin + t * (bend + t * twist))
    slope = begin + t * (2.0 * bend + 3.0 * t * twist)
    odds = left + t * begin if t < 0.0 else odds
    slope = begin if t < 0.0 else slope
    odds = right + (t - 1.0) * end if t > 1.0 else odds
    slope = end if t > 1.0 else slope
    small = deep_exp(-abs(odds))
    large = 1.0 / (1.0 + small)
    small *= large
    below = small if odds < 0.0 else large
    above = large if odds < 0.0 else small
    return below, above, slope / step * small * large


@inlined
def _vector_sums(cell, share, first, end, sums):
    weighted_rows(
        cell.ctypes.data + 64 * first, share.ctypes.data + 8 * first, end - first, sums.ctypes.data
    )


@inlined
def _plain_sums(cell, share, first, end, sums):
    sums[:] = share[first:end] @ cell[first:end]


_sums_of_rows = _vector_sums if COMPILED else _plain_sums


@kernel
def _look_up_sums(n_lanes, law, shares, cells, grid, work):
    """Put into work sums of probabilities, and of their slopes, where s and its slope were.

    Cells (c, numbers, 8) hold polynomials of the place in a cell, from -1 to 1: probabilities
    that so many gamma variables stay below y, over s = log(expm1(sqrt(y / scale))). Shares
    (lanes, numbers) are the probabilities of the numbers.
    """
    a = np.empty(8)
    for r in range(n_lanes):
        x = (work[r + _PLACE] - grid[0]) / grid[1]
        c = int(x) if 0.0 < x < len(cells) else (len(cells) - 1 if x >= len(cells) else 0)
        t = 2.0 * min(max(x - c, 0.0), 1.0) - 1.0
        _sums_of_rows(cells[c], shares[r], int(law[r + 4 * LANES]), int(law[r + 5 * LANES]), a)
        high = a[4] + t * (a[5] + t * (a[6] + t * a[7]))
        work[r + _PLACE] = a[0] + t * (a[1] + t * (a[2] + t * (a[3] + t * high)))
        high = 4.0 * a[4] + t * (5.0 * a[5] + t * (6.0 * a[6] + t * 7.0 * a[7]))
        slope = a[1] + t * (2.0 * a[2] + t * (3.0 * a[3] + t * high))
        work[r + _PLACE + LANES] = 2.0 * slope / (work[r + _PLACE + LANES] * grid[1])


@spliced
def _add(sums, r, weight, below, above, density):
    use = weight > 0.0
    sums[r] += weight * below if use else 0.0
    sums[r + LANES] += weight * above if use else 0.0
    sums[r + 2 * LANES] += weight * density if use else 0.0


@spliced
def _add_positive(sums, r, weight, found, y):
    inside = y > 0.0
    below, above = found[0] if inside else 0.0, found[1] if inside else 1.0
    _add(sums, r, weight, below, above, found[2] if inside else 0.0)


@kernel
def _add_law(kind, n_lanes, law, tables, grids, cells, shares, y, sums):
    """Add weight times probabilities below and above y (n_lanes,), and density there, to sums.

    The parts of a law and its weight are in flat pieces of ``law``, the sums in pieces of
    ``sums``, at distances that are known: so these loops become vector instructions.
    """
    if kind == NORMAL:
        for r in range(n_lanes):
            scale = law[r + LANES]
            below, above, height = _normal((y[r] - law[r]) / scale)
            _add(sums, r, law[r + _WEIGHT], below, above, height / scale)
    elif kind == LAPLACE:
        for r in range(n_lanes):
            found = _laplace(law[r], law[r + LANES], law[r + 2 * LANES], y[r])
            _add(sums, r, law[r + _WEIGHT], found[0], found[1], found[2])
    elif kind == INVERSE_GAUSSIAN:
        for r in range(n_lanes):
            found = _inverse_gaussian(law[r], law[r + LANES], max(y[r], _TINY))
            _add_positive(sums, r, law[r + _WEIGHT], found, y[r])
    elif kind == TRUNCATED:
        for r in range(n_lanes):
            ends = law[r + 2 * LANES], law[r + 3 * LANES]
            tails = law[r + 4 * LANES], law[r + 5 * LANES]
            found = _truncated(law[r], law[r + LANES], ends, tails, y[r])
            _add(sums, r, law[r + _WEIGHT], found[0], found[1], found[2])
    elif kind == COMPOUND:
        for r in range(n_lanes):
            root = math.sqrt(max(y[r], _TINY) / law[r + 2 * LANES])
            small = max(1.0 - deep_exp(-root), _TINY)
            small = root if root < 1e-8 else small
            sums[r + _PLACE] = root + vector_log(small)
            sums[r + _PLACE + LANES] = 2.0 * law[r + 2 * LANES] * root * small
        _look_up_sums(n_lanes, law, shares, cells, grids[0], sums)
        for r in range(n_lanes):
            below = max(sums[r + _PLACE], 0.0) + deep_exp(-law[r + 3 * LANES])
            found = min(below, 1.0), max(1.0 - below, 0.0), max(sums[r + _PLACE + LANES], 0.0)
            _add_positive(sums, r, law[r + _WEIGHT], found, y[r])
    elif kind == WIDE:
        for r in range(n_lanes):
            z = (y[r] - law[r]) / law[r + LANES]
            s = vector_log(abs(z) + math.sqrt(1.0 + z * z))
            sums[r + _PLACE] = s if z > 0.0 else -s
        _look_up(n_lanes, law, tables, grids, sums)
        for r in range(n_lanes):
            scale = law[r + LANES]
            z = (y[r] - law[r]) / scale
            below, above, slope = _tabled(sums, r)
            density = slope / (scale * math.sqrt(1.0 + z * z))
            _add(sums, r, law[r + _WEIGHT], below, above, density)
    else:
        for r in range(n_lanes):
            sums[r + _PLACE] = vector_log(max(y[r], _TINY)) - law[r + 3 * LANES]
        _look_up(n_lanes, law, tables, grids, sums)
        for r in range(n_lanes):
            below, above, slope = _tabled(sums, r)
            found = below, above, slope / max(y[r], _TINY)
            _add_positive(sums, r, law[r + _WEIGHT], found, y[r])


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
def _fill_shares(number, first, end, shares):
    """Probabilities of a Poisson law at numbers from 1 on, of which those in places count."""
    shares[first] = math.exp((first + 1.0) * math.log(number) - number - math.lgamma(first + 2.0))
    for j in range(first + 1, end):
        shares[j] = shares[j - 1] * number / (j + 1.0)


@kernel
def _load(row, weights, segments, parts, r, laws, shares, state):
    """Put a row into lane r: parts and weights of its laws, and where its steps begin."""
    low, most, y, width = np.inf, -np.inf, 0.0, 0.0
    for kind, start, end in segments:
        for k in range(start, end):
            weight = weights[row, k]
            for part in range(N_PARTS):
                laws[k, part * LANES + r] = parts[row, part, k]
            laws[k, _WEIGHT + r] = weight
            if kind == COMPOUND:
                first, end = int(parts[row, 4, k]), int(parts[row, 5, k])
                _fill_shares(parts[row, 3, k], first, end, shares[k, r])
            if weight > 0.0:
                first = 0.0 if kind in (INVERSE_GAUSSIAN, POSITIVE, COMPOUND) else -np.inf
                low = min(low, parts[row, 2, k] if kind == TRUNCATED else first)
                most = max(most, parts[row, 3, k] if kind == TRUNCATED else np.inf)
                y += weight * parts[row, 0, k]
                width += weight * parts[row, 1, k]
    state[_LOW, r], state[_MOST, r], state[_WIDTH, r] = low, most, width
    state[_ODDS, r], state[_GRADIENT, r], state[_AT, r], state[_Y, r] = np.nan, np.nan, y, y


@kernel
def _begin(level, r, state):
    """Set out for a level, from where the last one was found."""
    wanted = math.log(level) - math.log1p(-level)
    low, high, width, y = state[_LOW, r], state[_MOST, r], state[_WIDTH, r], state[_Y, r]
    move = (wanted - state[_ODDS, r]) * state[_GRADIENT, r]
    y = state[_AT, r] + min(move, 4.0 * width) if np.isfinite(move) else y
    state[_Y, r] = _inside(y, low, high, width)
    state[_WANTED, r], state[_HIGH, r], state[_REACH, r] = wanted, high, width
    state[_LAST, r], state[_STEPS, r] = np.inf, 0.0


@kernel
def _advance(below, above, density, r, state):
    """Take a step; return whether the quantile is found."""
    last_odds, last_gradient = state[_ODDS, r], state[_GRADIENT, r]
    last_at, y, wanted = state[_AT, r], state[_Y, r], state[_WANTED, r]
    low, high, last_step = state[_LOW, r], state[_HIGH, r], state[_LAST, r]
    odds, gradient = np.log(below / above), below * above / density
    state[_ODDS, r], state[_GRADIENT, r], state[_AT, r] = odds, gradient, y
    missing = wanted - odds
    low, high = (y, high) if missing > 0.0 else (low, y)
    state[_LOW, r], state[_HIGH, r] = low, high
    step = missing * gradient
    small = abs(step) < _SHORT * state[_WIDTH, r]
    close = small and abs(missing) < _NEAR
    gap = abs(odds - last_odds)
    if 0.5 * abs(missing) < gap < _FAR and np.isfinite(gradient + last_gradient):
        to = _cubic(wanted, odds, y, gradient, last_odds, last_at, last_gradient)
        close |= small and abs(missing * (wanted - last_odds)) < _NEAR
        step = to - y
    if low <= y + step <= high and (close or abs(step) < 0.5 * last_step):
        last_step = abs(step)
        y += step
    elif np.isfinite(low) and np.isfinite(high):
        last_step = 0.5 * (high - low)
        y = low + last_step
        close = False
    else:
        y = low + state[_REACH, r] if np.isfinite(low) else high - state[_REACH, r]
        state[_REACH, r] *= 2.0
        close = False
    state[_Y, r], state[_LAST, r] = y, last_step
    return close or high - low <= 4e-16 * min(abs(low) + abs(high), _HUGE)


@kernel
def continuous_quantile(weights, segments, parts, tables, grids, cells, levels, out):
    """Write quantiles of mixtures of laws with densities.

    weights (n, k); segments (s, 3) of kind, first law and end; parts (n, 6, k) as above; tables
    (t, nodes, 2) of log odds and their slopes, and grids (t, 2) with the first node and the step
    of each; cells (c, numbers, 8), polynomials of `COMPOUND`, over grids[0]; levels (n, q) or
    (1, q), ascending in a row and inside (0, 1); out (n, q), NaN where steps did not arrive.

    Steps inside a bracket, from one level to the next: to where a line (Newton), or the cubic
    through the last two points, has the log odds that are wanted. Many rows step side by side,
    each in a lane that the next row takes when all levels of a row are found.
    """
    n_rows, n_levels = out.shape
    n_lanes = min(LANES, n_rows)
    laws = np.ones((weights.shape[1], (N_PARTS + 1) * LANES))
    shares = np.zeros((weights.shape[1] if len(cells) else 1, LANES, cells.shape[1]))
    state, sums = np.zeros((_N_STATES, LANES)), np.zeros(_N_SUMS)
    row, level = np.arange(n_lanes), np.zeros(n_lanes, dtype=np.int64)
    out[:] = np.nan
    for r in range(n_lanes):
        _load(r, weights, segments, parts, r, laws, shares, state)
        _begin(levels[r if len(levels) > 1 else 0, 0], r, state)
    n_begun = n_busy = n_lanes
    while n_busy > 0:
        sums[:_PLACE] = 0.0
        for kind, start, end in segments:
            for k in range(start, end):
                own = shares[k] if kind == COMPOUND else shares[0]
                _add_law(kind, n_lanes, laws[k], tables, grids, cells, own, state[_Y], sums)
        for r in range(n_lanes):
            if row[r] == n_rows:  # nothing left to do
                continue
            found = _advance(sums[r], sums[r + LANES], sums[r + 2 * LANES], r, state)
            state[_STEPS, r] += 1.0
            if found:
                out[row[r], level[r]] = state[_Y, r]
            elif state[_STEPS, r] < _MAX_STEPS:
                continue
            level[r] += 1
            if level[r] == n_levels:
                row[r], level[r] = n_begun, 0
                if n_begun == n_rows:
                    n_busy -= 1
                    continue
                _load(n_begun, weights, segments, parts, r, laws, shares, state)
                n_begun += 1
            _begin(levels[row[r] if len(levels) > 1 else 0, level[r]], r, state)
