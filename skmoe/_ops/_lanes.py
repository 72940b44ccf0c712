"""Vectors of numbers in LLVM's own language, for intrinsics that Numba does not write."""

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import cgutils

_FEATURES = llvmlite.binding.get_host_cpu_features()
# Numbers of float64 in a vector; twice as many of float32.
WIDTH = 8 if _FEATURES.get("avx512f", False) else 4
# Plain Python takes over when the compiler is switched off.
COMPILED = not numba.config.DISABLE_JIT
# Whether tiles pay: they are fused multiply-adds and nothing else.
HAS_TILE = COMPILED and bool(_FEATURES.get("fma", False) or _FEATURES.get("neon", False))

INT, INT32 = ir.IntType(64), ir.IntType(32)
DOUBLE, FLOAT = ir.DoubleType(), ir.FloatType()


def number(n):
    """A constant of int64."""
    return ir.Constant(INT, n)


def vector_of(type_, width):
    """A vector type."""
    return ir.VectorType(type_, width)


class Lanes:
    """Vectors of one type of number, at addresses that are integers.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    single : bool, default=False
        Whether numbers are float32.
    width : int, default=None
        Numbers in a vector; by default those of a register.
    """

    def __init__(self, builder, single=False, width=None):
        self.builder, self.single = builder, single
        self.type, self.size = (FLOAT, 4) if single else (DOUBLE, 8)
        self.width = width or (2 * WIDTH if single else WIDTH)
        self.vector = vector_of(self.type, self.width)
        self.zero = ir.Constant(self.vector, [0.0] * self.width)
        name = f"llvm.fmuladd.v{self.width}f{8 * self.size}"
        signature = ir.FunctionType(self.vector, [self.vector] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, signature, name)

    def fma(self, one, two, three):
        """``one * two + three``."""
        return self.builder.call(self._fma, [one, two, three])

    def at(self, base, *counts, size=None):
        """Address of a number, by counts from a base."""
        size = number(size or self.size)
        for count in counts:
            base = self.builder.add(base, self.builder.mul(count, size))
        return base

    def load(self, address):
        """A vector of memory."""
        loaded = self.builder.load(self.builder.inttoptr(address, self.vector.as_pointer()))
        loaded.align = self.size
        return loaded

    def splat(self, address):
        """A vector that repeats one number of memory."""
        builder, undefined = self.builder, ir.Constant(self.vector, ir.Undefined)
        value = builder.load(builder.inttoptr(address, self.type.as_pointer()))
        first = builder.insert_element(undefined, value, number(0))
        mask = ir.Constant(vector_of(INT32, self.width), [0] * self.width)
        return builder.shuffle_vector(first, undefined, mask)

    def store(self, value, address):
        """Write a vector."""
        pointer = self.builder.inttoptr(address, value.type.as_pointer())
        self.builder.store(value, pointer).align = self.size

    def store_wide(self, value, address, add=False):
        """Write a vector as float64, or add it to what is there."""
        wide = Lanes(self.builder, width=self.width)
        value = self.builder.fpext(value, wide.vector) if self.single else value
        wide.store(self.builder.fadd(wide.load(address), value) if add else value, address)

    def loop(self, n_steps, step, carried, stride=1):
        """Run ``step(t, *carried) -> carried`` for t from 0, and go on behind it.

        Parameters
        ----------
        n_steps : value of int64
            At least 1; the last step is the first one that reaches it.
        step : callable
        carried : list of values
            At the start.
        stride : int, default=1

        Returns
        -------
        list of values
            At the end.
        """
        builder, before = self.builder, self.builder.block
        loop, after = (builder.append_basic_block(name) for name in ("steps", "behind"))
        builder.branch(loop)
        builder.position_at_end(loop)
        t = builder.phi(INT)
        nodes = [builder.phi(value.type) for value in carried]
        found = step(t, *nodes)
        following = builder.add(t, number(stride))
        starts, ends = [number(0), *carried], [following, *found]
        for node, start, end in zip([t, *nodes], starts, ends):
            node.add_incoming(start, before)
            node.add_incoming(end, loop)
        builder.cbranch(builder.icmp_signed("<", following, n_steps), loop, after)
        builder.position_at_end(after)
        return found

    def products(self, n_left, n_right, n_steps, left, right):
        """``sum_t left(t)[a] * right(t)[q]`` as vectors [a][q], held in registers."""

        def step(t, *sums):
            vectors = right(t)
            pairs = ((factor, vector) for factor in left(t) for vector in vectors)
            return [self.fma(*pair, total) for pair, total in zip(pairs, sums)]

        flat = self.loop(n_steps, step, [self.zero] * (n_left * n_right))
        return [flat[a * n_right : (a + 1) * n_right] for a in range(n_left)]

    def transposed(self, vectors):
        """As many vectors as they have numbers, rows for columns."""
        n, span = len(vectors), 1
        places = range(n)
        while span < n:  # blocks of span x span off the diagonal change places
            out = [None] * n
            for a in (a for a in places if not a & span):
                pair = vectors[a], vectors[a + span]
                kept = [j if not j & span else n + j - span for j in places]
                moved = [j + span if not j & span else n + j for j in places]
                for target, chosen in ((a, kept), (a + span, moved)):
                    mask = ir.Constant(vector_of(INT32, n), chosen)
                    out[target] = self.builder.shuffle_vector(*pair, mask)
            vectors, span = out, 2 * span
        return vectors
