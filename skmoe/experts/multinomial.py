"""Multinomial logistic experts: K softmax classifiers as one array."""

import copy

import numpy as np
from sklearn.linear_model import LogisticRegression

from .._design import Design
from .._lbfgs import minimize
from .._ops import get_ops
from .._owlqn import minimize_l1
from .._penalty import ElasticNet
from .._precondition import gram_preconditioner

# Warm iterations of one M-step; the first starts from nothing and takes more.
_INNER_ITER, _FIRST_ITER = 5, 20


class MultinomialExperts:
    """K multinomial logistic regressions.

    Parameters
    ----------
    n_experts : int
    n_classes : int
    alpha, l1_ratio : float, default=0.0
        Elastic net on slopes of standardised features, on the sum of the log-likelihood.

    Attributes
    ----------
    coef : ndarray of shape (D, K, C)
        Coefficients of standardised features; the intercept is the last row.
    """

    def __init__(self, n_experts, n_classes, alpha, l1_ratio=0.0):
        self.n_experts = n_experts
        self.n_classes = n_classes
        self.alpha = alpha
        self.l1_ratio = l1_ratio

    def view(self, X, sample_weight):
        """Prepare features once for repeated fits; arguments as in `SoftmaxGate.view`."""
        return Design.standardised(X, sample_weight)

    def start(self, data):
        """A fresh copy that predicts the shares of the classes."""
        fresh = copy.copy(self)
        fresh.coef = np.zeros((data.X.shape[1], self.n_experts, self.n_classes))
        counts = np.bincount(data.y, weights=data.weight, minlength=self.n_classes)
        fresh.coef[-1] = np.log((counts + 1e-3 * counts.sum()) / counts.sum())
        fresh._center, fresh._scale = data.X.center, data.X.scale
        fresh._fresh = True
        return fresh

    def resumed(self, data):
        """A copy with the same coefficients for features of another fit."""
        fresh = copy.copy(self)
        flat = self.coef.reshape(len(self.coef), -1)
        slopes, intercept = self._design(None).to_raw(flat)
        fresh.coef = data.X.from_raw(slopes, intercept).reshape(self.coef.shape)
        fresh._center, fresh._scale = data.X.center, data.X.scale
        return fresh

    def additive(self, data):
        """Never: there is no closed form of the M-step."""
        return False

    def predict(self, X, rows=None):
        """Predict class scores (logits).

        Parameters
        ----------
        X : view, ndarray or CSR matrix of shape (n, d)
        rows : list of K index arrays, default=None
            Rows that each expert runs on; all by default.

        Returns
        -------
        ndarray of shape (n, K, C), or list of K ndarray of shape (len(rows[k]), C)
        """
        if rows is None:
            scores = self._design(X).dot(self.coef.reshape(len(self.coef), -1))
            return scores.reshape(-1, self.n_experts, self.n_classes)
        return [self._design(X[some]).dot(self.coef[:, k]) for k, some in enumerate(rows)]

    def block_coef(self):
        """Coefficients of standardised features: (D, K * C)."""
        return self.coef.reshape(len(self.coef), -1)

    def raw(self):
        """Slopes (K, C, d) and intercepts (K, C) of features as given."""
        n_columns, n_experts, n_scores = self.coef.shape
        slopes, intercept = self._design(None).to_raw(self.coef.reshape(n_columns, -1))
        shape = (n_experts, n_scores)
        return np.ascontiguousarray(slopes.T).reshape(*shape, -1), intercept.reshape(shape)

    def flat(self):
        """Coefficients of standardised features, flat."""
        return self.coef.ravel()

    def unit(self):
        """What a flat parameter of one means."""
        return np.ones(1)

    def with_flat(self, values):
        """A copy with other coefficients."""
        fresh = copy.copy(self)
        fresh.coef = values.reshape(self.coef.shape)
        return fresh

    def ridge(self):
        """Factor of ``coef ** 2 / 2`` in `penalty`, by class: (C,)."""
        return np.full(self.n_classes, float(self._net.ridge))

    def with_noise(self, dispersion):
        """Itself: class scores have no unit."""
        return self

    noise = None

    def penalty_gradient(self):
        """Gradient of the smooth part of `penalty`: (D, K, C)."""
        return self._net.smooth_gradient(self.coef)

    def l1_weights(self):
        """Factors of absolute values in `penalty`, flat."""
        return self._net.l1_weights(self.coef).ravel()

    @property
    def has_l1(self):
        """Whether the penalty has an L1 part."""
        return self._net.has_l1

    @property
    def _net(self):
        return ElasticNet(self.alpha, self.l1_ratio)

    def fit_predict(self, data, resp, dispersion=None):
        """A few iterations of L-BFGS on the weighted log-likelihood, and the scores.

        Parameters
        ----------
        data : FitData
        resp : ndarray of shape (n, K)
        dispersion : None
            Not used.

        Returns
        -------
        ndarray of shape (n, K, C)
        """
        shape, total = self.coef.shape, data.total_weight
        weights = resp * (data.weight / total)[:, None]
        log_lik, residual = np.empty(resp.shape), np.empty((*resp.shape, self.n_classes))

        def loss(flat):
            coef = flat.reshape(shape)
            scores = data.X.dot(coef.reshape(shape[0], -1)).reshape(residual.shape)
            get_ops().categorical_log_lik(data.y, scores, log_lik)
            get_ops().categorical_residual(data.y, scores, weights, residual)
            gradient = -data.X.transposed_dot(residual.reshape(len(resp), -1)).reshape(shape)
            gradient += self._net.smooth_gradient(coef) / total
            value = self._net.value(coef) / total
            return value - np.einsum("nk,nk->", weights, log_lik), gradient.ravel()

        precondition = gram_preconditioner(
            data.X,
            data.weight,
            1.0 / (4.0 * self.n_experts * total),
            self._net.ridge / total,
            self.n_experts * self.n_classes,
        )
        max_iter = _FIRST_ITER if self._fresh else _INNER_ITER
        options = {"max_iter": max_iter, "tol": 1e-10}
        if self.has_l1:
            found = minimize_l1(loss, self.coef.ravel(), self.l1_weights() / total, **options)
        else:
            found = minimize(loss, self.coef.ravel(), precondition=precondition, **options)
        self.coef, self._fresh = found.x.reshape(shape), False
        return self.predict(data.X)

    def penalty(self):
        """What the sum of the log-likelihood loses to the penalty."""
        return self._net.value(self.coef)

    def n_parameters(self):
        """Number of free coefficients: the scores of one class may be held at zero."""
        return self.coef[:, :, 1:].size

    def published(self, classes):
        """The experts as fitted `LogisticRegression` estimators."""
        experts = []
        for k in range(self.n_experts):
            slopes, intercept = self._design(None).to_raw(self.coef[:, k])
            if self.n_classes == 2:
                slopes, intercept = np.diff(slopes), np.diff(intercept)
            expert = LogisticRegression()
            expert.coef_, expert.intercept_ = slopes.T, intercept
            expert.classes_ = classes
            expert.n_features_in_ = len(slopes)
            expert.n_iter_ = np.zeros(1, dtype=np.int32)
            experts.append(expert)
        return experts

    def _design(self, X):
        if isinstance(X, Design):
            return X
        X = np.empty((0, len(self._scale))) if X is None else X
        return Design(X, self._center, self._scale)
