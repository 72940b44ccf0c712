"""Samples of rows, drawn from the rows or from a fitted mixture."""

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing

from .._door import check_lengths
from .._validation import check_weight

# Draws until every class is there.
_ATTEMPTS = 100


class Sample:
    """Rows of a replicate.

    Attributes
    ----------
    rows : ndarray of int of shape (m,)
        Their numbers in the data, each once unless targets were simulated.
    X, y, weight, exposure
        As for fit; ``exposure`` is None where there is none.
    """

    def __init__(self, rows, X, y, weight, exposure):
        self.rows = rows
        self.X, self.y = X, y
        self.weight, self.exposure = weight, exposure

    def fit(self, model):
        """Fit an estimator to it and return that."""
        extra = {} if self.exposure is None else {"exposure": self.exposure}
        return model.fit(self.X, self.y, sample_weight=self.weight, **extra)


class Resampler:
    """Draws rows with replacement; an observation that is drawn twice has weight 2.

    Weights instead of repeated rows, since folds of cross-fitted experts would share
    repeated rows.

    Parameters
    ----------
    model : fitted mixture
    X, y, sample_weight, groups, exposure
        As in `bootstrap`.
    """

    def __init__(self, model, X, y, sample_weight=None, groups=None, exposure=None):
        check_lengths(X, y)
        self.X, self.y, self.exposure = X, y, exposure
        self.weight = check_weight(sample_weight, np.zeros(_n_rows(X)))
        self.labels = None if groups is None else group_numbers(groups, len(self.weight))
        self.classes = None
        if hasattr(model, "classes_"):
            self.classes = np.unique(np.asarray(y)[self.weight > 0])

    def draw(self, rng):
        """A `Sample`; where it misses a class, another one."""
        for _ in range(_ATTEMPTS):
            weight = self._counts(rng)
            rows = np.flatnonzero(weight > 0)
            y = _safe_indexing(self.y, rows)
            if self.classes is None or len(np.unique(np.asarray(y))) == len(self.classes):
                exposure = None if self.exposure is None else np.asarray(self.exposure)[rows]
                return Sample(rows, _safe_indexing(self.X, rows), y, weight[rows], exposure)
        raise ValueError(
            f"none of {_ATTEMPTS} samples has rows of every class; use kind='parametric', or "
            f"leave out classes of very few rows."
        )

    def _counts(self, rng):
        """Weights (n,) of rows in a sample."""
        if self.labels is not None:
            n_groups = self.labels.max() + 1
            drawn = rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups))
            return self.weight * drawn[self.labels]
        total = self.weight.sum()
        return rng.multinomial(max(round(total), 1), self.weight / total).astype(np.float64)


class Simulator:
    """Draws targets from a fitted mixture, at the features of the data.

    Parameters
    ----------
    model : fitted mixture
    X, y, sample_weight, exposure
        As in `bootstrap`; weights are whole numbers, and rows are repeated.
    """

    def __init__(self, model, X, y, sample_weight=None, exposure=None):
        check_lengths(X, y)
        weight = check_weight(sample_weight, np.zeros(_n_rows(X)))
        if not np.array_equal(weight, np.round(weight)):
            raise ValueError(
                "sample_weight must be whole numbers where targets are simulated: a row of "
                "weight 2 is drawn twice. Use kind='nonparametric'."
            )
        self.model, self.rows = model, np.repeat(np.arange(len(weight)), weight.astype(int))
        self.X = _safe_indexing(X, self.rows)
        self.exposure = None if exposure is None else np.asarray(exposure)[self.rows]
        self.classes = getattr(model, "classes_", None)
        if self.classes is not None:
            self._bounds = np.cumsum(model.predict_proba(self.X), axis=1)
            return
        if np.ndim(y) == 2 and np.shape(y)[1] > 1 and not model._many_outputs:
            raise TypeError(
                f"targets of {type(model.likelihood_).__name__} have columns that cannot be "
                f"simulated (bounds, trials); use kind='nonparametric'."
            )
        extra = {} if exposure is None else {"exposure": self.exposure}
        self._dist = model.predict_dist(self.X, **extra)

    def draw(self, rng):
        """A `Sample`; where it misses a class, another one."""
        for _ in range(_ATTEMPTS):
            y = self._targets(rng)
            if self.classes is None or len(np.unique(y)) == len(self.classes):
                return Sample(self.rows, self.X, y, None, self.exposure)
        raise ValueError(
            f"none of {_ATTEMPTS} simulated samples has every class; leave out classes of very "
            f"few rows."
        )

    def _targets(self, rng):
        if self.classes is None:
            return self._dist.sample(random_state=rng)
        u = rng.uniform(size=(len(self.rows), 1)) * self._bounds[:, -1:]
        return self.classes[(u > self._bounds[:, :-1]).sum(axis=1)]


def group_numbers(groups, n_rows):
    """Numbers (n,) of groups from their labels."""
    if len(groups) != n_rows:
        raise ValueError(f"groups has {len(groups)} labels for {n_rows} rows; give one for each.")
    return pd.factorize(np.asarray(groups), use_na_sentinel=False)[0]


def _n_rows(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)
