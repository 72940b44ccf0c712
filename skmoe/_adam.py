"""Steps of Adam on batches of rows, over all parameters or only those a batch touches."""

import copy
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from ._fit import Parts
from ._joint import log_lik_gradient, objective_gradient
from ._ops import get_ops, ops_of
from ._sweep import Sweeper, can_sweep, sweeper_of
from ._whole import WholeEvaluator, evaluator_of, require_gradients

_MEMORY = (0.9, 0.999)
# A logit low enough that an expert counts for nothing in a batch.
DROPPED = -1e3


def start_steps(data, parts):
    """Steps for these parts: of touched columns where features are sparse."""
    if not can_sweep(data, parts):
        require_gradients(parts)
    if hasattr(data, "steps"):
        return data.steps(parts)
    by_column = hasattr(parts.gate, "with_columns") and hasattr(parts.experts, "column_table")
    sparse = data.X.is_sparse and getattr(data.gate_X, "is_sparse", False)
    return LazySteps(data, parts) if by_column and sparse else FlatSteps(data, parts)


class Steps:
    """What checkpoints ask of steps."""

    memory: tuple[str, ...] = ()  # what a step changes

    def state(self):
        """What `restore` needs."""
        return {name: vars(self)[name] for name in self.memory}

    def restore(self, state):
        """Stand where other steps stood."""
        vars(self).update(state)


class FlatSteps(Steps):
    """Adam over the flat parameters of all parts.

    Parameters
    ----------
    data : FitData
    parts : Parts
        With gradients.

    Attributes
    ----------
    parts : Parts
        As they are after the last step.

    References
    ----------
    Kingma, D. P. and Ba, J. (2015). Adam: a method for stochastic optimization. ICLR.

    Loshchilov, I. and Hutter, F. (2019). Decoupled weight decay regularization. ICLR.
    """

    averages = True
    memory = ("parts", "_state")

    def __init__(self, data, parts):
        self.data, self.parts = data, parts
        self._state = Adam(parts.flat().size)
        self._decayed = decaying(parts)
        # Sweeps over dense rows gather them as they read them.
        self._gathers = can_sweep(data, parts) and not (data.X.is_sparse or data.gate_X.is_sparse)

    def turn(self, data):
        """Go on with other rows, or None."""
        self.data = data

    def twin(self):
        """Steps that go their own way from here."""
        twin = copy.copy(self)
        twin._state = copy.deepcopy(self._state)
        return twin

    def rescaled(self, parts, *changes):
        """Steps for columns in other units, with fresh moments; as of `StepwiseSteps`."""
        return FlatSteps(self.data, parts)

    def step(self, rows, rate, options, dropped, resp=None):
        """One step uphill along the gradient of a batch.

        Parameters
        ----------
        rows : ndarray of int
        rate : float
        options : Minibatch
            Gives ``clip`` and ``decay``.
        dropped : ndarray of bool of shape (K,)
            Experts left out.
        resp : ndarray of shape (len(rows), K), default=None
            Stand in for the responsibilities of the E-step.

        Returns
        -------
        sums : Sums
            Of the batch, before the step.
        weight : float
            Of the batch.
        """
        batch = self.data.on(rows, gather=self._gathers)
        sums = _evaluate(batch, _without(self.parts, dropped), resp)
        whole = scaled(sums, self.data.total_weight / batch.total_weight)
        gradient = objective_gradient(self.data, self.parts, whole)
        shrink = _clipping(options.clip, gradient)
        flat = self.parts.flat()
        self._state.step(shrink * gradient, rate, options.decay * self._decayed, flat)
        self.parts = self.parts.with_flat(flat)
        return sums, batch.total_weight

    def settle(self):
        """Bring all parameters up to date and return the parts."""
        return self.parts


class LazySteps(Steps):
    """Adam over the columns that a batch touches, for a softmax gate and experts that have
    parameters by column.

    Work and memory traffic of a step are in proportion to the non-zeros of its rows.
    What the ridge penalties and the decay would have done to a column in the steps that
    did not touch it is made up for when it is touched.

    Parameters
    ----------
    data : FitData
        With sparse views.
    parts : Parts
    """

    averages = False
    memory = ("parts", "_gate", "_experts", "_likelihood")

    def __init__(self, data, parts):
        self.data, self.parts = data, parts
        self._shared = data.gate_X.same_columns(data.X)
        coef = parts.gate.block_coef()
        self._gate = _Columns(coef, np.full(coef.shape[1], parts.gate.ridge), data.gate_X)
        self._experts = _Columns(parts.experts.column_table(), self._ridge(), data.X)
        self._likelihood = Adam(parts.likelihood.flat().size)

    def turn(self, data):
        """Go on with other rows, or None."""
        self.data = data
        if data is not None:
            self._experts.ridge = self._ridge()

    def twin(self):
        """The same steps: copies of wide arrays would take longer than the steps do."""
        return self

    def step(self, rows, rate, options, dropped, resp=None):
        """One step; arguments and result as of `FlatSteps.step`."""
        batch, expert_columns, gate_columns = self._touched(self.data.on(rows))
        parts = self._at(batch, expert_columns, gate_columns)
        sums = _evaluate(batch, _without(parts, dropped), resp)
        total = batch.total_weight
        gate = sums.gate.reshape(len(gate_columns), -1) / total
        experts = log_lik_gradient(parts, sums).reshape(len(expert_columns), -1) / total
        whole = scaled(sums, self.data.total_weight / total)
        likelihood = parts.likelihood.flat_gradient(whole) / self.data.total_weight
        shrink = _clipping(options.clip, gate, experts, likelihood)
        self._gate.step(gate_columns, shrink * gate, rate, options.decay)
        self._experts.step(expert_columns, shrink * experts, rate, options.decay)
        flat = parts.likelihood.flat()
        self._likelihood.step(shrink * likelihood, rate, np.zeros(flat.size), flat)
        self.parts.likelihood = parts.likelihood.with_flat(flat)
        return sums, total

    def settle(self):
        """Bring all parameters up to date and return the parts."""
        parts = self.parts
        gate = parts.gate.with_columns(self._gate.coef.copy(), self.data.gate_X)
        experts = parts.experts.with_table(self._experts.coef.copy(), self.data.X)
        return Parts(gate, experts, parts.likelihood)

    def _ridge(self):
        """Ridge of a column's parameters, by row of weight one."""
        return self.parts.experts.column_ridge() / self.data.total_weight

    def _touched(self, batch):
        """The batch on its own columns, and which these are for experts and gate."""
        X, columns = _compact(batch.X)
        if self._shared:
            return replace(batch, X=X, gate_X=X), columns, columns
        gate_X, gate_columns = _compact(batch.gate_X)
        return replace(batch, X=X, gate_X=gate_X), columns, gate_columns

    def _at(self, batch, expert_columns, gate_columns):
        """Parts for the columns of a batch."""
        parts = self.parts
        return Parts(
            parts.gate.with_columns(self._gate.coef[gate_columns], batch.gate_X),
            parts.experts.with_table(self._experts.coef[expert_columns], batch.X),
            parts.likelihood,
        )


