"""Predictions on a GPU, on a stand-in for CuPy."""

import copy

import numpy as np
import pytest
from conftest import require
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor, _device_predict
from skmoe._device_memory import Device
from skmoe._ops import is_on_device
from skmoe.datasets import make_moe_regression
from skmoe.experts import LinearExpert
from skmoe.gates import GaussianGate
from skmoe.solvers import EM

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_moe_regression(n_samples=300, n_experts=3, random_state=0)
X = 2.0 * X + np.arange(X.shape[1])
LABELS = np.digitize(Y, np.quantile(Y, [0.4, 0.7]))
WORDS = np.array(["low", "middle", "high"])[LABELS]
COUNTS = np.round(np.exp(np.clip(Y / Y.std(), -2, 2)))
SHARES = np.column_stack([Y > np.median(Y), np.full(len(Y), 3)])

MODELS = {
    "gaussian": (MoERegressor(), Y),
    "outputs": (MoERegressor(), np.column_stack([Y, X[:, 0] ** 2])),
    "columns": (MoERegressor(gate_features=[0, 1], expert_features=[1, 2, 3]), Y),
    "full gate": (MoERegressor(gate="gaussian"), Y),
    "diagonal gate": (MoERegressor(gate=GaussianGate("diag")), Y),
    "shared gate": (MoERegressor(gate=GaussianGate("shared")), Y),
    "two experts": (MoERegressor(top_k=2), Y),
    "one expert": (MoERegressor(top_k=1, gate="gaussian"), Y),
    "first": (MoERegressor(combine="top1"), Y),
    "median": (MoERegressor(combine="median"), Y),
    "lasso": (MoERegressor(LinearExpert(1.0, l1_ratio=0.5)), Y),
    "classes": (MoEClassifier(), LABELS),
    "two classes": (MoEClassifier(top_k=2), LABELS > 1),
    "words": (MoEClassifier(top_k=1), WORDS),
    "student": (MoERegressor(likelihood="student_t", solver=EM()), Y),
    "quantile": (MoERegressor(likelihood="asymmetric_laplace", solver=EM()), Y),
    "spread": (MoERegressor(likelihood="heteroscedastic_gaussian", solver=EM()), Y),
    "positive": (MoERegressor(likelihood="lognormal", solver=EM(), top_k=2), np.abs(Y) + 0.1),
    "counts": (MoERegressor(likelihood="poisson", solver=EM()), COUNTS),
    "shares": (MoERegressor(likelihood="binomial", solver=EM()), SHARES),
    "zeros": (MoERegressor(likelihood="zero_inflated_poisson", solver=EM()), COUNTS),
}
METHODS = ("predict", "predict_proba", "gate_proba", "route", "predict_experts")


@pytest.fixture(scope="module")
def fitted():
    """Fitted models by name, each fitted once."""
    known = {}

    def fit(name):
        if name not in known:
            model, target = MODELS[name]
            model = clone(model).set_params(n_experts=3, init="kmeans", n_init=1, max_iter=5)
            known[name] = model.set_params(random_state=0).fit(X, target)
        return copy.copy(known[name])

    return fit


@pytest.fixture
def asked(monkeypatch):
    """Which methods were answered on the device."""
    names, plain = [], _device_predict._Answers.__init__

    def noted(self, *arguments):
        names.append(1)
        return plain(self, *arguments)

    monkeypatch.setattr(_device_predict._Answers, "__init__", noted)
    return names


def in_blocks(monkeypatch):
    """Several blocks of the few rows."""

    def few(self, arrays, row_numbers):
        self.size = 128

    monkeypatch.setattr(Device, "plan", few)


@pytest.mark.parametrize("name", MODELS)
def test_answers_of_a_device_are_those_of_the_cpu(cupy, fitted, asked, name, monkeypatch):
    in_blocks(monkeypatch)
    model, sent = fitted(name), cupy.asarray(X)
    for method in METHODS:
        if not hasattr(model, method):
            continue
        asked.clear()
        wanted = getattr(model.set_params(device=None), method)(X)
        assert not asked
        found = getattr(model, method)(sent)
        assert bool(asked) == (name != "median" or method != "predict")
        again = getattr(model.set_params(device="cuda"), method)(X)
        if not isinstance(wanted, tuple):
            wanted, found, again = (wanted,), (found,), (again,)
        for one, two, three in zip(wanted, found, again, strict=True):
            assert isinstance(three, np.ndarray)
            if one.dtype.kind not in "biuf":
                assert_array_equal(two, one)
                assert_array_equal(three, one)
                continue
            assert is_on_device(two)
            assert two.dtype == one.dtype
            assert_allclose(two.get(), one, rtol=1e-9, atol=1e-11)
            assert_allclose(three, one, rtol=1e-9, atol=1e-11)


