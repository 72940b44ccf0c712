"""Quantiles and scores of mixtures by kernels, against the plain ways of `_numeric`."""

import time

import numpy as np
import pytest
import scipy.special
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

from skmoe._ops._jit import kernel
from skmoe._ops.continuous import LANES, _plain_sums, _scaled_tail, _sums_of_rows
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
    _coded,
    _compound,
)
from skmoe.likelihoods.laws._numeric import mixture_crps, mixture_quantile
from skmoe.mixture import MixtureDistribution

N, K = 40, 3
LEVELS = np.array([1e-9, 1e-6, 0.001, 0.1, 0.3, 0.5, 0.51, 0.9, 0.99, 1 - 1e-6, 1 - 1e-12])

rng = np.random.RandomState(0)
LOC = rng.normal(size=(N, K, 1))
SCALE, MEAN, SHARE = (
    rng.uniform(0.3, 2.0, size=(1, K, 1)),
    np.exp(1.5 * LOC),
    0.1 + 0.2 * rng.rand(),
)
WEIGHTS = rng.dirichlet(np.ones(K), size=N)
WEIGHTS[:5, 0] = 0.0
WEIGHTS /= WEIGHTS.sum(axis=1, keepdims=True)

DENSITIES = {
    "normal": lambda: NormalLaw(LOC, SCALE + 0.0 * LOC),
    "lognormal": lambda: LogNormalLaw(LOC, 0.5 * SCALE + 0.0 * LOC),
    "student t": lambda: StudentTLaw(LOC, SCALE, np.array([1.0, 4.0, 30.0])[:, None]),
    "laplace": lambda: LaplaceLaw(LOC, SCALE),
    "asymmetric laplace": lambda: AsymmetricLaplaceLaw(LOC, SCALE, 0.8),
    "gamma": lambda: GammaLaw(MEAN, SCALE),
    "inverse gaussian": lambda: InverseGaussianLaw(MEAN, 3.0 / SCALE),
    "truncated normal": lambda: TruncatedNormalLaw(LOC, SCALE, -0.5, 1.0),
    "half normal": lambda: TruncatedNormalLaw(LOC, SCALE, 0.0, np.inf),
    "truncated lognormal": lambda: TruncatedLogNormalLaw(LOC, SCALE, 0.5, np.inf),
    "several kinds": lambda: MixedLaw(
        [
            NormalLaw(LOC[:, :1], SCALE[:, :1] + 0.0 * LOC[:, :1]),
            GammaLaw(MEAN[:, 1:2], SCALE[:, 1:2]),
            StudentTLaw(LOC[:, 2:], SCALE[:, 2:], 4.0),
        ]
    ),
}
COUNTS = {
    "poisson": lambda: PoissonLaw(MEAN),
    "negative binomial": lambda: NegativeBinomialLaw(MEAN, SCALE),
    "binomial": lambda: BinomialLaw(1.0 / (1.0 + MEAN), 12),
    "zero-inflated": lambda: ZeroInflatedLaw(NegativeBinomialLaw(MEAN, SCALE), SHARE),
    "several kinds": lambda: MixedLaw(
        [PoissonLaw(MEAN[:, :1]), BinomialLaw(1.0 / (1.0 + MEAN[:, 1:2]), 9)]
        + [ZeroInflatedLaw(PoissonLaw(MEAN[:, 2:]), SHARE)]
    ),
}


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """Tables also where they do not pay."""
    monkeypatch.setattr(_coded, "_MANY", 0)
    monkeypatch.setattr(_compound, "_PAYS", 0)


@pytest.mark.parametrize("name", DENSITIES)
def test_quantiles_of_densities_are_those_of_exact_steps(name):
    law = DENSITIES[name]()
    found = law.mixture_quantile(WEIGHTS, LEVELS)[:, :, 0]
    expected = mixture_quantile(law, WEIGHTS, LEVELS)[:, :, 0]
    assert_allclose(found, expected, rtol=1e-9, atol=1e-10)  # tables: 2e-10 of log odds


@pytest.mark.parametrize("name", DENSITIES)
def test_kernels_do_nearly_all_of_it(name, monkeypatch):
    """The exact functions are asked for the outermost levels only."""
    asked = []

    def exact(law, weights, levels):
        asked.append(np.ravel(levels))
        return mixture_quantile(law, weights, levels)

    monkeypatch.setattr(_coded, "mixture_quantile", exact)
    DENSITIES[name]().mixture_quantile(WEIGHTS, LEVELS)
    assert_array_equal(np.unique(asked), LEVELS[[0, -1]])


