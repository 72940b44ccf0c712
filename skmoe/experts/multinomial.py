"""Multinomial logistic experts: K softmax classifiers as one array."""

import copy

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from .._lbfgs import minimize
from .._ops import get_ops
from .._owlqn import minimize_l1
from .._precondition import gram_preconditioner
from ._coefficients import CoefficientExperts

# Warm iterations of one M-step; the first starts from nothing and takes more.
_INNER_ITER, _FIRST_ITER = 5, 20


class MultinomialExperts(CoefficientExperts):
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
        super().__init__(n_experts, alpha, l1_ratio)
        self.n_classes = n_classes

    def start(self, data):
        """A fresh copy that predicts the shares of the classes."""
        fresh = copy.copy(self)
        fresh.coef = np.zeros((data.X.shape[1], self.n_experts, self.n_classes))
        counts = np.bincount(data.y, weights=data.weight, minlength=self.n_classes)
        fresh.coef[-1] = np.log((counts + 1e-3 * counts.sum()) / counts.sum())
        fresh._center, fresh._scale = data.X.center, data.X.scale
        fresh._fresh = True
        return fresh

    def additive(self, data):
        """Never: there is no closed form of the M-step."""
        return False

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
        there = getattr(data, "expert_loss", None)  # of rows on a device
        loss = None if there is None else there(self, resp, None)
        loss = self._loss(data, resp) if loss is None else loss
        precondition = gram_preconditioner(
            data.X,
            data.weight,
            1.0 / (4.0 * self.n_experts * total),
            self._net().ridge / total,
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

    def _loss(self, data, resp, dispersion=None):
        """Minus the weighted log-likelihood, penalised: a function of flat coefficients."""
        shape, total = self.coef.shape, data.total_weight
        weights = resp * (data.weight / total)[:, None]
        log_lik, residual = np.empty(resp.shape), np.empty((*resp.shape, self.n_classes))

        def loss(flat):
            coef = flat.reshape(shape)
            scores = data.X.dot(coef.reshape(shape[0], -1)).reshape(residual.shape)
            get_ops().categorical_log_lik(data.y, scores, log_lik)
            get_ops().categorical_residual(data.y, scores, weights, residual)
            gradient = -data.X.transposed_dot(residual.reshape(len(resp), -1)).reshape(shape)
            gradient += self._net().smooth_gradient(coef) / total
            value = self._net().value(coef) / total
            return value - np.einsum("nk,nk->", weights, log_lik), gradient.ravel()

        return loss

    def n_parameters(self):
        """Number of free coefficients: the scores of one class may be held at zero.

        Slopes that an L1 penalty holds at zero are not counted.
        """
        free = self.coef[:, :, 1:]
        if not self.has_l1:
            return free.size
        return min(np.count_nonzero(self.coef[:-1]), free[:-1].size) + free[-1].size

    def published(self, classes):
        """The experts as fitted `LogisticRegression` estimators."""
        if self.n_classes == 1:
            only = DummyClassifier(strategy="prior").fit(np.zeros((1, len(self._scale))), classes)
            return [only] * self.n_experts
        experts = []
        for k in range(self.n_experts):
            slopes, intercept = self._design(None).to_raw(self.coef[:, k])
            if self.n_classes == 2:
                slopes, intercept = np.diff(slopes), np.diff(intercept)
            expert = LogisticRegression() if self.origin is None else clone(self.origin)
            expert.coef_, expert.intercept_ = slopes.T, intercept
            expert.classes_ = classes
            expert.n_features_in_ = len(slopes)
            expert.n_iter_ = np.zeros(1, dtype=np.int32)
            experts.append(expert)
        return experts
