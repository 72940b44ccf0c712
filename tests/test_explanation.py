"""Predictions taken apart, importance for the gate, and rules."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from problems import classification, regression
from scipy.special import logsumexp
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import load_diamonds
from skmoe.explanation import explain, gate_importance, routing_rules
from skmoe.gates import SoftmaxGate

CHECKOUT = Path(__file__).resolve().parents[1]
QUICK = {"n_init": 1, "max_iter": 30, "tol": 1e-3, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore:The fit did not converge")


def gated(seed=0, n=300):
    """The first of three columns says which of two lines holds."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.uniform(-1, 1, size=(n, 3)), columns=["where", "slope", "noise"])
    y = np.where(X["where"] > 0.2, 3.0 * X["slope"], -3.0 * X["slope"]) + 0.1 * rng.normal(size=n)
    return X, y


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 2},
        {"combine": "top1"},
        {"likelihood": "lognormal"},
        {"experts": DecisionTreeRegressor(max_depth=3, random_state=0)},
        {"gate": "gaussian"},
    ],
    ids=["dense", "top_k", "top1", "lognormal", "trees", "gaussian gate"],
)
def test_contributions_add_up_to_the_prediction(options):
    X, y = regression(0)
    y = np.exp(0.2 * y[:, 0]) if "likelihood" in options else y[:, 0]
    model = MoERegressor(n_experts=3, **{**QUICK, **options}).fit(X, y)
    table = model.explain(X)
    assert_allclose(table["contribution"].sum(axis=1), model.predict(X), rtol=0, atol=1e-10)
    assert_allclose(table["mixture", "prediction"], model.predict(X), rtol=0, atol=1e-10)
    assert_allclose(table["weight"].sum(axis=1), 1.0)
    top = np.array(model.expert_names_)[table["weight"].to_numpy().argmax(axis=1)]
    assert (table["mixture", "expert"] == top).all()
    used = table["weight"].to_numpy() > 0
    every = model.predict_experts(X)
    assert_allclose(table["prediction"].to_numpy()[used], every[used], rtol=1e-9)
    if "top_k" in options:
        assert (used.sum(axis=1) == 2).all()
        assert table["prediction"].isna().to_numpy()[~used].all()


def test_contributions_add_up_to_class_probabilities_and_outputs():
    X, codes = classification(0)
    y = np.array(["a", "b", "c"])[codes]
    frame = pd.DataFrame(X, columns=["u", "v", "w"], index=np.arange(120) + 500)
    model = MoEClassifier(n_experts=2, **QUICK).fit(frame, y)
    table = explain(model, frame)
    assert table.index.names == ["row", "class"] and table.index[3] == (501, "a")
    found = table["contribution"].sum(axis=1).to_numpy().reshape(-1, 3)
    assert_allclose(found, model.predict_proba(frame), rtol=0, atol=1e-10)
    X, y = regression(0, n_outputs=2)
    for per_output in (False, True):
        model = MoERegressor(n_experts=2, gate_per_output=per_output, **QUICK).fit(X, y)
        found = explain(model, X)["contribution"].sum(axis=1).to_numpy().reshape(-1, 2)
        assert_allclose(found, model.predict(X), rtol=0, atol=1e-10)


@pytest.mark.parametrize("combine", ["mean", "top1"])
def test_contributions_of_the_chosen_classifiers(combine):
    X, codes = classification(0)
    model = MoEClassifier(n_experts=3, top_k=2, combine=combine, **QUICK).fit(X, codes)
    table = model.explain(X)
    found = table["contribution"].sum(axis=1).to_numpy().reshape(-1, 3)
    assert_allclose(found, model.predict_proba(X), rtol=0, atol=1e-10)
    used = table["weight"].to_numpy() > 0
    assert (used.sum(axis=1) == (2 if combine == "mean" else 1)).all()
    assert_allclose(table["weight"].sum(axis=1), 1.0)
    assert (table["contribution"].to_numpy()[~used] == 0.0).all()


def test_exposure_scales_contributions():
    X, _ = regression(0)
    y, exposure = np.random.default_rng(0).poisson(3.0, size=120), np.linspace(0.5, 2.0, 120)
    model = MoERegressor(n_experts=2, likelihood="poisson", **QUICK).fit(X, y, exposure=exposure)
    found = model.explain(X, exposure=exposure)["contribution"].sum(axis=1)
    assert_allclose(found, model.predict(X, exposure=exposure), rtol=0, atol=1e-10)


def test_what_is_no_sum_is_refused():
    X, y = regression(0)
    model = MoERegressor(n_experts=2, combine="median", **QUICK).fit(X, y[:, 0])
    with pytest.raises(ValueError, match="combine='median'"):
        model.explain(X)
    X, codes = classification(0)
    with pytest.raises(ValueError, match="exposure"):
        MoEClassifier(n_experts=2, **QUICK).fit(X, codes).explain(X, exposure=np.ones(120))


