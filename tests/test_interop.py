"""Mixtures among what others make: tables of other libraries, scikit-learn's own tools."""

import numpy as np
import pandas as pd
import pytest
from conftest import require
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 (allows the next import)
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import HalvingGridSearchCV, cross_val_predict
from sklearn.multioutput import MultiOutputRegressor
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor

rng = np.random.RandomState(0)
N = 240
FRAME = pd.DataFrame(rng.uniform(-1.0, 1.0, size=(N, 3)), columns=["size", "age", "noise"])
X = FRAME.to_numpy()
y = np.abs(X[:, 0]) + 0.05 * rng.normal(size=N)
LABELS = np.where(np.abs(X[:, 0]) + 0.1 * rng.normal(size=N) > 0.5, "far", "near")
REGRESSOR = MoERegressor(n_experts=2, max_iter=30, tol=1e-3, n_init=1, random_state=0)
CLASSIFIER = MoEClassifier(n_experts=2, max_iter=30, tol=1e-3, n_init=1, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# --- tables of other libraries ------------------------------------------------------------


def _polars(frame):
    require("pyarrow")  # polars needs it for pandas
    return require("polars").from_pandas(frame)


def _arrow(frame):
    return require("pyarrow").Table.from_pandas(frame)


@pytest.mark.parametrize("table", [_polars, _arrow])
@pytest.mark.parametrize("experts", [None, DecisionTreeRegressor(max_depth=3)])
@pytest.mark.parametrize("columns", [None, ["size", "age"]])
def test_tables_of_other_libraries(table, experts, columns):
    model = MoERegressor(
        experts, n_experts=2, gate_features=columns, max_iter=5, n_init=1, random_state=0
    )
    other = table(FRAME)
    found = model.fit(other, y).predict(other)
    assert list(model.feature_names_in_) == ["size", "age", "noise"]
    np.testing.assert_array_equal(found, model.predict(FRAME))
    np.testing.assert_array_equal(found, model.fit(FRAME, y).predict(FRAME))
    np.testing.assert_array_equal(model.gate_proba(other), model.gate_proba(FRAME))


def test_words_in_another_table_are_named():
    words = FRAME.assign(city="Rome")
    with pytest.raises(ValueError, match=r"columns \['city'\] of X are not numeric"):
        REGRESSOR.fit(_polars(words), y)


# --- scikit-learn's tools -----------------------------------------------------------------


def test_permutation_importance_finds_the_feature():
    for model, target in ((REGRESSOR, y), (CLASSIFIER, LABELS)):
        found = permutation_importance(
            model.fit(FRAME, target), FRAME, target, n_repeats=3, random_state=0
        )
        assert found.importances_mean.argmax() == 0
        assert found.importances_mean[0] > 5 * np.abs(found.importances_mean[1:]).max()


def test_partial_dependence_is_the_curve():
    found = partial_dependence(REGRESSOR.fit(FRAME, y), FRAME, ["size"], grid_resolution=9)
    grid, curve = found["grid_values"][0], found["average"][0]
    assert np.corrcoef(curve, np.abs(grid))[0, 1] > 0.95
    found = partial_dependence(CLASSIFIER.fit(FRAME, LABELS), FRAME, ["size"], grid_resolution=9)
    grid, curve = found["grid_values"][0], found["average"][0]
    assert CLASSIFIER.classes_[1] == "near"
    assert np.corrcoef(curve, -np.abs(grid))[0, 1] > 0.9


def test_calibration_keeps_what_is_right():
    model = CalibratedClassifierCV(CLASSIFIER, cv=2).fit(X, LABELS)
    assert model.score(X, LABELS) > 0.85
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


@pytest.mark.parametrize(
    "model",
    [
        StackingRegressor([("mixture", REGRESSOR), ("line", Ridge())], cv=2),
        VotingRegressor([("mixture", REGRESSOR), ("tree", DecisionTreeRegressor())]),
        BaggingRegressor(REGRESSOR, n_estimators=3, random_state=0),
        MoERegressor([("inner", REGRESSOR), ("line", Ridge())], max_iter=5, random_state=0),
        MoERegressor(REGRESSOR, n_experts=2, max_iter=3, n_init=1, random_state=0),
    ],
    ids=["stacking", "voting", "bagging", "expert of a list", "mixture of mixtures"],
)
def test_part_of_a_regressor(model):
    assert model.fit(X, y).score(X, y) > 0.85


@pytest.mark.parametrize(
    "model",
    [
        StackingClassifier([("mixture", CLASSIFIER), ("tree", DecisionTreeClassifier())], cv=2),
        BaggingClassifier(CLASSIFIER, n_estimators=3, random_state=0),
        MoEClassifier(
            [("inner", CLASSIFIER), ("line", LogisticRegression())], max_iter=3, random_state=0
        ),
    ],
    ids=["stacking", "bagging", "expert of a list"],
)
def test_part_of_a_classifier(model):
    assert model.fit(X, LABELS).score(X, LABELS) > 0.85


def test_mixture_as_a_gate():
    inner = MoEClassifier(n_experts=2, max_iter=5, n_init=1, random_state=0)
    model = MoERegressor(n_experts=2, gate=inner, max_iter=5, n_init=1, random_state=0)
    assert model.fit(X, y).score(X, y) > 0.85


def test_self_training_learns_from_rows_without_labels():
    codes = (LABELS == "far").astype(int)
    hidden = np.where(rng.uniform(size=N) < 0.7, -1, codes)
    model = SelfTrainingClassifier(CLASSIFIER, max_iter=3).fit(X, hidden)
    assert model.score(X, codes) > 0.85
    assert (model.transduction_ != -1).sum() > (hidden != -1).sum()


def test_halving_search_over_the_number_of_experts():
    search = HalvingGridSearchCV(
        REGRESSOR, {"n_experts": [1, 2, 3]}, cv=2, min_resources=60, random_state=0
    ).fit(X, y)
    assert search.best_params_["n_experts"] > 1
    assert search.score(X, y) > 0.9


def test_cross_validated_predictions_and_several_outputs():
    proba = cross_val_predict(CLASSIFIER, X, LABELS, cv=2, method="predict_proba")
    assert proba.shape == (N, 2)
    both = np.column_stack([y, -y])
    assert MultiOutputRegressor(REGRESSOR).fit(X, both).predict(X).shape == both.shape


def test_optuna_finds_a_number_of_experts():
    optuna = require("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def loss(trial):
        n_experts = trial.suggest_int("n_experts", 1, 3)
        model = MoERegressor(n_experts=n_experts, max_iter=20, n_init=1, random_state=0)
        return -model.fit(X[:160], y[:160]).log_likelihood(X[160:], y[160:]).mean()

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(loss, n_trials=5)
    assert study.best_params["n_experts"] > 1
