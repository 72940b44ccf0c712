"""Linear experts: additive sums, exact residual form, and the ridge that they solve."""

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import regression, regression_data, responsibilities, sparsened, weights
from sklearn.linear_model import LinearRegression, Ridge

from skmoe.experts import LinearExpert


def problem(seed=0, *, n_outputs=1, sparse=False, d=3):
    X, y = regression(seed, d=d, n_outputs=n_outputs)
    X = sparsened(X) if sparse else X
    return regression_data(X, y, weights(len(y), seed)), responsibilities(len(y), 3, seed)


def dense_columns(design):
    X = design.X.toarray() if design.is_sparse else design.X
    return naive.columns(X, design.center, design.scale)


def statistics(experts, data, resp, rows):
    design = data.X.on(data.X.X[rows])
    block = design.block(slice(0, design.shape[0]))
    residual = data.y[rows][:, None, :] - experts.predict(design)
    return experts.statistics(block, (resp * data.weight[:, None])[rows], residual)


def moved(experts, seed=0):
    """The same experts with coefficients from anywhere."""
    experts.coef = np.random.RandomState(seed).normal(size=experts.coef.shape)
    return experts


@pytest.mark.parametrize("sparse", [False, True])
def test_statistics_of_blocks_add_up_to_those_of_the_whole(sparse):
    data, resp = problem(n_outputs=2, sparse=sparse)
    experts = moved(LinearExpert().collection(3).start(data))
    whole = statistics(experts, data, resp, slice(0, 120))
    parts = [statistics(experts, data, resp, rows) for rows in np.array_split(np.arange(120), 5)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    for name in ("gram", "gradient", "weight", "squares"):
        assert_allclose(getattr(total, name), getattr(whole, name), rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("sparse", [False, True])
def test_statistics_equal_their_definition(sparse):
    data, resp = problem(n_outputs=2, sparse=sparse)
    experts = moved(LinearExpert().collection(3).start(data))
    found = statistics(experts, data, resp, slice(0, 120))
    Z, row_weight = dense_columns(data.X), resp * data.weight[:, None]
    residual = data.y[:, None, :] - np.einsum("nd,dkm->nkm", Z, experts.coef)
    assert_allclose(found.gram, naive.weighted_grams(Z, row_weight), atol=1e-9)
    assert_allclose(found.gradient, np.einsum("nd,nk,nkm->dkm", Z, row_weight, residual), atol=1e-9)
    assert_allclose(found.weight, row_weight.sum(axis=0))
    assert_allclose(found.squares, np.einsum("nk,nkm->km", row_weight, residual**2))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_m_step_equals_naive_ridge(alpha, sparse, n_outputs):
    data, resp = problem(n_outputs=n_outputs, sparse=sparse)
    dispersion = np.random.RandomState(1).uniform(0.1, 3.0, size=(3, n_outputs))
    experts = moved(LinearExpert(alpha).collection(3).start(data))
    pred = experts.fit_predict(data, resp, dispersion)
    Z = dense_columns(data.X)
    for k in range(3):
        for j in range(n_outputs):
            penalty = alpha * dispersion[k, j] / data.y_scale[j] ** 2
            coef = naive.ridge(Z, data.y[:, j], data.weight * resp[:, k], penalty)
            assert_allclose(experts.coef[:, k, j], coef, atol=1e-9)
            assert_allclose(pred[:, k, j], Z @ coef, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 10.0])
def test_update_returns_the_residual_squares_of_the_new_coefficients(alpha):
    data, resp = problem(n_outputs=2)
    experts = moved(LinearExpert(alpha).collection(3).start(data))
    squares = experts.update(statistics(experts, data, resp, slice(0, 120)), np.ones((3, 2)))
    error = data.y[:, None, :] - experts.predict(data.X)
    assert_allclose(squares, np.einsum("nk,nkm->km", resp * data.weight[:, None], error**2))


def test_update_replaces_the_array_so_that_shallow_copies_keep_theirs():
    data, resp = problem()
    experts = LinearExpert().collection(3).start(data)
    before = experts.coef
    kept = before.copy()
    experts.fit_predict(data, resp, np.ones((3, 1)))
    assert experts.coef is not before
    assert_array_equal(before, kept)


def test_residual_form_is_exact_where_normal_equations_in_y_cancel():
    """Regimes at -1000 and 1000 with a noise variance of 1e-12."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(400, 2))
    regime = (X[:, 0] > 0).astype(int)
    noise = 1e-6 * rng.normal(size=400)
    y = np.where(regime, 1000.0, -1000.0) + X @ [1.0, -2.0] + noise
    data, resp = regression_data(X, y), np.eye(2)[regime]
    experts = LinearExpert(alpha=0.0).collection(2).start(data)
    for _ in range(2):  # the first step takes the experts to their regimes
        stats = statistics(experts, data, resp, slice(0, 400))
        squares = experts.update(stats, np.ones((2, 1)))
    Z = dense_columns(data.X)
    for k in range(2):
        rows = regime == k
        residual = noise[rows] - Z[rows] @ naive.ridge(Z[rows], noise[rows], np.ones(rows.sum()), 0)
        variance = np.mean(residual**2)
        assert_allclose(squares[k, 0] / rows.sum(), variance, rtol=1e-6)
        coef = naive.ridge(Z[rows], y[rows], np.ones(rows.sum()), 0.0)
        gram, moment = Z[rows].T @ Z[rows], Z[rows].T @ y[rows]
        cancelled = (y[rows] @ y[rows] - 2 * coef @ moment + coef @ gram @ coef) / rows.sum()
        assert abs(cancelled - variance) > 10 * variance


def test_expert_without_weight_stays_as_it_is():
    data, resp = problem()
    resp = np.column_stack([resp[:, :2], np.zeros(120)])
    experts = moved(LinearExpert().collection(3).start(data))
    before = experts.coef[:, 2].copy()
    experts.fit_predict(data, resp, np.ones((3, 1)))
    assert_array_equal(experts.coef[:, 2], before)
    assert np.isfinite(experts.coef).all()


def test_duplicated_columns_share_the_slope():
    """Minimum norm: of two equal columns each gets half."""
    X, y = regression(0)
    plain = regression_data(X, y)
    double = regression_data(np.column_stack([X, X[:, 0]]), y)
    resp = responsibilities(120, 2)
    one, two = (LinearExpert(0.0).collection(2).start(data) for data in (plain, double))
    expected = one.fit_predict(plain, resp, np.ones((2, 1)))
    assert_allclose(two.fit_predict(double, resp, np.ones((2, 1))), expected, atol=1e-7)
    assert_allclose(two.coef[0], two.coef[3], atol=1e-7)
    assert_allclose(two.coef[0] + two.coef[3], one.coef[0], atol=1e-7)


def test_fewer_rows_than_columns_are_fitted_exactly_without_penalty():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(8, 20)), rng.normal(size=(8, 1))
    data = regression_data(X, y)
    experts = LinearExpert(0.0).collection(1).start(data)
    pred = experts.fit_predict(data, np.ones((8, 1)), np.ones((1, 1)))
    assert_allclose(pred[:, 0], y, atol=1e-6)
    Z = dense_columns(data.X)
    error = y[:, 0] - data.y.mean()
    expected = data.y.mean() + Z @ np.linalg.lstsq(Z, error, rcond=None)[0]
    assert_allclose(pred[:, 0, 0], expected, atol=1e-6)


def test_constant_column_gets_no_slope():
    X, y = regression(0)
    data = regression_data(np.column_stack([X, np.full(120, 7.0)]), y)
    experts = LinearExpert(0.0).collection(2).start(data)
    experts.fit_predict(data, responsibilities(120, 2), np.ones((2, 1)))
    assert_allclose(experts.coef[3], 0.0, atol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
def test_prediction_on_rows_of_each_expert(sparse):
    data, _ = problem(n_outputs=2, sparse=sparse)
    experts = moved(LinearExpert().collection(3).start(data))
    whole = experts.predict(data.X.X)
    assert whole.shape == (120, 3, 2)
    rows = [np.array([5, 3, 3]), np.array([], dtype=int), np.arange(120)]
    parts = experts.predict(data.X.X, rows)
    for k, (part, some) in enumerate(zip(parts, rows)):
        assert part.shape == (len(some), 2)
        assert_allclose(part, whole[some, k], atol=1e-10)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("sparse", [False, True])
def test_published_estimators_predict_the_same(n_outputs, sparse):
    data, resp = problem(n_outputs=n_outputs, sparse=sparse)
    experts = LinearExpert().collection(3).start(data)
    pred = experts.fit_predict(data, resp, np.ones((3, n_outputs)))
    published = experts.published()
    assert len(published) == 3
    for k, expert in enumerate(published):
        assert isinstance(expert, LinearRegression)
        expected = pred[:, k, 0] if n_outputs == 1 else pred[:, k]
        assert_allclose(expert.predict(data.X.X), expected, atol=1e-9)


def test_penalty_is_in_units_of_the_standardised_target():
    X, y = regression(0, n_outputs=2)
    one, other = regression_data(X, y), regression_data(X, y * [10.0, 0.01])
    resp = responsibilities(120, 3)
    penalties = []
    for data in (one, other):
        experts = LinearExpert(3.0).collection(3).start(data)
        experts.fit_predict(data, resp, np.tile(data.base_variance, (3, 1)))
        penalties.append(experts.penalty())
    slopes = experts.coef[:-1] / other.y_scale
    assert_allclose(penalties[1], 1.5 * np.sum(slopes**2))
    assert_allclose(*penalties)


def test_one_expert_equals_ridge_of_sklearn():
    X, y = regression(0)
    data = regression_data(X, y, weights(120))
    experts = LinearExpert(5.0).collection(1).start(data)
    pred = experts.fit_predict(data, np.ones((120, 1)), np.array([[2.0]]))
    Z = dense_columns(data.X)[:, :-1]
    reference = Ridge(5.0 * 2.0 / data.y_scale[0] ** 2).fit(Z, y[:, 0], sample_weight=weights(120))
    assert_allclose(pred[:, 0, 0], reference.predict(Z), atol=1e-9)


def test_wide_experts_never_descend():
    """Every call of conjugate gradients lowers each penalised sum of squares."""
    rng = np.random.RandomState(0)
    data = regression_data(rng.normal(size=(40, 1100)), rng.normal(size=(40, 1)))
    experts, dispersion = LinearExpert(1.0).collection(2).start(data), np.array([[0.1], [3.0]])
    assert not experts.additive(data)

    def losses(resp):
        error = data.y[:, None, :] - experts.predict(data.X)
        squares = np.einsum("nk,nkm->km", resp, error**2)
        penalty = np.einsum("dkm->km", (experts.coef[:-1] / data.y_scale) ** 2)
        return (squares / dispersion + penalty)[:, 0]

    for seed in range(4):
        resp = responsibilities(40, 2, seed)
        before = losses(resp)
        experts.fit_predict(data, resp, dispersion)
        assert (losses(resp) <= before * (1 + 1e-12)).all()


def test_resumed_experts_predict_the_same_from_another_view():
    data, resp = problem(n_outputs=2)
    experts = LinearExpert().collection(3).start(data)
    experts.fit_predict(data, resp, np.ones((3, 2)))
    other = regression_data(3.0 * data.X.X[:50] + 1.0, data.y[:50])
    resumed = experts.resumed(other)
    assert_allclose(resumed.predict(data.X.X), experts.predict(data.X.X), atol=1e-9)
