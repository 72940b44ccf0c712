"""Laws of experts against SciPy, and mixtures of them against what must hold of any."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad

from skmoe.likelihoods import laws as law_module
from skmoe.likelihoods.laws import (
    AsymmetricLaplaceLaw,
    BinomialLaw,
    GammaLaw,
    InverseGaussianLaw,
    LaplaceLaw,
    LogNormalLaw,
    MixedLaw,
    NegativeBinomialLaw,
    NormalLaw,
    PoissonLaw,
    StudentTLaw,
    TruncatedLogNormalLaw,
    TruncatedNormalLaw,
    TweedieLaw,
    ZeroInflatedLaw,
)
from skmoe.mixture import MixtureDistribution

WEIGHTS = np.array([0.35, 0.65])


def pair(first, second):
    """Parameters (1, 2, 1) of two experts."""
    return np.array([first, second])[None, :, None]


# A mixture of two laws each.
LAWS = {
    "normal": NormalLaw(pair(0.4, -1.0), pair(0.5, 2.0)),
    "lognormal": LogNormalLaw(pair(0.4, -1.0), pair(0.5, 0.8)),
    "student t": StudentTLaw(pair(0.4, -1.0), pair(0.5, 2.0), pair(3.0, 7.5)),
    "laplace": LaplaceLaw(pair(0.4, -1.0), pair(0.5, 2.0)),
    "asymmetric laplace": AsymmetricLaplaceLaw(pair(0.4, -1.0), pair(0.5, 2.0), 0.8),
    "gamma": GammaLaw(pair(2.0, 5.0), pair(0.7, 3.0)),
    "inverse gaussian": InverseGaussianLaw(pair(2.0, 5.0), pair(0.7, 30.0)),
    "truncated normal": TruncatedNormalLaw(pair(0.4, -1.0), pair(0.5, 2.0), 0.0, 3.0),
    "truncated lognormal": TruncatedLogNormalLaw(pair(0.4, -1.0), pair(0.5, 0.9), 0.5, 3.0),
    "tweedie": TweedieLaw(pair(2.0, 5.0), pair(1.5, 0.4), 1.5),
    "poisson": PoissonLaw(pair(2.0, 7.5)),
    "negative binomial": NegativeBinomialLaw(pair(2.0, 7.5), pair(0.5, 2.0)),
    "binomial": BinomialLaw(pair(0.2, 0.7), 12),
    "zero-inflated": ZeroInflatedLaw(PoissonLaw(pair(2.0, 7.5)), pair(0.3, 0.1)),
    "zero-inflated negative binomial": ZeroInflatedLaw(
        NegativeBinomialLaw(pair(2.0, 7.5), pair(0.5, 2.0)), pair(0.3, 0.1)
    ),
    "counts of two kinds": MixedLaw(
        [PoissonLaw(np.full((1, 1, 1), 2.0)), BinomialLaw(np.full((1, 1, 1), 0.7), 12)]
    ),
    "numbers of two kinds": MixedLaw(
        [GammaLaw(*np.full((2, 1, 1, 1), 2.0)), NormalLaw(*np.full((2, 1, 1, 1), 1.5))]
    ),
    "counts and numbers": MixedLaw(
        [PoissonLaw(np.full((1, 1, 1), 2.0)), NormalLaw(*np.full((2, 1, 1, 1), 1.5))]
    ),
}
every_law = pytest.mark.parametrize("name", LAWS)
CONTINUOUS = [name for name, law in LAWS.items() if not (law.discrete or law.has_mass)]
COUNTS = [name for name, law in LAWS.items() if law.discrete]


class CutLogNormal:
    """The exponential of SciPy's truncated normal law."""

    def __init__(self, loc, scale, lower, upper):
        self.lower, self.upper = lower, upper
        ends = (np.log([lower, upper]) - loc) / scale
        self.log = scipy.stats.truncnorm(*ends, loc, scale)

    def pdf(self, y):
        return self.log.pdf(np.log(y)) / y if y > 0 else 0.0

    def cdf(self, y):
        return self.log.cdf(np.log(y)) if y > 0 else 0.0

    def sf(self, y):
        return self.log.sf(np.log(y)) if y > 0 else 1.0

    def ppf(self, level):
        return np.exp(self.log.ppf(level))

    def moment(self, power):
        def inside(y):
            return y**power * self.pdf(y)

        return quad(inside, self.lower, self.upper, epsabs=1e-14, epsrel=1e-13, limit=200)[0]

    def mean(self):
        return self.moment(1)

    def var(self):
        return self.moment(2) - self.moment(1) ** 2


