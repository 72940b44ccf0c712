"""Checkpoints: a fit that is cut off goes on to the same numbers; bad files are refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.linear_model import Ridge

import skmoe
from skmoe import MoEClassifier, MoERegressor, _checkpoint
from skmoe._checkpoint import Record, from_tree, read, to_tree, write
from skmoe.balance import BalancePenalty
from skmoe.datasets import make_moe_regression
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.solvers import EM, Gradient, Minibatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CHECKOUT = Path(skmoe.__file__).parents[1]
X, Y = make_moe_regression(n_samples=250, n_experts=3, random_state=0)
LABELS = np.digitize(Y, np.quantile(Y, [0.4, 0.7]))
COUNTS = np.round(np.exp(np.clip(Y / Y.std(), -2, 2)))
SPARSE = sp.csr_matrix(np.where(np.abs(X) > 1.0, X, 0.0))
MASKED = np.column_stack([Y, X[:, 0]])
MASKED[::7, 1] = np.nan
L1 = LinearExpert(20.0, l1_ratio=0.5)

CASES = {
    "em": (MoERegressor(solver=EM()), X, Y),
    "em, plain": (MoERegressor(solver=EM(accelerate=False)), X, Y),
    "em, annealed": (MoERegressor(solver=EM(temperature=2.0), n_init=1), X, Y),
    "em, hard": (MoERegressor(solver=EM(e_step="hard"), n_init=1), X, Y),
    "em, classes": (MoEClassifier(solver="em", n_init=1), X, LABELS),
    "em, gaussian gate": (MoERegressor(gate="gaussian"), X, Y),
    "em, neural gate": (MoERegressor(gate="mlp", solver="em", n_init=1), X, Y),
    "em, balanced": (MoERegressor(load_balance=BalancePenalty(0.1), n_init=1), X, Y),
    "gradient": (MoERegressor(), X, Y),
    "gradient, race": (MoERegressor(n_init=5), X, Y),
    "gradient, grams": (MoERegressor(gate_features=[0, 1]), X, Y),
    "gradient, classes": (MoEClassifier(), X, LABELS),
    "gradient, one Gram": (MoEClassifier(gate_features=[0, 1]), X, LABELS),
    "gradient, counts": (MoERegressor(likelihood="poisson", n_init=1), X, COUNTS),
    "gradient, noise": (MoERegressor(likelihood="gaussian_with_noise"), X, Y),
    "gradient, L1": (MoERegressor(L1, solver="gradient"), X, Y),
    "gradient, neural": (MoERegressor(MLPExpert((4,)), n_init=1), X, Y),
    "gradient, adopted": (MoERegressor(Ridge(), solver="gradient"), X, Y),
    "gradient, sparse": (MoERegressor(), SPARSE, Y),
    "gradient, masked": (MoERegressor(missing_outputs="mask", n_init=1), X, MASKED),
    "gradient, a gate each": (
        MoERegressor(gate_per_output=True, n_init=1),
        X,
        np.column_stack([Y, X[:, 0]]),
    ),
    "prediction": (MoERegressor(solver=Gradient(objective="prediction"), n_init=1), X, Y),
    "hierarchy": (MoERegressor(gate="hierarchical", n_experts=None, n_init=1), X, Y),
    "auto": (MoERegressor(n_experts="auto", max_experts=4), X, Y),
    "minibatch": (MoERegressor(solver=Minibatch(n_epochs=6, expert_dropout=0.2)), X, Y),
    "minibatch, stopped": (
        MoERegressor(solver=Minibatch(n_epochs=20, early_stopping=True, schedule="constant")),
        X,
        Y,
    ),
    "minibatch, sparse": (MoERegressor(solver=Minibatch(n_epochs=6)), SPARSE, Y),
}


QUICK = {"em", "em, gaussian gate", "gradient", "gradient, adopted", "hierarchy", "minibatch"}
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]


class Killed(BaseException):
    """Stands in for a signal."""


@pytest.fixture
def busy(monkeypatch):
    """Write as often as can be."""
    monkeypatch.setattr(_checkpoint, "_LEAST_ITER", 1)
    monkeypatch.setattr(_checkpoint, "_LEAST_SHARE", 0.0)


def cut_off(monkeypatch, after):
    """Make fits die after so many writes of their state."""
    plain, count = Record.write, iter(range(10**6))

    def write_and_die(self):
        plain(self)
        if next(count) == after:
            raise Killed

    monkeypatch.setattr(Record, "write", write_and_die)


def facts(model):
    """All that a fit has found, as plain values."""
    found = to_tree(model._parts, model._parts)
    history = {k: v for k, v in model.history_.items() if k != "seconds"}
    return found, history, model.objective_, model.n_iter_, model.converged_


def assert_same(one, other, where="fit"):
    """Equality to the last bit."""
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, err_msg=where)
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            assert_same(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{i}]")
    else:
        assert one == other or one is other, where


@pytest.mark.parametrize("name", ALL)
def test_a_fit_that_is_cut_off_goes_on_to_the_same_numbers(name, tmp_path, monkeypatch, busy):
    model, features, target = CASES[name]
    model = clone(model).set_params(random_state=0, max_iter=15, verbose=0)
    if model.n_experts is None and model.gate != "hierarchical":
        model.set_params(n_experts=3)
    plain = facts(clone(model).fit(features, target))
    path = tmp_path / "fit.npz"
    whole = Counted(monkeypatch)
    assert_same(plain, facts(clone(model).fit(features, target, checkpoint=path)))
    n_writes = whole.stop()
    assert n_writes >= 4
    for after in {n_writes // 3, (4 * n_writes) // 5}:
        path.unlink()
        with monkeypatch.context() as patch:
            cut_off(patch, after)
            with pytest.raises(Killed):
                clone(model).fit(features, target, checkpoint=path)
        resumed = Counted(monkeypatch)
        assert_same(plain, facts(clone(model).fit(features, target, checkpoint=path)))
        assert resumed.stop() < n_writes - after + 2  # what was done is not done again


class Counted:
    """Counts writes."""

    def __init__(self, monkeypatch):
        self.n, self.context = 0, monkeypatch.context()
        patch, plain = self.context.__enter__(), Record.write

        def write_and_count(record):
            self.n += 1
            plain(record)

        patch.setattr(Record, "write", write_and_count)

    def stop(self):
        self.context.__exit__(None, None, None)
        return self.n


# -- what is no checkpoint of this fit ---------------------------------------------------

MODEL = MoERegressor(n_experts=2, solver="em", n_init=1, max_iter=12, random_state=3)


@pytest.fixture
def half(tmp_path, monkeypatch, busy):
    """Path of a checkpoint of MODEL that was cut off."""
    path = tmp_path / "half.npz"
    with monkeypatch.context() as patch:
        cut_off(patch, 3)
        with pytest.raises(Killed):
            clone(MODEL).fit(X, Y, checkpoint=path)
    return path


@pytest.mark.parametrize(
    ("changes", "rows", "message"),
    [
        ({"max_iter": 13}, (X, Y), "max_iter was 12 and is 13"),
        ({"random_state": 4}, (X, Y), "random_state was 3 and is 4"),
        ({"gate": SoftmaxGate(0.1)}, (X, Y), "gate was 'softmax' and is SoftmaxGate"),
        ({"likelihood": Gaussian(floor=0.2)}, (X, Y), "likelihood__floor was absent and is 0.2"),
        ({}, (X, Y + 1.0), "y differs"),
        ({}, (X[:-1], Y[:-1]), "X differs; y differs; sample_weight differs"),
        ({}, (np.asfortranarray(X + 1e-9), Y), "X differs"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused_and_left_alone(half, changes, rows, message):
    before = half.read_bytes()
    with pytest.raises(ValueError, match=f"is of another fit: .*{message}.*left as it is"):
        clone(MODEL).set_params(**changes).fit(*rows, checkpoint=half)
    assert half.read_bytes() == before
    assert [path.name for path in half.parent.iterdir()] == [half.name]


def test_what_has_no_say_in_the_numbers_may_differ(half):
    plain = facts(clone(MODEL).fit(X, Y))
    other = clone(MODEL).set_params(n_jobs=2)
    assert_same(plain, facts(other.fit(X, Y, checkpoint=str(half))))


@pytest.mark.parametrize("size", [0, 10, 0.5, -1])
def test_a_truncated_checkpoint_is_refused_and_left_alone(half, size):
    content = half.read_bytes()
    cut = int(size * len(content)) if isinstance(size, float) else size
    half.write_bytes(content[:cut])
    with pytest.raises(ValueError, match=r"is truncated, or no checkpoint of skmoe.*left as it is"):
        clone(MODEL).fit(X, Y, checkpoint=half)
    assert half.read_bytes() == content[:cut]


def test_damaged_numbers_are_noticed(half):
    content, keys = bytearray(half.read_bytes()), read(half)["rng"]["of"][1]
    content[content.find(keys.tobytes()) + 9] ^= 1
    half.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="left as it is"):
        clone(MODEL).fit(X, Y, checkpoint=half)
    assert half.read_bytes() == bytes(content)


def test_pickles_are_not_read(half):
    np.savez(half, header=np.array([{"format": 1}], dtype=object))
    with pytest.raises(ValueError, match="no checkpoint of skmoe"):
        clone(MODEL).fit(X, Y, checkpoint=half)
    with np.load(half, allow_pickle=True) as members:
        assert members["header"][0] == {"format": 1}


@pytest.mark.parametrize(("name", "value"), [("skmoe", "0.0.1"), ("format", 99)])
def test_a_checkpoint_of_another_version_is_refused(half, name, value):
    tree = read(half)
    tree[name] = value
    write(half, tree)
    before = half.read_bytes()
    with pytest.raises(ValueError, match=f"{value}.*this is skmoe {skmoe.__version__}"):
        clone(MODEL).fit(X, Y, checkpoint=half)
    assert half.read_bytes() == before


def test_a_fit_that_is_done_is_answered_from_its_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "fit.npz"
    plain = facts(clone(MODEL).fit(X, Y, checkpoint=path))
    monkeypatch.setattr(skmoe.solvers, "fit_em", None)
    assert_same(plain, facts(clone(MODEL).fit(X, Y, checkpoint=path)))


def test_random_states_that_are_not_numbers_go_on_where_they_began(tmp_path, monkeypatch, busy):
    for number, state in enumerate([None, np.random.RandomState(5)]):
        path = tmp_path / f"{number}.npz"
        model = clone(MODEL).set_params(random_state=state, init="random", n_init=2)
        with monkeypatch.context() as patch:
            cut_off(patch, 4)
            with pytest.raises(Killed):
                model.fit(X, Y, checkpoint=path)
        begun = np.random.RandomState()
        begun.set_state(from_tree(read(path)["rng"]))
        resumed = facts(model.fit(X, Y, checkpoint=path))
        assert_same(resumed, facts(clone(model).set_params(random_state=begun).fit(X, Y)))


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"experts": Ridge()}, "experts=Ridge"),
        ({"solver": EM(e_step="stochastic")}, "e_step='stochastic'"),
        ({"solver": EM(revive=True)}, "revive=True"),
        ({"solver": Gradient(polish=2)}, "polish=2"),
        ({"solver": "stages"}, "solver=Stages"),
        ({"routing": "token", "top_k": 1}, "routing='token'"),
        ({"warm_start": True}, "warm_start=True"),
    ],
)
def test_what_cannot_go_on_is_refused_before_any_work(changes, refused, tmp_path):
    model = clone(MODEL).set_params(**changes)
    with pytest.raises(ValueError, match=f"does not go with {refused}.*leave checkpoint out"):
        model.fit(X, Y, checkpoint=tmp_path / "fit.npz")
    assert not list(tmp_path.iterdir())


def test_paths_are_checked_first(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder; make it first"):
        clone(MODEL).fit(X, Y, checkpoint=tmp_path / "none" / "fit.npz")
    with pytest.raises(TypeError, match="must be the path of a file"):
        clone(MODEL).fit(X, Y, checkpoint=3)


# -- trees --------------------------------------------------------------------------------


class Part:
    """A class that is not skmoe's."""

    def __init__(self, **held):
        vars(self).update(held)


