"""gmr: Gaussian mixture regression."""

import importlib.util

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

TASK = "regression"


def available():
    """None, or why gmr cannot run."""
    return None if importlib.util.find_spec("gmr") else "gmr is not installed"


class Mixture(RegressorMixin, BaseEstimator):
    """`gmr.GMM` with the interface of scikit-learn."""

    def __init__(self, n_components=4):
        self.n_components = n_components

    def fit(self, X, y):
        """Fit the joint mixture."""
        import gmr

        self.mixture_ = gmr.GMM(n_components=self.n_components, random_state=0)
        self.mixture_.from_samples(np.column_stack([X, y]), init_params="kmeans++")
        return self

    def predict(self, X):
        """Conditional mean."""
        return self.mixture_.predict(np.arange(X.shape[1]), X)[:, 0]


def models(n_experts):
    """Models to fit, by name."""
    return {"gmr GMM": Mixture(n_experts)}
