"""The predictive mixture against SciPy's laws, sums by hand and numeric integrals."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad
from sklearn.model_selection import cross_val_score

from skmoe import MoERegressor, metrics
from skmoe.datasets import make_moe_regression
from skmoe.likelihoods.laws import NormalLaw
from skmoe.mixture import MixtureDistribution


def mixtures(n_rows=6, n_experts=3, n_outputs=1, seed=0):
    rng = np.random.RandomState(seed)
    loc = 3.0 * rng.normal(size=(n_rows, n_experts, n_outputs))
    scale = rng.uniform(0.1, 2.0, size=loc.shape)
    weights = rng.dirichlet(np.ones(n_experts), size=n_rows)
    with np.errstate(divide="ignore"):
        return MixtureDistribution(np.log(weights), NormalLaw(loc, scale), n_outputs == 1)


def naive(dist, row, name, *arguments):
    """Sum over the experts of weight times what SciPy's law says."""
    laws = zip(dist.weights[row], dist.law.loc[row, :, 0], dist.law.scale[row, :, 0])
    return sum(
        w * getattr(scipy.stats.norm(loc, scale), name)(*arguments) for w, loc, scale in laws
    )


def integral(dist, name, low, high, power=1, by=0):
    """Numeric integral of ``y ** by * f(y) ** power`` for a distribution of one row."""
    return quad(lambda y: y**by * getattr(dist, name)(y)[0] ** power, low, high, limit=200)[0]


def test_moments_density_and_probabilities_are_sums_over_scipys_laws():
    dist, y = mixtures(), np.linspace(-4.0, 4.0, 6)
    total, within, between = dist.var(split=True)
    for i in range(len(dist)):
        mean = naive(dist, i, "mean")
        assert_allclose(dist.mean()[i], mean, rtol=1e-12)
        assert_allclose(within[i], naive(dist, i, "var"), rtol=1e-12)
        second = naive(dist, i, "moment", 2)
        assert_allclose(total[i], second - mean**2, rtol=1e-10)
        for name in ("pdf", "cdf", "sf"):
            assert_allclose(getattr(dist, name)(y)[i], naive(dist, i, name, y[i]), rtol=1e-10)
    assert_allclose(total, within + between)
    assert_allclose(dist.std(), np.sqrt(total))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_experts=st.integers(1, 6),
    level=st.floats(1e-6, 1 - 1e-6),
)
def test_quantiles_invert_the_probability(seed, n_experts, level):
    dist = mixtures(5, n_experts, seed=seed)
    y = dist.quantile(level)
    assert_allclose(dist.cdf(y), level, rtol=1e-9, atol=1e-12)
    assert_allclose(dist.sf(y), 1.0 - level, rtol=1e-9, atol=1e-12)


def test_quantiles_of_one_law_are_scipys():
    dist = mixtures(20, 1)
    levels = [1e-9, 0.01, 0.3, 0.5, 0.9, 1 - 1e-9]
    law = scipy.stats.norm(dist.law.loc[:, :, 0], dist.law.scale[:, :, 0])
    assert_allclose(dist.quantile(levels), law.ppf(levels), rtol=1e-9)


def test_quantiles_where_steps_would_go_in_circles():
    """Two far peaks: Newton's method alone jumps between them."""
    dist = MixtureDistribution(
        np.log([[0.5, 0.5]]), NormalLaw(np.array([[[-100.0], [100.0]]]), 0.01 * np.ones((1, 2, 1)))
    )
    levels = np.array([0.2, 0.49, 0.51, 0.8])
    assert_allclose(dist.cdf(0.0), 0.5)
    assert_allclose([dist.cdf(y)[0] for y in dist.quantile(levels)[0]], levels, rtol=1e-9)


def test_levels_keep_their_order_and_reach_the_ends():
    dist = mixtures()
    found = dist.quantile([0.9, 0.0, 0.5, 1.0, 0.9])
    assert_allclose(found[:, 0], dist.quantile(0.9))
    assert_allclose(found[:, 4], found[:, 0])
    assert np.isneginf(found[:, 1]).all() and np.isposinf(found[:, 3]).all()


def test_experts_without_weight_do_not_count():
    dist = MixtureDistribution(
        np.array([[0.0, -np.inf]]), NormalLaw(np.array([[[1.0], [1e6]]]), np.ones((1, 2, 1)))
    )
    law = scipy.stats.norm(1.0)
    assert_allclose(dist.quantile(0.99), law.ppf(0.99))
    assert_allclose(dist.mode(), 1.0)
    assert (dist.sample(100, random_state=0) < 10).all()