# The same by SciPy.
PEERS = {
    "normal": [scipy.stats.norm(0.4, 0.5), scipy.stats.norm(-1.0, 2.0)],
    "lognormal": [
        scipy.stats.lognorm(0.5, scale=np.exp(0.4)),
        scipy.stats.lognorm(0.8, scale=np.exp(-1.0)),
    ],
    "student t": [scipy.stats.t(3.0, 0.4, 0.5), scipy.stats.t(7.5, -1.0, 2.0)],
    "laplace": [scipy.stats.laplace(0.4, 0.5), scipy.stats.laplace(-1.0, 2.0)],
    "asymmetric laplace": [
        # kappa ** 2 = level / (1 - level) = 4, its scale is s / sqrt(level (1 - level)).
        scipy.stats.laplace_asymmetric(2.0, 0.4, 0.5 / 0.4),
        scipy.stats.laplace_asymmetric(2.0, -1.0, 2.0 / 0.4),
    ],
    "gamma": [scipy.stats.gamma(0.7, scale=2.0 / 0.7), scipy.stats.gamma(3.0, scale=5.0 / 3.0)],
    "inverse gaussian": [
        scipy.stats.invgauss(2.0 / 0.7, scale=0.7),
        scipy.stats.invgauss(5.0 / 30.0, scale=30.0),
    ],
    "truncated normal": [
        scipy.stats.truncnorm(-0.8, 5.2, 0.4, 0.5),
        scipy.stats.truncnorm(0.5, 2.0, -1.0, 2.0),
    ],
    "truncated lognormal": [CutLogNormal(0.4, 0.5, 0.5, 3.0), CutLogNormal(-1.0, 0.9, 0.5, 3.0)],
    "poisson": [scipy.stats.poisson(2.0), scipy.stats.poisson(7.5)],
    "negative binomial": [scipy.stats.nbinom(2.0, 0.5), scipy.stats.nbinom(0.5, 1.0 / 16.0)],
    "binomial": [scipy.stats.binom(12, 0.2), scipy.stats.binom(12, 0.7)],
}
LEVELS = np.array([1e-6, 0.001, 0.02, 0.3, 0.5, 0.77, 0.99, 1.0 - 1e-6])


def mixture(name):
    return MixtureDistribution(np.log(WEIGHTS)[None], LAWS[name])


def tail_integral(law, k, y):
    """Integral of the probability above z, from y on."""
    return quad(lambda z: law.sf(z)[0, k, 0], y, np.inf, limit=400)[0]


def density_integral(law, k, y):
    """Integral of the density from 0 to y."""
    return quad(lambda z: np.exp(law.log_density(z))[0, k, 0], 0.0, y, epsabs=1e-12)[0]


def values(name):
    """Values where the law of the first or second expert has its quantiles, and others."""
    at = LAWS[name].ppf(np.array([0.003, 0.2, 0.5, 0.9])[:, None, None]).ravel()
    return np.concatenate([at, [-0.7, 0.0, 1.0]])


@pytest.mark.parametrize("name", PEERS)
def test_laws_agree_with_scipy(name):
    law, peers = LAWS[name], PEERS[name]
    for k, peer in enumerate(peers):
        assert_allclose(law.mean()[0, k, 0], peer.mean(), rtol=1e-10)
        assert_allclose(law.variance()[0, k, 0], peer.var(), rtol=1e-10)
        density = peer.pmf if law.discrete else peer.pdf
        for y in values(name):
            found = np.exp(law.log_density(y))[0, k, 0]
            assert_allclose(found, density(y), rtol=1e-10, atol=1e-300)
            assert_allclose(law.cdf(y)[0, k, 0], peer.cdf(y), rtol=1e-10, atol=1e-15)
            assert_allclose(law.sf(y)[0, k, 0], peer.sf(y), rtol=1e-10, atol=1e-15)
        for level in LEVELS:
            assert_allclose(law.ppf(level)[0, k, 0], peer.ppf(level), rtol=1e-10, atol=1e-12)


