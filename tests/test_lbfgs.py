"""The minimiser: it arrives, it never ends above its start, it survives NaN."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import rosen, rosen_der

from skmoe._lbfgs import minimize


def quadratic(curvatures, optimum):
    def fun(x):
        error = x - optimum
        return 0.5 * error @ (curvatures * error), curvatures * error

    return fun


def rosenbrock(x):
    return rosen(x), rosen_der(x)


def counted(fun):
    calls = []

    def count(x):
        calls.append(x.copy())
        return fun(x)

    return count, calls


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
def test_quadratic_is_minimised(condition):
    curvatures, optimum = np.geomspace(1.0, condition, 8), np.arange(8.0)
    found = minimize(quadratic(curvatures, optimum), np.zeros(8), max_iter=500, tol=1e-14)
    assert found.converged
    assert_allclose(found.x, optimum, atol=1e-5)


@pytest.mark.parametrize("dim", [2, 10])
def test_rosenbrock_is_minimised(dim):
    found = minimize(rosenbrock, np.full(dim, -1.2), max_iter=1000, tol=1e-14)
    assert found.converged
    assert_allclose(found.x, 1.0, atol=1e-5)


def test_exact_inverse_hessian_arrives_in_one_step():
    curvatures, optimum = np.geomspace(1.0, 1e8, 8), np.arange(8.0)
    fun = quadratic(curvatures, optimum)
    found = minimize(fun, np.zeros(8), precondition=lambda v: v / curvatures, tol=1e-14)
    assert_allclose(found.x, optimum, rtol=1e-12)
    assert found.n_iter <= 2


def test_preconditioner_saves_iterations():
    curvatures = np.geomspace(1.0, 1e6, 30)
    fun = quadratic(curvatures, np.ones(30))
    plain = minimize(fun, np.zeros(30), max_iter=2000, tol=1e-12)
    close = minimize(
        fun, np.zeros(30), precondition=lambda v: v / (1.5 * curvatures), max_iter=2000, tol=1e-12
    )
    assert close.n_iter < plain.n_iter / 3


def test_the_result_states_facts():
    fun, calls = counted(rosenbrock)
    found = minimize(fun, np.zeros(3), max_iter=7)
    assert found.n_iter == 7
    assert not found.converged
    assert found.n_evals == len(calls)
    assert found.value == rosen(found.x)
    assert_allclose(found.gradient, rosen_der(found.x))


def test_the_start_is_not_written_to():
    start = np.full(4, -1.2)
    minimize(rosenbrock, start, max_iter=20)
    assert_array_equal(start, -1.2)


def test_at_the_optimum_nothing_moves():
    found = minimize(quadratic(np.ones(3), np.ones(3)), np.ones(3))
    assert found.converged
    assert found.n_iter == 0
    assert_array_equal(found.x, 1.0)


@pytest.mark.parametrize("max_iter", range(6))
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e12])
def test_never_ends_above_its_start(max_iter, scale):
    rng = np.random.RandomState(max_iter)
    start = scale * rng.normal(size=5)
    found = minimize(rosenbrock, start, max_iter=max_iter)
    assert found.value <= rosen(start)


def test_values_fall_from_iteration_to_iteration():
    values = []
    minimize(rosenbrock, np.full(6, -1.2), renew=lambda n, x: values.append(rosen(x)), max_iter=60)
    assert (np.diff(values) <= 0).all()
    assert len(values) > 20


def test_false_gradient_ends_at_the_start():
    found = minimize(lambda x: (x @ x, -2.0 * x), np.ones(3))
    assert not found.converged
    assert_array_equal(found.x, 1.0)


def test_preconditioner_that_points_uphill_ends_at_the_start():
    found = minimize(quadratic(np.ones(3), np.zeros(3)), np.ones(3), precondition=np.negative)
    assert_array_equal(found.x, 1.0)


def test_nan_and_infinity_are_stepped_back_from():
    """-log x is not defined below 0; the first step from 1 goes there."""

    def fun(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.sum(20.0 * x - np.log(x))), 20.0 - 1.0 / x

    found = minimize(fun, np.ones(2), max_iter=200, tol=1e-14)
    assert found.converged
    assert_allclose(found.x, 0.05, rtol=1e-5)


def test_nan_everywhere_but_at_the_start_ends_at_the_start():
    def fun(x):
        return (1.0 if np.all(x == 1.0) else np.nan), np.ones(2)

    found = minimize(fun, np.ones(2))
    assert not found.converged
    assert_array_equal(found.x, 1.0)


def test_nan_at_the_start_does_not_hang():
    found = minimize(lambda x: (np.nan, np.full(2, np.nan)), np.ones(2), max_iter=5)
    assert_array_equal(found.x, 1.0)


def test_renew_is_called_at_the_start_and_after_each_iteration_and_its_answer_is_used():
    curvatures = np.geomspace(1.0, 1e6, 30)
    fun, seen = quadratic(curvatures, np.ones(30)), []

    def renew(n_iter, x):
        seen.append(n_iter)
        return (lambda v: v / curvatures) if n_iter == 3 else None

    found = minimize(fun, np.zeros(30), renew=renew, max_iter=500, tol=1e-12)
    plain = minimize(fun, np.zeros(30), max_iter=500, tol=1e-12)
    assert seen[:4] == [0, 1, 2, 3]
    assert found.n_iter < plain.n_iter / 3
    assert_allclose(found.x, 1.0, atol=1e-4)


def test_long_memory_solves_a_quadratic_in_as_many_steps_as_dimensions():
    fun = quadratic(np.arange(1.0, 6.0), np.ones(5))
    long = minimize(fun, np.zeros(5), memory=20, max_iter=100, tol=1e-14)
    assert_allclose(long.x, 1.0, atol=1e-6)
    assert long.n_iter < 30


@pytest.mark.parametrize("memory", [1, 2, 3, 10])
def test_memory_holds_as_many_pairs_as_it_says(memory):
    found = minimize(rosenbrock, np.full(4, -1.2), memory=memory, max_iter=2000, tol=1e-13)
    assert_allclose(found.x, 1.0, atol=1e-4)


def test_watch_sees_falling_values_and_may_stop():
    seen = []

    def watch(x, value):
        seen.append(value)
        assert value == rosen(x)
        return len(seen) == 7

    found = minimize(rosenbrock, np.full(4, -1.2), watch=watch, max_iter=100)
    assert found.n_iter == 7
    assert not found.converged
    assert found.value == seen[-1]
    assert (np.diff(seen) <= 0).all()
