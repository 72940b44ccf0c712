"""Units of columns with far values, and starts and curvature that far rows do not rule."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmoe import MoERegressor
from skmoe._design import FAR, Design
from skmoe._init import kmeans_start
from skmoe._units import BulkSample, weighted_moments
from skmoe.datasets import make_moe_regression
from skmoe.likelihoods import GaussianWithNoise


def columns(n=400, seed=0):
    """A Gaussian column, one with far values, a rare flag and a constant."""
    rng = np.random.RandomState(seed)
    X = np.column_stack([rng.normal(size=n), rng.normal(3.0, 2.0, size=n), np.zeros(n), np.ones(n)])
    X[:4, 1] = [900.0, -700.0, 1000.0, 800.0]
    X[:3, 2] = 1.0
    return X


def units(X, weight):
    return BulkSample.of(X, weight).units(*weighted_moments(X, weight))


def test_only_columns_with_far_values_are_told_by_their_bulk():
    X, weight = columns(), np.ones(400)
    center, scale = units(X, weight)
    mean, variance = weighted_moments(X, weight)
    assert_array_equal(center[[0, 2, 3]], mean[[0, 2, 3]])
    assert_array_equal(scale[[0, 2]], np.sqrt(variance)[[0, 2]])
    assert scale[3] == 1.0
    low, middle, high = np.quantile(X[:, 1], [0.02, 0.5, 0.98], method="inverted_cdf")
    assert center[1] == middle
    assert_allclose(scale[1], (high - low) / 4.107497821262, rtol=1e-9)
    assert 1.7 < scale[1] < 2.5 and np.sqrt(variance[1]) > 50


def test_heavy_but_smooth_tails_are_left_alone():
    X = np.random.RandomState(0).lognormal(sigma=1.0, size=(4000, 1))
    mean, variance = weighted_moments(X, np.ones(4000))
    assert_array_equal(units(X, np.ones(4000)), [mean, np.sqrt(variance)])


def test_weights_act_as_repeated_rows():
    X, times = columns(), 1 + np.arange(400) % 3
    for found, wanted in zip(
        units(X, times * 1.0), units(np.repeat(X, times, axis=0), np.ones(799))
    ):
        assert_allclose(found, wanted, rtol=1e-12)


def test_missing_values_do_not_count():
    X = columns()
    gaps = np.vstack([X, np.full((50, 4), np.nan)])
    assert not Design.standardised(gaps, np.ones(450)).reach()[400:].any()
    for found, wanted in zip(units(gaps, np.ones(450)), units(X, np.ones(400))):
        assert_allclose(found, wanted, rtol=1e-12)
    empty = np.full((9, 1), np.nan)
    assert_array_equal(units(empty, np.ones(9)), [[0.0], [1.0]])


@pytest.mark.parametrize("n, cuts", [(400, [1, 50]), (20_000, [7000, 7001, 15_000])])
def test_samples_of_parts_add_up(n, cuts):
    X, weight = columns(n), np.random.RandomState(1).uniform(size=n)
    whole = BulkSample.of(X, weight)
    starts = [0, *cuts]
    parts = [
        BulkSample.of(part, own, start)
        for part, own, start in zip(np.split(X, cuts), np.split(weight, cuts), starts)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    for name in ("keys", "X", "weight", "ends"):
        assert_array_equal(getattr(total, name), getattr(whole, name))
    assert len(whole.X) == min(n, whole.most)


def test_far_rows_count_less_in_the_gram_of_curvature():
    X, weight = columns(), np.random.RandomState(1).uniform(size=400)
    design = Design.standardised(X, weight)
    Z = design.block(slice(0, 400))
    reach = np.abs(Z[:, :-1]).max(axis=1)
    assert_allclose(design.reach(), reach, rtol=1e-14)
    some = np.array([2, 7, 350, 1])
    assert_array_equal(design.picked(some).reach(), design.reach()[some])
    less = weight * np.minimum(1.0, (FAR / reach) ** 2)
    assert (less < weight).sum() == 4  # three of them flags as well
    assert_allclose(design.curvature_gram(weight), (Z * less[:, None]).T @ Z, rtol=1e-10, atol=1e-9)
    near, plain = weight[4:], Design.standardised(X[4:, :2], weight[4:])
    assert plain.curvature_gram(near) is plain.total_gram(near)


def test_nothing_is_far_in_columns_that_are_not_scaled():
    """Their units say nothing: hundreds may be usual."""
    X, weight = 300.0 * columns(), np.ones(400)
    design = Design.standardised(X, weight, scaled=False)
    assert not design.is_scaled and not design.reach().any()
    assert design.curvature_gram(weight) is design.total_gram(weight)
    given = kmeans_start(design, weight, 3, np.random.RandomState(0))
    other = kmeans_start(
        Design.standardised(X / 3000.0, weight, scaled=False), weight, 3, np.random.RandomState(0)
    )
    assert_array_equal(given, other)


def far_rows(seed):
    """Four regimes; eight of 600 rows are sixty times as far away and say nothing."""
    X, y = make_moe_regression(1200, 3, n_experts=4, random_state=seed, noise=0.1)
    train, y_train = X[:600].copy(), y[:600].copy()
    train[:8] *= 60.0
    y_train[:8] = np.random.RandomState(seed).normal(size=8) * y_train.std()
    return train, y_train, X[600:], y[600:]


@pytest.mark.parametrize("seed", [2, 5, 9])
def test_far_rows_do_not_spoil_the_fit(seed):
    """With an expert for noise the fit is as good as one without these rows."""
    X, y, new, new_y = far_rows(seed)
    noise = GaussianWithNoise()
    found = MoERegressor(n_experts=4, likelihood=noise, random_state=0).fit(X, y)
    clean = MoERegressor(n_experts=4, likelihood=noise, random_state=0).fit(X[8:], y[8:])
    held_out = [model.log_likelihood(new, new_y).mean() for model in (found, clean)]
    assert held_out[0] > held_out[1] - 0.06 and held_out[1] > 0.4
    assert (found.noise_proba(X, y)[:8] > 0.5).sum() >= 5
    assert found.load_.min() > 0.1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_blocks_have_the_same_units():
    X, y, _, _ = far_rows(2)
    settings = {"n_experts": 2, "max_iter": 2, "random_state": 0}
    whole = MoERegressor(**settings).fit(X, y)
    parts = MoERegressor(**settings).fit_blocks([(X[:150], y[:150]), (X[150:], y[150:])])
    assert (whole.gate_.scale_ < 0.5 * X.std(axis=0)).all()
    assert_allclose(parts.gate_.scale_, whole.gate_.scale_, rtol=1e-12)
    assert_allclose(parts.gate_.mean_, whole.gate_.mean_, atol=1e-12)
