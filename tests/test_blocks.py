"""Kernels on blocks of rows (scores are experts first) against their slow twins."""

import naive
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import classification, regression, responsibilities, sparsened, weights

from skmoe._design import BlockReader, Design
from skmoe._ops import blocks, get_ops
from skmoe._ops import rows as row_ops

ops = get_ops()
NOTHING = np.empty((0, 0))


def gate_logits(n, n_experts, seed=0, spread=3.0):
    return spread * np.random.RandomState(seed).normal(size=(n, n_experts))


def flipped(values):
    """(m, K, ...) -> (K * ..., m), rows contiguous."""
    return np.array(values.reshape(len(values), -1).T, order="C")


# -- reading rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_standardise_writes_ones_padding_and_zero_for_nan(dtype):
    X = np.random.RandomState(0).normal(size=(20, 3)).astype(dtype)
    X[4, 1] = np.nan
    center, scale = np.array([0.5, 1.0, -2.0]), np.array([2.0, 0.1, 1.0])
    out = np.full((20, 8), np.nan, dtype=dtype)
    ops.standardise(X, center, 1.0 / scale, out)
    rtol = 1e-12 if dtype == np.float64 else 1e-4
    assert_allclose(out[:, :4], naive.columns(X, center, scale), rtol=rtol, atol=rtol)
    assert_array_equal(out[:, 4:], 0.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_columns", [1, 7, 8, 50])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_standardise_rows_takes_any_rows_of_any_layout(dtype, n_columns, layout):
    rng = np.random.RandomState(0)
    X = np.array(rng.normal(size=(40, n_columns)) + 1e3, dtype=dtype, order=layout)
    X[3, 0], X[39, -1], X[5, 0] = np.nan, np.nan, np.inf
    rows, lanes = rng.permutation(40), ops.PADDING // X.itemsize
    center, scale = rng.normal(size=n_columns) + 1e3, rng.uniform(0.5, 2.0, size=n_columns)
    width = -(-(n_columns + 1) // lanes) * lanes
    found, plain = (np.full((40, width), np.nan, dtype=dtype) for _ in range(2))
    ops.standardise_rows(X, rows, center, 1.0 / scale, found)
    row_ops.plain_standardise(X[rows], center, 1.0 / scale, plain)
    assert_array_equal(found, plain)
    expected = naive.columns(X.astype(float)[rows], center, scale)
    rtol = 1e-12 if dtype == np.float64 else 1e-6
    assert_allclose(found[:, : n_columns + 1], expected, rtol=rtol, atol=rtol)
    assert_array_equal(found[:, n_columns + 1 :], 0.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_rows", [0, 1, 7, 8, 16, 37])
@pytest.mark.parametrize("n_scores", [1, 3, 8, 9, 16, 17, 40])
def test_tiles_of_scores_and_gradients_equal_plain_products(dtype, n_rows, n_scores):
    rng = np.random.RandomState(0)
    lanes = ops.PADDING // np.dtype(dtype).itemsize
    for vectors in (1, 3, 4):
        Z = rng.normal(size=(n_rows, vectors * lanes)).astype(dtype)
        coef = rng.normal(size=(vectors * lanes - 1, n_scores))
        scores = np.full((n_scores, n_rows), np.nan)
        ops.row_scores(Z, ops.packed(coef, Z.shape[1], dtype), scores)
        atol = 1e-12 if dtype == np.float64 else 1e-4
        assert_allclose(scores, (Z[:, :-1].astype(float) @ coef).T, atol=atol)
        values = rng.normal(size=(n_scores, n_rows)).astype(dtype)
        gradient = np.ones((n_scores, Z.shape[1]))
        ops.add_row_gradient(Z, values, gradient)
        assert_allclose(gradient - 1.0, values.astype(float) @ Z, atol=10 * atol)


def test_products_of_wide_rows_equal_plain_products():
    rng = np.random.RandomState(0)
    Z, coef = rng.normal(size=(20, 4112)), rng.normal(size=(4112, 3))
    scores = np.empty((3, 20))
    ops.row_scores(Z, ops.packed(coef, 4112, np.float64), scores)
    assert_allclose(scores, (Z @ coef).T, atol=1e-10)


@pytest.mark.parametrize("case", ["dense", "csr", "single"])
def test_reader_forward_gradient_and_grams_equal_plain_products(case):
    rng = np.random.RandomState(0)
    X, weight = rng.normal(size=(600, 13)) + 1.0, weights(600)
    X = sparsened(X) if case == "csr" else X
    X = X.astype(np.float32) if case == "single" else X
    design = Design.standardised(X, weight)
    Z = naive.columns(X.toarray() if case == "csr" else X, design.center, design.scale)
    coef, values, share = (
        rng.normal(size=(14, 5)),
        rng.normal(size=(600, 5)),
        rng.uniform(size=(600, 2)),
    )
    reader, scores = BlockReader(design), np.empty((600, 5))
    gradient, gram = reader.new_gradient(5), reader.new_grams(2)
    for rows in design.slices():
        reader.read(rows)
        part = np.empty((5, rows.stop - rows.start))
        reader.forward(reader.pack(coef), part)
        scores[rows] = part.T
        reader.add_gradient(flipped(values[rows]), gradient)
        reader.add_grams(flipped(share[rows]), -1, gram)
    atol = 1e-3 if case == "single" else 1e-9
    assert_allclose(scores, Z @ coef, atol=atol)
    assert_allclose(reader.finish_gradient(gradient), Z.T @ values, atol=10 * atol)
    expected = np.einsum("nd,nk,ne->kde", Z, share, Z)
    assert_allclose(reader.finish_grams(gram), expected, atol=10 * atol)


@pytest.mark.parametrize("n_rows", [0, 1, 17, 700])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("skip", [-1, 1])
def test_tiled_and_stacked_grams_equal_naive(n_rows, width, skip):
    rng = np.random.RandomState(0)
    width *= ops.PADDING
    Z, share = rng.normal(size=(n_rows, width)), rng.uniform(size=(3, n_rows))
    expected = np.einsum("nd,kn,ne->kde", Z, share, Z)
    if skip >= 0:
        expected[skip] = 0.0
    upper = np.triu(np.ones((width, width), dtype=bool))
    for function in (ops.tiled_grams, blocks.stacked_grams):
        out = np.ones((3, width, width))
        function(Z, share, skip, out)
        assert_allclose((out - 1.0)[:, upper], expected[:, upper], atol=1e-10)


def test_csr_products_equal_plain_products():
    rng = np.random.RandomState(0)
    X = sp.random(30, 5, density=0.4, format="csr", random_state=rng)
    Z = np.column_stack([X.toarray(), np.ones(30)])
    coef, values = rng.normal(size=(6, 3)), rng.normal(size=(3, 30))
    out, back = np.empty((3, 30)), np.ones((6, 3))
    ops.csr_forward(X.data, X.indices, X.indptr, coef, out)
    ops.csr_backward(X.data, X.indices, X.indptr, values, back)
    assert_allclose(out, (Z @ coef).T, atol=1e-12)
    assert_allclose(back - 1.0, Z.T @ values.T, atol=1e-12)


# -- E-step of a block --------------------------------------------------------------------------


def expected_block(logits, log_lik, weight, given):
    """What both kernels have in common, by definition."""
    log_gate = naive.log_softmax(logits)
    resp, loglik, unexplained = naive.e_step(log_gate, log_lik)
    resp = resp if given is None else given
    proba, row_weight = np.exp(log_gate), weight[:, None]
    load = np.bincount(logits.argmax(axis=1), weights=weight, minlength=logits.shape[1])
    common = [np.sum(row_weight * proba * (1 - proba), axis=0), weight @ resp, load]
    value = weight[np.isfinite(loglik)] @ loglik[np.isfinite(loglik)]
    return row_weight * resp, row_weight * (resp - proba), common, value, unexplained


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("spread", [0.0, 3.0, 15.0])
@pytest.mark.parametrize("with_given", [False, True])
def test_gaussian_block_equals_naive(n_outputs, spread, with_given):
    _, y = regression(0, n=70, n_outputs=n_outputs)
    weight, logits = weights(70), gate_logits(70, 3, spread=spread)
    pred = np.random.RandomState(1).normal(size=(70, 3, n_outputs))
    variance = np.random.RandomState(2).uniform(0.3, 4.0, size=(3, n_outputs))
    given = responsibilities(70, 3) if with_given else None
    log_lik = naive.gaussian_log_lik(y, pred, variance)
    row_weight, gradient, common, value, _ = expected_block(logits, log_lik, weight, given)

    gate, scores, joint = flipped(logits), flipped(pred), np.empty((3, 70))
    sums = np.ones((3, n_outputs + 3))
    found, unexplained = ops.gaussian_block(
        y, weight, variance, NOTHING if given is None else given, gate, scores, joint, sums
    )
    error = y[:, None, :] - pred
    assert_allclose(found, value, rtol=1e-12)
    assert unexplained == 0
    assert_allclose(joint, row_weight.T, atol=1e-12)
    assert_allclose(gate, gradient.T, atol=1e-12)
    assert_allclose(scores, flipped(row_weight[:, :, None] * error), atol=1e-11)
    squares = np.einsum("nk,nkm->km", row_weight, error**2)
    assert_allclose(sums - 1.0, np.column_stack([squares, *common]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("spread", [0.0, 3.0, 15.0])
@pytest.mark.parametrize("with_given", [False, True])
def test_categorical_block_equals_naive(spread, with_given):
    _, codes = classification(0, n=70, n_classes=4)
    weight, logits = weights(70), gate_logits(70, 3, spread=spread)
    class_scores = spread * np.random.RandomState(1).normal(size=(70, 3, 4))
    given = responsibilities(70, 3) if with_given else None
    log_lik = naive.categorical_log_lik(codes, class_scores)
    row_weight, gradient, common, value, _ = expected_block(logits, log_lik, weight, given)

    gate, scores, joint = flipped(logits), flipped(class_scores), np.empty((3, 70))
    sums = np.ones((3, 3))
    found, unexplained = ops.categorical_block(
        codes, weight, NOTHING if given is None else given, gate, scores, joint, sums
    )
    assert_allclose(found, value, rtol=1e-12)
    assert unexplained == 0
    assert_allclose(joint, row_weight.T, atol=1e-12)
    assert_allclose(gate, gradient.T, atol=1e-12)
    residual = naive.categorical_residual(codes, class_scores, row_weight)
    assert_allclose(scores, flipped(residual), atol=1e-12)
    assert_allclose(sums - 1.0, np.column_stack(common), rtol=1e-10, atol=1e-10)


def test_gaussian_block_far_from_all_experts_keeps_the_log_likelihood():
    y, weight, variance = np.full((4, 1), 1e6), np.ones(4), np.full((2, 1), 1e-3)
    logits, pred = gate_logits(4, 2), np.random.RandomState(1).normal(size=(4, 2, 1))
    log_lik = naive.gaussian_log_lik(y, pred, variance)
    row_weight, _, _, value, _ = expected_block(logits, log_lik, weight, None)
    joint = np.empty((2, 4))
    found, _ = ops.gaussian_block(
        y, weight, variance, NOTHING, flipped(logits), flipped(pred), joint, np.zeros((2, 4))
    )
    assert_allclose(found, value, rtol=1e-12)
    assert_allclose(joint, row_weight.T, atol=1e-9)


@pytest.mark.parametrize("width", [1, 3, 8, 37])
def test_result_of_a_row_does_not_depend_on_its_neighbours(width):
    """Vectorised loops and their remainders compute the same."""
    _, y = regression(0, n=64)
    weight, logits = weights(64), gate_logits(64, 3)
    pred, variance = np.random.RandomState(1).normal(size=(64, 3, 1)), np.ones((3, 1))

    def joint_of(rows):
        joint = np.empty((3, len(y[rows])))
        gate, scores = flipped(logits[rows]), flipped(pred[rows])
        sums = np.zeros((3, 4))
        ops.gaussian_block(y[rows], weight[rows], variance, NOTHING, gate, scores, joint, sums)
        return joint

    assert_allclose(joint_of(slice(0, width)), joint_of(slice(0, 64))[:, :width], rtol=1e-13)


# -- prediction ---------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [0.0, 3.0, 100.0])
def test_gate_weights_equal_softmax(spread):
    logits = gate_logits(50, 4, spread=spread)
    gate = flipped(logits)
    ops.gate_weights(gate)
    assert_allclose(gate.T, np.exp(naive.log_softmax(logits)), atol=1e-14)
    assert_allclose(gate.sum(axis=0), 1.0, atol=1e-14)


def test_class_probabilities_are_softmax_by_expert():
    scores = np.random.RandomState(0).normal(size=(50, 2, 3))
    found = flipped(scores)
    ops.class_probabilities(found, 2)
    expected = [np.exp(naive.log_softmax(scores[:, k])) for k in range(2)]
    assert_allclose(found, np.hstack(expected).T, atol=1e-14)


def test_mean_block_is_the_weighted_mean():
    share, pred = responsibilities(50, 3), np.random.RandomState(0).normal(size=(50, 3, 2))
    out = np.empty((50, 2))
    ops.mean_block(flipped(share), flipped(pred), out)
    assert_allclose(out, np.sum(share[:, :, None] * pred, axis=1), atol=1e-14)


@pytest.mark.parametrize("ties", [False, True])
def test_top_one_equals_naive(ties):
    logits = gate_logits(80, 5)
    logits = np.round(logits / 3) if ties else logits
    out = np.empty((80, 1), dtype=np.intp)
    ops.top_one(flipped(logits), out)
    assert_array_equal(out, naive.top_k(logits, 1)[0])


def test_routed_linear_equals_the_chosen_scores():
    rng = np.random.RandomState(0)
    X, indices = rng.normal(size=(30, 4)), rng.randint(3, size=(30, 2)).astype(np.intp)
    slopes, intercept = rng.normal(size=(3, 2, 4)), rng.normal(size=(3, 2))
    out = np.empty((30, 2, 2))
    ops.routed_linear(X, indices, slopes, intercept, out)
    dense = np.einsum("nd,kpd->nkp", X, slopes) + intercept
    expected = np.take_along_axis(dense, indices[:, :, None], axis=1)
    assert_allclose(out, expected, atol=1e-12)
