"""Bad input raises at the door: the error names the parameter or column, and the cure."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import ShuffleSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.experts.estimators import accepts_sparse
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian

N = 30
rng = np.random.RandomState(0)
X = rng.normal(size=(N, 3))
Y = np.abs(X[:, 0])
LABELS = np.where(np.abs(X[:, 0]) > 0.6, "far", "near")
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "city": np.where(X[:, 2] > 0, "X", "Y")})
UNSAID = "scikit-learn 1.6.0 does not say which estimators take sparse data"
RIDGES = [("one", Ridge()), ("two", Ridge())]


def changed(values, index, value):
    values = np.array(values)
    values[index] = value
    return values


def with_column(name, values):
    return FRAME.assign(**{name: values})


class Untagged:
    """Fits and predicts, but has no parameters."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))


class Unpredictive(BaseEstimator):
    def fit(self, X, y):
        return self


class NotCalled(Ridge):
    """Fails the test if training begins."""

    def fit(self, X, y, sample_weight=None):
        raise AssertionError("training has begun")


def assert_refused(model, X, y, match, kind=(ValueError, TypeError), **fit):
    with pytest.raises(kind, match=match):
        model.fit(X, y, **fit)
    left = [name for name in vars(model) if name.endswith("_") or name.startswith("_")]
    assert left == [], "something half-fitted is left behind"


# -- parameters: (keyword arguments, message) ---------------------------------------------

BOTH = {
    "no experts": ({"n_experts": 0}, r"'n_experts'.*\[1, inf\)"),
    "a word as a number": ({"n_experts": "three"}, "'n_experts'"),
    "half an expert": ({"n_experts": 2.5}, "'n_experts'"),
    "more experts than rows": ({"n_experts": N + 1}, "n_experts=31.*choose fewer"),
    "an empty list": ({"experts": []}, "experts is an empty list; give at least one"),
    "a tuple": ({"experts": (("a", Ridge()),)}, "experts is a tuple; give a list"),
    "no pairs": ({"experts": [Ridge()]}, r"experts must be a list of \(name, estimator\)"),
    "a LinearExpert in a list": (
        {"experts": [("a", LinearExpert())]},
        "experts: 'a'.*use Ridge or LogisticRegression",
    ),
    "a number": ({"experts": 3}, "experts is 3, which has no fit and no predict"),
    "no predict": ({"experts": Unpredictive()}, "experts is Unpredictive.*no predict"),
    "no get_params": ({"experts": Untagged()}, "which has no get_params"),
    "a scaler": ({"experts": [("s", StandardScaler())]}, "experts: 's'.*no predict"),
    "a class": ({"experts": Ridge}, "experts is the class Ridge; give an instance"),
    "a class in a list": ({"experts": [("a", Ridge)]}, "'a' is the class Ridge; give an ins"),
    "a clusterer": ({"experts": KMeans()}, "KMeans.*a clusterer; MoE.* needs"),
    "an unknown gate": ({"gate": "soft"}, "'gate'.*'softmax'.*Got 'soft'"),
    "a gate's class": ({"gate": SoftmaxGate}, "gate=.*must be one of.*softmax"),
    "a gate without methods": ({"gate": Ridge()}, "'gate'.*'fit' and 'log_proba'"),
    "a gate with bad settings": ({"gate": SoftmaxGate(alpha=-1)}, "'alpha'.*SoftmaxGate"),
    "bad settings of experts": ({"experts": LinearExpert(alpha=-1)}, "'alpha'.*LinearExpert"),
    "an unknown solver": ({"solver": "adam"}, "'solver'.*'auto'.*Got 'adam'"),
    "a solver of another kind": ({"solver": Ridge()}, "solver=Ridge.*EM.*Gradient"),
    "an unknown start": ({"init": "best"}, "'init'.*'grown'.*Got 'best'"),
    "unknown folds": ({"cross_fit": "five"}, "'cross_fit'.*'auto'.*Got 'five'"),
    "one fold": ({"cross_fit": 1}, r"'cross_fit'.*\[2, inf\)"),
    "no row per expert": ({"top_k": 0}, r"'top_k'.*\[1, inf\)"),
    "top_k above the default": ({"top_k": 5}, "top_k=5 is more than the number of experts, 4"),
    "top_k above n_experts": ({"n_experts": 2, "top_k": 3}, "top_k=3.*experts, 2; lower it"),
    "no iterations": ({"max_iter": 0}, "'max_iter'"),
    "a negative tolerance": ({"tol": -1.0}, "'tol'"),
    "no starts": ({"n_init": 0}, "'n_init'"),
    "gate_features beyond X": ({"gate_features": [7]}, "gate_features=.*does not select"),
    "a name without a frame": ({"gate_features": ["a"]}, "gate_features=.*does not select"),
    "no gate_features": ({"gate_features": []}, "gate_features selects no column"),
    "no expert_features": ({"expert_features": []}, "expert_features selects no column"),
}

