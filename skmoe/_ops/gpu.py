"""Operations on CuPy arrays: own kernels where NumPy has Numba, cuBLAS where it has BLAS.

Names and arguments are those of ``skmoe._ops.cpu``. This is the one module that cannot be
imported without CuPy; what trainers do not do on a device is not here. Sums over rows are
returned as arrays of no dimensions, so that nothing waits for the device.
"""

import math
from functools import cache

import cupy as cp
import numpy as np

from ._cuda import SOURCE

__all__ = [
    "PADDING",
    "adam",
    "categorical_block",
    "categorical_log_lik",
    "categorical_residual",
    "diagonal_scores",
    "e_step",
    "gaussian_block",
    "gaussian_log_lik",
    "log_softmax",
    "mix",
    "noisy_gaussian_block",
    "soft_target_block",
    "standardise",
    "standardise_rows",
    "subtract_half_squares",
    "sum_log_evidence",
    "tiled_grams",
    "top_k",
    "tweedie_series",
    "weighted_grams",
]

# Rows of blocks are padded with zeros to a multiple of this many bytes.
PADDING = 64
LOG_2PI = math.log(2.0 * math.pi)
# Threads of a block, and most threads of a launch: each takes several rows of large blocks.
_THREADS, _MOST_THREADS = 128, 2**16
# Weighted copies of rows hold about this many numbers at a time, and products are of so many
# rows: enough of them to fill a device, few enough launches.
_STACKED_NUMBERS, _PIECE = 2**25, 4096


@cache
def _module():
    """The compiled kernels; CuPy keeps one module for each device, and caches on disk."""
    return cp.RawModule(code=SOURCE, options=("--std=c++14",))


def _launch(name, n_items, arguments):
    """Start a kernel with a thread for each item, up to a number of threads."""
    if n_items == 0:
        return
    for argument in arguments:
        # A kernel gets a bare pointer, and would read another layout as if it were this one.
        if isinstance(argument, cp.ndarray) and not argument.flags.c_contiguous:
            raise ValueError(f"{name}: an array of shape {argument.shape} is not in C order")
    n_blocks = _n_threads(n_items) // _THREADS
    _module().get_function(name)((n_blocks,), (_THREADS,), arguments)