@every_law
def test_mean_of_the_values_above(name):
    """Against a sum or an integral of the upper tail."""
    law = LAWS[name]
    for y in (-0.5, 0.8, 2.0, 4.3):
        found = law.upper_mean(y)[0, :, 0]
        for k in range(2):
            above = law.sf(y)[0, k, 0]
            if law.discrete:
                counts = np.arange(np.floor(y) + 1.0, 400.0)
                counts = counts[counts >= 0]
                mass = np.exp(law.log_density(counts[:, None, None]))[:, k, 0]
                expected = counts @ mass
            elif name == "counts and numbers" and k == 0:
                continue  # the same as of "poisson"
            else:  # E[Y; Y > y] = y sf(y) + the integral of sf above y
                expected = y * above + tail_integral(law, k, y)
            assert_allclose(found[k], expected, rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["tweedie", "zero-inflated", "zero-inflated negative binomial"])
def test_probabilities_add_up_where_scipy_has_no_law(name):
    law = LAWS[name]
    for k in range(2):
        for y in (0.0, 1.3, 6.0):
            if law.discrete:
                counts = np.arange(0.0, np.floor(y) + 1.0)
                expected = np.exp(law.log_density(counts[:, None, None]))[:, k, 0].sum()
            else:
                expected = law.mass(0.0)[0, k, 0] + density_integral(law, k, y)
            assert_allclose(law.cdf(y)[0, k, 0], expected, rtol=1e-8)
            assert_allclose(law.sf(y)[0, k, 0], 1.0 - expected, rtol=1e-6, atol=1e-9)


def test_moments_of_tweedie_are_those_of_its_power():
    law = LAWS["tweedie"]
    assert_allclose(law.variance()[0, :, 0], [1.5 * 2.0**1.5, 0.4 * 5.0**1.5])
    rest = [tail_integral(law, k, 0.0) for k in range(2)]
    assert_allclose(law.mean()[0, :, 0], rest, rtol=1e-7)


@pytest.mark.parametrize("name", CONTINUOUS)
@settings(max_examples=25, deadline=None)
@given(level=st.floats(1e-6, 1.0 - 1e-6), first=st.floats(0.01, 0.99))
def test_quantiles_invert_probabilities(name, level, first):
    dist = MixtureDistribution(np.log([[first, 1.0 - first]]), LAWS[name])
    y = dist.quantile(level)
    assert_allclose(dist.cdf(y), level, rtol=1e-9, atol=1e-14)
    again = dist.quantile(float(dist.cdf(y)[0]))
    assert_allclose(again, y, rtol=1e-8, atol=1e-8 * dist.std()[0])


@pytest.mark.parametrize("name", COUNTS)
@settings(max_examples=25, deadline=None)
@given(level=st.floats(1e-6, 1.0 - 1e-6), first=st.floats(0.01, 0.99))
def test_quantiles_of_counts_are_the_smallest(name, level, first):
    dist = MixtureDistribution(np.log([[first, 1.0 - first]]), LAWS[name])
    y = dist.quantile(level)
    assert y[0] == np.floor(y[0]) and y[0] >= 0
    assert dist.cdf(y)[0] >= level > dist.cdf(y - 1.0)[0]


def test_quantiles_where_single_values_have_a_probability():
    for name in ("tweedie", "counts and numbers"):
        dist = mixture(name)
        for level in LEVELS:
            y = dist.quantile(level)
            assert dist.cdf(y)[0] >= level * (1 - 1e-12)
            assert dist.cdf(y - 1e-9 * max(1.0, abs(y[0])))[0] < level
    zero = mixture("tweedie").cdf(0.0)[0]
    assert zero > 0.05 and mixture("tweedie").quantile(0.9 * zero)[0] == 0.0


