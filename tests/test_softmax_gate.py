"""The softmax gate against scikit-learn, against its formula, and its invariants."""

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import responsibilities, sparsened, weights
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from skmoe.gates import SoftmaxGate


def features(n=90, d=3, seed=0):
    rng = np.random.RandomState(seed)
    return rng.normal(size=(n, d)) * [1.0, 30.0, 0.01][:d] + [0.0, 200.0, 5.0][:d]


def soft_targets(X, n_experts=3, seed=0):
    """Responsibilities (n, K) that depend on the features, with noise."""
    rng = np.random.RandomState(seed)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    logits = 2.0 * Z @ rng.normal(size=(X.shape[1], n_experts))
    return np.exp(naive.log_softmax(logits + rng.normal(size=logits.shape)))


def exact(alpha=1e-2):
    return SoftmaxGate(alpha, max_iter=2000, tol=1e-15)


@pytest.mark.parametrize("n_experts", [2, 4])
@pytest.mark.parametrize("alpha", [1e-4, 1e-1])
def test_equals_logistic_regression_on_rows_expanded_by_responsibility(n_experts, alpha):
    X, weight = features(), weights(90)
    resp = soft_targets(X, n_experts)
    center, scale = naive.standardise(X, weight)
    Z = naive.columns(X, center, scale)[:, :-1]
    # Of two classes scikit-learn penalises the difference of the slopes, which costs
    # half as much when it is shared out between both.
    strength = alpha * weight.sum() / (2 if n_experts == 2 else 1)
    reference = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000)
    labels = np.repeat(np.arange(n_experts)[None], len(X), axis=0).ravel()
    reference.fit(
        np.repeat(Z, n_experts, axis=0), labels, sample_weight=(weight[:, None] * resp).ravel()
    )
    gate = exact(alpha).fit(X, resp, weight)
    assert_allclose(np.exp(gate.log_proba(X)), reference.predict_proba(Z), atol=1e-5)


@pytest.mark.parametrize("alpha", [1e-4, 1e-1])
def test_equals_newtons_method(alpha):
    X, weight = features(), weights(90)
    resp = soft_targets(X)
    Z = naive.columns(X, *naive.standardise(X, weight))
    gate = exact(alpha).fit(X, resp, weight)
    expected = naive.fit_gate(Z, resp, weight, alpha)
    assert_allclose(gate.block_coef(), expected, atol=1e-5)
    assert_allclose(np.exp(gate.log_proba(X)), np.exp(naive.log_softmax(Z @ expected)), atol=1e-6)


def test_fit_is_stationary_by_finite_differences():
    X, weight = features(), weights(90)
    resp = soft_targets(X)
    Z = naive.columns(X, *naive.standardise(X, weight))
    coef = exact().fit(X, resp, weight).block_coef()
    for index in np.ndindex(*coef.shape):
        step = np.zeros(coef.shape)
        step[index] = 1e-4
        above = naive.soft_log_lik(Z, resp, weight, coef + step, 1e-2)
        below = naive.soft_log_lik(Z, resp, weight, coef - step, 1e-2)
        assert abs(above - below) / 2e-4 < 1e-6


def test_block_step_climbs_and_is_zero_at_the_optimum():
    X, weight = features(), weights(90)
    resp = soft_targets(X)
    Z = naive.columns(X, *naive.standardise(X, weight))

    def step_of(gate):
        gradient = Z.T @ (weight[:, None] * (resp - np.exp(gate.log_proba(X))))
        grams = naive.weighted_grams(Z, weight[:, None] * resp)
        return gate.block_step(gradient, grams, weight.sum())

    rough = SoftmaxGate(1e-2, max_iter=1).fit(X, resp, weight)
    before = naive.soft_log_lik(Z, resp, weight, rough.block_coef(), 1e-2)
    moved = rough.moved(0.1 * step_of(rough))
    assert naive.soft_log_lik(Z, resp, weight, moved.block_coef(), 1e-2) > before
    assert_allclose(moved.block_coef().sum(axis=1), 0.0, atol=1e-12)
    assert naive.soft_log_lik(Z, resp, weight, rough.block_coef(), 1e-2) == before
    assert_allclose(step_of(exact().fit(X, resp, weight)), 0.0, atol=1e-4)


