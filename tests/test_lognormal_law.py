"""Mixtures of lognormal laws against SciPy and numeric integrals."""

import numpy as np
import pytest
import scipy.stats
from scipy.integrate import quad

from skmoe.likelihoods.laws import LogNormalLaw
from skmoe.mixture import MixtureDistribution

LOC, SCALE, WEIGHTS = np.array([0.3, -1.0]), np.array([0.5, 0.3]), np.array([0.4, 0.6])
PARTS = [scipy.stats.lognorm(s, scale=np.exp(m)) for m, s in zip(LOC, SCALE)]


@pytest.fixture
def dist():
    law = LogNormalLaw(LOC[None, :, None], SCALE[None, :, None])
    return MixtureDistribution(np.log(WEIGHTS)[None], law)


def by_scipy(name, *arguments):
    return sum(w * getattr(part, name)(*arguments) for w, part in zip(WEIGHTS, PARTS))


@pytest.mark.parametrize("y", [-1.0, 0.0, 0.01, 0.4, 1.7, 30.0])
def test_density_and_probabilities_are_scipys(dist, y):
    for name in ("pdf", "cdf", "sf"):
        np.testing.assert_allclose(getattr(dist, name)(y)[0], by_scipy(name, y), rtol=1e-10)


def test_moments_are_scipys(dist):
    mean = by_scipy("mean")
    second = sum(w * (p.var() + p.mean() ** 2) for w, p in zip(WEIGHTS, PARTS))
    np.testing.assert_allclose(dist.mean(), mean, rtol=1e-10)
    np.testing.assert_allclose(dist.var(), second - mean**2, rtol=1e-10)


def test_quantiles_invert_probabilities(dist):
    levels = np.array([1e-6, 0.01, 0.5, 0.99, 1 - 1e-6])
    values = dist.quantile(levels)[0]
    np.testing.assert_allclose(by_scipy("cdf", values), levels, rtol=1e-8)


@pytest.mark.parametrize("y", [-0.5, 0.2, 1.0, 6.0])
def test_closed_crps_is_the_integral(dist, y):
    below = quad(lambda z: by_scipy("cdf", z) ** 2, min(y, 0.0), y, epsabs=1e-10)[0]
    above = quad(lambda z: by_scipy("sf", z) ** 2, y, 60.0, epsabs=1e-10, limit=200)[0]
    np.testing.assert_allclose(dist.crps(y)[0], below + above, atol=1e-6)


def test_mode_is_the_highest_of_a_grid(dist):
    grid = np.linspace(0.05, 3.0, 20001)
    assert abs(dist.mode()[0] - grid[np.argmax(by_scipy("pdf", grid))]) < 2e-4