STARTS = {
    "several starts": (np.zeros(N, dtype=int), 2, "set n_init=1 in the place of n_init=2"),
    "too few labels": (np.zeros(N - 1, dtype=int), 1, r"init has shape \(29,\).*as many rows"),
    "a cube": (np.zeros((N, 2, 1)), 1, r"init has shape \(30, 2, 1\)"),
    "ragged": ([[1, 0], [1]], 1, "init is not an array"),
    "too few columns": (np.ones((N, 1)), 1, "init has 1 columns and there are 2 experts"),
    "labels out of range": (np.full(N, 2), 1, r"init: labels.*from 0 to 1.*got \[2\]"),
    "negative labels": (np.full(N, -1), 1, "init: labels"),
    "labels with decimals": (np.full(N, 0.5), 1, "init: labels must be integers"),
    "no responsibility": (np.zeros((N, 2)), 1, "no row all zero"),
    "NaN": (np.full((N, 2), np.nan), 1, "init: responsibilities must be finite"),
    "words": (np.full((N, 2), "a"), 1, "init: responsibilities must be numbers"),
    "a bad callable": (lambda X, y, k, rng: np.zeros(3), 1, r"init has shape \(3,\)"),
}


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("task", [MoERegressor, MoEClassifier])
def test_parameters(task, name):
    settings, match = BOTH[name]
    y = Y if task is MoERegressor else LABELS
    assert_refused(task(**settings), X, y, match)


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("task", [MoERegressor, MoEClassifier])
def test_starts(task, name):
    init, n_init, match = STARTS[name]
    y = Y if task is MoERegressor else LABELS
    assert_refused(task(n_experts=2, init=init, n_init=n_init), X, y, match)


@pytest.mark.parametrize("names, match", [
    (("a", "a"), "'a' is given twice; names must be unique"),
    (("a__b", "c"), "'a__b'.*contains '__'"),
    (("gate", "c"), "'gate' is also a parameter; choose another"),
    (("", "c"), "is empty"),
])  # fmt: skip
def test_names_of_experts(names, match):
    assert_refused(MoERegressor([(name, Ridge()) for name in names]), X, Y, match)


def test_a_number_that_contradicts_a_list():
    match = "n_experts=3 contradicts the list experts of length 2; leave n_experts out"
    assert_refused(MoERegressor(RIDGES, n_experts=3), X, Y, match)


def test_wrong_kind_of_expert():
    match = "LogisticRegression.*a classifier; MoERegressor needs regressors.*use MoEClassifier"
    assert_refused(MoERegressor(LogisticRegression()), X, Y, match)
    match = "'one' is Ridge.*a regressor; MoEClassifier needs classifiers.*use MoERegressor"
    assert_refused(MoEClassifier(RIDGES), X, LABELS, match)


@pytest.mark.parametrize("likelihood, match", [
    ("cauchy", "'likelihood'.*'gaussian'.*Got 'cauchy'"),
    (Gaussian, "likelihood=.*must be one of.*gaussian"),
    (Gaussian(floor=-1.0), "'floor'.*Gaussian"),
    (Ridge(), "'likelihood'.*'log_lik'"),
])  # fmt: skip
def test_likelihoods(likelihood, match):
    assert_refused(MoERegressor(likelihood=likelihood), X, Y, match)


@pytest.mark.parametrize("cross_fit, match", [
    (N + 1, "cross_fit=31 must be at least 2 and at most the number of rows, 30"),
    (ShuffleSplit(3, random_state=0), "cross_fit=.*exactly once; use a KFold-like"),
])  # fmt: skip
def test_folds_that_do_not_fit(cross_fit, match):
    assert_refused(MoERegressor(NotCalled(), 2, cross_fit=cross_fit), X, Y, match)


# -- data ----------------------------------------------------------------------------------

