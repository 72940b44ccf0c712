"""Joint training: sums of a sweep, the gradient of the objective, and where it leads."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import (
    StrictMonitor,
    classification,
    classification_data,
    linear_parts,
    make_data,
    naive_objective,
    regression,
    regression_data,
    responsibilities,
    sparsened,
    weights,
)

from skmoe._em import fit_em
from skmoe._fit import Parts
from skmoe._joint import fit_joint, objective_gradient
from skmoe._monitor import Monitor
from skmoe._sweep import Sweeper
from skmoe.likelihoods import Gaussian

CASES = [
    ("regression", False, {}),
    ("regression", True, {}),
    ("regression", False, {"n_outputs": 2}),
    ("classification", False, {}),
    ("classification", True, {}),
]
IDS = ["regression", "regression-csr", "outputs", "classification", "classification-csr"]
cases = pytest.mark.parametrize(("task", "sparse", "sizes"), CASES, ids=IDS)


def begun(data, n_experts=3, **params):
    """Parts after three EM iterations from random responsibilities."""
    resp = responsibilities(len(data.weight), n_experts)
    result = fit_em(data, linear_parts(data, n_experts, **params), Monitor(0.0, 3), resp)
    return replaced(result)


def replaced(result):
    return Parts(result.gate, result.experts, result.likelihood)


def dense_columns(design):
    X = design.X.toarray() if design.is_sparse else design.X
    return naive.columns(X, design.center, design.scale)


@cases
@pytest.mark.parametrize("given", [False, True])
def test_sums_of_a_sweep_equal_their_definition(task, sparse, sizes, given):
    data = make_data(task, 0, True, sparse, **sizes)
    parts, Z = begun(data), dense_columns(data.X)
    logits = Z @ parts.gate.block_coef()
    pred = np.einsum("nd,dkp->nkp", Z, parts.experts.coef)
    if task == "regression":
        log_lik = naive.gaussian_log_lik(data.y, pred, parts.likelihood.dispersion)
    else:
        log_lik = naive.categorical_log_lik(data.y, pred)
    log_gate = naive.log_softmax(logits)
    resp, loglik, _ = naive.e_step(log_gate, log_lik)
    resp = responsibilities(100, 3, 5) if given else resp
    row_weight = data.weight[:, None] * resp

    sums = Sweeper(data)(parts, resp=resp if given else None, grams=True)
    assert_allclose(sums.loglik, data.weight @ loglik, rtol=1e-11)
    gradient = Z.T @ (row_weight - data.weight[:, None] * np.exp(log_gate))
    assert_allclose(sums.gate, gradient, atol=1e-9)
    assert_allclose(sums.weight, row_weight.sum(axis=0), rtol=1e-11)
    assert_allclose(sums.gram, naive.weighted_grams(Z, row_weight), atol=1e-8)
    assert_allclose(sums.load.sum(), data.weight.sum())
    if task == "regression":
        residual = row_weight[:, :, None] * (data.y[:, None, :] - pred)
        squares = np.einsum("nk,nkm->km", row_weight, (data.y[:, None, :] - pred) ** 2)
        assert_allclose(sums.squares, squares, rtol=1e-10)
    else:
        residual = naive.categorical_residual(data.y, pred, row_weight)
    assert_allclose(sums.experts, np.einsum("nd,nkp->dkp", Z, residual), atol=1e-9)


@pytest.mark.parametrize("n_threads", [2, 5])
@cases
def test_sums_do_not_depend_on_the_number_of_threads(task, sparse, sizes, n_threads):
    make = regression if task == "regression" else classification
    X, y = make(0, n=3000, **sizes)
    X = sparsened(X) if sparse else X
    data = (regression_data if task == "regression" else classification_data)(X, y)
    parts = linear_parts(data, 3)
    parts.gate.partial_fit(data.gate_X, responsibilities(3000, 3), data.weight)
    one = Sweeper(data)(parts, grams=True)
    many = Sweeper(replace(data, n_threads=n_threads))(parts, grams=True)
    for name in ("loglik", "gate", "experts", "by_expert", "gram"):
        assert_array_equal(getattr(one, name), getattr(many, name))


def gradient_at(data, parts):
    """Gradient of the objective by the flat parameters."""
    return objective_gradient(data, parts, Sweeper(data)(parts))


@cases
def test_gradient_is_that_of_the_naive_objective(task, sparse, sizes):
    data = make_data(task, 0, True, sparse, n=40, d=2, **sizes)
    likelihood = Gaussian(floor=0.5)
    parts = begun(data, 2, alpha=2.0, gate_alpha=0.05, likelihood=likelihood)
    flat = parts.flat() + 0.1 * np.random.RandomState(0).normal(size=parts.flat().size)
    gradient = gradient_at(data, parts.with_flat(flat))

    def naive_value(values):
        moved = parts.with_flat(values)
        return naive_objective(data, moved, gate_alpha=0.05, alpha=2.0, floor=0.5)

    for i in range(flat.size):
        step = np.zeros(flat.size)
        step[i] = 1e-5
        slope = (naive_value(flat + step) - naive_value(flat - step)) / 2e-5
        assert_allclose(gradient[i], slope, atol=2e-7)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@cases
def test_joint_training_climbs(task, sparse, sizes, weighted, seed):
    data = make_data(task, seed, weighted, sparse, **sizes)
    monitor = StrictMonitor(0.0, 25, patience=1000)
    resp = responsibilities(100, 3, seed)
    result = fit_joint(data, linear_parts(data, 3), monitor, resp, warm_up=6)
    assert result.objective > result.history["objective"][0]
    assert_allclose(result.objective, naive_objective(data, result), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@cases
def test_em_and_joint_training_agree_near_an_optimum(task, sparse, sizes, seed):
    data = make_data(task, seed, True, sparse, **sizes)
    resp = responsibilities(100, 2, seed)
    rough = fit_em(data, linear_parts(data, 2), Monitor(1e-5, 400, patience=3), resp)
    parts = replaced(rough)
    resp = fit_resp(data, parts)
    by_em = fit_em(data, parts, Monitor(1e-13, 1500, patience=10), resp)
    by_joint = fit_joint(data, parts, Monitor(1e-13, 500, patience=10), resp)
    assert by_joint.objective >= rough.objective - 1e-12
    assert_allclose(by_joint.objective, by_em.objective, atol=1e-5)


def fit_resp(data, parts):
    log_gate = parts.gate.log_proba(data.gate_X)
    log_lik = parts.likelihood.log_lik(data.y, parts.experts.predict(data.X))
    return naive.e_step(log_gate, log_lik)[0]


@cases
def test_end_of_joint_training_is_stationary(task, sparse, sizes):
    data = make_data(task, 1, True, sparse, **sizes)
    parts, resp = linear_parts(data, 2), responsibilities(100, 2)
    result = fit_joint(data, parts, Monitor(1e-14, 1000, patience=10), resp)
    assert_allclose(gradient_at(data, replaced(result)), 0.0, atol=2e-5)


def test_joint_training_with_features_of_its_own_for_the_gate():
    X, y = regression(0, n=100, d=5)
    data = regression_data(X[:, :3], y, weights(100), gate_X=X[:, 2:])
    monitor = StrictMonitor(0.0, 30, patience=1000)
    result = fit_joint(data, linear_parts(data, 3), monitor, responsibilities(100, 3))
    assert result.gate.block_coef().shape == (4, 3)


def test_joint_training_names_the_part_that_has_no_parameters():
    data = make_data("regression", 0, False, False)
    parts = linear_parts(data, 2)
    parts.experts = object()
    with pytest.raises(TypeError, match="object has no method 'flat'"):
        fit_joint(data, parts, Monitor(0.0, 3), responsibilities(100, 2))


def test_flat_parameters_come_back():
    data = make_data("regression", 0, True, False, n_outputs=2)
    parts = begun(data)
    copy = parts.with_flat(parts.flat())
    assert_allclose(copy.flat(), parts.flat(), rtol=1e-14)
    assert_array_equal(copy.experts.coef, parts.experts.coef)


def test_joint_training_with_one_variance_for_all():
    data = make_data("regression", 0, True, False)
    parts = linear_parts(data, 3, likelihood=Gaussian(shared=True))
    monitor = StrictMonitor(0.0, 40, patience=1000)
    result = fit_joint(data, parts, monitor, responsibilities(100, 3))
    assert np.ptp(result.likelihood.dispersion) <= 1e-9 * result.likelihood.dispersion.max()
    assert_allclose(result.objective, naive_objective(data, result), rtol=1e-9)
    by_em = fit_em(data, replaced(result), Monitor(0.0, 3), fit_resp(data, replaced(result)))
    assert by_em.objective >= result.objective - 1e-9
