"""Mixtures of experts on dask collections."""

from functools import partial

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from .. import classifier, regressor
from .._blockable import SAMPLE_ROWS
from .._validation import plan_experts
from ..experts._jobs import jobs_run_by
from ._collections import gathered, is_collection, lazily, require_dask
from ._jobs import JobsOnWorkers
from ._rows import DaskRows


class OnDask:
    """Methods of both estimators that take dask collections."""

    def fit(self, X, y, sample_weight=None):
        """Fit gate and experts on the workers of the present client.

        Parameters
        ----------
        X : dask array or DataFrame of shape (n_samples, n_features)
            Numbers. Arrays and DataFrames in memory are fitted in this process.
        y : dask array or Series of shape (n_samples,) or (n_samples, n_outputs)
            Targets, in the partitions of X.
        sample_weight : dask array or Series of shape (n_samples,), default=None
            Non-negative; ones by default.

        Returns
        -------
        self : estimator
            Fitted; it holds nothing of the cluster.

        Raises
        ------
        ValueError, TypeError
            Before any training, where there is no client, parts cannot be trained by blocks
            or rows are no numbers; the message names the cure.
        """
        if not is_collection(X):
            return super().fit(X, y, sample_weight)
        self._validate_params()
        plan = plan_experts(self.experts, self.n_experts, is_classifier(self))
        if plan.linear is None:
            return self._fit_on_workers(X, y, sample_weight)
        opened = []
        try:
            open_rows = partial(self._open_partitions, X, y, sample_weight, opened)
            return self._guarded(self._fit_blocks, open_rows)
        finally:
            for rows in opened:
                rows.release()

    def _fit_on_workers(self, X, y, sample_weight):
        """Fit with the E-step here, and experts on workers."""
        client = require_dask()[1]
        X, y, sample_weight = gathered(X, y, sample_weight)
        runner = JobsOnWorkers(client)
        try:
            with jobs_run_by(runner):
                return super().fit(X, y, sample_weight)
        finally:
            runner.release()

    def _open_partitions(self, X, y, sample_weight, opened, plan):
        """The rows of collections, and how many of them make a sample."""
        rows = DaskRows.of(X, y, sample_weight)
        opened.append(rows)
        self._note_columns(rows.first)
        return rows, SAMPLE_ROWS

    def gate_proba(self, X):
        """Probability of each expert given the features, before any routing.

        Parameters
        ----------
        X : dask array or DataFrame of shape (n_samples, n_features)
            Features, or rows in memory.

        Returns
        -------
        dask array of shape (n_samples, n_experts)
            Computed when asked for; an ndarray for rows in memory.
        """
        if not is_collection(X):
            return super().gate_proba(X)
        return self._lazily("gate_proba", X, (self.n_experts_,))

    def log_likelihood(self, X, y):
        """Log density (or log probability) of each observed target.

        Parameters
        ----------
        X : dask array or DataFrame of shape (n_samples, n_features)
            Features, or rows in memory.
        y : dask array or Series of shape (n_samples,) or (n_samples, n_outputs)
            Targets, in the partitions of X.

        Returns
        -------
        dask array of shape (n_samples,)
            Computed when asked for; an ndarray for rows in memory.
        """
        if not is_collection(X):
            return super().log_likelihood(X, y)
        return self._lazily("log_likelihood", X, (), y=y)

    def score(self, X, y, sample_weight=None):
        """R² of a regressor, accuracy of a classifier; computed at once.

        Parameters
        ----------
        X : dask array or DataFrame of shape (n_samples, n_features)
            Features, or rows in memory.
        y : dask array or Series of shape (n_samples,) or (n_samples, n_outputs)
            Targets, in the partitions of X.
        sample_weight : dask array or Series of shape (n_samples,), default=None
            Non-negative; ones by default.

        Returns
        -------
        float
            At most 1.
        """
        if not is_collection(X):
            return super().score(X, y, sample_weight)
        from sklearn.metrics import accuracy_score, r2_score

        metric = accuracy_score if is_classifier(self) else r2_score
        target, found, weight = gathered(y, self.predict(X), sample_weight)
        return metric(target, found, sample_weight=weight)

    def _lazily(self, method, X, shape, dtype=np.float64, y=None):
        """A dask array of the answers of a method."""
        check_is_fitted(self)
        others = {} if y is None else {"y": y}
        return lazily(_Answer(self, method, shape, dtype), X, shape, dtype, others)


class _Answer:
    """A method of a fitted model, as a function of rows in memory."""

    def __init__(self, model, method, shape, dtype):
        self.model, self.method, self.shape, self.dtype = model, method, shape, dtype

    def __call__(self, *rows):
        if not len(rows[0]):
            return np.empty((0, *self.shape), self.dtype)
        return getattr(self.model, self.method)(*rows)


