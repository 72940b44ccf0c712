"""A standardised view of numeric columns, read in blocks of rows."""

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from ._ops import get_ops
from ._units import BulkSample, plain_scale, weighted_moments

# Rows of a block hold about this many numbers, so that block and products stay in cache.
_BLOCK_NUMBERS = 65536
_MIN_BLOCK, _MAX_BLOCK = 256, 8192
# Systems up to this size are solved faster by a kernel than by calls of LAPACK.
_SMALL_SYSTEM = 64
# Rows further from the centre than this, in units of a column, are exceptions.
FAR = 8.0


class Design:
    """Columns ``[(X - center) / scale, 1]`` without a copy of X.

    Dense columns are centred and scaled; columns of a CSR matrix are scaled only,
    since the free intercept absorbs the centring. NaN counts as the average.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
    center, scale : ndarray of shape (d,)

    Attributes
    ----------
    shape : (n, D)
        D = d + 1 with the column of ones, which comes last.
    """

    def __init__(self, X, center, scale):
        self.X = X
        self.rows = None  # numbers of the rows, where not all are meant
        self.center = center
        self.scale = scale
        self.shape = (X.shape[0], X.shape[1] + 1)
        self.is_sparse = sp.issparse(X)
        self.factor = None  # (weight, key, factor) of the last preconditioner
        self._gram = None  # (weight, Gram) of the last call of total_gram
        self._reach = None

    @classmethod
    def standardised(cls, X, weight, scaled=True):
        """View with weighted mean 0 and variance 1 in each column that varies.

        Dense columns with values far beyond the rest have the units of their bulk. With
        ``scaled=False`` dense columns are centred only, and sparse ones are as given.
        """
        if sp.issparse(X):
            X = X.tocsr()
            if not X.has_canonical_format:
                X = X.copy()
                X.sum_duplicates()
            if not scaled:
                return cls(X, np.zeros(X.shape[1]), np.ones(X.shape[1]))
        moments = weighted_moments(X, weight)
        if sp.issparse(X):
            return cls(X, np.zeros(X.shape[1]), plain_scale(*moments))
        return cls.of_moments(X, *moments, BulkSample.of(X, weight) if scaled else None, scaled)

    @classmethod
    def of_moments(cls, X, mean, variance, bulk, scaled=True):
        """The same of dense rows, from means and variances (d,) and a `BulkSample`."""
        if not scaled:
            return cls(X, mean, np.ones_like(mean))
        return cls(X, *bulk.units(mean, variance))

    def on(self, X):
        """The same columns of other rows."""
        return Design(X, self.center, self.scale)

    def picked(self, rows):
        """The same columns of some rows of dense data, which are gathered as they are read.

        Parameters
        ----------
        rows : ndarray of int

        Returns
        -------
        Design
            For sweeps: its ``X`` has all rows, and ``rows`` are their numbers.
        """
        fresh = Design(self.X, self.center, self.scale)
        fresh.rows, fresh.shape = rows, (len(rows), self.shape[1])
        return fresh

    def same_columns(self, other):
        """Whether both views are of the same rows and columns, scaled alike."""
        same_rows = self.X is other.X and self.rows is other.rows
        same_scale = self.scale is other.scale or np.array_equal(self.scale, other.scale)
        return same_rows and same_scale

    def slices(self, extra=0):
        """Slices of rows in fixed order.

        Parameters
        ----------
        extra : int, default=0
            Numbers by row that are at work beside the columns.
        """
        n_rows, width = self.shape
        size = _MAX_BLOCK
        if not self.is_sparse:
            size = min(max(_BLOCK_NUMBERS // (width + extra), _MIN_BLOCK), _MAX_BLOCK)
        return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]

    def block(self, rows):
        """Standardised rows as an array (m, D); a `Design` for sparse data."""
        if self.is_sparse:
            return self if rows == slice(0, self.shape[0]) else self.on(self.X[rows])
        X = self.X[rows]
        out = np.empty((X.shape[0], self.shape[1]))
        np.subtract(X, self.center, out=out[:, :-1])
        out[:, :-1] /= self.scale
        out[:, -1] = 1.0
        return np.nan_to_num(out, copy=False, nan=0.0) if np.isnan(out).any() else out

    @property
    def is_scaled(self):
        """Whether columns have units of their own, not those in which they were given."""
        return not (self.scale == 1.0).all()

    def reach(self):
        """How far rows (n,) of dense data are from the centre in their furthest column.

        Zero where columns are not scaled, so that nothing is known of what is far.
        """
        if self._reach is None and not self.is_scaled:
            self._reach = np.zeros(self.shape[0])
        if self._reach is None:
            self._reach, reader = np.empty(self.shape[0]), BlockReader(self)
            for rows in self.slices():
                reader.read(rows)
                columns = reader.block[:, : self.shape[1] - 1]
                self._reach[rows] = np.abs(columns).max(axis=1, initial=0.0)
        return self._reach

    def curvature_gram(self, weight):
        """Gram (D, D) in which rows count as if they were no further away than `FAR`.

        Gates are sure of rows that are far away, which therefore have no curvature; in a Gram
        they would outweigh all others.
        """
        if self.is_sparse or self.reach().max(initial=0.0) <= FAR:
            return self.total_gram(weight)
        return self.grams((weight * np.square(FAR / np.maximum(self.reach(), FAR)))[:, None])[0]

    def dot(self, coef):
        """``[X, 1] @ coef`` in standardised columns: (D, q) -> (n, q)."""
        if self.is_sparse:
            return self.X @ (coef[:-1] / self.scale[:, None]) + coef[-1]
        out = np.empty((self.shape[0], coef.shape[1]))
        for rows in self.slices():
            np.matmul(self.block(rows), coef, out=out[rows])
        return out

    def transposed_dot(self, values):
        """``[X, 1]' @ values`` in standardised columns: (n, q) -> (D, q)."""
        if self.is_sparse:
            products = (self.X.T @ values) / self.scale[:, None]
            return np.vstack([products, values.sum(axis=0)])
        out = np.zeros((self.shape[1], values.shape[1]))
        for rows in self.slices():
            out += self.block(rows).T @ values[rows]
        return out

    def grams(self, weights):
        """``Z' diag(weights[:, k]) Z`` for every k: (n, K) -> (K, D, D)."""
        reader = BlockReader(self)
        out = reader.new_grams(weights.shape[1])
        for rows in self.slices():
            reader.read(rows)
            reader.add_grams(np.ascontiguousarray(weights[rows].T), -1, out)
        return reader.finish_grams(out)

    def total_gram(self, weight):
        """``Z' diag(weight) Z`` (D, D), kept for the next call with the same weights."""
        if self._gram is None or self._gram[0] is not weight:
            self._gram = (weight, self.grams(weight[:, None])[0])
        return self._gram[1]

    def column_squares(self, weights):
        """Diagonals of `grams`: (n, K) -> (D, K)."""
        if self.is_sparse:
            squares = self.X.multiply(self.X).tocsr()
            rows = (squares.T @ weights) / self.scale[:, None] ** 2
            return np.vstack([rows, weights.sum(axis=0)])
        out = np.zeros((self.shape[1], weights.shape[1]))
        for rows in self.slices():
            out += np.square(self.block(rows)).T @ weights[rows]
        return out

    def to_raw(self, coef):
        """Coefficients (D, q) as (slopes (d, q), intercepts (q,)) of raw columns."""
        slopes = coef[:-1] / self.scale[:, None]
        return slopes, coef[-1] - self.center @ slopes

    def from_raw(self, slopes, intercept):
        """Inverse of `to_raw`: (d, q), (q,) -> (D, q)."""
        return np.vstack([slopes * self.scale[:, None], intercept + self.center @ slopes])

    def restated(self, coef, other):
        """Coefficients (D, q) of another design for this one; the same bits if both agree."""
        same = np.array_equal(self.center, other.center)
        if same and np.array_equal(self.scale, other.scale):
            return coef.copy()
        return self.from_raw(*other.to_raw(coef))


class BlockReader:
    """Reads blocks of a `Design` into one buffer and multiplies them by coefficients.

    Scores are (q, m), rows contiguous. One reader serves one thread.

    Parameters
    ----------
    design : Design
    most : int, default=None
        Rows of the largest block; by default those of ``design.slices()``.
    exact : bool, default=False
        Products in float64 whatever the precision of the data is.
    """

    def __init__(self, design, most=None, exact=False):
        self.design = design
        self.ops = get_ops()
        if design.is_sparse:
            self._factor = np.append(1.0 / design.scale, 1.0)
            return
        if most is None:
            most = max((rows.stop - rows.start for rows in design.slices()), default=0)
        # Products keep the precision of the data; sums of blocks are in float64.
        self._single = design.X.dtype == np.float32 and not exact
        dtype = np.dtype(np.float32 if self._single else np.float64)
        padding = self.ops.PADDING // dtype.itemsize
        width = -(-design.shape[1] // padding) * padding
        self._buffer = aligned_empty((most, width), dtype)
        self._inverse_scale = 1.0 / design.scale

    @property
    def width(self):
        """Columns of the present ``block`` (m, width) of dense rows, padding included."""
        return self._buffer.shape[1]

    def read(self, rows):
        """Make the rows of a slice the present block."""
        design = self.design
        if design.is_sparse:
            X = design.X
            self._csr = X.data, X.indices, X.indptr[rows.start : rows.stop + 1]
            return
        self.block = self._buffer[: rows.stop - rows.start]
        scaling = design.center, self._inverse_scale, self.block
        if design.rows is None:
            self.ops.standardise(design.X[rows], *scaling)
        else:
            self.ops.standardise_rows(design.X, design.rows[rows], *scaling)

    def pack(self, coef):
        """Coefficients (D, q) in the form that `forward` takes."""
        if self.design.is_sparse:
            return np.ascontiguousarray(coef * self._factor[:, None])
        return self.ops.packed(coef, self._buffer.shape[1], self._buffer.dtype)

    def forward(self, packed, out):
        """Scores (q, m) of the block."""
        if self.design.is_sparse:
            self.ops.csr_forward(*self._csr, packed, out)
        else:
            self.ops.row_scores(self.block, packed, out)

    def new_gradient(self, n_scores):
        """Zeros that `add_gradient` adds to."""
        if self.design.is_sparse:
            return np.zeros((self.design.shape[1], n_scores))
        return np.zeros((n_scores, self._buffer.shape[1]))

    def add_gradient(self, values, out):
        """Add the product of the transposed block with values (q, m)."""
        if self.design.is_sparse:
            self.ops.csr_backward(*self._csr, values, out)
        else:
            self.ops.add_row_gradient(self.block, self._cast(values), out)

    def finish_gradient(self, out):
        """The sum of `add_gradient` as (D, q)."""
        if self.design.is_sparse:
            return out * self._factor[:, None]
        return out[:, : self.design.shape[1]].T

    def new_grams(self, n_experts):
        """Zeros that `add_grams` adds to."""
        width = self.design.shape[1] if self.design.is_sparse else self._buffer.shape[1]
        return np.zeros((n_experts, width, width))

    def add_grams(self, weights, skip, out):
        """Add the Grams of the block with weights (K, m), but for one expert."""
        if self.design.is_sparse:
            self.ops.csr_weighted_grams(*self._csr, np.ascontiguousarray(weights.T), out)
        else:
            self.ops.tiled_grams(self.block, self._cast(weights), skip, out)

    def _cast(self, values):
        return values.astype(np.float32) if self._single else values

    def finish_grams(self, out):
        """The sum of `add_grams` as (K, D, D), symmetric."""
        if self.design.is_sparse:
            out *= self._factor[:, None] * self._factor
        width = self.design.shape[1]
        upper = np.triu(out[:, :width, :width])
        return upper + np.triu(upper, 1).transpose(0, 2, 1)


def aligned_empty(shape, dtype, alignment=64):
    """An uninitialised array whose first number is aligned."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + alignment, dtype=np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + size].view(dtype).reshape(shape)


def block_transposed_dot(block, values):
    """Product of a transposed block with values (m, q) -> (D, q)."""
    return block.transposed_dot(values) if isinstance(block, Design) else block.T @ values


def add_grams(block, weights, out):
    """Add the weighted Grams of a block to ``out`` (K, D, D)."""
    ops = get_ops()
    if isinstance(block, Design):
        upper = np.zeros_like(out)
        ops.csr_weighted_grams(block.X.data, block.X.indices, block.X.indptr, weights, upper)
        factor = np.append(1.0 / block.scale, 1.0)
        upper *= factor[:, None] * factor
        out += upper + np.triu(upper, 1).transpose(0, 2, 1)
    else:
        ops.weighted_grams(block, weights, out)


def solve_each(grams, diagonals, right):
    """Solve many symmetric positive systems; minimum norm where one is singular.

    Parameters
    ----------
    grams : ndarray of shape (S, D, D)
    diagonals : ndarray of shape (S, D)
        Added to the diagonals of the matrices.
    right : ndarray of shape (S, D)

    Returns
    -------
    ndarray of shape (S, D)
    """
    out, solved = np.empty(right.shape), np.zeros(len(right), dtype=bool)
    if right.shape[1] <= _SMALL_SYSTEM:
        right = np.ascontiguousarray(right)
        get_ops().solve_blocks(grams, diagonals, right[:, :, None], out[:, :, None], solved)
    for s in np.flatnonzero(~solved):
        out[s] = solve_spd(grams[s] + np.diag(diagonals[s]), right[s][:, None])[:, 0]
    return out


def solve_spd(matrix, values):
    """Solve a symmetric positive system; minimum norm where it is singular.

    Parameters
    ----------
    matrix : ndarray of shape (D, D)
    values : ndarray of shape (D, q)

    Returns
    -------
    ndarray of shape (D, q)
    """
    diagonal = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    scale = np.where(diagonal > 0, diagonal, 1.0)
    scaled = matrix / scale[:, None] / scale
    right = values / scale[:, None]
    try:
        factor = scipy.linalg.cho_factor(scaled, lower=True)
        if np.diag(factor[0]).min() > 1e-6:
            return scipy.linalg.cho_solve(factor, right) / scale[:, None]
    except np.linalg.LinAlgError:  # singular: the minimum-norm solution below
        pass
    eigenvalues, vectors = np.linalg.eigh(scaled)
    kept = eigenvalues > eigenvalues[-1] * len(matrix) * np.finfo(np.float64).eps * 10
    inverse = np.where(kept, 1.0 / np.where(kept, eigenvalues, 1.0), 0.0)
    return vectors @ (inverse[:, None] * (vectors.T @ right)) / scale[:, None]
