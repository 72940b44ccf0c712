"""Promises of the engine: precision, memory, threads."""

import threading
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import make_moe_classification, make_moe_regression
from skmoe.solvers import EM, Gradient

# Many rows: kernels as plain Python would take minutes.
pytestmark = pytest.mark.jit_only


def regimes(n_rows=3000, n_columns=6):
    return make_moe_regression(n_rows, n_columns, n_experts=3, random_state=0)


@pytest.mark.parametrize("solver, agreement", [("gradient", 5e-4), ("em", 1e-3)])
def test_float32_agrees_with_float64(solver, agreement):
    # Worst row of 3000, in standard deviations of the target: 2e-4 by gradient. EM creeps up
    # to the optimum, and rounding of the objective stops it a little earlier.
    X, y = regimes()
    X = X.astype(np.float32)
    settings = {"n_experts": 3, "solver": solver, "tol": 1e-9, "max_iter": 2000}
    single = MoERegressor(**settings).fit(X, y)
    double = MoERegressor(**settings).fit(X.astype(np.float64), y)
    assert_allclose(single.predict(X), double.predict(X), atol=agreement * y.std())


def test_float32_classification_agrees_with_float64():
    X, y = make_moe_classification(3000, 6, n_experts=2, n_classes=3, random_state=0)
    X = X.astype(np.float32)
    settings = {"n_experts": 2, "tol": 1e-9, "max_iter": 2000}
    single = MoEClassifier(**settings).fit(X, y)
    double = MoEClassifier(**settings).fit(X.astype(np.float64), y)
    assert_allclose(single.predict_proba(X), double.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_threads_do_not_change_a_bit(kind):
    X, y = regimes(20_000)
    X = sp.csr_matrix(np.where(np.abs(X) < 1.0, 0.0, X)) if kind == "csr" else X
    one = MoERegressor(n_experts=3, n_jobs=1, random_state=0).fit(X, y)
    two = MoERegressor(n_experts=3, n_jobs=2, random_state=0).fit(X, y)
    assert one.objective_ == two.objective_
    assert_array_equal(one.gate_.coef_, two.gate_.coef_)
    assert_array_equal(one.predict(X), two.predict(X))


def test_concurrent_fits_equal_serial_ones():
    problems = [make_moe_regression(4000, 5, n_experts=3, random_state=seed) for seed in range(4)]
    alone = [MoERegressor(n_experts=3).fit(X, y).predict(X) for X, y in problems]
    together = [None] * len(problems)

    def fit(i):
        X, y = problems[i]
        together[i] = MoERegressor(n_experts=3, n_jobs=2).fit(X, y).predict(X)

    threads = [threading.Thread(target=fit, args=(i,)) for i in range(len(problems))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, found in zip(alone, together):
        assert_array_equal(expected, found)


def peak_of(function):
    """Bytes that a call allocates at most at a time."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", [EM(), Gradient()])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fit_never_copies_the_data(solver, dtype):
    X, y = regimes(60_000, 40)
    X = X.astype(dtype)
    n_experts = 3
    model = MoERegressor(n_experts=n_experts, solver=solver, max_iter=3, tol=1.0)
    model.fit(X[:1000], y[:1000])  # compiled code is not counted
    by_row = 8 * len(X) * n_experts
    samples = 2**24  # rows on which starts are looked for; their number is bounded
    assert peak_of(lambda: model.fit(X, y)) < 0.3 * X.nbytes + 6 * by_row + samples


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("top_k", [None, 1])
def test_predict_needs_blocks_and_the_result(top_k):
    X, y = regimes(100_000, 40)
    model = MoERegressor(n_experts=3, top_k=top_k, max_iter=3, tol=1.0).fit(X[:1000], y[:1000])
    model.predict(X[:1000])
    assert peak_of(lambda: model.predict(X)) < 2 * y.nbytes + 2**22
