"""Intervals that MAPIE has calibrated, as in the example."""

import importlib.util
from pathlib import Path

import numpy as np

from skmoe import MoERegressor

CHECKOUT = Path(__file__).resolve().parents[1]


def regimes(seed, n=400):
    """Two regimes with heavier tails than a mixture of Gaussian experts has."""
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, size=(n, 2))
    noise = np.where(X[:, 0] > 0, 0.1, 0.6) * rng.standard_t(3, size=n)
    return X, np.where(X[:, 0] > 0, X[:, 1], 2.0 - X[:, 1]) + noise


def test_calibrated_intervals_cover_and_keep_their_shape(require):
    require("mapie")
    spec = importlib.util.spec_from_file_location("conformal", CHECKOUT / "examples/conformal.py")
    conformal = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conformal)
    model = MoERegressor(n_experts=2, likelihood="laplace", random_state=0).fit(*regimes(0))
    X, y = regimes(2, n=2000)
    found = conformal.intervals(model, *regimes(1, n=500), X)
    assert set(found) == {"own quantiles", "calibrated quantiles", "mean and constant"}
    for name, (lower, upper) in ((name, ends.T) for name, ends in found.items()):
        covered = ((lower <= y) & (y <= upper)).mean()
        assert name == "own quantiles" or 0.86 < covered < 0.94
        quiet = (upper - lower)[X[:, 0] > 0.3].mean() / (upper - lower)[X[:, 0] < -0.3].mean()
        assert (quiet < 0.5) == (name != "mean and constant")
