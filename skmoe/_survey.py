"""What has to be known of all rows before a fit by blocks: sums that blocks add up to."""

from dataclasses import dataclass, replace

import numpy as np

from ._units import BulkSample, hashed, smallest, weighted_moments


@dataclass(frozen=True)
class Moments:
    """Weighted means (d,) and sums of squares around them (d,); these add up."""

    weight: float
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, values, weight):
        """Of rows (m, d) with weights (m,)."""
        mean, variance = weighted_moments(values, weight)
        total = weight.sum()
        return cls(total, mean, total * variance)

    def __add__(self, other):
        total = self.weight + other.weight
        gap, share = other.mean - self.mean, other.weight / total
        squares = self.squares + other.squares + self.weight * share * np.square(gap)
        return Moments(total, self.mean + share * gap, squares)

    @property
    def variance(self):
        """Weighted variances (d,)."""
        return self.squares / self.weight

    @property
    def spread(self):
        """Standard deviations (d,); 1 for constant columns."""
        spread = np.sqrt(self.variance)
        tiny = 1e-12 * np.maximum(np.abs(self.mean), 1e-300)
        return np.where(spread > tiny, spread, 1.0)


@dataclass(frozen=True)
class Sample:
    """The rows with the smallest keys, in their order, however rows are cut into blocks.

    The key of a row is a hash of its number, so that all samples of a size are equally
    likely, and any two samples add up.
    """

    most: int
    keys: np.ndarray
    numbers: np.ndarray
    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, block, most, seed):
        """Of one block."""
        numbers = np.arange(block.start, block.start + len(block))
        keys = hashed(numbers, seed)
        kept = smallest(keys, most)
        rows = block.X[kept], block.y[kept], block.weight[kept]
        return cls(most, keys[kept], numbers[kept], *rows)

    def __add__(self, other):
        pairs = [(getattr(self, name), getattr(other, name)) for name in _ROWS]
        keys, *rest = map(np.concatenate, pairs)
        kept = smallest(keys, self.most)
        return Sample(self.most, keys[kept], *(values[kept] for values in rest))


_ROWS = ("keys", "numbers", "X", "y", "weight")


@dataclass(frozen=True)
class Labels:
    """Labels of classes and the number of rows of each; these add up."""

    counts: dict

    def __add__(self, other):
        counts = dict(self.counts)
        for label, count in other.counts.items():
            counts[label] = counts.get(label, 0) + count
        return Labels(counts)

    @staticmethod
    def of(block):
        """Of one block."""
        y = block.y
        if block.several and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim != 1:
            raise ValueError(f"y has {y.shape[1]} columns; give one label for each row.")
        if y.dtype.kind == "f" and not (np.isfinite(y).all() and (y == np.floor(y)).all()):
            raise ValueError(
                "y holds numbers that are no labels (Unknown label type: continuous, NaN or "
                "infinity); use MoERegressor, or give labels."
            )
        if y.dtype.kind == "O" and any(label is None or label != label for label in y):
            raise ValueError(f"y contains NaN in rows from {block.start}; leave them out.")
        labels, counts = np.unique(y, return_counts=True)
        return Labels(dict(zip(labels.tolist(), counts.tolist())))


@dataclass(frozen=True)
class Numbers:
    """A change of blocks: targets become (m, P) of float64."""

    def __call__(self, block):
        """The block with other targets."""
        try:
            y = np.asarray(block.y, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"y does not hold numbers: {error}") from error
        return replace(block, y=np.ascontiguousarray(y.reshape(len(y), -1)))


@dataclass(frozen=True)
class Codes:
    """A change of blocks: labels become codes, and weights are multiplied by class.

    Attributes
    ----------
    classes : ndarray of shape (C,)
        Sorted.
    factors : ndarray of shape (C,) or None
    """

    classes: np.ndarray
    factors: np.ndarray | None = None

    def __call__(self, block):
        """The block with codes in the place of labels."""
        y = block.y.ravel()
        codes = np.minimum(np.searchsorted(self.classes, y), len(self.classes) - 1)
        if not (self.classes[codes] == y).all():
            raise ValueError("blocks gave other labels than in the first pass.")
        weight = block.weight if self.factors is None else block.weight * self.factors[codes]
        return replace(block, y=codes.astype(np.intp), weight=weight)


@dataclass(frozen=True)
class Facts:
    """What a first pass tells of all rows; two of them add up."""

    n_rows: int
    X: Moments
    y: Moments | None
    sample: Sample
    bulk: BulkSample

    def __add__(self, other):
        y = None if self.y is None else self.y + other.y
        n_rows = self.n_rows + other.n_rows
        sample, bulk = self.sample + other.sample, self.bulk + other.bulk
        return Facts(n_rows, self.X + other.X, y, sample, bulk)


@dataclass(frozen=True)
class Survey:
    """The first pass: checks of the values, moments, and samples of rows."""

    most: int
    seed: int

    def __call__(self, block):
        """Facts of one block."""
        rows = f"in rows {block.start} to {block.start + len(block) - 1}"
        names = block.names or list(range(block.X.shape[1]))
        finite = np.isfinite(block.X.sum()) or np.isfinite(block.X).all()
        if not finite:
            wrong = [n for n, good in zip(names, np.isfinite(block.X).all(axis=0)) if not good]
            raise ValueError(
                f"Input X contains NaN or infinity in columns {wrong} {rows}; impute or leave "
                f"them out."
            )
        codes = block.y.dtype.kind != "f"
        if not codes and not np.isfinite(block.y).all():
            raise ValueError(f"Input y contains NaN or infinity {rows}; leave these rows out.")
        y = None if codes else Moments.of(block.y, block.weight)
        sample = Sample.of(block, self.most, self.seed)
        bulk = BulkSample.of(block.X, block.weight, block.start)
        return Facts(len(block), Moments.of(block.X, block.weight), y, sample, bulk)
