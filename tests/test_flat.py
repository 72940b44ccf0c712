"""Flat tables of fitted trees against the trees' own predictions, bit for bit."""

import copy
import gc
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import _flat
from skmoe.experts._flat import RowsOf, Tables
from skmoe.experts._outputs import ClassOutput, MeanOutput

FOREST = {"n_estimators": 5, "random_state": 0}
REGRESSORS = {
    "tree": DecisionTreeRegressor(random_state=0),
    "shallow tree": DecisionTreeRegressor(max_depth=1),
    "poisson tree": DecisionTreeRegressor(criterion="poisson", min_samples_leaf=5),
    "random tree": ExtraTreeRegressor(random_state=0),
    "forest": RandomForestRegressor(**FOREST),
    "extra trees": ExtraTreesRegressor(bootstrap=True, **FOREST),
}
CLASSIFIERS = {
    "tree": DecisionTreeClassifier(max_depth=4, random_state=0),
    "random tree": ExtraTreeClassifier(max_depth=5, random_state=0),
    "forest": RandomForestClassifier(max_depth=3, class_weight="balanced", **FOREST),
    "extra trees": ExtraTreesClassifier(max_depth=6, **FOREST),
    "boosting": HistGradientBoostingClassifier(max_iter=4),
}
BOOSTING = {
    "boosting": HistGradientBoostingRegressor(max_iter=5),
    "gamma boosting": HistGradientBoostingRegressor(loss="gamma", max_iter=5),
}
LABELS = np.array(["a", "b", "c"])


def draw(n=120, missing=0.0, seed=0):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(n, 2)), rng.integers(0, 4, size=n), np.ones(n)])
    y = np.exp(np.sin(3 * X[:, 0]) + 0.3 * X[:, 2])
    X[rng.random(X.shape) < missing] = np.nan
    return X, y


def asked(estimator, X, rows=None, output=None, tables=None):
    """What tables answer, and whether one was made."""
    output = output or MeanOutput(1)
    tables = tables or Tables()
    pred = tables.ask(output, "expert", estimator, RowsOf(X).at(rows))
    return pred, tables._kept.get(estimator, (None, None))[1] is not None


def same_as_itself(estimator, X, rows=None, output=None):
    """Predictions of the table, compared with those of the estimator."""
    output = output or MeanOutput(1)
    pred, tabled = asked(estimator, X, rows, output)
    chosen = X if rows is None else X.take(rows, axis=0)
    assert tabled
    assert_array_equal(pred, output("expert", estimator, chosen), strict=True)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("name", [*REGRESSORS, *BOOSTING])
def test_regressors(name, missing):
    X, y = draw(missing=missing)
    fitted = {**REGRESSORS, **BOOSTING}[name].fit(X[:80], y[:80])
    for rows in (None, np.array([3]), np.arange(5, 120, 2)):
        same_as_itself(fitted, X, rows)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("n_seen", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, n_seen, missing):
    X, y = draw(missing=missing)
    fitted = CLASSIFIERS[name].fit(X, LABELS[np.digitize(y, [1.0, 2.0]) % n_seen])
    same_as_itself(fitted, X, np.arange(0, 120, 3), ClassOutput(LABELS, 1e-3))


@pytest.mark.parametrize("name", REGRESSORS)
def test_several_outputs(name):
    X, y = draw()
    fitted = REGRESSORS[name].fit(X, np.column_stack([y, y[::-1], y**2]))
    same_as_itself(fitted, X, output=MeanOutput(3))


def test_missing_values_that_no_fit_has_seen():
    X, y = draw()
    fitted = [REGRESSORS[name].fit(X, y) for name in ("tree", "forest")]
    X = np.where(np.random.default_rng(1).random(X.shape) < 0.5, np.nan, X)
    for estimator in fitted:
        same_as_itself(estimator, X)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, bool, ">f8"])
def test_numbers_of_every_kind(dtype):
    X, y = draw()
    X = X.astype(dtype)
    same_as_itself(REGRESSORS["forest"].fit(X, y), X)
    same_as_itself(BOOSTING["boosting"].fit(X, y), X)


def test_any_order_in_memory():
    X, y = draw()
    for view in (np.asfortranarray(X), X[:, ::-1], X[::-2]):
        same_as_itself(REGRESSORS["forest"].fit(X, y), view)
        same_as_itself(BOOSTING["boosting"].fit(X, y), view)


def test_one_leaf_and_many_blocks():
    X, y = draw(n=1100)
    same_as_itself(REGRESSORS["tree"].fit(X[:3], np.ones(3)), X)
    same_as_itself(DecisionTreeRegressor(max_depth=3).fit(X, y), X)


