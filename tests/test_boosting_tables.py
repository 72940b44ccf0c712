"""Boosted mixtures on tables as they come: missing values, categories, pipelines."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import AdditiveExpert
from skmoe.solvers import Boosting

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 600
LEVELS = {"plum": -2.0, "fig": 1.0, "date": 2.0, "kiwi": 0.0, "lime": -1.0}


def table(n=N, seed=0):
    """Mean by category and by what is missing; noise by another category."""
    rng = np.random.default_rng(seed)
    fruit = rng.choice(list(LEVELS), n)
    width = rng.uniform(size=n)
    gone = rng.uniform(size=n) < 0.3
    loud = rng.choice(["no", "yes"], n)
    mean = np.array([LEVELS[name] for name in fruit]) + np.where(gone, 1.5, width)
    y = mean + np.where(loud == "yes", 0.6, 0.05) * rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "fruit": pd.Categorical(fruit, categories=sorted(LEVELS)),
            "width": np.where(gone, np.nan, width),
            "loud": pd.Series(loud, dtype="category"),
            "row": rng.normal(size=n).astype(np.float32),
        }
    )
    return frame, y


FRAME, Y = table()


def model(kind=MoERegressor, n_rounds=40, n_experts=2, **settings):
    solver = {k: settings.pop(k) for k in ("validation_fraction", "gate") if k in settings}
    solver = Boosting(**{"validation_fraction": None, **solver})
    settings = {"base_rounds": 40, "max_rounds": n_rounds, **settings}
    return kind(AdditiveExpert(**settings), n_experts, solver=solver, random_state=0)


@pytest.fixture(scope="module")
def fitted():
    return model().fit(FRAME, Y)


def test_categories_and_gaps_are_learned_as_by_histograms(fitted):
    other, target = table(400, seed=1)
    peer = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
    peer.fit(FRAME, Y)
    assert fitted.score(other, target) > peer.score(other, target)
    # Of the variance nobody explains that of the noise, of two scales in equal parts.
    most = 1.0 - 0.5 * (0.6**2 + 0.05**2) / target.var()
    assert fitted.score(other, target) > most - 0.05


def test_the_gate_sees_categories(fitted):
    other, _ = table(200, seed=2)
    std = fitted.predict(other, return_std=True)[1]
    loud = (other["loud"] == "yes").to_numpy()
    assert std[loud].mean() > 4.0 * std[~loud].mean()


def test_codes_of_categories_do_not_matter(fitted):
    renamed = FRAME.assign(fruit=FRAME["fruit"].cat.reorder_categories(list(LEVELS)))
    np.testing.assert_array_equal(fitted.predict(renamed), fitted.predict(FRAME))
    words = FRAME.assign(fruit=FRAME["fruit"].astype(object))
    np.testing.assert_array_equal(fitted.predict(words), fitted.predict(FRAME))


def test_unknown_categories_are_as_missing_ones(fitted):
    rows = FRAME[:20]
    new = fitted.predict(rows.assign(fruit=pd.Categorical(["papaya"] * 20)))
    missing = fitted.predict(rows.assign(fruit=pd.Categorical([None] * 20)))
    np.testing.assert_array_equal(new, missing)
    assert np.isfinite(new).all()


def test_gaps_that_were_not_there_in_training():
    full = FRAME.assign(width=FRAME["width"].fillna(0.5))
    one = model(n_rounds=5).fit(full, Y)
    other = table(50, seed=3)
    assert np.isfinite(one.predict(other[0])).all()
    assert np.isfinite(one.log_likelihood(*other)).all()


@pytest.mark.parametrize("nothing", ["column", "category"])
def test_columns_that_are_all_missing(nothing):
    gone = np.full(N, np.nan) if nothing == "column" else pd.Categorical([None] * N)
    one = model(n_rounds=5).fit(FRAME.assign(gone=gone), Y)
    assert one.score(FRAME.assign(gone=gone), Y) > 0.7


def test_nullable_and_boolean_columns(fitted):
    frame = FRAME.assign(
        width=FRAME["width"].astype("Float64"), loud=(FRAME["loud"] == "yes"), row=FRAME["row"]
    )
    assert model(n_rounds=20).fit(frame, Y).score(frame, Y) > 0.9


def test_more_categories_than_bins():
    rng = np.random.default_rng(4)
    number = rng.permutation(np.repeat(np.arange(300), 4))
    frame = pd.DataFrame({"many": pd.Categorical([f"v{i}" for i in number])})
    y = np.where(number % 2, 1.0, -1.0) + 0.1 * rng.normal(size=len(number))
    one = model(n_rounds=20, min_weight=2.0).fit(frame, y)
    assert np.isfinite(one.predict(frame)).all()
    assert one.score(frame, y) > 0.3


def test_classes_of_tables():
    labels = np.where(FRAME["fruit"].isin(["fig", "date"]), "sweet", "sour")
    labels[FRAME["width"].isna()] = "gone"
    one = model(MoEClassifier, n_rounds=10).fit(FRAME, labels)
    other, _ = table(300, seed=5)
    truth = np.where(other["fruit"].isin(["fig", "date"]), "sweet", "sour")
    truth[other["width"].isna()] = "gone"
    assert one.score(other, truth) > 0.98
    peer = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    assert one.score(other, truth) >= peer.fit(FRAME, labels).score(other, truth) - 0.01


@pytest.mark.slow
def test_other_bases_and_learners_see_the_frame():
    peer = HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=20)
    settings = {"base": peer, "learner": clone(peer).set_params(max_iter=2), "max_rounds": 2}
    one = MoERegressor(AdditiveExpert(**settings), n_experts=2, random_state=0).fit(FRAME, Y)
    assert one.score(FRAME, Y) > 0.85


@pytest.mark.parametrize("gate", ["sum", "linear", "trees"])
def test_weights_repeat_rows_of_tables(gate):
    weight = np.random.default_rng(6).integers(1, 4, size=200)
    rows = np.repeat(np.arange(200), weight)
    one = model(n_rounds=6, base=None, subsample=1.0, gate=gate)
    other = clone(one).fit(FRAME.iloc[rows], Y[rows])
    one.fit(FRAME[:200], Y[:200], sample_weight=weight)
    np.testing.assert_allclose(one.predict(FRAME), other.predict(FRAME), atol=1e-8)
    found = one.log_likelihood(FRAME, Y)
    np.testing.assert_allclose(found, other.log_likelihood(FRAME, Y), atol=1e-7)


def test_weight_zero_is_no_row():
    weight = np.ones(N)
    weight[::3] = 0.0
    one, other = (model(n_rounds=4, subsample=1.0) for _ in range(2))
    one.fit(FRAME, np.where(weight > 0, Y, 1e6), sample_weight=weight)
    other.fit(FRAME[weight > 0], Y[weight > 0])
    np.testing.assert_array_equal(one.predict(FRAME), other.predict(FRAME))


def test_pickles(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(FRAME), fitted.predict(FRAME))
    np.testing.assert_array_equal(again.log_likelihood(FRAME, Y), fitted.log_likelihood(FRAME, Y))


def test_pipelines_and_searches():
    scaler = ColumnTransformer(
        [("scale", StandardScaler(), ["width", "row"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    pipe = make_pipeline(scaler, model(n_rounds=5, base_rounds=10)).fit(FRAME, Y)
    # Trees see the order of numbers only, and slopes standardise them.
    plain = model(n_rounds=5, base_rounds=10).fit(FRAME[["width", "row", "fruit", "loud"]], Y)
    found = pipe.predict(FRAME)
    np.testing.assert_allclose(found, plain.predict(FRAME[["width", "row", "fruit", "loud"]]))
    search = GridSearchCV(model(n_rounds=3), {"experts__base": ["auto", None]}, cv=2)
    search.fit(FRAME, Y)
    assert search.best_params_ == {"experts__base": "auto"}


def test_the_frame_is_left_alone():
    before = FRAME.copy(deep=True)
    model(n_rounds=2).fit(FRAME, Y)
    pd.testing.assert_frame_equal(FRAME, before)


def test_columns_by_name():
    one = model(n_rounds=10).set_params(gate_features=["loud"], expert_features=["fruit", "width"])
    one.fit(FRAME, Y)
    moved = FRAME.assign(row=0.0)
    np.testing.assert_array_equal(one.predict(moved), one.predict(FRAME))
    quiet = FRAME.assign(loud=pd.Categorical(["no"] * N, categories=["no", "yes"]))
    np.testing.assert_array_equal(one.predict_experts(quiet), one.predict_experts(FRAME))
    assert not np.allclose(one.gate_proba(quiet), one.gate_proba(FRAME))
