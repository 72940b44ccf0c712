"""The path of the GPU: on a stand-in for CuPy, and on a device where there is one."""

import ast
import ctypes
from pathlib import Path

import fake_cupy
import numpy as np
import pytest
import scipy.sparse as sp
from conftest import require
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import skmoe
from skmoe import MoEClassifier, MoERegressor
from skmoe._design import Design
from skmoe._device import DeviceDesign, DeviceSweeper, on_device
from skmoe._device_experts import GateDesign
from skmoe._device_memory import Device
from skmoe._ops import cpu, get_ops, is_on_device, ops_of, special_of
from skmoe._sweep import Sweeper
from skmoe.datasets import make_moe_regression
from skmoe.experts import AdditiveExpert, LinearExpert
from skmoe.gates import GaussianGate, SoftmaxGate, softmax
from skmoe.likelihoods import StudentT
from skmoe.solvers import EM

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FOLDER = Path(skmoe.__file__).parent / "_ops"
X, Y = make_moe_regression(n_samples=300, n_experts=3, random_state=0)
LABELS = np.digitize(Y, np.quantile(Y, [0.4, 0.7]))
COUNTS = np.round(np.exp(np.clip(Y / Y.std(), -2, 2)))
WEIGHT = np.random.RandomState(1).uniform(0.5, 2.0, size=len(Y))


# -- both modules ---------------------------------------------------------------------------


def functions(path):
    """Names of functions and their arguments, without importing anything."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name: [argument.arg for argument in node.args.args]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def exported(path):
    """Names in ``__all__``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} has no __all__")


def test_both_modules_have_the_same_names_and_arguments():
    own = functions(FOLDER / "gpu.py")
    names = exported(FOLDER / "gpu.py")
    assert set(names) <= set(exported(FOLDER / "cpu.py"))
    known = {}
    for path in FOLDER.glob("*.py"):
        if path.name != "gpu.py":
            known |= functions(path)
    for name in names:
        if name != "PADDING":
            assert own[name] == known[name], name
    public = {name for name in own if not name.startswith("_")}
    assert public <= set(names)


def test_what_the_passes_of_a_fit_call_is_there():
    called = {"standardise", "tiled_grams", "gaussian_block", "categorical_block", "mix"}
    called |= {"sum_log_evidence", "subtract_half_squares", "diagonal_scores", "PADDING"}
    assert called <= set(exported(FOLDER / "gpu.py"))


def test_arrays_of_the_host_get_the_operations_of_the_host():
    assert ops_of(np.ones(2)) is cpu
    assert special_of(np.ones(2)).gammaln(1.0) == 0.0
    assert not is_on_device([1.0])


# -- kernels against those of the CPU ---------------------------------------------------------


def both(cupy, name, arrays, written):
    """Run an operation on copies of arrays on host and device; what each wrote and returned."""
    here, there = ([np.array(a) for a in arrays] for _ in range(2))
    value = getattr(cpu, name)(*here)
    sent = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in there]
    found = getattr(get_ops("cuda"), name)(*sent)
    for place in written:
        assert_allclose(sent[place].get(), here[place], rtol=1e-11, atol=1e-11)
    if value is not None:
        found = found if isinstance(found, tuple) else (found,)
        assert_allclose(list(map(float, found)), np.atleast_1d(value), rtol=1e-11)
    return here


def blocks(n_rows, n_experts, n_scores, seed=0):
    rng = np.random.RandomState(seed)
    gate = 4.0 * rng.normal(size=(n_experts, n_rows))
    scores = rng.normal(size=(n_experts * n_scores, n_rows))
    return gate, scores, rng.uniform(0.5, 2.0, size=n_rows), rng


