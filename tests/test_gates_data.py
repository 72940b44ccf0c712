"""Trees and networks as gates on the concrete data: held-out log-likelihood above that of
one expert, with every kind of expert."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoERegressor
from skmoe.datasets import load_concrete
from skmoe.gates import HierarchicalGate, MLPGate

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TREE = DecisionTreeRegressor(max_depth=4, min_samples_leaf=10)
EXPERTS = {
    "linear": (None, None),
    "tree": (TREE, TREE),
    "mixed": ([("ridge", Ridge()), ("tree", TREE), ("flat", Ridge(100.0))], None),
}
GATES = {"hierarchical": HierarchicalGate(((2,), 1)), "mlp": MLPGate((8,), alpha=1e-3)}


def held_out(X, y, experts, **settings):
    """Mean log-likelihood of rows held out, over fixed folds."""
    values = []
    for train, test in KFold(3, shuffle=True, random_state=0).split(X):
        model = MoERegressor(experts, random_state=0, max_iter=50, **settings)
        values.append(model.fit(X[train], y[train]).log_likelihood(X[test], y[test]).mean())
    return np.mean(values)


@pytest.mark.parametrize("experts", EXPERTS)
def test_gates_pay_on_concrete(experts):
    X, y = load_concrete(return_X_y=True)
    several, one = EXPERTS[experts]
    alone = held_out(X, y, one, n_experts=1)
    for gate in GATES.values():
        settings = {"gate": gate} | ({} if isinstance(several, list) else {"n_experts": 3})
        assert held_out(X, y, several, **settings) > alone + 0.05
