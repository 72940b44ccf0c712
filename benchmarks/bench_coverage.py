"""How often 95 % intervals of coefficients cover the truth, in many small fits.

Two linear experts, a softmax gate, 400 rows, two features: each sample is drawn anew, fitted
without penalties, and counted coefficient by coefficient. Experts are matched to the truth by
their slopes. Run as

    python benchmarks/bench_coverage.py --fits 500
"""

import argparse
import warnings

import numpy as np
import pandas as pd

from skmoe import MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inference import standard_errors
from skmoe.likelihoods import Gaussian

SLOPES = np.array([[2.0, -1.0], [-1.0, 0.5]])
INTERCEPTS, SCALES = np.array([1.0, -1.0]), np.array([0.5, 0.8])
GATE, GATE_INTERCEPT = np.array([1.5, -0.5]), 0.3  # log odds of the second expert


def sample(rng, n_rows):
    """Features (n, 2) and target (n,)."""
    X = rng.normal(size=(n_rows, 2))
    second = rng.uniform(size=n_rows) < 1.0 / (1.0 + np.exp(-(X @ GATE + GATE_INTERCEPT)))
    expert = second.astype(int)
    mean = INTERCEPTS[expert] + np.sum(X * SLOPES[expert], axis=1)
    return X, mean + SCALES[expert] * rng.normal(size=n_rows)


def truth():
    """True coefficients in the order of `standard_errors` with the first as reference."""
    slopes = np.vstack([SLOPES.T, INTERCEPTS]).ravel()
    return np.concatenate([GATE, [GATE_INTERCEPT], slopes, np.log(SCALES)])


def one_fit(seed, n_rows, covariance):
    """Whether each interval covers the truth (p,), and the names of the coefficients."""
    X, y = sample(np.random.default_rng(seed), n_rows)
    model = MoERegressor(
        LinearExpert(alpha=0.0),
        2,
        gate=SoftmaxGate(alpha=0.0),
        likelihood=Gaussian(floor=0.0),
        tol=1e-9,
        max_iter=2000,
        random_state=0,
    ).fit(X, y)
    first = int(np.argmax([expert.coef_[0] for expert in model.experts_]))
    found = standard_errors(model, X, y, reference=first, covariance=covariance)
    table = found.table(0.95)
    number = {model.expert_names_[first]: "first"}
    table["expert"] = table["expert"].map(lambda name: number.get(name, "second"))
    table["rank"] = table["term"].map({"x0": 0, "x1": 1, "(intercept)": 2}).fillna(3)
    order = ["part", "rank", "expert"]
    table["part"] = pd.Categorical(table["part"], ["gate", "expert", "noise"])
    table = table.sort_values(order).reset_index(drop=True)
    covered = (table["lower"] <= truth()) & (truth() <= table["upper"])
    return covered.to_numpy(), table[["part", "expert", "term"]]


def main():
    """Print the share of intervals that cover, by coefficient and over all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fits", type=int, default=500)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--covariance", default="observed")
    options = parser.parse_args()
    hits, failed = [], 0
    for seed in range(options.fits):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            covered, names = one_fit(seed, options.rows, options.covariance)
        failed += bool(caught)
        hits.append(covered)
    share = np.mean(hits, axis=0)
    print(names.assign(coverage=share.round(3)).to_string(index=False))
    error = np.sqrt(0.95 * 0.05 / len(hits))
    print(f"{len(hits)} fits of {options.rows} rows, {failed} with a warning")
    print(f"mean coverage {share.mean():.4f}; one coefficient has a sampling error of {error:.4f}")


if __name__ == "__main__":
    main()
