"""Fits of single experts, by their responsibilities, in this process or in others."""

import hashlib
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from .._failures import is_own_failure
from ._slots import Slot, take_rows
from ._weights import HANDFUL

# Rows below this share of an expert's largest weight are left out of its fit.
NEGLIGIBLE_ROW = 1e-8
# An expert below this share of the total weight is not fitted on its own rows.
NEGLIGIBLE_EXPERT = 1e-6


@dataclass(frozen=True)
class Training:
    """All rows: X (n, d), target (n,) or (n, m) in the experts' terms, plain weight (n,)."""

    X: Any
    target: np.ndarray
    weight: np.ndarray
    classify: bool


@dataclass(frozen=True)
class Job:
    """Fit one expert on `train` by `weight` (n,), and predict `test` unless it is None.

    Without rows of its own, and without `last`, it is fitted on at most so many others.
    """

    slot: Slot
    weight: np.ndarray
    train: np.ndarray
    test: np.ndarray | None
    last: Any
    expert: int
    most: int | None = None

    @property
    def others(self):
        """Positions in `train`, evenly spaced, of rows for an expert without its own."""
        step = 1 if self.most is None else -(-len(self.train) // self.most)
        return np.arange(0, len(self.train), step)

    @property
    def n_fitted(self):
        """Rows that are shown to the expert, at most."""
        if self.slot.frozen:
            return 0
        own = int(np.count_nonzero(self.weight[self.train]))
        return own if own >= 2 else len(self.others)


class Shown:
    """What experts were last fitted to, for as long as these are the rows of a fit.

    Weights are kept as digests: there may be as many of them as rows times experts.

    Parameters
    ----------
    X, y : arrays, default=None
        The very objects.
    weights : list of K ndarrays of shape (n,), default=()
    """

    def __init__(self, X=None, y=None, weights=()):
        self.X, self.y, self._digests = X, y, [_digest(weight) for weight in weights]

    def __reduce__(self):
        return Shown, ()

    def same(self, data, expert, weight):
        """Whether an expert would be fitted to the same once more."""
        if not self._digests or self.X is not data.X or self.y is not data.y:
            return False
        return self._digests[expert] == _digest(weight)


def _digest(weight):
    return hashlib.blake2b(np.ascontiguousarray(weight), digest_size=16).digest()


class Failure(NamedTuple):
    """An error on its way back from a worker; pickling it alone would lose its cause."""

    error: Exception
    cause: BaseException | None


_RUNNER = ContextVar("runner", default=None)


@contextmanager
def jobs_run_by(runner):
    """Within, tasks are run by ``runner(tasks) -> results of `attempt```, in order."""
    token = _RUNNER.set(runner)
    try:
        yield
    finally:
        _RUNNER.reset(token)


def run_jobs(n_jobs, tasks, *, go_on=False):
    """Run `_work` on every task, in order.

    Where a worker process dies, tasks run once more, one at a time and each in a process
    of its own, so that memory suffices and the one that kills its process is known.

    Parameters
    ----------
    n_jobs : int or None
    tasks : list of tuple
        Arguments of `_work`.
    go_on : bool, default=False
        Return a `Failure` for an expert that fails, in the place of raising its error.

    Returns
    -------
    results : list of (fitted estimator or None, pred of shape (n_test, P) or None)
    """
    elsewhere = _RUNNER.get()
    if elsewhere is not None:
        results = elsewhere(tasks)
    elif effective_n_jobs(n_jobs) == 1 or len(tasks) == 1:
        run = attempt if go_on else _work
        results = [run(*task) for task in tasks]
    else:
        try:
            results = Parallel(n_jobs=n_jobs)(delayed(attempt)(*task) for task in tasks)
        except BrokenExecutor:
            results = [_alone(n_jobs, task) for task in tasks]
    for result in results:
        if isinstance(result, Failure) and not (go_on and is_own_failure(result.error)):
            raise result.error from result.cause
    return results


def attempt(*task):
    """Do one task; a `Failure` in the place of its error."""
    try:
        return _work(*task)
    except Exception as error:  # judged, with its cause, where the results arrive
        return Failure(error, error.__cause__)


def _alone(n_jobs, task):
    """Run one task in another process that runs nothing else."""
    try:
        return Parallel(n_jobs=n_jobs)([delayed(attempt)(*task)])[0]
    except BrokenExecutor as error:
        died = RuntimeError(
            f"{task[0].slot.who} failed in fit: the process that fitted it died, "
            f"also when it ran alone (killed by a signal, or short of memory)"
        )
        return Failure(died, error)


def _work(job, training, output, keep):
    """Do one job; the fitted estimator comes back only if `keep`."""
    if hasattr(training, "work"):  # of rows that lie on a GPU
        return training.work(job, output, keep)
    fitted = _fit(job, training)
    pred = None
    if job.test is not None and not len(job.test):
        pred = np.empty((0, output.n_columns))
    elif job.test is not None:
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
        weight, kept = plain, job.others
    rows = job.train[kept]
    target, least = training.target[rows], min(HANDFUL, len(plain))
    return slot.fit(training.X, rows, target, weight[kept], least, training.classify)