def test_trees_hold_plain_values(tmp_path):
    secret = object()
    part = Part(a=np.arange(3.0), b=(1, 2.5, None, "x"), c={"d": [np.float32(2)]}, e=secret)
    value = {"part": part, "gate": SoftmaxGate(0.5), "columns": slice(0, 2), "inf": -np.inf}
    write(tmp_path / "tree.npz", {"format": 1, "of": to_tree(value, part)})
    assert [path.name for path in tmp_path.iterdir()] == ["tree.npz"]
    found = from_tree(read(tmp_path / "tree.npz")["of"], part)
    assert found["part"] is not part
    assert found["part"].e is secret
    assert_same(vars(found["part"]), {**vars(part)})
    assert type(found["part"].c["d"][0]) is np.float32
    assert found["gate"].alpha == 0.5
    assert found["columns"] == slice(0, 2)
    assert found["inf"] == -np.inf


def test_what_cannot_be_stored_is_named():
    with pytest.raises(_checkpoint.Unstorable, match=r"parts\.gate\[1\] is a .*\.Part"):
        to_tree({"gate": [1, Part()]}, None, "parts")


def test_only_classes_of_the_package_are_made():
    for module, name in [("os", "system"), ("skmoe._checkpoint", "Path"), ("skmoe._em", "fit_em")]:
        with pytest.raises((ValueError, AttributeError)):
            from_tree({"#": "object", "class": [module, name], "of": {}})


