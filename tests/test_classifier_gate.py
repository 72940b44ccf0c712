"""Classifiers as gates: soft targets, honest probabilities, every kind of expert."""

import pickle

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import ClassifierGate, SoftmaxGate
from skmoe.gates.classifier import expand

N = 120


def problem(n_rows=N, n_experts=3, seed=0):
    """Features, responsibilities that depend on them, weights."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n_rows, 2))
    logits = 2 * X @ rng.normal(size=(2, n_experts)) + rng.normal(size=(n_rows, n_experts))
    resp = np.exp(logits)
    return X, resp / resp.sum(axis=1, keepdims=True), rng.uniform(0.2, 2.0, size=n_rows)


def steps(n_rows=90):
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, size=(n_rows, 2))
    return X, np.where(X[:, 0] > 0, 2 * X[:, 1], 3 - X[:, 1]) + 0.05 * rng.normal(size=n_rows)


X, Y = steps()
LABELS = np.array(["a", "b", "c"])[np.digitize(Y, [0.5, 2.5])]


# -- soft targets -------------------------------------------------------------------------


def test_rows_are_repeated_by_their_shares():
    resp = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.99999, 0.0, 0.00001]])
    rows, experts, shares = expand(resp, np.array([2.0, 1.0, 3.0]))
    assert rows.tolist() == [0, 0, 1, 2] and experts.tolist() == [0, 1, 1, 0]
    assert_allclose(shares, [1.4, 0.6, 1.0, 2.99997])


@pytest.mark.parametrize("n_experts", [2, 4])
def test_a_gini_tree_is_grown_on_the_shares_themselves(n_experts):
    X, resp, weight = problem(n_experts=n_experts)
    tree = DecisionTreeClassifier(max_depth=4, random_state=0)
    gate = ClassifierGate(tree, smoothing=0.0).fit(X, resp, weight)
    twin = DecisionTreeRegressor(max_depth=4, random_state=0).fit(X, resp, weight)
    assert_allclose(np.exp(gate.log_proba(X)), twin.predict(X), atol=2e-4)


@pytest.mark.parametrize("n_experts", [2, 3])
def test_logistic_regression_is_the_softmax_gate(n_experts):
    """At equal penalty: C is 1 / (alpha W), twice that for the one vector of two classes."""
    X, resp, weight = problem(n_experts=n_experts)
    X = (X - np.average(X, axis=0, weights=weight)) / 1.0
    X /= np.sqrt(np.average(X**2, axis=0, weights=weight))
    alpha = 0.01
    C = (2.0 if n_experts == 2 else 1.0) / (alpha * weight.sum())
    classifier = LogisticRegression(C=C, tol=1e-8, max_iter=1000)
    gate = ClassifierGate(classifier, smoothing=0.0).fit(X, resp, weight)
    twin = SoftmaxGate(alpha=alpha, tol=1e-12, max_iter=1000).fit(X, resp, weight)
    assert_allclose(np.exp(gate.log_proba(X)), np.exp(twin.log_proba(X)), atol=1e-3)
    smooth = ClassifierGate(classifier).fit(X, resp, weight)
    gain, smoothed = (
        np.einsum("nk,nk->n", resp, one.log_proba(X) - twin.log_proba(X)) for one in (gate, smooth)
    )
    assert np.abs(gain).max() < 1e-3
    assert abs(np.average(smoothed, weights=weight)) < 1e-3


def test_a_mixture_with_logistic_regression_is_that_with_the_softmax_gate():
    X, y = steps(200)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    settings = {"n_experts": 2, "n_init": 1, "tol": 1e-9, "max_iter": 500, "random_state": 0}
    classifier = LogisticRegression(C=2.0 / (1e-3 * len(y)), tol=1e-8, max_iter=1000)
    ours = MoERegressor(gate=SoftmaxGate(alpha=1e-3), solver="em", **settings).fit(X, y)
    theirs = MoERegressor(gate=classifier, **settings).fit(X, y)
    assert theirs.gate_.cross_fit_ is None
    assert_allclose(theirs.log_likelihood(X, y), ours.log_likelihood(X, y), atol=1e-3)


def test_experts_without_rows_keep_their_columns():
    X, resp, _ = problem(n_experts=4)
    resp[:, 2] = 0.0
    resp /= resp.sum(axis=1, keepdims=True)
    for estimator in (DecisionTreeClassifier(max_depth=3), KNeighborsClassifier()):
        gate = ClassifierGate(estimator, smoothing=0.01).fit(X, resp)
        proba = np.exp(gate.log_proba(X))
        assert_allclose(proba[:, 2], 0.01 / 4)
        assert_allclose(proba.sum(axis=1), 1.0)


def test_one_expert_that_has_all_rows():
    X, resp, _ = problem(n_experts=2)
    resp[:] = [0.0, 1.0]
    gate = ClassifierGate(GaussianNB()).fit(X, resp)
    assert_allclose(np.exp(gate.log_proba(X[:3])), [[5e-4, 1 - 5e-4]] * 3)
    assert type(gate.estimator_).__name__ == "DummyClassifier"


class Records(DecisionTreeClassifier):
    """A tree that notes what it is fitted to."""

    def fit(self, X, y, sample_weight=None):
        self.fits_ = (np.array(X), np.array(y), np.array(sample_weight))
        FITS.append(self.fits_)
        return super().fit(X, y, sample_weight=sample_weight)


FITS = []


def test_a_classifier_without_weights_gets_resampled_rows():
    X, resp, weight = problem(n_rows=400)
    near = KNeighborsClassifier(40)
    gate = ClassifierGate(near, random_state=0).fit(X, resp, weight)
    weighted = ClassifierGate(DecisionTreeClassifier(min_weight_fraction_leaf=0.1)).fit(
        X, resp, weight
    )
    assert np.abs(np.exp(gate.log_proba(X)) - np.exp(weighted.log_proba(X))).mean() < 0.1
    rows, _, shares = expand(resp, weight)
    effective = shares.sum() ** 2 / np.sum(shares**2)
    assert gate.estimator_.n_samples_fit_ == round(effective) < len(rows)


def test_a_frozen_classifier_stays_as_it_is():
    X, resp, _ = problem(n_experts=2)
    tree = DecisionTreeClassifier(max_depth=2).fit(X, resp.argmax(axis=1))
    model = MoERegressor(n_experts=2, gate=FrozenEstimator(tree)).fit(X, X[:, 0])
    assert model.gate_.estimator_.estimator is tree and model.gate_.cross_fit_ is None
    assert_allclose(model.gate_proba(X), 0.999 * tree.predict_proba(X) + 5e-4)


# -- honest probabilities -----------------------------------------------------------------


def test_probabilities_in_training_are_out_of_fold():
    X, resp, weight = problem()
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    folds = KFold(4)
    gate = ClassifierGate(tree, cross_fit=folds)
    found = gate.fit_log_proba(X, resp, weight)
    for train, test in folds.split(X):
        twin = ClassifierGate(tree).fit(X[train], resp[train], weight[train])
        assert_array_equal(found[test], twin.log_proba(X[test]))
    assert gate.cross_fit_ == 4
    whole = gate.fit(X, resp, weight).log_proba(X)
    assert_array_equal(whole, ClassifierGate(tree).fit(X, resp, weight).log_proba(X))


def test_copies_of_a_row_are_on_one_side_of_a_fold():
    X, resp, weight = problem()
    FITS.clear()
    ClassifierGate(Records(max_depth=2), cross_fit=3).fit_log_proba(X, resp, weight)
    for seen, _, shares in FITS:
        rows = np.array([np.flatnonzero((row == X).all(axis=1))[0] for row in seen])
        total = np.bincount(rows, weights=shares, minlength=N)
        assert_allclose(total[total > 0], weight[total > 0], rtol=1e-3)


def test_folds_stay_the_same_until_fit():
    X, resp, _ = problem()
    gate = ClassifierGate(DecisionTreeClassifier(max_depth=3), cross_fit=3, random_state=0)
    first = gate.fit_log_proba(X, resp)
    assert_array_equal(gate.fit_log_proba(X, resp), first)
    kept = gate.keep()
    gate.fit_log_proba(X, resp[:, ::-1].copy())
    assert_array_equal(kept.fit_log_proba(X, resp), first)
    assert_array_equal(gate.fit(X, resp).fit_log_proba(X, resp), first)
    other = clone(gate).set_params(random_state=1).fit_log_proba(X, resp)
    assert np.abs(other - first).max() > 0.1


@pytest.mark.parametrize("estimator, folds", [
    (LogisticRegression(), None),
    (DecisionTreeClassifier(max_depth=1), None),
    (DecisionTreeClassifier(random_state=0), 3),
    (RandomForestClassifier(10, random_state=0), 3),
    (HistGradientBoostingClassifier(min_samples_leaf=5), 3),
])  # fmt: skip
def test_auto_measures_the_optimism_of_the_first_fit(estimator, folds):
    X, resp, weight = problem(n_rows=300, n_experts=2)
    gate = ClassifierGate(estimator, random_state=0)
    found = gate.fit_log_proba(X, resp, weight)
    assert gate.cross_fit_ == folds
    seen = clone(gate).fit(X, resp, weight).log_proba(X)
    optimism = np.average(np.einsum("nk,nk->n", resp, seen - found), weights=weight)
    assert optimism == 0.0 if folds is None else optimism > 0.05


def test_few_rows_are_not_folded():
    X, resp, _ = problem(n_rows=5)
    gate = ClassifierGate(DecisionTreeClassifier())
    gate.fit_log_proba(X, resp)
    assert gate.cross_fit_ is None


@pytest.mark.parametrize("experts", [None, Ridge()])
def test_the_final_gate_has_seen_all_rows(experts):
    X, y = steps()
    FITS.clear()
    gate = ClassifierGate(Records(max_depth=3), cross_fit=3)
    model = MoERegressor(experts, n_experts=2, gate=gate, random_state=0, n_init=1).fit(X, y)
    assert model.gate_.cross_fit_ == 3
    assert model.gate_.estimator_.fits_ is FITS[-1]
    assert len(np.unique(FITS[-1][0], axis=0)) == len(X)
    assert_allclose(FITS[-1][2].sum(), len(X), rtol=1e-3)
    assert np.all([len(np.unique(seen, axis=0)) < len(X) for seen, _, _ in FITS[:-1]])


def test_in_sample_probabilities_of_trees_would_be_too_good():
    """Out of fold, the objective is what held-out rows say; in sample, it is far above."""
    X, resp, _ = problem(n_rows=600)
    rng = np.random.RandomState(0)
    y = np.where(resp.cumsum(axis=1) > rng.uniform(size=(600, 1)), 1, 0).argmax(axis=1)
    y = np.array([0.0, 1.0, 2.0])[y] + 0.1 * rng.normal(size=600)
    train, test = np.arange(400), np.arange(400, 600)
    tree = DecisionTreeClassifier(random_state=0)
    found = {}
    for cross_fit in (None, "auto"):
        gate = ClassifierGate(tree, cross_fit=cross_fit)
        model = MoERegressor(n_experts=3, gate=gate, random_state=0).fit(X[train], y[train])
        promised = model.objective_ - np.log(y[train].std())
        found[cross_fit] = promised, model.log_likelihood(X[test], y[test]).mean()
    assert found[None][0] > found[None][1] + 1.0
    assert abs(found["auto"][0] - found["auto"][1]) < 0.5


# -- in a mixture -------------------------------------------------------------------------

GATES = {
    "logistic": LogisticRegression(),
    "tree": DecisionTreeClassifier(max_depth=3),
    "boosting": HistGradientBoostingClassifier(max_iter=5, learning_rate=0.5, min_samples_leaf=5),
    "forest": RandomForestClassifier(5),
    "neighbours": KNeighborsClassifier(5),
    "bayes": GaussianNB(),
}
EXPERTS = {
    "linear": (None, None),
    "tree": (DecisionTreeRegressor(max_depth=2), DecisionTreeClassifier(max_depth=2)),
    "mixed": (
        [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=2))],
        [("logistic", LogisticRegression()), ("tree", DecisionTreeClassifier(max_depth=2))],
    ),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("task", [MoERegressor, MoEClassifier])
@pytest.mark.parametrize("experts", EXPERTS)
@pytest.mark.parametrize("gate", GATES)
def test_every_gate_with_every_expert(gate, experts, task):
    classify = task is MoEClassifier
    y, template = (LABELS if classify else Y), EXPERTS[experts][classify]
    n_experts = None if isinstance(template, list) else 2
    model = task(template, n_experts, gate=GATES[gate], random_state=0, n_init=1, max_iter=4).fit(
        X, y
    )
    assert type(model.gate_) is ClassifierGate
    assert type(model.gate_.estimator_) is type(GATES[gate])
    assert model.score(X, y) > (0.7 if classify else 0.6)
    assert_allclose(model.gate_proba(X).sum(axis=1), 1.0)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))
    routed = model.set_params(top_k=1)
    assert routed.predict(X).shape == y.shape


def test_parameters_of_a_bare_classifier():
    model = MoERegressor(n_experts=2, gate=DecisionTreeClassifier(max_depth=2), random_state=0)
    assert model.get_params()["gate__max_depth"] == 2
    copy = clone(model).set_params(gate__max_depth=1)
    assert copy.fit(X, Y).gate_.estimator_.get_depth() == 1
    assert model.gate.max_depth == 2 and type(copy.gate) is DecisionTreeClassifier
    assert not hasattr(copy.gate, "tree_")
    grid = {"gate__max_depth": [1, 2], "n_experts": [2]}
    assert GridSearchCV(model, grid, cv=2).fit(X, Y).best_params_["gate__max_depth"] in (1, 2)
    swapped = GridSearchCV(model, {"gate": ["softmax", GaussianNB()]}, cv=2).fit(X, Y)
    assert "gate" in swapped.best_params_


def test_parameters_of_a_classifier_gate():
    gate = ClassifierGate(DecisionTreeClassifier(), cross_fit=None)
    model = MoERegressor(n_experts=2, gate=gate).set_params(
        gate__estimator__max_depth=1, gate__smoothing=0.1
    )
    proba = model.fit(X, Y).gate_proba(X)
    assert proba.min() >= 0.05 and model.gate_.estimator_.get_depth() == 1


def test_seeds_come_from_the_mixture():
    settings = {"n_experts": 2, "max_iter": 30}
    forest = MoERegressor(gate=RandomForestClassifier(3), **settings)
    first = forest.set_params(random_state=0).fit(X, Y).gate_proba(X)
    assert_array_equal(forest.fit(X, Y).gate_proba(X), first)
    other = forest.set_params(random_state=1).fit(X, Y).gate_proba(X)
    assert np.abs(other - first).max() > 0.0
    given = MoERegressor(gate=RandomForestClassifier(3, random_state=7), random_state=0, **settings)
    assert given.fit(X, Y).gate_.estimator_.random_state == 7


def test_weights_under_metadata_routing():
    plain = MoERegressor(n_experts=2, gate=DecisionTreeClassifier(max_depth=2), random_state=0)
    expected = plain.fit(X, Y).gate_proba(X)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = clone(plain).fit(X, Y)
    assert_array_equal(routed.gate_proba(X), expected)


def test_zero_weights_are_no_rows():
    weight = np.ones(len(Y))
    weight[::3] = 0.0
    gate = DecisionTreeClassifier(max_depth=2)
    settings = {"experts": LinearExpert(), "n_experts": 2, "gate": gate, "random_state": 0}
    model = MoERegressor(**settings).fit(X, Y, sample_weight=weight)
    fewer = MoERegressor(**settings).fit(X[weight > 0], Y[weight > 0])
    assert_array_equal(model.gate_proba(X), fewer.gate_proba(X))


def test_warm_start_goes_on():
    gate = DecisionTreeClassifier(max_depth=2)
    model = MoERegressor(n_experts=2, gate=gate, random_state=0, warm_start=True).fit(X, Y)
    before = model.objective_
    assert model.fit(X, Y).objective_ > before - 0.05


class Fails(DecisionTreeClassifier):
    def fit(self, X, y, sample_weight=None):
        raise OverflowError("too much")


def test_errors_name_the_gate():
    with pytest.raises(RuntimeError, match="the gate Fails failed in fit: too much"):
        MoERegressor(n_experts=2, gate=Fails()).fit(X, Y)
    with pytest.raises(ValueError, match=r"'gate'.*'fit' and 'predict_proba'"):
        MoERegressor(gate=Ridge()).fit(X, Y)
    with pytest.raises(TypeError, match=r"gate=<class.*must be one of"):
        MoERegressor(gate=DecisionTreeClassifier).fit(X, Y)
    with pytest.raises(ValueError, match=r"'max_depth'.*DecisionTreeClassifier"):
        MoERegressor(gate=DecisionTreeClassifier(max_depth=-1)).fit(X, Y)
    with pytest.raises(ValueError, match=r"'smoothing'.*ClassifierGate"):
        MoERegressor(gate=ClassifierGate(GaussianNB(), smoothing=1.0)).fit(X, Y)
    with pytest.raises(TypeError, match="ClassifierGate has no method 'flat'"):
        MoERegressor(n_experts=2, gate=GaussianNB(), solver="gradient").fit(X, Y)
    with pytest.raises(TypeError, match="ClassifierGate has no method 'flat'"):  # before any work
        MoERegressor(n_experts=2, gate=GaussianNB(), solver="gradient").fit([["word"]], [0.0])
