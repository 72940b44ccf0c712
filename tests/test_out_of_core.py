"""Fits by blocks of rows are those of rows in memory."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from conftest import require
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Ridge

from skmoe import MoEClassifier, MoERegressor
from skmoe._blockwise import prepare
from skmoe._em import fit_em
from skmoe._fit import FitData, Parts
from skmoe._joint import fit_joint
from skmoe._monitor import Monitor
from skmoe._rows import LocalRows
from skmoe._starts import linear_parts, one_expert_variance
from skmoe._survey import Codes, Moments, Numbers, Survey
from skmoe._units import hashed, weighted_moments
from skmoe.blocks import ArrayBlocks, Blocks, ParquetBlocks, StreamBlocks, as_blocks
from skmoe.datasets import make_moe_classification, make_moe_regression
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Categorical, Gaussian
from skmoe.likelihoods.linked import spread_of
from skmoe.solvers import EM, Gradient, Minibatch

# Many rows: kernels as plain Python would take minutes.
pytestmark = pytest.mark.jit_only

N_ROWS = 6000
X, Y = make_moe_regression(N_ROWS, 5, n_experts=3, random_state=0)
XC, LABELS = make_moe_classification(N_ROWS, 5, n_experts=3, n_classes=3, random_state=0)
WEIGHT = np.random.default_rng(0).integers(0, 3, size=N_ROWS).astype(float)


def cut(*arrays, sizes=(1000, 1, 2500, 99, 2400)):
    """A source of blocks of uneven sizes."""
    ends = np.cumsum(sizes)

    def blocks():
        for start, end in zip(ends - sizes, ends):
            yield tuple(part[start:end] for part in arrays)

    return blocks


def on_disk(folder, **arrays):
    """Memory-mapped copies of arrays."""
    out = []
    for name, values in arrays.items():
        path = folder / f"{name}.npy"
        np.save(path, values)
        out.append(np.load(path, mmap_mode="r"))
    return tuple(out)


def in_memory(X, y, weight, n_classes=None, gate=None, linear=None):
    """What `fit` would make of rows in memory."""
    gate, linear = gate or SoftmaxGate(), linear or LinearExpert()
    gate_X = gate.view(X, weight)
    expert_X = gate_X
    if gate.standardize != linear.standardize:
        expert_X = linear.collection(1).view(X, weight)
    data = FitData(gate_X, expert_X, y, weight, n_classes=n_classes)
    if n_classes is None:
        data = replace(data, y_scale=spread_of(y, weight))
        data = replace(data, base_variance=one_expert_variance(data))
    return data


def by_blocks(X, y, weight, n_classes=None, gate=None, linear=None, n_bytes=10_000):
    """The same by blocks, and the sample."""
    gate, linear = gate or SoftmaxGate(), linear or LinearExpert()
    change = Numbers() if n_classes is None else Codes(np.arange(n_classes))
    rows = LocalRows(ArrayBlocks(X, y, weight), n_bytes).mapped(change)
    return prepare(rows, rows.sum(Survey(500, 0)), gate, linear, n_classes, 1)


def started(sample, gate=None, linear=None, n_experts=3):
    """Parts after two iterations on a sample."""
    likelihood = Gaussian() if sample.n_classes is None else Categorical()
    parts = linear_parts(
        sample, linear or LinearExpert(), gate or SoftmaxGate(), likelihood, n_experts
    )
    logits = np.random.default_rng(0).normal(size=(len(sample.weight), n_experts))
    resp = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = fit_em(sample, parts, Monitor(0.0, 2), resp)
    return Parts(found.gate, found.experts, found.likelihood)


def identified(result):
    """Parameters without what a softmax leaves open: the mean over experts or classes."""
    gate, scores = result.gate.block_coef(), result.experts.coef
    if result.likelihood.dispersion is None:
        scores = scores - scores.mean(axis=2, keepdims=True)
    gate = gate - gate.mean(axis=1, keepdims=True)
    return np.concatenate([gate.ravel(), scores.ravel(), result.likelihood.flat()])


def compare(one, other, tolerance=1e-10):
    """Two results after the same number of passes have the same numbers."""
    first, second = identified(one), identified(other)
    assert_allclose(second, first, rtol=tolerance, atol=tolerance)
    assert other.history["passes"] == one.history["passes"]
    assert_allclose(other.history["objective"], one.history["objective"], atol=tolerance)
    assert_allclose(other.history["load"], one.history["load"], atol=tolerance)


# -- the same numbers after the same passes -----------------------------------------------


@pytest.mark.parametrize("accelerate", [False, True])
def test_em_has_the_numbers_of_rows_in_memory(accelerate):
    weight = np.ones(N_ROWS)
    whole, (data, sample) = in_memory(X, Y[:, None], weight), by_blocks(X, Y, None)
    parts = started(sample)
    results = [
        fit_em(some, parts, Monitor(0.0, 12), None, accelerate=accelerate) for some in (whole, data)
    ]
    compare(*results)
    assert results[0].history["objective"][-1] > results[0].history["objective"][0] + 1e-3


@pytest.mark.parametrize("n_classes", [None, 3])
def test_gradients_have_the_numbers_of_rows_in_memory(n_classes):
    rows, y = (X, Y[:, None]) if n_classes is None else (XC, LABELS)
    whole = in_memory(rows, y, np.ones(N_ROWS), n_classes)
    data, sample = by_blocks(rows, y, None, n_classes)
    parts = started(sample)
    compare(*[fit_joint(some, parts, Monitor(0.0, 15), None) for some in (whole, data)])


def test_weights_and_units_of_their_own_change_nothing():
    gate, linear = SoftmaxGate(alpha=0.01), LinearExpert(alpha=3.0, standardize=False)
    kept = WEIGHT > 0
    whole = in_memory(X[kept], Y[kept, None], WEIGHT[kept], None, gate, linear)
    data, sample = by_blocks(X, Y, WEIGHT, None, gate, linear)
    parts = started(sample, gate, linear)
    compare(*[fit_em(some, parts, Monitor(0.0, 8), None) for some in (whole, data)])


def test_several_outputs_have_the_numbers_of_rows_in_memory():
    y = np.column_stack([Y, 2.0 * Y + X[:, 0], np.full(N_ROWS, 7.0)])
    whole, (data, sample) = in_memory(X, y, np.ones(N_ROWS)), by_blocks(X, y, None)
    parts = started(sample)
    compare(*[fit_joint(some, parts, Monitor(0.0, 10), None) for some in (whole, data)])


def test_units_are_those_of_rows_in_memory():
    shifted = X * 1e-3 + 1e5
    whole = in_memory(shifted, Y[:, None], WEIGHT + 0.5)
    data, _ = by_blocks(shifted, Y, WEIGHT + 0.5)
    assert_allclose(data.X.center, whole.X.center, rtol=1e-13)
    assert_allclose(data.X.scale, whole.X.scale, rtol=1e-9)
    assert_allclose(data.y_scale, whole.y_scale, rtol=1e-12)
    assert_allclose(data.base_variance, whole.base_variance, rtol=1e-6)
    data, _ = by_blocks(X, Y, WEIGHT + 0.5)
    whole = in_memory(X, Y[:, None], WEIGHT + 0.5)
    assert_allclose(data.base_variance, whole.base_variance, rtol=1e-12)


def test_noise_of_an_exact_line_is_that_of_rows_in_memory():
    y = X @ np.arange(5.0) + 1e-5 * Y
    whole, (data, _) = in_memory(X, y[:, None], np.ones(N_ROWS)), by_blocks(X, y, None)
    assert_allclose(data.base_variance, whole.base_variance, rtol=1e-9)


# -- sources --------------------------------------------------------------------------------


def test_every_source_gives_the_same_fit(tmp_path):
    settings = {"n_experts": 3, "max_iter": 40, "random_state": 0}
    sources = {
        "memmap": on_disk(tmp_path, X=X, y=Y),
        "arrays": ArrayBlocks(X, Y),
        "function": cut(X, Y),
        "iterable": list(cut(X, Y)()),
        "frames": StreamBlocks(cut(pd.DataFrame(X, columns=list("abcde")), pd.Series(Y))),
    }
    fits = {name: MoERegressor(**settings).fit_blocks(source) for name, source in sources.items()}
    first = fits["memmap"]
    assert first.n_features_in_ == 5
    frame = pd.DataFrame(X, columns=list("abcde"))
    for name, model in fits.items():
        found = model.predict(frame if name == "frames" else X)
        assert_allclose(found, first.predict(X), atol=1e-8 * Y.std())
        assert model.objective_ == pytest.approx(first.objective_, abs=1e-11)
    assert fits["frames"].feature_names_in_.tolist() == list("abcde")
    assert not hasattr(first, "feature_names_in_")


def test_a_fit_by_blocks_ends_where_one_in_memory_does():
    settings = {"n_experts": 3, "tol": 1e-9, "max_iter": 500, "random_state": 0}
    model = MoERegressor(**settings).fit_blocks((X, Y, WEIGHT))
    other = MoERegressor(**settings).fit(X, Y, WEIGHT)
    assert model.objective_ == pytest.approx(other.objective_, abs=1e-7)
    assert_allclose(model.predict(X), other.predict(X), atol=1e-3 * Y.std())
    assert_allclose(np.sort(model.load_), np.sort(other.load_), atol=1e-3)
    assert model.n_parameters_ == other.n_parameters_
    assert model.converged_ and model.solver_.get_params() == other.solver_.get_params()


@pytest.mark.parametrize("class_weight", [None, "balanced", {"a": 2.0, "b": 1.0, "c": 0.5}])
def test_classes_end_where_those_in_memory_do(class_weight):
    labels = np.array(list("abc"))[LABELS]
    settings = {"n_experts": 2, "class_weight": class_weight, "tol": 1e-9, "max_iter": 500}
    model = MoEClassifier(**settings).fit_blocks((XC, labels))
    other = MoEClassifier(**settings).fit(XC, labels)
    assert model.objective_ == pytest.approx(other.objective_, abs=1e-7)
    assert_array_equal(model.classes_, other.classes_)
    assert_allclose(model.predict_proba(XC), other.predict_proba(XC), atol=2e-3)


def test_threads_and_single_precision():
    settings = {"n_experts": 3, "max_iter": 30}
    one = MoERegressor(**settings).fit_blocks((X, Y))
    two = MoERegressor(**settings, n_jobs=2).fit_blocks((X, Y))
    assert_array_equal(one.gate_.coef_, two.gate_.coef_)
    single = MoERegressor(**settings).fit_blocks((X.astype(np.float32), Y))
    assert_allclose(single.predict(X), one.predict(X), atol=1e-2 * Y.std())


def test_warm_start_goes_on_from_the_last_fit():
    model = MoERegressor(n_experts=3, warm_start=True, random_state=0).fit_blocks((X, Y))
    again = model.fit_blocks((X, Y))
    assert again.n_iter_ <= 12 and again.converged_
    model.fit(X, Y)
    assert model.n_iter_ <= 12


def interrupted(passes):
    """Rows that raise Ctrl-C after so many passes."""
    passed = []

    def blocks():
        passed.append(1)
        if len(passed) > passes:
            raise KeyboardInterrupt
        yield X, Y

    return blocks


def test_an_interrupted_fit_keeps_what_warm_start_asks_for():
    settings = {"n_experts": 3, "tol": 0.0, "random_state": 0}
    model = MoERegressor(**settings)
    with pytest.raises(KeyboardInterrupt, match="as it was before fit"):
        model.fit_blocks(interrupted(12))
    assert not hasattr(model, "gate_")
    model.set_params(warm_start=True)
    with pytest.raises(KeyboardInterrupt, match="kept as the fit"):
        model.fit_blocks(interrupted(12))
    assert not model.converged_ and 2 < model.n_iter_ < 10
    assert model.objective_ == max(model.history_["objective"])
    before = model.objective_
    with pytest.warns(ConvergenceWarning):
        model.set_params(max_iter=5).fit_blocks((X, Y))
    assert model.history_["objective"][0] == pytest.approx(before, abs=1e-9)


def test_the_sample_does_not_depend_on_how_rows_are_cut():
    samples = []
    for n_bytes in (500, 3000, 10**6):
        rows = LocalRows(ArrayBlocks(X, Y, WEIGHT), n_bytes).mapped(Numbers())
        samples.append(rows.sum(Survey(700, 5)).sample)
    kept = np.flatnonzero(WEIGHT)
    for sample in samples:
        assert len(sample.weight) == 700
        assert_array_equal(sample.numbers, samples[0].numbers)
        assert_array_equal(sample.X, X[kept[sample.numbers]])
        assert_array_equal(sample.y[:, 0], Y[kept[sample.numbers]])
    keys = hashed(np.arange(len(kept)), 5)
    assert_array_equal(samples[0].numbers, np.sort(np.argsort(keys)[:700]))
    assert len(np.unique(keys)) == len(keys)
    # Every tenth of the rows has its share: the standard deviation of a count is 7.6.
    counts = np.bincount(samples[0].numbers * 10 // len(kept), minlength=10)
    assert np.abs(counts - 70).max() < 31


def test_moments_add_up():
    parts = [Moments.of(X[rows], WEIGHT[rows] + 1.0) for rows in np.array_split(np.arange(6000), 7)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    mean, variance = weighted_moments(X, WEIGHT + 1.0)
    assert_allclose(total.mean, mean, rtol=1e-12, atol=1e-14)
    assert_allclose(total.variance, variance, rtol=1e-12)


# -- what cannot be done, and bad blocks ----------------------------------------------------


REFUSED = {
    "experts": (MoERegressor(Ridge()), "experts=Ridge"),
    "l1": (MoERegressor(LinearExpert(l1_ratio=0.5)), "experts=LinearExpert"),
    "gate": (MoERegressor(gate="gaussian"), "gate='gaussian'"),
    "likelihood": (MoERegressor(likelihood="poisson"), "likelihood='poisson'"),
    "auto": (MoERegressor(n_experts="auto"), "n_experts='auto'"),
    "routing": (MoERegressor(routing="token", top_k=1), "routing='token'"),
    "columns": (MoERegressor(gate_features=[0]), "gate_features"),
    "init": (MoERegressor(init=LABELS, n_init=1), "init="),
    "outputs": (MoERegressor(gate_per_output=True), "gate_per_output|gate="),
    "minibatch": (MoERegressor(solver=Minibatch()), "solver=Minibatch"),
    "hard": (MoERegressor(solver=EM(e_step="hard")), "solver=EM"),
    "polish": (MoERegressor(solver=Gradient(polish=1)), "solver=Gradient"),
    "em": (MoEClassifier(solver="em"), "solver='em'"),
    "device": (MoERegressor(device="cuda"), "device=.cuda. does not go"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_all_rows_is_refused(name):
    model, words = REFUSED[name]
    with pytest.raises(ValueError, match=words) as caught:
        model.fit_blocks((X, Y if isinstance(model, MoERegressor) else LABELS))
    assert "blocks" in str(caught.value)
    assert not hasattr(model, "n_features_in_")


def spoiled(what):
    bad = X.copy()
    if what == "NaN":
        bad[1200, 3] = np.nan
        return cut(bad, Y)
    if what == "target":
        target = Y.copy()
        target[5000] = np.inf
        return cut(X, target)
    return {
        "once": cut(X, Y)(),
        "no target": cut(X),
        "empty": lambda: iter(()),
        "four": cut(X, Y, Y, Y),
        "lengths": [(X[:10], Y[:9])],
        "weights": cut(X, Y, -WEIGHT),
        "columns": [(X[:10], Y[:10]), (X[:10, :3], Y[:10])],
        "sparse": [(sp.csr_matrix(X), Y)],
        "words": [(pd.DataFrame({"a": ["x", "y"]}), Y[:2])],
        "path": "rows.parquet",
        "number": 3,
    }[what]


@pytest.mark.parametrize(
    "what, error, words",
    [
        ("NaN", ValueError, r"columns \[3\] in rows 1001"),
        ("target", ValueError, "y contains NaN or infinity in rows 3600"),
        ("once", ValueError, "only once"),
        ("no target", ValueError, "no target"),
        ("empty", ValueError, "no rows"),
        ("four", ValueError, "a tuple of 4"),
        ("lengths", ValueError, "10 rows of X"),
        ("weights", ValueError, "sample_weight of block 0"),
        ("columns", ValueError, "block 1 has 3 columns"),
        ("sparse", TypeError, "block 0 is sparse"),
        ("words", ValueError, r"columns \['a'\]"),
        ("path", TypeError, "ParquetBlocks"),
        ("number", TypeError, "has no rows"),
    ],
)
def test_bad_blocks_are_told(what, error, words):
    model = MoERegressor(n_experts=2).fit_blocks((X[:300], Y[:300]))
    before = dict(vars(model))
    with pytest.raises(error, match=words):
        model.fit_blocks(spoiled(what))
    assert vars(model) == before


def test_rows_that_change_between_passes_are_told():
    sizes = iter(range(6000, 0, -10))

    def blocks():
        size = next(sizes)
        yield X[:size], Y[:size]

    with pytest.raises(ValueError, match="every pass must give the same rows"):
        MoERegressor(n_experts=2).fit_blocks(blocks)


@pytest.mark.parametrize("limit", [0, -1, "much", "1TB", None, True, 2.5, "0MB"])
def test_limits_that_are_none_are_told(limit):
    with pytest.raises(ValueError, match="memory_limit"):
        MoERegressor(n_experts=2).fit_blocks((X, Y), memory_limit=limit)


def test_a_limit_that_is_too_low_names_the_least():
    with pytest.raises(ValueError, match="too little") as caught:
        MoERegressor(n_experts=2).fit_blocks((X, Y), memory_limit=100_000)
    least = int(str(caught.value).split("they take ")[1].split()[0])
    model = MoERegressor(n_experts=2).fit_blocks((X, Y), memory_limit=least)
    assert model.converged_


def test_a_block_that_is_too_large_is_told():
    big = np.zeros((700_000, 5))
    with pytest.raises(ValueError, match="smaller blocks"):
        MoERegressor(n_experts=2).fit_blocks([(X, Y), (big, big[:, 0])], memory_limit="8MB")


def test_blocks_without_read_are_told():
    with pytest.raises(NotImplementedError, match="Unfinished has no method 'read'"):
        MoERegressor().fit_blocks(type("Unfinished", (Blocks,), {})())
    assert as_blocks(X).X is X


# -- Parquet ----------------------------------------------------------------------------------


def write_parquet(folder, frame, n_files=3):
    """A folder of files, some below others, with several row groups each."""
    require("pyarrow")
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), n_files)):
        below = folder / f"day={number}"
        below.mkdir(parents=True)
        frame.iloc[rows].to_parquet(below / "part.parquet", index=False, row_group_size=700)
    return folder


def table(X=X):
    return pd.DataFrame(X, columns=list("abcde")).assign(
        y=Y, w=WEIGHT, label=np.array(list("uvw"))[LABELS]
    )


def test_parquet_gives_the_same_fit(tmp_path):
    folder = write_parquet(tmp_path / "rows", table())
    rows = ParquetBlocks(folder, "y", features=list("abcde"), sample_weight="w")
    settings = {"n_experts": 3, "max_iter": 40, "random_state": 0}
    model = MoERegressor(**settings).fit_blocks(rows, memory_limit="60MB")
    other = MoERegressor(**settings).fit_blocks((X, Y, WEIGHT))
    assert model.objective_ == pytest.approx(other.objective_, abs=1e-11)
    assert model.feature_names_in_.tolist() == list("abcde")
    found = np.concatenate(list(model.predict_blocks(rows)))
    assert_allclose(found, other.predict(X), atol=1e-8 * Y.std())


def test_parquet_of_classes_and_of_several_targets(tmp_path):
    frame = table(XC).astype(dict.fromkeys("abcde", np.float32)).assign(z=Y**2)
    folder = write_parquet(tmp_path / "rows", frame)
    rows = ParquetBlocks(folder, "label", features=list("abcde"))
    model = MoEClassifier(n_experts=2, random_state=0).fit_blocks(rows)
    assert model.classes_.tolist() == list("uvw")
    X32 = frame[list("abcde")]
    assert model.score(X32, frame["label"]) > 0.6
    rows = ParquetBlocks(folder, ["y", "z"], features=list("abcde"))
    assert MoERegressor(n_experts=2, max_iter=30).fit_blocks(rows).predict(X32).shape == (6000, 2)


def test_bad_parquet_is_told(tmp_path):
    folder = write_parquet(tmp_path / "rows", table().assign(y=np.where(Y > 9, np.nan, Y)))
    with pytest.raises(ValueError, match=r"columns \['label'\] of .*day=0"):
        MoERegressor().fit_blocks(ParquetBlocks(folder, "y"))
    with pytest.raises(ValueError, match=r"no columns \['z'\]"):
        ParquetBlocks(folder, "z")
    with pytest.raises(ValueError, match="no Parquet file"):
        ParquetBlocks(tmp_path / "nothing", "y")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no Parquet file"):
        ParquetBlocks(tmp_path / "empty", "y")


def test_parquet_without_pyarrow_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install skmoe\[parquet\]"):
        ParquetBlocks(tmp_path, "y")


# -- prediction and steps -----------------------------------------------------------------------


def test_predictions_by_blocks_are_those_of_rows_in_memory(tmp_path):
    model = MoERegressor(n_experts=3, max_iter=30).fit_blocks((X, Y))
    parts = model.predict_blocks(cut(X, Y))
    assert [len(part) for part in parts] == [1000, 1, 2500, 99, 2400]
    # Rounding depends on how many rows are multiplied at a time.
    close = {"rtol": 1e-12, "atol": 1e-12}
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", float, (N_ROWS,))
    assert model.predict_blocks(X, out=out, memory_limit="100KB") is out
    assert_allclose(out, model.predict(X), **close)
    for method in ("gate_proba", "predict_experts"):
        found = np.concatenate(list(model.predict_blocks(X, method, memory_limit="100KB")))
        assert_allclose(found, getattr(model, method)(X), **close)
    for method in ("log_likelihood", "responsibilities"):
        found = np.concatenate(list(model.predict_blocks(cut(X, Y), method)))
        assert_allclose(found, getattr(model, method)(X, Y), **close)


def test_predictions_of_classes_by_blocks():
    labels = np.array(list("abc"))[LABELS]
    model = MoEClassifier(n_experts=2, max_iter=30).fit_blocks((XC, labels))
    assert_array_equal(np.concatenate(list(model.predict_blocks(cut(XC)))), model.predict(XC))
    proba = np.concatenate(list(model.predict_blocks(cut(XC), "predict_proba")))
    assert_allclose(proba, model.predict_proba(XC), rtol=1e-12)


def test_bad_predictions_by_blocks_are_told():
    model = MoERegressor(n_experts=2).fit_blocks((X[:300], Y[:300]))
    for method in ("predict_proba", "score", "fit"):
        with pytest.raises(ValueError, match=f"method='{method}' is unknown"):
            model.predict_blocks(X, method)
    for length in (10, 7000):
        with pytest.raises(ValueError, match=f"out has {length} rows"):
            model.predict_blocks(X, out=np.empty(length))
    with pytest.raises(NotFittedError):
        MoERegressor().predict_blocks(X)


def test_steps_by_blocks_are_calls_of_partial_fit():
    model = MoERegressor(n_experts=3, random_state=0).partial_fit_blocks(cut(X, Y)())
    other = MoERegressor(n_experts=3, random_state=0)
    for part, target in cut(X, Y)():
        other.partial_fit(part, target)
    assert_array_equal(model.predict(X), other.predict(X))
    before = model.score(X, Y)
    model.fit_blocks((X, Y)).partial_fit_blocks((X, Y), memory_limit="1MB")
    assert model.score(X, Y) > before - 0.01
    labels = np.array(list("abc"))[LABELS]
    steps = MoEClassifier(n_experts=2, random_state=0)
    steps.partial_fit_blocks((XC, labels), classes=list("abc"), memory_limit="1MB")
    assert steps.score(XC, labels) > 0.6
    with pytest.raises(ValueError, match="no targets"):
        MoERegressor().partial_fit_blocks(X)


# -- memory -------------------------------------------------------------------------------------

PEAK = """
import sys, threading
import numpy as np
from skmoe import MoERegressor
from skmoe.datasets import make_moe_regression

