"""K arbitrary scikit-learn estimators behind the interface of an expert collection."""

import copy

import numpy as np

from .._failures import ExpertsFailed, is_own_failure
from .._ops import is_on_device, numpy_of
from ._flat import RowsOf, Tables
from ._folds import accepts_many_outputs, accepts_nan, accepts_sparse, make_folds
from ._jobs import Failure, Job, Shown, Training, run_jobs
from ._on_device import DeviceTraining, OnDevice, fits_on_device
from ._outputs import ClassOutput, MeanOutput
from ._slots import make_slots
from ._weights import HANDFUL

__all__ = [
    "EstimatorExperts",
    "accepts_many_outputs",
    "accepts_nan",
    "accepts_sparse",
    "make_folds",
]


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
    on_error : {"raise", "drop"}, default="raise"
        Whether a failing fit raises the expert's error, or `ExpertsFailed` after all
        others were tried.
    link : likelihood, default=None
        Says by ``training_target`` what regressors are trained on, and by ``from_mean``
        what becomes of their predictions; None for means of the target as it is.

    Attributes
    ----------
    n_experts : int
        K.
    estimators_ : list of K fitted estimators
        There after `fit`, or after `fit_predict` without folds.
    dropped : dict of str to str
        Names of the experts that `without` has left out, and their errors.

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
        on_error="raise",
        link=None,
    ):
        self.classes = classes
        self.link = link
        self.single_output = single_output
        self.smoothing = smoothing
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.dropped = {}
        self.names = list(names)
        self._slots = make_slots(templates, [f"expert {name!r}" for name in names], random_state)
        self._n_outputs = 1
        self._tables = Tables()
        self._shown = Shown()

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
            In-sample if ``data.folds`` is None, and then `estimators_` is set. On a GPU,
            where experts are fitted there.
        """
        if data.folds is None:
            return self._fit_all_rows(data, resp, predict=True)
        training = self._training(data)
        there = self._training_there(data, training, resp)
        every = np.arange(len(data.weight))
        jobs = []
        for k, slot in enumerate(self._slots):
            # What was fitted elsewhere is as honest on one row as on another.
            folds = [(every, every)] if slot.frozen else data.folds
            jobs += [
                Job(slot, training.weight * resp[:, k], train, test, None, k)
                for train, test in folds
            ]
        output = self._output()
        results = self._run(jobs, training, output, False, there)
        xp = _numpy_of_any(part for _, part in results)
        pred = xp.empty((len(every), self.n_experts, output.n_columns))
        for job, (_, part) in zip(jobs, results, strict=True):
            pred[xp.asarray(job.test), job.expert] = xp.asarray(part)
        return pred

    def fit_predict_rows(self, data, resp, dispersion, rows):
        """Fit the experts to their rows, and predict each on the rows asked for.

        Parameters
        ----------
        data : FitData
        resp : ndarray of shape (n, K)
            Expert k sees no row where ``resp[:, k]`` is zero.
        dispersion : object
            Ignored.
        rows : list of K index arrays, ascending
            Where expert k is asked; out of fold if there are folds, which holds for rows
            that it is not fitted to as well.

        Returns
        -------
        pred : list of K ndarrays of shape (len(rows[k]), P)
        n_fitted : int
            Rows shown to experts, summed over all fits. Without folds, an expert whose rows
            and weights are those of its last fit is not fitted again.
        """
        training, output = self._training(data), self._output()
        keep = data.folds is None
        jobs = self._jobs_on_rows(data, training, resp, rows)
        self._shown = Shown()  # nothing is certain while fits may fail
        results = self._run(jobs, training, output, keep)
        pred = [np.empty((len(some), output.n_columns)) for some in rows]
        for job, (_, part) in zip(jobs, results, strict=True):
            pred[job.expert][np.searchsorted(rows[job.expert], job.test)] = part
        if keep:
            self.estimators_ = [fitted for fitted, _ in results]
            self._shown = Shown(data.X, data.y, [job.weight for job in jobs])
        return pred, sum(job.n_fitted for job in jobs)

    def _jobs_on_rows(self, data, training, resp, rows):
        """One job per expert, or per expert and fold that has rows to predict."""
        every = np.arange(len(data.weight))
        folds = [(every, every)] if data.folds is None else data.folds
        fold_of = np.zeros(len(every), dtype=np.intp)
        for number, (_, test) in enumerate(folds):
            fold_of[test] = number
        last = [None] * self.n_experts
        if data.folds is None:
            last = getattr(self, "estimators_", last)
        jobs = []
        for k, slot in enumerate(self._slots):
            weight, fold = training.weight * resp[:, k], fold_of[rows[k]]
            if last[k] is not None and self._shown.same(data, k, weight):
                slot = slot.filled(last[k])
            if slot.frozen or data.folds is None:
                jobs.append(Job(slot, weight, every, rows[k], last[k], k, HANDFUL))
                continue
            tests = [rows[k][fold == number] for number in range(len(folds))]
            jobs += [
                Job(slot, weight, train, test, None, k, HANDFUL)
                for (train, _), test in zip(folds, tests)
                if len(test)
            ]
        return jobs

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
        X = RowsOf(X)
        if rows is None:
            return np.stack([self._predict_one(k, X) for k in range(self.n_experts)], axis=1)
        return [self._predict_one(k, X.at(rows[k])) for k in range(self.n_experts)]

    def predict_each(self, X, rows=None):
        """Predict with every expert that can.

        Parameters
        ----------
        X : array, CSR or frame of shape (n, d)
        rows : list of K index arrays, default=None
            As in `predict`.

        Returns
        -------
        parts : list of K ndarrays of shape (n, P) or (len(rows[k]), P)
            None for an expert that failed.
        errors : dict of int to Exception
            What those raised.
        """
        X, parts, errors = RowsOf(X), [None] * self.n_experts, {}
        for k in range(self.n_experts):
            try:
                parts[k] = self._predict_one(k, X.at(None if rows is None else rows[k]))
            except Exception as error:  # returned, unless it is not of the expert's own
                if not is_own_failure(error):
                    raise
                errors[k] = error
        return parts, errors

    def selected(self, kept):
        """A copy with some of the experts, by index."""
        chosen = copy.copy(self)
        chosen.names = [self.names[k] for k in kept]
        chosen._slots = [self._slots[k] for k in kept]
        chosen._shown = Shown()
        if hasattr(self, "estimators_"):
            chosen.estimators_ = [self.estimators_[k] for k in kept]
        return chosen

    def replaced(self, where, others):
        """A copy in which experts, by index, are those of another collection."""
        fresh = self.selected(range(self.n_experts))
        for k, name, slot, fitted in zip(
            where, others.names, others._slots, others.estimators_, strict=True
        ):
            fresh.names[k], fresh._slots[k], fresh.estimators_[k] = name, slot, fitted
        return fresh

    def anew(self, templates, names, random_state):
        """A collection of other experts that is set up like this one."""
        fresh = EstimatorExperts(
            templates,
            names,
            classes=self.classes,
            single_output=self.single_output,
            smoothing=self.smoothing,
            random_state=random_state,
            n_jobs=self.n_jobs,
            link=self.link,
        )
        fresh._n_outputs = self._n_outputs
        return fresh

    def template(self, k):
        """The template of one expert."""
        return self._slots[k].template

    def without(self, errors):
        """A copy without experts that failed: a dict of index to error."""
        rest = self.selected([k for k in range(self.n_experts) if k not in errors])
        failed = {self.names[k]: str(error) for k, error in errors.items()}
        rest.dropped = {**self.dropped, **failed}
        return rest

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
        self._shown = Shown()  # the rows of the fit are let go
        return [e.estimator if isinstance(e, OnDevice) else e for e in self.estimators_]

    def _fit_all_rows(self, data, resp, predict):
        training = self._training(data)
        every = np.arange(len(data.weight))
        test = every if predict else None
        last = getattr(self, "estimators_", [None] * self.n_experts)
        jobs = [
            Job(slot, training.weight * resp[:, k], every, test, last[k], k)
            for k, slot in enumerate(self._slots)
        ]
        output, there = self._output(), self._training_there(data, training, resp)
        results = self._run(jobs, training, output, True, there)
        self._shown = Shown()
        # A new list: earlier iterates are shallow copies that share the old one.
        self.estimators_ = [fitted for fitted, _ in results]
        if not predict:
            return None
        xp = _numpy_of_any(pred for _, pred in results)
        return xp.stack([xp.asarray(pred) for _, pred in results], axis=1)

    def _run(self, jobs, training, output, keep, there=None):
        """Run jobs; with ``on_error="drop"`` failures of all of them come as one error.

        Those of experts that are fitted on a GPU are run in this process, on ``there``.
        """
        drop = self.on_error == "drop"
        away = [there is not None and fits_on_device(job.slot) for job in jobs]
        tasks = [(job, training, output, keep) for job, gone in zip(jobs, away) if not gone]
        results = iter(run_jobs(self.n_jobs, tasks, go_on=drop)) if tasks else None
        tasks = [(job, there, output, keep) for job, gone in zip(jobs, away) if gone]
        gone_results = iter(run_jobs(1, tasks, go_on=drop)) if tasks else None
        results = [next(gone_results if gone else results) for gone in away]
        errors = {
            job.expert: result.error
            for job, result in zip(jobs, results, strict=True)
            if isinstance(result, Failure)
        }
        if errors:
            if keep:
                self._keep_fits(jobs, results)
            raise ExpertsFailed(errors)
        return results

    def _keep_fits(self, jobs, results):
        """Keep what was fitted beside experts that failed."""
        self.estimators_ = [
            None if isinstance(result, Failure) else result[0]
            for _, result in zip(jobs, results, strict=True)
        ]

    def _predict_one(self, k, X):
        output = self._output()
        if X.rows is not None and not len(X.rows):
            return np.empty((0, output.n_columns))
        return self._tables.ask(output, self._slots[k].who, self.estimators_[k], X)

    def _training(self, data):
        """Return the rows in the form that the experts are fitted on."""
        if self.classes is not None:
            return Training(data.X, self.classes[data.y], data.weight, True)
        y, factor = data.y.reshape(len(data.weight), -1), None
        if self.link is not None:
            y, factor = self.link.training_target(data.y)
        self._n_outputs = y.shape[1]
        weight = data.weight if factor is None else data.weight * factor
        return Training(data.X, y[:, 0] if self.single_output else y, weight, False)

    def _training_there(self, data, training, resp):
        """The rows on a GPU, where they are there and an expert takes them; else None."""
        rows = data.expert_rows(resp) if hasattr(data, "expert_rows") else None
        if rows is None or self.classes is not None or not any(map(fits_on_device, self._slots)):
            return None
        X, weight, shares, once = rows
        target = once("target", data.y, training.target)
        if training.weight is data.weight:
            return DeviceTraining(X, target, weight, shares, once)
        factor = once("factor", data.y, training.weight / data.weight)

        def weighted(k):
            return factor * shares(k)

        return DeviceTraining(X, target, factor * weight, weighted, once)

    def _output(self):
        if self.classes is None:
            return MeanOutput(self._n_outputs, self.link)
        return ClassOutput(self.classes, self.smoothing)


def _numpy_of_any(arrays):
    """CuPy if one of the arrays is on a GPU, else NumPy."""
    return numpy_of(next(filter(is_on_device, arrays), np.empty(0)))
