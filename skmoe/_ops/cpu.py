"""Operations on NumPy arrays: Numba where loops win, BLAS where products do.

Shapes: n rows, K experts, P numbers per expert and row, D columns.
"""

import math

import numpy as np

from ._jit import kernel
from .adam import adam, lazy_adam
from .blocks import (  # the rest of this device's operations
    categorical_block,
    csr_backward,
    csr_forward,
    gaussian_block,
    mix,
    soft_target_block,
    tiled_grams,
)
from .continuous import (
    COMPOUND,
    INVERSE_GAUSSIAN,
    LAPLACE,
    N_PARTS,
    NORMAL,
    POSITIVE,
    TRUNCATED,
    WIDE,
    continuous_quantile,
)
from .counts import counts_crps, counts_quantile
from .densities import diagonal_scores, subtract_half_squares, sum_log_evidence
from .factors import factor_backward, factor_forward
from .information import categorical_information, information_weights, pair_products
from .noise import noisy_gaussian_block
from .prediction import (
    class_probabilities,
    gate_weights,
    mean_block,
    routed_linear,
    top_one,
)
from .rows import PADDING, add_row_gradient, packed, row_scores, standardise, standardise_rows
from .small import solve_blocks, split_sums
from .tweedie import tweedie_series

__all__ = [
    "COMPOUND",
    "INVERSE_GAUSSIAN",
    "LAPLACE",
    "NORMAL",
    "N_PARTS",
    "PADDING",
    "POSITIVE",
    "TRUNCATED",
    "WIDE",
    "adam",
    "add_row_gradient",
    "categorical_block",
    "categorical_information",
    "categorical_log_lik",
    "categorical_residual",
    "class_probabilities",
    "continuous_quantile",
    "counts_crps",
    "counts_quantile",
    "csr_backward",
    "csr_forward",
    "csr_weighted_grams",
    "diagonal_scores",
    "e_step",
    "factor_backward",
    "factor_forward",
    "gate_weights",
    "gaussian_block",
    "gaussian_log_lik",
    "information_weights",
    "lazy_adam",
    "log_softmax",
    "mean_block",
    "mix",
    "noisy_gaussian_block",
    "packed",
    "pair_products",
    "routed_linear",
    "row_scores",
    "soft_target_block",
    "solve_blocks",
    "split_sums",
    "standardise",
    "standardise_rows",
    "subtract_half_squares",
    "sum_log_evidence",
    "tiled_grams",
    "top_k",
    "top_one",
    "tweedie_series",
    "weighted_grams",
]

# Products on blocks of this many rows keep the stacked temporary in cache.
GRAM_BLOCK = 256

LOG_2PI = math.log(2.0 * math.pi)


@kernel
def log_softmax(logits, out):
    """Write ``logits - logsumexp(logits)`` of each row; (n, K) -> (n, K)."""
    n_rows, n_columns = logits.shape
    for i in range(n_rows):
        top = -np.inf
        for k in range(n_columns):
            top = max(top, logits[i, k])
        total = 0.0
        for k in range(n_columns):
            total += math.exp(logits[i, k] - top)
        shift = top + math.log(total)
        for k in range(n_columns):
            out[i, k] = logits[i, k] - shift


@kernel
def e_step(log_gate, log_lik, resp, loglik):
    """Write responsibilities (n, K) and log-likelihood (n,) of each row.

    A row that no expert explains (all terms are minus infinity) gets the gate's
    probabilities as responsibilities. Returns how many such rows there were.
    """
    n_rows, n_experts = log_gate.shape
    unexplained = 0
    for i in range(n_rows):
        top = -np.inf
        for k in range(n_experts):
            top = max(top, log_gate[i, k] + log_lik[i, k])
        if top == -np.inf:
            unexplained += 1
            loglik[i] = -np.inf
            for k in range(n_experts):
                resp[i, k] = math.exp(log_gate[i, k])
            continue
        total = 0.0
        for k in range(n_experts):
            term = math.exp(log_gate[i, k] + log_lik[i, k] - top)
            resp[i, k] = term
            total += term
        loglik[i] = top + math.log(total)
        for k in range(n_experts):
            resp[i, k] /= total
    return unexplained


