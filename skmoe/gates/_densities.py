"""Normal laws of several experts: factors of covariances, and densities of blocks.

Factors are standard deviations (K, q) or lower Cholesky factors (K or 1, q, q). A scorer
is made for one sweep, serves one thread, and writes (K, m) from a block (m, width) of
standardised rows with its column of ones and padding. Coordinates are ``basis' z``.
"""

import numpy as np

from .._ops import numpy_of, ops_of

# Logarithms of standard deviations stay within this, so that none over- or underflows.
_LARGEST_LOG = 30.0
# Whitened numbers at work at a time, so that they stay in the second-level cache.
_WHITENED_NUMBERS = 2**18


def diagonal(factor):
    """Return a view of the diagonals (K, q) of factors."""
    return factor if factor.ndim == 2 else np.einsum("kii->ki", factor)


def half_log_det(factor):
    """Half the log determinants of the covariances: (K,)."""
    return np.log(diagonal(factor)).sum(axis=1)


def free_values(factor):
    """Return factors as numbers without constraints, flat: logarithms on the diagonal."""
    factor = factor.copy()
    diagonal(factor)[:] = np.log(diagonal(factor))
    return (factor if factor.ndim == 2 else factor[_lower(factor)]).ravel()


def from_free_values(values, factor):
    """Inverse of `free_values`; ``factor`` gives the shape."""
    new = np.zeros_like(factor)
    if factor.ndim == 2:
        new[:] = values.reshape(factor.shape)
    else:
        new[_lower(factor)] = values.reshape(len(factor), -1)
    diagonal(new)[:] = np.exp(np.clip(diagonal(new), -_LARGEST_LOG, _LARGEST_LOG))
    return new


def _lower(factor):
    return (slice(None), *np.tril_indices(factor.shape[1]))


class FullScorer:
    """Rows whitened by every expert's covariance, in one product for all experts."""

    def __init__(self, basis, mean, inverse, constant, width):
        self.constant = constant
        # (u - mean) whitened, from the block with its column of ones
        packed = np.zeros((len(mean), basis.shape[1], width))
        packed[:, :, : len(basis)] = inverse @ basis.T
        packed[:, :, len(basis)] = -np.einsum("kij,kj->ki", inverse, mean)
        self.packed = packed.reshape(-1, width)
        self.n_rows = max(64, _WHITENED_NUMBERS // max(1, len(self.packed)))
        self.memory = np.empty(0)

    def __call__(self, block, out):
        for start in range(0, len(block), self.n_rows):
            rows = block[start : start + self.n_rows].astype(np.float64, copy=False)
            shape = len(self.packed), len(rows)
            if self.memory.size < shape[0] * shape[1]:
                self.memory = np.empty_like(rows, shape=shape[0] * shape[1])
            whitened = self.memory[: shape[0] * shape[1]].reshape(shape)
            numpy_of(rows).matmul(self.packed, rows.T, out=whitened)
            whitened = whitened.reshape(len(out), -1, len(rows))
            for k, constant in enumerate(self.constant):
                scores = out[k, start : start + self.n_rows]
                scores[:] = constant
                ops_of(out).subtract_half_squares(whitened[k], scores)


class SharedScorer:
    """Rows whitened once; scores are linear but for what experts have in common."""

    def __init__(self, basis, mean, inverse, constant, width):
        self.packed = np.zeros((basis.shape[1], width))
        self.packed[:, : len(basis)] = inverse[0] @ basis.T
        self.centers = mean @ inverse[0].T
        self.constant = constant - 0.5 * np.square(self.centers).sum(axis=1)

    def __call__(self, block, out):
        whitened = self.packed @ block.T.astype(np.float64, copy=False)
        common = np.zeros_like(whitened, shape=len(block))
        ops_of(out).subtract_half_squares(whitened, common)
        numpy_of(out).matmul(self.centers, whitened, out=out)
        out += self.constant[:, None]
        out += common


class DiagonalScorer:
    """Each column on its own."""

    def __init__(self, basis, mean, inverse, constant):
        self.constant = constant
        self.slope = inverse @ basis.T
        self.shift = (mean * inverse) @ (basis.T > 0)

    def __call__(self, block, out):
        ops_of(out).diagonal_scores(block, self.slope, self.shift, self.constant, out)
