"""Degenerate but legal input: finite, sensible results, and a warning where one is due."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor

N = 60
rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(N, 2))
Y = np.abs(X[:, 0]) + 0.05 * rng.normal(size=N)
LABELS = np.where(np.abs(X[:, 0]) > 0.5, "far", "near")
TREE = DecisionTreeRegressor(max_depth=3)
REGRESSORS = {"linear": None, "tree": TREE, "neighbours": KNeighborsRegressor(3)}
CLASSIFIERS = {
    "linear": None,
    "tree": DecisionTreeClassifier(max_depth=3),
    "neighbours": KNeighborsClassifier(3),
}
# Of runs on data without regimes.
UNSETTLED = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def regressor(kind="linear", n_experts=2, **settings):
    return MoERegressor(REGRESSORS[kind], n_experts, random_state=0, **settings)


def classifier(kind="linear", n_experts=2, **settings):
    return MoEClassifier(CLASSIFIERS[kind], n_experts, random_state=0, **settings)


def assert_sound(model, X, y):
    """Finite everywhere, and probabilities are probabilities."""
    for values in (model.log_likelihood(X, y), model.objective_, *model.history_["objective"]):
        assert np.isfinite(values).all()
    for proba in (model.gate_proba(X), model.responsibilities(X, y)):
        np.testing.assert_allclose(proba.sum(axis=1), 1.0)
        assert (proba >= 0).all()
    assert np.isclose(model.load_.sum(), 1.0)
    if isinstance(model, MoERegressor):
        mean, std = model.predict(X, return_std=True)
        assert np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()
        assert np.ptp(mean) <= 3 * np.ptp(y) + 1e-6 * np.abs(y).max()
    else:
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


@UNSETTLED
@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.parametrize("value", [0.0, -3.0, 1e8, 1e-8])
def test_constant_target(kind, value):
    y = np.full(N, value)
    model = regressor(kind).fit(X, y)
    assert_sound(model, X, y)
    np.testing.assert_allclose(model.predict(X), value, rtol=1e-9, atol=1e-9)


@UNSETTLED
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_one_class(kind):
    y = np.full(N, "only")
    with pytest.warns(UserWarning, match="y has one class only, .*'only'.*all that can be"):
        model = classifier(kind).fit(X, y)
    assert_sound(model, X, y)
    assert (model.predict(X) == "only").all() and (model.predict_proba(X) == 1.0).all()


@UNSETTLED
@pytest.mark.parametrize("kind", REGRESSORS)
def test_equal_rows(kind):
    """Rows that are all the same: the mean of the targets is all there is to know."""
    rows = np.ones((N, 2))
    model = regressor(kind, n_experts=3).fit(rows, Y)
    assert_sound(model, rows, Y)
    assert np.ptp(model.predict(rows)) < 1e-9
    if kind != "neighbours":
        assert np.isclose(model.predict(rows)[0], Y.mean(), atol=0.1)


@UNSETTLED
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_equal_rows_of_several_classes(kind):
    rows = np.ones((N, 2))
    model = classifier(kind, n_experts=3).fit(rows, LABELS)
    assert_sound(model, rows, LABELS)
    if kind != "neighbours":
        share = np.mean(LABELS == "far")
        np.testing.assert_allclose(model.predict_proba(rows)[:, 0], share, atol=0.05)


@UNSETTLED
@pytest.mark.parametrize("kind", REGRESSORS)
def test_fewer_distinct_rows_than_experts(kind):
    rows = np.repeat([[0.0, 1.0], [1.0, 0.0]], N // 2, axis=0)
    y = np.repeat([1.0, 2.0], N // 2)
    model = regressor(kind, n_experts=4).fit(rows, y)
    assert_sound(model, rows, y)
    np.testing.assert_allclose(model.predict(rows), y, atol=0.05)


@UNSETTLED
@pytest.mark.parametrize("kind", REGRESSORS)
def test_as_many_experts_as_rows(kind):
    rows, y = X[:4], Y[:4]
    assert_sound(regressor(kind, n_experts=4, cross_fit=None).fit(rows, y), rows, y)


@pytest.mark.parametrize("kind", REGRESSORS)
def test_one_expert(kind):
    model = regressor(kind, n_experts=1).fit(X, Y)
    assert_sound(model, X, Y)
    assert (model.gate_proba(X) == 1.0).all() and (model.load_ == 1.0).all()
    expected = model.experts_[0].predict(X)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-12)


@UNSETTLED
@pytest.mark.parametrize("kind", ["linear", "tree"])
@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_few_rows(kind, n_rows):
    model = regressor(kind, n_experts=1).fit(X[:n_rows], Y[:n_rows])
    assert_sound(model, X, Y)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_constant_and_collinear_columns_change_nothing(task):
    make, y = (regressor, Y) if task == "regression" else (classifier, LABELS)
    more = np.column_stack([X, np.full(N, 7.0), np.zeros(N)])
    answer = "predict" if task == "regression" else "predict_proba"
    plain, constant = make().fit(X, y), make().fit(more, y)
    expected = getattr(plain, answer)(X)
    np.testing.assert_allclose(getattr(constant, answer)(more), expected, atol=1e-3)
    twins = np.column_stack([X, X[:, :1], X.sum(axis=1)])
    model = make().fit(twins, y)
    assert_sound(model, twins, y)
    assert model.score(twins, y) > plain.score(X, y) - 0.02


# About 1e8 and 1e-8; powers of two, so that trees round alike. A tree takes a column, or a
# target, that varies by less than about 1e-7 for constant.
LARGE, SMALL = 2.0**27, 2.0**-27
SCALES = [("linear", LARGE), ("linear", SMALL), ("tree", LARGE)]


@UNSETTLED
@pytest.mark.parametrize("kind, scale", SCALES)
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_scale_of_features(kind, scale, shift):
    """Units and origin of the features do not matter."""
    moved = scale * (X + shift)
    model, plain = regressor(kind).fit(moved, Y), regressor(kind).fit(X, Y)
    assert_sound(model, moved, Y)
    np.testing.assert_allclose(model.predict(moved), plain.predict(X), atol=1e-2)
    model, plain = classifier(kind).fit(moved, LABELS), classifier(kind).fit(X, LABELS)
    assert_sound(model, moved, LABELS)
    assert np.mean(model.predict(moved) == plain.predict(X)) > 0.97


def test_features_of_different_scales():
    wide = X * [1e8, 1e-8]
    model, plain = regressor().fit(wide, Y), regressor().fit(X, Y)
    assert_sound(model, wide, Y)
    np.testing.assert_allclose(model.predict(wide), plain.predict(X), atol=1e-3)


@UNSETTLED
@pytest.mark.parametrize("kind, scale", SCALES)
def test_scale_of_the_target(kind, scale):
    """Units of the target: predictions and noise scale, the log-density shifts."""
    model, plain = regressor(kind).fit(X, scale * Y), regressor(kind).fit(X, Y)
    assert_sound(model, X, scale * Y)
    np.testing.assert_allclose(model.predict(X) / scale, plain.predict(X), atol=1e-6)
    np.testing.assert_allclose(model.objective_, plain.objective_, atol=1e-6)
    shifted = model.log_likelihood(X, scale * Y) + np.log(scale)
    np.testing.assert_allclose(shifted, plain.log_likelihood(X, Y), atol=1e-6)


@UNSETTLED
def test_target_far_from_zero():
    model, plain = regressor().fit(X, Y + 1e6), regressor().fit(X, Y)
    np.testing.assert_allclose(model.predict(X) - 1e6, plain.predict(X), atol=1e-3)


@UNSETTLED
@pytest.mark.parametrize("kind", ["linear", "tree"])
def test_separable_regimes_without_noise(kind):
    """|x|: two exact lines; the floor keeps the noise above zero and the gate finite."""
    x = np.linspace(-1, 1, 201)[:, None]
    y = np.abs(x[:, 0])
    model = regressor(kind).fit(x, y)
    assert_sound(model, x, y)
    assert model.score(x, y) > (0.999 if kind == "linear" else 0.9)
    assert np.abs(model.gate_.coef_).max() < 1e4
    assert (model.likelihood_.scale_ > 1e-4).all()


@UNSETTLED
def test_separable_classes():
    x = np.linspace(-1, 1, 101)[:, None]
    y = (np.abs(x[:, 0]) > 0.5).astype(int)
    model = classifier().fit(x, y)
    assert_sound(model, x, y)
    assert model.score(x, y) > 0.97


@UNSETTLED
def test_missing_values_count_as_the_average_for_the_gate():
    holes = X.copy()
    holes[::7, 0] = np.nan
    boosting = HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5)
    model = MoERegressor(boosting, n_experts=2, max_iter=3).fit(holes, Y)
    assert_sound(model, holes, Y)
    filled = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    np.testing.assert_allclose(model.gate_proba(holes), model.gate_proba(filled), atol=1e-12)


@UNSETTLED
def test_missing_values_in_columns_that_linear_experts_do_not_see():
    holes = X.copy()
    holes[::7, 1] = np.nan
    model = regressor(expert_features=[0]).fit(holes, Y)
    assert_sound(model, holes, Y)


@UNSETTLED
def test_an_outlier_does_not_drown_the_rest():
    y = Y.copy()
    y[0] = 1e6
    model = regressor(n_experts=2).fit(X, y)
    assert np.isfinite(model.predict(X)).all() and np.isfinite(model.log_likelihood(X, y)).all()


@UNSETTLED
@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("kind", ["linear", "tree"])
def test_scale_of_weights(kind, scale):
    """Tiny and huge weights are weights: predictions stay sensible."""
    model = regressor(kind).fit(X, Y, sample_weight=np.full(N, scale))
    assert np.isfinite(model.predict(X)).all() and np.isfinite(model.objective_)
