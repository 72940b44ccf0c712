"""Centres and scales of columns, also where a few values are far beyond the rest."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

# A column is told by its bulk where its standard deviation is so many times the width of
# the central part of its values, as one of a Gaussian would be.
_WIDER = 3.0
_TAIL, _NORMAL_WIDTH = 0.02, 2 * 2.053748910631823
# Most rows, and numbers, that are looked at, and what chooses among more.
_MAX_ROWS, _MIN_ROWS, _NUMBERS, _SEED = 8192, 1024, 2**22, 0
_ROWS = ("keys", "X", "weight")


def hashed(numbers, seed):
    """Hashes (n,) of numbers (n,), 64 bits each: the finaliser of SplitMix64.

    Different numbers have different hashes.

    References
    ----------
    Steele, G. L., Lea, D. and Flood, C. H. (2014). Fast splittable pseudorandom number
    generators. OOPSLA, 453-472.
    """
    z = numbers.astype(np.uint64) + np.uint64(1)
    with np.errstate(over="ignore"):
        z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def smallest(keys, most):
    """Places of the smallest keys, in order of place."""
    if len(keys) <= most:
        return np.arange(len(keys))
    return np.sort(np.argpartition(keys, most)[:most])


def plain_scale(mean, variance):
    """Standard deviations (d,); 1 where only rounding of the values is left of a constant."""
    negligible = np.square(16.0 * np.finfo(np.float64).eps * mean)
    return np.sqrt(np.where(variance > negligible, variance, 1.0))


@dataclass(frozen=True)
class BulkSample:
    """Rows by which the bulk of the columns is told; those of parts add up to those of all."""

    most: int
    keys: np.ndarray
    X: np.ndarray
    weight: np.ndarray
    ends: np.ndarray  # least and largest values (2, d) of all rows

    @classmethod
    def of(cls, X, weight, start=0):
        """Of dense rows (m, d) with weights (m,), the first of which has the number start."""
        most = int(np.clip(_NUMBERS // max(X.shape[1], 1), _MIN_ROWS, _MAX_ROWS))
        keys = hashed(np.arange(start, start + len(X)), _SEED)
        kept = smallest(keys, most)
        ends = np.stack([np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)])
        return cls(most, keys[kept], X[kept], weight[kept], ends)

    def __add__(self, other):
        keys, *rest = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in _ROWS
        )
        kept = smallest(keys, self.most)
        low, high = zip(self.ends, other.ends, strict=True)
        ends = np.stack([np.fmin(*low), np.fmax(*high)])
        return BulkSample(self.most, keys[kept], *(values[kept] for values in rest), ends)

    def units(self, mean, variance):
        """Centre and scale (d,) of columns with these means and variances.

        Mean and standard deviation; where a few far values make up most of the latter, the
        median and the width of the central 96 percent, as a standard deviation. Otherwise the
        rest of the rows would lie together on that scale, and penalties would keep models from
        telling them apart.
        """
        center, scale = mean.copy(), plain_scale(mean, variance)
        order = np.argsort(self.X, axis=0)
        places = np.array([_TAIL, 0.5, 1.0 - _TAIL])
        for j, own in enumerate(order.T):
            values = self.X[own, j]
            below = np.cumsum(self.weight[own])
            if np.isnan(values[-1]):
                seen = int(np.searchsorted(values, np.nan))
                if seen == 0:
                    continue
                values, below = values[:seen], below[:seen]
            at = np.searchsorted(below, places * below[-1] * (1.0 - 1e-12))
            low, median, high = values[np.minimum(at, len(values) - 1)].astype(np.float64)
            width = (high - low) / _NORMAL_WIDTH
            if width > 0.0 and scale[j] > _WIDER * width:
                center[j], scale[j] = median, width
        return center, scale

    def reaches(self, center, scale):
        """How far the furthest value of any row is from the centre, in units of its column."""
        return np.nan_to_num(np.abs(self.ends - center) / scale).max(initial=0.0)


def weighted_moments(X, weight):
    """Weighted mean and variance (d,) of each column; NaN are left out.

    The variance is taken around a first mean, so that columns far from zero keep
    their digits.
    """
    if sp.issparse(X):
        total = weight.sum()
        mean = np.asarray(X.T @ weight).ravel() / total
        # Around the mean, so that columns far from zero keep their digits.
        error = sp.csr_matrix((X.data - mean[X.indices], X.indices, X.indptr), shape=X.shape)
        seen = sp.csr_matrix((np.ones(X.nnz), X.indices, X.indptr), shape=X.shape)
        stored = np.square(error.data, out=error.data)
        error.data = stored
        missing = total - seen.T @ weight
        missing[missing < 1e-12 * total] = 0.0  # rounding
        return mean, (error.T @ weight + missing * mean**2) / total
    total, first = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for rows, seen in _seen_blocks(X):
        total += weight[rows] @ seen
        first += weight[rows] @ np.where(seen, X[rows], 0.0)
    total = np.where(total > 0, total, 1.0)
    mean = first / total
    second, correction = np.zeros_like(mean), np.zeros_like(mean)
    for rows, seen in _seen_blocks(X):
        error = np.where(seen, X[rows] - mean, 0.0)
        correction += weight[rows] @ error
        second += weight[rows] @ np.square(error)
    shift = correction / total
    return mean + shift, np.maximum(second / total - shift**2, 0.0)


def _seen_blocks(X, size=4096):
    for start in range(0, X.shape[0], size):
        rows = slice(start, start + size)
        yield rows, ~np.isnan(X[rows])
