"""What a model that learns batch by batch keeps between its calls."""

import copy
from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils import check_random_state

from ._adam import start_steps
from ._design import Design
from ._em import is_additive
from ._fit import Parts, objective_value
from ._stepwise import StepwiseSteps
from ._units import weighted_moments
from .solvers import EM, Minibatch

# Rows of one step, where the solver does not say.
_STEP_ROWS = 1000
# The share of a batch in running statistics falls like the number of steps to this power.
_SHARE_POWER = -0.7
# Steps of Adam until their rate begins to fall like the square root of their number.
_ADAM_STEPS = 20
# Its first rate, where the solver does not say: averages want longer steps.
_ADAM_RATE = 0.1
# The average over steps leaves out about the first two thirds of them.
_AVERAGE = 3.0
# Columns are standardised anew when a mean is off by a scale, or a scale by this factor.
_MOST_FACTOR = 2.0


@dataclass(frozen=True)
class Seen:
    """What a stream that goes on from a fit has to know of its rows.

    Attributes
    ----------
    weight : float
        Of all rows.
    y_mean : ndarray of shape (m,) or None
        Mean of the targets; None for classes.
    is_sparse : bool
        Whether features came in a sparse matrix.
    """

    weight: float
    y_mean: np.ndarray | None
    is_sparse: bool


def seen(data):
    """The facts of a fit."""
    mean = None if data.n_classes else data.weight @ data.y / data.total_weight
    return Seen(data.total_weight, mean, getattr(data.X, "is_sparse", False))


def stream_options(solver):
    """The options of the steps, as a `Minibatch`."""
    if isinstance(solver, Minibatch):
        return solver
    return Minibatch(rate=_ADAM_RATE, forgetting=getattr(solver, "forgetting", 1.0))


class Stream:
    """Steps on batches from where a fit stands.

    Rates, statistics and averages are governed by ``time``, the number of steps so far
    (those of the fit counted as batches), which forgetting keeps finite.

    Parameters
    ----------
    data : FitData
        Rows in terms of the parts: those of the fit, or any others.
    parts : Parts
    seen : Seen
        Of the fit.
    solver : solver
        Minibatch: steps of Adam; otherwise stepwise EM where parts are additive.
    options : Minibatch
        Of the steps, with a seed; see `stream_options`.
    load : ndarray of shape (K,), default=None
        Of the rows of the fit, where ``data`` are others.

    Attributes
    ----------
    parts : Parts
        What is to be published: averages over steps; over calls where steps are of the
        columns that a batch touches.
    """

    def __init__(self, data, parts, seen, solver, options, load=None):
        self.options = options
        self.rng = copy.deepcopy(check_random_state(self.options.random_state))
        self.seen, self.time = seen.weight, None
        self.parts = parts
        data = replace(data, all_weight=seen.weight)
        if isinstance(solver, Minibatch) or not is_additive(data, parts):
            self.steps = start_steps(data, parts)
        else:
            self.steps = StepwiseSteps(data, parts, load)
            if load is None:
                self.steps.begin(data)
        self.moments = None
        if self.steps.averages and not (data.X.is_sparse or not _rescales(data)):
            views = (data.gate_X, data.X)
            self.moments = [Moments.of_view(view, seen.weight) for view in views]
            if seen.y_mean is not None:
                self.moments.append(Moments(seen.weight, seen.y_mean, np.square(data.y_scale)))
        self.steps.turn(None)

    def twin(self):
        """A copy that may be left half-way without harm."""
        twin = copy.copy(self)
        twin.steps, twin.rng = self.steps.twin(), copy.deepcopy(self.rng)
        return twin

    def learn(self, data):
        """Learn from a batch, a thousand rows (or ``batch_size``) at a step.

        Parameters
        ----------
        data : FitData
            In terms of ``parts``.

        Returns
        -------
        data : FitData
            In terms of the new parts.
        value : float
            Objective of the rows as they were met.
        """
        data = self._in_present_units(data)
        size = self.options.batch_size or _STEP_ROWS
        call_weight, loglik, kept = data.weight.sum(), 0.0, 1.0
        for start in range(0, len(data.weight), size):
            rows = np.arange(start, min(start + size, len(data.weight)))
            weight = data.weight[rows].sum()
            keep = self.options.forgetting ** (weight / call_weight)
            before = self.seen / weight if self.time is None else self.time
            self.time = keep * max(before, 1.0) + 1.0
            self.seen = keep * self.seen + weight
            self.steps.turn(replace(data, all_weight=self.seen))
            sums, share = self._step(rows, weight)
            loglik, kept = loglik + sums.loglik, kept * (1.0 - share)
        mean = loglik / call_weight
        if not self.steps.averages:
            self._average(self.steps.settle(), 1.0 - kept)
        present = self.steps.data
        value = objective_value(present, mean * present.total_weight, self.parts)
        self.steps.turn(None)
        return data, value

    def _step(self, rows, weight):
        steps, options = self.steps, self.options
        dropped = np.zeros(steps.parts.experts.n_experts, dtype=bool)
        if options.expert_dropout > 0.0:
            dropped = self.rng.uniform(size=len(dropped)) < options.expert_dropout
        sums, _ = steps.step(rows, self._rate(weight), options, dropped)
        share = min(1.0, _AVERAGE / (self.time + 2.0))
        if steps.averages:
            self._average(steps.parts, share)
        return sums, share

    def _average(self, parts, share):
        flat = self.parts.flat()
        self.parts = self.parts.with_flat(flat + share * (parts.flat() - flat))

    def _rate(self, weight):
        if isinstance(self.steps, StepwiseSteps):
            relative = weight * self.time / self.seen
            return min(1.0, relative * self.time**_SHARE_POWER)
        if self.options.schedule == "constant":
            return self.options.rate
        return self.options.rate / np.sqrt(1.0 + self.time / _ADAM_STEPS)

    # -- units ------------------------------------------------------------------------

    def _in_present_units(self, data):
        """Update the moments of dense columns, and all parameters if these have moved far."""
        if self.moments is None:
            return data
        keep = self.options.forgetting
        values = [data.gate_X.X, data.X.X, data.y][: len(self.moments)]
        self.moments = [
            moments.after(X, data.weight, keep) for moments, X in zip(self.moments, values)
        ]
        gate, columns, *target = self.moments
        scaled = self._scaled()
        moved = gate.far_from(data.gate_X.center, data.gate_X.scale, scaled[0])
        moved |= columns.far_from(data.X.center, data.X.scale, scaled[1])
        if target:  # an intercept takes any shift
            moved |= target[0].far_from(target[0].mean, data.y_scale)
        return self._rescaled(data) if moved else data

    def _scaled(self):
        """Whether the columns of gate and experts are scaled to unit variance."""
        parts = self.parts
        return getattr(parts.gate, "standardize", True), parts.experts.standardize

    def _rescaled(self, data):
        gate, columns, *target = self.moments
        shared, scaled = data.gate_X is data.X, self._scaled()
        fresh = replace(data, gate_X=gate.view(data.gate_X, scaled[0]))
        fresh = replace(fresh, X=fresh.gate_X if shared else columns.view(data.X, scaled[1]))
        if target:
            y_scale = np.where(target[0].variance > 0, np.sqrt(target[0].variance), data.y_scale)
            factor = np.square(y_scale / data.y_scale)
            fresh = replace(fresh, y_scale=y_scale, base_variance=factor * data.base_variance)
        changes = _change(data.gate_X, fresh.gate_X), _change(data.X, fresh.X)
        self.steps.turn(fresh)
        self.steps = self.steps.rescaled(_resumed(self.steps.parts, fresh), *changes)
        self.parts = _resumed(self.parts, fresh)
        return fresh