@pytest.mark.parametrize("n_rows", [1, 130, 900])
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("with_given", [False, True])
def test_gaussian_blocks(cupy, n_rows, n_outputs, with_given):
    gate, scores, weight, rng = blocks(n_rows, 3, n_outputs)
    y, variance = rng.normal(size=(n_rows, n_outputs)), rng.uniform(0.1, 2.0, (3, n_outputs))
    given = rng.dirichlet(np.ones(3), size=n_rows) if with_given else np.empty((0, 0))
    joint, sums = np.empty_like(gate), np.ones((3, n_outputs + 3))
    arrays = (y, weight, variance, given, gate, scores, joint, sums)
    both(cupy, "gaussian_block", arrays, [4, 5, 6, 7])


def test_rows_that_no_expert_explains(cupy):
    gate, scores, weight, rng = blocks(50, 3, 1)
    y = rng.normal(size=(50, 1))
    y[[3, 7]] = 1e200
    arrays = (y, weight, np.ones((3, 1)), np.empty((0, 0)), gate, scores)
    arrays += (np.empty_like(gate), np.zeros((3, 4)))
    with np.errstate(over="ignore", invalid="ignore"):
        here, there = ([np.array(a) for a in arrays] for _ in range(2))
        value, missed = cpu.gaussian_block(*here)
        sent = list(map(cupy.asarray, there))
        found, lost = get_ops("cuda").gaussian_block(*sent)
    assert value == float(found) == -np.inf
    assert missed == float(lost) == 2
    assert_allclose(sent[6].get(), here[6], atol=1e-12)
    assert_allclose(sent[4].get(), here[4], atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("with_given", [False, True])
def test_categorical_blocks(cupy, n_classes, with_given):
    gate, scores, weight, rng = blocks(200, 3, n_classes)
    codes = rng.randint(n_classes, size=200)
    given = rng.dirichlet(np.ones(3), size=200) if with_given else np.empty((0, 0))
    arrays = (codes, weight, given, gate, 3 * scores, np.empty_like(gate), np.ones((3, 3)))
    both(cupy, "categorical_block", arrays, [3, 4, 5, 6])


def test_mixing(cupy):
    gate, joint, weight, _ = blocks(300, 4, 1)
    joint += gate
    load, spread = np.ones(4), np.ones(4)
    arrays = (gate, joint, weight, np.empty((0, 0)), np.empty((4, 300)), load, spread)
    both(cupy, "mix", arrays, [0, 1, 5, 6])


def test_ties_go_to_the_first_expert(cupy):
    gate, load = np.zeros((3, 10)), np.zeros(3)
    arrays = (gate, gate.copy(), np.ones(10), np.empty((0, 0)), np.empty((4, 10)), load)
    here = both(cupy, "mix", (*arrays, np.zeros(3)), [5])
    assert_array_equal(here[5], [10.0, 0.0, 0.0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("picked", [False, True])
def test_standardising(cupy, dtype, picked):
    rng = np.random.RandomState(0)
    values = rng.normal(size=(40, 5)).astype(dtype)
    values[3, 2] = np.nan
    units = rng.normal(size=5), rng.uniform(0.5, 2.0, size=5)
    out = np.empty((12 if picked else 40, 8), dtype=dtype)
    if picked:
        both(cupy, "standardise_rows", (values, rng.randint(40, size=12), *units, out), [4])
    else:
        both(cupy, "standardise", (values, *units, out), [3])


@pytest.mark.parametrize("skip", [-1, 0, 2])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_rows", [1, 40, 64, 150])
def test_grams(cupy, skip, dtype, n_rows, monkeypatch):
    ops = get_ops("cuda")
    monkeypatch.setattr(ops, "_PIECE", 16)
    monkeypatch.setattr(ops, "_STACKED_NUMBERS", 16 * 8 * 3 * 4)
    rng = np.random.RandomState(0)
    Z, share = rng.normal(size=(n_rows, 8)).astype(dtype), rng.uniform(size=(3, n_rows))
    out = cupy.asarray(np.ones((3, 8, 8)))
    ops.tiled_grams(cupy.asarray(Z), cupy.asarray(share.astype(dtype)), skip, out)
    expected = 1.0 + np.einsum("nd,kn,ne->kde", Z, share, Z)
    if skip >= 0:
        expected[skip] = 1.0
    assert_allclose(out.get(), expected, rtol=1e-10 if dtype == np.float64 else 1e-4, atol=1e-4)
    again = cupy.asarray(np.zeros((3, 8, 8)))
    ops.weighted_grams(cupy.asarray(Z), cupy.asarray(share.T.astype(dtype)), again)
    everything = np.einsum("nd,kn,ne->kde", Z, share, Z)
    assert_allclose(again.get(), everything, rtol=1e-4, atol=1e-4)


def test_operations_on_rows(cupy):
    rng = np.random.RandomState(0)
    logits, log_lik = 3 * rng.normal(size=(60, 4)), 5 * rng.normal(size=(60, 4))
    log_lik[7] = -np.inf
    out = np.empty((60, 4))
    log_gate = both(cupy, "log_softmax", (logits, out), [1])[1]
    both(cupy, "e_step", (log_gate, log_lik, np.empty((60, 4)), np.empty(60)), [2, 3])
    indices = np.empty((60, 2), dtype=np.int64)
    both(cupy, "top_k", (log_gate, indices, np.empty((60, 2))), [1, 2])
    y, pred = rng.normal(size=(60, 2)), rng.normal(size=(60, 4, 2))
    variance = rng.uniform(0.5, 2.0, size=(4, 2))
    both(cupy, "gaussian_log_lik", (y, pred, variance, out), [3])
    codes, scores = rng.randint(3, size=60), rng.normal(size=(60, 4, 3))
    both(cupy, "categorical_log_lik", (codes, scores, out), [2])
    share = rng.uniform(size=(60, 4))
    both(cupy, "categorical_residual", (codes, scores, share, np.empty((60, 4, 3))), [3])


def test_steps_of_adam(cupy):
    rng = np.random.RandomState(0)
    arrays = [rng.normal(size=300) for _ in range(5)]
    arrays[2] = np.square(arrays[2])
    gradient, mean, square, decay, out = arrays
    numbers = (0.9, 0.999), (0.19, 0.002), 0.01, decay
    sent = list(map(cupy.asarray, (gradient, mean, square, decay, out)))
    cpu.adam(gradient, mean, square, *numbers, out)
    get_ops("cuda").adam(*sent[:3], *numbers[:3], sent[3], sent[4])
    for own, there in zip(arrays, sent, strict=True):
        assert_allclose(there.get(), own, rtol=1e-12)


def launches(cupy):
    """What all kernels that add up or write several places leave, bit by bit."""
    ops, found = get_ops("cuda"), []

    def run(name, *arrays):
        sent = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays]
        value = getattr(ops, name)(*sent)
        value = value if isinstance(value, tuple) else () if value is None else (value,)
        for array in (*sent, *value):
            if is_on_device(array):
                found.append(array.get())

    gate, scores, weight, rng = blocks(1000, 3, 2)
    y, variance, nothing = rng.normal(size=(1000, 2)), np.ones((3, 2)), np.empty((0, 0))
    codes, joint = rng.randint(2, size=1000), np.zeros_like(gate)
    run("gaussian_block", y, weight, variance, nothing, gate, scores, joint, np.zeros((3, 5)))
    run("categorical_block", codes, weight, nothing, gate, scores, joint, np.zeros((3, 3)))
    run("mix", gate, gate + joint, weight, nothing, None, np.zeros(3), np.zeros(3))
    run("soft_target_block", gate, weight, gate.copy())
    run("sum_log_evidence", gate, weight, None)
    rows = np.ascontiguousarray(gate.T)
    run("log_softmax", rows, rows.copy())
    run("e_step", rows, rows, np.zeros((1000, 3)), np.zeros(1000))
    run("top_k", rows, np.zeros((1000, 2), dtype=np.int64), np.zeros((1000, 2)))
    run("standardise", y, np.zeros(2), np.ones(2), np.zeros((1000, 8)))
    run("diagonal_scores", y, np.ones((3, 2)), np.ones((3, 2)), np.ones(3), joint)
    run("tweedie_series", np.abs(y[:, 0]), y[:, 1].copy(), 1.5, np.zeros((2, 1000)))
    return found


def test_threads_do_not_look_at_what_others_write(cupy, library, monkeypatch):
    """One after the other is then as good as all at once."""
    monkeypatch.setattr(get_ops("cuda"), "_MOST_THREADS", 256)  # several rows for each
    backwards = ctypes.c_int.in_dll(library, "backwards")
    forth = launches(cupy)
    monkeypatch.setattr(backwards, "value", 1)
    for one, two in zip(forth, launches(cupy), strict=True):
        assert_array_equal(one, two)


def test_operations_of_gates(cupy):
    gate, scores, weight, rng = blocks(200, 3, 1)
    targets = rng.uniform(size=(3, 200))
    both(cupy, "soft_target_block", (targets, targets.sum(axis=0), gate), [2])
    both(cupy, "sum_log_evidence", (scores, weight, np.empty((2, 200))), [])
    both(cupy, "subtract_half_squares", (scores, np.ones(200)), [1])
    Z, slope, shift = rng.normal(size=(200, 8)), rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    both(cupy, "diagonal_scores", (Z, slope, shift, np.ones(3), np.empty((3, 200))), [4])


# -- fits against those of the CPU --------------------------------------------------------------

FITS = {
    "gaussian": (MoERegressor(), X, Y),
    "em": (MoERegressor(solver=EM()), X, Y),
    "single": (MoERegressor(solver="em"), X.astype(np.float32), Y),
    "outputs": (MoERegressor(), X, np.column_stack([Y, X[:, 0] ** 2])),
    "columns": (MoERegressor(gate_features=[0, 1], expert_features=[1, 2, 3]), X, Y),
    "units": (MoERegressor(gate=SoftmaxGate(standardize=False)), X, Y),
    "constrained": (MoERegressor(LinearExpert(5.0, l1_ratio=0.5), solver="gradient"), X, Y),
    "classes": (MoEClassifier(), X, LABELS),
    "full gate": (MoERegressor(gate="gaussian"), X, Y),
    "diagonal gate": (MoERegressor(gate=GaussianGate("diag")), X, Y),
    "shared gate": (MoERegressor(gate=GaussianGate("shared")), X, Y),
    "auto": (MoERegressor(n_experts="auto", max_experts=3), X, Y),
}


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("resident", [True, False])
def test_fits_are_those_of_the_cpu(cupy, name, resident, monkeypatch):
    model, rows, target = FITS[name]
    model = clone(model).set_params(random_state=0, max_iter=12, n_init=1)
    if model.n_experts is None:  # a grown start decides by thresholds, which rounding may cross
        model.set_params(n_experts=3, init="kmeans")
    passes, plain = [], DeviceSweeper.add_up

    def counted(self, *arguments):
        assert self.data.device.resident == resident
        passes.append(1)
        return plain(self, *arguments)

    def few(self, arrays, row_numbers):
        self.size, self.resident = 128, resident

    monkeypatch.setattr(DeviceSweeper, "add_up", counted)
    monkeypatch.setattr(Device, "plan", few)
    here = clone(model).fit(rows, target, sample_weight=WEIGHT)
    assert not passes
    there = clone(model).set_params(device="cuda").fit(rows, target, sample_weight=WEIGHT)
    assert len(passes) >= len(there.history_["objective"])
    tolerance = 1e-3 if name == "single" else 1e-6
    assert there.n_experts_ == here.n_experts_
    n_same = min(len(here.history_["objective"]), len(there.history_["objective"]), 6)
    assert_allclose(
        there.history_["objective"][:n_same],
        here.history_["objective"][:n_same],
        rtol=1e-4 if name == "single" else 1e-9,
    )
    assert_allclose(there.predict_experts(X), here.predict_experts(X), atol=10 * tolerance)
    assert_allclose(there.gate_proba(X), here.gate_proba(X), atol=tolerance)
    for part in vars(there._parts).values():
        assert not any(map(is_on_device, vars(part).values()))


def test_first_fits_of_a_softmax_gate_are_on_the_device(cupy, monkeypatch):
    fitted, plain = [], GateDesign.logit_loss
    monkeypatch.setattr(
        GateDesign, "logit_loss", lambda self, *rest: fitted.append(1) or plain(self, *rest)
    )
    monkeypatch.setattr(softmax, "fit_logits", None)  # not to be called
    for model in (MoERegressor(solver="em"), MoERegressor(gate_features=[0, 1])):
        fitted.clear()
        model.set_params(n_experts=2, device="cuda", init="kmeans", max_iter=3).fit(X, Y)
        assert fitted


def laws():
    """Targets for laws that take arrays on a device, by name."""
    shifted = np.abs(Y / Y.std()) + 0.1
    numbers = dict.fromkeys(["student_t", "laplace", "heteroscedastic_gaussian"], Y)
    positive = dict.fromkeys(["lognormal", "gamma", "inverse_gaussian"], shifted)
    counts = ["poisson", "negative_binomial", "zero_inflated_poisson"]
    counts = dict.fromkeys([*counts, "zero_inflated_negative_binomial"], COUNTS)
    shares = {"binomial": np.column_stack([Y > np.median(Y), np.full(len(Y), 3)])}
    return {**numbers, **positive, **counts, **shares, "asymmetric_laplace": Y}


@pytest.mark.parametrize("law", laws())
def test_one_pass_of_every_law_is_that_of_the_cpu(cupy, law, monkeypatch):
    target, checked, plain = laws()[law], [], DeviceSweeper.add_up

    def both_ways(self, parts, resp, grams, skip):
        found = plain(self, parts, resp, grams, skip)
        wanted = Sweeper(self.data).add_up(parts, resp, grams, skip)
        for name, value in vars(wanted).items():
            if value is not None:
                size = np.abs(value).max() if np.size(value) else 1.0
                assert_allclose(getattr(found, name), value, atol=1e-9 * (1.0 + size))
        checked.append(grams)
        return found

    monkeypatch.setattr(DeviceSweeper, "add_up", both_ways)
    model = MoERegressor(n_experts=2, likelihood=law, device="cuda", init="kmeans", n_init=1)
    model.set_params(solver="em", max_iter=3, random_state=0).fit(X, target)
    assert True in checked


def test_products_of_a_device_are_those_of_the_host(cupy):
    plain = Design.standardised(X, WEIGHT)
    device = Device()
    device.size, device.resident = 100, True
    there, rng = DeviceDesign(plain, device), np.random.RandomState(0)
    coef, values = rng.normal(size=(plain.shape[1], 3)), rng.normal(size=(len(X), 2))
    assert_allclose(there.dot(coef), plain.dot(coef), atol=1e-12)
    assert_allclose(there.transposed_dot(values), plain.transposed_dot(values), atol=1e-10)
    assert_allclose(there.grams(values), plain.grams(values), atol=1e-10)
    assert_allclose(there.total_gram(WEIGHT), plain.total_gram(WEIGHT), atol=1e-10)
    assert_array_equal(there.reach(), plain.reach())
    single = Design.standardised(X.astype(np.float32), WEIGHT)
    assert_array_equal(DeviceDesign(single, device).reach(), single.reach())
    centred = Design.standardised(X, WEIGHT, scaled=False)
    assert_array_equal(DeviceDesign(centred, device).reach(), np.zeros(len(X)))


# -- where arrays lie -----------------------------------------------------------------------------


def test_arrays_on_a_device_are_fitted_there_and_answered_there(cupy):
    model = MoERegressor(n_experts=2, random_state=0, max_iter=5, n_init=1)
    sent, target, weight = map(cupy.asarray, (X, Y, WEIGHT))
    there = clone(model).fit(sent, target, sample_weight=weight)
    here = clone(model).set_params(device="cuda").fit(X, Y, sample_weight=WEIGHT)
    for name in ("predict", "gate_proba", "predict_experts"):
        found = getattr(there, name)(sent)
        assert is_on_device(found)
        assert_array_equal(found.get(), getattr(here, name)(X))
        assert isinstance(getattr(there, name)(X), np.ndarray)
    assert_array_equal(there.log_likelihood(sent, target).get(), here.log_likelihood(X, Y))
    mean, std = there.predict(sent, return_std=True)
    assert is_on_device(mean) and is_on_device(std)
    assert there.route(sent)[0].get().shape == (len(X), 2)
    cpu_only = clone(model).set_params(device="cpu").fit(sent, target)
    assert is_on_device(cpu_only.predict(sent))


def test_classes_on_a_device(cupy):
    model = MoEClassifier(n_experts=2, random_state=0, max_iter=5, n_init=1)
    sent = cupy.asarray(X)
    there = clone(model).fit(sent, LABELS)
    proba = there.predict_proba(sent)
    assert is_on_device(proba)
    assert_array_equal(there.predict(sent).get(), proba.get().argmax(axis=1))
    named = clone(model).fit(sent, np.array(["low", "middle", "high"])[LABELS])
    assert isinstance(named.predict(sent), np.ndarray)  # words have no place on a device


def test_rows_that_do_not_fit_are_sent_in_blocks(cupy, monkeypatch):
    data = make_data()
    device = Device()
    ops = get_ops("cuda")
    monkeypatch.setattr(ops, "_STACKED_NUMBERS", 2**10)
    monkeypatch.setattr(skmoe._device_memory, "_LEAST_ROWS", 16)
    monkeypatch.setattr(fake_cupy._Device, "free", 70_000)
    placed = on_device(data, device, 3)
    assert placed.device.resident
    assert 16 <= device.size < len(X)
    monkeypatch.setattr(fake_cupy._Device, "free", 45_000)
    device = Device()
    on_device(data, device, 3)
    assert not device.resident
    assert 16 <= device.size < len(X)
    monkeypatch.setattr(fake_cupy._Device, "free", 10_000)
    with pytest.raises(MemoryError, match=r"MiB of GPU memory at least.*use device='cpu'"):
        on_device(data, Device(), 3)


def test_large_arrays_are_sent_in_pieces(cupy, monkeypatch):
    monkeypatch.setattr(skmoe._device_memory, "_PIECE", 1000)
    sent, plain = [], cupy.asarray
    monkeypatch.setattr(cupy, "asarray", lambda array: sent.append(array.nbytes) or plain(array))
    for array in (X, np.asfortranarray(X), Y, X[:3], X.astype(np.float32)):
        sent.clear()
        found = Device().send(array)
        assert found.flags.c_contiguous
        assert found.dtype == array.dtype
        assert_array_equal(found.get(), array)
        assert max(sent) <= 1000 + X.itemsize * X.shape[1]
        assert (len(sent) == 1) == (array.nbytes <= 1000)


def test_memory_that_the_pool_keeps_counts_as_free(cupy, monkeypatch):
    pool = cupy.get_default_memory_pool()
    monkeypatch.setattr(fake_cupy._Device, "free", 10_000)
    assert Device()._free() == 10_000
    monkeypatch.setattr(pool, "free_bytes", lambda: 5_000)
    assert Device()._free() == 15_000
    monkeypatch.setattr(pool, "get_limit", lambda: 12_000)
    monkeypatch.setattr(pool, "used_bytes", lambda: 4_000)
    assert Device()._free() == 8_000


def test_kernels_take_arrays_in_c_order_only(cupy):
    logits = cupy.asarray(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"log_softmax_rows.*\(3, 4\) is not in C order"):
        get_ops("cuda").log_softmax(logits.T, cupy.empty((3, 4)))


def make_data():
    from skmoe._fit import FitData

    view = Design.standardised(X, WEIGHT)
    return FitData(view, view, Y[:, None], WEIGHT, y_scale=np.ones(1), base_variance=np.ones(1))


class HostLaw(StudentT):
    """A law whose density takes arrays of the host only."""

    on_device = False


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"experts": AdditiveExpert(DecisionTreeRegressor())}, "experts=AdditiveExpert"),
        ({"gate": DecisionTreeClassifier()}, "gate=DecisionTreeClassifier"),
        ({"likelihood": HostLaw()}, "likelihood=HostLaw"),
        ({"likelihood": [HostLaw(), "laplace"]}, "likelihood=Mixed"),
        ({"solver": EM(e_step="hard")}, "e_step='hard'"),
        ({"routing": "token", "top_k": 1}, "routing='token'"),
        ({"missing_outputs": "mask"}, "missing_outputs='mask'"),
    ],
)
def test_what_has_no_passes_on_a_device_is_refused(changes, refused):
    model = MoERegressor(n_experts=2, device="cuda").set_params(**changes)
    with pytest.raises(ValueError, match=f"device='cuda' does not go with {refused}.*'cpu'"):
        model.fit(X, np.abs(Y))


