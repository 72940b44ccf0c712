"""The contract of scikit-learn's estimators beyond the common checks."""

import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import load_diamonds
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.solvers import EM

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 80
rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(N, 2))
Y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=N)
LABELS = np.where(np.abs(X[:, 0]) > 0.5, "far", "near")
FOREST = RandomForestRegressor(3, max_depth=2)
MODELS = {
    "linear": (MoERegressor(n_experts=2), Y),
    "tree": (MoERegressor(DecisionTreeRegressor(max_depth=2), 2), Y),
    "forest": (MoERegressor(FOREST, 2), Y),
    "list": (MoERegressor([("forest", FOREST), ("ridge", Ridge())]), Y),
    "settings": (MoERegressor(LinearExpert(2.0), 2, gate=SoftmaxGate(0.1), solver=EM()), Y),
    "outputs": (MoERegressor(n_experts=2), np.column_stack([Y, X])),
    "labels": (MoEClassifier(n_experts=2), LABELS),
    "forest of labels": (MoEClassifier(RandomForestClassifier(3, max_depth=2), 2), LABELS),
    "list of labels": (
        MoEClassifier([("tree", DecisionTreeClassifier()), ("logistic", LogisticRegression())]),
        LABELS,
    ),
}


@pytest.fixture(params=MODELS)
def problem(request):
    model, y = MODELS[request.param]
    return clone(model).set_params(max_iter=3, random_state=0), y


def answers(model, X, y):
    methods = ["predict", "predict_experts", "gate_proba"]
    methods += ["predict_proba"] * hasattr(model, "predict_proba")
    return [getattr(model, name)(X) for name in methods] + [model.log_likelihood(X, y)]


def assert_same(one, other):
    for a, b in zip(one, other):
        np.testing.assert_array_equal(a, b)


def test_pickling(problem):
    model, y = problem
    assert pickle.loads(pickle.dumps(model)).get_params().keys() == model.get_params().keys()
    model.fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert_same(answers(again, X, y), answers(model, X, y))
    assert again.score(X, y) == model.score(X, y)


def test_cloning(problem):
    """A clone has the same parameters, is not fitted, and fits alike."""
    model, y = problem
    model.fit(X, y)
    copy = clone(model)
    assert repr(copy) == repr(model)
    assert not hasattr(copy, "experts_")
    assert_same(answers(copy.fit(X, y), X, y), answers(model, X, y))


def test_random_state_decides(problem):
    """The same seed gives the same fit, also a second time and in parallel."""
    model, y = problem
    first = answers(model.fit(X, y), X, y)
    assert_same(answers(model.fit(X, y), X, y), first)
    if not isinstance(model.experts, (type(None), LinearExpert)):
        assert_same(answers(clone(model).set_params(n_jobs=2).fit(X, y), X, y), first)


def test_nothing_that_is_passed_in_is_changed(problem):
    model, y = problem
    weight, init = rng.uniform(size=N), rng.dirichlet([1, 1], size=N)
    model.set_params(init=init, n_init=1)
    given = [X, y, weight, init]
    copies = [np.copy(array) for array in given]
    shown = {name: repr(value) for name, value in model.get_params().items()}
    objects = model.get_params(deep=False)
    model.fit(X, y, sample_weight=weight)
    answers(model, X, y)
    assert_same(given, copies)
    assert {name: repr(value) for name, value in model.get_params().items()} == shown
    for name, value in model.get_params(deep=False).items():
        assert value is objects[name]
    for template in model.experts if isinstance(model.experts, list) else [("", model.experts)]:
        assert not hasattr(template[1], "n_features_in_")
    assert not hasattr(model.gate, "n_experts_")


# -- parameters -----------------------------------------------------------------------------


def test_parameters_of_a_template():
    model = MoERegressor(FOREST, 2, gate=SoftmaxGate(), likelihood=Gaussian())
    assert model.get_params()["experts__max_depth"] == 2
    model = clone(model).set_params(
        experts__max_depth=5, gate__alpha=0.5, likelihood__shared=True, n_experts=3
    )
    assert (model.experts.max_depth, model.gate.alpha) == (5, 0.5)
    assert model.likelihood.shared and FOREST.max_depth == 2
    fitted = model.set_params(experts__n_estimators=2, max_iter=2).fit(X, Y)
    assert fitted.gate_.alpha == 0.5 and fitted.experts_[0].max_depth == 5
    with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
        model.set_params(experts__depth=3)


def test_parameters_of_parts_that_are_named_at_the_same_time():
    model = MoERegressor(gate="softmax").set_params(gate="mlp", gate__alpha=0.5)
    assert (type(model.gate).__name__, model.gate.alpha) == ("MLPGate", 0.5)
    model.set_params(experts=None, experts__alpha=2.0, n_experts="auto", n_experts__patience=1)
    assert (model.experts.alpha, model.n_experts.patience) == (2.0, 1)
    with pytest.raises(ValueError, match="solver__accelerate: solver='auto' has no parameters"):
        model.set_params(solver__accelerate=False)
    with pytest.raises(ValueError, match="load_balance=None has no parameters of its own; set"):
        model.set_params(load_balance__strength=1.0)


