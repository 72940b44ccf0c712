"""Pipelines as gates, frames that reach gates, and columns for gate and experts."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import ClassifierGate, SoftmaxGate

N = 150
rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(N, 3))
Y = np.where(np.abs(X[:, 0]) > 0.5, 2 + X[:, 1], -2 * X[:, 1]) + 0.05 * rng.normal(size=N)
CITY = np.where(np.abs(X[:, 0]) > 0.5, "far", "near")
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
WORDS = FRAME.assign(city=CITY)
ONE = {"n_experts": 2, "n_init": 1, "random_state": 0}


def squares(gate=None):
    return make_pipeline(PolynomialFeatures(2, include_bias=False), gate or SoftmaxGate())


# -- pipelines ------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["em", "gradient"])
def test_a_pipeline_is_a_gate_on_transformed_columns(solver):
    """The same as giving the transformed columns to the gate and the plain ones to experts."""
    powers = PolynomialFeatures(2, include_bias=False).fit_transform(X)
    model = MoERegressor(gate=squares(), solver=solver, **ONE).fit(X, Y)
    twin = MoERegressor(
        solver=solver, gate_features=slice(0, 9), expert_features=[9, 10, 11], **ONE
    ).fit(np.column_stack([powers, X]), Y)
    stacked = np.column_stack([powers, X])
    assert_allclose(model.objective_, twin.objective_, rtol=1e-10)
    assert_allclose(model.gate_proba(X), twin.gate_proba(stacked), atol=1e-8)
    assert_allclose(model.predict(X), twin.predict(stacked), atol=1e-8)
    assert_allclose(model.log_likelihood(X, Y), twin.log_likelihood(stacked, Y), atol=1e-6)
    assert model.score(X, Y) > 0.95 > 0.8 > MoERegressor(**ONE).fit(X, Y).score(X, Y)


def test_the_fitted_pipeline_is_published():
    model = MoERegressor(gate=squares(), **ONE).fit(X, Y)
    assert isinstance(model.gate_, Pipeline) and model.gate_[-1].coef_.shape == (2, 9)
    by_hand = model.gate_[-1].log_proba(model.gate_[:-1].transform(X))
    assert_array_equal(np.exp(by_hand), model.gate_proba(X))
    assert type(model.solver_).__name__ == "Gradient"
    assert not hasattr(model.gate[0], "n_output_features_")
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))
    assert "PolynomialFeatures" in model._repr_html_()


def test_parameters_of_a_pipeline():
    model = MoERegressor(gate=squares(), **ONE)
    grid = {"gate__polynomialfeatures__degree": [1, 2], "gate__softmaxgate__alpha": [1e-4]}
    search = GridSearchCV(model, grid, cv=3).fit(X, Y)
    assert search.best_params_["gate__polynomialfeatures__degree"] == 2
    copy = clone(model).set_params(gate__polynomialfeatures__degree=1)
    assert copy.fit(X, Y).gate_[-1].coef_.shape == (2, 3)
    assert model.gate[0].degree == 2


@pytest.mark.parametrize("experts", [None, DecisionTreeRegressor(max_depth=1)])
def test_a_pipeline_that_ends_in_a_classifier_is_one_classifier(experts):
    model = MoERegressor(experts, gate=squares(LogisticRegression(C=100.0)), **ONE).fit(X, Y)
    assert type(model.gate_) is ClassifierGate
    assert isinstance(model.gate_.estimator_, Pipeline)
    straight = clone(model).set_params(gate__polynomialfeatures__degree=1).fit(X, Y)
    assert model.score(X, Y) > straight.score(X, Y) + 0.05


def test_a_pipeline_may_end_in_a_classifier_gate():
    tree = ClassifierGate(DecisionTreeClassifier(max_depth=3), cross_fit=None)
    model = MoERegressor(gate=make_pipeline(StandardScaler(), tree), **ONE).fit(X, Y)
    assert type(model.gate_[-1]) is ClassifierGate and model.score(X, Y) > 0.9
    assert_array_equal(
        np.exp(model.gate_[-1].log_proba(model.gate_[0].transform(X))), model.gate_proba(X)
    )


def test_a_pipeline_of_a_gate_alone_is_the_gate():
    model = MoERegressor(gate=make_pipeline(SoftmaxGate()), **ONE).fit(X, Y)
    plain = MoERegressor(**ONE).fit(X, Y)
    assert_array_equal(model.predict(X), plain.predict(X))
    assert isinstance(model.gate_, Pipeline)


@pytest.mark.jit_only
def test_sparse_rows_through_a_pipeline():
    gate = make_pipeline(PolynomialFeatures(2, include_bias=False), SoftmaxGate())
    model = MoERegressor(gate=gate, **ONE).fit(sp.csr_matrix(X), Y)
    assert model.score(sp.csr_matrix(X), Y) > 0.9
    with pytest.raises(TypeError, match="the gate HistGradientBoostingClassifier takes dense"):
        MoERegressor(gate=HistGradientBoostingClassifier(), **ONE).fit(sp.csr_matrix(X), Y)


@pytest.mark.jit_only
def test_weights_and_warm_start_with_a_pipeline():
    weight = rng.randint(0, 3, size=N).astype(float)
    settings = {**ONE, "gate": squares(), "init": (X[:, 1] > 0).astype(int)}
    model = MoERegressor(**settings).fit(X, Y, sample_weight=weight)
    kept = weight > 0
    twin = clone(model).set_params(init=settings["init"][kept])
    twin.fit(X[kept], Y[kept], sample_weight=weight[kept])
    assert_array_equal(model.gate_proba(X), twin.gate_proba(X))
    warm = MoERegressor(gate=squares(), warm_start=True, **ONE).fit(X, Y)
    before = warm.objective_
    assert warm.fit(X, Y).objective_ >= before - 1e-8


class WordsOnly(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X.assign(word="a")


def test_errors_of_pipelines():
    with pytest.raises(TypeError, match=r"gate=Pipeline.*ends in Ridge; a gate is one of"):
        MoERegressor(gate=make_pipeline(StandardScaler(), Ridge())).fit(X, Y)
    with pytest.raises(ValueError, match=r"'alpha'.*SoftmaxGate"):
        MoERegressor(gate=squares(SoftmaxGate(alpha=-1))).fit(X, Y)
    with pytest.raises((TypeError, ValueError), match="the gate's pipeline failed in fit"):
        MoERegressor(gate=make_pipeline(SelectKBest(k=1), SoftmaxGate())).fit(X, Y)
    with pytest.raises(ValueError, match=r"columns \['word'\] are not numeric; encode them"):
        MoERegressor(gate=make_pipeline(WordsOnly(), SoftmaxGate())).fit(FRAME, Y)
    model = MoERegressor(gate=squares(), **ONE).fit(X, Y)
    with pytest.raises(ValueError, match="X has 2 features"):
        model.predict(X[:, :2])


# -- frames ---------------------------------------------------------------------------------

ENCODED = make_pipeline(
    make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        remainder="passthrough",
    ),
    SoftmaxGate(),
)
CATEGORIES = HistGradientBoostingClassifier(
    max_iter=10, learning_rate=0.5, min_samples_leaf=5, categorical_features="from_dtype"
)
EXPERTS = {
    "linear": (None, None),
    "tree": (DecisionTreeRegressor(max_depth=2), DecisionTreeClassifier(max_depth=2)),
}


@pytest.mark.parametrize("task", [MoERegressor, MoEClassifier])
@pytest.mark.parametrize("experts", EXPERTS)
@pytest.mark.parametrize("gate", [ENCODED, CATEGORIES])
@pytest.mark.parametrize("columns", [None, ["city"], ["city", "c"]])
def test_words_reach_the_gate(columns, gate, experts, task):
    frame = WORDS.assign(city=WORDS["city"].astype("category"))
    y = Y if task is MoERegressor else np.where(Y > 1, "high", "low")
    template = EXPERTS[experts][task is MoEClassifier]
    numbers = ["a", "b", "c"]
    model = task(template, gate=gate, gate_features=columns, expert_features=numbers, **ONE)
    model.fit(frame, y)
    assert model.score(frame, y) > (0.9 if experts == "linear" else 0.75)
    if columns == ["city"]:  # otherwise the gate may look at "a", which says the same
        swapped = frame["city"].cat.rename_categories({"far": "near", "near": "far"})
        other = model.gate_proba(frame.assign(city=swapped))
        assert np.abs(other - model.gate_proba(frame)).max() > 0.3
    assert_array_equal(model.predict(frame[::-1])[::-1], model.predict(frame))


def test_linear_experts_see_the_numbers_of_a_frame_whose_words_the_gate_sees():
    model = MoERegressor(gate=ENCODED, **ONE).fit(WORDS, Y)
    assert model.experts_[0].coef_.shape == (3,)
    assert model.experts_[0].feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.score(WORDS, Y) > 0.95


def test_categories_are_used_as_such():
    frame = WORDS.assign(city=WORDS["city"].astype("category"))
    model = MoERegressor(gate=CATEGORIES, **ONE).fit(frame, Y)
    assert model.gate_.estimator_.is_categorical_.tolist() == [False, False, False, True]
    assert model.gate_.estimator_.feature_names_in_.tolist() == ["a", "b", "c", "city"]


def test_missing_values_reach_gates_that_accept_them():
    holes = FRAME.copy()
    holes.loc[holes.index[::5], "a"] = np.nan
    model = MoERegressor(gate=CATEGORIES, gate_features="a", expert_features="b", **ONE)
    assert np.isfinite(model.fit(holes, Y).predict(holes)).all()
    array = MoERegressor(gate=CATEGORIES, gate_features=[0], expert_features=[1], **ONE)
    assert_array_equal(array.fit(holes.to_numpy(), Y).predict(holes.to_numpy()),
                       model.predict(holes))  # fmt: skip
    for rows, name in ((holes, "'a'"), (holes.to_numpy(), "0")):
        model = MoERegressor(gate=LogisticRegression(), expert_features=[1], **ONE)
        match = rf"NaN in column {name}, which the gate LogisticRegression.*gate_features.*a gate"
        with pytest.raises(ValueError, match=match):
            model.fit(rows, Y)
        model = MoERegressor(gate=squares(), expert_features=[1], **ONE)
        with pytest.raises(ValueError, match="which the gate's PolynomialFeatures cannot take"):
            model.fit(rows, Y)


def test_infinity_is_refused_before_any_work():
    with pytest.raises(ValueError, match=r"infinity.*column 'a'"):
        MoERegressor(gate=CATEGORIES, expert_features=["b"], **ONE).fit(FRAME.assign(a=np.inf), Y)


def test_words_that_a_gate_cannot_take_name_the_cure():
    for gate in (DecisionTreeClassifier(), make_pipeline(StandardScaler(), SoftmaxGate())):
        with pytest.raises(ValueError, match=r"the gate.*failed in fit.*gate_features"):
            MoERegressor(gate=gate, **ONE).fit(WORDS, Y)


def test_a_gate_that_takes_numbers_still_gets_numbers():
    frame = WORDS.assign(city=pd.Categorical(WORDS["city"]))
    model = MoERegressor(DecisionTreeRegressor(max_depth=2), expert_features=["a", "b"], **ONE)
    assert model.fit(frame, Y).gate_.coef_.shape == (2, 3)


# -- columns --------------------------------------------------------------------------------

BY_POSITION = {
    "index": 0,
    "indices": [0],
    "negative": [-3],
    "slice": slice(0, 1),
    "mask": np.array([True, False, False]),
    "list of bools": [True, False, False],
    "callable": lambda rows: [0],
}
BY_NAME = {
    "name": "a",
    "names": ["a"],
    "slice of names": slice("a", "a"),
    "selector": make_column_selector(pattern="^a$"),
    "selector by dtype": make_column_selector(dtype_include="float32"),
}
INPUTS = {
    "array": X,
    "csr": sp.csr_matrix(X),
    "frame": FRAME.assign(a=FRAME["a"].astype(np.float32)),
}
GATES = {"softmax": "softmax", "tree": DecisionTreeClassifier(max_depth=2), "squares": squares()}
CASES = [(form, kind) for form in BY_POSITION for kind in INPUTS]
CASES += [(form, "frame") for form in BY_NAME]


@pytest.mark.jit_only
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("form, kind", CASES)
def test_every_form_of_selector(form, kind, gate):
    selector, rows = {**BY_POSITION, **BY_NAME}[form], INPUTS[kind]
    model = MoERegressor(gate=GATES[gate], gate_features=selector, max_iter=30, **ONE).fit(rows, Y)
    twin = MoERegressor(gate=GATES[gate], gate_features=[0], max_iter=30, **ONE).fit(rows, Y)
    assert_array_equal(model.gate_proba(rows), twin.gate_proba(rows))
    changed = rows.copy()
    if kind == "frame":
        changed["b"] = 0.0
    else:
        changed[:, 1] = 0.0
    assert_array_equal(model.gate_proba(changed), twin.gate_proba(rows))
    experts = MoERegressor(Ridge(), gate_features=[0], expert_features=selector, **ONE)
    assert experts.fit(rows, Y).experts_[0].coef_.shape == (1,)


def test_selectors_that_select_nothing():
    nothing = make_column_selector(pattern="zzz")
    for name in ("gate_features", "expert_features"):
        with pytest.raises(ValueError, match=f"{name} selects no column"):
            MoERegressor(gate=CATEGORIES, **{name: nothing}, **ONE).fit(FRAME, Y)
        with pytest.raises(ValueError, match=f"{name}=.*does not select columns"):
            MoERegressor(gate=CATEGORIES, **{name: [True, False]}, **ONE).fit(FRAME, Y)


# -- a known model at the end of a pipeline ---------------------------------------------------


@pytest.mark.jit_only
def test_concomitant_model_by_name_behind_a_column_transformer():
    """The published fit of the NO data (123.6206), from a frame with columns of other use."""
    from skmoe.datasets import load_nodata
    from skmoe.likelihoods import Gaussian

    no, equivalence = load_nodata(return_X_y=True)
    random = np.random.RandomState(0)
    frame = pd.DataFrame(
        {
            "lab": np.where(random.uniform(size=len(no)) > 0.5, "east", "west"),
            "NO": np.asarray(no)[:, 0],
            "noise": random.normal(size=len(no)),
        }
    )
    prepare = make_column_transformer(
        (StandardScaler(), ["NO", "noise"]),
        (OneHotEncoder(sparse_output=False), ["lab"]),
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    mixture = MoERegressor(
        LinearExpert(alpha=0.0),
        2,
        gate=SoftmaxGate(alpha=0.0),
        likelihood=Gaussian(floor=0.0),
        gate_features=["NO"],
        expert_features=["NO"],
        n_init=4,
        tol=1e-9,
        max_iter=2000,
        random_state=0,
    )
    model = Pipeline([("prepare", prepare), ("mixture", mixture)]).fit(frame, equivalence)
    fitted = model[-1]
    assert fitted.feature_names_in_.tolist() == ["NO", "noise", "lab_east", "lab_west"]
    assert fitted.gate_.coef_.shape == (2, 1) and fitted.experts_[0].coef_.shape == (1,)
    loglik = fitted.log_likelihood(prepare.transform(frame), equivalence)
    assert_allclose(loglik.sum(), 123.6206, atol=1e-3)
    # flexmix 2.3-18, FLXPmultinom(~NO): lines and the slope of the gate.
    scaler = model[0].named_transformers_["standardscaler"]
    up, down = np.argsort([-expert.coef_[0] for expert in fitted.experts_])
    for k, slope, intercept in ((up, 0.08786, 0.56130), (down, -0.08416, 1.24857)):
        expert = fitted.experts_[k]
        found = expert.coef_[0] / scaler.scale_[0]
        assert_allclose(found, slope, atol=3e-4)
        assert_allclose(expert.intercept_ - found * scaler.mean_[0], intercept, atol=3e-4)
    gate = (fitted.gate_.coef_[down] - fitted.gate_.coef_[up]) / scaler.scale_[0]
    assert_allclose(gate, -0.4150, atol=5e-3)