@kernel
def gaussian_log_lik(y, pred, variance, out):
    """Write log N(y; pred, variance): y (n, m), pred (n, K, m), variance (K, m)."""
    n_rows, n_experts, n_outputs = pred.shape
    for k in range(n_experts):
        constant = 0.0
        for j in range(n_outputs):
            constant -= 0.5 * (math.log(variance[k, j]) + LOG_2PI)
        for i in range(n_rows):
            total = constant
            for j in range(n_outputs):
                error = y[i, j] - pred[i, k, j]
                total -= 0.5 * error * error / variance[k, j]
            out[i, k] = total


@kernel
def categorical_log_lik(codes, scores, out):
    """Write log softmax(scores) at the class of the row: scores (n, K, C)."""
    n_rows, n_experts, n_classes = scores.shape
    for i in range(n_rows):
        for k in range(n_experts):
            top = -np.inf
            for c in range(n_classes):
                top = max(top, scores[i, k, c])
            total = 0.0
            for c in range(n_classes):
                total += math.exp(scores[i, k, c] - top)
            out[i, k] = scores[i, k, codes[i]] - top - math.log(total)


@kernel
def categorical_residual(codes, scores, weight, out):
    """Write ``weight * (onehot(codes) - softmax(scores))``; weight (n, K)."""
    n_rows, n_experts, n_classes = scores.shape
    for i in range(n_rows):
        for k in range(n_experts):
            top = -np.inf
            for c in range(n_classes):
                top = max(top, scores[i, k, c])
            total = 0.0
            for c in range(n_classes):
                out[i, k, c] = math.exp(scores[i, k, c] - top)
                total += out[i, k, c]
            for c in range(n_classes):
                out[i, k, c] *= -weight[i, k] / total
            out[i, k, codes[i]] += weight[i, k]


@kernel
def top_k(log_gate, indices, log_weights):
    """Write the k largest entries of each row, best first, renormalised.

    Parameters
    ----------
    log_gate : (n, K)
    indices : (n, k) of intp, written
        Ties go to the lower index.
    log_weights : (n, k), written
        Logarithms of weights that sum to one over the chosen experts.
    """
    n_rows, n_experts = log_gate.shape
    n_chosen = indices.shape[1]
    for i in range(n_rows):
        filled = 0
        for k in range(n_experts):
            value = log_gate[i, k]
            if filled == n_chosen and value <= log_weights[i, filled - 1]:
                continue
            slot = filled if filled < n_chosen else n_chosen - 1
            while slot > 0 and log_weights[i, slot - 1] < value:
                log_weights[i, slot] = log_weights[i, slot - 1]
                indices[i, slot] = indices[i, slot - 1]
                slot -= 1
            log_weights[i, slot] = value
            indices[i, slot] = k
            filled = min(filled + 1, n_chosen)
        top = log_weights[i, 0]
        total = 0.0
        for j in range(n_chosen):
            total += math.exp(log_weights[i, j] - top)
        shift = top + math.log(total)
        for j in range(n_chosen):
            log_weights[i, j] -= shift


def weighted_grams(Z, weights, out):
    """Add ``Z' diag(weights[:, k]) Z`` of every k to ``out`` (K, D, D).

    The K weighted copies of a block stand side by side, so that one product
    does the work of K.
    """
    n_columns = Z.shape[1]
    n_experts = weights.shape[1]
    for start in range(0, len(Z), GRAM_BLOCK):
        block = Z[start : start + GRAM_BLOCK]
        stacked = weights[start : start + GRAM_BLOCK, :, None] * block[:, None, :]
        grams = block.T @ stacked.reshape(len(block), -1)
        out += grams.reshape(n_columns, n_experts, n_columns).transpose(1, 0, 2)


@kernel
def csr_weighted_grams(data, indices, indptr, weights, out):
    """Add the upper triangles of the Grams of ``[X, 1]`` for CSR rows.

    Indices within a row must be unique. weights (m, K), out (K, d + 1, d + 1).
    """
    n_experts = weights.shape[1]
    last = out.shape[1] - 1
    for i in range(len(indptr) - 1):
        for k in range(n_experts):
            weight = weights[i, k]
            out[k, last, last] += weight
            for p in range(indptr[i], indptr[i + 1]):
                value = weight * data[p]
                row = indices[p]
                out[k, row, last] += value
                for q in range(p, indptr[i + 1]):
                    column = indices[q]
                    out[k, min(row, column), max(row, column)] += value * data[q]
