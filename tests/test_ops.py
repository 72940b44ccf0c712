"""Kernels against their slow twins."""

import naive
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from skmoe._ops import get_ops

ops = get_ops()

LOGITS = {
    "plain": np.random.RandomState(0).normal(size=(40, 5)),
    "one column": np.random.RandomState(1).normal(size=(7, 1)),
    "no rows": np.empty((0, 3)),
    "huge": 1e5 * np.random.RandomState(2).normal(size=(20, 4)),
    "far below": np.random.RandomState(3).normal(size=(20, 3)) - 1e300,
    "some impossible": np.array([[0.0, -np.inf, 1.0], [-np.inf, -np.inf, -7.0]]),
}


def random_logs(seed, n=50, n_experts=4):
    rng = np.random.RandomState(seed)
    log_gate = naive.log_softmax(3 * rng.normal(size=(n, n_experts)))
    return log_gate, 10 * rng.normal(size=(n, n_experts)) - 5


@pytest.mark.parametrize("logits", LOGITS.values(), ids=LOGITS)
def test_log_softmax_equals_naive(logits):
    out = np.empty(logits.shape)
    ops.log_softmax(logits, out)
    assert_allclose(out, naive.log_softmax(logits).reshape(logits.shape), rtol=1e-13, atol=1e-13)


def test_log_softmax_may_write_into_its_input():
    logits = LOGITS["plain"].copy()
    expected = naive.log_softmax(logits)
    ops.log_softmax(logits, logits)
    assert_allclose(logits, expected, atol=1e-14)


def test_log_softmax_of_shifted_logits_is_the_same():
    out, shifted = np.empty((40, 5)), np.empty((40, 5))
    ops.log_softmax(LOGITS["plain"], out)
    ops.log_softmax(LOGITS["plain"] + 700.0, shifted)
    assert_allclose(out, shifted, atol=1e-12)


def run_e_step(log_gate, log_lik):
    resp, loglik = np.full(log_gate.shape, np.nan), np.full(len(log_gate), np.nan)
    return resp, loglik, ops.e_step(log_gate, log_lik, resp, loglik)


@pytest.mark.parametrize("seed", range(3))
def test_e_step_equals_naive(seed):
    log_gate, log_lik = random_logs(seed)
    resp, loglik, unexplained = run_e_step(log_gate, log_lik)
    expected_resp, expected_loglik, _ = naive.e_step(log_gate, log_lik)
    assert_allclose(resp, expected_resp, atol=1e-14)
    assert_allclose(loglik, expected_loglik, rtol=1e-13)
    assert unexplained == 0


def test_e_step_far_below_zero_keeps_its_digits():
    log_gate, log_lik = random_logs(5)
    resp, loglik, _ = run_e_step(log_gate, log_lik)
    far_resp, far_loglik, _ = run_e_step(log_gate, log_lik - 1e6)
    assert_allclose(far_resp, resp, atol=1e-9)
    assert_allclose(far_loglik + 1e6, loglik, atol=1e-9)


def test_e_step_row_that_no_expert_explains_falls_back_to_the_gate():
    log_gate = np.log([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])
    log_lik = np.array([[-1.0, -2.0], [-np.inf, -np.inf], [-np.inf, -3.0]])
    resp, loglik, unexplained = run_e_step(log_gate, log_lik)
    assert unexplained == 1
    assert_allclose(resp[1], [0.5, 0.5])
    assert loglik[1] == -np.inf
    assert_allclose(resp[2], [0.0, 1.0])
    assert_allclose(loglik[2], np.log(0.1) - 3.0)


@pytest.mark.parametrize("shape", [(30, 1, 1), (30, 4, 1), (30, 3, 2), (0, 2, 1)])
def test_gaussian_log_lik_equals_naive(shape):
    rng = np.random.RandomState(0)
    pred, y = rng.normal(size=shape), rng.normal(size=(shape[0], shape[2]))
    variance = 10.0 ** rng.uniform(-6, 3, size=shape[1:])
    out = np.empty(shape[:2])
    ops.gaussian_log_lik(y, pred, variance, out)
    assert_allclose(out, naive.gaussian_log_lik(y, pred, variance), rtol=1e-12)


def class_problem(seed, scale=1.0):
    rng = np.random.RandomState(seed)
    scores = scale * rng.normal(size=(40, 3, 4))
    return rng.randint(4, size=40).astype(np.intp), scores, rng.uniform(size=(40, 3))


@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0, 1e4])
def test_categorical_log_lik_equals_naive(scale):
    codes, scores, _ = class_problem(0, scale)
    out = np.empty(scores.shape[:2])
    ops.categorical_log_lik(codes, scores, out)
    assert_allclose(out, naive.categorical_log_lik(codes, scores), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0, 1e4])
def test_categorical_residual_equals_naive(scale):
    codes, scores, weight = class_problem(1, scale)
    out = np.empty(scores.shape)
    ops.categorical_residual(codes, scores, weight, out)
    assert_allclose(out, naive.categorical_residual(codes, scores, weight), atol=1e-13)
    assert_allclose(out.sum(axis=2), 0.0, atol=1e-13)


