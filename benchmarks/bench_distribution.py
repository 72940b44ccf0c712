"""CPU time of quantiles and scores of predictive mixtures, law by law.

Quantiles: 100,000 rows, 9 levels, K = 8 laws. Scores: 1000 rows. Parameters of the laws differ
from row to row and from expert to expert, dispersions from expert to expert only, as those of a
fitted mixture do. The first call compiles and is not counted.

    python benchmarks/bench_distribution.py [law ...]
"""

import common  # isort: skip  (first: it sets the number of threads)

import sys
import time

import numpy as np

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

N, K = 100_000, 8
LEVELS = np.arange(1, 10) / 10
N_SCORED = 1000
# Rows that slow scores are timed on.
FEWER = {"tweedie": 100}


def make_law(name, n_rows):
    """Laws (n, K, 1) of random parameters."""
    rng = np.random.RandomState(0)
    loc = rng.normal(size=(n_rows, K, 1))
    scale, positive = rng.uniform(0.3, 1.5, size=(1, K, 1)), np.exp(loc)
    several = {
        "normal": lambda: NormalLaw(loc, scale),
        "lognormal": lambda: LogNormalLaw(loc, scale),
        "student_t": lambda: StudentTLaw(loc, scale, 4.0),
        "laplace": lambda: LaplaceLaw(loc, scale),
        "asymmetric_laplace": lambda: AsymmetricLaplaceLaw(loc, scale, 0.8),
        "truncated_normal": lambda: TruncatedNormalLaw(loc, scale, 0.0, np.inf),
        "truncated_lognormal": lambda: TruncatedLogNormalLaw(loc, scale, 1.0, np.inf),
        "gamma": lambda: GammaLaw(positive, 1.0 / scale),
        "inverse_gaussian": lambda: InverseGaussianLaw(positive, 1.0 / scale),
        "tweedie": lambda: TweedieLaw(positive, scale, 1.5),
        "poisson": lambda: PoissonLaw(5.0 * positive),
        "negative_binomial": lambda: NegativeBinomialLaw(5.0 * positive, scale),
        "zero_inflated_poisson": lambda: ZeroInflatedLaw(PoissonLaw(5.0 * positive), 0.3),
        "binomial": lambda: BinomialLaw(1.0 / (1.0 + 1.0 / positive), 20),
        "list_of_two_kinds": lambda: MixedLaw(
            (NormalLaw if k % 2 else StudentTLaw)(
                loc[:, [k]], np.broadcast_to(scale[:, [k]], (n_rows, 1, 1)), *[4.0] * (1 - k % 2)
            )
            for k in range(K)
        ),
    }
    return several[name]() if name else list(several)


def make_mixture(name, n_rows):
    weights = np.random.RandomState(1).dirichlet(np.ones(K), size=n_rows)
    return MixtureDistribution(np.log(weights), make_law(name, n_rows))


def seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def measured(name):
    n_scored = FEWER.get(name, N_SCORED)
    make_mixture(name, 3000).quantile(LEVELS)  # compiles
    make_mixture(name, 3).crps(np.ones(3))
    dist = make_mixture(name, N)
    quantiles = seconds(lambda: dist.quantile(LEVELS))
    some = make_mixture(name, n_scored)
    scores = seconds(lambda: some.crps(np.ones(n_scored))) * (N_SCORED / n_scored)
    return {"law": name, "quantiles_s": round(quantiles, 2), "crps_1000_s": round(scores, 3)}


def main():
    table = []
    for name in sys.argv[1:] or make_law(None, 1):
        table.append(measured(name))
        print(*table[-1].values(), flush=True)
    if len(sys.argv) == 1:
        common.save("distribution", table)


if __name__ == "__main__":
    main()
