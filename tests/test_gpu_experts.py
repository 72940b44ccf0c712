"""Experts with the interface of scikit-learn beside a GPU, on a stand-in for CuPy."""

import pickle
from itertools import pairwise

import fake_cupy
import numpy as np
import pytest
from conftest import require
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._device_experts import DeviceTurns, Shares
from skmoe._device_memory import Device
from skmoe._em import HostTurns
from skmoe._ops import is_on_device, on_host
from skmoe.datasets import make_moe_regression
from skmoe.experts import _on_device
from skmoe.experts._on_device import takes_device_arrays
from skmoe.gates import GaussianGate, SoftmaxGate
from skmoe.solvers import EM

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_moe_regression(n_samples=300, n_experts=2, random_state=0)
LABELS = np.digitize(Y, np.quantile(Y, [0.4, 0.7]))
COUNTS = np.round(np.exp(np.clip(Y / Y.std(), -2, 2)))
SHARES = np.column_stack([Y > np.median(Y), np.full(len(Y), 3)])
WEIGHT = np.random.RandomState(1).uniform(0.5, 2.0, size=len(Y))
TREE = DecisionTreeRegressor(max_depth=3, random_state=0)
# Trees jump where weights round differently; this one is smooth in them.
SMOOTH = KernelRidge(alpha=1.0, kernel="rbf", gamma=0.1)
MIXED = [("tree", TREE), ("line", LinearRegression())]


class WeightedLine(RegressorMixin, BaseEstimator):
    """Weighted least squares on arrays of either side, which remembers what it was given."""

    takes_device_arrays = True
    seen = ()

    def fit(self, X, y, sample_weight):
        WeightedLine.seen += (tuple(map(is_on_device, (X, y, sample_weight))),)
        weighted = (X * sample_weight[:, None]).T
        gram, right = on_host(weighted @ X), on_host(weighted @ y)
        self.coef_ = np.linalg.solve(gram + 1e-3 * np.eye(len(gram)), right)
        return self

    def predict(self, X):
        coef = self.coef_
        return X @ (fake_cupy.ndarray(coef) if is_on_device(X) else coef)


@pytest.fixture
def lines():
    """Experts that take arrays of the device, and nothing of which has been seen yet."""
    WeightedLine.seen = ()
    return WeightedLine()


FITS = {
    "smooth": (MoERegressor(SMOOTH), X, Y),
    "tree": (MoERegressor(TREE), X, Y),
    "mixed": (MoERegressor(MIXED), X, Y),
    "folds": (MoERegressor(SMOOTH, cross_fit=3), X, Y),
    "single": (MoERegressor(SMOOTH), X.astype(np.float32), Y),
    "outputs": (MoERegressor(SMOOTH), X, np.column_stack([Y, X[:, 0] ** 2])),
    "columns": (MoERegressor(SMOOTH, gate_features=[0, 1]), X, Y),
    "full gate": (MoERegressor(SMOOTH, gate="gaussian"), X, Y),
    "diagonal gate": (MoERegressor(SMOOTH, gate=GaussianGate("diag")), X, Y),
    "shared gate": (MoERegressor(SMOOTH, gate=GaussianGate("shared")), X, Y),
    "sparse gate": (MoERegressor(SMOOTH, gate=SoftmaxGate(1e-2, l1_ratio=0.5)), X, Y),
    "annealed": (MoERegressor(SMOOTH, solver=EM(temperature=2.0)), X, Y),
    "revived": (MoERegressor(SMOOTH, solver=EM(revive=True)), X, Y),
    "student": (MoERegressor(SMOOTH, likelihood="student_t"), X, Y),
    "counts": (MoERegressor(SMOOTH, likelihood="negative_binomial"), X, COUNTS),
    "classes": (MoEClassifier(DecisionTreeClassifier(max_depth=2, random_state=0)), X, LABELS),
    "words": (MoEClassifier(GaussianNB()), X, np.array(["low", "middle", "high"])[LABELS]),
}


IN_BLOCKS = ["smooth", "single", "full gate", "student", "classes"]