def _n_threads(n_items):
    n_blocks = -(-min(max(n_items, 1), _MOST_THREADS) // _THREADS)
    return n_blocks * _THREADS


def _partial(n_sums, n_rows):
    """Room for sums by thread."""
    return cp.zeros((n_sums, _n_threads(n_rows)))


def _given(given, weight):
    """Pointer and flag of responsibilities that may be empty."""
    return (given, np.int32(1)) if given.shape[0] > 0 else (weight, np.int32(0))


def standardise(X, center, inverse_scale, out):
    """As of the CPU; X and out of the same type, C order."""
    _standardise(X, None, center, inverse_scale, out)


def standardise_rows(X, rows, center, inverse_scale, out):
    """As of the CPU; rows of int64."""
    _standardise(X, rows, center, inverse_scale, out)


def _standardise(X, rows, center, inverse_scale, out):
    name = "standardise_double" if out.dtype == np.float64 else "standardise_single"
    numbers, flag = (X, 0) if rows is None else (rows, 1)
    sizes = np.int32(X.shape[1]), np.int32(out.shape[1]), np.int64(out.shape[0])
    arguments = (X, numbers, np.int32(flag), center, inverse_scale, out, *sizes)
    _launch(name, out.size, arguments)


def mix(gate, joint, weight, given, work, load, spread):
    """As of the CPU; ``work`` is not used."""
    n_experts, n_rows = gate.shape
    top, partial = cp.empty(n_rows, dtype=cp.int32), _partial(3 * n_experts + 2, n_rows)
    sizes = np.int32(n_experts), np.int64(n_rows)
    arguments = (weight, *_given(given, weight), gate, joint, top, partial, *sizes)
    _launch("mix_rows", n_rows, arguments)
    sums = partial.sum(axis=1)
    by_expert = sums[:-2].reshape(n_experts, 3)
    spread += by_expert[:, 0]
    load += by_expert[:, 2]
    return sums[-2], sums[-1]


def gaussian_block(y, weight, variance, given, gate, scores, joint, sums):
    """As of the CPU."""
    n_experts, n_rows = gate.shape
    n_outputs = y.shape[1]
    constant = -0.5 * (cp.log(variance) + LOG_2PI).sum(axis=1)
    n_sums = n_experts * (n_outputs + 3) + 2
    top, partial = cp.empty(n_rows, dtype=cp.int32), _partial(n_sums, n_rows)
    sizes = np.int32(n_experts), np.int32(n_outputs), np.int64(n_rows)
    arrays = (gate, scores, joint, top, partial)
    arguments = (y, weight, variance, constant, *_given(given, weight), *arrays, *sizes)
    _launch("gaussian_rows", n_rows, arguments)
    found = partial.sum(axis=1)
    sums += found[:-2].reshape(n_experts, -1)
    return found[-2], found[-1]


def noisy_gaussian_block(y, rows, variance, given, gate, scores, joint, sums):
    """As of the CPU."""
    (n_experts, n_rows), n_outputs = gate.shape, y.shape[1]
    error = y.T - scores.reshape(n_experts, n_outputs, n_rows)
    terms = cp.square(error) / variance[:, :, None] + cp.log(variance)[:, :, None] + LOG_2PI
    own = -0.5 * terms.sum(axis=1)
    both = cp.logaddexp(own, rows[1])
    cp.add(gate, both, out=joint)
    load, spread = cp.zeros(n_experts), cp.zeros(n_experts)
    found = mix(gate, joint, cp.ascontiguousarray(rows[0]), given, None, load, spread)
    if given.shape[0] == 0:
        joint *= cp.where(own > -np.inf, cp.exp(own - both), 0.0)
    weighted = joint[:, None] * error
    sums[:, :-3] += (weighted * error).sum(axis=2)
    for column, values in ((-3, spread), (-2, joint.sum(axis=1)), (-1, load)):
        sums[:, column] += values
    scores[:] = weighted.reshape(-1, n_rows)
    return found


def categorical_block(codes, weight, given, gate, scores, joint, sums):
    """As of the CPU; codes of int64."""
    n_experts, n_rows = gate.shape
    top, partial = cp.empty(n_rows, dtype=cp.int32), _partial(3 * n_experts + 2, n_rows)
    sizes = np.int32(n_experts), np.int32(scores.shape[0] // n_experts), np.int64(n_rows)
    arrays = (gate, scores, joint, top, partial)
    _launch("categorical_rows", n_rows, (codes, weight, *_given(given, weight), *arrays, *sizes))
    found = partial.sum(axis=1)
    sums += found[:-2].reshape(n_experts, 3)
    return found[-2], found[-1]


def soft_target_block(targets, share, gate):
    """As of the CPU."""
    n_experts, n_rows = gate.shape
    partial, sizes = _partial(1, n_rows), (np.int32(n_experts), np.int64(n_rows))
    _launch("soft_target_rows", n_rows, (targets, share, gate, partial, *sizes))
    return partial.sum()


def sum_log_evidence(scores, weight, work):
    """As of the CPU; ``work`` is not used."""
    n_experts, n_rows = scores.shape
    partial, sizes = _partial(1, n_rows), (np.int32(n_experts), np.int64(n_rows))
    _launch("evidence_rows", n_rows, (scores, weight, partial, *sizes))
    return partial.sum()


def subtract_half_squares(values, out):
    """As of the CPU."""
    out -= 0.5 * cp.square(values).sum(axis=0)


def diagonal_scores(Z, slope, shift, constant, out):
    """As of the CPU."""
    n_experts, n_columns = slope.shape
    sizes = np.int32(n_experts), np.int32(n_columns), np.int32(Z.shape[1]), np.int64(len(Z))
    arrays = (cp.ascontiguousarray(Z, dtype=np.float64), slope, shift, constant, out)
    _launch("diagonal_rows", len(Z), (*arrays, *sizes))


def adam(gradient, mean, square, memory, bias, rate, decay, out):
    """As of the CPU."""
    numbers = map(np.float64, (*memory, *bias, rate))
    arguments = (gradient, mean, square, decay, out, *numbers, np.int64(out.size))
    _launch("adam_step", out.size, arguments)


def log_softmax(logits, out):
    """As of the CPU."""
    n_rows, n_columns = logits.shape
    _launch("log_softmax_rows", n_rows, (logits, out, np.int32(n_columns), np.int64(n_rows)))


def e_step(log_gate, log_lik, resp, loglik):
    """As of the CPU."""
    n_rows, n_experts = log_gate.shape
    partial, sizes = _partial(1, n_rows), (np.int32(n_experts), np.int64(n_rows))
    _launch("e_step_rows", n_rows, (log_gate, log_lik, resp, loglik, partial, *sizes))
    return partial.sum()


def gaussian_log_lik(y, pred, variance, out):
    """As of the CPU."""
    error = cp.square(y[:, None, :] - pred) / variance
    out[...] = -0.5 * (error + cp.log(variance) + LOG_2PI).sum(axis=2)


def categorical_log_lik(codes, scores, out):
    """As of the CPU."""
    top = scores.max(axis=2)
    total = cp.exp(scores - top[:, :, None]).sum(axis=2)
    own = cp.take_along_axis(scores, codes[:, None, None], axis=2)[:, :, 0]
    out[...] = own - top - cp.log(total)


def categorical_residual(codes, scores, weight, out):
    """As of the CPU."""
    proba = cp.exp(scores - scores.max(axis=2, keepdims=True))
    proba /= proba.sum(axis=2, keepdims=True)
    own = cp.arange(scores.shape[2]) == codes[:, None, None]
    out[...] = weight[:, :, None] * (own - proba)


def top_k(log_gate, indices, log_weights):
    """As of the CPU; indices of int64."""
    n_rows, n_experts = log_gate.shape
    sizes = np.int32(indices.shape[1]), np.int32(n_experts), np.int64(n_rows)
    _launch("top_k_rows", n_rows, (log_gate, indices, log_weights, *sizes))


def tweedie_series(y, log_phi, power, out):
    """As of the CPU."""
    sizes = np.float64(power), out, np.int64(len(y))
    _launch("tweedie_items", len(y), (y, log_phi, *sizes))


def weighted_grams(Z, weights, out):
    """As of the CPU."""
    tiled_grams(Z, cp.ascontiguousarray(weights.T), -1, out)


def tiled_grams(Z, weights, skip, out):
    """As of the CPU: weighted copies of Z and batches of products by cuBLAS."""
    n_rows, width = Z.shape
    size = max(_PIECE, _STACKED_NUMBERS // (len(weights) * width) // _PIECE * _PIECE)
    parts = [slice(0, None)] if skip < 0 else [slice(0, skip), slice(skip + 1, None)]
    for start in range(0, n_rows, size):
        rows, own = Z[start : start + size], weights[:, start : start + size]
        for part in parts:
            if len(own[part]):
                out[part] += _products(rows, own[part])


def _products(Z, weights):
    """``Z' diag(weights_k) Z`` for every k: (m, width), (K, m) -> (K, width, width).

    Products of pieces of the rows are a batch: one of all rows would be too small a matrix to
    keep a device busy.
    """
    n_pieces, width = len(Z) // _PIECE, Z.shape[1]
    whole = n_pieces * _PIECE
    rest = Z[whole:]
    total = cp.matmul(rest.T, weights[:, whole:, None] * rest)
    if n_pieces:
        pieces = Z[:whole].reshape(n_pieces, _PIECE, width)
        stacked = weights[:, :whole].reshape(-1, n_pieces, _PIECE, 1) * pieces
        total = total + cp.matmul(pieces.transpose(0, 2, 1), stacked).sum(axis=1)
    return total
