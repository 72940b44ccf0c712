"""Kernels of factorisation machines on CSR rows.

A table (d + 1, q + q * F) holds a row for each column and one for the intercepts, which
comes last. In a row, q slopes (one for each output) are followed by F factors of each output.
"""

import numpy as np

from ._jit import kernel


@kernel
def factor_forward(data, indices, indptr, table, pred, sums):
    """Write outputs (n, q) and the factors summed over each row (n, q * F)."""
    n_outputs = pred.shape[1]
    width = table.shape[1]
    n_factors = width // n_outputs - 1
    total, squares = np.empty(width), np.empty(width)
    for i in range(len(indptr) - 1):
        total[:] = 0.0
        squares[:] = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            value, row = data[p], table[indices[p]]
            for j in range(width):
                term = value * row[j]
                total[j] += term
                squares[j] += term * term
        for q in range(n_outputs):
            pairs = 0.0
            first = n_outputs + q * n_factors
            for j in range(first, first + n_factors):
                sums[i, j - n_outputs] = total[j]
                pairs += total[j] * total[j] - squares[j]
            pred[i, q] = table[-1, q] + total[q] + 0.5 * pairs


@kernel
def factor_backward(data, indices, indptr, table, sums, score, out):
    """Add the gradient of ``sum score * pred`` by the table: score (n, q), out as the table."""
    n_outputs = score.shape[1]
    width = table.shape[1]
    n_factors = width // n_outputs - 1
    constant, slope = np.zeros(width), np.zeros(width)
    for i in range(len(indptr) - 1):
        for q in range(n_outputs):
            out[-1, q] += score[i, q]
            constant[q] = score[i, q]
            first = n_outputs + q * n_factors
            for j in range(first, first + n_factors):
                constant[j] = score[i, q] * sums[i, j - n_outputs]
                slope[j] = score[i, q]
        for p in range(indptr[i], indptr[i + 1]):
            value, row, target = data[p], table[indices[p]], out[indices[p]]
            for j in range(width):
                target[j] += value * (constant[j] - value * slope[j] * row[j])
