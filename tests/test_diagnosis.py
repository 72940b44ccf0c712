"""The diagnosis: its numbers against naive twins, its verdicts against planted faults."""

import math
import os
import pickle

import naive
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.dummy import DummyRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import load_concrete, load_diamonds, make_moe_regression, read_dataset
from skmoe.diagnosis import Diagnosis

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.RandomState(0)
X = rng.normal(size=(160, 2))
Y = np.abs(X[:, 0]) + 0.2 * rng.normal(size=160)
Y2 = np.column_stack([Y, 3.0 - 10.0 * X[:, 1] * (X[:, 0] > 0) + rng.normal(size=160)])
LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0] * X[:, 1], [-0.3, 0.3])]
NEW, NEW_Y, NEW_Y2, NEW_LABELS = X[:60], Y[:60], Y2[:60], LABELS[:60]
WEIGHT = rng.uniform(0.2, 3.0, size=60)
SETTINGS = {"n_init": 1, "max_iter": 8, "random_state": 0}


# -- numbers -------------------------------------------------------------------------------


def naive_facts(model, rows, y, weight, top_k):
    """Loops over rows and experts; experts' outputs and noise from the public answers."""
    n, n_experts = len(rows), model.n_experts_
    gate = model.gate_proba(rows)
    chosen, log_weights = naive.top_k(np.log(gate), top_k or n_experts)
    used = np.zeros(gate.shape)
    np.put_along_axis(used, chosen, np.exp(log_weights), axis=1)
    pred = model.predict_experts(rows).reshape(n, n_experts, -1)
    weight = weight / weight.sum()
    if isinstance(model, MoEClassifier):
        target = (y[:, None] == model.classes_).astype(float)
        variance = pred * (1 - pred)
        log_lik = np.log((pred * target[:, None]).sum(axis=2))
        spread = sum(
            w * (t - m) ** 2
            for w, row in zip(weight, target, strict=True)
            for t, m in zip(row, weight @ target, strict=True)
        )
        scale = np.full(target.shape[1], spread)
    else:
        target = y.reshape(n, -1)
        variance = np.broadcast_to(model.likelihood_.scale_.reshape(n_experts, -1) ** 2, pred.shape)
        log_lik = naive.gaussian_log_lik(target, pred, variance[0])
        scale = weight @ (target - weight @ target) ** 2 * target.shape[1]
    facts = {"load": np.zeros(n_experts), "within": 0.0, "between": 0.0, "entropy": 0.0}
    sums, totals = np.zeros((n_experts, n_experts)), np.zeros(n_experts)
    with np.errstate(divide="ignore"):
        log_used = np.log(used)
    resp, loglik, _ = naive.e_step(log_used, log_lik)
    for i in range(n):
        top = used[i].argmax()
        facts["load"][top] += weight[i]
        totals[top] += weight[i]
        mean = used[i] @ pred[i]
        for k in range(n_experts):
            sums[top, k] += weight[i] * np.sum((target[i] - pred[i, k]) ** 2 / scale)
            facts["within"] += weight[i] * used[i, k] * np.sum(variance[i, k] / scale)
            square = np.sum((pred[i, k] - mean) ** 2 / scale)
            facts["between"] += weight[i] * used[i, k] * square
            if used[i, k] > 0:
                facts["entropy"] -= weight[i] * used[i, k] * math.log(used[i, k])
    facts["specialisation"] = sums / totals[:, None]
    facts["replacement"] = np.zeros((n_experts, n_experts))
    for j, k in np.ndindex(n_experts, n_experts):
        swapped = log_lik.copy()
        swapped[:, j] = log_lik[:, k]
        worse = naive.e_step(log_used, swapped)[1]
        facts["replacement"][j, k] = weight @ (loglik - worse) / (weight @ resp[:, j])
    error = (target[:, None] - pred) / np.sqrt(scale)
    error = (error - np.tensordot(weight, error, axes=1)).transpose(1, 0, 2).reshape(n_experts, -1)
    aweights = np.repeat(weight, target.shape[1])
    covariance = (error * aweights) @ error.T
    size = np.sqrt(np.diag(covariance))
    facts["correlation"] = covariance / np.outer(size, size)
    importance = weight @ gate
    facts["importance"], facts["responsibility"] = importance, weight @ resp
    facts["effective"] = math.exp(-sum(p * math.log(p) for p in importance))
    return facts