@dataclass(frozen=True)
class Moments:
    """Running weighted means and variances of columns."""

    weight: object
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of_view(cls, view, weight):
        """Those that a view was standardised by."""
        return cls(np.full(len(view.center), weight), view.center, np.square(view.scale))

    def after(self, X, weight, keep):
        """Moments with more rows, of which the former count by a share."""
        mean, variance = weighted_moments(X, weight)
        new, old = weight @ ~np.isnan(X), keep * self.weight
        total = np.maximum(new + old, 1e-300)
        share, gap = new / total, mean - self.mean
        return Moments(
            total,
            self.mean + share * gap,
            (1.0 - share) * self.variance + share * variance + share * (1.0 - share) * gap**2,
        )

    def far_from(self, center, scale, scaled=True):
        """Whether a column has moved far from where it was standardised."""
        if not scaled:
            scale = np.where(self.variance > 0, np.sqrt(self.variance), scale)
        ratio = np.sqrt(self.variance) / scale
        spread = (ratio > _MOST_FACTOR) | ((ratio < 1.0 / _MOST_FACTOR) & (self.variance > 0))
        return bool((spread | (np.abs(self.mean - center) > scale)).any())

    def view(self, design, scaled=True):
        """The rows of a view, standardised by these moments."""
        varies = (self.variance > 0) & scaled
        scale = np.where(varies, np.sqrt(self.variance), design.scale)
        return Design(design.X, self.mean, scale)


def _rescales(data):
    return isinstance(data.gate_X, Design) and not data.gate_X.is_sparse


def _resumed(parts, data):
    return Parts(
        parts.gate.resumed(data.gate_X),
        parts.experts.resumed(data),
        parts.likelihood.resumed(data),
    )


def _change(old, new):
    """Matrix (D, D) that turns rows of old standardised columns into new ones."""
    change = np.diag(np.append(old.scale / new.scale, 1.0))
    change[-1, :-1] = (old.center - new.center) / new.scale
    return change


def check_steps(solver, parts, data):
    """Raise where no steps on batches exist for these parts."""
    if isinstance(solver, Minibatch) or is_additive(data, parts):
        if not hasattr(parts.gate, "updated") or is_additive(data, parts):
            return
    if hasattr(parts.gate, "updated"):
        raise ValueError(
            f"partial_fit has no steps for a {type(parts.gate).__name__} here: it takes "
            f"stepwise EM, which is for regression on few columns; use gate='softmax'."
        )
    if isinstance(solver, EM):
        raise ValueError(
            f"solver={solver!r} has no steps on batches but for regression on few columns; use "
            f"solver='auto' or 'minibatch' with partial_fit."
        )