def test_parameters_of_a_list():
    model = MoERegressor([("ridge", Ridge(alpha=3.0)), ("forest", FOREST)])
    params = model.get_params()
    assert params["ridge__alpha"] == 3.0 and params["forest"] is FOREST
    assert "ridge" not in model.get_params(deep=False)
    copy = clone(model).set_params(ridge__alpha=5.0, forest=LinearRegression(), top_k=1)
    assert [name for name, _ in copy.experts] == ["ridge", "forest"]
    assert copy.experts[0][1].alpha == 5.0 and model.experts[0][1].alpha == 3.0
    fitted = copy.set_params(max_iter=2).fit(X, Y)
    assert fitted.experts_[0].alpha == 5.0
    assert isinstance(fitted.experts_[1], LinearRegression)
    assert fitted.expert_names_ == ["ridge", "forest"]
    copy.set_params(experts=[("tree", DecisionTreeRegressor())], tree__max_depth=1)
    assert copy.get_params()["tree__max_depth"] == 1
    copy.set_params(experts=Ridge(), experts__alpha=7.0)
    assert copy.get_params()["experts__alpha"] == 7.0


def test_grid_search_over_named_experts():
    model = MoERegressor([("ridge", Ridge()), ("tree", DecisionTreeRegressor())], max_iter=3)
    grid = {
        "ridge__alpha": [0.1, 100.0],
        "tree": [DecisionTreeRegressor(max_depth=1), LinearRegression()],
    }
    search = GridSearchCV(model, grid, cv=2, n_jobs=2).fit(X, Y)
    assert set(search.best_params_) == set(grid)
    best = search.best_estimator_
    assert best.experts_[0].alpha == search.best_params_["ridge__alpha"]


def test_grid_search_on_a_frame_with_categories():
    data = load_diamonds()
    frame, price = data.data.iloc[::200], np.log(data.target.iloc[::200])
    words = make_column_selector(dtype_exclude="number")
    columns = ColumnTransformer(
        [("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), words)],
        remainder=StandardScaler(),
    )
    pipeline = make_pipeline(columns, MoERegressor(init="kmeans", n_init=1, max_iter=10))
    grid = {"moeregressor__n_experts": [1, 2, 3], "moeregressor__experts": [LinearExpert(2.0)]}
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(frame, price)
    assert len(search.cv_results_["mean_test_score"]) == 3
    assert search.score(frame, price) > 0.9


# -- metadata routing -------------------------------------------------------------------------


@pytest.mark.parametrize("experts", [
    None,
    DecisionTreeRegressor(max_depth=2, random_state=0),
    make_pipeline(StandardScaler(), Ridge()),
], ids=["linear", "tree", "pipeline"])  # fmt: skip
def test_metadata_routing(experts):
    """Weights reach the mixture through pipeline, search and cross-validation."""
    weight = rng.uniform(0.1, 3.0, size=N)
    plain = MoERegressor(experts, 2, max_iter=3, random_state=0)
    with config_context(enable_metadata_routing=True):
        model = clone(plain).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model)
        got = clone(pipeline).fit(X, Y, sample_weight=weight).predict(X)
        scoring = get_scorer("r2").set_score_request(sample_weight=True)
        grid = {"moeregressor__n_experts": [2]}
        search = GridSearchCV(pipeline, grid, cv=2, scoring=scoring)
        search.fit(X, Y, sample_weight=weight)
        params = {"sample_weight": weight}
        scores = cross_validate(pipeline, X, Y, cv=2, params=params, scoring=scoring)
    Z = StandardScaler().fit_transform(X)
    expected = clone(plain).fit(Z, Y, sample_weight=weight).predict(Z)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(search.predict(X), expected)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], scores["test_score"].mean())
    half = slice(0, N // 2), slice(N // 2, N)
    for number, (test, train) in enumerate([half, half[::-1]]):
        scaler = StandardScaler().fit(X[train])
        fitted = clone(plain).fit(scaler.transform(X[train]), Y[train], weight[train])
        score = fitted.score(scaler.transform(X[test]), Y[test], weight[test])
        np.testing.assert_allclose(scores["test_score"][number], score)


def test_weights_that_are_not_requested_are_refused():
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), MoERegressor(n_experts=2))
        with pytest.raises(ValueError, match="sample_weight"):
            pipeline.fit(X, Y, sample_weight=np.ones(N))


# -- frames -------------------------------------------------------------------------------------


def frame_of(X):
    pd = pytest.importorskip("pandas")
    city = pd.Categorical(np.where(X[:, 1] > 0, "north", "south"))
    return pd.DataFrame({"x": X[:, 0], "y": X[:, 1], "city": city, "flag": X[:, 0] > 0})