MODELS = {
    "linear": (MoERegressor(n_experts=3, **SETTINGS), Y),
    "outputs": (MoERegressor(n_experts=3, **SETTINGS), Y2),
    "tree": (MoERegressor(DecisionTreeRegressor(max_depth=2), n_experts=3, **SETTINGS), Y),
    "classes": (MoEClassifier(n_experts=3, **SETTINGS), LABELS),
    "class tree": (
        MoEClassifier(DecisionTreeClassifier(max_depth=2), n_experts=3, **SETTINGS),
        LABELS,
    ),
}


@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("kind", MODELS)
def test_numbers(kind, top_k):
    model, y = MODELS[kind]
    model.fit(X, y).set_params(top_k=top_k)
    found = model.diagnose(NEW, y[:60], WEIGHT, one_expert=None)
    facts = naive_facts(model, NEW, y[:60], WEIGHT, top_k)
    model.set_params(top_k=None)
    for name in ("load", "importance", "responsibility"):
        np.testing.assert_allclose(found.experts[name], facts[name], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(found.specialisation, facts["specialisation"], rtol=1e-7)
    np.testing.assert_allclose(found.experts["loss"], np.diag(facts["specialisation"]))
    np.testing.assert_allclose(found.error_correlation, facts["correlation"], rtol=1e-6)
    np.testing.assert_allclose(found.replacement, facts["replacement"], rtol=1e-5, atol=1e-8)
    assert np.isclose(found.variance_within, facts["within"], rtol=1e-7)
    assert np.isclose(found.variance_between, facts["between"], rtol=1e-6)
    assert np.isclose(found.gate_entropy, facts["entropy"], rtol=1e-6)
    assert np.isclose(found.effective_experts, facts["effective"], rtol=1e-7)
    assert math.isnan(found.gain) and found.verdict[-1] == "Not compared with one expert."


def test_variances_are_those_of_the_prediction():
    model = MoERegressor(n_experts=3, **SETTINGS).fit(X, Y)
    found = model.diagnose(NEW, NEW_Y, one_expert=None)
    std = model.predict(NEW, return_std=True)[1]
    total = found.variance_within + found.variance_between
    assert np.isclose(total * NEW_Y.var(), np.mean(std**2))


def test_a_fitted_model_as_comparison():
    model = MoERegressor(n_experts=3, **SETTINGS).fit(X[60:], Y[60:])
    one = MoERegressor(n_experts=1).fit(X[60:], Y[60:])
    found = model.diagnose(NEW, NEW_Y, WEIGHT, one_expert=one)
    difference = model.log_likelihood(NEW, NEW_Y) - one.log_likelihood(NEW, NEW_Y)
    gain = np.average(difference, weights=WEIGHT)
    assert np.isclose(found.gain, gain)
    error = np.sqrt(np.sum((WEIGHT * (difference - gain)) ** 2)) / WEIGHT.sum()
    assert np.isclose(found.gain_error, error)


def test_weights_are_repetitions():
    model = MoERegressor(n_experts=2, **SETTINGS).fit(X, Y)
    counts = np.arange(60) % 3
    rows = np.repeat(np.arange(60), counts)
    weighted = model.diagnose(NEW, NEW_Y, counts, one_expert=None)
    repeated = model.diagnose(NEW[rows], NEW_Y[rows], one_expert=None)
    np.testing.assert_allclose(
        weighted.experts.drop(columns="verdict"), repeated.experts.drop(columns="verdict")
    )
    np.testing.assert_allclose(weighted.replacement, repeated.replacement)


def test_a_routing_bias_counts():
    model = MoERegressor(n_experts=3, top_k=1, **SETTINGS).fit(X, Y)
    model.routing_bias_ = np.array([0.0, 50.0, 0.0])
    found = model.diagnose(NEW, NEW_Y, one_expert=None)
    np.testing.assert_allclose(found.experts["load"], [0.0, 1.0, 0.0])


# -- planted faults ------------------------------------------------------------------------


def frozen(estimator, rows, y):
    return FrozenEstimator(estimator.fit(rows, y))


def two_regimes(seed=0, n=600):
    """y = 2 x or -2 x on two sides, and a line fitted to each."""
    rng = np.random.RandomState(seed)
    rows = rng.uniform(-1, 1, size=(n, 2))
    right = rows[:, 0] > 0
    y = np.where(right, 2.0, -2.0) * rows[:, 1] + 0.1 * rng.normal(size=n)
    return rows, y, right


def test_duplicates_and_dead_experts_are_found():
    rows, y, right = two_regimes()
    one = frozen(LinearRegression(), rows[right], y[right])
    other = frozen(LinearRegression(), rows[~right], y[~right])
    lost = frozen(DummyRegressor(strategy="constant", constant=50.0), rows, y)
    experts = [("left", other), ("right", one), ("copy", one), ("lost", lost)]
    # A start that treats both copies alike; otherwise one of them may die.
    start = np.column_stack([~right, right / 2, right / 2, 0 * right])[:400]
    model = MoERegressor(experts, init=start, n_init=1).fit(rows[:400], y[:400])
    found = model.diagnose(rows[400:], y[400:])
    assert found.experts["verdict"].to_dict() == {
        "left": "fine",
        "right": "redundant with copy",
        "copy": "redundant with right",
        "lost": "dead",
    }
    assert found.error_correlation.loc["right", "copy"] > 0.999
    assert found.verdict[0].startswith("lost: dead")
    assert found.verdict[1].startswith("right, copy: redundant")
    assert found.verdict[-1].startswith("A mixture pays here")


def test_duplicate_classifiers_are_found():
    rows = X
    y = np.where(rows[:, 0] * rows[:, 1] > 0, "same", "other")
    right = rows[:, 0] > 0
    one = frozen(LogisticRegression(), rows[right], y[right])
    other = frozen(LogisticRegression(), rows[~right], y[~right])
    start = np.column_stack([right / 2, ~right, right / 2])
    experts = [("a", one), ("b", other), ("c", one)]
    model = MoEClassifier(experts, init=start, n_init=1).fit(rows, y)
    verdict = model.diagnose(NEW, y[:60]).experts["verdict"]
    assert verdict.tolist() == ["redundant with c", "fine", "redundant with a"]


def test_conflicts_are_found():
    """Two regimes that no feature tells apart: the gate can only blend contradictions."""
    rng = np.random.RandomState(0)
    rows = rng.uniform(1, 2, size=(500, 1))
    y = np.where(rng.uniform(size=500) > 0.5, 3.0, -3.0) * rows[:, 0] + 0.2 * rng.normal(size=500)
    model = MoERegressor(n_experts=2, random_state=0).fit(rows[:300], y[:300])
    found = model.diagnose(rows[300:], y[300:])
    assert found.experts["verdict"].tolist() == ["conflicting", "conflicting"]
    assert found.variance_between > 20 * found.variance_within
    assert any("conflicting, that is, mostly blended" in sentence for sentence in found.verdict)
    # The regimes are real all the same.
    assert found.verdict[-1].startswith("A mixture pays here")


def test_conflicting_classifiers_are_found():
    rows = X
    y = np.where(rows[:, 0] > 0, "up", "down")
    yes = frozen(LogisticRegression(C=100.0), rows, y)
    no = frozen(LogisticRegression(C=100.0), rows, np.where(y == "up", "down", "up"))
    coin = np.random.RandomState(0).uniform(size=len(y)) > 0.5
    noisy = np.where(coin, y, "up")
    model = MoEClassifier([("yes", yes), ("no", no)], random_state=0).fit(rows, noisy)
    verdict = model.diagnose(NEW, noisy[:60], one_expert=None).experts["verdict"]
    assert "conflicting" in set(verdict)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classify", [False, True])
def test_no_regimes_no_mixture(classify, seed):
    rng = np.random.RandomState(seed)
    rows = rng.normal(size=(600, 4))
    score = rows @ rng.normal(size=4)
    y = (score + rng.logistic(size=600) > 0) if classify else score + rng.normal(size=600)
    kind = MoEClassifier if classify else MoERegressor
    model = kind(n_experts=3, random_state=0).fit(rows[:400], y[:400])
    assert model.diagnose(rows[400:], y[400:]).verdict[-1].startswith("A mixture does not pay")


def test_regimes_of_a_known_mixture_are_fine():
    rows, y = make_moe_regression(1200, 3, n_experts=3, random_state=1)
    model = MoERegressor(n_experts=3, random_state=0).fit(rows[:800], y[:800])
    found = model.diagnose(rows[800:], y[800:])
    assert found.experts["verdict"].tolist() == ["fine"] * 3
    assert len(found.verdict) == 1 and found.gain > 10 * found.gain_error > 0


def test_limits_move_the_verdicts():
    rows, y = make_moe_regression(600, 2, n_experts=2, random_state=0)
    model = MoERegressor(n_experts=2, random_state=0).fit(rows[:400], y[:400])

    def verdicts(**limits):
        found = model.diagnose(rows[400:], y[400:], **limits)
        return found.experts["verdict"].tolist(), found.verdict[-1]

    assert verdicts()[0] == ["fine", "fine"]
    assert verdicts(dead=5.0)[0] == ["dead", "dead"]
    assert all("redundant" in text for text in verdicts(redundant=1e6)[0])
    assert verdicts(min_gain=100.0)[1].startswith("A mixture does not pay")
    with pytest.raises(ValueError, match="dead == -1"):
        verdicts(dead=-1.0)
    with pytest.raises(ValueError, match="one_expert='best' is unknown; use 'auto', None or"):
        verdicts(one_expert="best")
    # Also where nothing would be compared: on the rows of the fit, or in vain.
    with pytest.raises(ValueError, match="one_expert=3 is unknown"):
        model.diagnose(rows[:400], y[:400], one_expert=3)


def test_an_expert_that_is_beaten_on_its_own_rows_is_named():
    rows, y, right = two_regimes()
    one = frozen(LinearRegression(), rows[right], y[right])
    other = frozen(LinearRegression(), rows[~right], y[~right])
    model = MoERegressor([("left", other), ("right", one)], random_state=0).fit(rows, y)
    found = model.diagnose(rows[:, [0, 1]], -y, one_expert=None)
    assert sum("not the best on its own rows" in sentence for sentence in found.verdict) == 2
    assert any(
        text.startswith("left: not the best on its own rows (loss") for text in found.verdict
    )


# -- real sets -------------------------------------------------------------------------------


def check_specialised(model, rows, y, n_train):
    """On rows that the model has not seen, every expert is the best on those it leads."""
    train, test, y_train, y_test = train_test_split(rows, y, train_size=n_train, random_state=0)
    found = model.fit(train, y_train).diagnose(test, y_test)
    loss = found.specialisation.to_numpy()
    np.testing.assert_array_equal(loss.argmin(axis=1), np.arange(model.n_experts_))
    assert found.verdict[-1].startswith("A mixture pays here")
    assert not any("own rows" in sentence for sentence in found.verdict)


def diamonds():
    frame, price = load_diamonds(return_X_y=True, as_frame=True)
    frame = frame.apply(lambda column: pd.factorize(column, sort=True)[0], axis=0, by_row=False)
    return frame.to_numpy(dtype=float), np.asarray(price)


@pytest.mark.parametrize("n_experts", [2, 3, 4])
def test_experts_specialise_on_concrete(n_experts):
    rows, y = load_concrete(return_X_y=True)
    check_specialised(MoERegressor(n_experts=n_experts, random_state=0), rows, y, 721)


def test_tree_experts_specialise_on_concrete():
    rows, y = load_concrete(return_X_y=True)
    tree = DecisionTreeRegressor(max_depth=4, min_samples_leaf=5)
    check_specialised(MoERegressor(tree, n_experts=3, random_state=0), rows, y, 721)


# -- forms of data ---------------------------------------------------------------------------


def test_sparse_rows_and_frames():
    found = []
    for form in (np.asarray, sp.csr_matrix, lambda rows: pd.DataFrame(rows, columns=["u", "v"])):
        model = MoERegressor(n_experts=2, random_state=0, tol=1e-8).fit(form(X), pd.Series(Y))
        found.append(model.diagnose(form(NEW), pd.Series(NEW_Y)))
        assert np.isfinite(found[-1].gain)
    for other in found[1:]:
        np.testing.assert_allclose(other.gain, found[0].gain, rtol=0.02)


def test_the_kinds_of_a_list_are_compared_by_the_best():
    tree = DecisionTreeRegressor(max_depth=3)
    model = MoERegressor([("ridge", Ridge()), ("tree", tree)], **SETTINGS).fit(X, Y)
    both = model.diagnose(NEW, NEW_Y)
    only = [
        MoERegressor(expert, n_experts=2, **SETTINGS).fit(X, Y).set_params(experts=expert)
        for expert in (Ridge(), tree)
    ]
    loglik = model.log_likelihood(NEW, NEW_Y).mean()
    singles = [m.log_likelihood(NEW, NEW_Y).mean() - m.diagnose(NEW, NEW_Y).gain for m in only]
    assert np.isclose(loglik - both.gain, max(singles))


def test_rows_of_the_fit_are_recognised():
    weight = np.where(np.arange(160) % 7 == 0, 0.0, 1.0)
    for model, y in (MODELS["linear"], MODELS["classes"], MODELS["tree"]):
        for given in (None, weight):
            found = model.fit(X, y, sample_weight=given).diagnose(X, y, given)
            assert "the model was fitted to these rows" in found.verdict[-1]
            assert math.isnan(found.gain)
        assert math.isfinite(model.diagnose(X[:100], y[:100]).gain)


def test_few_rows_and_one_expert():
    model = MoERegressor(n_experts=2, **SETTINGS).fit(X, Y)
    few = model.diagnose(NEW[:4], NEW_Y[:4])
    assert math.isnan(few.gain) and few.verdict[-1] == "Not compared with one expert."
    one = MoERegressor(n_experts=1).fit(X, Y).diagnose(NEW, NEW_Y)
    assert one.experts["verdict"].tolist() == ["fine"] and np.isclose(one.effective_experts, 1)
    same = model.diagnose(NEW[:4], np.ones(4), one_expert=None)
    assert np.isfinite(same.variance_within)


def test_a_class_that_a_fold_has_not_seen_is_left_out():
    labels = LABELS[:60].astype("<U4")
    labels[7] = "rare"
    model = MoEClassifier(n_experts=2, **SETTINGS).fit(X[:60], labels)
    order = np.arange(60)[::-1]
    found = model.diagnose(X[order], labels[order])
    assert math.isfinite(found.gain)


def test_errors_come_first():
    model = MoERegressor(n_experts=2, **SETTINGS).fit(X, Y)
    with pytest.raises(ValueError, match="X has 60 rows and y has 59"):
        model.diagnose(NEW, NEW_Y[:59])
    with pytest.raises(ValueError, match=r"sample_weight\.shape == "):
        model.diagnose(NEW, NEW_Y, np.ones(3))


def test_repr_and_pickle():
    model = MoERegressor(n_experts=2, **SETTINGS).fit(X, Y)
    found = model.diagnose(NEW, NEW_Y)
    text = repr(found)
    assert text.startswith("* ") and "effective number of experts" in text
    assert "expert_0" in text and "disagreement" in text and "loss on the rows" in text
    again = pickle.loads(pickle.dumps(found))
    assert isinstance(again, Diagnosis) and repr(again) == text


@pytest.mark.slow
@pytest.mark.jit_only
@pytest.mark.parametrize("n_experts", [2, 3, 4, 6])
def test_experts_specialise_on_diamonds(n_experts):
    rows, y = diamonds()
    check_specialised(MoERegressor(n_experts=n_experts, random_state=0), rows, y, 8000)


@pytest.mark.skipif("SKMOE_DATA" not in os.environ, reason="vowel may not be shipped")
@pytest.mark.parametrize("n_experts", [2, 3, 4, 6])
def test_experts_specialise_on_vowel(n_experts):
    frame, y = read_dataset("vowel", return_X_y=True)
    rows = frame[[f"F{j}" for j in range(10)]].to_numpy()
    check_specialised(MoEClassifier(n_experts=n_experts, random_state=0), rows, np.asarray(y), 693)
