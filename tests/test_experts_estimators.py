"""Arbitrary scikit-learn estimators as experts."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.special import log_softmax
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe.experts._weights import resample, weight_key
from skmoe.experts.estimators import (
    EstimatorExperts,
    accepts_nan,
    accepts_sparse,
    make_folds,
)

N_ROWS = 90
LABELS = np.array(["a", "b", "c"])


class Recorder(RegressorMixin, BaseEstimator):
    """Records the rows that it is asked about; predicts the first column."""

    def __init__(self, calls=None):
        self.calls = calls

    def fit(self, X, y, sample_weight=None):
        self.seen_ = np.array(X)
        self.weight_ = sample_weight
        self.asked_ = []
        return self

    def predict(self, X):
        self.asked_.append(np.array(X[:, 0]))
        return X[:, 0]


class Predicts(RegressorMixin, BaseEstimator):
    """Returns whatever `what` makes of X, or raises it."""

    def __init__(self, what, in_fit=False):
        self.what = what
        self.in_fit = in_fit

    def fit(self, X, y):
        return self.what(X) if self.in_fit else self

    def predict(self, X):
        return self.what(X)


class Labels(ClassifierMixin, BaseEstimator):
    """A classifier that has predict only."""

    def fit(self, X, y):
        self.tree_ = DecisionTreeClassifier(max_depth=1, random_state=0).fit(X, y)
        return self

    def predict(self, X):
        return self.tree_.predict(X)


class Reversed(ClassifierMixin, BaseEstimator):
    """A classifier whose classes_ are in descending order."""

    def fit(self, X, y):
        self.tree_ = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, y)
        self.classes_ = self.tree_.classes_[::-1]
        return self

    def predict_proba(self, X):
        return self.tree_.predict_proba(X)[:, ::-1]


class Fails(RegressorMixin, BaseEstimator):
    """Raises `error` in fit."""

    def __init__(self, error):
        self.error = error

    def fit(self, X, y):
        raise self.error

    def predict(self, X):
        return np.zeros(len(X))


def regression(n_outputs=1, folds=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N_ROWS, 3))
    y = np.sin(X @ rng.normal(size=(3, n_outputs))) + 0.1 * rng.normal(size=(N_ROWS, n_outputs))
    weight = rng.uniform(0.5, 2.0, size=N_ROWS)
    return SimpleNamespace(X=X, y=y, weight=weight, folds=folds)


def classification(folds=None, n_classes=3):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N_ROWS, 3))
    y = np.argmax(X[:, :n_classes] + 0.3 * rng.normal(size=(N_ROWS, n_classes)), axis=1)
    weight = rng.uniform(0.5, 2.0, size=N_ROWS)
    return SimpleNamespace(X=X, y=y.astype(np.intp), weight=weight, folds=folds)


def shares(n_experts=2, n_rows=N_ROWS):
    return np.random.default_rng(2).dirichlet(np.ones(n_experts), size=n_rows)


def collection(*templates, **settings):
    return EstimatorExperts(list(templates), [f"e{k}" for k in range(len(templates))], **settings)


def folds_of(data, classes=None):
    return make_folds(data.y, N_ROWS, 3, 0, classes)


# weights


@pytest.mark.parametrize("template", [Ridge(), DecisionTreeRegressor(max_depth=3, random_state=0)])
def test_integer_weights_equal_repeated_rows(template):
    data = regression()
    times = np.random.default_rng(3).integers(0, 4, size=N_ROWS)
    data.weight = np.maximum(times, 1).astype(float)
    resp = np.column_stack([times > 0, np.ones(N_ROWS)]).astype(float)
    experts = collection(template, template).fit(data, resp)
    repeated = clone(template).fit(np.repeat(data.X, times, axis=0), np.repeat(data.y, times))
    np.testing.assert_allclose(
        experts.predict(data.X)[:, 0, 0], repeated.predict(data.X), rtol=1e-9, atol=1e-12
    )


def test_experts_see_weighted_rows_in_order_and_no_negligible_ones():
    data = regression()
    resp = shares()
    resp[::3, 0] = 1e-12
    first, second = collection(Recorder(), Recorder()).fit(data, resp).published()
    kept = np.arange(N_ROWS) % 3 != 0
    np.testing.assert_array_equal(first.seen_, data.X[kept])
    np.testing.assert_array_equal(first.weight_, (data.weight * resp[:, 0])[kept])
    np.testing.assert_array_equal(second.seen_, data.X)


def test_nothing_is_mutated():
    data = regression()
    resp, template = shares(), RandomForestRegressor(n_estimators=3)
    before = [data.X.copy(), data.y.copy(), data.weight.copy(), resp.copy()]
    collection(template, KNeighborsRegressor()).fit_predict(data, resp)
    for old, new in zip(before, [data.X, data.y, data.weight, resp], strict=True):
        np.testing.assert_array_equal(old, new)
    assert template.random_state is None and not hasattr(template, "estimators_")


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_resampling_counts_are_the_weights(scale):
    weight = scale * np.random.default_rng(4).uniform(0.01, 1.0, size=2000)
    rows = resample(weight, 0.3)
    n_effective = weight.sum() ** 2 / np.sum(weight**2)
    assert len(rows) == round(n_effective) and (np.diff(rows) >= 0).all()
    expected = len(rows) * weight / weight.sum()
    assert np.abs(np.bincount(rows, minlength=2000) - expected).max() < 1.0


def test_resampling_equal_weights_keeps_the_rows():
    np.testing.assert_array_equal(resample(np.full(7, 0.3), 0.9), np.arange(7))


def test_resampling_keeps_a_handful_of_rows():
    weight = np.full(50, 1e-6)
    weight[3] = 1.0
    assert len(resample(weight, 0.5)) == 20
    assert len(resample(weight[:5], 0.5)) == 5


def test_a_starved_expert_without_weights_gets_its_rows_repeated():
    """Three neighbours of an expert that is left with two rows."""
    data = regression()
    resp = np.zeros((N_ROWS, 2))
    resp[:, 0], resp[:2, 1] = 1.0, 1.0
    experts = collection(Ridge(), KNeighborsRegressor(3))
    pred = experts.fit_predict(data, resp)
    assert np.isfinite(pred).all()
    assert set(np.round(experts.estimators_[1]._y, 12)) <= set(np.round(data.y[:2, 0], 12))


def test_resampled_neighbours_approximate_the_weighted_mean():
    rng = np.random.default_rng(5)
    n_rows = 4000
    X, weight = np.zeros((n_rows, 1)), rng.uniform(0.0, 1.0, size=n_rows)
    y = weight[:, None] + rng.normal(size=(n_rows, 1))
    data = SimpleNamespace(X=X, y=y, weight=weight, folds=None)
    n_effective = round(weight.sum() ** 2 / np.sum(weight**2))
    experts = collection(KNeighborsRegressor(n_effective)).fit(data, np.ones((n_rows, 1)))
    mean = experts.predict(X[:1])[0, 0, 0]
    assert mean == pytest.approx(np.average(y[:, 0], weights=weight), abs=0.03)
    assert abs(mean - y.mean()) > 0.1


@pytest.mark.parametrize(
    ("template", "key"),
    [
        (Ridge(), "sample_weight"),
        (KNeighborsRegressor(), None),
        (make_pipeline(StandardScaler(), Ridge()), "ridge__sample_weight"),
        (make_pipeline(StandardScaler(), KNeighborsRegressor()), None),
        (make_pipeline(StandardScaler(), "passthrough"), None),
        (
            make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), Ridge())),
            "pipeline__ridge__sample_weight",
        ),
        (TransformedTargetRegressor(), "sample_weight"),
        (
            TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge())),
            "ridge__sample_weight",
        ),
        (GridSearchCV(Ridge(), {}), "sample_weight"),
        (GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {}), "ridge__sample_weight"),
        (GridSearchCV(KNeighborsRegressor(), {}), None),
        (VotingRegressor([("a", Ridge()), ("b", "drop")]), "sample_weight"),
        (VotingRegressor([("a", Ridge()), ("b", KNeighborsRegressor())]), None),
        (RegressorChain(Ridge()), "sample_weight"),
        (MultiOutputRegressor(Ridge()), "sample_weight"),
        (MultiOutputRegressor(KNeighborsRegressor()), None),
        (FrozenEstimator(Ridge()), None),
    ],
)
def test_weight_key(template, key):
    assert weight_key(template) == key


@pytest.mark.parametrize(
    "template",
    [
        make_pipeline(StandardScaler(), Ridge()),
        make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), Ridge())),
        GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1e-3, 1.0]}, cv=3),
        TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge())),
    ],
)
def test_weights_reach_the_last_step_and_not_the_scaler(template):
    data, resp = regression(), shares()
    (fitted,) = collection(template).fit(data, resp[:, :1]).published()
    direct = clone(template).fit(
        data.X, data.y[:, 0], **{weight_key(template): data.weight * resp[:, 0]}
    )
    np.testing.assert_allclose(fitted.predict(data.X), direct.predict(data.X), rtol=1e-12)
    assert not np.allclose(
        fitted.predict(data.X), clone(template).fit(data.X, data.y[:, 0]).predict(data.X)
    )


@pytest.mark.parametrize(
    "template",
    [
        Ridge(),
        make_pipeline(StandardScaler(), Ridge()),
        make_pipeline(SelectFromModel(Ridge(), max_features=2), Ridge()),
        make_pipeline(StandardScaler(), GridSearchCV(Ridge(), {"alpha": [1e-3, 1.0]}, cv=3)),
        GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {}, cv=3, scoring="r2"),
        GridSearchCV(Ridge(), {}, cv=3, scoring=["r2", "neg_mean_absolute_error"], refit="r2"),
        GridSearchCV(Ridge(), {}, cv=3, scoring={"fit": "r2"}, refit="fit"),
        TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge())),
        VotingRegressor([("a", Ridge())]),
        make_pipeline(StandardScaler(), KNeighborsRegressor()),
    ],
)
def test_metadata_routing_changes_nothing(template):
    data, resp = regression(), shares(1)
    data.weight = np.random.default_rng(0).uniform(0.1, 2.0, size=N_ROWS)
    plain = collection(template).fit_predict(data, resp)
    with config_context(enable_metadata_routing=True):
        before = repr(getattr(template, "_metadata_request", None))
        routed = collection(template).fit_predict(data, resp)
        assert repr(getattr(template, "_metadata_request", None)) == before
    np.testing.assert_allclose(routed, plain, rtol=1e-12)


def test_metadata_routing_respects_the_users_requests_for_transformers():
    data, resp = regression(), shares(1)
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        (fitted,) = collection(make_pipeline(scaler, Ridge())).fit(data, resp).published()
    np.testing.assert_allclose(fitted[0].mean_, np.average(data.X, axis=0, weights=data.weight))


def test_metadata_routing_resamples_for_estimators_that_cannot_route():
    data, resp = regression(), shares()
    with config_context(enable_metadata_routing=True):
        pred = collection(*[AdaBoostRegressor(n_estimators=3)] * 2).fit_predict(data, resp)
    assert np.isfinite(pred).all()


# fitting and predicting


def test_in_sample_predictions_are_predictions():
    data, resp = regression(), shares(3)
    experts = collection(Ridge(), RandomForestRegressor(n_estimators=5), KNeighborsRegressor())
    pred = experts.fit_predict(data, resp)
    assert pred.shape == (N_ROWS, 3, 1) and pred.dtype == np.float64
    np.testing.assert_array_equal(pred, experts.predict(data.X))
    assert experts.n_experts == 3 and experts.penalty() == 0.0


def test_fit_equals_fit_predict():
    data, resp = regression(), shares()
    templates = [RandomForestRegressor(n_estimators=5), HistGradientBoostingRegressor(max_iter=5)]
    fitted = collection(*templates).fit(data, resp)
    np.testing.assert_array_equal(
        fitted.predict(data.X), collection(*templates).fit_predict(data, resp)
    )


def test_out_of_fold_predictions_do_not_know_their_rows():
    data, resp = regression(), np.ones((N_ROWS, 1))
    data.weight = np.ones(N_ROWS)
    experts = collection(KNeighborsRegressor(n_neighbors=1))
    np.testing.assert_array_equal(experts.fit_predict(data, resp)[:, 0], data.y)
    data.folds = folds_of(data)
    pred = collection(KNeighborsRegressor(n_neighbors=1)).fit_predict(data, resp)
    assert np.abs(pred[:, 0] - data.y).min() > 0


def test_out_of_fold_predictions_equal_a_hand_written_loop():
    data, resp = regression(), shares()
    data.folds = folds_of(data)
    experts = collection(Ridge(), DecisionTreeRegressor(max_depth=3))
    pred = experts.fit_predict(data, resp)
    assert not hasattr(experts, "estimators_")
    for train, test in data.folds:
        weight = (data.weight * resp[:, 0])[train]
        ridge = Ridge().fit(data.X[train], data.y[train, 0], sample_weight=weight)
        np.testing.assert_allclose(pred[test, 0, 0], ridge.predict(data.X[test]), rtol=1e-12)


def test_folds_leave_the_final_experts_alone():
    data, resp = regression(), shares()
    experts = collection(Ridge(), Ridge()).fit(data, resp)
    before = experts.estimators_
    data.folds = folds_of(data)
    experts.fit_predict(data, resp)
    assert experts.estimators_ is before


def test_each_row_runs_in_the_chosen_experts_only():
    data, resp = regression(), shares(3)
    experts = collection(Recorder(), Recorder(), Recorder()).fit(data, resp)
    rows = [np.array([5, 2, 7]), np.array([], dtype=np.intp), np.arange(0, N_ROWS, 2)]
    parts = experts.predict(data.X, rows)
    asked = [fitted.asked_ for fitted in experts.published()]
    assert asked[1] == [] and parts[1].shape == (0, 1)
    for k in (0, 2):
        assert len(asked[k]) == 1
        np.testing.assert_array_equal(asked[k][0], data.X[rows[k], 0])
        np.testing.assert_array_equal(parts[k], data.X[rows[k], :1])


def test_rows_and_all_rows_predict_the_same():
    data, resp = classification(), shares()
    experts = collection(LogisticRegression(), DecisionTreeClassifier(), classes=LABELS)
    pred = experts.fit_predict(data, resp)
    rows = [np.arange(0, 40), np.arange(30, 90)]
    for k, part in enumerate(experts.predict(data.X, rows)):
        np.testing.assert_allclose(part, pred[rows[k], k], rtol=1e-12)


def test_several_outputs():
    data, resp = regression(n_outputs=2), shares()
    experts = collection(Ridge(), KNeighborsRegressor(), single_output=False)
    pred = experts.fit_predict(data, resp)
    assert pred.shape == (N_ROWS, 2, 2)
    direct = Ridge().fit(data.X, data.y, sample_weight=data.weight * resp[:, 0])
    np.testing.assert_allclose(pred[:, 0], direct.predict(data.X), rtol=1e-12)
    assert experts.predict(data.X, [[], []])[0].shape == (0, 2)


def test_sparse_rows():
    data, resp = regression(), shares()
    dense = collection(Ridge(solver="cholesky"), KNeighborsRegressor()).fit_predict(data, resp)
    data.X = sp.csr_array(data.X)
    experts = collection(Ridge(), KNeighborsRegressor())
    pred = experts.fit_predict(data, resp)
    np.testing.assert_allclose(pred[:, 1], dense[:, 1])
    np.testing.assert_allclose(pred[:, 0], dense[:, 0], atol=1e-2)
    data.folds = folds_of(data)
    assert np.isfinite(experts.fit_predict(data, resp)).all()
    assert experts.predict(data.X, [[1, 2], [3]])[1].shape == (1, 1)


def test_frames_with_categories():
    data, resp = regression(), shares()
    frame = pd.DataFrame(data.X, columns=["u", "v", "w"], index=np.arange(N_ROWS)[::-1])
    frame["kind"] = pd.Categorical(np.where(data.X[:, 0] > 0, "high", "low"))
    data.X = frame
    encode = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    experts = collection(make_pipeline(encode, Ridge()), make_pipeline(encode, Ridge(10.0)))
    np.testing.assert_array_equal(experts.fit_predict(data, resp), experts.predict(frame))
    assert list(experts.published()[0].feature_names_in_) == ["u", "v", "w", "kind"]
    data.folds = folds_of(data)
    assert experts.fit_predict(data, resp).shape == (N_ROWS, 2, 1)
    assert experts.predict(frame, [[3, 1], []])[0].shape == (2, 1)


def test_frozen_experts_are_used_as_they_are():
    data, resp = regression(), shares()
    fitted = Ridge().fit(data.X, data.y[:, 0] + 100.0)
    frozen = FrozenEstimator(fitted)
    experts = collection(frozen, Ridge())
    expected = fitted.predict(data.X)
    np.testing.assert_array_equal(experts.fit_predict(data, resp)[:, 0, 0], expected)
    assert experts.published()[0] is frozen
    data.folds = folds_of(data)
    np.testing.assert_array_equal(experts.fit_predict(data, resp)[:, 0, 0], expected)


def test_unfitted_frozen_expert_is_named():
    data, resp = regression(), shares(1)
    with pytest.raises(ValueError, match="expert 'e0' failed in predict"):
        collection(FrozenEstimator(Ridge())).fit_predict(data, resp)


# experts with nothing to learn from


def test_empty_expert_keeps_its_last_fit():
    data, resp = regression(), shares()
    experts = collection(Ridge(), Ridge()).fit(data, resp)
    last = experts.estimators_[0]
    resp = np.column_stack([np.full(N_ROWS, 1e-9), np.ones(N_ROWS)])
    assert experts.fit(data, resp).estimators_[0] is last


@pytest.mark.parametrize("n_left", [0, 1])
def test_empty_expert_without_a_last_fit_learns_from_all_rows(n_left):
    data = regression()
    resp = np.column_stack([np.zeros(N_ROWS), np.ones(N_ROWS)])
    resp[:n_left] = [1.0, 0.0]
    pred = collection(Ridge(), Ridge()).fit_predict(data, resp)
    direct = Ridge().fit(data.X, data.y[:, 0], sample_weight=data.weight)
    np.testing.assert_allclose(pred[:, 0, 0], direct.predict(data.X), rtol=1e-12)


def test_empty_expert_in_a_fold_stays_out_of_fold():
    data, resp = regression(), np.column_stack([np.ones(N_ROWS), np.ones(N_ROWS)])
    experts = collection(*[KNeighborsRegressor(n_neighbors=1)] * 2).fit(data, resp)
    data.folds = folds_of(data)
    resp[:, 0] = 0.0
    pred = experts.fit_predict(data, resp)
    assert np.abs(pred[:, 0] - data.y).min() > 0


# classifiers


def test_probabilities_are_smoothed_and_normalised():
    data, resp = classification(), shares()
    experts = collection(
        DecisionTreeClassifier(), LogisticRegression(), classes=LABELS, smoothing=0.03
    )
    pred = experts.fit_predict(data, resp)
    np.testing.assert_allclose(log_softmax(pred, axis=2), pred, atol=1e-12)
    assert pred[:, 0].min() == pytest.approx(np.log(0.01))
    logistic = experts.published()[1]
    np.testing.assert_allclose(
        np.exp(pred[:, 1]), 0.97 * logistic.predict_proba(data.X) + 0.01, rtol=1e-9
    )
    assert list(logistic.classes_) == list(LABELS)


def test_unseen_classes_have_no_probability():
    data = classification()
    resp = np.column_stack([data.y != 1, np.ones(N_ROWS)]).astype(float)
    experts = collection(LogisticRegression(), LogisticRegression(), classes=LABELS)
    proba = np.exp(experts.fit_predict(data, resp))
    np.testing.assert_allclose(proba[:, 0, 1], 1e-3 / 3)
    np.testing.assert_allclose(
        proba[:, 0, [0, 2]],
        (1 - 1e-3) * experts.published()[0].predict_proba(data.X) + 1e-3 / 3,
    )


def test_one_class_left():
    data = classification()
    resp = np.column_stack([data.y == 2, np.ones(N_ROWS)]).astype(float)
    experts = collection(LogisticRegression(), LogisticRegression(), classes=LABELS)
    pred = experts.fit_predict(data, resp)
    assert isinstance(experts.published()[0], DummyClassifier)
    assert (pred[:, 0].argmax(axis=1) == 2).all()


def test_columns_follow_the_labels_not_their_order():
    data, resp = classification(), shares(1)
    data.weight = np.ones(N_ROWS)
    pred = collection(Reversed(), classes=LABELS).fit_predict(data, resp / resp)
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(data.X, LABELS[data.y])
    np.testing.assert_allclose(
        np.exp(pred[:, 0]), (1 - 1e-3) * tree.predict_proba(data.X) + 1e-3 / 3
    )


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("template", [LinearSVC(), RidgeClassifier(), SVC()])
def test_scores_become_probabilities(template, n_classes):
    data, resp = classification(n_classes=n_classes), shares(1)
    experts = collection(template, classes=LABELS[:n_classes])
    pred = experts.fit_predict(data, resp)[:, 0]
    (fitted,) = experts.published()
    np.testing.assert_array_equal(LABELS[pred.argmax(axis=1)], fitted.predict(data.X))
    assert len(np.unique(pred[:, 0])) > n_classes


@pytest.mark.parametrize("template", [Labels(), SVC(decision_function_shape="ovo", C=0.5)])
def test_labels_alone_become_probabilities(template):
    rng = np.random.default_rng(0)
    classes = np.arange(10, 14)
    data = SimpleNamespace(
        X=rng.normal(size=(60, 2)), y=np.arange(60) % 4, weight=np.ones(60), folds=None
    )
    experts = collection(template, classes=classes)
    pred = experts.fit_predict(data, np.ones((60, 1)))[:, 0]
    np.testing.assert_array_equal(
        classes[pred.argmax(axis=1)], experts.published()[0].predict(data.X)
    )
    np.testing.assert_allclose(np.unique(np.exp(pred)), [2.5e-4, 1 - 7.5e-4])


def test_frozen_classifier_with_an_unknown_label():
    data, resp = classification(), shares(1)
    frozen = FrozenEstimator(LogisticRegression().fit(data.X, np.array(["a", "b", "z"])[data.y]))
    with pytest.raises(ValueError, match=r"expert 'e0' .*\['z'\]"):
        collection(frozen, classes=LABELS).fit_predict(data, resp)


def test_classifiers_without_weights_out_of_fold():
    data, resp = classification(), shares()
    data.folds = folds_of(data, LABELS)
    experts = collection(KNeighborsClassifier(), LinearDiscriminantAnalysis(), classes=LABELS)
    pred = experts.fit_predict(data, resp)
    assert pred.shape == (N_ROWS, 2, 3)
    assert (pred.argmax(axis=2) == data.y[:, None]).mean() > 0.6


# errors


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ValueError("bad"), ValueError),
        (TypeError("bad"), TypeError),
        (UnicodeError("bad"), ValueError),  # a kind of ValueError
        (KeyError("bad"), RuntimeError),
    ],
)
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_errors_in_fit_name_the_expert(raised, kind, n_jobs):
    data, resp = regression(), shares()
    with pytest.raises(kind, match="expert 'e1' failed in fit") as caught:
        collection(Ridge(), Fails(raised), n_jobs=n_jobs).fit(data, resp)
    assert type(caught.value) is kind
    assert type(caught.value.__cause__) is type(raised)


def test_errors_in_predict_name_the_expert():
    data, resp = regression(), shares()
    experts = collection(Ridge(), Ridge()).fit(data, resp)
    with pytest.raises(ValueError, match="expert 'e0' failed in predict") as caught:
        experts.predict(data.X[:, :2])
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda X: np.full(len(X), np.nan), "expert 'e0' predicted NaN"),
        (lambda X: np.full(len(X), np.inf), "expert 'e0' predicted infinite"),
        (lambda X: np.zeros((len(X), 2)), r"expert 'e0' .*shape \(90, 2\); expected \(90, 1\)"),
        (lambda X: np.zeros(3), r"expert 'e0' .*shape \(3,\)"),
    ],
)
def test_bad_predictions_name_the_expert(what, message):
    data, resp = regression(), shares(1)
    with pytest.raises(ValueError, match=message):
        collection(Predicts(what)).fit_predict(data, resp)


def test_a_column_of_predictions_will_do():
    data, resp = regression(), shares(1)
    pred = collection(Predicts(lambda X: X[:, :1])).fit_predict(data, resp)
    np.testing.assert_array_equal(pred[:, 0], data.X[:, :1])


def test_warnings_of_experts_reach_the_user():
    data, resp = regression(), shares(1)
    template = MLPRegressor(max_iter=2, hidden_layer_sizes=3)
    with pytest.warns(ConvergenceWarning):
        collection(template).fit(data, resp)
    with pytest.raises(ConvergenceWarning):  # turned into errors by the test settings
        collection(template).fit(data, resp)


# state


def test_seeds_stay_and_differ_between_experts():
    data, resp = regression(), np.ones((N_ROWS, 2))
    template = make_pipeline(StandardScaler(), RandomForestRegressor(n_estimators=2))
    experts = collection(template, template)
    once = experts.fit_predict(data, resp)
    np.testing.assert_array_equal(experts.fit_predict(data, resp), once)
    assert not np.array_equal(once[:, 0], once[:, 1])
    np.testing.assert_array_equal(collection(template, template).fit_predict(data, resp), once)
    other = collection(template, template, random_state=1).fit_predict(data, resp)
    assert not np.array_equal(once, other)


def test_given_seeds_are_respected():
    data, resp = regression(), shares(1)
    template = RandomForestRegressor(n_estimators=2, random_state=17)
    assert collection(template).fit(data, resp).published()[0].random_state == 17


def test_copies_keep_their_experts():
    data, resp = regression(), shares()
    experts = collection(Ridge(), Ridge()).fit(data, resp)
    kept, list_before = copy.copy(experts), experts.estimators_
    before = kept.predict(data.X)
    experts.fit(data, resp[:, ::-1])
    assert kept.estimators_ is list_before
    np.testing.assert_array_equal(kept.predict(data.X), before)
    assert not np.allclose(experts.predict(data.X), before)


@pytest.mark.parametrize("classify", [False, True])
def test_pickling(classify):
    data, resp = classification() if classify else regression(), shares()
    template = DecisionTreeClassifier() if classify else DecisionTreeRegressor()
    experts = collection(template, template, classes=LABELS if classify else None)
    pred = experts.fit_predict(data, resp)
    again = pickle.loads(pickle.dumps(experts))
    np.testing.assert_array_equal(again.predict(data.X), pred)
    np.testing.assert_array_equal(again.fit_predict(data, resp), pred)


@pytest.mark.parametrize("cross_fit", [False, True])
def test_parallel_equals_serial(cross_fit):
    data, resp = regression(), shares(3)
    data.folds = folds_of(data) if cross_fit else None
    frozen = FrozenEstimator(Ridge().fit(data.X, data.y[:, 0]))
    templates = [RandomForestRegressor(n_estimators=3), KNeighborsRegressor(), frozen]
    serial = collection(*templates).fit_predict(data, resp)
    parallel = collection(*templates, n_jobs=2)
    np.testing.assert_array_equal(parallel.fit_predict(data, resp), serial)
    if not cross_fit:
        np.testing.assert_array_equal(parallel.predict(data.X), serial)


# folds and tags


def test_folds_partition_the_rows_and_stay():
    data = regression()
    folds = make_folds(data.y, N_ROWS, 4, 3, None)
    assert len(folds) == 4
    np.testing.assert_array_equal(np.sort(np.concatenate([t for _, t in folds])), np.arange(N_ROWS))
    for (_, one), (_, two) in zip(folds, make_folds(data.y, N_ROWS, 4, 3, None), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(folds[0][1], make_folds(data.y, N_ROWS, 4, 4, None)[0][1])


def test_folds_are_stratified_where_classes_allow():
    codes = np.repeat([0, 1], [60, 6])
    for _, test in make_folds(codes, 66, 3, 0, LABELS[:2]):
        assert np.sum(codes[test] == 1) == 2
    codes[:2] = 2
    assert len(make_folds(codes, 66, 3, 0, LABELS)) == 3


def test_folds_from_splitters_and_iterables():
    data = regression()
    splitter = KFold(3, shuffle=True, random_state=5)
    from_splitter = make_folds(data.y, N_ROWS, splitter, 0, None)
    from_pairs = make_folds(data.y, N_ROWS, list(splitter.split(data.X)), 0, None)
    half = np.arange(N_ROWS) % 2 == 0
    from_masks = make_folds(data.y, N_ROWS, iter([(half, ~half), (~half, half)]), 0, None)
    for (train, test), (train_too, test_too) in zip(from_splitter, from_pairs, strict=True):
        np.testing.assert_array_equal(train, train_too)
        np.testing.assert_array_equal(test, test_too)
    np.testing.assert_array_equal(from_masks[0][1], np.flatnonzero(~half))


@pytest.mark.parametrize(
    "cross_fit",
    [
        1,
        N_ROWS + 1,
        ShuffleSplit(3, random_state=0),
        KFold(N_ROWS + 1),
        [(np.arange(45), np.arange(45, 90))],
        [(np.arange(90), np.arange(90))],
        [(np.arange(0), np.arange(90))],
        [],
        "three",
    ],
)
def test_bad_folds_name_cross_fit(cross_fit):
    with pytest.raises(ValueError, match="cross_fit="):
        make_folds(regression().y, N_ROWS, cross_fit, 0, None)


@pytest.mark.parametrize(
    ("template", "nan", "sparse"),
    [
        (Ridge(), False, True),
        (HistGradientBoostingRegressor(), True, False),
        (make_pipeline("passthrough", HistGradientBoostingRegressor()), True, False),
        (make_pipeline(SimpleImputer(), Ridge()), True, True),
        (make_pipeline("passthrough", "passthrough"), True, True),
        (FrozenEstimator(HistGradientBoostingRegressor()), True, False),
        (FrozenEstimator(make_pipeline(SimpleImputer(), Ridge())), True, True),
        (GridSearchCV(HistGradientBoostingRegressor(), {}), True, False),
        (TransformedTargetRegressor(HistGradientBoostingRegressor()), True, False),
        (ColumnTransformer([("a", SimpleImputer(), [0]), ("b", "drop", [1])]), True, True),
        (make_union(SimpleImputer(), "passthrough"), True, True),
        (object(), False, False),
    ],
)
def test_what_estimators_accept(template, nan, sparse):
    assert accepts_nan(template) is nan
    # scikit-learn 1.6.0 does not say who takes sparse data: all get it, and may complain.
    unsaid = accepts_sparse(HistGradientBoostingRegressor())
    assert accepts_sparse(template) is (sparse or unsaid)
