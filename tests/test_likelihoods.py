"""Laws of the target against SciPy and against slow twins."""

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import regression, regression_data, responsibilities, weights
from scipy.stats import norm

from skmoe.likelihoods import Categorical, Gaussian


def started(n_outputs=1, n_experts=3, **params):
    X, y = regression(0, n_outputs=n_outputs)
    data = regression_data(X, y, weights(120))
    return data, Gaussian(**params).start(data, n_experts)


def predictions(data, n_experts=3):
    shape = (len(data.y), n_experts, data.y.shape[1])
    error = np.random.RandomState(0).normal(size=shape)
    return data.y[:, None, :] + error * [[[1.0], [2.0], [0.5]]]


# -- Gaussian -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_log_lik_equals_scipy(n_outputs):
    data, likelihood = started(n_outputs)
    pred = predictions(data)
    likelihood.update(data.y, pred, responsibilities(120, 3), data.weight)
    scale = np.sqrt(likelihood.dispersion)
    expected = norm.logpdf(data.y[:, None, :], pred, scale).sum(axis=2)
    assert_allclose(likelihood.log_lik(data.y, pred), expected, rtol=1e-12)
    assert likelihood.scale_.shape == ((3,) if n_outputs == 1 else (3, 2))
    assert_allclose(likelihood.scale_.reshape(3, -1), scale)


def test_log_lik_of_routed_columns_takes_the_variance_of_their_expert():
    data, likelihood = started(2)
    pred = predictions(data)
    likelihood.update(data.y, pred, responsibilities(120, 3), data.weight)
    experts = np.argsort(np.random.RandomState(1).uniform(size=(120, 3)), axis=1)[:, :2]
    routed = np.take_along_axis(pred, experts[:, :, None], axis=1)
    expected = np.take_along_axis(likelihood.log_lik(data.y, pred), experts, axis=1)
    assert_allclose(likelihood.log_lik(data.y, routed, experts), expected, rtol=1e-12)


def test_start_has_the_variance_of_one_linear_expert():
    data, likelihood = started(2)
    assert_allclose(likelihood.dispersion, np.tile(data.base_variance, (3, 1)))
    Z = naive.columns(data.X.X, data.X.center, data.X.scale)
    for j in range(2):
        error = data.y[:, j] - Z @ naive.ridge(Z, data.y[:, j], data.weight, 1.0)
        variance = data.weight @ error**2 / data.weight.sum()
        assert_allclose(data.base_variance[j], variance, rtol=1e-6)


