"""What stays the same about an arbitrary estimator from fit to fit, and one fit of it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils import _safe_indexing

from ._outputs import blame
from ._weights import resample, routed_key, weight_key

_LARGEST_SEED = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Slot:
    """What stays the same about one expert, or a gate, from fit to fit.

    Attributes
    ----------
    who : str
        What errors call it.
    template : estimator
        Unfitted; cloned, never changed.
    frozen : bool
        Whether it is used as it is.
    weight_key : str or None
        Keyword of row weights.
    seed : int
        Of its own seeds.
    offset : float
        For resampling where it takes no weights.
    """

    who: str
    template: Any
    frozen: bool
    weight_key: str | None
    seed: int
    offset: float

    def filled(self, fitted):
        """The same with an estimator that is fitted and used as it is."""
        return replace(self, template=fitted, frozen=True)

    def fresh(self):
        """Return an unfitted clone with its seeds set."""
        return set_seeds(clone(self.template), np.random.default_rng(self.seed))

    def fit(self, X, rows, target, weight, least, classify):
        """Fit a fresh clone by weights.

        Parameters
        ----------
        X : array, CSR or frame of shape (n, d)
        rows : ndarray of shape (m,)
            Rows of X, with or without repetitions.
        target : ndarray of shape (m,) or (m, q)
        weight : ndarray of shape (m,)
        least : int
            Where it takes no weights: fitted on at least so many rows, repeated if
            there are fewer.
        classify : bool

        Returns
        -------
        fitted estimator
        """
        with blame(self.who, "fit"):
            estimator = self.fresh()
            key = routed_key(estimator, self.weight_key)
        if key is None:
            chosen, params = resample(weight, self.offset, least=least), {}
            rows, target = rows[chosen], target[chosen]
        else:
            params = {key: weight}
        X = take_rows(X, rows)
        if classify and (target == target[0]).all():
            # Many classifiers refuse a single class; this one predicts it.
            return DummyClassifier(strategy="prior").fit(X, target)
        with blame(self.who, "fit"):
            estimator.fit(X, target, **params)
        return estimator


def make_slots(templates, whos, random_state):
    """Slots of estimators; ``random_state`` seeds their seeds."""
    rng = np.random.default_rng(random_state)
    slots = []
    for who, template in zip(whos, templates, strict=True):
        seed = int(rng.integers(_LARGEST_SEED))
        offset = rng.uniform(0.05, 0.95)
        frozen = isinstance(template, FrozenEstimator)
        key = None if frozen else weight_key(template)
        slots.append(Slot(who, template, frozen, key, seed, offset))
    return slots


def set_seeds(estimator, rng):
    """Set the seeds that are None, on an estimator that is the caller's own.

    Parameters
    ----------
    estimator : estimator
    rng : numpy.random.Generator

    Returns
    -------
    estimator
    """
    seeds = {}
    params = estimator.get_params(deep=True)
    for key in sorted(params):
        if key == "random_state" or key.endswith("__random_state"):
            # Drawn for every key, so that one given seed does not move the others.
            seed = int(rng.integers(_LARGEST_SEED))
            if params[key] is None:
                seeds[key] = seed
    return estimator.set_params(**seeds) if seeds else estimator


def take_rows(X, rows):
    """Return X[rows], without a copy if that is X."""
    if len(rows) == X.shape[0] and np.array_equal(rows, np.arange(len(rows))):
        return X
    return _safe_indexing(X, rows)