class MoERegressor(OnDask, regressor.MoERegressor):
    """`skmoe.MoERegressor` on dask arrays and DataFrames.

    Parameters are those of `skmoe.MoERegressor`. Linear experts with a softmax gate are
    trained where the partitions are: workers send sums, and get parameters. The passes and the
    numbers are those of a fit in memory. Other experts are fitted on
    workers, one a task, and the rest is done in this process, which needs room for all rows.

    Parameters
    ----------
    experts, n_experts, max_experts, gate, gate_per_output, missing_outputs, likelihood : object
        As in `skmoe.MoERegressor`.
    solver, gate_features, expert_features, top_k, routing, load_balance, combine : object
        As in `skmoe.MoERegressor`.
    cross_fit, init, n_init, max_iter, tol, warm_start, on_expert_error, device : object
        As in `skmoe.MoERegressor`.
    n_jobs, random_state, verbose, callbacks : object
        As in `skmoe.MoERegressor`.

    See Also
    --------
    skmoe.MoERegressor : The same in memory, with all parameters explained.

    Examples
    --------
    >>> import dask.array as da  # doctest: +SKIP
    >>> from distributed import Client  # doctest: +SKIP
    >>> from skmoe.dask import MoERegressor
    >>> client = Client()  # doctest: +SKIP
    >>> X = da.random.uniform(-1, 1, size=(10_000_000, 5), chunks=(500_000, 5))  # doctest: +SKIP
    >>> model = MoERegressor(n_experts=2).fit(X, abs(X[:, 0]))  # doctest: +SKIP
    >>> model.predict(X).mean().compute()  # doctest: +SKIP
    """

    def predict(self, X, return_std=False, exposure=None, quantiles=None):
        """Predict the target: the mean of the mixture, or what ``combine`` says.

        Parameters
        ----------
        X : dask array or DataFrame of shape (n_samples, n_features)
            Features, or rows in memory.
        return_std : bool, default=False
            For rows in memory only.
        exposure : array-like of shape (n_samples,), default=None
            For rows in memory only.
        quantiles : float or list of float, default=None
            For rows in memory only.

        Returns
        -------
        dask array of shape (n_samples,) or (n_samples, n_outputs)
            Computed when asked for; an ndarray for rows in memory.

        Raises
        ------
        ValueError
            For what is for rows in memory only.
        """
        if not is_collection(X):
            return super().predict(X, return_std, exposure, quantiles)
        if return_std or exposure is not None or quantiles is not None:
            raise ValueError(
                "return_std, exposure and quantiles are for rows in memory; leave them out, or "
                "call predict on each partition (X.map_partitions, X.map_blocks)."
            )
        check_is_fitted(self)
        shape = self._units[0].shape if self._many_outputs else ()
        return self._lazily("predict", X, shape)


class MoEClassifier(OnDask, classifier.MoEClassifier):
    """`skmoe.MoEClassifier` on dask arrays and DataFrames.

    Parameters are those of `skmoe.MoEClassifier`; see `skmoe.dask.MoERegressor` for what is
    done where.

    Parameters
    ----------
    experts, n_experts, max_experts, gate, solver, gate_features, expert_features : object
        As in `skmoe.MoEClassifier`.
    top_k, routing, load_balance, combine, cross_fit, init, n_init, max_iter, tol : object
        As in `skmoe.MoEClassifier`.
    class_weight, warm_start, on_expert_error, device, n_jobs, random_state : object
        As in `skmoe.MoEClassifier`.
    verbose, callbacks : object
        As in `skmoe.MoEClassifier`.

    See Also
    --------
    skmoe.MoEClassifier : The same in memory, with all parameters explained.

    Examples
    --------
    >>> import dask.dataframe as dd  # doctest: +SKIP
    >>> from distributed import Client  # doctest: +SKIP
    >>> from skmoe.dask import MoEClassifier
    >>> client = Client()  # doctest: +SKIP
    >>> trips = dd.read_parquet("trips")  # doctest: +SKIP
    >>> X = trips[["distance", "hour"]]  # doctest: +SKIP
    >>> model = MoEClassifier(n_experts=4).fit(X, trips["late"])  # doctest: +SKIP
    """

    def predict(self, X):
        """Predict the most probable class.

        Parameters
        ----------
        X : dask array or DataFrame of shape (n_samples, n_features)
            Features, or rows in memory.

        Returns
        -------
        dask array of shape (n_samples,)
            Labels as in ``classes_``, computed when asked for; an ndarray for rows in
            memory.
        """
        if not is_collection(X):
            return super().predict(X)
        check_is_fitted(self)
        return self._lazily("predict", X, (), self.classes_.dtype)

    def predict_proba(self, X):
        """Predict class probabilities, combined as ``combine`` says.

        Parameters
        ----------
        X : dask array or DataFrame of shape (n_samples, n_features)
            Features, or rows in memory.

        Returns
        -------
        dask array of shape (n_samples, n_classes)
            In the order of ``classes_``, computed when asked for; an ndarray for rows in
            memory.
        """
        if not is_collection(X):
            return super().predict_proba(X)
        check_is_fitted(self)
        return self._lazily("predict_proba", X, (len(self.classes_),))
