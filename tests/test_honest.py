"""Out-of-fold responsibilities: flexible experts must not mark their own homework."""

import warnings

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ShuffleSplit

from skmoe import MoERegressor

pytestmark = pytest.mark.slow


def numbers(table, n_rows=1500):
    """Features (n, d) and target (n,), the last column, of at most ``n_rows`` rows."""
    table = table.sample(min(n_rows, len(table)), random_state=0).to_numpy(dtype=float)
    return table[:, :-1], table[:, -1]


def held_out(X, y, expert, cross_fit):
    """Mean log-likelihood per row on held-out rows, y standardised; folds used."""
    y = (y - y.mean()) / y.std()
    values, used = [], []
    for train, test in ShuffleSplit(2, test_size=1 / 3, random_state=0).split(X):
        model = MoERegressor(expert, n_experts=3, cross_fit=cross_fit, max_iter=12, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X[train], y[train])
        values.append(model.log_likelihood(X[test], y[test]))
        used.append(model.cross_fit_)
    return np.concatenate(values).mean(), used


def gain(X, y, expert, label):
    """How much log-likelihood per row honesty gains."""
    honest, folds = held_out(X, y, expert, "auto")
    plain, none = held_out(X, y, expert, None)
    print(f"{label}: auto {honest:.3f}, None {plain:.3f}, gain {honest - plain:.3f}")
    assert set(folds) == {3}
    assert set(none) == {None}
    return honest - plain


def test_boosted_trees_gain_on_concrete(shared_data):
    X, y = numbers(shared_data("concrete"))
    expert = HistGradientBoostingRegressor(max_iter=60)
    assert gain(X, y, expert, "concrete, boosting") >= 0.5


@pytest.mark.parametrize("name", ["concrete", "nox", "kc_housing"])
def test_forests_gain(shared_data, name):
    X, y = numbers(shared_data(name))
    assert gain(X, y, RandomForestRegressor(30, n_jobs=1), f"{name}, forest") > 1.0


def test_linear_experts_need_no_folds(shared_data):
    X, y = numbers(shared_data("concrete"))
    model = MoERegressor(n_experts=3, cross_fit="auto").fit(X, y)
    assert model.cross_fit_ is None
