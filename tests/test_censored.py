"""Censored targets: probabilities of intervals, and what censoring does to estimates."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from skmoe import MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import (
    CensoredGaussian,
    CensoredLogNormal,
    LogNormal,
    TruncatedGaussian,
    TruncatedLogNormal,
)
from skmoe.likelihoods.censored import log_normal_mass, truncated_slopes

TRUTH = np.array([[1.0, 2.0], [4.0, -1.5]])  # intercept and slope of two regimes


def simulated(seed, n=1500):
    """Features, values, and values right-censored at 3.5."""
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, size=(n, 2))
    regime = (rng.uniform(size=n) < 1 / (1 + np.exp(-6 * X[:, 1]))).astype(int)
    value = TRUTH[regime, 0] + TRUTH[regime, 1] * X[:, 0] + 0.5 * rng.normal(size=n)
    hidden = value > 3.5
    y = np.column_stack([np.minimum(value, 3.5), np.where(hidden, np.inf, value)])
    return X, value, y


def estimates(X, y, likelihood):
    """Intercept and slope of both regimes, the lower one first."""
    model = MoERegressor(
        LinearExpert(alpha=0.0),
        2,
        gate=SoftmaxGate(alpha=0.0),
        likelihood=likelihood,
        expert_features=[0],
        random_state=0,
        tol=1e-8,
    )
    model.fit(X, y)
    found = np.array([[e.intercept_, e.coef_[0]] for e in model.experts_])
    return found[np.argsort(found[:, 0])]


@pytest.mark.slow
def test_regimes_are_recovered_from_censored_targets():
    found, ignoring = [], []
    for seed in range(5):
        X, _, y = simulated(seed)
        found.append(estimates(X, y, "censored_gaussian"))
        ignoring.append(estimates(X, y[:, 0], "gaussian"))
    for estimated, recovered in ((found, True), (ignoring, False)):
        error = np.std(estimated, axis=0, ddof=1) / np.sqrt(5)
        off = np.abs(np.mean(estimated, axis=0) - TRUTH) / error
        assert (off <= 2.0).all() == recovered, off
    # The upper regime, most of whose values are hidden, is pulled down by far.
    assert np.mean(ignoring, axis=0)[1, 0] < TRUTH[1, 0] - 0.3


def test_a_model_of_censored_rows_predicts_the_values():
    X, value, y = simulated(0, n=300)
    model = MoERegressor(n_experts=2, likelihood="censored_gaussian", random_state=0).fit(X, y)
    plain = MoERegressor(n_experts=2, random_state=0).fit(X, y[:, 0])
    assert model.predict(X).shape == (300,)
    errors = [np.mean(np.square(each.predict(X) - value)) for each in (model, plain)]
    assert errors[0] < 0.8 * errors[1]
    assert np.isfinite(model.score(X, y))


@pytest.mark.parametrize(
    "a, b", [(-1.0, 0.5), (3.0, np.inf), (-np.inf, -30.0), (20.0, 20.1), (5.0, 9.0)]
)
def test_masses_and_slopes_in_all_tails(a, b):
    if b < np.inf and a > -np.inf and a < 9:
        expected = np.log(stats.norm.sf(a) - stats.norm.sf(b))
        assert_allclose(log_normal_mass(np.array(a), np.array(b)), expected, rtol=1e-9)
    mean, bend, _ = truncated_slopes(np.array(a), np.array(b))
    assert a <= mean <= b and 0.0 <= 1.0 - bend <= 1.0 + 1e-9
    if abs(a) < 9 and not np.isinf(b):
        twin = stats.truncnorm(a, b)
        assert_allclose(mean, twin.mean(), rtol=1e-7)
        assert_allclose(1.0 - bend, twin.var(), rtol=1e-6)


def test_truncated_means_and_variances_are_those_of_scipy():
    law = TruncatedGaussian(-1.0, 2.0)
    eta, theta = np.linspace(-2, 3, 7).reshape(1, 1, 7), np.full((1, 1, 1), np.log(0.7))
    scale = np.sqrt(0.7)
    twin = stats.truncnorm((-1.0 - eta) / scale, (2.0 - eta) / scale, eta, scale)
    assert_allclose(law.mean([eta], [theta]), twin.mean(), rtol=1e-8)
    assert_allclose(law.variance([eta], [theta]), twin.var(), rtol=1e-7)
    y = np.linspace(-0.9, 1.9, 7)
    assert_allclose(law.log_density((y[None],), [eta], [theta]), twin.logpdf(y), rtol=1e-9)


def test_a_lognormal_law_that_is_not_cut_is_lognormal():
    X, value, _ = simulated(0, n=200)
    fits = [
        MoERegressor(LinearExpert(alpha=0.0), 2, likelihood=law, init="kmeans", n_init=1, tol=1e-10)
        for law in (LogNormal(), TruncatedLogNormal())
    ]
    y = np.exp(0.5 * value)
    for model in fits:
        model.fit(X, y)
    assert_allclose(fits[0].objective_, fits[1].objective_, rtol=1e-6)
    assert_allclose(fits[0].predict(X), fits[1].predict(X), rtol=1e-3)


def test_losses_above_a_deductible_tell_of_all_losses():
    """Location and scale of the whole law are recovered, to three standard errors of 0.03."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, size=(6000, 1))
    loss = np.exp(0.3 + X[:, 0] + 0.8 * rng.normal(size=6000))
    seen = loss > 1.0
    found = {}
    for law in (TruncatedLogNormal(lower=1.0), LogNormal()):
        model = MoERegressor(LinearExpert(alpha=0.0), 1, likelihood=law, tol=1e-9)
        model.fit(X[seen], loss[seen])
        loc = model.predict_dist([[0.0], [1.0]]).law.loc[:, 0, 0]
        found[type(law)] = [*loc, model.likelihood_.scale_[0]]
    assert_allclose(found[TruncatedLogNormal], [0.3, 1.3, 0.8], atol=0.09)
    assert found[LogNormal][0] > 0.7 and found[LogNormal][2] < 0.65