@pytest.mark.parametrize("power", [1.1, 1.3, 1.5, 1.8])
def test_quantiles_of_sums_of_claims_are_those_of_exact_steps(power, monkeypatch):
    """Zero where there is so much probability; large means go to the exact steps."""
    law = TweedieLaw(MEAN, 0.2 + SCALE + 0.0 * MEAN, power)
    expected = mixture_quantile(law, WEIGHTS, LEVELS)
    found = law.mixture_quantile(WEIGHTS, LEVELS)
    assert_allclose(found, expected, rtol=2e-9, atol=1e-9)
    assert_array_equal(found == 0.0, expected == 0.0)
    asked, at_zero = [], expected == 0.0

    def exact(law, weights, levels):
        asked.append(len(weights))
        return mixture_quantile(law, weights, levels)

    monkeypatch.setattr(_coded, "mixture_quantile", exact)
    own = np.array([0.1, 0.5, 0.9, 0.99])
    law.mixture_quantile(WEIGHTS, own)
    assert not asked and at_zero.any() and not at_zero.all()
    few = np.median(law._sums()[0].max(axis=1))
    monkeypatch.setattr(_compound, "_MOST", few)
    assert_allclose(law.mixture_quantile(WEIGHTS, own), mixture_quantile(law, WEIGHTS, own), 2e-9)
    assert asked == [N // 2]


def test_sums_of_rows_have_a_plain_twin():
    local = np.random.RandomState(1)
    cell, share, out = local.normal(size=(12, 8)), local.uniform(size=12), np.empty((2, 8))
    _call_both(cell, share, 4, 12, out)
    assert_allclose(out[0], out[1], rtol=1e-14)
    assert_allclose(out[0], share[4:] @ cell[4:], rtol=1e-14)


@kernel
def _call_both(cell, share, first, end, out):
    _sums_of_rows(cell, share, first, end, out[0])
    _plain_sums(cell, share, first, end, out[1])


def test_steps_do_not_end_early_where_the_density_is_low():
    """Between two far laws small distances in probability are large ones in values."""
    law = NormalLaw(np.array([[[0.0], [1.0]]]), np.array([[[0.1], [0.12]]]))
    weights = np.array([[0.4, 0.6]])
    levels = 0.4 + np.linspace(-1e-4, 1e-4, 7)
    found = law.mixture_quantile(weights, levels)
    assert_allclose(found, mixture_quantile(law, weights, levels), rtol=1e-9)


@pytest.mark.parametrize("n_rows, n_experts", [(2, 2), (1, 3), (3, 3)])
def test_weights_of_another_shape_than_the_laws_are_refused(n_rows, n_experts):
    law = PoissonLaw(np.ones((2, 3, 1)))
    with pytest.raises(ValueError, match="as many rows and experts"):
        MixtureDistribution(np.zeros((n_rows, n_experts)), law)


def test_tails_of_the_normal_law_have_all_their_digits():
    x = np.concatenate([np.linspace(0.0, 10.0, 2001), np.logspace(1, 4, 301)])
    plain = getattr(_scaled_tail, "py_func", _scaled_tail)
    assert_allclose(plain(x), scipy.special.erfcx(x), rtol=4e-15)


def test_rows_take_the_lanes_of_others():
    """More rows than lanes, of which some need far more steps, and laws of several kinds."""
    times = 1 + 2 * LANES // N
    far = np.repeat(np.array([0.0, 1e3, 0.0, -1e5]), times * N // 4)[:, None, None]
    loc, scale = np.tile(LOC, (times, 1, 1)) + far, np.broadcast_to(SCALE, (times * N, K, 1))
    laws = [LaplaceLaw(loc[:, :1], scale[:, :1]), NormalLaw(loc[:, 1:2], scale[:, 1:2])]
    law = MixedLaw([*laws, LaplaceLaw(loc[:, 2:] - far[::-1], scale[:, 2:])])
    weights, levels = np.tile(WEIGHTS, (times, 1)), LEVELS[[1, 4, 5]]
    found = law.mixture_quantile(weights, levels)
    assert_allclose(found, mixture_quantile(law, weights, levels), rtol=1e-9, atol=1e-9)


def test_levels_of_rows_and_outputs_of_their_own():
    law = LaplaceLaw(np.concatenate([LOC, LOC + 1], axis=2), np.concatenate([MEAN, MEAN], axis=2))
    levels = np.sort(np.random.RandomState(1).uniform(0.01, 0.99, size=(N, 4, 2)), axis=1)
    found = law.mixture_quantile(WEIGHTS, levels)
    assert_allclose(found, mixture_quantile(law, WEIGHTS, levels), rtol=1e-10, atol=1e-10)
    assert found.shape == (N, 4, 2)


@pytest.mark.parametrize(
    "law",
    [
        InverseGaussianLaw(MEAN, 1e4 * MEAN),  # so narrow that its terms overflow
        TruncatedNormalLaw(LOC - 60.0, 1.0, 0.0, np.inf),  # far in a tail
        StudentTLaw(LOC, SCALE, np.exp(LOC)),  # shapes differ from row to row
        GammaLaw(MEAN, 0.01),  # most of it indistinguishable from zero
    ],
    ids=["narrow", "far", "shapes of rows", "near zero"],
)
def test_laws_that_a_kernel_cannot_take_are_left_to_exact_steps(law):
    assert _coded._coded(law, True) is None
    levels = np.array([0.1, 0.5, 0.9])
    found = law.mixture_quantile(WEIGHTS, levels)
    assert_array_equal(found, mixture_quantile(law, WEIGHTS, levels))


def test_tables_are_made_where_they_pay(monkeypatch):
    monkeypatch.setattr(_coded, "_MANY", 1000)
    law = GammaLaw(MEAN, SCALE)
    assert _coded._coded(law, False) is None and _coded._coded(law, True) is not None
    assert _coded._coded(LaplaceLaw(LOC, SCALE), False) is not None


@pytest.mark.jit_only  # densities underflow to zero, which only compiled code divides by
def test_one_peak_far_from_the_others():
    """From one level to the next the quantile jumps over a gap."""
    law = LaplaceLaw(np.array([[[-1e6], [0.0], [1e6]]]), np.array([[[1e-3], [1.0], [1e-3]]]))
    weights, levels = np.array([[0.3, 0.4, 0.3]]), np.array([0.1, 0.29, 0.31, 0.5, 0.69, 0.71])
    found = law.mixture_quantile(weights, levels)
    assert_allclose(found, mixture_quantile(law, weights, levels), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("name", COUNTS)
def test_quantiles_of_counts_are_those_of_a_search(name):
    law = COUNTS[name]()
    expected = mixture_quantile(law, WEIGHTS, LEVELS)
    assert_array_equal(law.mixture_quantile(WEIGHTS, LEVELS), expected)


@pytest.mark.parametrize("name", COUNTS)
def test_quantiles_of_the_probability_of_a_count_are_the_count(name):
    """Where a last digit decides it is that of the law's own probabilities."""
    dist = MixtureDistribution(np.log(np.maximum(WEIGHTS, 1e-300)), COUNTS[name]())
    for count in range(9):
        proba = dist.cdf(count)
        for row in np.flatnonzero(proba - dist.cdf(count - 1) > 1e-9)[::7]:
            if proba[row] < 1.0 - 1e-9:
                assert dist[[row]].quantile(proba[row])[0] == count


@pytest.mark.parametrize("name", COUNTS)
def test_scores_of_counts_are_those_of_sums_of_probabilities(name):
    law, y = COUNTS[name](), np.random.RandomState(0).uniform(-3, 30, size=(N, 1))
    y[::2] = np.floor(y[::2])
    y[0], y[1] = 800.0, -7.25
    expected = mixture_crps(law, WEIGHTS, y)
    assert_allclose(law.mixture_crps(WEIGHTS, y), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mean", [500.0, 3000.0, 1e7])
def test_large_counts(mean):
    law = PoissonLaw(np.array([[[mean], [1.1 * mean]]]))
    weights, levels = np.array([[1.0, 0.0]]), np.array([0.01, 0.5, 0.99])
    found = law.mixture_quantile(weights, levels)[0, :, 0]
    assert_array_equal(found, scipy.stats.poisson(mean).ppf(levels))
    if mean < 1e6:
        score = law.mixture_crps(weights, np.array([[mean + 7.0]]))[0, 0]
        draws = scipy.stats.poisson(mean).ppf((np.arange(20_000) + 0.5) / 20_000)
        half = ((2 * np.arange(20_000) + 1 - 20_000) @ draws) / 20_000**2
        assert_allclose(score, np.abs(draws - mean - 7.0).mean() - half, rtol=1e-3)


def test_certain_successes_and_zero_means():
    laws = [BinomialLaw(np.ones((2, 1, 1)), 5), PoissonLaw(np.zeros((2, 1, 1)))]
    found = MixedLaw(laws).mixture_quantile(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.5]))
    assert_array_equal(found[:, 0, 0], [5.0, 0.0])


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.jit_only
@pytest.mark.parametrize("name", ["normal", "gamma", "poisson", "negative binomial"])
def test_kernels_take_half_the_time_of_the_plain_way(name):
    """What it is in seconds, `benchmarks/bench_distribution.py` tells."""
    local = np.random.RandomState(0)
    loc, scale = local.normal(size=(5000, 8, 1)), local.uniform(0.3, 1.5, size=(1, 8, 1))
    law = {
        "normal": lambda: NormalLaw(loc, scale),
        "gamma": lambda: GammaLaw(np.exp(loc), 1.0 / scale),
        "poisson": lambda: PoissonLaw(5.0 * np.exp(loc)),
        "negative binomial": lambda: NegativeBinomialLaw(5.0 * np.exp(loc), scale),
    }[name]()
    weights, levels = local.dirichlet(np.ones(8), size=5000), np.arange(1, 10) / 10
    law.mixture_quantile(weights, levels)  # compiles
    seconds = []
    for ask in (law.mixture_quantile, lambda *given: mixture_quantile(law, *given)):
        start = time.process_time()
        ask(weights, levels)
        seconds.append(time.process_time() - start)
    assert seconds[0] < 0.5 * seconds[1]
