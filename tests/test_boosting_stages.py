"""What a boosted mixture tells of its training: stages, curves, importance."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import AdditiveExpert
from skmoe.explanation import additive_importance
from skmoe.solvers import Boosting

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, size=(300, 4))
Y = np.sin(3 * X[:, 0]) + np.where(X[:, 1] > 0, 0.5, 0.05) * rng.normal(size=300)
LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + 0.2 * Y, [-0.3, 0.4])]


def model(n_rounds, kind=MoERegressor, fraction=None, gate="sum", n_experts=2, **settings):
    settings = {"base_rounds": 15, "subsample": 1.0, "max_rounds": n_rounds, **settings}
    solver = Boosting(validation_fraction=fraction, gate=gate)
    return kind(AdditiveExpert(**settings), n_experts=n_experts, solver=solver, random_state=0)


LEARNER = DecisionTreeRegressor(max_depth=2)


@pytest.mark.parametrize(
    "settings", [{}, {"gate": "linear"}, {"gate": "trees", "base": None}, {"learner": LEARNER}]
)
def test_stages_are_the_models_of_fewer_rounds(settings):
    staged = model(4, **settings).fit(X, Y)
    pred, loglik = list(staged.staged_predict(X)), list(staged.staged_log_likelihood(X, Y))
    assert len(pred) == len(loglik) == staged.n_iter_ + 1 == 5
    np.testing.assert_allclose(pred[-1], staged.predict(X), rtol=0, atol=1e-12)
    np.testing.assert_allclose(loglik[-1], staged.log_likelihood(X, Y), rtol=0, atol=1e-12)
    short = model(2, **settings).fit(X, Y)
    np.testing.assert_allclose(pred[2], short.predict(X), rtol=0, atol=1e-12)
    np.testing.assert_allclose(loglik[2], short.log_likelihood(X, Y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("labels", [LABELS, LABELS == "a"])
def test_stages_of_classes(labels):
    staged = model(4, MoEClassifier).fit(X, labels)
    proba = list(staged.staged_predict_proba(X))
    assert len(proba) == 5
    np.testing.assert_allclose(proba[-1], staged.predict_proba(X), rtol=0, atol=1e-12)
    short = model(2, MoEClassifier).fit(X, labels)
    np.testing.assert_allclose(proba[2], short.predict_proba(X), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(list(staged.staged_predict(X))[2], short.predict(X))
    loglik = list(staged.staged_log_likelihood(X, labels))[2]
    np.testing.assert_allclose(loglik, short.log_likelihood(X, labels), rtol=0, atol=1e-12)


def test_stages_with_columns_of_the_gate():
    staged = model(3).set_params(gate_features=[1, 2]).fit(X, Y)
    np.testing.assert_allclose(list(staged.staged_predict(X))[-1], staged.predict(X), atol=1e-12)


def test_without_corrections_all_stages_are_the_base_in_the_mean():
    staged = model(3).set_params(solver__corrections=False).fit(X, Y)
    first, *_, last = staged.staged_predict(X)
    np.testing.assert_allclose(first, last, rtol=0, atol=1e-12)


def test_only_boosted_mixtures_have_stages():
    plain = MoERegressor(n_experts=2)
    assert not hasattr(plain, "staged_predict")
    assert not hasattr(plain, "staged_log_likelihood")
    assert not hasattr(model(2), "staged_predict_proba")
    assert hasattr(model(2, MoEClassifier), "staged_predict_proba")


def test_a_gate_of_too_many_slopes_keeps_none(monkeypatch):
    monkeypatch.setattr("skmoe._boost._record._MOST_SLOPES", 5)
    with pytest.raises(ValueError, match="gate='trees'"):
        list(model(2).fit(X, Y).staged_predict(X))
    assert len(list(model(2, gate="trees").fit(X, Y).staged_predict(X))) == 3


# --- curves -------------------------------------------------------------------------


def test_curves():
    fitted = model(30, fraction=0.2).fit(X, Y)
    curves = fitted.history_
    assert fitted.n_iter_ == np.argmax(curves["held_out"])
    assert len(curves["objective"]) == len(curves["load"]) == fitted.n_iter_ + 1
    # The base: the error of round 0 is that of the mean, and it ends at its best round.
    assert curves["base_error"][0] == pytest.approx(np.var(Y), rel=0.05)
    assert min(curves["base_error"]) < 0.5 * curves["base_error"][0]
    assert len(curves["base_error"]) == 16
    assert model(2, base=None).fit(X, Y).history_["held_out"] == []
    assert model(2, base=None).fit(X, Y).history_["base_error"] == []


@pytest.mark.parametrize("patience", [1, 3])
def test_the_search_ends_some_rounds_after_the_best(patience):
    fitted = model(300, base=None, rate=0.5, fraction=0.3)
    curve = fitted.set_params(solver__patience=patience).fit(X, Y).history_["held_out"]
    assert len(curve) == np.argmax(curve) + 1 + patience < 300
    assert fitted.converged_


def test_the_curve_of_held_out_rows_is_that_of_their_stages():
    """Without a refit the model is the one that the curve was drawn of."""
    solver = Boosting(validation_fraction=0.25, refit=False, random_state=5)
    fitted = model(12, base=None).set_params(solver=solver).fit(X, Y)
    held_out = np.random.default_rng(5).permutation(len(X))[: round(0.25 * len(X))]
    stages = fitted.staged_log_likelihood(X[held_out], Y[held_out])
    found = [values.mean() for values in stages]
    curve = np.array(fitted.history_["held_out"][: fitted.n_iter_ + 1])
    # The curve is in units of the standard deviation of the target.
    np.testing.assert_allclose(found, curve - np.log(Y.std()), rtol=0, atol=1e-10)


# --- importance ---------------------------------------------------------------------


def test_importance_finds_what_each_part_uses():
    frame = pd.DataFrame(X, columns=["mean", "noise", "idle", "dull"])
    table = additive_importance(model(20).fit(frame, Y))
    assert table.columns.tolist() == ["base", "expert_0", "expert_1", "gate"]
    assert table.index.tolist() == ["mean", "noise", "idle", "dull", "base score"]
    np.testing.assert_allclose(table.sum(), 1.0)
    assert (table >= 0).all(axis=None)
    assert table["base"].idxmax() == "mean" and table.loc["mean", "base"] > 0.8
    assert table["gate"].idxmax() == "noise"
    assert table.loc["base score", "base"] == 0.0


@pytest.mark.parametrize("gate", ["linear", "trees"])
def test_importance_of_either_form_of_the_gate(gate):
    table = additive_importance(model(20, gate=gate).fit(X, Y))
    assert table["gate"].idxmax() == "x1"
    assert table["gate"].sum() == pytest.approx(1.0)


def test_importance_of_columns_and_categories():
    words = np.where(X[:, 1] > 0, "loud", "still")
    frame = pd.DataFrame(X, columns=list("abcd")).assign(word=words)
    fitted = model(10).set_params(gate_features=["word"], expert_features=["a", "c"])
    table = additive_importance(fitted.fit(frame, Y))
    assert table.loc["word", "gate"] == 1.0
    assert (table.loc[["b", "d", "word"], ["base", "expert_0"]] == 0.0).all(axis=None)


def test_importance_of_classes():
    table = additive_importance(model(5, MoEClassifier).fit(X, LABELS))
    assert table.index[-3:].tolist() == [f"base score of {c}" for c in "abc"]
    np.testing.assert_allclose(table.sum(), 1.0)


def test_importance_of_parts_that_do_nothing_or_do_not_tell():
    one = model(3, n_experts=1, base=None).set_params(solver__corrections=False)
    assert (additive_importance(one.fit(X, Y)) == 0.0).all(axis=None)
    other = model(2, base=LinearRegression(), learner=LEARNER).fit(X, Y)
    table = additive_importance(other)
    assert table[["base", "expert_0"]].isna().all(axis=None)
    assert table["gate"].notna().all()
    with pytest.raises(TypeError, match="AdditiveExpert"):
        additive_importance(MoERegressor(n_experts=2).fit(X, Y))


def test_importance_of_an_expert():
    fitted = model(5).fit(X, Y)
    table = additive_importance(fitted)
    np.testing.assert_allclose(fitted.experts_[1].feature_importances_, table["expert_1"])