from skmoe.blocks import ParquetBlocks

X, y = (np.load(f"{sys.argv[1]}/{name}.npy", mmap_mode="r") for name in "Xy")
rows = ParquetBlocks(f"{sys.argv[1]}/rows.parquet", "y") if sys.argv[3] == "parquet" else (X, y)
few = (X[:5000], y[:5000])
settings = {"n_experts": 4, "max_iter": 8, "tol": 0.0}

def resident():
    # Memory that is not a copy of a file.
    line = next(one for one in open("/proc/self/status") if one.startswith("RssAnon"))
    return int(line.split()[1]) * 1024

import warnings
warnings.simplefilter("ignore")
MoERegressor(**settings).fit_blocks(few)  # compiles
before = peak = resident()
done = threading.Event()

def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, resident())

watcher = threading.Thread(target=watch)
watcher.start()
model = MoERegressor(**settings).fit_blocks(rows, memory_limit=int(sys.argv[2]))
out = np.lib.format.open_memmap(f"{sys.argv[1]}/out.npy", "w+", float, y.shape)
model.predict_blocks(rows, out=out, memory_limit=int(sys.argv[2]))
done.set()
watcher.join()
print(peak - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    "kind, limit", [("memmap", 40_000_000), ("memmap", 120_000_000), ("parquet", 140_000_000)]
)
def test_memory_stays_below_the_limit(tmp_path, kind, limit):
    n_rows = 1_000_000
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float64, (n_rows, 20))
    target = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", np.float64, (n_rows,))
    for start in range(0, n_rows, 100_000):
        block = rng.normal(size=(100_000, 20))
        rows[start : start + 100_000] = block
        noise = 0.1 * rng.normal(size=100_000)
        target[start : start + 100_000] = np.abs(block[:, 0]) + block[:, 1] + noise
    rows.flush()
    target.flush()
    assert rows.nbytes > limit
    if kind == "parquet":
        require("pyarrow")
        frame = pd.DataFrame(rows, columns=[f"x{j}" for j in range(20)]).assign(y=target)
        frame.to_parquet(tmp_path / "rows.parquet", index=False)
    code = [sys.executable, "-c", PEAK, str(tmp_path), str(limit), kind]
    found = subprocess.run(code, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert 0 < int(found.stdout) < limit