@pytest.mark.parametrize("form", ["frame", "array", "sparse"])
def test_the_gate_looks_at_the_column_that_decides(form):
    X, y = gated()
    forms = {"frame": X, "array": X.to_numpy(), "sparse": None}
    if form == "sparse":
        import scipy.sparse as sp

        forms["sparse"] = sp.csr_matrix(X.to_numpy())
    X = forms[form]
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    table = model.gate_importance(X, y, random_state=0)
    assert table.index[0] == ("where" if form == "frame" else "x0")
    assert table["loss"].iloc[0] > 10 * table["loss"].iloc[1]
    assert table["moved"].iloc[0] > 0.3 > 0.1 > table["moved"].iloc[1]
    assert table["coefficient"].iloc[0] == table["coefficient"].max()


def test_importance_is_what_a_permuted_gate_loses():
    X, y = gated()
    X = X.to_numpy()
    model = MoERegressor(n_experts=2, gate_features=[2, 0], random_state=0).fit(X, y)
    weight = np.random.default_rng(1).uniform(size=300)
    table = gate_importance(model, X, y, weight, n_repeats=1, random_state=3)
    rng = np.random.RandomState(3)
    rng.permutation(300)  # that of the first of the gate's columns
    other = X.copy()
    other[:, 0] = X[rng.permutation(300), 0]
    pred, scale = model.predict_experts(X), model.likelihood_.scale_
    law = -0.5 * np.square((y[:, None] - pred) / scale) - np.log(scale)
    before, after = (logsumexp(law, b=model.gate_proba(Z), axis=1) for Z in (X, other))
    assert_allclose(table.loc["x0", "loss"], weight @ (before - after) / weight.sum(), rtol=1e-9)
    moved = 0.5 * np.abs(model.gate_proba(X) - model.gate_proba(other)).sum(axis=1)
    assert_allclose(table.loc["x0", "moved"], weight @ moved / weight.sum(), rtol=1e-9)
    slopes = model.gate_.coef_ - model.gate_.coef_.mean(axis=0)
    expected = np.sqrt(np.mean(slopes[:, 1] ** 2)) * X[:, 0].std()
    assert_allclose(table.loc["x0", "coefficient"], expected, rtol=1e-6)


def test_rules_find_the_threshold_and_their_fidelity_is_that_of_fresh_rows():
    X, y = gated(n=600)
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    rules = routing_rules(model, X, max_rules=2)
    assert len(rules.table) == 2
    text = rules.table["rule"].tolist()
    assert all(rule.startswith("where ") for rule in text)
    assert abs(float(text[0].split()[-1]) - 0.2) < 0.1
    assert rules.fidelity > 0.95 > rules.baseline
    fresh = gated(1, 2000)[0]
    same = rules.tree.predict(fresh.to_numpy()) == model.gate_proba(fresh).argmax(axis=1)
    assert abs(same.mean() - rules.fidelity) < 0.03
    assert_allclose(rules.table["share"].sum(), 1.0)
    model = MoERegressor(n_experts=2, random_state=0).fit(X.to_numpy(), y)
    assert model.routing_rules(X.to_numpy()).table["rule"][0].startswith("x0 ")


def test_rules_speak_of_words():
    X, y = gated()
    X["where"] = np.where(X["where"] > 0.2, "north", "south")
    encode = make_column_transformer((OneHotEncoder(), ["where"]), remainder="drop")
    model = MoERegressor(
        DecisionTreeRegressor(max_depth=4, random_state=0),
        n_experts=2,
        gate=make_pipeline(encode, SoftmaxGate()),
        expert_features=["slope", "noise"],
        random_state=0,
    ).fit(X, y)
    rules = model.routing_rules(X)
    assert set(rules.table["rule"]) <= {
        "where is north",
        "where is not north",
        "where is south",
        "where is not south",
    }
    assert rules.fidelity == 1.0
    assert "coefficient" not in model.gate_importance(X, y, random_state=0)


def test_rules_of_diamonds_fit_a_screen():
    X, y = load_diamonds(return_X_y=True, as_frame=True)
    rows = np.random.RandomState(0).permutation(len(y))[:3000]
    X, y = X.iloc[rows][["carat", "depth", "table"]], np.log(y.iloc[rows])
    model = MoERegressor(n_experts=3, random_state=0).fit(X, y)
    rules = model.routing_rules(X)
    lines = str(rules).splitlines()
    assert len(lines) <= 10 and max(map(len, lines)) <= 100
    assert f"fidelity {rules.fidelity:.3f}" in lines[-1]
    assert rules.fidelity > 0.9 > rules.baseline


@pytest.mark.parametrize("max_rules", [1, 2.5])
def test_wrong_numbers_of_rules(max_rules):
    X, y = gated()
    with pytest.raises(ValueError, match="max_rules"):
        routing_rules(MoERegressor(n_experts=2, **QUICK).fit(X, y), X, max_rules=max_rules)


@pytest.mark.slow
def test_shap_explains_the_mixture(require):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of its own plots
        require("shap")
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "examples/shap_values.py", "--rows=3"],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    gaps = [float(line.split()[-1]) for line in done.stdout.splitlines() if "largest gap" in line]
    assert len(gaps) == 2 and max(gaps) < 1e-8
    assert "age" in done.stdout
