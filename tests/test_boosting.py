"""Joint functional descent: trees on bins, functional gradients, the trainer, the estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
from naive import naive_tree
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._bins import Binner
from skmoe._boost._laws import Classes, Means
from skmoe._forest import Forest, TreeGrower
from skmoe.experts import AdditiveExpert
from skmoe.experts._ground import as_pred
from skmoe.likelihoods import Categorical
from skmoe.solvers import Boosting

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(160, 3))
Y = np.sin(3 * X[:, 0]) + np.where(X[:, 1] > 0, 0.5, 0.05) * rng.normal(size=160)


def small(n_rounds=5, **settings):
    """An expert and a solver of few rounds, without randomness."""
    solver = {k: settings.pop(k) for k in ("corrections", "gate") if k in settings}
    settings = {"base": None, "subsample": 1.0, "max_rounds": n_rounds, **settings}
    solver = Boosting(validation_fraction=None, **solver)
    return MoERegressor(AdditiveExpert(**settings), n_experts=3, solver=solver, random_state=0)


# --- trees ------------------------------------------------------------------------


def with_gaps():
    frame = pd.DataFrame(X.round(1), columns=["a", "b", "c"])
    frame.loc[::7, "a"] = np.nan
    words = np.array(["x", "y", "z", "w"])[np.digitize(X[:, 2], [-0.5, 0.0, 0.5])]
    frame["c"] = pd.Categorical(words, categories=["w", "x", "y", "z"])
    frame.loc[::11, "c"] = np.nan
    return frame


@pytest.mark.parametrize("max_leaves", [2, 7])
@pytest.mark.parametrize("least", [0.0, 8.0])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_tree_is_the_naive_one(max_leaves, least, gaps):
    table = with_gaps() if gaps else X
    weight = np.random.RandomState(1).uniform(0.5, 2.0, size=len(X))
    binner = Binner(table, weight, 20)
    codes = binner.transform(table)
    grower = TreeGrower(codes, binner.n_bins, binner.categorical, max_leaves, least, 1.0)
    rows = np.arange(5, 155)
    tree = grower.grow(rows, weight * Y, weight)
    scores = np.zeros((1, len(X)))
    forest = Forest(1, 3)
    forest.add(tree, 0, 1.0, scores, codes)
    expected = naive_tree(
        codes, binner.categorical, rows, weight * Y, weight, max_leaves, least, 1.0
    )
    np.testing.assert_allclose(scores[0, rows], expected, rtol=0, atol=1e-9)
    forest.close_round()
    again = forest.add_to(np.zeros((1, len(X))), codes)
    np.testing.assert_array_equal(again, scores)


def test_many_rows_go_where_each_goes_by_itself():
    table = pd.concat([with_gaps()] * 20, ignore_index=True)
    binner = Binner(table, np.ones(len(table)), 20)
    codes, target = binner.transform(table), np.tile(Y, 20)
    grower = TreeGrower(codes, binner.n_bins, binner.categorical, 9, 1.0, 1.0)
    forest, scores = Forest(1, 3), np.zeros((1, len(table)))
    for number in range(3):
        rows = np.arange(number, len(table), 2)
        tree = grower.grow(rows, target - scores[0], np.ones(len(table)))
        forest.add(tree, 0, 0.5, scores, codes)
        assert tree[0][:, 5].max() >= 0  # words are split, too
    alone = [forest.add_to(np.zeros((1, 1)), codes[:, [i]])[0, 0] for i in range(160)]
    np.testing.assert_array_equal(scores[0], np.tile(alone, 20))


def test_a_mean_of_forests():
    binner = Binner(X, np.ones(len(X)), 20)
    codes = binner.transform(X)
    grower = TreeGrower(codes, binner.n_bins, binner.categorical, 4, 1.0, 1.0)
    draws, forests = np.random.default_rng(0), [Forest(1, 3) for _ in range(3)]
    sums = np.zeros((3, 1, len(X)))
    for _ in range(4):
        for forest, scores in zip(forests, sums, strict=True):
            rows = np.sort(draws.choice(len(X), 100, replace=False))
            forest.add(grower.grow(rows, Y, np.ones(len(X))), 0, 0.1, scores, codes)
            forest.close_round()
    mean = Forest.mean(forests)
    found = mean.add_to(np.zeros((1, len(X))), codes)
    np.testing.assert_allclose(found, sums.mean(axis=0), rtol=0, atol=1e-14)
    gains = np.mean([forest.importance() for forest in forests], axis=0)
    np.testing.assert_allclose(mean.importance(), gains)
    short = mean.add_to(np.zeros((1, len(X))), codes, last=2)
    for forest in forests:
        forest.cut(2)
    parts = [forest.add_to(np.zeros((1, len(X))), codes) for forest in forests]
    np.testing.assert_allclose(short, np.mean(parts, axis=0), rtol=0, atol=1e-14)


def test_the_base_is_the_mean_of_its_repeats():
    """Without corrections the mean of the mixture is the base, whatever else is drawn."""
    base = {"base": "auto", "base_rounds": 6, "subsample": 0.7}

    def fitted(seed, **more):
        model = small(2, corrections=False, **base, **more)
        return model.set_params(solver__random_state=seed).fit(X, Y).predict(X)

    together = fitted(5, base_repeats=2)
    apart = [fitted(seed, base_repeats=1) for seed in (5, 6)]
    assert np.abs(apart[0] - apart[1]).max() > 1e-3
    np.testing.assert_allclose(together, np.mean(apart, axis=0), rtol=0, atol=1e-12)
    alike = {"base_repeats": 3, "subsample": 1.0}
    one = {"base_repeats": 1, "subsample": 1.0}
    model = small(2, base="auto", base_rounds=6, **alike).fit(X, Y)
    other = small(2, base="auto", base_rounds=6, **one).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), other.predict(X))


def test_bins_repeat_by_weight():
    column = np.random.RandomState(3).normal(size=(400, 1))
    weight = np.random.RandomState(4).randint(1, 4, size=400)
    one = Binner(column, weight.astype(float), 30).edges[0]
    other = Binner(np.repeat(column, weight, axis=0), np.ones(weight.sum()), 30).edges[0]
    np.testing.assert_array_equal(one, other)
    assert len(one) == 29


def test_rare_and_unseen_categories_share_the_bin_of_missing_values():
    frame = pd.DataFrame({"c": [f"v{i}" for i in range(300)] + ["v299"] * 5})
    binner = Binner(frame, np.ones(305))
    codes = binner.transform(pd.DataFrame({"c": ["v299", "unseen", None]}))
    assert codes.tolist() == [[0, 255, 255]]


# --- functional gradients ----------------------------------------------------------


def mixture_loglik(scores, logits, log_lik):
    """Log-likelihood of all rows: scores (K, S, n), logits (n, K)."""
    log_gate = logits - logsumexp(logits, axis=1, keepdims=True)
    return logsumexp(log_gate + log_lik(scores), axis=1).sum()


def by_differences(function, at, step=1e-5):
    out = np.empty(at.shape)
    for index in np.ndindex(*at.shape):
        moved = [at.copy(), at.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        out[index] = (function(moved[0]) - function(moved[1])) / (2.0 * step)
    return out


def gaussian_case(rng):
    y, variance = rng.normal(size=(6, 1)), np.array([0.3, 1.0, 2.0])

    def log_lik(scores):
        squares = np.square(y.T[None] - scores)[:, 0] / variance[:, None]
        return -0.5 * (squares + np.log(2.0 * np.pi * variance)[:, None]).T

    return Means(y), log_lik, variance


def class_case(rng, n_classes):
    y = np.arange(6) % n_classes
    likelihood = Categorical()

    def log_lik(scores):
        return likelihood.log_lik(y, as_pred(scores, n_classes))

    return Classes(y, n_classes), log_lik, np.ones(3)


@pytest.mark.parametrize("kind", ["gaussian", 2, 3])
def test_functional_gradients_are_those_of_the_log_likelihood(kind):
    rng = np.random.RandomState(7)
    law, log_lik, variance = gaussian_case(rng) if kind == "gaussian" else class_case(rng, kind)
    scores, logits = rng.normal(size=(3, law.n_scores, 6)), rng.normal(size=(6, 3))
    joint = logits - logsumexp(logits, axis=1, keepdims=True) + log_lik(scores)
    resp = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    found = law.slopes(scores, np.ascontiguousarray(resp.T))[0] / variance[:, None, None]
    expected = by_differences(lambda s: mixture_loglik(s, logits, log_lik), scores)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    gate = resp - np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    expected = by_differences(lambda g: mixture_loglik(scores, g, log_lik), logits)
    np.testing.assert_allclose(gate, expected, atol=1e-8)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_gradient_of_the_slant(n_classes):
    rng = np.random.RandomState(8)
    law, log_lik, _ = class_case(rng, n_classes)
    base, slant = rng.normal(size=(law.n_scores, 6)), np.array([0.5, 1.0, 2.0])

    def total(slant):
        return log_lik(slant[:, None, None] * base).sum()

    found = law.slant_slopes(slant[:, None, None] * base, base, np.ones((3, 6)))
    np.testing.assert_allclose(found[0], by_differences(total, slant), atol=1e-8)
    second = [
        (law.slant_slopes((slant + step)[:, None, None] * base, base, np.ones((3, 6)))[0])
        for step in (1e-5, -1e-5)
    ]
    np.testing.assert_allclose(found[1], (second[1] - second[0]) / 2e-5, atol=1e-6)


# --- the estimator ------------------------------------------------------------------


def test_the_objective_never_drops():
    model = small(40, rate=0.05, base="auto", base_rounds=20).fit(X, Y)
    objective = np.array(model.history_["objective"])
    assert len(objective) == 41
    assert (np.diff(objective) > -1e-12).all()
    assert objective[-1] > objective[0] + 0.1


@pytest.mark.parametrize("settings", [{}, {"gate": "linear"}, {"corrections": False}])
def test_weights_repeat_rows(settings):
    weight = np.random.RandomState(2).randint(1, 4, size=len(X))
    model = small(max_leaves=4, **settings)
    one = clone(model).fit(X, Y, sample_weight=weight)
    other = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight))
    np.testing.assert_allclose(one.predict(X), other.predict(X), atol=1e-8)
    np.testing.assert_allclose(one.log_likelihood(X, Y), other.log_likelihood(X, Y), atol=1e-7)


def test_scales_are_found():
    big = np.random.RandomState(5).uniform(-1, 1, size=(600, 2))
    noise = np.where(big[:, 1] > 0, 1.0, 0.1) * np.random.RandomState(6).normal(size=600)
    model = MoERegressor(AdditiveExpert(base_rounds=50), n_experts=2, random_state=0)
    model.fit(big, big[:, 0] + noise)
    std = model.predict([[0.0, -0.5], [0.0, 0.5]], return_std=True)[1]
    assert std[1] / std[0] > 4.0
    assert model.converged_
    assert model.n_iter_ == np.argmax(model.history_["held_out"])
    assert len(model.history_["objective"]) == model.n_iter_ + 1


def test_other_learners_and_bases():
    expert = AdditiveExpert(
        make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=2)),
        base=Ridge(),
        max_rounds=6,
    )
    model = MoERegressor(expert, n_experts=2, random_state=0).fit(X, Y)
    assert model.score(X, Y) > Ridge().fit(X, Y).score(X, Y) + 0.02
    assert np.isfinite(model.log_likelihood(X, Y)).all()


def test_any_regressor_is_a_learner():
    tree = DecisionTreeRegressor(max_depth=2, random_state=0)
    settings = {"n_experts": 2, "solver": Boosting(patience=1), "random_state": 0}
    settings["cross_fit"] = 2
    one = MoERegressor(tree, **settings).fit(X, Y)
    other = MoERegressor(AdditiveExpert(tree), **settings).fit(X, Y)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    assert one.n_iter_ == other.n_iter_
    with pytest.raises(ValueError, match="AdditiveExpert"):
        MoEClassifier(LogisticRegression(), solver="boosting").fit(X, X[:, 0] > 0)


def test_results_do_not_depend_on_threads():
    model = small(4, base="auto", base_rounds=6, subsample=0.7)
    one = clone(model).fit(X, Y)
    other = clone(model).set_params(n_jobs=2).fit(X, Y)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    np.testing.assert_array_equal(one.log_likelihood(X, Y), other.log_likelihood(X, Y))


def test_pickling_and_routing():
    model = small().set_params(top_k=2).fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert model.route(X)[0].shape == (160, 2)
    model.set_params(top_k=3)
    routed = model.predict(X)
    np.testing.assert_allclose(routed, model.set_params(top_k=None).predict(X))


def test_missing_values_and_words():
    table = with_gaps()
    model = small(10, base="auto", base_rounds=10).fit(table, Y)
    assert np.isfinite(model.predict(table)).all()
    other = table.assign(c="never seen")
    assert np.isfinite(model.predict(other)).all()
    numbers = table[["a", "b"]].to_numpy()
    assert np.isfinite(small().fit(numbers, Y).predict(numbers)).all()


def test_columns_of_the_gate_and_of_the_experts():
    model = small().set_params(gate_features=[1], expert_features=[0])
    model.fit(X, Y)
    moved = X.copy()
    moved[:, 0] = 0.3
    np.testing.assert_array_equal(model.gate_proba(moved), model.gate_proba(X))
    moved = X.copy()
    moved[:, 1] = 0.3
    np.testing.assert_array_equal(model.predict_experts(moved), model.predict_experts(X))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"solver": "em"}, "does not train AdditiveExpert"),
        ({"gate": "mlp"}, "gate="),
        ({"n_experts": "auto"}, "n_experts"),
        ({"likelihood": "poisson"}, "likelihood="),
        ({"init": "random"}, "init"),
        ({"warm_start": True}, "warm_start"),
        ({"experts": AdditiveExpert(rate=2.0)}, "rate"),
        ({"experts": AdditiveExpert(base=3)}, "base"),
        ({"experts": None, "solver": "boosting"}, "AdditiveExpert"),
        ({"experts": [("a", AdditiveExpert())], "n_experts": None}, "AdditiveExpert"),
        ({"routing": "token", "top_k": 1}, "routing"),
    ],
)
def test_errors_name_the_cure(settings, message):
    model = MoERegressor(AdditiveExpert(), n_experts=2).set_params(**settings)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)


# --- classification -----------------------------------------------------------------

LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + 0.3 * X[:, 1] ** 2, [-0.3, 0.4])]


def classifier(n_rounds=8, **settings):
    expert = AdditiveExpert(base_rounds=20, max_rounds=n_rounds, subsample=1.0, **settings)
    solver = Boosting(validation_fraction=None)
    return MoEClassifier(expert, n_experts=2, solver=solver, random_state=0)


@pytest.mark.parametrize("labels", [LABELS, LABELS == "a"])
def test_classes(labels):
    model = classifier().fit(X, labels)
    assert model.score(X, labels) > 0.9
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    picked = proba[np.arange(160), np.searchsorted(model.classes_, labels)]
    np.testing.assert_allclose(np.log(picked), model.log_likelihood(X, labels), atol=1e-10)
    objective = np.array(model.history_["objective"])
    assert objective[-1] > objective[0]


def test_the_objective_of_classes_never_drops():
    model = classifier(30, rate=0.02).fit(X, LABELS)
    assert (np.diff(model.history_["objective"]) > -1e-12).all()


def test_weights_repeat_rows_of_classes():
    weight = np.random.RandomState(2).randint(1, 4, size=len(X))
    model = classifier(base=None)
    one = clone(model).fit(X, LABELS, sample_weight=weight)
    other = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(LABELS, weight))
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-8)


def test_a_classifier_as_the_base():
    model = classifier(base=LogisticRegression()).fit(X, LABELS)
    assert model.score(X, LABELS) > 0.85
    assert model.experts_[0].predict(X).shape == (160,)
