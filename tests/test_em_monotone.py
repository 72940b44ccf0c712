"""EM never lowers the objective, and the objective is the formula's."""

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose
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
from skmoe._monitor import Monitor
from skmoe.likelihoods import Gaussian

N_ITER = 12


def climb(data, parts, resp, max_iter=N_ITER):
    """Fit under a strict monitor that does not stop early."""
    monitor = StrictMonitor(0.0, max_iter, patience=10_000)
    result = fit_em(data, parts, monitor, resp)
    assert result.objective > result.history["objective"][0]
    return result


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_em_climbs(task, weighted, sparse, seed):
    data = make_data(task, seed, weighted, sparse)
    resp = responsibilities(100, 3, seed)
    result = climb(data, linear_parts(data, 3), resp)
    assert_allclose(result.objective, naive_objective(data, result), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_em_climbs_from_labels_with_many_experts(seed):
    """More experts than regimes: some die, which must not cost anything."""
    data = make_data("regression", seed, True, False)
    labels = np.random.RandomState(seed).randint(8, size=100)
    climb(data, linear_parts(data, 8), np.eye(8)[labels], max_iter=40)


@pytest.mark.parametrize("floor", [0.0, 0.1, 10.0])
@pytest.mark.parametrize("shared", [False, True])
def test_em_climbs_with_every_variance(shared, floor):
    data = make_data("regression", 0, True, False)
    parts = linear_parts(data, 3, likelihood=Gaussian(shared=shared, floor=floor))
    result = climb(data, parts, responsibilities(100, 3), max_iter=40)
    assert_allclose(result.objective, naive_objective(data, result, floor=floor), rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("gate_alpha", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_em_climbs_with_every_penalty(task, gate_alpha, alpha):
    data = make_data(task, 1, True, False)
    parts = linear_parts(data, 3, alpha=alpha, gate_alpha=gate_alpha)
    result = climb(data, parts, responsibilities(100, 3))
    expected = naive_objective(data, result, gate_alpha=gate_alpha, alpha=alpha)
    assert_allclose(result.objective, expected, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
def test_em_climbs_with_several_outputs(sparse, seed):
    data = make_data("regression", seed, True, sparse, n_outputs=3)
    result = climb(data, linear_parts(data, 3), responsibilities(100, 3, seed))
    assert_allclose(result.objective, naive_objective(data, result), rtol=1e-9)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_em_climbs_with_features_of_its_own_for_the_gate(task, sparse):
    X, y = (regression if task == "regression" else classification)(0, n=100, d=5)
    X = sparsened(X) if sparse else X
    make = regression_data if task == "regression" else classification_data
    data = make(X[:, :3], y, weights(100), gate_X=X[:, 2:])
    result = climb(data, linear_parts(data, 3), responsibilities(100, 3), max_iter=20)
    assert result.gate.block_coef().shape == (4, 3)
    if task == "regression":
        dense = X.toarray() if sparse else X
        Z, gate_Z = (
            naive.columns(part, view.center, view.scale)
            for part, view in ((dense[:, :3], data.X), (dense[:, 2:], data.gate_X))
        )
        value = naive.regression_objective(
            Z,
            data.y,
            data.weight,
            result.gate.block_coef(),
            result.experts.coef,
            result.likelihood.dispersion,
            gate_alpha=1e-4,
            alpha=1.0,
            floor=0.1,
            base=data.base_variance,
            gate_Z=gate_Z,
        )
        assert_allclose(result.objective, value, rtol=1e-9)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_em_climbs_with_more_columns_than_gram_matrices_allow(task, sparse):
    X, y = (regression if task == "regression" else classification)(0, n=60, d=330)
    X = sparsened(X, share=0.9) if sparse else X
    data = (regression_data if task == "regression" else classification_data)(X, y)
    parts = linear_parts(data, 20)
    assert not parts.experts.additive(data)
    climb(data, parts, responsibilities(60, 20), max_iter=4)


def test_em_climbs_where_the_gate_sees_many_more_columns_than_the_experts():
    """Blocks are as long as the experts' columns allow, longer than the gate's would be."""
    X, y = regression(0, n=1500, d=100)
    data = regression_data(X[:, :1], y, gate_X=X)
    assert data.X.slices()[0].stop > data.gate_X.slices()[0].stop
    climb(data, linear_parts(data, 2), responsibilities(1500, 2), max_iter=2)


def test_em_climbs_where_columns_repeat_and_some_are_constant():
    X, y = regression(0, n=100)
    data = regression_data(np.column_stack([X, X[:, 0], np.ones(100)]), y)
    climb(data, linear_parts(data, 3, alpha=0.0, gate_alpha=0.0), responsibilities(100, 3))


def test_em_climbs_with_an_outlier_and_a_spike_of_equal_targets():
    X, y = regression(0, n=100)
    y[:30], y[40], X[50] = 0.0, 1e4, 1e3
    data = regression_data(X, y)
    climb(data, linear_parts(data, 3), responsibilities(100, 3), max_iter=40)


def test_first_iterate_equals_the_textbook():
    """From given responsibilities: ridges, variances, and a gate of Newton's method."""
    data = make_data("regression", 0, True, False)
    resp = 0.8 * responsibilities(100, 2) + 0.1
    result = fit_em(data, linear_parts(data, 2), Monitor(0.0, 1), resp)
    Z = naive.columns(data.X.X, data.X.center, data.X.scale)
    _, coef, variance = naive.m_step(
        Z,
        data.y,
        data.weight,
        resp,
        np.tile(data.base_variance, (2, 1)),
        gate_alpha=1e-4,
        alpha=1.0,
        floor=0.1,
        base=data.base_variance,
    )
    assert_allclose(result.experts.coef, coef, atol=1e-8)
    assert_allclose(result.likelihood.dispersion, variance, rtol=1e-8)
    gate_coef = naive.fit_gate(Z, resp, data.weight, 1e-4)
    assert_allclose(result.gate.block_coef(), gate_coef, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_end_of_em_is_a_fixed_point_of_the_textbook(seed):
    data = make_data("regression", seed, True, False, noise=0.5)
    start = responsibilities(100, 2, seed)
    result = fit_em(data, linear_parts(data, 2), Monitor(1e-15, 3000, patience=20), start)
    Z = naive.columns(data.X.X, data.X.center, data.X.scale)
    gate_coef, coef, variance = naive.em_iteration(
        Z,
        data.y,
        data.weight,
        result.gate.block_coef(),
        result.experts.coef,
        result.likelihood.dispersion,
        gate_alpha=1e-4,
        alpha=1.0,
        floor=0.1,
        base=data.base_variance,
    )
    assert_allclose(result.experts.coef, coef, atol=1e-4)
    assert_allclose(result.likelihood.dispersion, variance, rtol=1e-4)
    assert_allclose(result.gate.block_coef(), gate_coef, atol=0.02)


def test_strict_monitor_notices_a_drop():
    monitor = StrictMonitor(0.0, 10)
    monitor.update(1.0, np.ones(1))
    monitor.update(1.0 - 1e-11, np.ones(1))
    with pytest.raises(AssertionError, match="fell by"):
        monitor.update(0.999, np.ones(1))


def test_the_parts_given_are_not_changed():
    data = make_data("regression", 0, False, False)
    parts = linear_parts(data, 3)
    coef, variance = parts.experts.coef.copy(), parts.likelihood.dispersion.copy()
    resp = responsibilities(100, 3)
    given = resp.copy()
    climb(data, parts, resp)
    assert_allclose(parts.experts.coef, coef, atol=0)
    assert_allclose(parts.likelihood.dispersion, variance, atol=0)
    assert not hasattr(parts.gate, "coef_")
    assert_allclose(resp, given, atol=0)


def test_best_iterate_is_returned_where_an_iterate_is_worse():
    data = make_data("classification", 0, False, False)
    parts = linear_parts(data, 2)
    experts = parts.experts

    class Losing(type(experts)):
        """Experts that forget all in the third iteration."""

        n_calls = 0

        def fit_predict(self, data, resp, dispersion=None):
            type(self).n_calls += 1
            if self.n_calls < 3:
                return super().fit_predict(data, resp, dispersion)
            self.coef = -self.coef
            return self.predict(data.X)

    experts.__class__ = Losing
    result = fit_em(data, parts, Monitor(0.0, 3, patience=100), responsibilities(100, 2))
    values = result.history["objective"]
    assert values[2] < values[1]
    assert result.objective == max(values)
    assert_allclose(naive_objective(data, result), values[1], rtol=1e-9)


@pytest.mark.parametrize("part", ["gate", "experts", "likelihood"])
def test_part_without_a_method_is_named(part):
    data = make_data("regression", 0, False, False)
    parts = linear_parts(data, 2)
    setattr(parts, part, object())
    with pytest.raises(TypeError, match="object has no method"):
        fit_em(data, parts, Monitor(0.0, 3), responsibilities(100, 2))
