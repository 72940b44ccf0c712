"""K factorisation machines as one table with a row for each column."""

import copy

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.utils import check_random_state

from .._block_passes import FactorPass
from .._ops import get_ops
from ._descent import DescentExperts, moments

# Standard deviation of the products that the first factors bring to an output.
_FIRST_SPREAD = 0.1


class FactorExperts(DescentExperts):
    """K factorisation machines of second order.

    Parameters
    ----------
    n_experts : int
    n_factors : int
    alpha, factor_alpha : float
        Ridge on slopes and on factors, for a target in its own units.
    n_classes : int, default=None
        None for regression.
    standardize : bool, default=True
    random_state : int, RandomState instance or None, default=None
        Of the first factors.

    Attributes
    ----------
    table : ndarray of shape (D, K * P * (1 + F))
        A row for each column, the last one for intercepts: K * P slopes, then F factors of
        each of the K * P outputs, which the last row has not (zeros).
    """

    def __init__(
        self,
        n_experts,
        n_factors,
        alpha,
        factor_alpha,
        n_classes=None,
        standardize=True,
        random_state=None,
    ):
        self.n_experts = n_experts
        self.n_factors = n_factors
        self.alpha, self.factor_alpha = alpha, factor_alpha
        self.n_classes = n_classes
        self.standardize = standardize
        self.random_state = random_state

    def start(self, data):
        """A fresh copy without slopes, whose factors are random and small.

        Columns without values have none, since nothing would ever be learned of them.
        """
        fresh = copy.copy(self)
        rng = check_random_state(self.random_state)
        n_columns, n_outputs = data.X.shape[1], data.n_classes or data.y.shape[1]
        n_scores = self.n_experts * n_outputs
        fresh.table = np.zeros((n_columns, n_scores * (1 + self.n_factors)))
        squares = data.X.column_squares(data.weight[:, None])[:-1, 0] / data.total_weight
        spread = (2.0 * _FIRST_SPREAD**2 / self.n_factors) ** 0.25
        spread /= np.sqrt(max(squares.sum(), 1e-300))
        seen = np.flatnonzero(squares > 0)
        fresh.table[seen, n_scores:] = rng.normal(
            scale=spread, size=(len(seen), n_scores * self.n_factors)
        )
        fresh._center, fresh._scale = data.X.center, data.X.scale
        if data.n_classes is None:
            fresh._shift, fresh._unit = moments(data)
        else:
            fresh._shift, fresh._unit = np.zeros(n_outputs), np.ones(n_outputs)
            counts = np.bincount(data.y, weights=data.weight, minlength=n_outputs)
            share = np.log((counts + 1e-3 * counts.sum()) / counts.sum())
            fresh.table[-1, :n_scores] = np.tile(share, self.n_experts)
        fresh._fresh = True
        return fresh

    def resumed(self, data):
        """A copy with the same functions for features of another fit."""
        raw = self._substituted(1.0 / self._scale, self._center / self._scale)
        fresh = raw._substituted(data.X.scale, -data.X.center)
        fresh._center, fresh._scale = data.X.center, data.X.scale
        return fresh if data.n_classes else fresh._in_units(*moments(data))

    def with_table(self, table, view):
        """A copy with a table for the columns of a view."""
        fresh = copy.copy(self)
        fresh.table, fresh._center, fresh._scale = table, view.center, view.scale
        return fresh

    def selected(self, kept):
        """A copy with some of the experts, by index."""
        fresh = copy.copy(self)
        fresh.n_experts = len(kept)
        slopes, factors = self._by_expert()
        fresh.table = _joined(slopes[:, kept], factors[:, kept])
        return fresh

    def replaced(self, where, others):
        """A copy in which experts, by index, are those of another collection."""
        fresh, others = copy.copy(self), others._in_units(self._shift, self._unit)
        fresh.table = self.table.copy()
        for mine, theirs in zip(fresh._by_expert(), others._by_expert(), strict=True):
            mine[:, where] = theirs
        return fresh

    def predict_with_gradient(self, X):
        """Predictions, and what turns gradients by these into gradients by parameters.

        Parameters
        ----------
        X : view of shape (n, d)

        Returns
        -------
        pred : ndarray of shape (n, K, P)
        pull_back : callable
            ``pull_back(score)``, with (n, K, P), gives the gradient of ``sum score *
            pred`` by the flat parameters.
        """
        outputs, sums = self._products(X)

        def pull_back(score):
            score = np.ascontiguousarray(score * self._unit).reshape(len(score), -1)
            return self._pulled_back(X, sums, score).ravel()

        return self._outputs(outputs), pull_back

    def block_pass(self, reader):
        """What computes predictions of blocks on a device; see `pass_of`."""
        return FactorPass(reader, self.table, self._n_scores, self._shift, self._unit)

    # -- flat parameters and penalty --------------------------------------------------

    def flat(self):
        """The table, flat."""
        return self.table.ravel()

    def with_flat(self, values):
        """A copy with another table."""
        fresh = copy.copy(self)
        fresh.table = values.reshape(self.table.shape)
        return fresh

    def slopes(self):
        """Ones (p,) for slopes and factors, zeros for intercepts."""
        slopes = np.ones(self.table.shape)
        slopes[-1] = 0.0
        return slopes.ravel()

    def column_table(self):
        """Flat parameters with a row for each column and a last one for intercepts."""
        return self.table

    def column_ridge(self):
        """Factor of a row of `column_table`, squared and halved, in the penalty."""
        n_scores = self._n_scores
        ridge = np.full(self.table.shape[1], float(self.factor_alpha))
        ridge[:n_scores] = self.alpha
        return ridge

    def diagonal(self, data, curvature):
        """Rough diagonal (p,) of a Hessian whose curvature by predictions is (K, P)."""
        each = (curvature * np.square(self._unit)).ravel()
        squares = data.X.column_squares(data.weight[:, None]) / data.total_weight
        factors = np.square(self.table[:-1, self._n_scores :])
        # As if columns were independent.
        factors = np.repeat(each, self.n_factors) * (squares[:-1, 0] @ factors)
        penalty = self.column_ridge() / data.total_weight
        return (squares * np.concatenate([each, factors]) + penalty).ravel()

    def penalty(self):
        """What the sum of the log-likelihood loses to the penalty."""
        squares = np.einsum("dq,dq->q", self.table[:-1], self.table[:-1])
        return 0.5 * float(self.column_ridge() @ squares)

    def penalty_gradient(self):
        """Gradient of `penalty`, flat."""
        gradient = self.column_ridge() * self.table
        gradient[-1] = 0.0
        return gradient.ravel()

    def n_parameters(self):
        """Number of free parameters: the scores of one class may be held at zero."""
        outputs = len(self._unit) - (self.n_classes is not None)
        n_columns = len(self.table) - 1
        return self.n_experts * outputs * (n_columns * (1 + self.n_factors) + 1)

    # -- published --------------------------------------------------------------------

    def published(self, classes=None):
        """The experts as fitted `FactorRegressor` or `FactorClassifier` estimators."""
        if self.n_classes == 1:
            only = DummyClassifier(strategy="prior").fit(np.zeros((1, len(self._scale))), classes)
            return [only] * self.n_experts
        slopes, factors = self.in_raw_units()
        return [
            clone(self.origin)._set(slopes[:, k], factors[:-1, k], classes)
            for k in range(self.n_experts)
        ]

    def in_raw_units(self):
        """Slopes (D, K, P), intercepts last, and factors (D, K, P, F) of features and target
        as given."""
        raw = self._substituted(1.0 / self._scale, self._center / self._scale)
        return raw._in_units(np.zeros(1), np.ones(1))._by_expert()

    # -- private ----------------------------------------------------------------------

    @property
    def _n_scores(self):
        return self.n_experts * len(self._unit)

    def _take(self, other):
        self.table, self._fresh = other.table, False

    def _forward(self, design):
        return self._products(design)[0]

    def _by_expert(self):
        """Views: slopes (D, K, P), intercepts last, and factors (D, K, P, F), zeros last."""
        shape = len(self.table), self.n_experts, -1
        slopes, factors = np.split(self.table, [self._n_scores], axis=1)
        n_outputs = self._n_scores // self.n_experts
        return slopes.reshape(shape), factors.reshape(*shape[:2], n_outputs, self.n_factors)

    def _products(self, design):
        """Outputs (n, K, P) in units of the target, and sums of factors (n, K * P * F)."""
        n_rows, n_scores = design.shape[0], self._n_scores
        outputs = np.empty((n_rows, n_scores))
        sums = np.empty((n_rows, n_scores * self.n_factors))
        if design.is_sparse:
            get_ops().factor_forward(*_scaled(design), self.table, outputs, sums)
        else:
            squares = np.square(self.table[:-1, n_scores:])
            squares = squares.reshape(-1, n_scores, self.n_factors).sum(axis=2)
            for rows in design.slices(self.table.shape[1]):
                block = design.block(rows)
                sums[rows] = block[:, :-1] @ self.table[:-1, n_scores:]
                own = np.square(sums[rows]).reshape(-1, n_scores, self.n_factors).sum(axis=2)
                pairs = 0.5 * (own - np.square(block[:, :-1]) @ squares)
                outputs[rows] = block @ self.table[:, :n_scores] + pairs
        return outputs.reshape(n_rows, self.n_experts, -1), sums

    def _pulled_back(self, design, sums, score):
        """Gradient of ``sum score * outputs`` by the table; score (n, K * P)."""
        out, n_scores = np.zeros(self.table.shape), self._n_scores
        if design.is_sparse:
            get_ops().factor_backward(*_scaled(design), self.table, sums, score, out)
            return out
        own = np.zeros((len(self.table) - 1, n_scores))
        for rows in design.slices(self.table.shape[1]):
            block = design.block(rows)
            weighted = np.repeat(score[rows], self.n_factors, axis=1) * sums[rows]
            out[:, :n_scores] += block.T @ score[rows]
            out[:-1, n_scores:] += block[:, :-1].T @ weighted
            own += np.square(block[:, :-1]).T @ score[rows]
        out[:-1, n_scores:] -= np.repeat(own, self.n_factors, axis=1) * self.table[:-1, n_scores:]
        return out

    def _substituted(self, scale, shift):
        """The same functions of features x that stand for ``scale * x - shift``."""
        n_scores, n_factors = self._n_scores, self.n_factors
        slopes, factors = self.table[:-1, :n_scores], self.table[:-1, n_scores:]
        fresh = copy.copy(self)
        fresh.table = self.table * np.append(scale, 1.0)[:, None]
        if not np.any(shift):
            return fresh
        moved = shift @ factors
        own = np.square(factors).reshape(-1, n_scores, n_factors).sum(axis=2)
        mixed = (factors * moved).reshape(-1, n_scores, n_factors).sum(axis=2)
        constant = np.square(moved).reshape(n_scores, n_factors).sum(axis=1)
        fresh.table[:-1, :n_scores] -= scale[:, None] * (mixed - own * shift[:, None])
        fresh.table[-1, :n_scores] += 0.5 * (constant - np.square(shift) @ own) - shift @ slopes
        return fresh

    def _in_units(self, shift, unit):
        """The same functions, whose outputs are measured in other units."""
        fresh, ratio = copy.copy(self), self._unit / unit
        fresh.table = self.table.copy()
        slopes, factors = fresh._by_expert()
        slopes *= ratio
        slopes[-1] += (self._shift - shift) / unit
        factors *= np.sqrt(ratio)[:, None]
        fresh._shift = np.broadcast_to(shift, ratio.shape)
        fresh._unit = np.broadcast_to(unit, ratio.shape)
        return fresh


def _joined(slopes, factors):
    """A table of slopes (D, K, P) and factors (D, K, P, F)."""
    n_columns = len(slopes)
    return np.hstack([slopes.reshape(n_columns, -1), factors.reshape(n_columns, -1)])


def _scaled(design):
    """Values, columns and row ends of a sparse view."""
    X = design.X
    if (design.scale == 1.0).all():
        return X.data, X.indices, X.indptr
    return X.data / design.scale[X.indices], X.indices, X.indptr
