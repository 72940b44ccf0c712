"""What a fit promises: weights, order, starts, going on, and telling the truth."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor, _progress
from skmoe._design import Design
from skmoe._fit import FitData
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian

UNSETTLED = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, K = 60, 3
rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(N, 2))
Y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=N)
LABELS = np.where(np.abs(X[:, 0]) + 0.2 * rng.normal(size=N) > 0.5, "far", "near")
RESP = rng.dirichlet([1.0] * K, size=N)
COUNTS = rng.randint(0, 4, size=N)

TREE = DecisionTreeRegressor(max_depth=2, random_state=0)
TREE_C = DecisionTreeClassifier(max_depth=2, random_state=0)
LOGISTIC = LogisticRegression(tol=1e-8, max_iter=1000)
FROM_RESP = {"n_init": 1, "cross_fit": None, "max_iter": 12, "random_state": 0}
MODELS = {
    "linear": (MoERegressor(n_experts=K, **FROM_RESP), Y),
    "linear by EM": (MoERegressor(n_experts=K, solver="em", **FROM_RESP), Y),
    "ridge": (MoERegressor(Ridge(), K, **FROM_RESP), Y),
    "tree": (MoERegressor(TREE, K, **FROM_RESP), Y),
    "two outputs": (MoERegressor(n_experts=K, **FROM_RESP), np.column_stack([Y, X[:, 1] ** 2])),
    "classes": (MoEClassifier(n_experts=K, **FROM_RESP), LABELS),
    "logistic": (MoEClassifier(LOGISTIC, K, **FROM_RESP), LABELS),
    "tree of classes": (MoEClassifier(TREE_C, K, **FROM_RESP), LABELS),
}


@pytest.fixture(params=MODELS)
def problem(request):
    model, y = MODELS[request.param]
    return clone(model), y


def fit(model, X, y, init, weight=None):
    return clone(model).set_params(init=init).fit(X, y, sample_weight=weight)


def answers(model, experts=None):
    """Predictions, and by expert in the order given."""
    method = "predict_proba" if isinstance(model, MoEClassifier) else "predict"
    experts = list(range(K)) if experts is None else experts
    by_expert = model.predict_experts(X)[:, experts], model.gate_proba(X)[:, experts]
    return [getattr(model, method)(X), model.objective_, *by_expert, model.load_[experts]]


def assert_close(one, other, atol=1e-6):
    for a, b in zip(one, other):
        np.testing.assert_allclose(a, b, atol=atol)


# -- weights and order ------------------------------------------------------------------------


@UNSETTLED
def test_integer_weights_equal_repeated_rows(problem):
    model, y = problem
    weighted = fit(model, X, y, RESP, COUNTS)
    repeated = fit(model, *(np.repeat(array, COUNTS, axis=0) for array in (X, y, RESP)))
    assert_close(answers(weighted), answers(repeated))


@UNSETTLED
def test_rows_without_weight_are_left_out(problem):
    """Also if they could not be trained on: their values are not looked at."""
    model, y = problem
    kept = COUNTS > 0
    weighted = fit(model, X, y, RESP, kept.astype(float))
    dropped = fit(model, X[kept], y[kept], RESP[kept])
    assert_close(answers(weighted), answers(dropped), atol=0.0)


@UNSETTLED
def test_order_of_rows_does_not_matter(problem):
    model, y = problem
    order = rng.permutation(N)
    moved = fit(model, X[order], y[order], RESP[order], COUNTS[order])
    assert_close(answers(moved), answers(fit(model, X, y, RESP, COUNTS)))


@UNSETTLED
def test_order_of_experts_does_not_matter(problem):
    model, y = problem
    order = [2, 0, 1]
    moved = fit(model, X, y, RESP[:, order])
    assert_close(answers(moved), answers(fit(model, X, y, RESP), order))


@UNSETTLED
@pytest.mark.parametrize("kind", ["classes", "tree of classes"])
def test_class_weights_are_sample_weights(kind):
    model, y = MODELS[kind]
    weight = rng.uniform(0.5, 2.0, size=N)
    factor = np.where(y == "far", 3.0, 1.0)
    got = clone(model).set_params(class_weight={"far": 3.0}, init=RESP).fit(X, y, weight)
    assert_close(answers(got), answers(fit(model, X, y, RESP, weight * factor)), atol=0.0)
    shares = np.where(y == "far", np.mean(y == "far"), np.mean(y == "near"))
    got = clone(model).set_params(class_weight="balanced", init=RESP).fit(X, y)
    assert_close(answers(got), answers(fit(model, X, y, RESP, 0.5 / shares)), atol=1e-9)


# -- starts and input types ----------------------------------------------------------------------


@UNSETTLED
def test_starts_from_labels_responsibilities_and_callables(problem):
    """A callable gets all that is known, and may return what an array may hold."""
    model, y = problem
    labels = np.digitize(X[:, 0], [-0.3, 0.3])
    calls = []

    def start(X, y, n_experts, random_state):
        calls.append((X, y, n_experts, random_state))
        return labels

    first = fit(model, X, y, labels)
    assert_close(answers(fit(model, X, y, labels.tolist())), answers(first), atol=0.0)
    assert_close(answers(fit(model.set_params(n_init=2), X, y, start)), answers(first), atol=0.0)
    ((got_X, got_y, n_experts, random_state),) = calls
    assert got_X is X and got_y is y and n_experts == K
    assert isinstance(random_state, np.random.RandomState)
    model.set_params(n_init=1)
    scaled = fit(model, X, y, 7.0 * RESP)
    assert_close(answers(scaled), answers(fit(model, X, y, RESP)), atol=1e-9)


@UNSETTLED
@pytest.mark.parametrize("init", ["auto", "grown", "kmeans", "random"])
@pytest.mark.parametrize("n_init", [1, 2, 5])
def test_named_starts(init, n_init):
    model = MoERegressor(n_experts=2, init=init, n_init=n_init, random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.5


@UNSETTLED
def test_single_precision_and_lists(problem):
    model, y = problem
    expected = answers(fit(model, X.astype(np.float32).astype(float), y, RESP))
    assert_close(answers(fit(model, X.astype(np.float32), y, RESP)), expected, atol=1e-3)
    plain = answers(fit(model, X, y, RESP))
    assert_close(answers(fit(model, X.tolist(), y.tolist(), RESP)), plain, atol=0.0)
    assert_close(answers(fit(model, np.asfortranarray(X), y, RESP)), plain, atol=1e-9)
    assert_close(answers(fit(model, X[::-1][::-1], y, RESP)), plain, atol=1e-9)


# -- truth ------------------------------------------------------------------------------------


def assert_truthful(model):
    history = model.history_
    assert {len(values) for values in history.values()} == {model.n_iter_}
    assert np.isclose(max(history["objective"]), model.objective_, rtol=0, atol=1e-12)
    assert (np.diff(history["seconds"]) >= 0).all() and min(history["passes"]) >= 1
    np.testing.assert_allclose(np.sum(history["load"], axis=1), 1.0)
    assert model.n_iter_ <= model.max_iter


@UNSETTLED
def test_history(problem):
    model, y = problem
    for max_iter in (1, 2, 40):
        fitted = fit(model.set_params(max_iter=max_iter), X, y, RESP)
        assert_truthful(fitted)
        assert fitted.converged_ or fitted.n_iter_ == max_iter


@pytest.mark.parametrize("experts", [None, Ridge()])
def test_running_out_of_iterations_is_told(experts):
    model = MoERegressor(experts, 2, max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=2.*raise max_iter"):
        model.fit(X, Y)
    assert not model.converged_ and model.n_iter_ == 2
    assert_truthful(model)


@pytest.mark.parametrize("experts", [None, Ridge()])
def test_convergence_is_not_warned_of(experts):
    model = MoERegressor(experts, 2, random_state=0).fit(X, Y)
    assert model.converged_ and model.n_iter_ < 200
    assert_truthful(model)


@pytest.mark.parametrize("kind", ["linear", "ridge", "classes", "logistic"])
def test_warm_start_goes_on(kind):
    """The objective does not fall; a finished fit has little left to do.

    What foreign experts penalise is not in the objective, so theirs are unpenalised.
    """
    model, y = MODELS[kind]
    model = clone(model).set_params(init="kmeans", warm_start=True, max_iter=2)
    if kind == "ridge":
        model.set_params(experts__alpha=1e-6)
    elif kind == "logistic":
        model.set_params(experts__C=1e6)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    first = model.objective_
    model.set_params(max_iter=300).fit(X, y)
    assert model.converged_ and model.objective_ >= first - 1e-9
    finished, n_iter = model.objective_, model.n_iter_
    model.fit(X, y)
    assert model.objective_ >= finished - 1e-5 and model.n_iter_ <= n_iter
    assert_truthful(model)


@UNSETTLED
def test_warm_start_uses_present_settings():
    model = MoERegressor(n_experts=2, warm_start=True, random_state=0).fit(X, Y)
    model.set_params(gate=SoftmaxGate(alpha=10.0), likelihood=Gaussian(shared=True)).fit(X, Y)
    assert model.gate_.alpha == 10.0 and np.abs(model.gate_.coef_).max() < 1.0
    assert np.ptp(model.likelihood_.scale_) == 0.0


@UNSETTLED
@pytest.mark.parametrize("changes", ["n_experts", "features", "outputs", "experts"])
def test_warm_start_begins_anew_where_the_form_has_changed(changes):
    model = MoERegressor(n_experts=2, warm_start=True, random_state=0, max_iter=5).fit(X, Y)
    rows, y = X, Y
    if changes == "n_experts":
        model.set_params(n_experts=3)
    elif changes == "features":
        rows = np.column_stack([X, X[:, 0] ** 2])
    elif changes == "outputs":
        y = np.column_stack([Y, Y])
    else:
        model.set_params(experts=TREE)
    fresh = clone(model).fit(rows, y).predict(rows)
    np.testing.assert_array_equal(model.fit(rows, y).predict(rows), fresh)


@UNSETTLED
def test_warm_start_with_other_classes():
    model = MoEClassifier(n_experts=2, warm_start=True, random_state=0).fit(X, LABELS)
    other = np.digitize(X[:, 0], [-0.3, 0.3])
    assert set(model.fit(X, other).predict(X)) == {0, 1, 2}


# -- progress ---------------------------------------------------------------------------------


@UNSETTLED
@pytest.mark.parametrize("experts", [None, Ridge()])
@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_callbacks_follow_the_fit(experts, kind):
    seen = []
    experts = experts if kind == "regressor" or experts is None else LogisticRegression()
    model, target = (MoERegressor, Y) if kind == "regressor" else (MoEClassifier, LABELS)
    model = model(experts, 2, n_init=1, cross_fit=None, max_iter=6, callbacks=[seen.append])
    model.fit(X, target)
    assert [state.objective for state in seen] == model.history_["objective"]
    with pytest.raises(TypeError, match="callbacks: 3 cannot be called"):
        clone(model).set_params(callbacks=[3]).fit(X, target)


@UNSETTLED
@pytest.mark.parametrize("experts", [None, Ridge()])
@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_progress(experts, verbose, capsys, monkeypatch):
    """1: one line, updated; 2: a line per iteration; nothing else is printed."""
    monkeypatch.setattr(_progress, "tqdm", None)
    model = MoERegressor(
        experts, 2, init="kmeans", n_init=1, cross_fit=None, max_iter=6, verbose=verbose
    ).fit(X, Y)
    printed = capsys.readouterr()
    assert printed.err == ""
    updates = printed.out.replace("\r", "\n").strip().splitlines()
    expected = model.n_iter_ if verbose else 0
    assert len([line for line in updates if line]) == expected
    assert printed.out.count("\n") == {0: 0, 1: 1, 2: expected}[verbose]
    assert printed.out.count("\r") == (expected if verbose == 1 else 0)
    if verbose:
        assert f"{model.history_['objective'][-1]:+.6f}" in updates[-1]


@pytest.mark.parametrize("weight", [np.full(20, 0.7), np.arange(20.0), np.zeros(0)])
def test_some_rows_have_their_weights(weight):
    X, n = np.arange(20.0)[:, None], len(weight)
    view = Design.standardised(X, np.ones(20))
    data = FitData(view, view, X[:n], weight, y_scale=np.ones(1), base_variance=np.ones(1))
    rows = np.array([3, 3, 11])[: min(n, 3)]
    some = data.on(rows)
    assert_array_equal(some.weight, weight[rows])
    assert_array_equal(some.y, X[rows])
