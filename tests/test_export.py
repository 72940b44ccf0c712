"""What is exported predicts what the mixture predicts, and what cannot be is named."""

import json
import runpy
import subprocess
import sys

import numpy as np
import pytest
from conftest import require
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.balance import BalanceBias
from skmoe.datasets import (
    load_co2data,
    load_concrete,
    load_credit,
    load_diamonds,
    load_mcycle,
    load_nodata,
    load_patent,
    load_tonedata,
)
from skmoe.experts import AdditiveExpert, FactorExpert, MLPExpert
from skmoe.export import from_json, model_size, to_json, to_numpy, to_onnx

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
rng = np.random.RandomState(0)
X = rng.normal(size=(120, 4)).astype(np.float32).astype(np.float64)
y = np.where(X[:, 0] > 0, 3.0 * X[:, 1], -2.0 * X[:, 2]) + 0.3 * rng.normal(size=120)
LABELS = np.array(["low", "middle", "high"])[np.digitize(y, [-1.0, 1.0])]
TOLERANCE = 1e-5
FEW = {"n_experts": 4, "max_iter": 2, "n_init": 1, "random_state": 0}

ARRAY_GATES = ["softmax", "gaussian", "hierarchical", "mlp"]
OTHER_GATES = {
    "logistic": LogisticRegression(),
    "tree": DecisionTreeClassifier(max_depth=3),
    "boosting": HistGradientBoostingClassifier(max_iter=5),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
}
LAYERS = {
    "linear": (None, None),
    "neural": (MLPExpert((4,)), MLPExpert((4,))),
    "sklearn": (Ridge(), LogisticRegression()),
    "perceptron": (
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, activation="tanh"),
        MLPClassifier(hidden_layer_sizes=(4,), max_iter=20, activation="logistic"),
    ),
}
OTHERS = {
    "tree": (DecisionTreeRegressor(max_depth=4), DecisionTreeClassifier(max_depth=4)),
    "boosting": (
        HistGradientBoostingRegressor(max_iter=5),
        HistGradientBoostingClassifier(max_iter=5),
    ),
    "mixed": (
        [
            ("line", make_pipeline(StandardScaler(), Ridge())),
            ("forest", RandomForestRegressor(3)),
            ("extra", ExtraTreesRegressor(3)),
        ],
        [
            ("line", make_pipeline(StandardScaler(), LogisticRegression())),
            ("forest", RandomForestClassifier(3)),
            ("boosting", HistGradientBoostingClassifier(max_iter=3)),
        ],
    ),
}


def fitted(experts, classify, X=X, target=None, **params):
    kind = MoEClassifier if classify else MoERegressor
    params = {**FEW, **params}
    if isinstance(experts, list):
        params["n_experts"] = None
    target = (LABELS if classify else y) if target is None else target
    return kind(experts, **params).fit(X, target)


def answer(model, X):
    classes = getattr(model, "classes_", getattr(model, "classes", None))
    return model.predict(X) if classes is None else model.predict_proba(X)