# -- a signal -------------------------------------------------------------------------------

SCRIPT = """
import sys, time
import numpy as np
from skmoe import MoERegressor
from skmoe.datasets import make_moe_regression
from skmoe.solvers import Minibatch

solver = Minibatch(n_epochs=40, batch_size=64) if sys.argv[1] == "minibatch" else sys.argv[1]
X, y = make_moe_regression(n_samples=12_000, n_features=12, n_experts=5, random_state=1)
model = MoERegressor(n_experts=5, solver=solver, random_state=0, max_iter=60, tol=0.0)
# Iterations last long enough to be seen from outside, on a busy machine, too.
model.set_params(callbacks=[lambda state: time.sleep(0.03)])
model.fit(X, y, checkpoint=sys.argv[2])
parts = model._parts
history = np.array(model.history_["objective"])
np.savez(sys.argv[3], gate=parts.gate.flat(), experts=parts.experts.flat(),
         noise=parts.likelihood.flat(), history=history)
"""


def run_script(solver, checkpoint, out, wait=True):
    arguments = ["-W", "ignore", "-c", SCRIPT, solver, str(checkpoint), str(out)]
    process = subprocess.Popen(
        [sys.executable, *arguments], env={**os.environ, "PYTHONPATH": str(CHECKOUT)}
    )
    if wait:
        assert process.wait(timeout=300) == 0
    return process


def stands_in_the_middle(path):
    """Whether a training has written where it stands."""
    if not path.exists():
        return False
    with np.load(path) as members:
        header = json.loads(members["header"].tobytes())
    return header["present"] is not None


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
@pytest.mark.parametrize("solver", ["em", "gradient", "minibatch"])
def test_a_fit_that_was_killed_goes_on_to_the_same_numbers(solver, tmp_path):
    run_script(solver, tmp_path / "whole.npz", tmp_path / "plain.npz")
    checkpoint, out = tmp_path / "killed.npz", tmp_path / "resumed.npz"
    n_killed = 0
    for _ in range(2):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = run_script(solver, checkpoint, out, wait=False)
        while process.poll() is None:
            fresh = checkpoint.exists() and checkpoint.stat().st_mtime_ns > before
            if fresh and stands_in_the_middle(checkpoint):
                break
            time.sleep(0.005)
        process.kill()
        n_killed += process.wait() == -signal.SIGKILL
    assert n_killed > 0
    assert not out.exists()
    run_script(solver, checkpoint, out)
    with np.load(tmp_path / "plain.npz") as plain, np.load(out) as resumed:
        for name in plain.files:
            np.testing.assert_array_equal(plain[name], resumed[name], err_msg=name)
