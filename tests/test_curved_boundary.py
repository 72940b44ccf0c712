"""Two linear regimes divided by a circle: a linear gate fails, flexible ones do not."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skmoe import MoERegressor
from skmoe.gates import MLPGate, SoftmaxGate

N = 3000


def circle(seed):
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, size=(N, 2))
    inside = np.square(X).sum(axis=1) < 0.64
    return X, np.where(inside, 2 + X[:, 0], -2 - X[:, 1]) + 0.1 * rng.normal(size=N)


def score(gate, **settings):
    """R2 on fresh rows."""
    model = MoERegressor(n_experts=2, gate=gate, random_state=0, **settings).fit(*circle(0))
    return model.score(*circle(1))


def test_the_softmax_gate_fails():
    assert score("softmax") < 0.8


GATES = {
    "boosted trees": HistGradientBoostingClassifier(max_iter=30),
    "squares": make_pipeline(PolynomialFeatures(2, include_bias=False), SoftmaxGate()),
}


@pytest.mark.parametrize("gate", GATES)
def test_flexible_gates_succeed(gate):
    assert score(GATES[gate]) > 0.95


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["em", "gradient"])
def test_the_mlp_gate_succeeds(solver, early_stopping):
    gate = MLPGate((16,), early_stopping=early_stopping)
    if early_stopping and solver == "gradient":
        with pytest.raises(ValueError, match="holds some out"):
            score(gate, solver=solver)
    else:
        assert score(gate, solver=solver, max_iter=600) > 0.95
