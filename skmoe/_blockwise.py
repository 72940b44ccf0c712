"""Training on rows that are read block by block, wherever they are.

The sums of a sweep add up over blocks. So a sweep over all rows is a task that is done
for each block, in this process or in another, and the trainers are those of rows in
memory.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np

from ._design import FAR, Design
from ._fit import FitData, Parts
from ._sweep import Sweeper
from .experts.linear import LinearExpert
from .gates.softmax import SoftmaxGate
from .likelihoods.gaussian import Gaussian

# A residual variance below this share of the target's is summed up once more.
_CLOSE = 1e-3


class BlockDesign(Design):
    """Standardised columns of rows that are read block by block.

    For trainers: it has the shape and the units of all rows, and none of them.

    Parameters
    ----------
    X : ndarray of shape (0, d)
    center, scale : ndarray of shape (d,)
    rows : Rows
    n_rows : int
    """

    def __init__(self, X, center, scale, rows=None, n_rows=0, has_far=False):
        super().__init__(X, center, scale)
        self.shape = (n_rows, X.shape[1] + 1)
        self.all_rows = rows
        self.has_far = has_far
        self.gram = None

    def over(self, rows, n_rows, has_far=False):
        """The same columns of all rows, of which some may be far from the rest."""
        return BlockDesign(self.X[:0], self.center, self.scale, rows, n_rows, has_far)

    def total_gram(self, weight):
        """``Z' diag(weight) Z`` (D, D) of all rows, kept for the next call."""
        if self.gram is None:
            self.gram = self.all_rows.sum(_Gram(self.center, self.scale))
        return self.gram

    def curvature_gram(self, weight):
        """The same, in which far rows count less."""
        if not self.has_far:
            return self.total_gram(weight)
        return self.all_rows.sum(_Gram(self.center, self.scale, curvature=True))

    def column_squares(self, weights):
        """Not to be had: blocks are for problems whose Grams are small."""
        raise NotImplementedError("columns of blocks are too many for Gram matrices")


@dataclass(frozen=True)
class _Gram:
    """The weighted Gram of a block."""

    center: np.ndarray
    scale: np.ndarray
    curvature: bool = False

    def __call__(self, block):
        """``Z' diag(weight) Z`` (D, D)."""
        design = Design(block.X, self.center, self.scale)
        return (design.curvature_gram if self.curvature else design.total_gram)(block.weight)


@dataclass(frozen=True)
class _Pick:
    """Some rows of a block, by their numbers among all."""

    numbers: np.ndarray

    def __call__(self, block):
        """Rows as `_Picked`."""
        first, last = np.searchsorted(self.numbers, [block.start, block.start + len(block)])
        own = self.numbers[first:last] - block.start
        return _Picked(block.X[own], block.y[own], block.weight[own])


@dataclass(frozen=True)
class _Picked:
    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    def __add__(self, other):
        pairs = [(getattr(self, name), getattr(other, name)) for name in ("X", "y", "weight")]
        return _Picked(*map(np.concatenate, pairs))


@dataclass(frozen=True)
class BlockData(FitData):
    """What never changes during a fit by blocks; ``y`` and ``weight`` are None.

    Attributes
    ----------
    rows : Rows
    """

    rows: object = None

    def on(self, rows, *, gather=False):
        """The same fit on some rows, which are brought here.

        Parameters
        ----------
        rows : ndarray of int
            Ascending.
        gather : bool, default=False
            Not heeded.

        Returns
        -------
        FitData
        """
        found = self.rows.sum(_Pick(np.asarray(rows)))
        return self.here(found.X, found.y, found.weight)

    def here(self, X, y, weight):
        """Rows in memory, in the units of all rows."""
        gate_X = Design(X, self.gate_X.center, self.gate_X.scale)
        shared = self.gate_X is self.X
        return FitData(
            gate_X,
            gate_X if shared else Design(X, self.X.center, self.X.scale),
            y,
            weight,
            n_classes=self.n_classes,
            y_scale=self.y_scale,
            base_variance=self.base_variance,
            n_threads=self.n_threads,
        )

    def sweeper(self):
        """What makes passes over the rows."""
        return BlockSweeper(self)


class BlockSweeper(Sweeper):
    """Passes over rows that are read block by block; arguments as of `Sweeper`."""

    def add_up(self, parts, resp, grams, skip):
        """The sums over all blocks."""
        if resp is not None:
            raise NotImplementedError("responsibilities of rows that are read block by block")
        data = self.data
        units = [(view.center, view.scale) for view in (data.gate_X, data.X)]
        sweep = _Sweep(parts, units, self.shared, grams, skip, data.n_threads)
        return data.rows.sum(sweep)


@dataclass(frozen=True)
class _Sweep:
    """One pass over a block."""

    parts: Parts
    units: list
    shared: bool
    grams: bool
    skip: int
    n_threads: int

    def __call__(self, block):
        """The sums of a block."""
        gate_X = Design(block.X, *self.units[0])
        X = gate_X if self.shared else Design(block.X, *self.units[1])
        data = FitData(gate_X, X, block.y, block.weight, n_threads=self.n_threads)
        return Sweeper(data).add_up(self.parts, None, self.grams, self.skip)


def prepare(rows, facts, gate, linear, n_classes, n_threads):
    """What a fit needs to know of all rows, and the sample of them.

    Parameters
    ----------
    rows : Rows
        With targets in terms of the parts.
    facts : Facts
    gate : SoftmaxGate
    linear : LinearExpert
    n_classes : int or None
    n_threads : int

    Returns
    -------
    data : BlockData
    sample : FitData
    """
    some = facts.sample
    gate_X, X = (_view(some.X, facts, part.standardize, rows) for part in (gate, linear))
    X = gate_X if gate.standardize == linear.standardize else X
    data = BlockData(
        gate_X,
        X,
        None,
        None,
        n_classes=n_classes,
        y_scale=None if n_classes else facts.y.spread,
        n_threads=n_threads,
        all_weight=facts.X.weight,
        rows=rows,
    )
    if n_classes is None:
        data = replace(data, base_variance=_one_expert_variance(data, some, facts.y))
    return data, data.here(some.X, some.y, some.weight)


def _view(X, facts, scaled, rows):
    view = BlockDesign.of_moments(X[:0], facts.X.mean, facts.X.variance, facts.bulk, scaled)
    has_far = view.is_scaled and facts.bulk.reaches(view.center, view.scale) > FAR
    return view.over(rows, facts.n_rows, has_far)


def _one_expert_variance(data, some, moments):
    """Residual variance (m,) of one linear expert; as of rows in memory."""
    spread = np.square(data.y_scale)
    if data.total_weight < 2 * data.X.shape[1]:
        return spread
    sample = data.here(some.X, some.y, some.weight)
    experts = LinearExpert().collection(1).start(sample)
    experts.coef[-1] = moments.mean
    sample = replace(sample, base_variance=spread)
    gate, noise = SoftmaxGate().uniform(data.gate_X, 1), Gaussian().start(sample, 1)
    sweeper = BlockSweeper(data)
    sums = sweeper(Parts(gate, experts, noise), grams=True)
    data.X.gram = sums.gram[0]
    moved = copy.copy(experts)
    squares = moved.update(sums.linear(), spread[None, :])
    if (squares < _CLOSE * spread * data.total_weight).any():  # differences of large sums
        squares = sweeper(Parts(gate, moved, noise)).squares
    return np.maximum(squares[0] / data.total_weight, 1e-8 * spread)