def test_the_shortest_interval_is_no_longer_and_holds_its_share():
    dist = mixtures(10)
    lower, upper = dist.interval(0.8)
    low, high = dist.interval(0.8, kind="shortest")
    assert_allclose(dist.cdf(upper) - dist.cdf(lower), 0.8)
    assert_allclose(dist.cdf(high) - dist.cdf(low), 0.8)
    starts = np.linspace(0.0, 0.2, 2001)[1:-1]
    grid = dist.quantile(starts + 0.8) - dist.quantile(starts)
    assert_allclose(high - low, grid.min(axis=1), rtol=1e-3)
    assert (high - low <= grid.min(axis=1) * (1 + 1e-9)).all()


def test_mode_is_the_highest_point_of_a_grid():
    dist, grid = mixtures(8), np.linspace(-12, 12, 20001)
    density = np.array([dist.logpdf(y) for y in grid])
    assert_allclose(dist.mode(), grid[density.argmax(axis=0)], atol=2e-3)
    assert (dist.logpdf(dist.mode()) >= density.max(axis=0) - 1e-9).all()


def test_crps_and_shortfall_equal_integrals():
    dist, y = mixtures(3), np.array([-1.0, 0.3, 5.0])
    for i in range(3):
        one = dist[i]
        below = integral(one, "cdf", -30, y[i], power=2)
        above = integral(one, "sf", y[i], 30, power=2)
        assert_allclose(one.crps(y[i]), below + above, rtol=1e-6)
        tail = integral(one, "pdf", one.quantile(0.9)[0], 30, by=1)
        assert_allclose(one.expected_shortfall(0.9), tail / 0.1, rtol=1e-6)
    mean = 0.1 * dist.expected_shortfall(0.9) + 0.9 * dist.expected_shortfall(0.9, tail="lower")
    assert_allclose(mean, dist.mean())


def test_samples_have_the_moments_and_uniform_transforms():
    dist = mixtures(4)
    draws = dist.sample(20_000, random_state=0)
    assert draws.shape == (20_000, 4) and dist.sample(random_state=0).shape == (4,)
    assert_allclose(draws.mean(axis=0), dist.mean(), atol=0.08)
    assert_allclose(draws.std(axis=0), dist.std(), rtol=0.03)
    for i in range(4):
        transformed = np.array([dist[i].pit(y)[0] for y in draws[:500, i]])
        assert scipy.stats.kstest(transformed, "uniform").pvalue > 1e-3
    assert_allclose(draws, dist.sample(20_000, random_state=0))


def test_several_outputs():
    dist = mixtures(5, 3, n_outputs=2)
    y = np.zeros((5, 2))
    single = [
        MixtureDistribution(
            dist.log_weights, NormalLaw(dist.law.loc[:, :, [j]], dist.law.scale[:, :, [j]])
        )
        for j in range(2)
    ]
    for name, arguments in [("mean", ()), ("std", ()), ("mode", ()), ("quantile", (0.3,))]:
        both = getattr(dist, name)(*arguments)
        assert both.shape == (5, 2)
        for j in range(2):
            assert_allclose(both[:, j], getattr(single[j], name)(*arguments), rtol=1e-7)
    for j in range(2):
        assert_allclose(dist.crps(y)[:, j], single[j].crps(0.0))
        for end, same in zip(
            dist.interval(0.5, kind="shortest"), single[j].interval(0.5, kind="shortest")
        ):
            assert_allclose(end[:, j], same)
    assert dist.quantile([0.1, 0.9]).shape == (5, 2, 2)
    assert dist.sample(3, random_state=0).shape == (3, 5, 2)
    assert dist.logpdf(y).shape == (5,)


def test_what_is_wrong_is_named():
    dist = mixtures()
    with pytest.raises(ValueError, match=r"levels=1\.5 must be numbers from 0 to 1"):
        dist.quantile(1.5)
    with pytest.raises(ValueError, match=r"y has shape \(4,.*each of the 6 rows"):
        dist.cdf(np.zeros(4))
    with pytest.raises(ValueError, match="kind='hdi' is unknown"):
        dist.interval(kind="hdi")
    with pytest.raises(ValueError, match="level=1 must be"):
        dist.interval(1)
    with pytest.raises(ValueError, match="level=0 must be"):
        dist.expected_shortfall(0)
    with pytest.raises(ValueError, match="tail='left' is unknown"):
        dist.expected_shortfall(tail="left")


# -- from an estimator -------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    X, y = make_moe_regression(n_samples=400, n_experts=2, random_state=0)
    return MoERegressor(n_experts=2, random_state=0).fit(X, y), X, y


