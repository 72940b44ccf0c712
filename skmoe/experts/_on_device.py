"""Estimators that take arrays on a GPU: who they are, how they are fitted and asked."""

import numpy as np
from sklearn import get_config
from sklearn.utils import get_tags

from .._ops import get_ops, is_on_device, on_host
from ._jobs import NEGLIGIBLE_EXPERT, NEGLIGIBLE_ROW
from ._outputs import blame, check_shape
from ._weights import KEY, routed_key


def takes_device_arrays(estimator):
    """Whether an estimator is fitted to arrays on a GPU, and predicts such arrays.

    Those that say so by an attribute ``takes_device_arrays``, those of cuML, and those of
    scikit-learn that support the array API, while ``array_api_dispatch`` is on.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    bool
    """
    own = getattr(estimator, "takes_device_arrays", None)
    if own is not None:
        return bool(own)
    if type(estimator).__module__.partition(".")[0] == "cuml":
        return True
    if not get_config()["array_api_dispatch"] or not hasattr(estimator, "__sklearn_tags__"):
        return False
    return get_tags(estimator).array_api_support


def fits_on_device(slot):
    """Whether the expert of a slot is fitted on a GPU: it takes weights by that name, too."""
    return not slot.frozen and slot.weight_key == KEY and takes_device_arrays(slot.template)


class OnDevice:
    """A fitted estimator of arrays on a GPU, asked by arrays on either side.

    Parameters
    ----------
    estimator : fitted estimator
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def predict(self, X):
        """Predictions on the side of the rows: (n, d) -> (n,) or (n, m)."""
        asarray = get_ops("cuda").cp.asarray
        if is_on_device(X):
            return asarray(self.estimator.predict(X), dtype=np.float64)
        return on_host(self.estimator.predict(asarray(np.ascontiguousarray(X))))


class DeviceTraining:
    """All rows on a GPU, and the fits to them; in the place of `Training` where a job is run.

    Parameters
    ----------
    X : CuPy array of shape (n, d)
    target : CuPy array of shape (n,) or (n, m)
        In the experts' terms.
    weight : CuPy array of shape (n,)
    shares : callable
        ``shares(k)``, the weight of rows (n,) for expert k.
    once : callable
        As of `Device`: sends row numbers of folds, which stay the same.
    """

    def __init__(self, X, target, weight, shares, once):
        self.X, self.target, self.weight, self.shares = X, target, weight, shares
        self.once = once
        self.xp = get_ops("cuda").cp

    def work(self, job, output, keep):
        """Do one job; as `run_jobs` does on the host, with predictions on the GPU."""
        fitted, pred = self._fit(job), None
        if job.test is not None:
            pred = self._predicted(job.slot.who, fitted, self._rows(self.X, job.test), output)
        return (fitted if keep else None), pred

    def _fit(self, job):
        weight = self._rows(self.shares(job.expert), job.train)
        plain = self._rows(self.weight, job.train)
        kept = self.xp.flatnonzero(weight > NEGLIGIBLE_ROW * weight.max())
        few = len(kept) < 2 or float(weight.sum()) < NEGLIGIBLE_EXPERT * float(plain.sum())
        if few and job.last is not None:
            return job.last
        if few:
            weight, kept = plain, self.xp.asarray(job.others)
        X, target = (self._rows(array, job.train) for array in (self.X, self.target))
        if len(kept) < len(weight):
            X, target, weight = X[kept], target[kept], weight[kept]
        with blame(job.slot.who, "fit"):
            estimator = job.slot.fresh()
            if routed_key(estimator, job.slot.weight_key) is None:
                raise TypeError("metadata routing brings it no sample_weight")
            estimator.fit(X, target, **{KEY: weight})
        return OnDevice(estimator)

    def _rows(self, array, rows):
        """Some rows, without a copy of all of them; ascending and different."""
        return array if len(rows) == len(array) else array[self.once("rows", rows, rows)]

    def _predicted(self, who, fitted, X, output):
        with blame(who, "predict"):
            mean = fitted.predict(X)
        if mean.shape == (len(X),):
            mean = mean[:, None]
        check_shape(who, mean, (len(X), output.n_columns))
        if not bool(self.xp.isfinite(mean).all()):
            raise ValueError(f"{who} predicted NaN or infinite values")
        return mean if output.link is None else output.link.from_mean(mean)