def test_categorical_residual_is_the_gradient_of_the_log_lik():
    codes, scores, weight = class_problem(2)
    out, above, below = np.empty(scores.shape), np.empty((40, 3)), np.empty((40, 3))
    ops.categorical_residual(codes, scores, weight, out)
    for c in range(4):
        step = 1e-6 * np.eye(4)[c]
        ops.categorical_log_lik(codes, scores + step, above)
        ops.categorical_log_lik(codes, scores - step, below)
        assert_allclose(out[:, :, c], weight * (above - below) / 2e-6, atol=1e-8)


@pytest.mark.parametrize("n_rows", [0, 1, 256, 300])
def test_weighted_grams_equal_naive(n_rows):
    rng = np.random.RandomState(0)
    Z, weights = rng.normal(size=(n_rows, 4)), rng.uniform(size=(n_rows, 3))
    out = np.zeros((3, 4, 4))
    ops.weighted_grams(Z, weights, out)
    assert_allclose(out, naive.weighted_grams(Z, weights), atol=1e-11)


def test_weighted_grams_add_to_what_is_there():
    Z, weights = np.ones((3, 2)), np.ones((3, 1))
    out = np.full((1, 2, 2), 10.0)
    ops.weighted_grams(Z, weights, out)
    assert_allclose(out, 13.0)


def run_csr_grams(X, weights, start=0.0):
    """Upper triangles (K, d + 1, d + 1), added to what is there."""
    out = np.full((weights.shape[1], X.shape[1] + 1, X.shape[1] + 1), start)
    ops.csr_weighted_grams(X.data, X.indices, X.indptr, weights, out)
    return np.triu(out)


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_csr_weighted_grams_equal_naive(density):
    rng = np.random.RandomState(1)
    X = sp.random(30, 5, density=density, format="csr", random_state=rng)
    weights = rng.uniform(size=(30, 2))
    expected = np.triu(1.0 + naive.csr_weighted_grams(X, weights, np.ones(5)))
    assert_allclose(run_csr_grams(X, weights, start=1.0), expected, atol=1e-12)


def test_csr_weighted_grams_take_unsorted_indices():
    X = sp.csr_matrix(([1.0, 2.0, 3.0], [2, 0, 1], [0, 2, 3]), shape=(2, 3))
    expected = naive.csr_weighted_grams(X, np.ones((2, 1)), np.ones(3))
    assert_allclose(run_csr_grams(X, np.ones((2, 1))), np.triu(expected))


def run_top_k(log_gate, n_chosen):
    indices = np.full((len(log_gate), n_chosen), 99, dtype=np.intp)
    log_weights = np.full((len(log_gate), n_chosen), 99.0)
    ops.top_k(log_gate, indices, log_weights)
    return indices, log_weights


@pytest.mark.parametrize("n_chosen", [1, 2, 5])
@pytest.mark.parametrize("ties", [False, True])
def test_top_k_equals_naive(n_chosen, ties):
    logits = np.random.RandomState(0).normal(size=(60, 5))
    logits = np.round(logits) if ties else logits
    indices, log_weights = run_top_k(logits, n_chosen)
    expected_indices, expected = naive.top_k(logits, n_chosen)
    assert_array_equal(indices, expected_indices)
    assert_allclose(log_weights, expected, atol=1e-13)


def test_top_k_gives_impossible_experts_no_weight():
    log_gate = np.array([[-np.inf, 0.0, -np.inf], [-1.0, -np.inf, -2.0]])
    indices, log_weights = run_top_k(log_gate, 2)
    assert_array_equal(indices, [[1, 0], [0, 2]])
    assert_array_equal(log_weights[0], [0.0, -np.inf])
    assert_allclose(np.exp(log_weights).sum(axis=1), 1.0)


def test_unknown_device_is_not_taken_for_the_cpu():
    with pytest.raises(KeyError):
        get_ops("abacus")


# -- densities of blocks ------------------------------------------------------------------------


def test_half_squares_are_subtracted():
    values, out = random_logs(0, n=40)[0].T.copy(), np.arange(40.0)
    ops.subtract_half_squares(values, out)
    assert_allclose(out, [i - sum(v * v for v in values[:, i]) / 2 for i in range(40)])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_diagonal_scores_equal_naive(dtype):
    rng = np.random.RandomState(0)
    Z, slope, shift = rng.normal(size=(20, 6)).astype(dtype), *rng.normal(size=(2, 3, 4))
    out = np.empty((3, 20))
    ops.diagonal_scores(Z, slope, shift, np.arange(3.0), out)
    for k, i in np.ndindex(3, 20):
        errors = [slope[k, j] * Z[i, j] - shift[k, j] for j in range(4)]
        assert_allclose(out[k, i], k - sum(error**2 for error in errors) / 2, rtol=1e-12)


@pytest.mark.parametrize("spread", [1.0, 1e3])
def test_log_evidence_equals_naive(spread):
    scores = spread * random_logs(1)[1]
    weight = np.random.RandomState(0).uniform(size=len(scores))
    found = ops.sum_log_evidence(scores.T.copy(), weight, np.empty((2, len(scores))))
    assert_allclose(found, sum(w * naive.logsumexp(row) for w, row in zip(weight, scores)))
