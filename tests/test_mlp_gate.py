"""The MLP gate: the network, its gradients, early stopping, and whole fits."""

import pickle
from itertools import pairwise

import naive
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import (
    StrictMonitor,
    classification,
    linear_parts,
    make_data,
    regression,
    responsibilities,
    weights,
)
from sklearn.exceptions import NotFittedError

from skmoe import MoEClassifier, MoERegressor
from skmoe._em import fit_em
from skmoe._fit import Parts
from skmoe._joint import fit_joint, objective_gradient
from skmoe._monitor import Monitor
from skmoe._path import posterior
from skmoe._whole import WholeEvaluator
from skmoe.gates import MLPGate

SHAPES = [
    pytest.param((4,), "tanh", id="tanh"),
    pytest.param((4, 3), "tanh", id="two layers"),
    pytest.param((4, 3), "relu", id="relu"),
]
shapes = pytest.mark.parametrize(("sizes", "activation"), SHAPES)
TASKS = ["regression", "classification"]


def draw(sizes, activation="tanh", n=80, d=3, **params):
    X = np.random.RandomState(0).normal(size=(n, d))
    params = {"alpha": 0.01, "random_state": 0, "max_iter": 20, **params}
    gate = MLPGate(sizes, activation=activation, **params)
    resp = responsibilities(n, 3)
    return gate.fit(X, resp, weights(n)), X, resp


@shapes
def test_network_equals_its_formula(sizes, activation):
    gate, X, _ = draw(sizes, activation)
    units = (X - gate.mean_) / gate.scale_
    for coef, intercept in zip(gate.coefs_[:-1], gate.intercepts_[:-1]):
        scores = units @ coef + intercept
        units = np.tanh(scores) if activation == "tanh" else np.where(scores > 0, scores, 0.0)
    logits = units @ gate.coefs_[-1] + gate.intercepts_[-1]
    assert_allclose(gate.log_proba(X), naive.log_softmax(logits), atol=1e-12)
    sizes = [3, *sizes, 3]
    assert [coef.shape for coef in gate.coefs_] == list(pairwise(sizes))
    squares = sum(np.sum(coef**2) for coef in gate.coefs_)
    assert_allclose(gate.penalty(), 0.005 * squares)
    sizes[-1] -= 1  # the logits of one expert may be held at zero
    assert gate.n_parameters() == sum((a + 1) * b for a, b in pairwise(sizes))


@shapes
@pytest.mark.parametrize("sparse", [False, True])
def test_gradient_of_soft_targets_against_finite_differences(sizes, activation, sparse):
    gate, X, _ = draw(sizes, activation)
    X = X[:25]
    X = sp.csr_matrix(X - gate.mean_) if sparse else X
    # Rows need not sum to one: corrections of a penalty come this way, too.
    resp, weight = np.random.RandomState(1).normal(size=(25, 3)), weights(25, 1)

    def value(flat):
        return weight @ np.sum(resp * gate.with_flat(flat).log_proba(X), axis=1)

    assert_allclose(gate.resp_gradient(X, resp, weight), slopes(value, gate.flat()), atol=2e-6)
    found = slopes(lambda flat: gate.with_flat(flat).penalty(), gate.flat())
    assert_allclose(gate.penalty_gradient(), found, atol=1e-8)


def slopes(value, flat, size=1e-5):
    steps = size * np.eye(flat.size)
    return [(value(flat + step) - value(flat - step)) / (2 * size) for step in steps]


def parts_of(data, sizes, n_experts=3, **params):
    parts = linear_parts(data, n_experts)
    gate = MLPGate(sizes, random_state=0, **params)
    return Parts(gate, parts.experts, parts.likelihood)


@pytest.mark.parametrize("sizes", [(4,), (4, 3)])
@pytest.mark.parametrize("task", TASKS)
def test_gradient_of_the_objective_against_finite_differences(task, sizes):
    data = make_data(task, 0, True, False, n=40, d=2)
    begun = fit_em(
        data, parts_of(data, sizes, alpha=0.05), Monitor(0.0, 2), responsibilities(40, 3)
    )
    parts = Parts(begun.gate, begun.experts, begun.likelihood)
    flat = parts.flat() + 0.1 * np.random.RandomState(0).normal(size=parts.flat().size)
    moved = parts.with_flat(flat)
    gradient = objective_gradient(data, moved, WholeEvaluator(data)(moved))

    def value(flat):
        at = parts.with_flat(flat)
        loglik = posterior(data, at)[1]
        inside = data.weight @ loglik - at.experts.penalty() + at.likelihood.log_prior()
        return inside / data.total_weight - at.gate.penalty()

    assert_allclose(gradient, slopes(value, flat), atol=5e-7)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", TASKS)
def test_joint_training_climbs(task, seed):
    data = make_data(task, seed, True, seed == 2)
    monitor = StrictMonitor(0.0, 25, patience=1000)
    parts = parts_of(data, (6,))
    result = fit_joint(data, parts, monitor, responsibilities(100, 3, seed), warm_up=4)
    assert result.objective > result.history["objective"][0]


@pytest.mark.parametrize("seed", range(3))
def test_em_climbs_with_all_rows(seed):
    data = make_data("regression", seed, True, seed == 2)
    monitor = StrictMonitor(0.0, 25, patience=1000)
    fit_em(data, parts_of(data, (6,)), monitor, responsibilities(100, 3, seed))