@pytest.mark.parametrize("floor", [0.0, 0.1, 5.0])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_update_is_the_weighted_mean_square_with_the_floor(floor, n_outputs):
    data, likelihood = started(n_outputs, floor=floor)
    pred, resp = predictions(data), responsibilities(120, 3)
    likelihood.update(data.y, pred, resp, data.weight)
    for k in range(3):
        row_weight = data.weight * resp[:, k]
        squares = row_weight @ (data.y - pred[:, k]) ** 2
        rows = 1.0 if floor > 0 else 0.0
        expected = (squares + floor * data.base_variance) / (row_weight.sum() + rows)
        assert_allclose(likelihood.dispersion[k], expected, rtol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("floor", [0.0, 0.1, 5.0])
def test_update_maximises_the_penalised_likelihood(shared, floor):
    data, likelihood = started(2, shared=shared, floor=floor)
    pred, resp = predictions(data), responsibilities(120, 3)
    likelihood.update(data.y, pred, resp, data.weight)

    def log_prior(variance):
        relative = variance / data.base_variance
        return -0.5 * np.sum(floor / relative + np.log(relative)) if floor > 0 else 0.0

    def value(variance):
        log_lik = naive.gaussian_log_lik(data.y, pred, variance)
        prior = log_prior(variance)
        return np.sum(data.weight[:, None] * resp * log_lik) + prior

    best = likelihood.dispersion
    assert_allclose(likelihood.log_prior(), log_prior(best))
    shapes = [(1, 2)] if shared else [(3, 2)]
    for shape in shapes:
        for index in np.ndindex(*shape):
            for factor in (0.99, 1.01):
                change = np.ones(shape)
                change[index] = factor
                assert value(best * change) < value(best)


def test_shared_variance_is_the_same_for_all_experts():
    data, likelihood = started(shared=True, floor=0.0)
    pred, resp = predictions(data), responsibilities(120, 3)
    likelihood.update(data.y, pred, resp, data.weight)
    squares = resp * (data.y - pred[:, :, 0]) ** 2
    expected = np.sum(data.weight[:, None] * squares) / data.weight.sum()
    assert_allclose(likelihood.dispersion, np.full((3, 1), expected))
    assert likelihood.n_parameters() == 1


def test_update_from_sums_equals_update_from_predictions():
    data, one = started(2)
    other = started(2)[1]
    pred, resp = predictions(data), responsibilities(120, 3)
    one.update(data.y, pred, resp, data.weight)
    row_weight = data.weight[:, None] * resp
    squares = np.einsum("nk,nkm->km", row_weight, (data.y[:, None, :] - pred) ** 2)
    other.update_sums(squares, row_weight.sum(axis=0))
    assert_allclose(one.dispersion, other.dispersion)


def test_floor_keeps_an_exact_fit_finite():
    data, likelihood = started(floor=0.1)
    pred = np.tile(data.y[:, None, :], (1, 3, 1))
    resp = responsibilities(120, 3)
    likelihood.update(data.y, pred, resp, data.weight)
    expected = 0.1 * data.base_variance / (data.weight @ resp + 1.0)[:, None]
    assert_allclose(likelihood.dispersion, expected)


def test_exact_fit_without_floor_and_dead_expert_stay_finite():
    data, likelihood = started(floor=0.0)
    pred = np.tile(data.y[:, None, :], (1, 3, 1))
    resp = np.column_stack([np.ones(120), np.zeros((120, 2))])
    likelihood.update(data.y, pred, resp, data.weight)
    assert (likelihood.dispersion > 0).all()
    assert np.isfinite(likelihood.log_lik(data.y, pred)).all()
    assert_allclose(likelihood.dispersion[1:], np.tile(data.base_variance, (2, 1)))


def test_total_variance_is_within_plus_between():
    data, likelihood = started(2)
    pred = predictions(data)
    likelihood.update(data.y, pred, responsibilities(120, 3), data.weight)
    share = responsibilities(120, 3, seed=1)
    found = likelihood.total_variance(np.log(share), pred)
    expected = naive.total_variance(share, pred, likelihood.dispersion)
    assert_allclose(found, expected, rtol=1e-9)
    assert (found >= share @ likelihood.dispersion - 1e-12).all()


def test_total_variance_of_routed_columns():
    data, likelihood = started()
    pred = predictions(data)
    likelihood.update(data.y, pred, responsibilities(120, 3), data.weight)
    share = responsibilities(120, 2, seed=1)
    experts = np.tile([2, 0], (120, 1))
    found = likelihood.total_variance(np.log(share), pred[:, [2, 0]], experts)
    expected = naive.total_variance(share, pred[:, [2, 0]], likelihood.dispersion[[2, 0]])
    assert_allclose(found, expected, rtol=1e-9)


def test_total_variance_far_from_zero_keeps_its_digits():
    data, likelihood = started()
    pred = predictions(data)
    share = responsibilities(120, 3, seed=1)
    near = likelihood.total_variance(np.log(share), pred)
    far = likelihood.total_variance(np.log(share), pred + 1e7)
    assert_allclose(far, near, rtol=1e-6)


def test_combine_is_the_weighted_mean():
    data, likelihood = started(2)
    pred, share = predictions(data), responsibilities(120, 3, seed=1)
    expected = np.sum(share[:, :, None] * pred, axis=1)
    assert_allclose(likelihood.combine(np.log(share), pred), expected)


def test_start_copies_and_leaves_the_template_alone():
    data, _ = started()
    template = Gaussian(floor=0.3)
    fresh = template.start(data, 2)
    assert fresh.floor == 0.3
    with pytest.raises(AttributeError, match="not fitted"):
        _ = template.scale_


# -- categorical ------------------------------------------------------------------------------


def test_categorical_log_lik_equals_naive():
    rng = np.random.RandomState(0)
    scores, codes = rng.normal(size=(30, 3, 4)), rng.randint(4, size=30)
    found = Categorical().log_lik(codes, scores)
    assert_allclose(found, naive.categorical_log_lik(codes, scores), atol=1e-13)


def test_categorical_log_lik_takes_any_memory_layout():
    rng = np.random.RandomState(0)
    scores, codes = rng.normal(size=(4, 3, 30)).T, rng.randint(4, size=30)
    found = Categorical().log_lik(codes, scores)
    assert_allclose(found, naive.categorical_log_lik(codes, scores), atol=1e-13)


def test_categorical_combine_gives_probabilities():
    rng = np.random.RandomState(0)
    scores, share = 10 * rng.normal(size=(30, 3, 4)), responsibilities(30, 3)
    found = Categorical().combine(np.log(share), scores)
    expected = np.zeros((30, 4))
    for k in range(3):
        expected += share[:, [k]] * np.exp(naive.log_softmax(scores[:, k]))
    assert_allclose(found, expected, atol=1e-13)
    assert_allclose(found.sum(axis=1), 1.0)


def test_categorical_log_probabilities_are_logits():
    proba = np.random.RandomState(0).dirichlet(np.ones(4), size=(30, 2))
    found = Categorical().combine(np.zeros((30, 1)), np.log(proba[:, :1]))
    assert_allclose(found, proba[:, 0])


def test_categorical_has_neither_dispersion_nor_prior():
    likelihood = Categorical()
    assert likelihood.dispersion is None
    assert likelihood.log_prior() == 0.0
    assert likelihood.n_parameters() == 0
    assert_array_equal(likelihood.update(None, None, None, None), None)