def small(monkeypatch, resident):
    """Blocks of few rows, which stay on the device or do not."""

    def few(self, arrays, row_numbers):
        self.size, self.resident = 128, resident

    monkeypatch.setattr(Device, "plan", few)


def both_turns(monkeypatch, checked):
    """Compare every turn of a device with one of the host, from the same parts."""
    plain = DeviceTurns.__call__

    def compared(self, parts, pred, resp, own, log_gate):
        twin = parts.keep()
        found = plain(self, parts, pred, resp, own, log_gate)
        wanted = HostTurns(self.data)(twin, pred, resp, own, log_gate)
        # The gate's curvature has the precision of the features, and its steps end early.
        single = self.data.gate_X.X.dtype == np.float32
        tolerance = 1e-6 if single else 1e-9
        assert_allclose(found.resp, wanted.resp, atol=tolerance, rtol=tolerance)
        assert_allclose(found.value, wanted.value, rtol=tolerance)
        assert_allclose(found.load, wanted.load, atol=1e-12)
        assert found.missed == wanted.missed
        checked.append(1)
        return found

    monkeypatch.setattr(DeviceTurns, "__call__", compared)


@pytest.mark.parametrize(
    ("name", "resident"),
    [(name, True) for name in FITS] + [(name, False) for name in IN_BLOCKS],
)
def test_turns_beside_a_device_are_those_of_the_cpu(cupy, name, resident, monkeypatch):
    model, rows, target = FITS[name]
    n_experts = None if isinstance(model.experts, list) else 2
    model = clone(model).set_params(n_experts=n_experts, random_state=0, max_iter=4, n_init=1)
    small(monkeypatch, resident)
    checked = []
    both_turns(monkeypatch, checked)
    here = clone(model).fit(rows, target, sample_weight=WEIGHT)
    assert not checked
    there = clone(model).set_params(device="cuda").fit(rows, target, sample_weight=WEIGHT)
    assert len(checked) >= len(there.history_["objective"])
    if name not in ("tree", "mixed"):
        tolerance = 1e-4 if name == "single" else 1e-7
        assert_allclose(there.history_["objective"], here.history_["objective"], rtol=tolerance)
        assert_allclose(there.gate_proba(X), here.gate_proba(X), atol=10 * tolerance)
    for part in (there._parts.gate, there._parts.likelihood):
        assert not any(map(is_on_device, vars(part).values()))


def test_an_iteration_sends_predictions_and_brings_responsibilities(cupy, monkeypatch):
    """Beside them only what has the size of parameters moves, once rows lie on the device."""
    moved = moves(cupy, monkeypatch, MoERegressor(TREE), Y)
    assert moved == [[("up", (len(Y), 2, 1)), ("down", (len(Y), 2))]] * 2


@pytest.mark.parametrize("likelihood", ["gaussian", "binomial"])
def test_experts_on_the_device_send_nothing(cupy, lines, likelihood, monkeypatch):
    """Responsibilities come down for the host's record, and nothing goes up."""
    target = Y if likelihood == "gaussian" else SHARES
    moved = moves(cupy, monkeypatch, MoERegressor(lines, likelihood=likelihood), target)
    assert moved == [[("down", (len(Y), 2))]] * 2


def moves(cupy, monkeypatch, model, target):
    """What goes up and comes down in the second and third iteration of a fit."""
    moved, plain_send, plain_bring = [], cupy.asarray, cupy.asnumpy
    many = 100  # numbers, more than parameters have here

    def send(array, dtype=None):
        if isinstance(array, np.ndarray) and array.size >= many:
            moved.append(("up", array.shape))
        return plain_send(array, dtype)

    def bring(array):
        if array.size >= many:
            moved.append(("down", array.shape))
        return plain_bring(array)

    monkeypatch.setattr(cupy, "asarray", send)
    monkeypatch.setattr(cupy, "asnumpy", bring)
    turns, plain = [], DeviceTurns.__call__

    def marked(self, *arguments):
        turns.append(len(moved))
        return plain(self, *arguments)

    monkeypatch.setattr(DeviceTurns, "__call__", marked)
    model.set_params(n_experts=2, cross_fit=None, device="cuda", random_state=0)
    model.set_params(max_iter=4, tol=0.0).fit(X, target)
    assert len(turns) == 4
    return [moved[start:end] for start, end in pairwise(turns[1:])]