def test_sparse_features_give_the_same_optimum():
    X, weight = sparsened(features()), weights(90)
    resp = soft_targets(X.toarray())
    sparse = exact().fit(X, resp, weight)
    dense = exact().fit(X.toarray(), resp, weight)
    expected = np.exp(dense.log_proba(X.toarray()))
    assert_allclose(np.exp(sparse.log_proba(X)), expected, atol=1e-6)
    assert_allclose(sparse.coef_ * dense.scale_, dense.coef_ * dense.scale_, atol=1e-5)
    assert_allclose(sparse.penalty(), dense.penalty(), rtol=1e-5)


def test_nan_counts_as_the_average():
    X, weight = features(), weights(90)
    resp = soft_targets(X)
    X[::4, 1] = np.nan
    seen = ~np.isnan(X[:, 1])
    gate = exact().fit(X, resp, weight)
    average = np.average(X[seen, 1], weights=weight[seen])
    filled = np.where(np.isnan(X), average, X)
    assert_allclose(gate.log_proba(X), gate.log_proba(filled), atol=1e-12)
    assert np.isfinite(gate.coef_).all()


def test_raw_coefficients_give_the_logits():
    X = features()
    gate = SoftmaxGate().fit(X, soft_targets(X))
    logits = X @ gate.coef_.T + gate.intercept_
    assert gate.coef_.shape == (3, 3)
    assert gate.intercept_.shape == (3,)
    assert_allclose(naive.log_softmax(logits), gate.log_proba(X), atol=1e-9)


def test_coefficients_are_centred_over_experts():
    X = features()
    gate = SoftmaxGate().fit(X, soft_targets(X))
    assert_allclose(gate.block_coef().sum(axis=1), 0.0, atol=1e-12)


def test_without_penalty_mean_probability_equals_mean_responsibility():
    X, weight = features(), weights(90)
    resp = soft_targets(X)
    gate = exact(0.0).fit(X, resp, weight)
    proba = np.exp(gate.log_proba(X))
    assert gate.penalty() == 0.0
    assert_allclose(weight @ proba, weight @ resp, atol=1e-5)
    assert_allclose(X.T @ (weight[:, None] * (proba - resp)), 0.0, atol=1e-2)


@pytest.mark.parametrize("alpha", [1e-4, 1.0, 100.0])
def test_intercepts_are_not_penalised(alpha):
    X, weight = features(), weights(90)
    resp = soft_targets(X)
    gate = exact(alpha).fit(X, resp, weight)
    assert_allclose(weight @ np.exp(gate.log_proba(X)), weight @ resp, atol=1e-5)


def test_strong_penalty_gives_the_constant_gate():
    X = features()
    resp = soft_targets(X)
    gate = exact(1e6).fit(X, resp)
    assert_allclose(np.exp(gate.log_proba(X)), np.tile(resp.mean(axis=0), (90, 1)), atol=1e-4)


def test_separable_responsibilities_stay_finite():
    X = np.linspace(-1, 1, 40)[:, None]
    resp = np.column_stack([X[:, 0] < 0, X[:, 0] >= 0]).astype(float)
    for alpha in (1e-4, 0.0):
        gate = SoftmaxGate(alpha).fit(X, resp)
        assert np.isfinite(gate.log_proba(X)).all()
        assert_array_equal(gate.log_proba(X).argmax(axis=1), resp.argmax(axis=1))


