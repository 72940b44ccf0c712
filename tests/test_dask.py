"""Fits on dask collections are those of rows in memory, and leave nothing behind."""

import pickle
import subprocess
import sys
import time

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import require
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import skmoe
from skmoe.datasets import make_moe_classification, make_moe_regression

# Many rows, and workers that compile for themselves.
pytestmark = [
    pytest.mark.jit_only,
    # Of dask's own clean-up.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

N_ROWS = 2000
X, Y = make_moe_regression(N_ROWS, 5, n_experts=3, random_state=0)
XC, LABELS = make_moe_classification(N_ROWS, 5, n_experts=3, n_classes=3, random_state=0)
LABELS = np.array(["no", "perhaps", "yes"])[LABELS]
WEIGHT = np.random.default_rng(0).integers(0, 3, size=N_ROWS).astype(float)
SETTINGS = {"n_experts": 3, "max_iter": 12, "n_init": 1, "random_state": 0}


@pytest.fixture(scope="module")
def client():
    """A cluster in this process."""
    distributed = require("distributed")
    require("dask.dataframe")
    with distributed.Client(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as client:
        yield client


@pytest.fixture
def on_dask(client):
    """The estimators on dask; nothing is left on the cluster at the end of a test."""
    import skmoe.dask

    yield skmoe.dask
    for _ in range(100):
        left = client.run_on_scheduler(tasks_of)
        if not left:
            break
        time.sleep(0.05)
    assert left == []


def tasks_of(dask_scheduler):
    return sorted(map(str, dask_scheduler.tasks))


def as_arrays(*arrays, rows=350):
    import dask.array as da

    return [
        da.from_array(part, chunks=(rows, 3) if part.ndim == 2 else rows + 50 * (part is Y))
        for part in arrays
    ]


def as_frames(X, y, npartitions=4):
    import dask.dataframe as dd

    frame = dd.from_pandas(
        pd.DataFrame(X, columns=list("abcde")).assign(y=y, w=WEIGHT), npartitions=npartitions
    )
    return frame[list("abcde")], frame["y"], frame["w"]


def test_arrays_give_the_fit_in_memory(on_dask):
    dX, dy, dw = as_arrays(X, Y, WEIGHT)
    model = on_dask.MoERegressor(**SETTINGS).fit(dX, dy, dw)
    other = skmoe.MoERegressor(**SETTINGS).fit_blocks((X, Y, WEIGHT))
    assert model.history_["passes"] == other.history_["passes"]
    assert_allclose(model.history_["objective"], other.history_["objective"], atol=1e-11)
    assert_allclose(model.gate_.coef_, other.gate_.coef_, atol=1e-8)
    lazy = model.predict(dX)
    assert not isinstance(lazy, np.ndarray) and lazy.shape == (N_ROWS,)
    assert_allclose(lazy.compute(), other.predict(X), atol=1e-8 * Y.std())
    assert_allclose(model.gate_proba(dX).compute(), other.gate_proba(X), atol=1e-8)
    lazy = model.log_likelihood(dX, dy).compute()
    assert_allclose(lazy, other.log_likelihood(X, Y), atol=1e-7)
    assert model.score(dX, dy) == pytest.approx(other.score(X, Y), abs=1e-9)
    assert model.score(dX, dy, dw) == pytest.approx(other.score(X, Y, WEIGHT), abs=1e-9)


def test_frames_of_classes_give_the_fit_in_memory(on_dask):
    dX, dy, _ = as_frames(XC, LABELS)
    model = on_dask.MoEClassifier(**SETTINGS, class_weight="balanced").fit(dX, dy)
    other = skmoe.MoEClassifier(**SETTINGS, class_weight="balanced").fit_blocks((XC, LABELS))
    assert_array_equal(model.classes_, other.classes_)
    assert model.feature_names_in_.tolist() == list("abcde")
    assert_allclose(model.predict_proba(dX).compute(), other.predict_proba(XC), atol=1e-8)
    assert_array_equal(model.predict(dX).compute(), other.predict(XC))
    assert model.score(dX, dy) == other.score(XC, LABELS)
    loglik = model.log_likelihood(dX, dy).compute()
    assert_allclose(loglik, other.log_likelihood(XC, LABELS), atol=1e-8)


def test_empty_partitions_and_several_outputs(on_dask):
    import dask.dataframe as dd

    frame = pd.DataFrame(X, columns=list("abcde")).assign(y=Y, z=Y**2)
    lazy = dd.from_pandas(frame, npartitions=5)
    lazy = dd.concat([lazy[lazy.a > 1e9], lazy])
    model = on_dask.MoERegressor(**SETTINGS).fit(lazy[list("abcde")], lazy[["y", "z"]])
    other = skmoe.MoERegressor(**SETTINGS).fit_blocks((X, np.column_stack([Y, Y**2])))
    found = model.predict(lazy[list("abcde")]).compute()
    assert found.shape == (N_ROWS, 2)
    assert_allclose(found, other.predict(X), atol=1e-7 * (Y**2).std())


def test_the_model_knows_nothing_of_the_cluster(on_dask):
    dX, dy, _ = as_arrays(X, Y, WEIGHT)
    model = on_dask.MoERegressor(**SETTINGS).fit(dX, dy)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict(X), model.predict(X))
    assert clone(model).get_params() == model.get_params()
    before = model.objective_
    model.set_params(warm_start=True).fit(dX, dy)
    assert model.history_["objective"][0] == pytest.approx(before, abs=1e-9)


def test_rows_in_memory_are_fitted_in_memory(on_dask):
    model = on_dask.MoERegressor(**SETTINGS).fit(X, Y)
    assert_array_equal(model.predict(X), skmoe.MoERegressor(**SETTINGS).fit(X, Y).predict(X))
    assert isinstance(model.predict(X, quantiles=0.5), np.ndarray)
    labels = on_dask.MoEClassifier(**SETTINGS).fit(XC, LABELS)
    assert labels.score(XC, LABELS) > 0.6
    assert labels.gate_proba(XC).shape == (N_ROWS, 3)


@pytest.mark.parametrize("cross_fit", [None, 2])
def test_other_experts_are_fitted_on_workers(on_dask, client, cross_fit):
    tree = DecisionTreeRegressor(max_depth=3, random_state=0)
    settings = {"max_iter": 3, "n_experts": 2, "cross_fit": cross_fit, "tol": 0.0}
    settings["random_state"] = 0
    dX, dy, _ = as_arrays(X, Y, WEIGHT)
    with pytest.warns(UserWarning, match="did not converge"):
        model = on_dask.MoERegressor(tree, **settings).fit(dX, dy)
    with pytest.warns(UserWarning, match="did not converge"):
        other = skmoe.MoERegressor(tree, **settings).fit(X, Y)
    assert_array_equal(model.predict(X), other.predict(X))


def test_other_experts_of_frames_with_words(on_dask):
    import dask.dataframe as dd

    frame = pd.DataFrame(XC, columns=list("abcde"))
    frame["word"] = np.where(XC[:, 0] > 0, "up", "down")
    tree = make_pipeline(
        ColumnTransformer([("word", OneHotEncoder(), ["word"])], remainder="passthrough"),
        DecisionTreeClassifier(max_depth=3, random_state=0),
    )
    settings = {"n_experts": 2, "max_iter": 3, "cross_fit": None, "gate_features": list("abcde")}
    lazy, labels = dd.from_pandas(frame, npartitions=3), as_frames(XC, LABELS, 3)[1]
    with pytest.warns(UserWarning, match="did not converge"):
        model = on_dask.MoEClassifier(tree, **settings).fit(lazy, labels)
    assert model.score(frame, LABELS) > 0.55
    assert_array_equal(model.predict(lazy).compute(), model.predict(frame))


def test_categorical_columns_by_a_pipeline(on_dask):
    import dask.dataframe as dd

    shift = {"low": -5.0, "middle": 0.0, "high": 5.0}
    words = np.random.default_rng(0).choice(list(shift), size=N_ROWS)
    target = Y + pd.Series(words).map(shift).to_numpy()
    frame = pd.DataFrame(X, columns=list("abcde")).assign(level=pd.Categorical(words))
    lazy = dd.from_pandas(frame.assign(y=target), npartitions=4)
    categories = [list(lazy["level"].cat.categories)]
    encode = ColumnTransformer(
        [("level", OneHotEncoder(categories=categories, sparse_output=False), ["level"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    few = frame.head(50)
    encode.fit(few)
    numbers = lazy.drop(columns="y").map_partitions(
        encode.transform, meta=encode.transform(few)[:0]
    )
    model = on_dask.MoERegressor(**SETTINGS).fit(numbers, lazy["y"])
    assert model.score(numbers, lazy["y"]) > 0.7
    both = make_pipeline(encode, model)
    assert_allclose(both.predict(frame), model.predict(numbers).compute(), atol=1e-9)


def test_bad_collections_are_told(on_dask):
    import dask.array as da

    dX, dy, _ = as_arrays(X, Y, WEIGHT)
    fX, fy, fw = as_frames(X, Y)
    model = on_dask.MoERegressor(**SETTINGS)
    cases = [
        ((dX, Y), TypeError, "y is a ndarray"),
        ((dX, dy[:-1]), ValueError, "X has 2000 rows, and y has 1999"),
        ((dX, fy), ValueError, "X has 6 partitions, and y has 4"),
        ((da.where(dX > 2.0, np.nan, dX), dy), ValueError, "X contains NaN or infinity in columns"),
        ((fX, fy, 0.0 * fw), ValueError, "X has no rows"),
        ((fX.astype(str), fy), ValueError, "columns .* of block . are not numeric"),
    ]
    for arguments, error, words in cases:
        with pytest.raises(error, match=words):
            model.fit(*arguments)
        assert not hasattr(model, "n_features_in_")
    with pytest.raises(ValueError, match="gate='gaussian' does not go with"):
        clone(model).set_params(gate="gaussian").fit(dX, dy)
    with pytest.raises(ValueError, match="n_experts"):
        clone(model).set_params(n_experts=-1).fit(dX, dy)
    model.fit(X, Y)
    with pytest.raises(ValueError, match="for rows in memory"):
        model.predict(dX, return_std=True)


def test_without_a_client_the_error_names_the_cure(client, monkeypatch):
    import distributed

    import skmoe.dask

    def none():
        raise ValueError("No global client found")

    monkeypatch.setattr(distributed, "get_client", none)
    dX, dy, _ = as_arrays(X, Y, WEIGHT)
    with pytest.raises(ValueError, match="there is no client"):
        skmoe.dask.MoERegressor(**SETTINGS).fit(dX, dy)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install skmoe\[dask\]"):
        skmoe.dask.MoERegressor(**SETTINGS).fit(dX, dy)


def test_progress_is_shown(on_dask, capsys):
    dX, dy, _ = as_arrays(X, Y, WEIGHT)
    on_dask.MoERegressor(**SETTINGS, verbose=2).fit(dX, dy)
    assert "objective" in capsys.readouterr().out


def test_joblib_runs_experts_on_dask(client):
    tree = DecisionTreeRegressor(max_depth=3, random_state=0)
    settings = {"max_iter": 2, "n_experts": 2, "cross_fit": None, "tol": 0.0}
    with joblib.parallel_config("dask"):
        with pytest.warns(UserWarning, match="did not converge"):
            model = skmoe.MoERegressor(tree, **settings, n_jobs=2).fit(X, Y)
    with pytest.warns(UserWarning, match="did not converge"):
        other = skmoe.MoERegressor(tree, **settings).fit(X, Y)
    assert_array_equal(model.predict(X), other.predict(X))


# -- processes ------------------------------------------------------------------------------

TWO = """
import os, signal, sys, time
import dask.array as da, numpy as np
from distributed import Client, LocalCluster
import skmoe, skmoe.dask
from skmoe.datasets import make_moe_regression
from skmoe._monitor import Monitor

def pid():
    return os.getpid()

def main(kill):
    X, y = make_moe_regression(20_000, 6, n_experts=3, random_state=0)
    settings = {"n_experts": 3, "max_iter": 14, "tol": 0.0, "random_state": 0}
    import warnings
    warnings.simplefilter("ignore")
    alone = skmoe.MoERegressor(**settings).fit_blocks((X, y))
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster, Client(cluster) as client:
        dX, dy = da.from_array(X, chunks=(1500, 6)), da.from_array(y, chunks=1500)
        pids = list(client.run(pid).values())
        assert len(set(pids)) == 2 and os.getpid() not in pids
        killed = []
        if kill:
            update = Monitor.update
            def watched(self, *arguments, **more):
                if self.max_iter == 14 and self.n_iter == 5 and not killed:
                    os.kill(pids[0], signal.SIGKILL)
                    killed.append(pids[0])
                return update(self, *arguments, **more)
            Monitor.update = watched
        model = skmoe.dask.MoERegressor(**settings).fit(dX, dy)
        assert len(killed) == kill
        if kill:
            assert pids[0] not in client.run(pid).values()
        assert model.history_["passes"] == alone.history_["passes"]
        worst = np.abs(model.history_["objective"] - np.array(alone.history_["objective"])).max()
        coef = np.abs(model.gate_.coef_ - alone.gate_.coef_).max()
        gap = np.abs(model.predict(dX).compute() - alone.predict(X)).max()
        time.sleep(1)
        left = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        print("RESULT", worst, coef, gap, left)

if __name__ == "__main__":
    main(int(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kill", [0, 1])
def test_two_processes_give_the_answer_of_one(tmp_path, kill):
    require("distributed")
    script = tmp_path / "two.py"
    script.write_text(TWO)
    found = subprocess.run(
        [sys.executable, str(script), str(kill)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr
    line = next(one for one in found.stdout.splitlines() if one.startswith("RESULT"))
    worst, coef, gap, left = map(float, line.split()[1:])
    assert max(worst, coef, gap) < 1e-8
    assert left == 0
