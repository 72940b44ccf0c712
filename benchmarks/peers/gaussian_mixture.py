"""scikit-learn's GaussianMixture of features and target together, conditioned on the features."""

import numpy as np
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

TASK = "regression"


def available():
    """None: it comes with scikit-learn."""
    return None


class ConditionedMixture(RegressorMixin, BaseEstimator):
    """E[y | x] and log p(y | x) of a joint mixture with full covariances."""

    def __init__(self, n_components=4, random_state=0):
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X, y):
        """Fit the joint mixture of standardised columns."""
        self.scaler_ = StandardScaler().fit(np.column_stack([X, y]))
        Z = self.scaler_.transform(np.column_stack([X, y]))
        mixture = GaussianMixture(self.n_components, random_state=self.random_state).fit(Z)
        means, covariances = mixture.means_, mixture.covariances_
        self.features_ = GaussianMixture(self.n_components)
        self.features_.weights_, self.features_.means_ = mixture.weights_, means[:, :-1]
        precision = np.linalg.inv(covariances[:, :-1, :-1])
        self.features_.precisions_cholesky_ = np.linalg.cholesky(precision)
        self.slopes_ = np.einsum("kde,ke->kd", precision, covariances[:, :-1, -1])
        self.intercepts_ = means[:, -1] - np.einsum("kd,kd->k", self.slopes_, means[:, :-1])
        explained = np.einsum("kd,kd->k", self.slopes_, covariances[:, :-1, -1])
        self.variances_ = covariances[:, -1, -1] - explained
        return self

    def _standardised(self, X):
        return (X - self.scaler_.mean_[:-1]) / self.scaler_.scale_[:-1]

    def predict(self, X):
        """Conditional mean."""
        Z = self._standardised(X)
        means = Z @ self.slopes_.T + self.intercepts_
        value = np.einsum("nk,nk->n", self.features_.predict_proba(Z), means)
        return value * self.scaler_.scale_[-1] + self.scaler_.mean_[-1]

    def log_likelihood(self, X, y):
        """Conditional log density of each row."""
        Z = self._standardised(X)
        scale = self.scaler_.scale_[-1]
        error = ((y - self.scaler_.mean_[-1]) / scale)[:, None]
        error = error - Z @ self.slopes_.T - self.intercepts_
        law = -0.5 * (error**2 / self.variances_ + np.log(2.0 * np.pi * self.variances_))
        gate = np.log(np.maximum(self.features_.predict_proba(Z), 1e-300))
        return logsumexp(gate + law, axis=1) - np.log(scale)


def models(n_experts):
    """Models to fit, by name."""
    return {"sklearn GaussianMixture, conditioned": ConditionedMixture(n_experts)}
