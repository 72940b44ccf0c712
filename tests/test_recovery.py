"""Mixtures whose truth is known are recovered."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import make_moe_classification, make_moe_regression
from skmoe.likelihoods import StudentT


def rmse(y, pred):
    return np.sqrt(np.mean((y - pred) ** 2))


def halves(make, seed, **params):
    """5000 rows to train on, 5000 to test, and the truth."""
    X, y, truth = make(10_000, 10, n_experts=4, random_state=seed, return_truth=True, **params)
    return X[:5000], X[5000:], y[:5000], y[5000:], truth


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_regression_predicts_as_well_as_the_truth(seed):
    X, X_test, y, y_test, truth = halves(make_moe_regression, seed)
    model = MoERegressor(n_experts=4, n_init=10, random_state=0).fit(X, y)
    oracle = rmse(y_test, truth.predict(X_test))
    found = rmse(y_test, model.predict(X_test))
    print(f"seed {seed}: RMSE {found:.5f}, oracle {oracle:.5f}, ratio {found / oracle:.4f}")
    assert found <= 1.01 * oracle


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_classification_predicts_as_well_as_the_truth(seed):
    X, X_test, y, y_test, truth = halves(make_moe_classification, seed)
    model = MoEClassifier(n_experts=4, n_init=10, random_state=0).fit(X, y)
    oracle = np.mean(truth.predict(X_test) == y_test)
    found = model.score(X_test, y_test)
    print(f"seed {seed}: accuracy {found:.4f}, oracle {oracle:.4f}")
    assert found >= oracle - 0.01


def test_two_regimes_make_an_absolute_value():
    X = np.linspace(-1, 1, 300)[:, None]
    y = np.abs(X[:, 0]) + 0.02 * np.random.RandomState(0).normal(size=300)
    model = MoERegressor(n_experts=2).fit(X, y)
    assert LinearRegression().fit(X, y).score(X, y) < 0.1
    assert model.score(X, y) > 0.99
    slopes = sorted(expert.coef_[0] for expert in model.experts_)
    assert_allclose(slopes, [-1.0, 1.0], atol=0.05)
    assert_allclose(model.likelihood_.scale_, 0.02, rtol=0.3)


def test_parameters_of_a_small_mixture_are_recovered():
    X, y, truth = make_moe_regression(
        2000, 2, n_experts=2, noise=[0.1, 0.4], random_state=3, return_truth=True
    )
    model = MoERegressor(n_experts=2).fit(X, y)
    order = np.argsort(model.likelihood_.scale_)
    experts = [model.experts_[k] for k in order]
    assert_allclose(model.likelihood_.scale_[order], truth.scale, rtol=0.1)
    assert_allclose([expert.coef_ for expert in experts], truth.expert_coef, atol=0.06)
    assert_allclose([expert.intercept_ for expert in experts], truth.expert_intercept, atol=0.06)
    assert_allclose(model.gate_.coef_[order], truth.gate_coef, rtol=0.3, atol=0.5)
    assert np.abs(model.gate_proba(X)[:, order] - truth.gate_proba(X)).mean() < 0.02
    assert model.log_likelihood(X, y).mean() > truth.log_likelihood(X, y).mean() - 1e-3


@pytest.mark.jit_only
def test_probabilities_of_a_small_classifier_are_recovered():
    X, y, truth = make_moe_classification(
        4000, 2, n_experts=2, n_classes=3, random_state=0, return_truth=True
    )
    model = MoEClassifier(n_experts=2, n_init=4, random_state=0).fit(X, y)
    assert np.abs(model.predict_proba(X) - truth.predict_proba(X)).mean() < 0.03
    assert model.log_likelihood(X, y).mean() > truth.log_likelihood(X, y).mean() - 0.005


@pytest.mark.jit_only
def test_posterior_finds_the_expert_that_made_the_row():
    X, y, truth = make_moe_regression(
        2000, 3, n_experts=3, noise=0.05, separation=2.0, random_state=1, return_truth=True
    )
    model = MoERegressor(n_experts=3, n_init=4, random_state=0).fit(X, y)
    found = model.responsibilities(X, y).argmax(axis=1)
    pairs = np.zeros((3, 3))
    np.add.at(pairs, (found, truth.experts), 1)
    assert pairs.max(axis=1).sum() / len(y) > 0.95
    assert_allclose(np.sort(model.load_), 1 / 3, atol=0.1)


@pytest.mark.parametrize("solver", ["em", "gradient"])
@pytest.mark.parametrize("seed", [1, 2])
def test_degrees_of_freedom_of_two_regimes(seed, solver):
    """With seed 2 an expert once took all rows to be Gaussian on its way, and stayed so."""
    rng = np.random.RandomState(seed)
    X = rng.uniform(-2, 2, size=(3000, 2))
    right = rng.uniform(size=3000) < 1 / (1 + np.exp(-3 * X[:, 1]))
    y = np.where(right, 2 + 3 * X[:, 0], -2 - X[:, 0]) + 0.3 * rng.standard_t(3, 3000)
    law = StudentT("estimate")
    model = MoERegressor(n_experts=2, likelihood=law, solver=solver, random_state=0).fit(X, y)
    assert model.converged_
    assert ((2.5 < model.likelihood_.df_) & (model.likelihood_.df_ < 3.6)).all()
    assert_allclose(model.likelihood_.scale_, 0.3, rtol=0.08)