# -- experts that take arrays on the device ------------------------------------------------------


@pytest.mark.parametrize("cross_fit", [None, 3])
@pytest.mark.parametrize("likelihood", ["gaussian", "poisson", "binomial"])
def test_experts_may_be_fitted_on_the_device(cupy, lines, cross_fit, likelihood, monkeypatch):
    small(monkeypatch, True)
    targets = {"gaussian": Y, "poisson": COUNTS, "binomial": SHARES}
    checked, target = [], targets[likelihood]
    model = MoERegressor(lines, n_experts=2, likelihood=likelihood, cross_fit=cross_fit)
    model.set_params(random_state=0, max_iter=4, n_init=1)
    here = clone(model).fit(X, target, sample_weight=WEIGHT)
    assert set(WeightedLine.seen) == {(False, False, False)}
    WeightedLine.seen = ()
    both_turns(monkeypatch, checked)
    there = clone(model).set_params(device="cuda").fit(X, target, sample_weight=WEIGHT)
    assert set(WeightedLine.seen) == {(True, True, True)}
    assert checked
    assert_allclose(there.history_["objective"], here.history_["objective"], rtol=1e-8)
    assert_allclose(there.predict(X), here.predict(X), atol=1e-6)
    assert [type(expert) for expert in there.experts_] == [WeightedLine] * 2
    assert is_on_device(there.predict(cupy.asarray(X)))


def test_experts_of_both_kinds_go_together(cupy, lines, monkeypatch):
    small(monkeypatch, True)
    experts = [("smooth", SMOOTH), ("line", lines), ("other", clone(lines))]
    start = np.random.RandomState(0).dirichlet(np.ones(3), size=len(Y))
    model = MoERegressor(experts, random_state=0, max_iter=4, n_init=1, init=start, cross_fit=None)
    here = clone(model).fit(X, Y)
    WeightedLine.seen = ()
    checked = []
    both_turns(monkeypatch, checked)
    there = clone(model).set_params(device="cuda", n_jobs=2).fit(X, Y)  # two are not for jobs
    assert set(WeightedLine.seen) == {(True, True, True)}
    assert checked
    assert_allclose(there.predict_experts(X), here.predict_experts(X), atol=1e-6)


def test_rows_that_do_not_fit_stay_on_the_host(cupy, lines, monkeypatch):
    small(monkeypatch, False)
    model = MoERegressor(lines, n_experts=2, device="cuda", random_state=0, max_iter=3)
    model.fit(X, Y)
    assert set(WeightedLine.seen) == {(False, False, False)}


def test_an_expert_without_rows_keeps_its_last_fit(cupy, lines, monkeypatch):
    small(monkeypatch, True)
    start = np.column_stack([np.ones(len(Y)), np.zeros(len(Y))])
    model = MoERegressor(lines, n_experts=2, random_state=0, max_iter=2, init=start, n_init=1)
    here = clone(model).fit(X, Y)
    there = clone(model).set_params(device="cuda").fit(X, Y)
    assert_allclose(there.predict_experts(X), here.predict_experts(X), atol=1e-8)


def test_a_fit_goes_on_from_the_last_one(cupy, lines, monkeypatch):
    small(monkeypatch, True)
    start = np.random.RandomState(0).dirichlet(np.ones(2), size=len(Y))
    model = MoERegressor(lines, n_experts=2, init=start, n_init=1, max_iter=3, warm_start=True)
    model.set_params(likelihood="poisson", random_state=0)
    here, there = clone(model), clone(model).set_params(device="cuda")
    for _ in range(2):
        for one in (here, there):
            one.fit(X, COUNTS, exposure=WEIGHT)
        assert_allclose(there.history_["objective"], here.history_["objective"], rtol=1e-8)
    again = pickle.loads(pickle.dumps(there))
    assert_array_equal(again.predict(X), there.predict(X))


