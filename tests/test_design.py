"""Standardised views: blocks, products, and solutions of normal equations."""

import naive
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import regression_data, responsibilities, sparsened, weights

from skmoe._design import Design, add_grams, block_transposed_dot, solve_spd
from skmoe.experts import LinearExpert


def features(n=80, d=4, seed=0):
    rng = np.random.RandomState(seed)
    return rng.normal(size=(n, d)) * [1.0, 100.0, 1e-3, 5.0][:d] + [0.0, 1e4, 0.0, -3.0][:d]


def whole(design):
    """All standardised rows, stacked from the blocks."""
    return np.vstack([design.block(rows) for rows in design.slices()])


# -- standardisation ----------------------------------------------------------------------


def test_dense_columns_equal_naive():
    X, weight = features(), weights(80)
    design = Design.standardised(X, weight)
    center, scale = naive.standardise(X, weight)
    assert_allclose(design.center, center, rtol=1e-13)
    assert_allclose(design.scale, scale, rtol=1e-12)
    assert_allclose(whole(design), naive.columns(X, center, scale), atol=1e-9)


def test_dense_columns_have_weighted_mean_zero_and_variance_one():
    weight = weights(80)
    Z = whole(Design.standardised(features(), weight))
    assert_allclose(weight @ Z[:, :-1] / weight.sum(), 0.0, atol=1e-10)
    assert_allclose(weight @ Z[:, :-1] ** 2 / weight.sum(), 1.0, atol=1e-10)
    assert_array_equal(Z[:, -1], 1.0)


@pytest.mark.parametrize("mean", [1e4, 1e7, 1e8, -1e12])
def test_column_far_from_zero_keeps_its_digits(mean):
    X = mean + np.random.RandomState(0).normal(size=(200, 1))
    design = Design.standardised(X, np.ones(200))
    assert_allclose(design.scale, X.std(), rtol=1e-7 if abs(mean) < 1e10 else 1e-3)


def test_nan_is_left_out_of_moments_and_counts_as_the_average():
    X, weight = features(), weights(80)
    X[::3, 1] = np.nan
    design = Design.standardised(X, weight)
    center, scale = naive.standardise(X, weight)
    assert_allclose(design.center, center, rtol=1e-13)
    assert_allclose(design.scale, scale, rtol=1e-12)
    assert_array_equal(whole(design)[::3, 1], 0.0)


def test_column_without_any_value_is_zero():
    X = features()
    X[:, 2] = np.nan
    Z = whole(Design.standardised(X, np.ones(80)))
    assert_array_equal(Z[:, 2], 0.0)


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, 1e9 + 0.1, -1e-9])
def test_constant_column_is_not_blown_up(value):
    X, weight = features(), weights(80)
    X[:, 1] = value
    design = Design.standardised(X, weight)
    assert design.scale[1] == 1.0
    assert_allclose(whole(design)[:, 1], 0.0, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, 1e9 + 0.1])
def test_constant_sparse_column_is_not_blown_up(value):
    X = features()
    X[:, 1] = value
    assert Design.standardised(sp.csr_matrix(X), weights(80)).scale[1] == 1.0


def test_weights_act_as_repeated_rows():
    X, counts = features(), np.random.RandomState(0).randint(1, 4, size=80)
    one = Design.standardised(X, counts.astype(float))
    other = Design.standardised(np.repeat(X, counts, axis=0), np.ones(counts.sum()))
    assert_allclose(one.center, other.center, rtol=1e-13)
    assert_allclose(one.scale, other.scale, rtol=1e-12)


def test_single_precision_is_summed_in_double():
    X = features().astype(np.float32)
    X[:, 1] = X[:, 3] + np.float32(1000)
    one = Design.standardised(X, np.ones(80))
    other = Design.standardised(X.astype(np.float64), np.ones(80))
    assert one.block(slice(0, 10)).dtype == np.float64
    assert_allclose(one.center, other.center, rtol=1e-12)
    assert_allclose(one.scale, other.scale, rtol=1e-6)


def test_standardising_leaves_the_input_alone():
    X = features()
    X[0, 0] = np.nan
    before = X.copy()
    whole(Design.standardised(X, np.ones(80)))
    assert_array_equal(X, before)


def test_sparse_scales_equal_dense_scales_and_nothing_is_shifted():
    X, weight = sparsened(features()), weights(80)
    design = Design.standardised(X, weight)
    assert_allclose(design.scale, naive.standardise(X.toarray(), weight)[1], rtol=1e-8)
    assert_array_equal(design.center, 0.0)


# -- blocks and products --------------------------------------------------------------------


def test_slices_cover_the_rows_once_and_in_order():
    design = Design.standardised(np.ones((20_000, 3)), np.ones(20_000))
    parts = design.slices()
    assert len(parts) > 1
    rows = np.concatenate([np.arange(20_000)[part] for part in parts])
    assert_array_equal(rows, np.arange(20_000))


@pytest.fixture(params=["dense", "one block", "csr", "csr with duplicates"])
def pair(request):
    """A design and its columns as one plain array."""
    n = 300 if request.param == "one block" else 9000
    n = 300 if request.param.startswith("csr") else n
    X, weight = features(n), weights(n)
    if request.param.startswith("csr"):
        X = sparsened(X)
        if request.param.endswith("duplicates"):
            indptr = np.arange(0, 2 * n + 1, 2)
            X = sp.csr_matrix((X.toarray()[:, :2].ravel(), np.full(2 * n, 1), indptr), shape=(n, 3))
            assert not X.has_canonical_format
    design = Design.standardised(X, weight)
    dense = X.toarray() if sp.issparse(X) else X
    return design, naive.columns(dense, design.center, design.scale)