class Adam:
    """Moments of the gradient of a vector of parameters; ``xp`` is NumPy or CuPy."""

    def __init__(self, size, xp=np):
        self.mean, self.square = xp.zeros(size), xp.zeros(size)
        self.n_steps = 0

    def step(self, gradient, rate, decay, out):
        self.n_steps += 1
        bias = tuple(1.0 - memory**self.n_steps for memory in _MEMORY)
        ops_of(out).adam(gradient, self.mean, self.square, _MEMORY, bias, rate, decay, out)


class _Columns:
    """Coefficients by column (D, q), moments of their gradients, and when each was touched."""

    def __init__(self, coef, ridge, design):
        self.sizes = _step_sizes(design)
        self.coef = np.array(coef)
        self.mean, self.square = np.zeros_like(self.coef), np.zeros_like(self.coef)
        self.touched = np.zeros(len(coef), dtype=np.int64)
        self.ridge = np.ascontiguousarray(ridge)
        self.n_steps = 0

    def step(self, columns, gradient, rate, decay):
        self.n_steps += 1
        get_ops().lazy_adam(
            columns,
            gradient,
            (self.mean, self.square),
            self.touched,
            self.sizes,
            self.ridge,
            (self.n_steps, rate, decay, *_MEMORY),
            self.coef,
        )


def mean_loglik(data, parts):
    """Mean log-likelihood of the rows, without gradients."""
    if hasattr(data, "mean_loglik"):
        return data.mean_loglik(parts)
    sums = (sweeper_of if can_sweep(data, parts) else evaluator_of)(data)(parts)
    return sums.loglik / data.total_weight


def _evaluate(data, parts, resp):
    if can_sweep(data, parts):
        return Sweeper(data, max_groups=1)(parts, resp=resp)
    return WholeEvaluator(data)(parts, resp=resp)


def decaying(parts):
    """Ones (p,) for parameters that decay: all but intercepts and noise."""
    gate = np.ones(parts.gate.flat().shape)
    if hasattr(parts.gate, "block_coef"):
        gate[-parts.experts.n_experts :] = 0.0
    likelihood = np.zeros(parts.likelihood.flat().size)
    return np.concatenate([gate, parts.experts.slopes(), likelihood])


def scaled(sums, factor):
    """Sums of a batch as if they were of all rows."""
    names = ("loglik", "gate", "experts", "by_expert", "by_output")
    values = {name: getattr(sums, name) for name in names}
    scaled = {name: factor * value for name, value in values.items() if value is not None}
    return replace(sums, **scaled)


def _clipping(clip, *gradients):
    """Factor that keeps the norm of a gradient at most ``clip``."""
    if clip is None:
        return 1.0
    norm = np.sqrt(sum(np.sum(np.square(part)) for part in gradients))
    return min(1.0, clip / max(norm, 1e-300))


def _without(parts, dropped):
    """Parts whose gate leaves out some experts (never all)."""
    if not dropped.any() or dropped.all():
        return parts
    coef = parts.gate.block_coef().copy()
    coef[-1, dropped] += DROPPED
    fresh = copy.copy(parts)
    fresh.gate = parts.gate.with_flat(coef.ravel())
    return fresh


def _step_sizes(design):
    """Sizes (D,) of steps that move the score of a row by as much for rare columns.

    A step of Adam is as long for all coefficients, but scaled values of rare columns are
    large.
    """
    ones = np.ones(design.shape[0])
    stored = np.maximum(np.bincount(design.X.indices, minlength=design.X.shape[1]), 1)
    squares = design.column_squares(ones[:, None])[:-1, 0]
    mean = np.where(squares > 0, squares, 1.0) / stored
    return np.append(np.minimum(1.0, 1.0 / np.sqrt(mean)), 1.0)


def _compact(design):
    """A sparse view on the columns that its rows touch, and which these are.

    The last one is the column of ones.
    """
    X = design.X
    columns, places = np.unique(X.indices, return_inverse=True)
    small = sp.csr_matrix((X.data, places, X.indptr), shape=(X.shape[0], len(columns)))
    view = type(design)(small, design.center[columns], design.scale[columns])
    return view, np.append(columns, design.shape[1] - 1)