@pytest.mark.parametrize(
    "law, y, says",
    [
        (CensoredGaussian(), [[1.0, 0.0], [0.0, 1.0]], r"y\[0\].*lower and upper"),
        (CensoredGaussian(), [[-np.inf, np.inf], [0.0, 1.0]], r"y\[0\].*np.inf as upper"),
        (CensoredGaussian(), [[np.nan, 1.0], [0.0, 1.0]], "y has NaN"),
        (CensoredGaussian(), [[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]], "y has 3 columns"),
        (CensoredLogNormal(), [[-1.0, 2.0], [1.0, 1.0]], r"y\[0\].*at least zero"),
        (CensoredLogNormal(), [[0.0, np.inf], [1.0, 1.0]], r"y\[0\]"),
        (TruncatedGaussian(), [1.0, -1.0], r"y\[1\].*between 0.0 and inf; set the bounds"),
        (TruncatedGaussian(1.0, 1.0), [1.0, 1.0], "lower=1.0 must be below upper=1.0"),
        (TruncatedLogNormal(1.0), [1.0, 0.5], r"y\[1\].*above zero, between 1.0 and inf; set"),
        (TruncatedLogNormal(), [0.0, 0.5], r"y\[0\].*above zero"),
    ],
)
def test_targets_that_make_no_sense_are_named(law, y, says):
    with pytest.raises(ValueError, match=says):
        MoERegressor(n_experts=1, likelihood=law).fit([[0.0], [1.0]], y)


def test_another_likelihood_is_asked_what_it_takes():
    X, value, y = simulated(0, n=60)
    model = MoERegressor(n_experts=1, likelihood="censored_gaussian").fit(X, y)
    value[0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.set_params(likelihood="student_t").fit(X, value)
