"""Every likelihood is walked over gates and solvers, here or in `test_combinations`."""

import numpy as np
import pytest
from test_combinations import (
    DENSE,
    EXPERTS,
    GATES,
    NUMBERS,
    SOLVERS,
    WEIGHT,
    Check,
    K,
    check_distribution,
)
from test_combinations import LAWS as WALKED

from skmoe import MoERegressor
from skmoe.likelihoods import BY_NAME, Binomial

# Three iterations are not meant to converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Those that are walked here over all gates; others over the ones that are left.
LAWS = {"truncated_lognormal": np.exp(NUMBERS)}


def test_every_likelihood_is_walked():
    assert set(BY_NAME) == {"gaussian", "gaussian_with_noise", *LAWS} | set(WALKED) - {"list"}


def fitted(law, y, gate, solver):
    objects = {"binomial": Binomial(5), "list": ["gamma", "student_t", "student_t"]}
    model = MoERegressor(None, K, gate=GATES[gate], solver=SOLVERS[solver], max_iter=3)
    model.set_params(likelihood=objects.get(law, law), init="kmeans", n_init=1, random_state=0)
    return model.fit(DENSE, y, sample_weight=WEIGHT)


@pytest.mark.parametrize("solver", ["em", "gradient", "minibatch"])
@pytest.mark.parametrize("law", WALKED)
def test_laws_under_a_tree_of_gates(law, solver):
    model = fitted(law, WALKED[law], "hierarchical", solver)
    assert np.isfinite(model.log_likelihood(DENSE, WALKED[law])).all()
    check_distribution(model, DENSE[:4])


@pytest.mark.parametrize("solver", ["em", "gradient", "minibatch"])
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("law", LAWS)
def test_laws_that_are_walked_here(law, gate, solver):
    if gate == "gaussian" and solver != "em":
        with pytest.raises(ValueError, match="GaussianGate is in closed form"):
            fitted(law, LAWS[law], gate, solver)
        return
    model = fitted(law, LAWS[law], gate, solver)
    Check(law)(model, DENSE, LAWS[law])
    check_distribution(model.set_params(top_k=None), DENSE[:4])


@pytest.mark.parametrize("law", LAWS)
def test_laws_of_experts_that_are_trees(law):
    model = MoERegressor(EXPERTS["tree"][0], K, likelihood=law, cross_fit=2, max_iter=3)
    model.set_params(init="kmeans", n_init=1, random_state=0)
    Check(law)(model.fit(DENSE, LAWS[law]), DENSE, LAWS[law])