DATA = {
    "no y": (X, None, "requires y to be passed.*y is None"),
    "short y": (X, Y[:-1], "X has 30 rows and y has 29"),
    "scalar y": (X, 1.0, "y must be an array with one target per row"),
    "sparse y": (X, sp.csr_matrix(Y[:, None]), r"y is sparse; give a dense array"),
    "1-D X": (X[:, 0], Y, "Expected 2D array, got 1D array"),
    "3-D X": (X[:, :, None], Y, "dim 3"),
    "no rows": (X[:0], Y[:0], r"0 sample\(s\)"),
    "no rows in a frame": (FRAME[["a", "b"]][:0], Y[:0], r"0 sample\(s\)"),
    "no columns": (X[:, :0], Y, r"0 feature\(s\)"),
    "words in X": (np.full((N, 2), "a"), Y, "could not convert string to float"),
    "complex X": (X + 1j, Y, "Complex data not supported"),
    "inf in X": (changed(X, (3, 1), np.inf), Y, "X contains infinity.*column 1; replace it"),
    "NaN in X": (changed(X, (3, 2), np.nan), Y, "X contains NaN in column 2, which.*impute"),
    "sparse inf": (sp.csr_matrix(changed(X, (3, 1), np.inf)), Y, "X contains infinity.*column 1"),
    "sparse NaN": (sp.csr_matrix(changed(X, (3, 1), np.nan)), Y, "NaN in column 1, which"),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("experts", [None, NotCalled()])
def test_data(experts, name):
    X, y, match = DATA[name]
    assert_refused(MoERegressor(experts, n_experts=2), X, y, match)


@pytest.mark.parametrize("value, match", [
    (np.nan, "Input y contains NaN"),
    (np.inf, "Input y contains infinity"),
])  # fmt: skip
def test_targets_that_are_not_finite(value, match):
    assert_refused(MoERegressor(), X, changed(Y, 3, value), match)
    assert_refused(MoERegressor(), X, np.column_stack([Y, changed(Y, 3, value)]), match)
    assert_refused(MoEClassifier(), X, changed(np.ones(N), 3, value), match)


def test_targets_of_the_wrong_kind():
    assert_refused(MoERegressor(), X, LABELS, "could not convert string to float")
    assert_refused(MoERegressor(), X, np.zeros((N, 2, 2)), "dim 3")
    assert_refused(MoEClassifier(), X, Y, "Unknown label type")
    assert_refused(MoEClassifier(), X, np.zeros((N, 2)), "y should be a 1d array")
    mixed = np.array(["a", 1] * (N // 2), dtype=object)
    assert_refused(MoEClassifier(), X, mixed, "y mixes labels of different types")
    missing = np.array(["a", np.nan] * (N // 2), dtype=object)
    assert_refused(MoEClassifier(), X, missing, "Input y contains NaN")


def test_several_outputs_for_experts_that_predict_one():
    model = MoERegressor(HistGradientBoostingRegressor(), n_experts=2)
    match = "y has 2 outputs, and.*HistGradientBoostingRegressor predicts one.*MultiOutputReg"
    assert_refused(model, X, np.column_stack([Y, Y]), match)


@pytest.mark.parametrize("weight, match", [
    (-np.ones(N), "Negative values.*sample_weight"),
    (changed(np.ones(N), 2, np.nan), "sample_weight contains NaN"),
    (changed(np.ones(N), 2, np.inf), "sample_weight contains infinity"),
    (np.ones(N - 1), r"sample_weight.shape == \(29,\), expected \(30,\)"),
    (np.ones((N, 1)), r"sample_weight.shape == \(30, 1\)"),
    (np.zeros(N), "sample_weight: all weights are zero"),
    (np.full(N, "a"), "sample_weight does not hold numbers"),
    (changed(np.zeros(N), 2, 1.0), "n_experts=2 is more than.*n_samples=1; choose fewer"),
])  # fmt: skip
@pytest.mark.parametrize("experts", [None, NotCalled()])
def test_weights(experts, weight, match):
    assert_refused(MoERegressor(experts, n_experts=2), X, Y, match, sample_weight=weight)


# -- frames and columns ----------------------------------------------------------------------

FRAMES = {
    "words for linear experts": ({}, FRAME, r"columns \['city'\] of X.*encode them"),
    "nothing numeric": (
        {"experts": NotCalled()},
        FRAME[["city"]],
        "X has no numeric column; encode some.*gate_features",
    ),
    "a missing column": ({"gate_features": ["z"]}, FRAME, "gate_features=.*does not select"),
    "words for the gate": (
        {"experts": NotCalled(), "gate_features": ["city", "a"]},
        FRAME,
        r"gate_features selects columns that are not numeric: \['city'\]; encode",
    ),
    "words selected for linear experts": (
        {"expert_features": ["city"], "gate_features": ["a"]},
        FRAME,
        r"expert_features selects columns that are not numeric: \['city'\]",
    ),
    "NaN for experts": (
        {"experts": [("boost", HistGradientBoostingRegressor()), ("ridge", NotCalled())]},
        with_column("b", changed(X[:, 1], 4, np.nan)),
        r"NaN in column 'b', which expert 'ridge' \(NotCalled\) cannot take; impute it",
    ),
    "a missing word for experts": (
        {"experts": NotCalled()},
        with_column("city", [None] + ["X"] * (N - 1)),
        "NaN in column 'city', which the expert NotCalled cannot take; fill it",
    ),
    "NaN for linear experts": (
        {"expert_features": ["b"], "gate_features": ["a"]},
        with_column("b", changed(X[:, 1], 4, np.nan)),
        "NaN in column 'b', which a built-in expert cannot take",
    ),
    "inf": (
        {"experts": HistGradientBoostingRegressor(), "gate_features": ["a"]},
        with_column("b", changed(X[:, 1], 4, np.inf)),
        "infinity.*column 'b'",
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames(name):
    settings, frame, match = FRAMES[name]
    assert_refused(MoERegressor(**settings), frame, Y, match)


@pytest.mark.skipif(accepts_sparse(GaussianNB()), reason=UNSAID)
def test_sparse_rows_name_the_expert_that_cannot_take_them():
    experts = [("ridge", NotCalled()), ("boost", HistGradientBoostingRegressor())]
    match = r"expert 'boost' \(HistGradientBoostingRegressor\) takes dense data only; use X.toarray"
    assert_refused(MoERegressor(experts), sp.csr_matrix(X), Y, match)
    model = MoEClassifier(HistGradientBoostingClassifier())
    assert_refused(model, sp.csr_matrix(X), LABELS, "the expert HistGradient.*dense data only")


@pytest.mark.parametrize("experts", [None, DecisionTreeRegressor(max_depth=2)])
def test_prediction_asks_for_the_columns_of_fit(experts):
    frame = FRAME[["a", "b"]]
    model = MoERegressor(experts, n_experts=2).fit(frame, Y)
    with pytest.raises(ValueError, match=r"in the same order as they were in fit"):
        model.predict(frame[["b", "a"]])
    with pytest.raises(ValueError, match="unseen at fit time:\n- c"):
        model.predict(frame.rename(columns={"b": "c"}))
    with pytest.raises(ValueError, match="seen at fit time, yet now missing:\n- b"):
        model.gate_proba(frame[["a"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        values = model.predict(frame.to_numpy())
    np.testing.assert_array_equal(values, model.predict(frame))
    with pytest.raises(ValueError, match="X has 3 features, but MoERegressor is expecting 2"):
        MoERegressor(experts, n_experts=2).fit(X[:, :2], Y).predict(X)


@pytest.mark.parametrize("experts", [None, DecisionTreeRegressor(max_depth=2)])
def test_prediction_looks_at_values_too(experts):
    model = MoERegressor(experts, n_experts=2).fit(X, Y)
    with pytest.raises(ValueError, match=r"X contains infinity.*column 1"):
        model.predict(changed(X, (0, 1), np.inf))
    if experts is None:
        with pytest.raises(ValueError, match=r"NaN in column 1, which a built-in expert cannot"):
            model.predict(changed(X, (0, 1), np.nan))
    with pytest.raises(ValueError, match="Expected 2D"):
        model.predict(X[0])


def test_targets_of_log_likelihood():
    model = MoEClassifier(n_experts=2).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"has not seen: \['faint'\]; known are \['far', 'near'\]"):
        model.log_likelihood(X[:2], ["far", "faint"])
    with pytest.raises(ValueError, match=r"has not seen: \[0, 1\]"):
        model.responsibilities(X[:2], [0, 1])
    model = MoERegressor(n_experts=2).fit(X, Y)
    with pytest.raises(ValueError, match="X has 2 rows and y has 3"):
        model.log_likelihood(X[:2], Y[:3])
    with pytest.raises(ValueError, match="y has 2 columns; fit had 1"):
        model.log_likelihood(X[:2], np.zeros((2, 2)))
    with pytest.raises(TypeError, match="y must be an array"):
        model.responsibilities(X[:2], None)


# -- failures inside ------------------------------------------------------------------------


class Fails(Ridge):
    def fit(self, X, y, sample_weight=None):
        raise OverflowError("too much")


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_failing_expert_is_named(n_jobs):
    model = MoERegressor([("fine", Ridge()), ("faulty", Fails())], n_jobs=n_jobs)
    with pytest.raises(RuntimeError, match="expert 'faulty' failed in fit: too much") as caught:
        model.fit(X, Y)
    assert isinstance(caught.value.__cause__, OverflowError)
    assert not hasattr(model, "experts_") and not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("bad", [
    {"X": X[:, :1], "y": changed(Y, 0, np.nan)},
    {"X": changed(X, (0, 0), np.inf), "y": Y},
    {"X": FRAME, "y": Y},
])  # fmt: skip
def test_a_failed_fit_leaves_the_last_one_as_it_was(bad):
    model = MoERegressor(n_experts=2).fit(X, Y)
    before, state = model.predict(X), dict(vars(model))
    with pytest.raises(ValueError):
        model.fit(**bad)
    assert vars(model) == state
    np.testing.assert_array_equal(model.predict(X), before)