def test_products_equal_plain_products(pair):
    design, Z = pair
    rng = np.random.RandomState(0)
    coef, values = rng.normal(size=(Z.shape[1], 2)), rng.normal(size=(len(Z), 3))
    assert design.shape == Z.shape
    assert_allclose(design.dot(coef), Z @ coef, atol=1e-9)
    assert_allclose(design.transposed_dot(values), Z.T @ values, atol=1e-8)


def test_grams_equal_plain_products(pair):
    design, Z = pair
    weight = np.random.RandomState(0).uniform(size=(len(Z), 2))
    expected = np.array([Z.T @ (column[:, None] * Z) for column in weight.T])
    assert_allclose(design.grams(weight), expected, rtol=1e-9, atol=1e-8)
    diagonals = np.einsum("kdd->dk", expected)
    assert_allclose(design.column_squares(weight), diagonals, rtol=1e-9, atol=1e-8)


def test_total_gram_follows_the_weights(pair):
    design, Z = pair
    for seed in range(2):
        weight = weights(len(Z), seed)
        expected = Z.T @ (weight[:, None] * Z)
        assert_allclose(design.total_gram(weight), expected, rtol=1e-9, atol=1e-8)


def test_products_by_blocks_add_up(pair):
    design, Z = pair
    rng = np.random.RandomState(0)
    weight = rng.uniform(size=(len(Z), 2))
    gram = np.zeros((2, Z.shape[1], Z.shape[1]))
    transposed = np.zeros((Z.shape[1], 2))
    for rows in design.slices():
        block = design.block(rows)
        transposed += block_transposed_dot(block, weight[rows])
        add_grams(block, weight[rows], gram)
    assert_allclose(transposed, Z.T @ weight, atol=1e-8)
    assert_allclose(gram, design.grams(weight), rtol=1e-12)


def test_design_on_other_rows_keeps_the_columns():
    X = features()
    design = Design.standardised(X, np.ones(80))
    other = design.on(X[:7])
    assert other.shape == (7, 5)
    assert_allclose(whole(other), whole(design)[:7])
    assert not design.same_columns(other)
    assert design.same_columns(Design.standardised(X, np.ones(80)))


@pytest.mark.parametrize("sparse", [False, True])
def test_raw_coefficients_predict_the_same_and_come_back(sparse):
    X = sparsened(features()) if sparse else features()
    design = Design.standardised(X, weights(80))
    coef = np.random.RandomState(0).normal(size=(5, 2))
    slopes, intercept = design.to_raw(coef)
    assert_allclose(X @ slopes + intercept, design.dot(coef), atol=1e-8)
    assert_allclose(design.from_raw(slopes, intercept), coef, atol=1e-11)


# -- normal equations -----------------------------------------------------------------------


def test_solve_spd_equals_numpy():
    rng = np.random.RandomState(0)
    root = rng.normal(size=(6, 6)) * 10.0 ** np.arange(-3, 3)
    matrix, right = root.T @ root, rng.normal(size=(6, 2))
    expected = np.linalg.solve(matrix, right)
    assert_allclose(matrix @ solve_spd(matrix, right), right, atol=1e-6)
    assert_allclose(solve_spd(matrix, right), expected, rtol=1e-6)


@pytest.mark.parametrize("zeros", [False, True])
def test_solve_spd_of_a_singular_matrix_is_the_minimum_norm(zeros):
    Z = np.random.RandomState(0).normal(size=(40, 3))
    Z /= np.sqrt(np.sum(Z**2, axis=0))
    Z = np.column_stack([Z, Z[:, 0], np.zeros(40)] if zeros else [Z, Z[:, 0]])
    right = Z.T @ np.arange(40.0)[:, None]
    assert_allclose(solve_spd(Z.T @ Z, right), np.linalg.pinv(Z.T @ Z) @ right, atol=1e-8)


def test_solve_spd_of_zero_is_zero():
    assert_array_equal(solve_spd(np.zeros((3, 3)), np.zeros((3, 1))), 0.0)


@pytest.mark.parametrize("sparse", [False, True])
def test_wide_experts_descend_to_the_ridge_solution(sparse):
    """Conjugate gradients, in the place of Gram matrices larger than the data."""
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(60, 1100)), rng.normal(size=(60, 1))
    X = sparsened(X, share=0.8) if sparse else X
    data = regression_data(X, y, weights(60))
    experts = LinearExpert(alpha=200.0).collection(2).start(data)
    assert not experts.additive(data)
    resp, dispersion = responsibilities(60, 2), np.array([[0.5], [2.0]])
    for _ in range(12):
        pred = experts.fit_predict(data, resp, dispersion)
    dense = X.toarray() if sparse else X
    Z = naive.columns(dense, data.X.center, data.X.scale)
    for k in range(2):
        penalty = 200.0 * dispersion[k, 0] / data.y_scale[0] ** 2
        expected = Z @ naive.ridge(Z, y[:, 0], data.weight * resp[:, k], penalty)
        assert_allclose(pred[:, k, 0], expected, atol=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
def test_columns_that_are_not_scaled(sparse):
    rng = np.random.RandomState(0)
    X = 3.0 + 5.0 * rng.normal(size=(30, 2))
    weight = rng.uniform(size=30)
    view = Design.standardised(sp.csr_matrix(X) if sparse else X, weight, scaled=False)
    assert_array_equal(view.scale, np.ones(2))
    assert_allclose(view.center, 0.0 if sparse else weight @ X / weight.sum())
