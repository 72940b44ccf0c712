"""Minibatch gradient training on the same objective as the other solvers."""

from dataclasses import replace
from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from ._adam import mean_loglik, start_steps
from ._cooperative import check_cooperative, cooperative, with_noise
from ._fit import make_result, objective_value, unit_of
from ._ops import on_host

# From so many rows on, runs of so many neighbours are shuffled in the place of single rows.
_MANY_ROWS, _RUN = 100_000, 8


class Minibatch(BaseEstimator):
    """Joint gradient training by Adam on batches of rows, for large or sparse data.

    Gate, linear or neural experts and noise climb the same objective as in the other solvers, in
    steps along the gradient of a batch. Starts are looked for on a sample of the rows,
    by L-BFGS; wide sparse features start from random hyperplanes instead, and a step
    then touches only the columns that its batch has values in.

    Parameters
    ----------
    batch_size : int, default=None
        Rows of a batch. None: a hundredth of the rows, from 32 to 4096. Of 100,000 rows and
        more, a batch is made of random runs of eight neighbours.
    n_epochs : int, default=20
        Most passes over the rows (the estimator's ``max_iter`` limits them, too).
    rate : float, default=0.02
        Size of the first steps, in units of standardised features and target.
    objective : {"likelihood", "prediction"}, default="likelihood"
        As of `skmoe.solvers.Gradient`: competing experts, or the error of their blended
        output.
    schedule : {"cosine", "constant"}, default="cosine"
        Whether the rate goes down to zero along half a cosine.
    decay : float, default=0.0
        Decoupled weight decay: share of the rate by which all parameters shrink at each
        step, beside the penalties of the parts.
    clip : float, default=None
        Largest norm of a gradient; longer ones are shortened.
    expert_dropout : float, default=0.0
        Probability that an expert is left out of a batch.
    early_stopping : bool, default=False
        Whether to hold out rows, to stop when their log-likelihood has not risen for
        ``n_iter_no_change`` epochs, and to return to the best epoch.
    validation_fraction : float, default=0.1
        Share of the rows that early stopping holds out.
    n_iter_no_change : int, default=5
        Epochs without a rise after which early stopping stops.
    forgetting : float, default=1.0
        Of ``partial_fit`` only: share of what was learned before a call that still counts
        after it; below 1 for streams whose regimes change.
    random_state : int, RandomState instance or None, default=None
        For the order of the rows. None: drawn from the ``random_state`` of the mixture.

    References
    ----------
    Kingma, D. P. and Ba, J. (2015). Adam: a method for stochastic optimization. ICLR.

    Loshchilov, I. and Hutter, F. (2019). Decoupled weight decay regularization. ICLR.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_moe_regression
    >>> from skmoe.solvers import Minibatch
    >>> X, y = make_moe_regression(n_samples=2000, n_experts=2, random_state=0)
    >>> solver = Minibatch(n_epochs=50)
    >>> model = MoERegressor(n_experts=2, solver=solver, random_state=0).fit(X, y)
    >>> model.n_iter_
    50
    """

    _parameter_constraints = {
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "rate": [Interval(Real, 0, None, closed="neither")],
        "objective": [StrOptions({"likelihood", "prediction"})],
        "schedule": [StrOptions({"cosine", "constant"})],
        "decay": [Interval(Real, 0, None, closed="left")],
        "clip": [Interval(Real, 0, None, closed="neither"), None],
        "expert_dropout": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "forgetting": [Interval(Real, 0, 1, closed="right")],
        "random_state": ["random_state"],
    }

    patience = 5
    draws = True

    def __init__(
        self,
        *,
        batch_size=None,
        n_epochs=20,
        rate=0.02,
        objective="likelihood",
        schedule="cosine",
        decay=0.0,
        clip=None,
        expert_dropout=0.0,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        forgetting=1.0,
        random_state=None,
    ):
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.rate = rate
        self.objective = objective
        self.schedule = schedule
        self.decay = decay
        self.clip = clip
        self.expert_dropout = expert_dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.forgetting = forgetting
        self.random_state = random_state

    def fit(self, data, parts, monitor, resp):
        """Train the parts of a mixture.

        Parameters
        ----------
        data : FitData
            Rows, targets and weights.
        parts : Parts
            Started gate, experts and likelihood, all with parameters; copied.
        monitor : Monitor
            Judges progress.
        resp : ndarray of shape (n, K) or None
            Responsibilities of the first epoch; None where the parts are trained.

        Returns
        -------
        FitResult
            Parts, objective, history.
        """
        if self.objective == "likelihood" or data.n_classes is not None:
            return fit_minibatch(data, parts, monitor, resp, self)
        check_cooperative(data, parts)
        if resp is not None and not parts.gate.flat().any():  # not trained yet
            raise ValueError(
                "objective='prediction' starts from experts that differ, and features as wide as "
                "these are trained from scratch; use objective='likelihood'."
            )
        try:
            result = fit_minibatch(data, cooperative(data, parts), monitor, None, self)
        except KeyboardInterrupt:  # what is kept must be able to tell its noise
            kept = monitor.best_so_far()
            if kept is not None:
                monitor.keep(with_noise(data, kept, parts.likelihood))
            raise
        return replace(result, likelihood=with_noise(data, result, parts.likelihood).likelihood)


