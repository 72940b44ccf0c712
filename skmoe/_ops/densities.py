"""Kernels of gates that are densities of the features.

Shapes as in ``blocks``: m rows of a block, K experts, scores (K, m).
"""

from ._jit import kernel
from ._vector import floored_exp, vector_log
from .blocks import row_maximum


@kernel
def subtract_half_squares(values, out):
    """Subtract half the sum of squares of each column: values (q, m), out (m,)."""
    n_values, n_rows = values.shape
    for j in range(n_values):
        for i in range(n_rows):
            out[i] -= 0.5 * values[j, i] * values[j, i]


@kernel
def diagonal_scores(Z, slope, shift, constant, out):
    """Write ``constant_k - sum_j (slope_kj Z_j - shift_kj) ** 2 / 2`` of each row.

    Z (m, at least d), slope and shift (K, d), constant (K,), out (K, m).
    """
    n_experts, n_columns = slope.shape
    for k in range(n_experts):
        for i in range(Z.shape[0]):
            total = 0.0
            for j in range(n_columns):
                error = slope[k, j] * Z[i, j] - shift[k, j]
                total += error * error
            out[k, i] = constant[k] - 0.5 * total


@kernel
def sum_log_evidence(scores, weight, work):
    """Return ``sum_i weight_i logsumexp_k scores_ki``: scores (K, m), work (2, m)."""
    n_experts, n_rows = scores.shape
    top, total = work[0], work[1]
    row_maximum(scores, top)
    for i in range(n_rows):
        total[i] = 0.0
    for k in range(n_experts):
        for i in range(n_rows):
            total[i] += floored_exp(scores[k, i] - top[i])
    found = 0.0
    for i in range(n_rows):
        found += weight[i] * (top[i] + vector_log(total[i]))
    return found
