"""K arbitrary scikit-learn estimators behind the interface of an expert collection."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed

from ._folds import accepts_many_outputs, accepts_nan, accepts_sparse, make_folds
from ._outputs import ClassOutput, MeanOutput
from ._slots import Slot, make_slots, take_rows
from ._weights import HANDFUL

__all__ = [
    "EstimatorExperts",
    "accepts_many_outputs",
    "accepts_nan",
    "accepts_sparse",
    "make_folds",
]

# Rows below this share of an expert's largest weight are left out of its fit.
NEGLIGIBLE_ROW = 1e-8
# An expert below this share of the total weight is not fitted on its own rows.
NEGLIGIBLE_EXPERT = 1e-6


class EstimatorExperts:
    """K clones of scikit-learn estimators, each fitted by its responsibilities.

    Expert k is fitted with row weights ``weight * resp[:, k]``: as ``sample_weight``
    where it takes them, else by resampling its rows.

    Parameters
    ----------
    templates : list of K estimators
        Unfitted; cloned, never changed. A ``FrozenEstimator`` is used as it is: it is
        not fitted, and its out-of-fold prediction is its prediction.
    names : list of K str
        What errors call the experts.
    classes : ndarray of shape (C,), default=None
        Labels for classification, on which the experts are trained; None for regression.
    single_output : bool, default=True
        Whether regressors are fitted on a one-dimensional y.
    smoothing : float, default=1e-3
        Class probabilities p become (1 - smoothing) p + smoothing / C.
    random_state : int, default=0
        Seed of the experts' own seeds, which stay the same in every fit. They are set
        where a template has ``random_state=None``.
    n_jobs : int, default=None
        Number of parallel fits, over experts and folds. Results do not depend on it.

    Attributes
    ----------
    n_experts : int
        K.
    estimators_ : list of K fitted estimators
        There after `fit`, or after `fit_predict` without folds.

    Notes
    -----
    Rows with less than 1e-8 of an expert's largest weight are not shown to it. An expert
    left with fewer than two rows or 1e-6 of the total weight keeps its last fit; if it
    has none, and always within a fold (where the last fit is not out of fold), it is
    fitted on all rows by their plain weights. A classifier whose rows have one class is
    a ``DummyClassifier``.
    """

    def __init__(
        self,
        templates,
        names,
        *,
        classes=None,
        single_output=True,
        smoothing=1e-3,
        random_state=0,
        n_jobs=None,
    ):
        self.classes = classes
        self.single_output = single_output
        self.smoothing = smoothing
        self.n_jobs = n_jobs
        self._slots = make_slots(templates, [f"expert {name!r}" for name in names], random_state)
        self._n_outputs = 1

    @property
    def n_experts(self):
        """K."""
        return len(self._slots)

    def fit_predict(self, data, resp, dispersion=None):
        """Fit the experts and predict the training rows, out of fold if there are folds.

        Parameters
        ----------
        data : FitData
            With attributes X (n, d), y, weight (n,) and folds.
        resp : ndarray of shape (n, K)
        dispersion : object, default=None
            Ignored; for experts whose penalty depends on it.

        Returns
        -------
        pred : ndarray of shape (n, K, P)
            In-sample if ``data.folds`` is None, and then `estimators_` is set.
        """
        if data.folds is None:
            return self._fit_all_rows(data, resp, predict=True)
        training = self._training(data)
        every = np.arange(len(data.weight))
        jobs = []
        for k, slot in enumerate(self._slots):
            # What was fitted elsewhere is as honest on one row as on another.
            folds = [(every, every)] if slot.frozen else data.folds
            jobs += [
                _Job(slot, data.weight * resp[:, k], train, test, None, k) for train, test in folds
            ]
        output = self._output()
        pred = np.empty((len(every), self.n_experts, output.n_columns))
        results = _run(self.n_jobs, [(job, training, output, False) for job in jobs])
        for job, (_, part) in zip(jobs, results, strict=True):
            pred[job.test, job.expert] = part
        return pred

    def fit(self, data, resp):
        """Fit every expert on all rows.

        Parameters
        ----------
        data : FitData
        resp : ndarray of shape (n, K)

        Returns
        -------
        self : EstimatorExperts
        """
        self._fit_all_rows(data, resp, predict=False)
        return self

    def predict(self, X, rows=None):
        """Predict with every expert, or each expert on rows of its own.

        Parameters
        ----------
        X : array, CSR or frame of shape (n, d)
        rows : list of K index arrays, default=None
            Expert k runs on ``X[rows[k]]`` only, and not at all if that is empty.

        Returns
        -------
        pred : ndarray of shape (n, K, P), or list of K ndarrays of shape (len(rows[k]), P)
        """
        output = self._output()
        experts = list(zip(self._slots, self.estimators_, strict=True))
        if rows is None:
            return np.stack([output(slot.who, fitted, X) for slot, fitted in experts], axis=1)
        return [
            output(slot.who, fitted, _safe_indexing(X, chosen))
            if len(chosen)
            else np.empty((0, output.n_columns))
            for (slot, fitted), chosen in zip(experts, rows, strict=True)
        ]

    def penalty(self):
        """Return 0: what these experts penalise is their own affair."""
        return 0.0

    def published(self, classes=None):
        """Return the fitted estimators.

        Parameters
        ----------
        classes : object, default=None
            Ignored; for experts that are made into estimators only now.

        Returns
        -------
        estimators : list of K fitted estimators
        """
        return list(self.estimators_)

    def _fit_all_rows(self, data, resp, predict):
        training = self._training(data)
        every = np.arange(len(data.weight))
        test = every if predict else None
        last = getattr(self, "estimators_", [None] * self.n_experts)
        jobs = [
            _Job(slot, data.weight * resp[:, k], every, test, last[k], k)
            for k, slot in enumerate(self._slots)
        ]
        output = self._output()
        results = _run(self.n_jobs, [(job, training, output, True) for job in jobs])
        # A new list: earlier iterates are shallow copies that share the old one.
        self.estimators_ = [fitted for fitted, _ in results]
        return np.stack([pred for _, pred in results], axis=1) if predict else None

    def _training(self, data):
        """Return the rows in the form that the experts are fitted on."""
        if self.classes is not None:
            return _Training(data.X, self.classes[data.y], data.weight, True)
        y = data.y.reshape(len(data.weight), -1)
        self._n_outputs = y.shape[1]
        return _Training(data.X, y[:, 0] if self.single_output else y, data.weight, False)

    def _output(self):
        if self.classes is None:
            return MeanOutput(self._n_outputs)
        return ClassOutput(self.classes, self.smoothing)


@dataclass(frozen=True)
class _Training:
    """All rows: X (n, d), target (n,) or (n, m) in the experts' terms, plain weight (n,)."""

    X: Any
    target: np.ndarray
    weight: np.ndarray
    classify: bool


