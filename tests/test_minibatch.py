"""Minibatch training: steps against plain loops, its optimum against the other solvers'."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._adam import FlatSteps, LazySteps
from skmoe._design import Design
from skmoe._fit import FitData, Parts
from skmoe._minibatch import shuffled
from skmoe._ops import get_ops
from skmoe._sweep import Sweeper
from skmoe.datasets import make_moe_classification, make_moe_regression
from skmoe.experts import LinearExpert
from skmoe.gates import HierarchicalGate, SoftmaxGate
from skmoe.likelihoods import Categorical, Gaussian
from skmoe.solvers import Minibatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

K = 3


def naive_adam(flat, gradients, rate, decay):
    """Adam as it is in the paper, one number at a time, uphill."""
    flat, mean, square = flat.copy(), np.zeros_like(flat), np.zeros_like(flat)
    for t, gradient in enumerate(gradients, start=1):
        for i in range(len(flat)):
            mean[i] = 0.9 * mean[i] + 0.1 * gradient[i]
            square[i] = 0.999 * square[i] + 0.001 * gradient[i] ** 2
            step = mean[i] / (1 - 0.9**t) / (np.sqrt(square[i] / (1 - 0.999**t)) + 1e-8)
            flat[i] += rate * (step - decay * flat[i])
    return flat


def test_adam_against_a_plain_loop():
    rng = np.random.RandomState(0)
    start, gradients = rng.normal(size=5), rng.normal(size=(4, 5))
    flat, mean, square = start.copy(), np.zeros(5), np.zeros(5)
    for t, gradient in enumerate(gradients, start=1):
        bias = (1 - 0.9**t, 1 - 0.999**t)
        get_ops().adam(gradient, mean, square, (0.9, 0.999), bias, 0.1, np.full(5, 0.3), flat)
    assert_allclose(flat, naive_adam(start, gradients, 0.1, 0.3), rtol=1e-12)


def make_data(X, classify=False, weight=None):
    rng = np.random.RandomState(0)
    weight = rng.uniform(0.5, 2.0, size=X.shape[0]) if weight is None else weight
    view = Design.standardised(X, weight)
    if classify:
        return FitData(view, view, rng.randint(3, size=len(weight)), weight, n_classes=3)
    y = rng.normal(size=(len(weight), 1))
    spread = np.array([1.7])
    return FitData(view, view, y, weight, y_scale=spread, base_variance=np.square(spread))


def make_parts(data, seed=1):
    rng = np.random.RandomState(seed)
    gate = SoftmaxGate(alpha=0.01).uniform(data.gate_X, K)
    gate = gate.with_flat(rng.normal(size=gate.flat().size))
    experts = LinearExpert(alpha=2.0).collection(K, data.n_classes).start(data)
    experts = experts.with_flat(rng.normal(size=experts.flat().size))
    likelihood = Gaussian() if data.n_classes is None else Categorical()
    return Parts(gate, experts, likelihood.start(data, K))


def settled(steps, batches, options, resp=None):
    for rows in batches:
        steps.step(
            rows, 0.05, options, np.zeros(K, dtype=bool), None if resp is None else resp[rows]
        )
    return steps.settle()


@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_steps_of_touched_columns_are_plain_steps_where_all_are_touched(classify, given):
    rng = np.random.RandomState(0)
    X = rng.choice([-1.0, 1.0], size=(40, 4))  # scaled values of size one: steps as long
    X[:20] = -X[20:]
    data = make_data(sp.csr_matrix(X), classify, weight=np.ones(40))
    resp = rng.dirichlet(np.ones(K), size=40)
    batches = [np.arange(0, 20), np.arange(20, 40), np.arange(5, 35)]
    for options in (Minibatch(), Minibatch(decay=0.5), Minibatch(clip=1e9)):
        both = [
            settled(kind(data, make_parts(data)), batches, options, resp if given else None)
            for kind in (FlatSteps, LazySteps)
        ]
        assert_allclose(both[1].flat(), both[0].flat(), rtol=1e-8, atol=1e-10)


def test_long_gradients_are_clipped():
    """Adam hardly sees the length of its gradients; the direction stays."""
    data = make_data(np.random.RandomState(0).normal(size=(30, 3)))
    means = []
    for clip in (None, 1e-3, 1e9):
        steps = FlatSteps(data, make_parts(data))
        steps.step(np.arange(30), 0.05, Minibatch(clip=clip), np.zeros(K, dtype=bool))
        means.append(steps._state.mean)
    assert_allclose(means[2], means[0], rtol=1e-12)
    assert np.linalg.norm(means[1]) == pytest.approx(0.1 * 1e-3)
    assert_allclose(means[1] / np.linalg.norm(means[1]), means[0] / np.linalg.norm(means[0]))


def test_columns_that_are_not_touched_stay_and_catch_up():
    """Column 1 is in the second batch only: its ridge counts twice there."""
    X = np.zeros((8, 2))
    X[:, 0], X[4:, 1] = 1.0 + np.arange(8), 1.0
    data = make_data(sp.csr_matrix(X))
    parts = make_parts(data)
    steps, options = LazySteps(data, parts), Minibatch()
    none = np.zeros(K, dtype=bool)
    before = parts.gate.block_coef().copy()
    steps.step(np.arange(4), 0.05, options, none)
    middle = steps.settle()
    assert_allclose(middle.gate.block_coef()[1], before[1], rtol=0)
    assert (middle.gate.block_coef()[0] != before[0]).all()
    seen = FlatSteps(data, middle)
    rows = np.arange(4, 8)
    sums, weight = seen.step(rows, 0.05, options, none)
    gradient = sums.gate[1] / weight - 2 * parts.gate.ridge * before[1]
    after = LazySteps.settle(steps)
    steps.step(rows, 0.05, options, none)
    moved = steps.settle().gate.block_coef()[1] - after.gate.block_coef()[1]
    # First touch of the column in step two: both moments are fresh.
    size = steps._gate.sizes[1]
    mean, square = 0.1 * gradient / (1 - 0.9**2), 0.001 * gradient**2 / (1 - 0.999**2)
    assert_allclose(moved, 0.05 * size * mean / (np.sqrt(square) + 1e-8), rtol=1e-9)


def test_an_expert_that_is_dropped_has_no_part_in_a_step():
    X = np.random.RandomState(0).normal(size=(30, 3))
    data = make_data(X)
    parts = make_parts(data)
    steps = FlatSteps(data, parts)
    sums, _ = steps.step(np.arange(30), 0.05, Minibatch(), np.array([False, True, False]))
    assert sums.weight[1] < 1e-20 and (sums.weight[[0, 2]] > 1).all()
    assert_allclose(sums.experts[:, 1], 0.0, atol=1e-20)


# -- whole fits -----------------------------------------------------------------------


@pytest.mark.jit_only
@pytest.mark.parametrize("classify", [False, True])
def test_it_comes_within_a_thousandth_of_an_optimum(classify):
    make, kind = (
        (make_moe_classification, MoEClassifier)
        if classify
        else (make_moe_regression, MoERegressor)
    )
    X, y = make(n_samples=20_000, n_experts=3, random_state=0)
    model = kind(n_experts=3, solver=Minibatch(n_epochs=10), random_state=0).fit(X, y)
    near = model.responsibilities(X, y)
    full = kind(n_experts=3, init=near, n_init=1, tol=1e-7).fit(X, y)
    assert full.objective_ >= model.objective_ > full.objective_ - 1e-3
    assert model.n_iter_ == len(model.history_["objective"]) == 10


@pytest.mark.jit_only
def test_wide_sparse_data():
    rng = np.random.RandomState(0)
    n_rows, n_columns = 4000, 5000
    columns = np.column_stack(
        [rng.randint(50, size=(n_rows, 3)), rng.randint(n_columns, size=n_rows)]
    )
    X = sp.csr_matrix(
        (np.ones(columns.size), columns.ravel(), np.arange(0, columns.size + 1, 4)),
        shape=(n_rows, n_columns),
    )
    effects = np.zeros((n_columns, 2))
    effects[:50] = rng.normal(size=(50, 2))
    regime = np.asarray(X[:, :10].sum(axis=1)).ravel() > 0
    y = np.where(regime, *(X @ effects).T) + 0.1 * rng.normal(size=n_rows)
    model = MoERegressor(n_experts=2, solver="minibatch", random_state=0).fit(X[:3000], y[:3000])
    assert model.score(X[3000:], y[3000:]) > 0.6
    objective = model.history_["objective"]
    assert objective[-1] > objective[0] + 0.5


def overfit(n_rows=120):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_rows, 60))
    return X, X[:, 0] + 0.5 * rng.normal(size=n_rows)


@pytest.mark.parametrize("sparse", [False, True])
def test_early_stopping_returns_to_the_best_epoch(sparse):
    X, y = overfit()
    X = sp.csr_matrix(X) if sparse else X
    solver = Minibatch(
        early_stopping=True,
        validation_fraction=0.3,
        n_iter_no_change=3,
        schedule="constant",
        batch_size=8,
        rate=0.05,
        n_epochs=100,
    )
    model = MoERegressor(
        LinearExpert(alpha=0.0), n_experts=2, init="random", n_init=1, solver=solver, random_state=0
    ).fit(X, y)
    curve = model.history_["validation"]
    best = int(np.argmax(curve))
    assert model.converged_ and len(curve) == model.n_iter_ == best + 1 + 3 < 100
    # The same fit, ended at the best epoch, has the same parameters.
    short = MoERegressor(
        LinearExpert(alpha=0.0),
        n_experts=2,
        init="random",
        n_init=1,
        solver=solver,
        max_iter=best + 1,
        random_state=0,
    ).fit(X, y)
    assert_allclose(model.predict(X), short.predict(X), rtol=1e-12)


def test_all_rows_are_shuffled_singly_or_in_runs():
    for n_rows in (1000, 100_003):
        rows = 2 * np.arange(n_rows)
        orders = [shuffled(rows, np.random.RandomState(seed)) for seed in (0, 0, 1)]
        assert_allclose(np.sort(orders[0]), rows, rtol=0)
        assert (orders[0] == orders[1]).all() and (orders[0] != orders[2]).mean() > 0.99
        assert (orders[0] != rows).mean() > 0.99


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_are_gathered_as_they_are_read(dtype):
    X = np.random.RandomState(0).normal(size=(60, 4)).astype(dtype)
    X[3, 1] = np.nan
    data = make_data(X)
    parts, rows = make_parts(data), np.array([3, 40, 7, 7, 59])
    found = Sweeper(data.on(rows, gather=True), max_groups=1)(parts, grams=True)
    plain = Sweeper(data.on(rows))(parts, grams=True)
    for name in ("gate", "experts", "by_expert", "gram"):
        assert_allclose(getattr(found, name), getattr(plain, name), rtol=1e-12, atol=1e-12)


def test_options_change_the_fit_and_seeds_repeat_it():
    X, y = make_moe_regression(n_samples=300, n_experts=2, random_state=0)

    def fit(**options):
        solver = Minibatch(n_epochs=2, batch_size=32, **options)
        return MoERegressor(n_experts=2, solver=solver, random_state=0).fit(X, y).predict(X)

    plain = fit()
    assert_allclose(fit(), plain, rtol=0)
    for options in (
        {"random_state": 1},
        {"decay": 0.5},
        {"clip": 1e-6},
        {"expert_dropout": 0.5},
        {"schedule": "constant"},
        {"rate": 0.1},
    ):
        assert np.abs(fit(**options) - plain).max() > 1e-9, options


def test_it_warns_where_it_was_still_rising():
    X, y = make_moe_regression(n_samples=300, n_experts=2, random_state=0)
    solver = Minibatch(n_epochs=2, schedule="constant", rate=1e-3)
    model = MoERegressor(n_experts=2, solver=solver, random_state=0)
    with pytest.warns(ConvergenceWarning):
        assert not model.fit(X, y).converged_


def test_start_of_ones_own_warm_start_and_pickle():
    X, y = make_moe_regression(n_samples=400, n_experts=2, random_state=0)
    init = (X[:, 0] > 0).astype(int)
    solver = Minibatch(n_epochs=3)
    model = MoERegressor(n_experts=2, solver=solver, init=init, n_init=1, warm_start=True).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert_allclose(again.predict(X), model.predict(X), rtol=0)
    first = model.objective_
    assert model.fit(X, y).objective_ > first - 0.05


def test_other_experts_are_refused():
    model = MoERegressor(DecisionTreeRegressor(), n_experts=2, solver="minibatch")
    with pytest.raises(ValueError, match="trains linear, neural and factorised experts only"):
        model.fit(np.ones((10, 1)), np.arange(10.0))


def test_dropout_needs_a_gate_that_can_leave_out_experts():
    solver = Minibatch(expert_dropout=0.5)
    model = MoERegressor(n_experts=4, gate=HierarchicalGate((2, 2)), solver=solver)
    with pytest.raises(ValueError, match=r"expert_dropout=0\.5 needs a SoftmaxGate"):
        model.fit(np.ones((10, 1)), np.arange(10.0))


def test_a_tree_of_gates_is_trained_too():
    X, y = make_moe_regression(n_samples=600, n_experts=4, random_state=0)
    gate = HierarchicalGate((2, 2))
    model = MoERegressor(n_experts=4, gate=gate, solver="minibatch", random_state=0).fit(X, y)
    near = model.responsibilities(X, y)
    full = MoERegressor(n_experts=4, gate=gate, init=near, n_init=1).fit(X, y)
    assert model.objective_ > full.objective_ - 0.01


def test_the_number_of_experts_must_be_given():
    with pytest.raises(ValueError, match=r"n_experts='auto'.*solver='minibatch'"):
        MoERegressor(n_experts="auto", solver="minibatch").fit(np.ones((10, 1)), np.arange(10.0))


def test_routing_in_training_is_for_other_solvers():
    model = MoERegressor(n_experts=4, solver="minibatch", routing="token", top_k=1)
    with pytest.raises(ValueError, match="trains every expert on every row"):
        model.fit(np.ones((10, 1)), np.arange(10.0))
