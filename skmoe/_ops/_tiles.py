"""Inner tiles of products with their sums in vector registers, as Numba intrinsics.

The first argument of each is an array, whose type of number they take; others are addresses and
counts of numbers, of int64. A vector has ``WIDTH`` numbers of float64, or twice as many of
float32; sums are written as float64. With AVX-512 a tile holds up to 8 x 24 sums in 24 of 32
registers, with AVX2 4 x 12 in 12 of 16.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._lanes import INT32, WIDTH, Lanes, number

# Rows of a tile of a weighted Gram: columns of Z.
ROWS = WIDTH


def _is_single(signature):
    return signature.args[0].dtype == types.float32


def _gram_tile(n_vectors):
    """Code of ``out[i + a, j + b] += sum_t r[t] Z[t, i + a] Z[t, j + b]``."""

    def codegen(context, builder, signature, args):
        _, Z, stride, r, n_rows, i, j, out, out_stride = args
        lanes = Lanes(builder, _is_single(signature))
        left_columns, right_columns = lanes.at(Z, i), lanes.at(Z, j)

        def right(t):
            row, weight = lanes.at(right_columns, builder.mul(t, stride)), lanes.at(r, t)
            weight = lanes.splat(weight)
            places = [lanes.at(row, number(q * lanes.width)) for q in range(n_vectors)]
            return [builder.fmul(lanes.load(place), weight) for place in places]

        def left(t):
            row = lanes.at(left_columns, builder.mul(t, stride))
            return [lanes.splat(lanes.at(row, number(a))) for a in range(ROWS)]

        for a, row in enumerate(lanes.products(ROWS, n_vectors, n_rows, left, right)):
            line = builder.mul(builder.add(i, number(a)), out_stride)
            for q, value in enumerate(row):
                place = lanes.at(out, line, j, number(q * lanes.width), size=8)
                lanes.store_wide(value, place, add=True)
        return context.get_dummy_value()

    return codegen


def _score_tile(n_vectors):
    """Code of ``out[q, a] = sum_d Z[a, d] coef[d, q]`` for as many rows a as a vector has numbers.

    Only the first ``n_scores`` of the scores q are written.
    """

    def codegen(context, builder, signature, args):
        _, Z, width, coef, coef_stride, n_scores, out, out_stride = args
        lanes = Lanes(builder, _is_single(signature))

        def right(d):
            row = lanes.at(coef, builder.mul(d, coef_stride))
            places = [lanes.at(row, number(q * lanes.width)) for q in range(n_vectors)]
            return [lanes.load(place) for place in places]

        def left(d):
            rows = [lanes.at(Z, builder.mul(number(a), width), d) for a in range(lanes.width)]
            return [lanes.splat(place) for place in rows]

        found = lanes.products(lanes.width, n_vectors, width, left, right)
        for q in range(n_vectors):
            for s, column in enumerate(lanes.transposed([row[q] for row in found])):
                score = number(q * lanes.width + s)
                with builder.if_then(builder.icmp_signed("<", score, n_scores)):
                    place = lanes.at(out, builder.mul(score, out_stride), size=8)
                    lanes.store_wide(column, place)
        return context.get_dummy_value()

    return codegen


def _gradient_tile(n_vectors):
    """Code of ``out[a, j] += sum_t values[a, t] Z[t, j]`` for as many scores a as `ROWS`.

    Only the first ``n_scores`` of them are read and written.
    """

    def codegen(context, builder, signature, args):
        _, Z, width, values, stride, n_rows, n_scores, out, out_stride = args
        lanes = Lanes(builder, _is_single(signature))
        last, starts = builder.sub(n_scores, number(1)), []
        for a in range(ROWS):
            known = builder.icmp_signed("<", number(a), last)
            starts.append(builder.mul(builder.select(known, number(a), last), stride))

        def right(t):
            row = lanes.at(Z, builder.mul(t, width))
            places = [lanes.at(row, number(q * lanes.width)) for q in range(n_vectors)]
            return [lanes.load(place) for place in places]

        def left(t):
            return [lanes.splat(lanes.at(values, start, t)) for start in starts]

        for a, row in enumerate(lanes.products(ROWS, n_vectors, n_rows, left, right)):
            with builder.if_then(builder.icmp_signed("<", number(a), n_scores)):
                for q, value in enumerate(row):
                    line = builder.mul(number(a), out_stride)
                    place = lanes.at(out, line, number(q * lanes.width), size=8)
                    lanes.store_wide(value, place, add=True)
        return context.get_dummy_value()

    return codegen


_GRAM_ARGUMENTS, _SCORE_ARGUMENTS, _ROW_ARGUMENTS = 8, 7, 5


def _signature(like, n_arguments):
    return types.void(like, *[types.int64] * n_arguments)


@intrinsic
def gram_tile_1(typing, like, Z, stride, r, n_rows, i, j, out, out_stride):
    """One vector of a Gram wide."""
    return _signature(like, _GRAM_ARGUMENTS), _gram_tile(1)


@intrinsic
def gram_tile_2(typing, like, Z, stride, r, n_rows, i, j, out, out_stride):
    """Two vectors wide."""
    return _signature(like, _GRAM_ARGUMENTS), _gram_tile(2)


@intrinsic
def gram_tile_3(typing, like, Z, stride, r, n_rows, i, j, out, out_stride):
    """Three vectors wide."""
    return _signature(like, _GRAM_ARGUMENTS), _gram_tile(3)


@intrinsic
def score_tile_1(typing, like, Z, width, coef, coef_stride, n_scores, out, out_stride):
    """One vector of scores."""
    return _signature(like, _SCORE_ARGUMENTS), _score_tile(1)


@intrinsic
def score_tile_2(typing, like, Z, width, coef, coef_stride, n_scores, out, out_stride):
    """Two vectors of scores."""
    return _signature(like, _SCORE_ARGUMENTS), _score_tile(2)


@intrinsic
def gradient_tile_1(typing, like, Z, width, values, stride, n_rows, n_scores, out, out_stride):
    """One vector of columns of a gradient wide."""
    return _signature(like, _GRAM_ARGUMENTS), _gradient_tile(1)


@intrinsic
def gradient_tile_3(typing, like, Z, width, values, stride, n_rows, n_scores, out, out_stride):
    """Three vectors wide."""
    return _signature(like, _GRAM_ARGUMENTS), _gradient_tile(3)


@intrinsic
def standard_row(typing, like, row, center, factor, width, out):
    """``out[j] = (row[j] - center[j]) * factor[j]``, and 0 in the place of NaN.

    Center and factor are float64, and so is the arithmetic.
    """

    def codegen(context, builder, signature, args):
        _, row, center, factor, width, out = args
        numbers = Lanes(builder, _is_single(signature), width=WIDTH)
        wide = Lanes(builder)

        def step(j):
            value = numbers.load(numbers.at(row, j))
            value = builder.fpext(value, wide.vector) if numbers.single else value
            value = builder.fsub(value, wide.load(wide.at(center, j)))
            value = builder.fmul(value, wide.load(wide.at(factor, j)))
            value = builder.select(builder.fcmp_ordered("ord", value, value), value, wide.zero)
            value = builder.fptrunc(value, numbers.vector) if numbers.single else value
            numbers.store(value, numbers.at(out, j))
            return []

        wide.loop(width, step, [], stride=WIDTH)
        return context.get_dummy_value()

    return _signature(like, _ROW_ARGUMENTS), codegen


@intrinsic
def prefetch(typing, address):
    """Ask for a line of memory that will be read; any address will do."""

    def codegen(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        asked = ir.FunctionType(ir.VoidType(), [pointer, INT32, INT32, INT32])
        ask = cgutils.get_or_insert_function(builder.module, asked, "llvm.prefetch.p0i8")
        options = [ir.Constant(INT32, value) for value in (0, 2, 1)]  # read, to keep, data
        builder.call(ask, [builder.inttoptr(args[0], pointer), *options])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
