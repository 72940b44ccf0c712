"""Model cards say what diagnosis, rules and scores say."""

import re

import numpy as np
import pytest
from conftest import require
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.export import model_card

rng = np.random.RandomState(0)
X = rng.normal(size=(240, 2))
y = np.where(X[:, 0] > 0, 3.0 * X[:, 1], -2.0 * X[:, 1]) + 0.3 * rng.normal(size=240)
LABELS = np.where(y > 0, "up", "down")
FEW = {"n_experts": 2, "n_init": 1, "random_state": 0}


@pytest.fixture(scope="module")
def model():
    return MoERegressor(**FEW).fit(X[:160], y[:160])


def figure(card, name):
    return float(re.search(rf"^\| {re.escape(name)} \| (.*) \|$", card, re.MULTILINE)[1])


def test_figures_are_those_of_the_model(model):
    card = model_card(model, X[160:], y[160:], title="Two", description="What for.")
    error = y[160:] - model.predict(X[160:])
    assert figure(card, "R²") == pytest.approx(model.score(X[160:], y[160:]), rel=1e-3)
    assert figure(card, "RMSE") == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-3)
    lower, upper = model.predict_dist(X[160:]).interval(0.9)
    inside = np.mean((lower <= y[160:]) & (y[160:] <= upper))
    assert figure(card, "targets inside 90 % intervals") == pytest.approx(inside, rel=1e-3)
    assert card.startswith("# Two\n\nWhat for.\n\nA mixture of 2 experts (MoERegressor)")
    diagnosis = model.diagnose(X[160:], y[160:])
    assert all(f"- {line}" in card for line in diagnosis.verdict)
    load = diagnosis.experts["load"]
    assert all(f"| {name} | {load[name]:.4g} |" in card for name in model.expert_names_)
    assert str(model.routing_rules(X[160:])) in card and "Coefficients" not in card


def test_report_and_sections(model):
    card = model_card(model, X, y, fitted_to=(X[:160], y[:160]), sections={"Use": "None."})
    assert "## Coefficients" in card and "EXPERTS" in card and "160" in card
    assert card.endswith("## Use\n\nNone.\n")


def test_pipelines_of_classes_see_their_own_rows():
    model = make_pipeline(StandardScaler(), MoEClassifier(**FEW)).fit(X[:160] + 50, LABELS[:160])
    card = model_card(model, X[160:] + 50, LABELS[160:])
    score = model.score(X[160:] + 50, LABELS[160:])
    assert figure(card, "accuracy") == pytest.approx(score, rel=1e-3)
    assert "RMSE" not in card and "StandardScaler" in card


def test_file_and_pictures(tmp_path, model):
    require("matplotlib")
    path = tmp_path / "card.md"
    card = model_card(model, X[160:], y[160:], path)
    assert path.read_text(encoding="utf-8") == card
    files = re.findall(r"\]\((.*\.png)\)", card)
    assert files == ["card_load.png", "card_gate.png", "card_coverage.png"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in files)


def test_one_expert_of_several_outputs():
    Y = np.column_stack([y, -y])
    model = MoERegressor(DecisionTreeRegressor(max_depth=2), n_experts=1, cross_fit=None)
    card = model_card(model.fit(X, Y), X, Y)
    assert "Which rows go where" not in card and "intervals" not in card
