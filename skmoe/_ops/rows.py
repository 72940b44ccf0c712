"""Rows of dense blocks: read in units of their columns, and multiplied by coefficients.

BLAS is made for matrices that are large on all sides; here one side is the number of scores,
ten or so, and rows lie anywhere in memory. Twins of plain code take over where compiled code is
switched off, where the processor has no fused multiply-add, and for arrays of other layouts.
"""

import numpy as np

from ._jit import kernel
from ._lanes import HAS_TILE, WIDTH
from ._tiles import (
    ROWS,
    gradient_tile_1,
    gradient_tile_3,
    prefetch,
    score_tile_1,
    score_tile_2,
    standard_row,
)

# Rows of blocks are padded with zeros to a multiple of this many bytes: a vector.
PADDING = 8 * WIDTH
# Rows that memory is asked for before they are read, and bytes that come at a time.
_AHEAD, _LINE = 16, 64
# Bytes of Z that a tile sweeps over at a time: they stay in the first-level cache.
TILE_BYTES = 43008
# Coefficients of wider rows do not stay in the cache.
_MOST_COLUMNS = 4096


@kernel
def plain_standardise(X, center, inverse_scale, out):
    """Plain form of `standardise`."""
    n_rows, n_columns = X.shape
    for i in range(n_rows):
        for j in range(n_columns):
            value = (X[i, j] - center[j]) * inverse_scale[j]
            out[i, j] = value if value == value else 0.0
        out[i, n_columns] = 1.0
        for j in range(n_columns + 1, out.shape[1]):
            out[i, j] = 0.0


@kernel
def _standardise(X, rows, center, factor, out):
    n_columns, width, size = X.shape[1], out.shape[1], X.itemsize
    last, behind = len(rows) - 1, X.size - width
    for i in range(len(rows)):
        coming = X.ctypes.data + size * n_columns * rows[min(i + _AHEAD, last)]
        for line in range(0, size * n_columns, _LINE):
            prefetch(coming + line)
        start = rows[i] * n_columns
        if start <= behind:  # padding reads what comes behind a row
            row, place = X.ctypes.data + size * start, out.ctypes.data + size * i * width
            standard_row(X, row, center.ctypes.data, factor.ctypes.data, width, place)
            out[i, n_columns] = 1.0
        else:
            plain_standardise(X[rows[i] : rows[i] + 1], center, factor, out[i : i + 1])


def _are_alike(X, out):
    """Whether the tile can read X and write out."""
    ordered = X.flags.c_contiguous and out.flags.c_contiguous
    return HAS_TILE and ordered and X.dtype == out.dtype


def _read(X, rows, center, inverse_scale, out):
    padded = np.zeros((2, out.shape[1]))
    padded[:, : X.shape[1]] = center, inverse_scale
    _standardise(X, rows, padded[0], padded[1], out)


def standardise_rows(X, rows, center, inverse_scale, out):
    """Write `standardise` of the rows of X whose numbers are given."""
    if _are_alike(X, out):
        _read(X, rows, center, inverse_scale, out)
    else:
        plain_standardise(X[rows], center, inverse_scale, out)


def standardise(X, center, inverse_scale, out):
    """Write ``(X - center) / scale``, a column of ones and zeros as padding.

    X (m, d), center and inverse_scale (d,), out (m, at least d + 1). NaN becomes 0.
    """
    if _are_alike(X, out):
        _read(X, np.arange(len(X)), center, inverse_scale, out)
    else:
        plain_standardise(X, center, inverse_scale, out)


@kernel
def _tiled_scores(Z, coef, out):
    n_rows, width = Z.shape
    n_scores, size, lanes = out.shape[0], Z.itemsize, PADDING // Z.itemsize
    for start in range(0, n_rows, lanes):
        i = min(start, n_rows - lanes)  # the last ones twice, if need be
        rows, j = Z.ctypes.data + size * i * width, 0
        while j < n_scores:
            c, left = coef.ctypes.data + size * j, n_scores - j
            place = out.ctypes.data + 8 * (j * n_rows + i)
            if left > lanes:
                score_tile_2(Z, rows, width, c, coef.shape[1], left, place, n_rows)
            else:
                score_tile_1(Z, rows, width, c, coef.shape[1], left, place, n_rows)
            j += 2 * lanes


def packed(coef, width, dtype):
    """Coefficients (D, q) in the form that `row_scores` takes, for rows of a width."""
    lanes = PADDING // np.dtype(dtype).itemsize
    out = np.zeros((width, -(-coef.shape[1] // lanes) * lanes), dtype=dtype)
    out[: len(coef), : coef.shape[1]] = coef
    return out


def row_scores(Z, coef, out):
    """Write ``(Z @ coef)'``.

    Parameters
    ----------
    Z : (m, width), C order, float64 or float32
        Width in bytes a multiple of `PADDING`.
    coef : (width, at least q), of the same type, by `packed`
    out : (q, m), C order, float64
    """
    lanes = PADDING // Z.itemsize
    if HAS_TILE and len(Z) >= lanes and Z.shape[1] <= _MOST_COLUMNS:
        _tiled_scores(Z, coef, out)
    else:
        np.matmul(coef[:, : len(out)].T, Z.T, out=out, casting="same_kind")


@kernel
def _tiled_gradient(Z, values, out):
    n_rows, width = Z.shape
    size, lanes, n_scores = Z.itemsize, PADDING // Z.itemsize, values.shape[0]
    chunk = max(16, TILE_BYTES // (size * width))
    for start in range(0, n_rows, chunk):
        n = min(chunk, n_rows - start)
        for i in range(0, n_scores, ROWS):
            r, left = values.ctypes.data + size * (i * n_rows + start), n_scores - i
            j = 0
            while j < width:
                rows = Z.ctypes.data + size * (start * width + j)
                place = out.ctypes.data + 8 * (i * width + j)
                if width - j >= 3 * lanes:
                    gradient_tile_3(Z, rows, width, r, n_rows, n, left, place, width)
                    j += 3 * lanes
                else:
                    gradient_tile_1(Z, rows, width, r, n_rows, n, left, place, width)
                    j += lanes


def add_row_gradient(Z, values, out):
    """Add ``(Z' @ values')'``.

    Parameters
    ----------
    Z : (m, width), C order, float64 or float32
        Width in bytes a multiple of `PADDING`.
    values : (q, m), C order, of the same type
    out : (q, width), C order, float64, added to
    """
    if HAS_TILE and -len(values) % ROWS <= len(values) // 4:
        _tiled_gradient(Z, values, out)
    else:
        out += values @ Z
