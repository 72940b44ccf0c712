"""Degrees of freedom that are estimated, with the truth known."""

import numpy as np
from numpy.testing import assert_allclose
from problems import StrictMonitor

import skmoe._living
from skmoe import MoERegressor
from skmoe.likelihoods import StudentT


def two_lines(seed, df, n=1000):
    rng = np.random.RandomState(seed)
    X = rng.uniform(-2.0, 2.0, size=(n, 1))
    right = rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-3.0 * X[:, 0]))
    noise = rng.standard_t(df, size=n) if np.isfinite(df) else rng.normal(size=n)
    return X, np.where(right, 3.0 - 2.0 * X[:, 0], X[:, 0] - 3.0) + 0.5 * noise


def test_em_climbs_from_light_tails(monkeypatch):
    X, y = two_lines(2, 3.0)
    start = StudentT.start_theta

    def light(self, y, weight, base):
        found = start(self, y, weight, base)
        found[1] = 0.02  # some 700 degrees of freedom
        return found

    monkeypatch.setattr(StudentT, "start_theta", light)
    monkeypatch.setattr(skmoe._living, "Monitor", StrictMonitor)
    model = MoERegressor(n_experts=2, likelihood=StudentT("estimate"), solver="em").fit(X, y)
    assert (model.likelihood_.df_ < 5.0).all()


def test_light_tails_are_all_but_gaussian():
    X, y = two_lines(0, np.inf)
    model = MoERegressor(n_experts=2, likelihood=StudentT("estimate")).fit(X, y)
    assert (model.likelihood_.df_ > 10.0).all()
    gaussian = MoERegressor(n_experts=2).fit(X, y)
    assert_allclose(
        model.log_likelihood(X, y).mean(), gaussian.log_likelihood(X, y).mean(), atol=2e-3
    )
