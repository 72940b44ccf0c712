"""The observed information: second derivatives, and the preconditioner made of them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import (
    linear_parts,
    make_data,
    regression,
    regression_data,
    responsibilities,
    weights,
)

from skmoe._em import fit_em
from skmoe._fit import Parts
from skmoe._information import Information
from skmoe._joint import objective_gradient
from skmoe._monitor import Monitor
from skmoe._sweep import Sweeper

CASES = [("regression", {}), ("regression", {"n_outputs": 2}), ("classification", {})]
cases = pytest.mark.parametrize(("task", "sizes"), CASES, ids=["regression", "outputs", "classes"])


def begun(data, n_experts=3):
    """Parts after two EM iterations from random responsibilities."""
    resp = responsibilities(len(data.weight), n_experts)
    result = fit_em(data, linear_parts(data, n_experts), Monitor(0.0, 2), resp)
    return Parts(result.gate, result.experts, result.likelihood)


def differences(data, parts, step=1e-5):
    """Second derivatives of minus the objective by differences of its gradient."""
    flat, columns = parts.flat(), []
    for i in range(flat.size):
        moved = [
            parts.with_flat(flat + sign * step * (np.arange(flat.size) == i)) for sign in (1, -1)
        ]
        up, down = (objective_gradient(data, part, Sweeper(data)(part)) for part in moved)
        columns.append((down - up) / (2.0 * step))
    return np.array(columns)


@cases
def test_observed_information_is_the_second_derivative_of_the_objective(task, sizes):
    data = make_data(task, 0, True, False, n=60, d=2, **sizes)
    parts = begun(data)
    observed, _ = Information(data, parts, np.arange(60)).matrices(parts)
    size = len(observed)
    assert size == parts.gate.flat().size + parts.experts.flat().size
    assert_allclose(observed, differences(data, parts)[:size, :size], atol=1e-7)


@cases
def test_complete_information_is_positive_and_larger_on_the_diagonal(task, sizes):
    data = make_data(task, 1, True, False, **sizes)
    parts = begun(data)
    observed, complete = Information(data, parts, np.arange(100)).matrices(parts)
    assert np.linalg.eigvalsh(complete).min() > -1e-12 * np.trace(complete)
    assert (np.diag(complete) >= np.diag(observed) - 1e-12).all()
    # Different experts have nothing in common once it is known whose row is whose.
    D, K, P = parts.experts.coef.shape
    blocks = complete[D * K :, D * K :].reshape(D, K, P, D, K, P)
    assert_allclose(blocks[:, 0, :, :, 1:], 0.0, atol=1e-15)


def test_preconditioner_is_the_inverse_where_the_information_is_positive_definite():
    X, y = regression(0, n=400, d=2, n_experts=2)
    data = regression_data(X, y, weights(400))
    resp = responsibilities(400, 2)
    result = fit_em(data, linear_parts(data, 2), Monitor(1e-12, 500, patience=5), resp)
    parts = Parts(result.gate, result.experts, result.likelihood)
    information = Information(data, parts, np.arange(400))
    observed, _ = information.matrices(parts)
    noise = np.array([2.0, 4.0])
    apply = information.preconditioner(parts, noise)
    vector = np.random.RandomState(0).normal(size=parts.flat().size)
    # All gating logits may move together: along that direction there is no force.
    vector[:6] -= np.repeat(vector[:6].reshape(3, 2).mean(axis=1), 2)
    solved = apply(vector)
    assert_allclose(observed @ solved[:-2], vector[:-2], rtol=1e-4, atol=1e-5)
    assert_allclose(solved[-2:], vector[-2:] / noise)


def test_preconditioner_points_downhill_far_from_an_optimum():
    data = make_data("classification", 3, True, False)
    parts = linear_parts(data, 3)
    parts.gate.partial_fit(data.gate_X, responsibilities(100, 3), data.weight)
    rng = np.random.RandomState(0)
    for _ in range(10):
        moved = parts.with_flat(parts.flat() + 3.0 * rng.normal(size=parts.flat().size))
        apply = Information(data, moved, np.arange(100)).preconditioner(moved, np.empty(0))
        gradient = objective_gradient(data, moved, Sweeper(data)(moved))
        assert gradient @ apply(gradient) > 0


def test_no_preconditioner_of_what_is_not_finite():
    data = make_data("regression", 0, False, False)
    parts = begun(data)
    parts.experts.coef[0, 0] = np.nan
    assert Information(data, parts, np.arange(100)).preconditioner(parts, np.ones(3)) is None


def test_information_is_left_out_where_it_does_not_pay():
    data = make_data("regression", 0, False, False)
    assert Information.affordable(data, begun(data)) is not None
    sparse = make_data("regression", 0, False, True)
    assert Information.affordable(sparse, begun(sparse)) is None
    X, y = regression(0, n=100, d=4)
    apart = regression_data(X[:, :3], y, gate_X=X[:, 2:])
    assert Information.affordable(apart, begun(apart)) is None
    X, y = regression(0, n=300, d=200)
    wide = regression_data(X, y)
    assert Information.affordable(wide, linear_parts(wide, 8)) is None


def test_rows_are_thinned_where_there_are_many():
    X, y = regression(0, n=4000, d=2, n_experts=2, noise=3.0)
    data = regression_data(X, y)
    parts = begun(data, 2)
    information = Information.affordable(data, parts)
    assert 10 * 12 / 2 <= len(information.y) <= 10 * 12
    observed, _ = information.matrices(parts)
    whole, _ = Information(data, parts, np.arange(4000)).matrices(parts)
    assert_allclose(np.diag(observed), np.diag(whole), rtol=0.5)