def test_rows_on_a_threshold():
    rng = np.random.default_rng(0)
    thresholds = np.concatenate([rng.normal(size=200) * 10.0 ** rng.integers(-50, 50, 200)])
    thresholds = np.concatenate([thresholds, [0.0, -0.0, np.inf, 0.1, 16777217.0]])
    near = np.clip(thresholds, -3e38, 3e38).astype(np.float32)
    for x in (near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(1e38))):
        left = x <= _flat._at_most(thresholds, np.float32)
        assert_array_equal(left, x.astype(np.float64) <= thresholds)


def test_frames_by_their_names():
    X, y = draw()
    frame = pd.DataFrame(X, columns=list("abcd")).astype({"c": np.int64})
    for fitted in (REGRESSORS["forest"].fit(frame, y), BOOSTING["boosting"].fit(frame, y)):
        same_as_itself(fitted, frame, np.arange(7, 60))
    with pytest.raises(ValueError, match="feature names"):
        asked(fitted, frame[list("bacd")])
    with pytest.warns(UserWarning, match="valid feature names"):
        assert not asked(fitted, X)[1]


def test_what_is_left_to_the_estimators():
    class Tree(DecisionTreeRegressor):
        def predict(self, X, check_input=True):
            return np.zeros(len(X))

    X, y = draw()
    frame = pd.DataFrame(X, columns=list("abcd"))
    words = frame.astype({"c": "category"})
    boosted = HistGradientBoostingRegressor(max_iter=3, categorical_features=[2])
    for fitted, rows in [
        (Tree().fit(X, y), X),
        (REGRESSORS["tree"].fit(X, y), sp.csr_array(X)),
        (boosted.fit(X, y), X),
        (HistGradientBoostingRegressor(max_iter=3).fit(words, y), words),
        (RandomForestRegressor(2, n_jobs=2).fit(X, y), X),
    ]:
        pred, tabled = asked(fitted, rows)
        assert not tabled
        assert_array_equal(pred[:, 0], fitted.predict(rows))


@pytest.mark.parametrize("bad", [np.inf, 1e300])
def test_infinite_rows_are_refused_as_ever(bad):
    X, y = draw()
    fitted = REGRESSORS["forest"].fit(X, y)
    X[3, 1] = bad
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="infinity or a value too"):
        asked(fitted, X)
    boosted = BOOSTING["boosting"].fit(X, y)
    same_as_itself(boosted, X)


def test_missing_values_are_refused_as_ever():
    X, y = draw()
    fitted = ExtraTreeRegressor(splitter="best").fit(X, y)
    with pytest.raises(ValueError, match="3 features"):
        asked(fitted, X[:, :3])
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        asked(fitted, X)


def test_tables_follow_changes_in_place():
    X, y = draw()
    tables = Tables()
    tree, forest = (REGRESSORS[name].fit(X, y) for name in ("tree", "forest"))
    boosted = HistGradientBoostingRegressor(max_iter=3, warm_start=True).fit(X, y)

    def check(estimator):
        pred, tabled = asked(estimator, X, tables=tables)
        assert tabled
        assert_array_equal(pred[:, 0], estimator.predict(X))

    for estimator in (tree, forest, boosted):
        check(estimator)
    tree.fit(X, -y)
    forest.estimators_[2].fit(X, -y)
    boosted.set_params(max_iter=6).fit(X, y)
    for estimator in (tree, forest, boosted):
        check(estimator)
    del forest.estimators_[1]
    check(forest)


def test_large_trees_get_a_table_when_asked_again(monkeypatch):
    monkeypatch.setattr(_flat, "_NODES_A_CALL", 10)
    X, y = draw()
    tables, fitted = Tables(), REGRESSORS["forest"].fit(X, y)
    assert [asked(fitted, X, [1, 2], tables=tables)[1] for _ in range(3)] == [False, True, True]


def test_tables_go_with_the_estimators_and_into_no_pickle():
    X, y = draw()
    tables = Tables()
    fitted = copy.deepcopy(REGRESSORS["forest"].fit(X, y))
    asked(fitted, X, tables=tables)
    assert len(tables._kept) == 1
    for twin in (pickle.loads(pickle.dumps(tables)), copy.deepcopy(tables)):
        assert len(twin._kept) == 0
    del fitted
    gc.collect()
    assert len(tables._kept) == 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize("top_k", [None, 2])
def test_mixtures_predict_the_same_without_tables(monkeypatch, top_k, classify):
    X, y = draw()
    tree = (DecisionTreeClassifier if classify else DecisionTreeRegressor)(max_depth=3)
    model = MoEClassifier if classify else MoERegressor
    model = model(tree, 3, top_k=top_k, cross_fit=None, max_iter=2, tol=1.0, n_init=1)
    model.fit(X, LABELS[np.digitize(y, [1.0, 2.0])] if classify else y)
    size, pred = len(pickle.dumps(model)), model.predict(X)
    assert len(pickle.dumps(model)) == size
    monkeypatch.setattr(_flat, "_kind", lambda estimator: None)
    assert_array_equal(model.predict(X), pred)
