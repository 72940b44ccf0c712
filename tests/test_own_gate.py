"""Gates that are not skmoe's own: what a gate must have is `fit` and `log_proba`."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor


class TreeGate(BaseEstimator):
    """Shares of the experts in the leaves of a regression tree."""

    def __init__(self, max_depth=2):
        self.max_depth = max_depth

    def fit(self, X, resp, sample_weight=None):
        self.tree_ = DecisionTreeRegressor(max_depth=self.max_depth, random_state=0)
        self.tree_.fit(X, resp, sample_weight)
        return self

    def log_proba(self, X):
        proba = self.tree_.predict(X) + 1e-6
        return np.log(proba / proba.sum(axis=1, keepdims=True))


def steps(n_rows=400):
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, size=(n_rows, 2))
    return X, np.where(X[:, 0] > 0, 2 * X[:, 1], 3 - X[:, 1]) + 0.05 * rng.normal(size=n_rows)


@pytest.mark.parametrize("experts", [None, Ridge()])
def test_regressor_with_a_gate_of_ones_own(experts):
    X, y = steps()
    model = MoERegressor(experts, n_experts=2, gate=TreeGate(), random_state=0).fit(X, y)
    assert model.score(X, y) > 0.99
    assert_allclose(model.gate_proba(X).sum(axis=1), 1.0)
    assert type(model.solver_).__name__ == "EM"


@pytest.mark.parametrize("experts", [None, LogisticRegression()])
def test_classifier_with_a_gate_of_ones_own(experts):
    X, y = steps()
    labels = np.where(y > np.median(y), "high", "low")
    model = MoEClassifier(experts, n_experts=2, gate=TreeGate(max_depth=1), random_state=0)
    assert model.fit(X, labels).score(X, labels) > 0.95


def test_a_gate_of_ones_own_cannot_be_trained_by_gradient():
    X, y = steps(50)
    with pytest.raises(TypeError, match=r"TreeGate has no method 'flat'"):
        MoERegressor(n_experts=2, gate=TreeGate(), solver="gradient").fit(X, y)