@pytest.mark.parametrize("top_k", [None, 1])
def test_it_agrees_with_what_the_estimator_says(fitted, top_k):
    model, X, y = fitted
    model.set_params(top_k=top_k)
    dist = model.predict_dist(X)
    mean, std = model.predict(X, return_std=True)
    assert_allclose(dist.mean(), mean)
    assert_allclose(dist.std(), std)
    assert_allclose(dist.logpdf(y), model.log_likelihood(X, y))
    assert len(dist[:7]) == 7 and len(dist[y > 0]) == (y > 0).sum() and len(dist[3]) == 1
    assert "mixtures of" in repr(dist)
    model.set_params(top_k=None)


def test_intervals_cover_and_transforms_are_uniform(fitted):
    model, X, y = fitted
    dist = model.predict_dist(X)
    lower, upper = dist.interval(0.9)
    assert 0.85 < np.mean((lower <= y) & (y <= upper)) < 0.95
    assert scipy.stats.kstest(dist.pit(y), "uniform").pvalue > 0.01


def test_scorers(fitted):
    model, X, y = fitted
    dist = model.predict_dist(X)
    assert metrics.log_likelihood(model, X, y) == pytest.approx(dist.logpdf(y).mean())
    assert metrics.neg_crps(model, X, y) == pytest.approx(-dist.crps(y).mean())
    error = y - dist.quantile(0.9)
    loss = np.where(error > 0, 0.9 * error, -0.1 * error).mean()
    assert metrics.neg_pinball(0.9)(model, X, y) == pytest.approx(-loss)
    for scorer in (metrics.log_likelihood, metrics.neg_crps, metrics.neg_pinball(0.1)):
        assert np.isfinite(cross_val_score(model, X, y, scoring=scorer, cv=2)).all()


def test_the_pinball_scorer_takes_a_column_and_refuses_no_probability(fitted):
    model, X, y = fitted
    scorer = metrics.neg_pinball(0.9)
    assert scorer(model, X, y[:, None]) == scorer(model, X, y)
    with pytest.raises(ValueError, match="must be a probability between"):
        metrics.neg_pinball(1.5)


@pytest.mark.parametrize("top_k", [None, 1])
def test_quantiles_and_intervals_of_the_estimator(fitted, top_k):
    model, X, _ = fitted
    model.set_params(top_k=top_k)
    dist = model.predict_dist(X)
    assert_allclose(model.predict(X, quantiles=0.3), dist.quantile(0.3))
    assert_allclose(model.predict(X, quantiles=[0.1, 0.9]), dist.quantile([0.1, 0.9]))
    assert_allclose(model.predict_interval(X, 0.2), dist.quantile([0.1, 0.9]))
    assert_allclose(model.predict_interval(X), np.stack(dist.interval(0.9), axis=1))
    shortest = np.stack(dist.interval(0.7, kind="shortest"), axis=1)
    assert_allclose(model.predict_interval(X, 0.3, kind="shortest"), shortest)
    model.set_params(top_k=None)


@pytest.mark.parametrize("options", [{}, {"gate_per_output": True}])
def test_quantiles_of_several_outputs_and_of_counts(options):
    X, y = make_moe_regression(n_samples=120, n_experts=2, random_state=0)
    model = MoERegressor(n_experts=2, max_iter=3, tol=0.0, random_state=0, **options)
    with pytest.warns(UserWarning, match="did not converge|max_iter"):
        model.fit(X, np.column_stack([y, -y]))
    ends = model.predict_interval(X[:7], 0.2)
    assert ends.shape == (7, 2, 2) and (ends[:, 0] < ends[:, 1]).all()
    assert_allclose(model.predict(X[:7], quantiles=[0.1, 0.9]), ends)


def test_intervals_take_exposures():
    X = np.linspace(-1, 1, 60).reshape(-1, 1)
    y = np.random.RandomState(0).poisson(3.0, size=60)
    model = MoERegressor(n_experts=1, likelihood="poisson").fit(X, y)
    years = np.full(60, 9.0)
    found = model.predict_interval(X, exposure=years)
    assert_allclose(found, model.predict(X, exposure=years, quantiles=[0.05, 0.95]))
    assert (found[:, 0] > model.predict_interval(X)[:, 1]).all()


def test_what_is_wrong_with_levels_is_named(fitted):
    model, X, _ = fitted
    with pytest.raises(ValueError, match=r"alpha=1\.2 must be a probability"):
        model.predict_interval(X, 1.2)
    with pytest.raises(ValueError, match=r"levels=\[3\] must be numbers from 0 to 1"):
        model.predict(X, quantiles=[3])
    with pytest.raises(ValueError, match="return_std goes with the mean"):
        model.predict(X, return_std=True, quantiles=0.5)
