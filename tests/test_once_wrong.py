"""What once went wrong and must not again."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import load_concrete, make_moe_regression
from skmoe.experts import LinearExpert


def two_regimes(n_rows=300, offset=0.0):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_rows, 3))
    return X + offset, np.abs(X[:, 0]) + 0.05 * rng.normal(size=n_rows)


def test_an_expert_without_rows_keeps_a_sensible_noise():
    X, y = load_concrete(return_X_y=True)
    resp = np.column_stack([X[:, -1] > 28, X[:, -1] <= 28, np.full(len(y), 1e-12)])
    model = MoERegressor(n_experts=3, init=resp, n_init=1).fit(X, y)
    assert model.likelihood_.scale_.max() < y.std()
    assert np.median(model.predict(X, return_std=True)[1]) < y.std()


def test_top_k_set_after_fit_is_checked():
    X, y = two_regimes()
    model = MoERegressor(n_experts=2).fit(X, y).set_params(top_k=7)
    for method in (model.predict, model.route, lambda rows: model.predict(rows, return_std=True)):
        with pytest.raises(ValueError, match=r"top_k=7 is more than the number of experts, 2"):
            method(X)
    assert_allclose(model.set_params(top_k=1).route(X)[1], 1.0)


@pytest.mark.parametrize("alpha", [100.0, 1000.0])
def test_a_lasso_that_begins_at_its_optimum_ends(alpha):
    X, y = load_concrete(return_X_y=True)
    model = MoERegressor(LinearExpert(alpha, l1_ratio=1.0), n_experts=1).fit(X, y)
    assert np.isfinite(model.objective_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_lasso_keeps_to_max_iter_even_in_single_precision():
    X, y = load_concrete(return_X_y=True)
    expert = LinearExpert(500.0, l1_ratio=0.9)
    model = MoERegressor(expert, n_experts=2, random_state=0, tol=1e-9, max_iter=40)
    assert model.fit(X.astype(np.float32), y).n_iter_ <= 41


class InPlaceGate(BaseEstimator):
    """A constant gate that writes into its array."""

    def fit(self, X, resp, sample_weight=None):
        if not hasattr(self, "share_"):
            self.share_ = np.full(resp.shape[1], 1.0 / resp.shape[1])
        self.share_ += 0.9 * (np.average(resp, axis=0, weights=sample_weight) - self.share_)
        return self

    def log_proba(self, X):
        return np.tile(np.log(self.share_), (len(X), 1))


def test_a_gate_that_writes_into_its_arrays_is_kept_as_it_was():
    X, y = two_regimes()
    settings = {"n_experts": 2, "cross_fit": None, "random_state": 0}
    model = MoERegressor(Ridge(), gate=InPlaceGate(), **settings).fit(X, y)
    # The objective is that of the parts that are returned.
    log_lik = np.mean(model.log_likelihood(X, y)) + np.log(y.std())
    prior = model.likelihood_.log_prior() / len(y)
    assert_allclose(model.objective_, log_lik + prior, atol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e5])
def test_sparse_columns_far_from_zero_are_used(offset):
    X, y = two_regimes(offset=offset)
    model = MoERegressor(n_experts=2, random_state=0).fit(sp.csr_matrix(X), y)
    assert model.score(sp.csr_matrix(X), y) > 0.95


def test_experts_of_one_class_predict_it():
    X, _ = two_regimes(50)
    with pytest.warns(UserWarning, match="one class"):
        model = MoEClassifier(n_experts=2).fit(X, np.zeros(50))
    assert np.all(model.experts_[0].predict(X) == 0.0)


def test_parameters_of_parts_that_are_named_can_be_searched():
    X, y = make_moe_regression(120, 2, n_experts=2, random_state=0)
    grid = {"gate__alpha": [1e-4, 1e-2], "experts__alpha": [1.0], "likelihood__floor": [0.1]}
    search = GridSearchCV(MoERegressor(n_experts=2), grid, cv=2).fit(X, y)
    assert search.best_estimator_.gate.alpha == search.best_params_["gate__alpha"]


@pytest.mark.parametrize("method", ["predict", "predict_experts", "gate_proba", "route"])
def test_unfitted_models_say_so_of_features(method):
    with pytest.raises(NotFittedError):
        getattr(MoERegressor(), method)([[0.0]])


@pytest.mark.parametrize(
    "method", ["log_likelihood", "responsibilities", "diagnose", "bic", "score"]
)
def test_unfitted_models_say_so_of_targets(method):
    with pytest.raises(NotFittedError):
        getattr(MoERegressor(), method)([[0.0]], [0.0])