def test_frames_reach_foreign_experts_as_they_are():
    """An expert picks columns by name and encodes words; the gate sees the numbers."""
    frame = frame_of(X)
    encode = ColumnTransformer([("words", OneHotEncoder(), ["city"])], remainder="passthrough")
    model = MoERegressor(make_pipeline(encode, Ridge()), 2, max_iter=3, random_state=0)
    model.fit(frame, Y)
    assert model.feature_names_in_.tolist() == ["x", "y", "city", "flag"]
    assert model.n_features_in_ == 4 and model.gate_.coef_.shape == (2, 3)
    assert model.experts_[0][0].feature_names_in_.tolist() == ["x", "y", "city", "flag"]
    numbers = frame[["x", "y", "flag"]].to_numpy(dtype=float)
    np.testing.assert_allclose(np.exp(model.gate_.log_proba(numbers)), model.gate_proba(frame))
    assert np.isfinite(model.predict(frame[::-1])).all()
    routed = model.set_params(top_k=1).predict(frame)
    chosen = model.route(frame)[0][:, 0]
    assert_same([routed[chosen == 0]], [model.experts_[0].predict(frame[chosen == 0])])


@pytest.mark.parametrize("kind, task, y", [
    (HistGradientBoostingRegressor, MoERegressor, Y),
    (HistGradientBoostingClassifier, MoEClassifier, LABELS),
])  # fmt: skip
def test_categories_reach_boosting(kind, task, y):
    boosting = kind(max_iter=3, categorical_features="from_dtype")
    frame = frame_of(X)
    frame.loc[frame.index[::9], ["x", "city"]] = None
    model = task(boosting, 2, max_iter=2, cross_fit=None, random_state=0).fit(frame, y)
    assert model.experts_[0].is_categorical_.tolist() == [False, False, True, False]
    assert model.predict(frame).shape == (N,)


def test_features_of_the_parts_by_name():
    frame = frame_of(X)
    model = MoERegressor(n_experts=2, gate_features=["x"], expert_features=["y", "flag"])
    model.fit(frame, Y)
    assert model.gate_.coef_.shape == (2, 1) and model.experts_[0].coef_.shape == (2,)
    changed = frame.assign(y=0.0)
    np.testing.assert_array_equal(model.gate_proba(frame), model.gate_proba(changed))
    tree = MoERegressor(
        DecisionTreeRegressor(max_depth=2), 2, gate_features="x", expert_features=["y"], max_iter=3
    ).fit(frame, Y)
    assert tree.experts_[0].feature_names_in_.tolist() == ["y"]
    with pytest.raises(ValueError, match="selects columns that are not numeric"):
        MoERegressor(n_experts=2, gate_features=["city"]).fit(frame, Y)


def test_linear_experts_keep_the_names_of_the_mixture():
    frame = frame_of(X)[["x", "y"]]
    model = MoERegressor(n_experts=2).fit(frame, Y)
    assert model.feature_names_in_.tolist() == ["x", "y"]
    expected = MoERegressor(n_experts=2).fit(X, Y).predict(X)
    np.testing.assert_allclose(model.predict(frame), expected, rtol=1e-9)


# -- frozen experts -------------------------------------------------------------------------------


def test_frozen_experts_stay_as_they_are():
    flat, steep = Ridge(alpha=1e6).fit(X, Y), LinearRegression().fit(X[:30], Y[:30])
    coef = steep.coef_.copy()
    experts = [("flat", FrozenEstimator(flat)), ("steep", FrozenEstimator(steep))]
    model = MoERegressor(experts, max_iter=5).fit(X, Y)
    assert model.cross_fit_ is None
    assert model.experts_[1].estimator is steep
    np.testing.assert_array_equal(steep.coef_, coef)
    np.testing.assert_array_equal(model.predict_experts(X)[:, 0], flat.predict(X))
    mixed = MoERegressor([experts[0], ("free", Ridge())], max_iter=5).fit(X, Y)
    np.testing.assert_array_equal(mixed.predict_experts(X)[:, 0], flat.predict(X))
    template = MoERegressor(FrozenEstimator(flat), n_experts=2, max_iter=2).fit(X, Y)
    np.testing.assert_allclose(template.predict(X), flat.predict(X))


# -- representation ---------------------------------------------------------------------------


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("name, words", [
    ("linear", ["gate", "SoftmaxGate", "expert_0", "expert_1"]),
    ("list", ["gate", "SoftmaxGate", "forest", "RandomForestRegressor", "ridge", "Ridge"]),
    ("labels", ["gate", "expert_0", "expert_1"]),
])  # fmt: skip
def test_html_shows_gate_and_experts(name, words, fitted):
    model, y = MODELS[name]
    model = clone(model).set_params(max_iter=2)
    if fitted:
        model.fit(X, y)
    html = model._repr_html_()
    for word in [*words, type(model).__name__]:
        assert word in html


@pytest.mark.parametrize("experts", [3, [("a", 1)], [Ridge()], Ridge])
def test_html_of_bad_parameters_does_not_fail(experts):
    assert "MoERegressor" in MoERegressor(experts)._repr_html_()
