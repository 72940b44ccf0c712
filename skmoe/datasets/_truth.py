"""The mixture of experts from which a sample was drawn, with its exact densities."""

import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.utils import Bunch


class _Truth(Bunch):
    """Parameters of a mixture with a softmax gate; rows first, experts second."""

    def log_gate(self, X):
        """Return log probabilities of the experts, shape (n_samples, n_experts)."""
        return log_softmax(np.asarray(X) @ self.gate_coef.T + self.gate_intercept, axis=1)

    def gate_proba(self, X):
        """Return probabilities of the experts, shape (n_samples, n_experts)."""
        return np.exp(self.log_gate(X))


class RegressionTruth(_Truth):
    """Mixture of Gaussian linear regressions."""

    def predict_experts(self, X):
        """Return the mean of each expert, shape (n_samples, n_experts)."""
        return np.asarray(X) @ self.expert_coef.T + self.expert_intercept

    def predict(self, X):
        """Return the mean of the mixture, shape (n_samples,)."""
        return np.sum(self.gate_proba(X) * self.predict_experts(X), axis=1)

    def log_likelihood(self, X, y):
        """Return log p(y given x), natural logarithm, shape (n_samples,)."""
        residual = (np.asarray(y)[:, None] - self.predict_experts(X)) / self.scale
        log_density = -0.5 * (residual**2 + np.log(2 * np.pi)) - np.log(self.scale)
        return logsumexp(self.log_gate(X) + log_density, axis=1)


class ClassificationTruth(_Truth):
    """Mixture of multinomial logistic regressions."""

    def log_proba_experts(self, X):
        """Return log class probabilities, shape (n_samples, n_experts, n_classes)."""
        scores = np.einsum("nd,kcd->nkc", np.asarray(X), self.expert_coef)
        return log_softmax(scores + self.expert_intercept, axis=2)

    def predict_log_proba(self, X):
        """Return log p(class given x), shape (n_samples, n_classes)."""
        return logsumexp(self.log_gate(X)[:, :, None] + self.log_proba_experts(X), axis=1)

    def predict_proba(self, X):
        """Return p(class given x), shape (n_samples, n_classes)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
        """Return the most probable class, shape (n_samples,)."""
        return np.argmax(self.predict_log_proba(X), axis=1)

    def log_likelihood(self, X, y):
        """Return log p(y given x), natural logarithm, shape (n_samples,)."""
        return self.predict_log_proba(X)[np.arange(len(y)), np.asarray(y)]
