"""Exponentials, logarithms and sums that loops vectorise, which Numba does not write by itself.

The reading of a float's bits, which an exponential that vectorises needs, and weighted sums of
short rows are Numba intrinsics. All have plain twins (`continuous._plain_sums`, `math.exp`),
which take over where compiled code is switched off.
"""

import math

from numba import types
from numba.extending import intrinsic

from ._jit import inlined
from ._lanes import COMPILED, DOUBLE, INT, Lanes, number

# Numbers in a row of `weighted_rows`, and rows that it takes at once.
ROW, AT_ONCE = 8, 4


@intrinsic
def weighted_rows(typing, Z, r, n_rows, out):
    """``out[a] = sum_t r[t] Z[t, a]`` of rows of ROW numbers, as many as AT_ONCE divides."""

    def codegen(context, builder, signature, args):
        Z, r, n_rows, out = args
        lanes = Lanes(builder, width=ROW)

        def step(t, *sums):
            found = []
            for u, total in enumerate(sums):
                own = builder.add(t, number(u))
                row = lanes.load(lanes.at(Z, builder.mul(own, number(ROW))))
                found.append(lanes.fma(lanes.splat(lanes.at(r, own)), row, total))
            return found

        found = lanes.loop(n_rows, step, [lanes.zero] * AT_ONCE, stride=AT_ONCE)
        total = builder.fadd(builder.fadd(found[0], found[1]), builder.fadd(found[2], found[3]))
        lanes.store(total, out)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic
def float_bits(typing, value):
    """The bits of a float64 as int64."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], INT)

    return types.int64(types.float64), codegen


@intrinsic
def bits_float(typing, value):
    """The float64 with the bits of an int64."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], DOUBLE)

    return types.float64(types.int64), codegen


_LOG2_E = 1.0 / math.log(2.0)
# ln 2 in two parts: the first has trailing zeros, so that its multiples are exact.
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
# Adding this to a whole number of at most 2**51 leaves it in the low bits.
_SHIFT = 6755399441055744.0
_ONE_BITS = 1023 << 52
_C = [1.0 / math.factorial(n) for n in range(14)]
_C2, _C3, _C4, _C5, _C6, _C7 = _C[2:8]
_C8, _C9, _C10, _C11, _C12, _C13 = _C[8:14]
# Below this an exponential is a weight that nobody misses, and above it no
# denormal number slows the products down.
EXP_FLOOR = -60.0


# Above this numbers are normal ones.
DEEP_FLOOR = -700.0


@inlined
def _normal_exp(x):
    n = math.floor(x * _LOG2_E + 0.5)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    s = r * r
    low = 1.0 + r + s * (_C2 + r * _C3 + s * (_C4 + r * _C5))
    high = _C6 + r * _C7 + s * (_C8 + r * _C9 + s * (_C10 + r * _C11 + s * (_C12 + r * _C13)))
    scale = bits_float((float_bits(n + _SHIFT) << 52) + _ONE_BITS)
    return (low + s * s * s * high) * scale


@inlined
def _vector_exp(x):
    return _normal_exp(max(x, EXP_FLOOR))


@inlined
def _deep_exp(x):
    return _normal_exp(max(x, DEEP_FLOOR))


def _plain_exp(x):
    return math.exp(max(x, EXP_FLOOR))


def _plain_deep_exp(x):
    return math.exp(max(x, DEEP_FLOOR))


# exp(max(x, EXP_FLOOR)) for x <= 0, to about three units in the last place, in a form
# that loops vectorise. NaN does not survive the floor: callers pass finite numbers.
floored_exp = _vector_exp if COMPILED else _plain_exp
# The same with DEEP_FLOOR.
deep_exp = _deep_exp if COMPILED else _plain_deep_exp


@inlined
def _vector_log(x):
    bits = float_bits(x)
    # Exponent so that the rest lies in [sqrt(1/2), sqrt(2)).
    shifted = bits - float_bits(0.7071067811865476)
    n = shifted >> 52
    f = bits_float(bits - (n << 52))
    s = (f - 1.0) / (f + 1.0)
    z = s * s
    low = 1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0 + z / 11.0)))
    high = 1.0 / 13.0 + z * (1.0 / 15.0 + z * (1.0 / 17.0 + z * (1.0 / 19.0 + z / 21.0)))
    z5 = z * z * z * z * z
    # n as a float without a conversion of 64-bit integers
    power = bits_float(n + _SHIFT_BITS) - _SHIFT
    return (power * _LN2_LOW + 2.0 * s * z * (low + z5 * high) + 2.0 * s) + power * _LN2_HIGH


_SHIFT_BITS = 0x4338000000000000

# log(x) for positive normal x, in a form that loops vectorise.
vector_log = _vector_log if COMPILED else math.log