class Broken(WeightedLine):
    """Fails, or predicts nonsense."""

    def __init__(self, how="fit"):
        self.how = how

    def fit(self, X, y, sample_weight):
        if self.how == "fit":
            raise ValueError("no")
        return super().fit(X, y, sample_weight)

    def predict(self, X):
        found = super().predict(X)
        return found * np.nan if self.how == "nan" else found[:-1]


@pytest.mark.parametrize(
    ("how", "message"),
    [("fit", "failed in fit: no"), ("nan", "NaN or infinite"), ("shape", "array of shape")],
)
def test_failures_on_the_device_name_the_expert(cupy, how, message):
    model = MoERegressor([("good", TREE), ("bad", Broken(how))], device="cuda", cross_fit=None)
    with pytest.raises(ValueError, match=f"expert 'bad'.*{message}"):
        model.fit(X, Y)
    if how == "fit":
        model.set_params(on_expert_error="drop", max_iter=2)
        with pytest.warns(UserWarning, match="left out"):
            assert list(model.fit(X, Y).dropped_experts_) == ["bad"]


def test_who_takes_arrays_on_a_device(monkeypatch):
    assert takes_device_arrays(WeightedLine())
    assert not takes_device_arrays(TREE)
    assert not takes_device_arrays(Ridge())
    monkeypatch.setattr(_on_device, "get_config", lambda: {"array_api_dispatch": True})
    assert takes_device_arrays(Ridge())
    assert not takes_device_arrays(TREE)
    foreign = type("Ridge", (), {"__module__": "cuml.linear_model.ridge"})()
    assert takes_device_arrays(foreign)
    shy = WeightedLine()
    shy.takes_device_arrays = False
    assert not takes_device_arrays(shy)


# -- shares of rows ------------------------------------------------------------------------------


def test_shares_are_sent_once_and_the_last_two_are_kept(cupy, monkeypatch):
    device, sent, plain = Device(), [], Device.send
    device.size, device.resident = 100, True
    monkeypatch.setattr(Device, "send", lambda self, a: sent.append(1) or plain(self, a))
    shares = Shares(device, WEIGHT)
    rng = np.random.RandomState(0)
    several = [rng.dirichlet(np.ones(3), size=len(Y)) for _ in range(3)]
    for resp in (several[0], several[1], several[0], several[1]):
        found = np.concatenate([block.get() for block in shares.of(resp)], axis=1)
        assert_array_equal(found, (resp * WEIGHT[:, None]).T)
    assert len(sent) == 2 * 3
    list(shares.of(several[2]))
    list(shares.of(several[0]))
    assert len(sent) == 4 * 3
    assert_array_equal(shares.of_expert(several[0], 1).get(), WEIGHT * several[0][:, 1])
    device.resident = False
    apart = Shares(device, WEIGHT)
    for _ in range(2):
        assert len(list(apart.of(several[0]))) == 3
    assert len(sent) == 6 * 3


# -- a device, where there is one ------------------------------------------------------------------


@pytest.fixture
def real_cupy():
    """CuPy with a GPU."""
    module = require("cupy")
    if not module.cuda.is_available():
        pytest.skip("needs a GPU")
    return module


@pytest.mark.parametrize("name", FITS)
def test_fits_beside_a_real_device_are_those_of_the_cpu(real_cupy, name):
    model, rows, target = FITS[name]
    n_experts = None if isinstance(model.experts, list) else 2
    model = clone(model).set_params(n_experts=n_experts, random_state=0, max_iter=4, n_init=1)
    here = clone(model).fit(rows, target, sample_weight=WEIGHT)
    there = clone(model).set_params(device="cuda").fit(rows, target, sample_weight=WEIGHT)
    assert_allclose(there.history_["objective"][0], here.history_["objective"][0], rtol=1e-3)


def test_experts_of_cuml_are_fitted_on_the_device(real_cupy):
    cuml = require("cuml")
    model = MoERegressor(cuml.LinearRegression(), n_experts=2, random_state=0, device="cuda")
    line = MoERegressor(LinearRegression(), n_experts=2, random_state=0, cross_fit=None)
    assert_allclose(model.fit(X, Y).score(X, Y), line.fit(X, Y).score(X, Y), atol=0.02)