@every_law
def test_draws_follow_the_law(name):
    rows = 4000
    law = LAWS[name].on(np.zeros(rows, dtype=int))
    dist = MixtureDistribution(np.tile(np.log(WEIGHTS), (rows, 1)), law)
    draws = dist.sample(random_state=0)
    pit = dist.pit(draws, random_state=1)
    assert scipy.stats.kstest(pit, "uniform").pvalue > 1e-3
    if name != "student t":  # whose fourth moments are infinite
        error = dist.std()[0] / np.sqrt(rows)
        assert abs(draws.mean() - dist.mean()[0]) < 4 * error


def drawn(name, rng):
    """A mixture of two laws of one kind with random parameters and weights."""
    loc = pair(*rng.normal(size=2))
    scale, positive = pair(*rng.uniform(0.2, 2.0, 2)), pair(*rng.uniform(0.3, 6.0, 2))
    share = pair(*rng.uniform(0.05, 0.95, 2))
    poisson, negative = PoissonLaw(positive), NegativeBinomialLaw(positive, scale)
    makers = {
        "normal": lambda: NormalLaw(loc, scale),
        "lognormal": lambda: LogNormalLaw(loc, 0.5 * scale),
        "student t": lambda: StudentTLaw(loc, scale, positive + 3.0),
        "laplace": lambda: LaplaceLaw(loc, scale),
        "asymmetric laplace": lambda: AsymmetricLaplaceLaw(loc, scale, share),
        "gamma": lambda: GammaLaw(positive, scale),
        "inverse gaussian": lambda: InverseGaussianLaw(positive, 1.0 / scale),
        "truncated normal": lambda: TruncatedNormalLaw(loc, scale, -1.0, -1.0 + positive),
        "truncated lognormal": lambda: TruncatedLogNormalLaw(loc, scale, 0.1, 0.1 + positive),
        "tweedie": lambda: TweedieLaw(positive, scale, 1.05 + 0.9 * share),
        "poisson": lambda: poisson,
        "negative binomial": lambda: negative,
        "binomial": lambda: BinomialLaw(share, 9),
        "zero-inflated": lambda: ZeroInflatedLaw(poisson, share),
        "zero-inflated negative binomial": lambda: ZeroInflatedLaw(negative, share),
        "counts of two kinds": lambda: MixedLaw(
            [PoissonLaw(positive[:, :1]), BinomialLaw(share[:, 1:], 12)]
        ),
        "numbers of two kinds": lambda: MixedLaw(
            [GammaLaw(positive[:, :1], scale[:, :1]), NormalLaw(loc[:, 1:], scale[:, 1:])]
        ),
        "counts and numbers": lambda: MixedLaw(
            [PoissonLaw(positive[:, :1]), NormalLaw(loc[:, 1:], scale[:, 1:])]
        ),
    }
    return MixtureDistribution(np.log(rng.dirichlet([1.0, 1.0]))[None], makers[name]())


def moments(dist):
    """Mean and variance of one row, from probabilities alone."""
    if dist.law.discrete:
        counts = np.arange(2000.0)
        mass = np.exp(dist[np.zeros(2000, dtype=int)].logpdf(counts))
        return mass @ counts, mass @ counts**2 - (mass @ counts) ** 2

    def integral(function):
        levels = np.array([1e-13, 1e-9, 1e-6, 1e-3, 0.02, 0.2, 0.5])
        levels = np.concatenate([levels, 1.0 - levels])[:, None, None]
        ends = [dist.law.ppf(levels).ravel(), dist.law.modes().ravel(), [0.0]]
        if dist.law.has_counts:
            ends.append(np.arange(np.max(ends[0])))
        ends = np.unique(np.concatenate(ends))
        nodes, weights = np.polynomial.legendre.leggauss(25)
        half, centre = 0.5 * np.diff(ends)[:, None], 0.5 * (ends[1:] + ends[:-1])[:, None]
        y = (centre + half * nodes).ravel()
        same = dist[np.zeros(len(y), dtype=int)]
        return (half * weights).ravel() @ function(y, same.sf(y), same.cdf(y))

    mean = integral(lambda y, above, below: np.where(y > 0, above, -below))
    second = integral(lambda y, above, below: 2.0 * np.where(y > 0, y * above, -y * below))
    return mean, second - mean**2