def test_single_precision_rows_are_answered_in_double(cupy, fitted, asked):
    model, rows = fitted("gaussian"), X.astype(np.float32)
    assert_allclose(model.predict(cupy.asarray(rows)).get(), model.predict(rows), rtol=1e-9)
    assert asked


def test_a_bias_of_load_balancing_counts_in_the_choice_only(cupy, fitted, asked):
    model = fitted("two experts")
    model.routing_bias_ = np.array([3.0, 0.0, -3.0])
    plain = fitted("two experts").route(X)[0]
    indices, weights = model.route(X)
    assert (indices != plain).any()
    found = model.route(cupy.asarray(X))
    assert_array_equal(found[0].get(), indices)
    assert_allclose(found[1].get(), weights, rtol=1e-9)
    assert_allclose(model.predict(cupy.asarray(X)).get(), model.predict(X), rtol=1e-9)
    assert len(asked) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.set_params(device="cpu"),
        lambda model: model.set_params(combine="log_pool"),
        lambda model: setattr(model, "feature_names_in_", np.array(list("abcdefgh"))[: X.shape[1]]),
    ],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_other_answers_are_of_the_host(cupy, fitted, asked, change):
    model = fitted("gaussian")
    change(model)
    found = model.predict(cupy.asarray(X))
    assert is_on_device(found)
    assert not asked
    assert_array_equal(found.get(), model.predict(X))


def test_options_are_of_the_host(cupy, fitted, asked):
    model, sent = fitted("gaussian"), cupy.asarray(X)
    for options in ({"return_std": True}, {"quantiles": 0.5}):
        model.predict(sent, **options)
    model.predict(sent, True)
    assert not asked
    model.predict(sent, return_std=False)
    assert asked


def test_experts_of_other_kinds_are_asked_on_the_host(cupy, asked):
    model = MoERegressor(DecisionTreeRegressor(max_depth=2), n_experts=2, random_state=0).fit(X, Y)
    assert is_on_device(model.predict(cupy.asarray(X)))
    assert not asked


def test_rows_of_the_host_are_sent_once_and_in_blocks(cupy, fitted, monkeypatch):
    in_blocks(monkeypatch)
    model, sent, plain = fitted("gaussian").set_params(device="cuda"), [], cupy.asarray

    def noted(array, dtype=None):
        if isinstance(array, np.ndarray) and array.ndim == 2 and len(array) > 8:
            sent.append(array.shape)
        return plain(array, dtype)

    monkeypatch.setattr(cupy, "asarray", noted)
    model.predict(X)
    assert [shape for shape in sent if shape[1] == X.shape[1]] == [
        (128, X.shape[1]),
        (128, X.shape[1]),
        (44, X.shape[1]),
    ]


@pytest.mark.parametrize("where", ["nan", "columns", "dimensions", "nothing"])
def test_what_is_wrong_with_rows_is_told_as_by_the_host(cupy, fitted, where, monkeypatch):
    monkeypatch.setattr(_device_predict, "_ROWS", 2)
    rows = X.copy()
    rows[3, 1] = np.nan
    wrong = {"nan": rows, "columns": X[:, :2], "dimensions": X[0], "nothing": X[:0]}[where]
    model = fitted("gaussian")
    with pytest.raises(ValueError) as told:
        model.predict(wrong)
    with pytest.raises(ValueError) as found:
        model.predict(cupy.asarray(wrong))
    assert str(found.value) == str(told.value)


def test_a_gate_takes_missing_values_as_the_host_does(cupy, fitted, asked):
    model, rows = fitted("columns"), X.copy()
    rows[3, 0] = np.nan
    assert_array_equal(model.predict(cupy.asarray(rows)).get(), model.predict(rows))
    assert not asked


def test_a_model_of_a_device_is_asked_without_one(cupy, fitted, asked, monkeypatch):
    model = fitted("gaussian").set_params(device="cuda")
    cupy.cuda.is_available = lambda: False
    assert isinstance(model.predict(X), np.ndarray)
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    monkeypatch.delitem(__import__("sys").modules, "skmoe._ops.gpu", raising=False)
    assert isinstance(model.predict(X), np.ndarray)
    assert not asked


@pytest.mark.parametrize("name", MODELS)
def test_answers_of_a_real_device_are_those_of_the_cpu(fitted, name):
    cupy = require("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("needs a GPU")
    model = fitted(name)
    assert_allclose(model.gate_proba(cupy.asarray(X)).get(), model.gate_proba(X), atol=1e-9)
    found = model.predict_experts(cupy.asarray(X))
    assert_allclose(found.get(), model.predict_experts(X), rtol=1e-8)