@dataclass(frozen=True)
class _Job:
    """Fit one expert on `train` by `weight` (n,), and predict `test` unless it is None."""

    slot: Slot
    weight: np.ndarray
    train: np.ndarray
    test: np.ndarray | None
    last: Any
    expert: int


class _Failure(NamedTuple):
    """An error on its way back from a worker; pickling it alone would lose its cause."""

    error: Exception
    cause: BaseException | None


def _run(n_jobs, tasks):
    """Run `_work` on every task, in order.

    Returns
    -------
    results : list of (fitted estimator or None, pred of shape (n_test, P) or None)
    """
    if effective_n_jobs(n_jobs) == 1 or len(tasks) == 1:
        return [_work(*task) for task in tasks]
    results = Parallel(n_jobs=n_jobs)(delayed(_attempt)(*task) for task in tasks)
    for result in results:
        if isinstance(result, _Failure):
            raise result.error from result.cause
    return results


def _attempt(*task):
    try:
        return _work(*task)
    except Exception as error:  # raised again, with its cause, where the results arrive
        return _Failure(error, error.__cause__)


def _work(job, training, output, keep):
    """Do one job; the fitted estimator comes back only if `keep`."""
    fitted = _fit(job, training)
    pred = None
    if job.test is not None:
        pred = output(job.slot.who, fitted, take_rows(training.X, job.test))
    return (fitted if keep else None), pred


def _fit(job, training):
    """Return the fitted estimator of one job."""
    slot = job.slot
    if slot.frozen:
        return slot.template
    weight, plain = job.weight[job.train], training.weight[job.train]
    kept = np.flatnonzero(weight > NEGLIGIBLE_ROW * weight.max())
    if len(kept) < 2 or weight.sum() < NEGLIGIBLE_EXPERT * plain.sum():
        if job.last is not None:
            return job.last
        weight, kept = plain, np.arange(len(plain))
    rows = job.train[kept]
    target, least = training.target[rows], min(HANDFUL, len(plain))
    return slot.fit(training.X, rows, target, weight[kept], least, training.classify)
