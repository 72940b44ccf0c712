"""Vector instructions that Numba does not write by itself.

Three things are written in LLVM's own language here, as Numba intrinsics: the inner
tile of a weighted Gram, with its sums held in vector registers, weighted sums of
short rows, and the reading of a float's bits, which an exponential that vectorises
needs. All have plain twins (`cpu.weighted_grams`, `continuous._plain_sums`,
`math.exp`), which take over where compiled code is switched off or, for the tile,
the processor has no fused multiply-add.

A tile is ``ROWS`` columns of Z against up to three vectors of ``WIDTH`` columns (twice
as many of float32). With AVX-512 that is 8 x 24 sums in 24 of 32 registers, with AVX2
4 x 12 in 12 of 16. Sums of float32 are added up in float64 tile by tile.
"""

import math

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import inlined

_FEATURES = llvmlite.binding.get_host_cpu_features()
WIDTH = 8 if _FEATURES.get("avx512f", False) else 4
ROWS = WIDTH
MAX_VECTORS = 3
# Plain Python takes over when the compiler is switched off.
COMPILED = not numba.config.DISABLE_JIT
# Whether the tile pays: it is fused multiply-adds and nothing else.
HAS_TILE = COMPILED and bool(_FEATURES.get("fma", False) or _FEATURES.get("neon", False))

_DOUBLE = ir.DoubleType()
_FLOAT = ir.FloatType()
_INT = ir.IntType(64)


def _tile(n_vectors, single=False):
    """Code of ``out[i + a, j + b] += sum_t r[t] Z[t, i + a] Z[t, j + b]``."""
    number, size, width = (_FLOAT, 4, 2 * WIDTH) if single else (_DOUBLE, 8, WIDTH)
    vector, wide = ir.VectorType(number, width), ir.VectorType(_DOUBLE, width)

    def codegen(context, builder, signature, args):
        Z, stride, r, n_rows, i, j, out, out_stride = args
        index = ir.Constant(_INT, 0)

        def splat(value):
            first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, index)
            mask = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
            return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)

        def pointer(base, offset, size=size):
            return builder.add(base, builder.mul(offset, ir.Constant(_INT, size)))

        def load_vector(address):
            loaded = builder.load(builder.inttoptr(address, vector.as_pointer()))
            loaded.align = size
            return loaded

        def load(address):
            return builder.load(builder.inttoptr(address, number.as_pointer()))

        fma = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector, [vector, vector, vector]),
            f"llvm.fmuladd.v{width}f{8 * size}",
        )
        before = builder.block
        loop = builder.append_basic_block("rows")
        after = builder.append_basic_block("store")
        builder.branch(loop)
        builder.position_at_end(loop)
        t = builder.phi(_INT)
        t.add_incoming(ir.Constant(_INT, 0), before)
        sums = [[builder.phi(vector) for _ in range(n_vectors)] for _ in range(ROWS)]
        zero = ir.Constant(vector, [0.0] * width)
        for row in sums:
            for total in row:
                total.add_incoming(zero, before)
        start = builder.mul(t, stride)
        weight = splat(load(pointer(r, t)))
        right = [
            builder.fmul(
                load_vector(
                    pointer(Z, builder.add(start, builder.add(j, ir.Constant(_INT, q * width))))
                ),
                weight,
            )
            for q in range(n_vectors)
        ]
        new_sums = []
        for a in range(ROWS):
            offset = builder.add(start, builder.add(i, ir.Constant(_INT, a)))
            left = splat(load(pointer(Z, offset)))
            new_sums.append(
                [builder.call(fma, [left, right[q], sums[a][q]]) for q in range(n_vectors)]
            )
        following = builder.add(t, ir.Constant(_INT, 1))
        t.add_incoming(following, loop)
        for row, new_row in zip(sums, new_sums):
            for total, new_total in zip(row, new_row):
                total.add_incoming(new_total, loop)
        builder.cbranch(builder.icmp_signed("<", following, n_rows), loop, after)
        builder.position_at_end(after)
        for a in range(ROWS):
            line = builder.mul(builder.add(i, ir.Constant(_INT, a)), out_stride)
            for q in range(n_vectors):
                offset = builder.add(line, builder.add(j, ir.Constant(_INT, q * width)))
                address = builder.inttoptr(pointer(out, offset, 8), wide.as_pointer())
                old = builder.load(address)
                old.align = 8
                found = new_sums[a][q]
                found = builder.fpext(found, wide) if single else found
                stored = builder.store(builder.fadd(old, found), address)
                stored.align = 8
        return context.get_dummy_value()

    return codegen


