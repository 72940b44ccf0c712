"""Classifiers as gates on the concrete data: held-out log-likelihood above that of one expert."""

from functools import cache

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skmoe import MoERegressor
from skmoe.datasets import load_concrete
from skmoe.gates import SoftmaxGate

pytestmark = pytest.mark.jit_only

GATES = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
    "tree": DecisionTreeClassifier(min_samples_leaf=20),
    "neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier(30)),
    "bayes": GaussianNB(),
    "squares": make_pipeline(
        StandardScaler(), PolynomialFeatures(2, include_bias=False), SoftmaxGate()
    ),
    "boosting": HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=8),
    "forest": RandomForestClassifier(30, min_samples_leaf=10),
}
SLOW = ("boosting", "forest")


def held_out(gate, n_experts):
    """Mean log-likelihood per row over two folds."""
    X, y = load_concrete(return_X_y=True)
    X, y = np.asarray(X), np.asarray(y)
    found = []
    for train, test in KFold(2, shuffle=True, random_state=0).split(X):
        model = MoERegressor(n_experts=n_experts, gate=gate, random_state=0)
        model.fit(X[train], y[train])
        found.append(model.log_likelihood(X[test], y[test]).mean())
    return np.mean(found)


@cache
def one_expert():
    return held_out("softmax", 1)


@pytest.mark.parametrize(
    "gate", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in GATES]
)
def test_held_out_likelihood_is_above_that_of_one_expert(gate):
    assert held_out(GATES[gate], 3) > one_expert() + 0.2