def run_onnx(model, X, dtype=np.float32, **about):
    session = require("onnxruntime").InferenceSession(
        to_onnx(model, dtype=dtype, **about).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    return session.run(None, {"X": X.astype(dtype)})


def check_onnx(model, X, dtype=np.float32):
    """Within 1e-5 of what the mixture says, in units of the target's standard deviation."""
    found = run_onnx(model, X, dtype)
    if not hasattr(model, "classes_"):
        wanted = model.predict(X)
        assert found[0].dtype == dtype
        difference = found[0].reshape(wanted.shape) - wanted
        assert np.abs(difference).max() <= TOLERANCE * max(1.0, wanted.std())
        return
    np.testing.assert_allclose(found[1], model.predict_proba(X), atol=TOLERANCE)
    assert np.mean(found[0] == model.predict(X)) > 0.99


# --- NumPy and JSON -----------------------------------------------------------------


@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("gate", ARRAY_GATES)
@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize("experts", ["linear", "neural"])
def test_arrays_predict_the_same(experts, classify, gate, top_k):
    model = fitted(LAYERS[experts][classify], classify, gate=gate, top_k=top_k)
    target = LABELS if classify else y
    for exported in (to_numpy(model), from_json(to_json(model))):
        np.testing.assert_allclose(answer(exported, X), answer(model, X), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(exported.gate_proba(X), model.gate_proba(X), atol=1e-12)
        np.testing.assert_allclose(
            exported.log_likelihood(X, target), model.log_likelihood(X, target), atol=1e-9
        )
    half = to_numpy(model, dtype=np.float32)
    np.testing.assert_allclose(answer(half, X), answer(model, X), atol=1e-4)
    assert 2 * half.nbytes == to_numpy(model).nbytes


@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize("experts", ["sklearn", "perceptron"])
def test_experts_of_scikit_learn_as_arrays(experts, classify):
    model = fitted(LAYERS[experts][classify], classify, solver="em")
    np.testing.assert_allclose(answer(to_numpy(model), X), answer(model, X), atol=1e-10)
    if classify:
        assert (to_numpy(model).predict(X) == model.predict(X)).all()
        two = fitted(LAYERS[experts][1], True, target=(y > 0).astype(int), solver="em")
        np.testing.assert_allclose(answer(to_numpy(two), X), answer(two, X), atol=1e-10)


@pytest.mark.parametrize(
    "params",
    [
        {"likelihood": "poisson"},
        {"likelihood": "heteroscedastic_gaussian"},
        {"likelihood": "student_t"},
        {"gate_features": [0, 1], "expert_features": [1, 2, 3]},
        {"combine": "top1"},
        {"n_experts": 1},
        {"routing": "token", "top_k": 1, "load_balance": BalanceBias()},
        {"target": np.column_stack([y, -y])},
    ],
    ids=str,
)
def test_more_kinds_of_mixtures(params):
    target = params.get("target", np.round(np.abs(y)))
    model = fitted(None, False, **{**params, "target": target})
    np.testing.assert_allclose(answer(to_numpy(model), X), answer(model, X), rtol=1e-9)
    check_onnx(model, X)


def test_gate_takes_missing_values_for_the_average():
    model = fitted(DecisionTreeRegressor(max_depth=3), False, gate_features=[0])
    gaps = X.copy()
    gaps[::3, 0] = np.nan
    found = run_onnx(model, gaps)[0].ravel()
    np.testing.assert_allclose(found, model.predict(gaps), atol=1e-4)


def test_python_file_needs_numpy_only(tmp_path):
    model = fitted(None, True)
    path = tmp_path / "exported.py"
    to_numpy(model, path)
    space = runpy.run_path(str(path))
    np.testing.assert_allclose(space["predict_proba"](X), model.predict_proba(X), atol=1e-12)
    assert (space["predict"](X) == model.predict(X)).all()
    code = (
        "import sys, exported; exported.predict([[0.0] * 4]); "
        "print(sorted({'sklearn', 'scipy', 'pandas', 'numba', 'skmoe'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_json_is_plain(tmp_path):
    model = fitted(None, False)
    path = tmp_path / "model.json"
    text = to_json(model, path)
    assert path.read_text(encoding="utf-8") == text
    parts = json.loads(text)
    assert parts["task"] == "regression" and len(parts["experts"]) == 4
    with pytest.raises(ValueError, match=r"expected \(n_samples, 4\)"):
        from_json(text).predict(X[:, :2])
    with pytest.raises(AttributeError, match="no predict_proba"):
        from_json(text).predict_proba(X)


# --- ONNX -----------------------------------------------------------------------------


@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize(
    "gate, experts, top_k",
    [
        ("softmax", "linear", None),
        ("gaussian", "neural", 2),
        ("hierarchical", "boosting", 2),
        ("pipeline", "tree", None),
        ("tree", "mixed", 2),
    ],
)
def test_onnx_predicts_the_same(gate, experts, top_k, classify):
    model = _mixture(gate, experts, classify, top_k)
    check_onnx(model, X)


def _mixture(gate, experts, classify, top_k, X=X, target=None):
    templates = {**LAYERS, **OTHERS}[experts][classify]
    gate = OTHER_GATES.get(gate, gate)
    return fitted(templates, classify, X=X, target=target, gate=gate, top_k=top_k)


def test_onnx_in_double_precision():
    check_onnx(fitted(None, False), X, np.float64)
    check_onnx(_mixture("softmax", "mixed", False, 2), X, np.float64)


def test_onnx_of_a_pipeline_on_a_frame(tmp_path):
    runtime = require("onnxruntime")
    frame, target = load_credit(return_X_y=True)
    frame = frame.iloc[:400].dropna()
    target = target[frame.index]
    words = make_column_selector(dtype_exclude="number")(frame)
    frame = frame.astype({name: np.float32 for name in frame.columns if name not in words})
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), words), remainder=StandardScaler()
    )
    model = make_pipeline(encode, MoEClassifier(n_experts=2, max_iter=3, random_state=0))
    model.fit(frame, target)
    path = tmp_path / "model.onnx"
    to_onnx(model, frame, path=path)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {name: frame[[name]].to_numpy() for name in frame.columns}
    feed = {name: v.astype(object) if name in words else v for name, v in feed.items()}
    proba = session.run(None, feed)[1]
    np.testing.assert_allclose(proba, model.predict_proba(frame), atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize("experts", [*LAYERS, *OTHERS])
@pytest.mark.parametrize("gate", [*ARRAY_GATES, *OTHER_GATES])
def test_every_gate_with_every_expert(gate, experts, classify):
    if gate == "hierarchical" and experts == "mixed":
        pytest.skip("three experts have no tree of four leaves")
    model = _mixture(gate, experts, classify, None)
    for top_k in (None, 2):
        check_onnx(model.set_params(top_k=top_k), X)


SETS = {
    "concrete": load_concrete,
    "mcycle": load_mcycle,
    "co2data": load_co2data,
    "nodata": load_nodata,
    "tonedata": load_tonedata,
    "patent": load_patent,
    "diamonds": load_diamonds,
}


@pytest.mark.slow
@pytest.mark.parametrize("experts", ["linear", "neural", "tree", "boosting", "mixed"])
@pytest.mark.parametrize("name", SETS)
def test_shipped_sets(name, experts):
    X, y = SETS[name](return_X_y=True, as_frame=True)
    X = X.select_dtypes("number").to_numpy(dtype=np.float32).astype(np.float64)[::3][:1000]
    y = np.log(y[::3][:1000]).to_numpy() if name == "diamonds" else y.to_numpy()[::3][:1000]
    model = _mixture("softmax", experts, False, 2, X=X, target=y.astype(np.float64))
    check_onnx(model, X)
    if experts in LAYERS:
        np.testing.assert_allclose(to_numpy(model).predict(X), model.predict(X), rtol=1e-8)


# --- what cannot be, and sizes -----------------------------------------------------------


def test_what_cannot_be_exported_is_named():
    tree = fitted(DecisionTreeRegressor(max_depth=2), False)
    with pytest.raises(TypeError, match="'expert_0' is a DecisionTreeRegressor"):
        to_numpy(tree)
    with pytest.raises(TypeError, match="the gate ClassifierGate is not made of layers"):
        to_json(fitted(None, False, gate=LogisticRegression()))
    with pytest.raises(TypeError, match="combine='median' cannot be exported"):
        to_numpy(fitted(None, False, combine="median"))
    with pytest.raises(TypeError, match="likelihood LogNormal cannot be exported"):
        to_numpy(fitted(None, False, likelihood="lognormal", target=np.exp(y)))
    both = np.column_stack([y, -y])
    with pytest.raises(TypeError, match="gate_per_output=True cannot be exported"):
        to_numpy(fitted(None, False, gate_per_output=True, target=both))
    with pytest.raises(NotFittedError):
        to_json(MoERegressor())


def test_what_onnx_cannot_express_is_named():
    require("skl2onnx")
    with pytest.raises(TypeError, match="Ridge is no mixture"):
        to_onnx(Ridge().fit(X, y))
    boosted = fitted(AdditiveExpert(max_rounds=2), False, n_experts=2)
    with pytest.raises(TypeError, match="AdditiveExpert experts cannot be exported"):
        to_onnx(boosted)
    with pytest.raises(TypeError, match="FactorRegressor cannot be exported to ONNX"):
        to_onnx(fitted(FactorExpert(2), False))


def test_size_of_a_mixture():
    dense = model_size(fitted(DecisionTreeRegressor(max_depth=3), False))
    sparse = model_size(fitted(DecisionTreeRegressor(max_depth=3), False, top_k=1))
    assert dense["active"] == dense["total"] == dense["gate"] + dense["experts"]
    assert sparse["total"] == dense["total"] and sparse["active"] < 0.6 * sparse["total"]
    assert np.isnan(dense["parameters"])
    linear = fitted(None, False)
    assert model_size(linear)["parameters"] == linear.n_parameters_