def noisy_ring(n=300, seed=0):
    """Responsibilities of the inside of a circle, one in five of them wrong."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n, 2))
    inside = np.square(X).sum(axis=1) < 1.4
    inside ^= rng.uniform(size=n) < 0.2
    return X, np.column_stack([inside, ~inside]).astype(float)


def test_early_stopping_keeps_the_weights_with_the_best_held_out_loss():
    X, resp = noisy_ring()
    settings = {"alpha": 0.0, "max_iter": 300, "tol": 0.0, "random_state": 0}
    stopped = MLPGate((30, 30), early_stopping=True, validation_fraction=0.3, **settings)
    stopped.fit(X, resp)
    free = MLPGate((30, 30), **settings).fit(X, resp)
    assert stopped.n_iter_ < free.n_iter_
    new_X, new_resp = noisy_ring(2000, 1)
    loss = [-np.mean(np.sum(new_resp * gate.log_proba(new_X), axis=1)) for gate in (stopped, free)]
    assert loss[0] < 0.6 < loss[1]
    # No fit that ends earlier is better on the rows held out.
    held_out = stopped._held_out(len(X))
    assert held_out.sum() == 90

    def held_out_loss(gate):
        return -np.sum(resp[held_out] * gate.log_proba(X[held_out]))

    for n_iter in range(1, stopped.n_iter_):
        earlier = MLPGate((30, 30), early_stopping=True, validation_fraction=0.3, **settings)
        earlier.set_params(max_iter=n_iter).fit(X, resp)
        assert held_out_loss(stopped) <= held_out_loss(earlier) + 1e-12


def test_rows_held_out_are_not_trained_on():
    X, resp = noisy_ring()
    settings = {"early_stopping": True, "n_iter_no_change": 100, "max_iter": 5, "random_state": 0}
    gate = MLPGate((5,), **settings).fit(X, resp)
    again = resp.copy()
    again[gate._held_out(len(X))] *= 1.0 + 1e-9
    assert_array_equal(gate.log_proba(X), MLPGate((5,), **settings).fit(X, again).log_proba(X))


def test_partial_fit_goes_on_and_leaves_the_same_rows_out():
    X, resp = noisy_ring()
    gate = MLPGate((5,), early_stopping=True, random_state=0, max_iter=3).fit(X, resp)
    before, held_out = gate.flat(), gate._held_out(len(X))
    gate.partial_fit(X, resp)
    assert_array_equal(gate._held_out(len(X)), held_out)
    assert not np.array_equal(gate.flat(), before)
    full = MLPGate((5,), random_state=0, max_iter=3).fit(X, resp)
    loss = full.penalty() - np.mean(np.sum(resp * full.log_proba(X), axis=1))
    full.partial_fit(X, resp)
    assert full.penalty() - np.mean(np.sum(resp * full.log_proba(X), axis=1)) < loss


def test_weights_are_repetitions():
    X, resp = noisy_ring(100)
    repeats = np.random.RandomState(0).randint(1, 4, size=100)
    settings = {"max_iter": 10, "random_state": 0}
    weighted = MLPGate((5,), **settings).fit(X, resp, repeats.astype(float))
    rows = np.repeat(np.arange(100), repeats)
    repeated = MLPGate((5,), **settings).fit(X[rows], resp[rows])
    assert_allclose(weighted.log_proba(X), repeated.log_proba(X), atol=1e-6)


def test_resumed_is_the_same_function():
    gate, X, _ = draw((4, 3))
    view = gate.view(3.0 * X + 1.0, np.ones(len(X)))
    other = gate.resumed(view)
    assert_allclose(other.log_proba(3.0 * X + 1.0), gate.log_proba(3.0 * X + 1.0), atol=1e-9)


@pytest.mark.parametrize("solver", ["em", "gradient"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fits_repeat_and_pickle(task, solver):
    X, y = (regression if task == "regression" else classification)(0, n=200)
    kind = MoERegressor if task == "regression" else MoEClassifier
    model = kind(n_experts=3, gate=MLPGate((6,)), solver=solver, random_state=0, max_iter=20)
    one, other = model.fit(X, y.ravel()).gate_proba(X), model.fit(X, y.ravel()).gate_proba(X)
    assert_array_equal(one, other)
    assert model.gate.random_state is None
    assert_array_equal(pickle.loads(pickle.dumps(model)).gate_proba(X), one)


def test_early_stopping_is_for_em():
    X, y = regression(0, n=200)
    gate = MLPGate((6,), early_stopping=True)
    model = MoERegressor(n_experts=3, gate=gate, random_state=0).fit(X, y.ravel())
    assert type(model.solver_).__name__ == "EM"
    with pytest.raises(ValueError, match=r"gradient.*holds some out; use solver='em'"):
        MoERegressor(n_experts=3, gate=gate, solver="gradient").fit(X, y.ravel())
    gate = MLPGate(early_stopping=True, validation_fraction=0.99)
    with pytest.raises(ValueError, match=r"validation_fraction=0.99 of 3 rows leaves none"):
        gate.fit(X[:3], responsibilities(3, 2))


@pytest.mark.parametrize("sizes", [(), (3, 3, 3), (0,), (2.5,), ("a",)])
def test_sizes_that_make_no_network(sizes):
    with pytest.raises(ValueError, match="must hold one or two positive integers"):
        MoERegressor(gate=MLPGate(sizes)).fit(*regression(0))


def test_an_unfitted_gate_says_so():
    with pytest.raises(NotFittedError):
        MLPGate().log_proba(np.zeros((2, 1)))
    with pytest.raises(NotFittedError):
        MLPGate().coefs_  # noqa: B018 (to ask for it is what raises)