_TILE_SIGNATURE = types.void(*[types.int64] * 8)


@intrinsic
def tile_1(typing, Z, stride, r, n_rows, i, j, out, out_stride):
    """One vector wide; addresses and element counts as int64."""
    return _TILE_SIGNATURE, _tile(1)


@intrinsic
def tile_2(typing, Z, stride, r, n_rows, i, j, out, out_stride):
    """Two vectors wide."""
    return _TILE_SIGNATURE, _tile(2)


@intrinsic
def tile_3(typing, Z, stride, r, n_rows, i, j, out, out_stride):
    """Three vectors wide."""
    return _TILE_SIGNATURE, _tile(3)


@intrinsic
def single_tile_1(typing, Z, stride, r, n_rows, i, j, out, out_stride):
    """Return nothing; one vector of float32 wide."""
    return _TILE_SIGNATURE, _tile(1, single=True)


@intrinsic
def single_tile_2(typing, Z, stride, r, n_rows, i, j, out, out_stride):
    """Return nothing; two vectors of float32 wide."""
    return _TILE_SIGNATURE, _tile(2, single=True)


# Numbers in a row of `weighted_rows`, and rows that it takes at once.
ROW, AT_ONCE = 8, 4


@intrinsic
def weighted_rows(typing, Z, r, n_rows, out):
    """``out[a] = sum_t r[t] Z[t, a]`` of rows of ROW numbers, as many as AT_ONCE divides."""

    def codegen(context, builder, signature, args):
        Z, r, n_rows, out = args
        vector, index = ir.VectorType(_DOUBLE, ROW), ir.Constant(_INT, 0)
        mask = ir.Constant(ir.VectorType(ir.IntType(32), ROW), [0] * ROW)
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{ROW}f64"
        )
        before = builder.block
        loop, after = (builder.append_basic_block(name) for name in ("rows", "store"))
        builder.branch(loop)
        builder.position_at_end(loop)
        t = builder.phi(_INT)
        t.add_incoming(index, before)
        sums = [builder.phi(vector) for _ in range(AT_ONCE)]
        found = []
        for u, total in enumerate(sums):
            total.add_incoming(ir.Constant(vector, [0.0] * ROW), before)
            place = builder.mul(builder.add(t, ir.Constant(_INT, u)), ir.Constant(_INT, 8))
            weight = builder.load(builder.inttoptr(builder.add(r, place), _DOUBLE.as_pointer()))
            first = builder.insert_element(ir.Constant(vector, ir.Undefined), weight, index)
            weight = builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)
            address = builder.add(Z, builder.mul(place, ir.Constant(_INT, ROW)))
            row = builder.load(builder.inttoptr(address, vector.as_pointer()))
            row.align = 8
            found.append(builder.call(fma, [weight, row, total]))
            total.add_incoming(found[u], loop)
        following = builder.add(t, ir.Constant(_INT, AT_ONCE))
        t.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, n_rows), loop, after)
        builder.position_at_end(after)
        total = builder.fadd(builder.fadd(found[0], found[1]), builder.fadd(found[2], found[3]))
        stored = builder.store(total, builder.inttoptr(out, vector.as_pointer()))
        stored.align = 8
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic
def float_bits(typing, value):
    """The bits of a float64 as int64."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], _INT)

    return types.int64(types.float64), codegen


@intrinsic
def bits_float(typing, value):
    """The float64 with the bits of an int64."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], _DOUBLE)

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