def test_weights_act_as_repeated_rows():
    X, counts = features(), np.random.RandomState(0).randint(1, 4, size=90)
    resp = soft_targets(X)
    weighted = exact().fit(X, resp, counts.astype(float))
    repeated = exact().fit(np.repeat(X, counts, axis=0), np.repeat(resp, counts, axis=0))
    assert_allclose(weighted.log_proba(X), repeated.log_proba(X), atol=1e-6)


def test_scale_of_the_weights_does_not_matter():
    X, weight = features(), weights(90)
    resp = soft_targets(X)
    one, other = exact().fit(X, resp, weight), exact().fit(X, resp, 1000.0 * weight)
    assert_allclose(one.log_proba(X), other.log_proba(X), atol=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
def test_warm_iterations_increase_the_soft_likelihood(sparse):
    X, weight = features(), weights(90)
    X = sparsened(X) if sparse else X
    dense = X.toarray() if sparse else X
    resp = soft_targets(dense)
    gate = SoftmaxGate(1e-3, max_iter=1)
    view = gate.view(X, weight)
    gate.fit(view, resp, weight)
    Z = naive.columns(dense, view.center, view.scale)
    for seed in range(4):
        resp = soft_targets(dense, seed=seed)
        before = naive.soft_log_lik(Z, resp, weight, gate.block_coef(), 1e-3)
        gate.partial_fit(view, resp, weight)
        after = naive.soft_log_lik(Z, resp, weight, gate.block_coef(), 1e-3)
        assert after > before


def test_warm_iterations_arrive_where_fit_does():
    X, weight = features(), weights(90)
    resp = soft_targets(X)
    gate = SoftmaxGate(1e-2, max_iter=1).fit(X, responsibilities(90, 3), weight)
    for _ in range(20):
        gate.partial_fit(X, resp, weight)
    expected = exact().fit(X, resp, weight).log_proba(X)
    assert_allclose(gate.log_proba(X), expected, atol=1e-3)  # partial_fit stops at 1e-10


def test_partial_fit_of_another_number_of_experts_begins_anew():
    X = features()
    gate = SoftmaxGate().partial_fit(X, soft_targets(X, 2))
    gate.partial_fit(X, soft_targets(X, 3))
    assert gate.log_proba(X).shape == (90, 3)


def test_resumed_gate_predicts_the_same_from_another_view():
    X = features()
    gate = SoftmaxGate().fit(X, soft_targets(X))
    other = X[20:] * [1.0, 2.0, 1.0]
    resumed = gate.resumed(gate.view(other, weights(70)))
    assert_allclose(resumed.log_proba(X), gate.log_proba(X), atol=1e-10)


def test_one_expert_has_probability_one():
    X = features()
    gate = SoftmaxGate().fit(X, np.ones((90, 1)))
    assert_allclose(gate.log_proba(X), 0.0, atol=1e-14)


def test_view_may_be_given_in_place_of_features():
    X = features()
    resp = soft_targets(X)
    gate = SoftmaxGate()
    view = gate.view(X, np.ones(90))
    one = clone(gate).fit(view, resp).log_proba(view)
    assert_allclose(one, gate.fit(X, resp).log_proba(X), atol=1e-12)


def test_unfitted_gate_says_so():
    with pytest.raises(NotFittedError):
        SoftmaxGate().log_proba(features())
    with pytest.raises(AttributeError, match="not fitted"):
        _ = SoftmaxGate().coef_


def test_wide_features_without_a_gram_matrix():
    rng = np.random.RandomState(0)
    X, resp = rng.normal(size=(30, 1500)), responsibilities(30, 2)
    gate = SoftmaxGate(0.1, max_iter=500, tol=1e-14).fit(X, resp)
    Z = naive.columns(X, gate.mean_, gate.scale_)
    proba = np.exp(gate.log_proba(X))
    gradient = Z.T @ (resp - proba) / 30
    gradient[:-1] -= 0.1 * gate.block_coef()[:-1]
    assert_allclose(gradient, 0.0, atol=1e-5)
