"""Numbers that are known from elsewhere: published fits and limits that have a formula."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import load_mcycle, load_nodata, load_tonedata
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian

FREE = {"experts": LinearExpert(alpha=0.0), "gate": SoftmaxGate(alpha=0.0)}


def fitted(model, X, y, **kwargs):
    """Fit with a tolerance that may not be reached."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y, **kwargs)


def test_nodata_has_the_published_likelihood():
    """Two linear regimes, gate on NO: 123.6206 (flexmix, best of many starts)."""
    X, y = load_nodata(return_X_y=True)
    settings = {"n_init": 4, "tol": 1e-9, "max_iter": 2000, "random_state": 0}
    model = MoERegressor(n_experts=2, likelihood=Gaussian(floor=0.0), **settings, **FREE)
    model = fitted(model, X, y)
    assert_allclose(model.log_likelihood(X, y).sum(), 123.6206, atol=1e-3)


@pytest.mark.jit_only
def test_mcycle_has_the_known_likelihood():
    """Four quadratic experts, linear gate, default floor, no penalties."""
    X, y = load_mcycle(return_X_y=True)
    # A square that is small where the time is: standardising would not remove the
    # collinearity of time and its square.
    time = (X - X.mean()) / X.std()
    features = np.column_stack([time, time**2])
    model = MoERegressor(
        n_experts=4, gate_features=[0], n_init=10, tol=1e-8, max_iter=3000, random_state=0, **FREE
    )
    model = fitted(model, features, y)
    assert -549.1 <= model.log_likelihood(features, y).sum() <= -540.0


def test_tonedata_has_the_lines_of_the_literature():
    """One line near the diagonal, one flat near 2 (Viele and Tong, 2002)."""
    X, y = load_tonedata(return_X_y=True)
    model = fitted(MoERegressor(n_experts=2, n_init=4, random_state=0), X, y)
    diagonal, flat = sorted(model.experts_, key=lambda expert: -expert.coef_[0])
    assert 0.85 <= diagonal.coef_[0] <= 1.05
    assert abs(diagonal.intercept_) <= 0.25
    assert abs(flat.coef_[0]) <= 0.15
    assert_allclose(flat.predict([[2.0]]), 2.0, atol=0.1)


@pytest.mark.parametrize("weighted", [False, True])
def test_one_free_expert_is_linear_regression(weighted):
    X, y = regression(0)
    X = X * [1.0, 1000.0, 0.01] + [0.0, 50.0, 3.0]
    weight = np.random.RandomState(0).uniform(0.1, 2.0, size=120) if weighted else None
    model = MoERegressor(LinearExpert(alpha=0.0), n_experts=1).fit(X, y[:, 0], weight)
    reference = LinearRegression().fit(X, y[:, 0], weight)
    assert_allclose(model.predict(X), reference.predict(X), atol=1e-8)
    assert_allclose(model.experts_[0].coef_, reference.coef_, rtol=1e-8)
    assert_allclose(model.experts_[0].intercept_, reference.intercept_, rtol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
def test_one_free_expert_has_the_likelihood_of_the_normal_law(weighted):
    X, y = regression(0)
    y = y[:, 0]
    weight = np.random.RandomState(0).uniform(0.1, 2.0, size=120) if weighted else np.ones(120)
    model = MoERegressor(LinearExpert(alpha=0.0), n_experts=1, likelihood=Gaussian(floor=0.0))
    model.fit(X, y, weight)
    error = y - LinearRegression().fit(X, y, weight).predict(X)
    variance = weight @ error**2 / weight.sum()
    assert_allclose(model.likelihood_.scale_[0] ** 2, variance, rtol=1e-9)
    expected = -0.5 * (np.log(2 * np.pi * variance) + error**2 / variance)
    assert_allclose(model.log_likelihood(X, y), expected, atol=1e-8)
    y_scale = np.sqrt(weight @ (y - weight @ y / weight.sum()) ** 2 / weight.sum())
    assert_allclose(model.objective_, weight @ expected / weight.sum() + np.log(y_scale), rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 50.0])
def test_one_penalised_expert_is_ridge(alpha):
    X, y = regression(0)
    X, y = X * [1.0, 1000.0, 0.01], y[:, 0]
    model = MoERegressor(
        LinearExpert(alpha), n_experts=1, likelihood=Gaussian(floor=0.0), tol=0.0, max_iter=200
    )
    model = fitted(model, X, y)
    variance = model.likelihood_.scale_[0] ** 2
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    reference = Ridge(alpha * variance / y.var()).fit(Z, y)
    assert_allclose(model.predict(X), reference.predict(Z), atol=1e-7)
    assert_allclose(np.mean((y - reference.predict(Z)) ** 2), variance, rtol=1e-7)


def test_one_penalised_classifier_is_logistic_regression():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(150, 3)) * [1.0, 50.0, 0.1]
    y = (X / [1.0, 50.0, 0.1] @ rng.normal(size=(3, 3)) + rng.gumbel(size=(150, 3))).argmax(axis=1)
    model = fitted(MoEClassifier(LinearExpert(2.0), n_experts=1, tol=0.0), X, y)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    reference = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(Z, y)
    assert_allclose(model.predict_proba(X), reference.predict_proba(Z), atol=1e-4)


def two_lines(n=160):
    """Two regimes that the gate and the target both tell apart."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-2, 2, size=(n, 2))
    left = X[:, 0] + 0.3 * rng.normal(size=n) < 0
    y = np.where(left, 3.0 - X[:, 0] + X[:, 1], -3.0 + 2 * X[:, 0]) + 0.5 * rng.normal(size=n)
    return X, y, left.astype(int)


def built_in_and_foreign(start, **params):
    """Models of linear experts: built in without penalty, and as templates."""
    settings = {"n_experts": 2, "init": start, "n_init": 1, **params}
    built_in = MoERegressor(LinearExpert(alpha=0.0), **settings)
    return built_in, MoERegressor(LinearRegression(), cross_fit=None, **settings)


def test_one_m_step_of_templates_equals_that_of_built_in_experts():
    X, y, labels = two_lines()
    weight = np.random.RandomState(1).uniform(0.1, 2.0, size=len(y))
    models = built_in_and_foreign(labels, max_iter=1)
    built_in, foreign = (fitted(model, X, y, sample_weight=weight) for model in models)
    for one, other in zip(built_in.experts_, foreign.experts_):
        assert_allclose(one.coef_, other.coef_, rtol=1e-8)
        assert_allclose(one.intercept_, other.intercept_, rtol=1e-8)
    assert_allclose(built_in.likelihood_.scale_, foreign.likelihood_.scale_, rtol=1e-8)
    assert_allclose(built_in.objective_, foreign.objective_, rtol=1e-8)


def test_templates_and_built_in_experts_arrive_at_the_same_optimum():
    X, y, labels = two_lines()
    models = built_in_and_foreign(labels, tol=0.0, max_iter=1500, gate=SoftmaxGate(alpha=0.0))
    built_in, foreign = (fitted(model, X, y) for model in models)
    assert_allclose(built_in.objective_, foreign.objective_, atol=1e-10)
    assert_allclose(built_in.predict_experts(X), foreign.predict_experts(X), atol=1e-6)
    assert_allclose(built_in.likelihood_.scale_, foreign.likelihood_.scale_, rtol=1e-6)
    assert_allclose(built_in.gate_proba(X), foreign.gate_proba(X), atol=1e-6)
    assert_allclose(built_in.predict(X), foreign.predict(X), atol=1e-6 * y.std())
