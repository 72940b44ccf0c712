"""What holds for every mixture, whatever the data."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from problems import (
    classification,
    linear_parts,
    regression,
    regression_data,
    responsibilities,
    weights,
)

from skmoe import MoEClassifier, MoERegressor
from skmoe._em import fit_em
from skmoe._monitor import Monitor
from skmoe._ops import get_ops
from skmoe.experts import LinearExpert
from skmoe.likelihoods import Gaussian
from skmoe.routing import predict_routed, rows_by_expert, top_k_route

often = settings(derandomize=True, deadline=None, max_examples=40)
seldom = settings(derandomize=True, deadline=None, max_examples=8)

SEEDS = st.integers(0, 1000)
N, D, K = 60, 2, 2
ITERATIONS = 4


def logits(limit=50.0, most_experts=6):
    """Arrays (n, K) of finite logits, ties included."""
    shape = st.tuples(st.integers(1, 8), st.integers(1, most_experts))
    values = st.floats(-limit, limit) | st.sampled_from([0.0, 1.0, -1.0])
    return shape.flatmap(lambda size: arrays(np.float64, size, elements=values))


def log_softmax(values):
    out = np.empty(values.shape)
    get_ops().log_softmax(np.ascontiguousarray(values), out)
    return out


def climbed(X, y, weight, resp, *, n_iter=ITERATIONS, accelerate=False):
    """A few EM iterations from given responsibilities."""
    data = regression_data(X, y, weight)
    parts = linear_parts(data, resp.shape[1])
    result = fit_em(data, parts, Monitor(0.0, n_iter, patience=1000), resp, accelerate=accelerate)
    return data, result


def problem(seed):
    X, y = regression(seed, n=N, d=D, noise=0.5)
    return X, y, weights(N, seed), 0.8 * responsibilities(N, K, seed) + 0.2 / K


def experts_and_gate(data, result, X):
    pred = result.experts.predict(data.X.on(X))[:, :, 0]
    return pred, np.exp(result.gate.log_proba(data.gate_X.on(X)))


# -- arrays -----------------------------------------------------------------------------------


@often
@given(logits(), st.integers(0, 2**32 - 1), st.floats(0.0, 1e6))
def test_responsibilities_are_probabilities(values, seed, spread):
    log_gate = log_softmax(values)
    log_lik = spread * np.random.RandomState(seed).normal(size=values.shape)
    resp, loglik = np.empty(values.shape), np.empty(len(values))
    assert get_ops().e_step(log_gate, log_lik, resp, loglik) == 0
    assert_allclose(resp.sum(axis=1), 1.0, atol=1e-12)
    assert (resp >= 0).all() and (resp <= 1).all()
    assert np.isfinite(loglik).all()
    bound = 1e-9 * (1 + np.abs(loglik))
    assert (loglik <= log_lik.max(axis=1) + bound).all()
    assert (loglik >= (log_gate + log_lik).max(axis=1) - bound).all()


@often
@given(logits(), st.floats(-1e3, 1e3))
def test_constant_added_to_gate_logits_changes_nothing(values, constant):
    assert_allclose(log_softmax(values + constant), log_softmax(values), atol=1e-9)


@often
@given(logits(), st.randoms(use_true_random=False))
def test_permuted_logits_give_permuted_probabilities(values, random):
    order = random.sample(range(values.shape[1]), values.shape[1])
    assert_allclose(log_softmax(values[:, order]), log_softmax(values)[:, order], atol=1e-12)


@often
@given(logits(), st.data())
def test_routed_weights_sum_to_one_and_are_the_largest(values, data):
    top_k = data.draw(st.integers(1, values.shape[1]))
    indices, log_weights = top_k_route(values, top_k)
    assert_allclose(np.exp(log_weights).sum(axis=1), 1.0, atol=1e-12)
    assert (np.diff(log_weights, axis=1) <= 0).all()
    for row, chosen in zip(values, indices):
        assert len(set(chosen)) == top_k
        rest = np.delete(row, chosen)
        assert rest.size == 0 or row[chosen].min() >= rest.max()


@often
@given(logits())
def test_all_experts_routed_is_the_dense_mixture(values):
    log_gate = log_softmax(values)
    indices, log_weights = top_k_route(log_gate, values.shape[1])
    dense = np.take_along_axis(log_gate, indices, axis=1)
    assert_allclose(log_weights, dense, atol=1e-12)


@often
@given(logits(), st.data())
def test_rows_are_grouped_by_expert_without_loss(values, data):
    indices, _ = top_k_route(values, data.draw(st.integers(1, values.shape[1])))
    groups = rows_by_expert(indices, values.shape[1])
    assert sum(len(rows) for rows, _ in groups) == indices.size
    for expert, (rows, slots) in enumerate(groups):
        assert_array_equal(indices[rows, slots], expert)
        assert (np.diff(rows) > 0).all()


@seldom
@given(SEEDS, st.integers(1, 3))
def test_routed_prediction_equals_the_chosen_columns_of_the_dense_one(seed, top_k):
    X, y, weight, _ = problem(seed)
    data, result = climbed(X, y, weight, responsibilities(N, 3, seed))
    indices, _ = top_k_route(result.gate.log_proba(data.gate_X), top_k)
    dense = result.experts.predict(data.X)
    expected = np.take_along_axis(dense, indices[:, :, None], axis=1)
    assert_allclose(predict_routed(result.experts, X, indices), expected, atol=1e-9)


@often
@given(logits(), st.integers(0, 2**32 - 1))
def test_total_variance_is_no_less_than_the_variance_within(values, seed):
    rng = np.random.RandomState(seed)
    data = regression_data(*regression(0, n=10, d=1))
    likelihood = linear_parts(data, values.shape[1]).likelihood
    likelihood.update_sums(rng.uniform(size=(values.shape[1], 1)), np.ones(values.shape[1]))
    log_gate, pred = log_softmax(values), 10 * rng.normal(size=(*values.shape, 1))
    total = likelihood.total_variance(log_gate, pred)
    within = np.exp(log_gate) @ likelihood.dispersion
    assert (total >= within * (1 - 1e-12)).all()
    expected = naive.total_variance(np.exp(log_gate), pred, likelihood.dispersion)
    assert_allclose(total, expected, rtol=1e-6, atol=1e-9)


# -- fits from given responsibilities ------------------------------------------------------------


@seldom
@given(SEEDS)
def test_order_of_rows_does_not_matter(seed):
    X, y, weight, resp = problem(seed)
    order = np.random.RandomState(seed).permutation(N)
    data, one = climbed(X, y, weight, resp)
    other_data, other = climbed(X[order], y[order], weight[order], resp[order])
    assert_allclose(other.objective, one.objective, rtol=1e-6)
    for a, b in zip(experts_and_gate(data, one, X), experts_and_gate(other_data, other, X)):
        assert_allclose(a, b, atol=1e-4)


@seldom
@given(SEEDS)
def test_order_of_experts_does_not_matter(seed):
    X, y, weight, _ = problem(seed)
    resp = 0.8 * responsibilities(N, 3, seed) + 0.2 / 3
    order = [2, 0, 1]
    data, one = climbed(X, y, weight, resp)
    _, other = climbed(X, y, weight, resp[:, order])
    assert_allclose(other.objective, one.objective, rtol=1e-6)
    for a, b in zip(experts_and_gate(data, one, X), experts_and_gate(data, other, X)):
        assert_allclose(a[:, order], b, atol=1e-4)


@seldom
@given(SEEDS)
def test_integer_weights_are_repeated_rows(seed):
    X, y, _, resp = problem(seed)
    counts = np.random.RandomState(seed).randint(1, 4, size=N)
    data, one = climbed(X, y, counts.astype(float), resp)
    repeated = (np.repeat(part, counts, axis=0) for part in (X, y, resp))
    X_repeated, y_repeated, resp_repeated = repeated
    _, other = climbed(X_repeated, y_repeated, np.ones(counts.sum()), resp_repeated)
    assert_allclose(other.objective, one.objective, rtol=1e-6)
    for a, b in zip(experts_and_gate(data, one, X), experts_and_gate(data, other, X)):
        assert_allclose(a, b, atol=1e-4)


def assert_equivariant(seed, factor, shift, accelerate):
    """Predictions follow the target, and all else is the same."""
    X, y, weight, resp = problem(seed)
    how = {"accelerate": accelerate, "n_iter": 8 if accelerate else ITERATIONS}
    data, one = climbed(X, y, weight, resp, **how)
    _, other = climbed(X, factor * y + shift, weight, resp, **how)
    assert_allclose(other.objective, one.objective, rtol=1e-5, atol=1e-6)
    pred, gate = experts_and_gate(data, one, X)
    other_pred, other_gate = experts_and_gate(data, other, X)
    assert_allclose((other_pred - shift) / factor, pred, atol=1e-3)
    assert_allclose(other_gate, gate, atol=1e-3)
    ratio = other.likelihood.dispersion / one.likelihood.dispersion
    assert_allclose(ratio, factor**2, rtol=1e-3)


@seldom
@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_scaled_and_shifted_target_gives_scaled_and_shifted_predictions(seed, factor, shift):
    assert_equivariant(seed, factor, shift, accelerate=False)


@pytest.mark.parametrize("seed", range(3))
def test_accelerated_em_does_not_depend_on_the_units_of_the_target(seed):
    for factor in (1e-3, 0.25, 1e3):
        assert_equivariant(seed, factor, 0.0, accelerate=True)


@seldom
@given(SEEDS, arrays(np.float64, D, elements=st.floats(1e-3, 1e3)), st.floats(-10, 10))
def test_scaled_and_shifted_features_give_the_same_mixture(seed, factors, shift):
    X, y, weight, resp = problem(seed)
    data, one = climbed(X, y, weight, resp)
    moved = X * factors + shift * factors
    other_data, other = climbed(moved, y, weight, resp)
    assert_allclose(other.objective, one.objective, rtol=1e-5, atol=1e-6)
    for a, b in zip(experts_and_gate(data, one, X), experts_and_gate(other_data, other, moved)):
        assert_allclose(a, b, atol=1e-3)


# -- estimators ---------------------------------------------------------------------------------

FAST = {"n_experts": K, "n_init": 1, "max_iter": 30, "tol": 10.0}


@seldom
@given(SEEDS)
def test_mixture_lies_within_the_hull_of_its_experts(seed):
    X, y, weight, _ = problem(seed)
    model = MoERegressor(**FAST).fit(X, y[:, 0], weight)
    far = np.vstack([X, 100 * X])
    experts, mean = model.predict_experts(far), model.predict(far)
    slack = 1e-9 * (1 + np.abs(experts).max(axis=1))
    assert (mean >= experts.min(axis=1) - slack).all()
    assert (mean <= experts.max(axis=1) + slack).all()


@seldom
@given(SEEDS, st.floats(0.0, 1e8))
def test_log_likelihood_of_finite_targets_is_finite(seed, distance):
    X, y, _, _ = problem(seed)
    model = MoERegressor(**FAST).fit(X, y[:, 0])
    assert np.isfinite(model.log_likelihood(X, y[:, 0] + distance)).all()
    resp = model.responsibilities(X, y[:, 0] + distance)
    assert_allclose(resp.sum(axis=1), 1.0, atol=1e-9)


@seldom
@given(SEEDS)
def test_standard_deviation_covers_noise_and_disagreement(seed):
    X, y, _, _ = problem(seed)
    model = MoERegressor(**FAST).fit(X, y[:, 0])
    _, std = model.predict(X, return_std=True)
    within = model.gate_proba(X) @ model.likelihood_.scale_**2
    assert (std**2 >= within * (1 - 1e-9)).all()


@seldom
@given(SEEDS, st.integers(2, 4))
def test_class_probabilities_are_probabilities(seed, n_classes):
    X, codes = classification(seed, n=N, d=D, n_classes=n_classes)
    model = MoEClassifier(**FAST).fit(X, codes)
    far = np.vstack([X, 1000 * X])
    proba, experts = model.predict_proba(far), model.predict_experts(far)
    assert_allclose(proba.sum(axis=1), 1.0, atol=1e-12)
    assert (proba >= 0).all() and (proba <= 1).all()
    assert (proba >= experts.min(axis=1) - 1e-9).all()
    assert (proba <= experts.max(axis=1) + 1e-9).all()
    assert_allclose(np.exp(model.predict_log_proba(far)), proba, atol=1e-12)
    assert_allclose(model.log_likelihood(X, codes), np.log(proba[np.arange(N), codes]), atol=1e-9)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_factor_of_all_weights_changes_nothing_without_priors_on_the_sum_scale(factor):
    X, y, weight, _ = problem(0)
    start = (X[:, 0] > 0).astype(int)
    free = {"experts": LinearExpert(0.0), "likelihood": Gaussian(floor=0.0)}
    model = MoERegressor(n_experts=2, init=start, n_init=1, tol=1e-4, **free)
    one = model.fit(X, y[:, 0], weight).predict(X)
    assert_allclose(model.fit(X, y[:, 0], factor * weight).predict(X), one, atol=1e-5)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_routed_estimator_is_a_mixture_of_its_experts(top_k):
    X, y = regression(0, n=90)
    model = MoERegressor(n_experts=3, n_init=1, top_k=top_k).fit(X, y[:, 0])
    indices, share = model.route(X)
    assert_allclose(share.sum(axis=1), 1.0)
    chosen = np.take_along_axis(model.predict_experts(X), indices, axis=1)
    assert_allclose(model.predict(X), np.sum(share * chosen, axis=1), atol=1e-9)
    resp = model.responsibilities(X, y[:, 0])
    assert_allclose(resp.sum(axis=1), 1.0)
    assert ((resp > 0).sum(axis=1) <= top_k).all()
