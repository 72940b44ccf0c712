"""What K experts that are one array of coefficients have in common."""

import copy
from dataclasses import replace

import numpy as np

from .._design import Design
from .._penalty import ElasticNet


class CoefficientExperts:
    """K experts whose P outputs are linear in the features.

    Parameters
    ----------
    n_experts : int
    alpha, l1_ratio : float
        Elastic net on slopes of standardised features.

    Attributes
    ----------
    coef : ndarray of shape (D, K, P)
        Coefficients of standardised features; the intercept is the last row.
    noise : ndarray of shape (K, P) or None
        Unit of slopes in an L1 penalty; None where outputs have no unit.
    """

    noise = None
    origin = None  # the estimator whose class is published, if not the usual one
    standardize = True  # whether columns of another fit are scaled to unit variance

    def __init__(self, n_experts, alpha, l1_ratio=0.0):
        self.n_experts = n_experts
        self.alpha = alpha
        self.l1_ratio = l1_ratio

    def view(self, X, sample_weight):
        """Prepare features once for repeated fits; arguments as in `SoftmaxGate.view`."""
        return Design.standardised(X, sample_weight, self.standardize)

    def resumed(self, data):
        """A copy with the same coefficients for features of another fit."""
        coef = data.X.restated(self.block_coef(), self._design(None)).reshape(self.coef.shape)
        return self.with_columns(coef, data.X)

    def with_columns(self, coef, view):
        """A copy with coefficients (D, K, P) for the columns of a view."""
        fresh = copy.copy(self)
        fresh.coef = coef
        fresh._center, fresh._scale = view.center, view.scale
        return fresh

    def on(self, X):
        """A view of other rows, standardised as those of the fit."""
        return self._design(X)

    def selected(self, kept):
        """A copy with some of the experts, by index."""
        fresh = copy.copy(self)
        fresh.coef, fresh.n_experts = np.ascontiguousarray(self.coef[:, kept]), len(kept)
        if self.noise is not None:
            fresh.noise = self.noise[kept]
        return fresh

    def replaced(self, where, others):
        """A copy in which experts, by index, are those of another collection."""
        fresh = copy.copy(self)
        fresh.coef = self.coef.copy()
        fresh.coef[:, where] = others.coef
        if self.noise is not None:
            fresh.noise = self.noise.copy()
            fresh.noise[where] = others.noise
        return fresh

    def predict(self, X, rows=None):
        """Predict the outputs of each expert: means or class scores.

        Parameters
        ----------
        X : view, ndarray or CSR matrix of shape (n, d)
        rows : list of K index arrays, default=None
            Rows that each expert runs on; all by default.

        Returns
        -------
        ndarray of shape (n, K, P), or list of K ndarray of shape (len(rows[k]), P)
        """
        if rows is None:
            return self._design(X).dot(self.block_coef()).reshape(-1, *self.coef.shape[1:])
        return [self._design(X[some]).dot(self.coef[:, k]) for k, some in enumerate(rows)]

    def predict_with_gradient(self, X):
        """Predictions, and what turns weighted residuals into sums for `expert_gradient`.

        Parameters
        ----------
        X : view of shape (n, d)

        Returns
        -------
        pred : ndarray of shape (n, K, P)
        pull_back : callable
            ``pull_back(residual)``, with (n, K, P), gives ``Z' residual`` (D, K, P).
        """

        def pull_back(residual):
            return X.transposed_dot(residual.reshape(len(residual), -1)).reshape(self.coef.shape)

        return self.predict(X), pull_back

    def fit_predict_rows(self, data, resp, dispersion, rows):
        """One M-step of each expert on its own rows.

        Parameters
        ----------
        data : FitData
        resp : ndarray of shape (n, K)
            Expert k sees no row where ``resp[:, k]`` is zero.
        dispersion : ndarray of shape (K, m) or None
            Present noise variances.
        rows : list of K index arrays
            Where expert k is asked.

        Returns
        -------
        pred : list of K ndarrays of shape (len(rows[k]), P)
        n_fitted : int
            Rows shown to experts.
        """
        totals, n_fitted = data.weight @ resp, 0
        coef = self.coef.copy()
        for k in range(self.n_experts):
            own = np.flatnonzero(resp[:, k])
            if totals[k] <= 1e-12 * totals.sum():
                continue  # nothing to learn from: the expert stays as it is
            one = self._only(k)
            X = data.X.on(data.X.X[own])
            some = replace(data, gate_X=X, X=X, y=data.y[own], weight=data.weight[own])
            noise = None if dispersion is None else dispersion[k : k + 1]
            one.fit_predict(some, resp[own, k : k + 1], noise)
            coef[:, k] = one.coef[:, 0]
            n_fitted += len(own)
        self.coef, self._fresh = coef, False
        X = data.X
        return [X.on(X.X[some]).dot(coef[:, k]) for k, some in enumerate(rows)], n_fitted

    def _only(self, k):
        """A collection of one of the experts."""
        one = copy.copy(self)
        one.n_experts, one.coef = 1, self.coef[:, [k]]
        if self.noise is not None:
            one.noise = self.noise[[k]]
        return one

    def block_coef(self):
        """Coefficients of standardised features: (D, K * P)."""
        return self.coef.reshape(len(self.coef), -1)

    def raw(self):
        """Slopes (K, P, d) and intercepts (K, P) of features as given."""
        slopes, intercept = self._design(None).to_raw(self.block_coef())
        shape = self.coef.shape[1:]
        return np.ascontiguousarray(slopes.T).reshape(*shape, -1), intercept.reshape(shape)

    # -- flat parameters and penalty --------------------------------------------------

    def unit(self):
        """What a flat parameter of one means; broadcasts against (P,)."""
        return np.ones_like(self.coef, shape=(1,))

    def flat(self):
        """Coefficients of standardised features, in units of `unit`, flat."""
        return (self.coef / self.unit()).ravel()

    def with_flat(self, values):
        """A copy with other coefficients."""
        fresh = copy.copy(self)
        fresh.coef = values.reshape(self.coef.shape) * self.unit()
        return fresh

    def column_table(self):
        """Flat parameters with a row for each column and a last one for intercepts."""
        return (self.coef / self.unit()).reshape(len(self.coef), -1)

    def with_table(self, table, view):
        """A copy with a `column_table` for the columns of a view."""
        coef = table.reshape(-1, *self.coef.shape[1:]) * self.unit()
        return self.with_columns(coef, view)

    def column_ridge(self):
        """Factor of a row of `column_table`, squared and halved, in the penalty."""
        return np.tile(self.ridge() * np.square(self.unit()), self.n_experts)

    def slopes(self):
        """Ones (p,) for slopes, zeros for intercepts."""
        slopes = np.ones(self.coef.shape)
        slopes[-1] = 0.0
        return slopes.ravel()

    def with_noise(self, dispersion):
        """Itself where outputs have no unit, else a copy penalised in units of noise."""
        return self

    @property
    def has_l1(self):
        """Whether the penalty has an L1 part."""
        return self.alpha * self.l1_ratio > 0.0

    def penalty(self):
        """What the sum of the log-likelihood loses to the penalty."""
        return self._net().value(self.coef)

    def ridge(self):
        """Factor of ``coef ** 2 / 2`` in `penalty`, where it has no L1 part: (P,)."""
        return np.broadcast_to(self._net().ridge, self.coef.shape[2:])

    def penalty_gradient(self):
        """Gradient of the smooth part of `penalty`: (D, K, P)."""
        return self._net().smooth_gradient(self.coef)

    def l1_weights(self):
        """Factors of absolute values in `penalty`, flat."""
        return self._net().l1_weights(self.coef).ravel()

    def _net(self):
        return ElasticNet(self.alpha, self.l1_ratio)

    def _design(self, X):
        if isinstance(X, Design):
            return X
        X = np.empty((0, len(self._scale))) if X is None else X
        return Design(X, self._center, self._scale)