def test_sparse_rows_are_refused():
    with pytest.raises(ValueError, match="does not go with a sparse X"):
        MoERegressor(device="cuda").fit(sp.csr_matrix(X), Y)


def test_a_missing_cupy_names_its_cure(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    monkeypatch.delitem(__import__("sys").modules, "skmoe._ops.gpu", raising=False)
    with pytest.raises(ImportError, match=r"needs CuPy.*pip install skmoe\[gpu\]"):
        MoERegressor(device="cuda").fit(X, Y)


def test_a_missing_gpu_names_its_cure(cupy):
    cupy.cuda.is_available = lambda: False
    with pytest.raises(RuntimeError, match=r"CuPy finds no GPU.*nvidia-smi.*device='cpu'"):
        MoERegressor(device="cuda").fit(X, Y)


# -- a stand-in that is as strict as CuPy ----------------------------------------------------------


def test_the_stand_in_refuses_what_cupy_refuses(cupy):
    sent = cupy.asarray(X)
    for wrong in (lambda: sent + X, lambda: np.asarray(sent), lambda: np.linalg.norm(sent)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(TypeError):
        cupy.matmul(sent, X.T)
    assert_array_equal(np.exp(sent).get(), np.exp(X))


# -- a device, where there is one ------------------------------------------------------------------


@pytest.fixture
def real_cupy():
    """CuPy with a GPU."""
    module = require("cupy")
    if not module.cuda.is_available():
        pytest.skip("needs a GPU")
    return module


def test_the_names_of_the_stand_in_are_those_of_cupy():
    module = require("cupy")
    assert [name for name in fake_cupy.FUNCTIONS if not hasattr(module, name)] == []


@pytest.mark.parametrize("name", FITS)
def test_fits_on_a_device_are_those_of_the_cpu(real_cupy, name):
    model, rows, target = FITS[name]
    model = clone(model).set_params(random_state=0, n_init=1, tol=1e-9)
    if model.n_experts is None:
        model.set_params(n_experts=3, init="kmeans")
    here = clone(model).fit(rows, target, sample_weight=WEIGHT)
    there = clone(model).set_params(device="cuda").fit(rows, target, sample_weight=WEIGHT)
    assert_allclose(there.objective_, here.objective_, atol=1e-4 if name == "single" else 1e-8)
    tolerance = 1e-2 if name == "single" else 1e-5
    assert_allclose(there.predict_experts(X), here.predict_experts(X), atol=tolerance)


@pytest.mark.parametrize("law", laws())
def test_laws_on_a_device_are_those_of_the_cpu(real_cupy, law):
    model = MoERegressor(n_experts=2, likelihood=law, init="kmeans", n_init=1, max_iter=5)
    model.set_params(solver="em", random_state=0)
    here = clone(model).fit(X, laws()[law])
    there = clone(model).set_params(device="cuda").fit(X, laws()[law])
    assert_allclose(there.history_["objective"], here.history_["objective"], rtol=1e-9)


def test_arrays_on_a_real_device(real_cupy):
    sent = real_cupy.asarray(X)
    model = MoERegressor(n_experts=2, random_state=0).fit(sent, real_cupy.asarray(Y))
    assert isinstance(model.predict(sent), real_cupy.ndarray)
    assert isinstance(model.predict(X), np.ndarray)