@every_law
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_variances_add_up(name, seed):
    """Within plus between experts, and what is left of the second moment of the mixture."""
    dist = drawn(name, np.random.RandomState(seed))
    total, within, between = dist.var(split=True)
    assert within[0] >= 0.0 and between[0] >= 0.0
    assert_allclose(total, within + between, rtol=1e-12)
    mean, variance = moments(dist)
    # A Student's t law of few degrees of freedom has a heavy second moment beyond the ends.
    rtol = 1e-2 if name == "student t" else 1e-6
    assert_allclose(dist.mean()[0], mean, rtol=1e-6, atol=1e-8)
    assert_allclose(total[0], variance, rtol=rtol)


@every_law
def test_variance_is_that_of_its_parts(name):
    dist, law = mixture(name), LAWS[name]
    total, within, between = dist.var(split=True)
    second = WEIGHTS @ (law.variance() + np.square(law.mean()))[0, :, 0]
    assert_allclose(total, second - np.square(dist.mean()), rtol=1e-10)
    assert_allclose(total, within + between)


@every_law
def test_score_is_the_expected_distance(name):
    """E|Y - y| - E|Y - Y'| / 2 by quantiles, without the integral that the score is made of."""
    dist = mixture(name)
    grid = (np.arange(4000) + 0.5) / 4000
    draws = np.sort(dist.quantile(grid)[0])
    half = ((2 * np.arange(4000) + 1 - 4000) @ draws) / 4000**2
    for y in (-0.3, 1.0, 2.6):
        expected = np.abs(draws - y).mean() - half
        assert_allclose(dist.crps(y)[0], expected, rtol=4e-3, atol=1e-4)


def test_numeric_score_equals_the_closed_one():
    for name in ("normal", "lognormal"):
        dist, law = mixture(name), LAWS[name]
        numeric = super(NormalLaw, law).mixture_crps
        for y in (-0.4, 0.3, 1.7):
            found = numeric(WEIGHTS[None], np.array([[y]]))[0, 0]
            assert_allclose(found, dist.crps(y)[0], atol=1e-6)


@every_law
def test_mode_is_the_highest(name):
    dist, law = mixture(name), LAWS[name]
    if name == "gamma":
        assert dist.mode()[0] == 0.0  # where the density of the first expert is infinite
        return
    reach = dist.quantile([0.001, 0.999])[0]
    grid = np.arange(0.0, 40.0) if law.discrete else np.linspace(*reach, 801)
    heights = np.array([dist.pdf(y)[0] for y in grid])
    assert dist.pdf(dist.mode())[0] >= heights.max() * (1 - 1e-6)


@every_law
def test_tail_means(name):
    dist = mixture(name)
    grid = (np.arange(2000) + 0.5) / 2000
    draws = dist.quantile(grid)[0]
    for level in (0.3, 0.9):
        upper, lower = draws[grid > level].mean(), draws[grid <= level].mean()
        assert_allclose(dist.expected_shortfall(level), upper, rtol=0.02)
        found = dist.expected_shortfall(level, tail="lower")
        assert_allclose(found, lower, rtol=0.02, atol=2e-3)


@every_law
def test_intervals_hold_what_they_promise(name):
    dist = mixture(name)
    for kind in ("central", "shortest"):
        lower, upper = dist.interval(0.8, kind=kind)
        held = dist.cdf(upper) - dist.cdf(lower - 1e-9)
        assert held[0] >= 0.8 - 1e-6
        if name in CONTINUOUS:
            assert_allclose(held, 0.8, atol=1e-6)


def test_rows_and_experts_are_chosen():
    for law in LAWS.values():
        three = law.on(np.zeros(3, dtype=int))
        assert three.shape == (3, 2, 1)
        assert_allclose(three.cdf(1.0)[2], law.cdf(1.0)[0])
        if not isinstance(law, MixedLaw):
            assert_allclose(
                three.chosen(np.array([1, 0, 1])).mean()[:, 0], law.mean()[0, [1, 0, 1]]
            )


def test_every_law_is_in_the_table():
    kinds = {type(law).__name__ for law in LAWS.values()}
    assert kinds == set(law_module.__all__) - {"Law"}
