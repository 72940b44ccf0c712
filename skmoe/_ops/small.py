"""Kernels for many small problems at a time, where calls of NumPy would cost more."""

import numpy as np

from ._jit import kernel


@kernel
def solve_blocks(matrices, diagonal, right, out, solved):
    """Solve symmetric positive systems by Cholesky factors of scaled matrices.

    Parameters
    ----------
    matrices : (S, D, D)
    diagonal : (S, D), added to the diagonals
    right : (S, D, q)
    out : (S, D, q), written
    solved : (S,) of bool, written
        False where a matrix is not clearly positive; its solution is of no use.
    """
    n_systems, size, n_right = right.shape
    factor, scale = np.empty((size, size)), np.empty(size)
    values = np.empty((n_right, size))
    for s in range(n_systems):
        solved[s] = True
        for i in range(size):
            entry = matrices[s, i, i] + diagonal[s, i]
            scale[i] = 1.0 / np.sqrt(entry) if entry > 0.0 else 1.0
        for i in range(size):
            for j in range(i + 1):
                entry = matrices[s, i, j] + (diagonal[s, i] if i == j else 0.0)
                entry *= scale[i] * scale[j]
                for k in range(j):
                    entry -= factor[i, k] * factor[j, k]
                if i > j:
                    factor[i, j] = entry * factor[j, j]
                elif entry > 1e-12:
                    factor[i, i] = 1.0 / np.sqrt(entry)  # the inverse: no more divisions
                else:
                    factor[i, i] = 0.0
                    solved[s] = False
        for q in range(n_right):
            for i in range(size):
                entry = right[s, i, q] * scale[i]
                for k in range(i):
                    entry -= factor[i, k] * values[q, k]
                values[q, i] = entry * factor[i, i]
            for i in range(size - 1, -1, -1):
                entry = values[q, i] * factor[i, i]
                values[q, i] = entry
                for k in range(i):
                    values[q, k] -= factor[i, k] * entry
                out[s, i, q] = entry * scale[i]


@kernel
def split_sums(columns, order, weight, values, n_cuts, thresholds, out):
    """Weighted sums of squares and products left of three cuts of each column.

    Parameters
    ----------
    columns : (m, q)
    order : (q, at most m) of int
        Rows that count, in ascending order of each column.
    weight : (m,)
    values : (m, v)
        Rows whose products are summed: what is fitted on, then what is to be fitted.
    n_cuts : (q,) of int, written
        Number of different cuts.
    thresholds : (q, 3), written
        The first quartiles by weight; a row is left of a cut that it does not exceed.
    out : (q, 4, v + 1, v), written
        The triangle ``j <= i`` of ``values' diag(weight) values`` of rows left of each cut,
        and of all rows; the weight stands in the last row.
    """
    n_columns, n_rows = order.shape
    width = values.shape[1]
    total = 0.0
    for place in range(n_rows):
        total += weight[order[0, place]]
    sums = np.empty((width + 1, width))
    for c in range(n_columns):
        sums[:] = 0.0
        found, wanted, passed = 0, 1, 0.0
        for place in range(n_rows):
            row = order[c, place]
            w = weight[row]
            for i in range(width):
                left = w * values[row, i]
                for j in range(i + 1):
                    sums[i, j] += left * values[row, j]
            sums[width, 0] += w
            passed += w
            # A cut goes after the last row of the same value.
            last = place + 1 == n_rows or columns[order[c, place + 1], c] != columns[row, c]
            if last and wanted < 4 and passed >= 0.25 * wanted * total:
                thresholds[c, found] = columns[row, c]
                out[c, found] = sums
                found += 1
                while wanted < 4 and passed >= 0.25 * wanted * total:
                    wanted += 1
        n_cuts[c] = found
        out[c, 3] = sums