def fit_minibatch(data, parts, monitor, resp, options):
    """Fit by Adam on batches of rows.

    Parameters
    ----------
    data : FitData
        With views for gate and experts.
    parts : Parts
        Started parts; copied, not changed.
    monitor : Monitor
        Counts epochs.
    resp : ndarray of shape (n, K) or None
        Responsibilities that stand in for those of the E-step in the first epoch; None
        where the parts are trained already.
    options : Minibatch
        See there.

    Returns
    -------
    FitResult
        With the exact objective of the parts that are kept; those in the history were
        met on the way.
    """
    rng = check_random_state(options.random_state)
    steps = start_steps(data, parts.keep())
    rows, validation = np.arange(len(data.weight)), None
    if options.early_stopping:
        rows, held_out = split_rows(data, options.validation_fraction, rng)
        validation = data.apart(held_out)
    n_epochs = min(options.n_epochs, monitor.max_iter)
    course = _Course(steps, options, rows, n_epochs)
    best, still, kept, first = -np.inf, 0, None, 0
    saved = monitor.resume("epochs")
    if saved is not None:
        first, best, still, kept, course.done = saved["loop"]
        rng = _generator(saved["rng"])
        steps.restore(saved["steps"])
        monitor.keep(*kept)
    for epoch in range(first, n_epochs):
        value, load, unexplained = course.epoch(rng, resp if epoch == 0 else None)
        present = steps.settle()
        monitor.update(_objective(data, present, value), load)
        if validation is None:
            kept, stop = (present, unexplained), monitor.converged and options.schedule != "cosine"
        else:
            held_out = mean_loglik(validation, present) + unit_of(data, present)
            monitor.history.setdefault("validation", []).append(held_out)
            still = 0 if held_out > best else still + 1
            if still == 0:
                best, kept = held_out, (present, unexplained)
            stop = still >= options.n_iter_no_change
        monitor.keep(*kept)
        if stop:
            break
        if epoch + 1 < n_epochs:
            loop = (epoch + 1, best, still, kept, course.done)
            monitor.save("epochs", partial(_state, loop, rng, steps))
    monitor.converged = stop or _came_to_rest(monitor, options)
    monitor.best = _objective(data, kept[0], mean_loglik(data, kept[0]))
    return make_result(kept[0], monitor, None, kept[1])


def _state(loop, rng, steps):
    """Where a fit stands between epochs, for a checkpoint."""
    return {"loop": loop, "rng": rng.get_state(legacy=True), "steps": steps.state()}


def _generator(state):
    """The generator of random numbers that has this state."""
    rng = np.random.RandomState()
    rng.set_state(state)
    return rng


def _objective(data, parts, mean):
    return objective_value(data, mean * data.total_weight, parts)


def _came_to_rest(monitor, options):
    """Whether the rate has gone to zero and the last epoch brought nothing more."""
    rises = np.diff(monitor.history["objective"][-2:])
    ended = options.schedule == "cosine" and monitor.n_iter == options.n_epochs
    return bool(ended and len(rises) and rises[0] <= monitor.tol)


class _Course:
    """Goes through the rows, and knows how far the fit has come."""

    def __init__(self, steps, options, rows, n_epochs):
        self.steps, self.options, self.rows = steps, options, rows
        self.size = _batch_size(options, len(rows))
        self.done, self.n_steps = 0, n_epochs * -(-len(rows) // self.size)

    def epoch(self, rng, resp):
        """All rows once, in random order.

        Returns
        -------
        value : float
            Mean log-likelihood met on the way.
        load : ndarray of shape (K,)
        unexplained : int
        """
        steps, options = self.steps, self.options
        order = shuffled(self.rows, rng)
        loglik, weight, load, unexplained = 0.0, 0.0, 0.0, 0
        for start in range(0, len(order), self.size):
            rows = order[start : start + self.size]
            dropped = rng.uniform(size=steps.parts.experts.n_experts) < options.expert_dropout
            given = None if resp is None else resp[rows]
            rate = _rate(options, self.done / self.n_steps)
            sums, batch_weight = steps.step(rows, rate, options, dropped, given)
            loglik, weight = loglik + sums.loglik, weight + batch_weight
            load, unexplained = load + sums.load, unexplained + sums.unexplained
            self.done += 1
        value, load = on_host(loglik / weight), on_host(load / weight)
        return float(value), load, int(on_host(unexplained))


def _rate(options, share):
    """Size of a step after a share of all steps."""
    if options.schedule != "cosine":
        return options.rate
    return 0.5 * options.rate * (1.0 + np.cos(np.pi * share))


def _batch_size(options, n_rows):
    size = options.batch_size or int(np.clip(n_rows // 100, 32, 4096))
    return min(size, n_rows)


def shuffled(rows, rng):
    """Rows in random order; of many, runs of eight in random order.

    Memory is read several times as fast in runs, and a batch still has hundreds of them.
    """
    if len(rows) < _MANY_ROWS:
        return rng.permutation(rows)
    first = rng.randint(_RUN)
    last = len(rows) - (len(rows) - first) % _RUN
    runs = rows[first:last].reshape(-1, _RUN)
    order = np.empty_like(rows)
    np.take(
        runs,
        rng.permutation(len(runs)),
        axis=0,
        out=order[: runs.size].reshape(runs.shape),
        mode="clip",
    )
    order[runs.size :] = np.append(rows[:first], rows[last:])
    return order


def split_rows(data, fraction, rng):
    """Rows to train on and rows held out, as index arrays.

    Parameters
    ----------
    data : FitData
    fraction : float
        Share of the rows that is held out.
    rng : numpy.random.RandomState

    Returns
    -------
    train, held_out : ndarray of int
    """
    order = rng.permutation(len(data.weight))
    n_held_out = int(np.clip(round(fraction * len(order)), 1, len(order) - 1))
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])
