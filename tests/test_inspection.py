"""Displays: what is drawn is what the model says."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from conftest import require
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.gates import HierarchicalGate, SoftmaxGate

rng = np.random.RandomState(0)
X = pd.DataFrame(rng.uniform(-1, 1, size=(120, 2)), columns=["size", "age"])
Y = pd.Series(np.abs(X["size"]) + 0.1 * rng.normal(size=120), name="price")
LABELS = np.where(X["size"] * X["age"] + 0.1 * rng.normal(size=120) > 0, "yes", "no")


@pytest.fixture
def displays():
    require("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    from skmoe import inspection

    yield inspection
    plt.close("all")


@pytest.fixture(scope="module")
def regressor():
    return MoERegressor(n_experts=2, random_state=0).fit(X, Y)


@pytest.fixture(scope="module")
def classifier():
    return MoEClassifier(n_experts=2, random_state=0).fit(X.to_numpy(), LABELS)


def test_gate_over_one_feature_is_averaged_over_the_other(displays, regressor):
    display = displays.GateDisplay.from_estimator(regressor, X, "size", grid_resolution=15)
    for value, proba in zip(display.values[0], display.proba):
        assert_allclose(proba, regressor.gate_proba(X.assign(size=value)).mean(axis=0))
    for k, line in enumerate(display.lines_):
        assert_allclose(line.get_ydata(), display.proba[:, k])
        assert line.get_label() == f"expert {k}"
    assert display.ax_.get_xlabel() == "size"


def test_gate_over_two_features(displays, classifier):
    rows = X.to_numpy()
    display = displays.GateDisplay.from_estimator(classifier, rows, [0, 1], grid_resolution=13)
    at = [[display.values[0][3], display.values[1][8]]]
    assert_allclose(display.proba[3, 8], classifier.gate_proba(at)[0])
    assert display.image_.get_array().shape == (13, 13, 3)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("x0", "x1")


def test_gate_over_words(displays):
    frame = X.assign(city=np.where(X["size"] > 0, "Rome", "Oslo"))
    gate = make_pipeline(OneHotEncoder(), SoftmaxGate())
    model = MoERegressor(
        DecisionTreeRegressor(max_depth=2),
        n_experts=2,
        gate=gate,
        gate_features=["city"],
        expert_features=["size", "age"],
        cross_fit=None,
        random_state=0,
    ).fit(frame, Y)
    display = displays.GateDisplay.from_estimator(model, frame, "city")
    assert display.values[0].tolist() == ["Oslo", "Rome"]
    heights = [bars[1].get_height() for bars in display.lines_]
    assert_allclose(heights, model.gate_proba(frame.assign(city="Rome"))[0])
    with pytest.raises(ValueError, match=r"must be numeric, but \['city'\] are not"):
        displays.GateDisplay.from_estimator(model, frame, ["city", "size"])
    with pytest.raises(ValueError, match="'city' is not numeric"):
        displays.ExpertsDisplay.from_estimator(model, frame, feature="city")


def test_experts_with_their_band(displays, regressor):
    display = displays.ExpertsDisplay.from_estimator(
        regressor, X, Y, feature="size", level=0.8, grid_resolution=20
    )
    rows = pd.DataFrame({"size": display.values, "age": np.median(X["age"])})
    assert_allclose(display.pred, regressor.predict_experts(rows))
    assert_allclose(display.mean_line_.get_ydata(), regressor.predict(rows))
    assert_allclose(display.band, regressor.predict_dist(rows).interval(0.8))
    assert len(display.lines_) == 2 and display.band_.get_label() == "80 % band"
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("size", "price")


def test_experts_of_classes(displays, classifier):
    rows = X.to_numpy()
    show = displays.ExpertsDisplay.from_estimator
    display = show(classifier, rows, LABELS, target="no", grid_resolution=20)
    varied = np.column_stack([display.values, np.full(20, np.median(rows[:, 1]))])
    assert_allclose(display.pred, classifier.predict_experts(varied)[:, :, 0])
    assert display.band is None and display.ax_.get_ylabel() == "probability of no"
    with pytest.raises(ValueError, match="target='maybe' is none of the classes"):
        show(classifier, rows, target="maybe")


def test_load(displays, regressor):
    weight = rng.uniform(size=len(X))
    display = displays.LoadDisplay.from_estimator(regressor, X, sample_weight=weight)
    proba = regressor.gate_proba(X)
    expected = [weight[proba.argmax(axis=1) == k].sum() / weight.sum() for k in range(2)]
    assert_allclose([bar.get_width() for bar in display.load_bars_], expected)
    found = [bar.get_width() for bar in display.importance_bars_]
    assert_allclose(found, weight @ proba / weight.sum())


def test_convergence(displays, classifier):
    import matplotlib.pyplot as plt

    display = displays.ConvergenceDisplay.from_estimator(classifier)
    assert_allclose(display.line_.get_ydata(), classifier.history_["objective"])
    assert len(display.areas_) == 2 and len(display.axes_) == 2
    assert_allclose(display.load, classifier.history_["load"])
    _, ax = plt.subplots()
    assert display.plot(ax).ax_ is ax and display.areas_ == []


def test_number_of_experts(displays, regressor):
    model = MoERegressor(n_experts="auto", max_experts=3, random_state=0).fit(X, Y)
    display = displays.ExpertCountDisplay.from_estimator(model, criterion="icl")
    assert_allclose(display.line_.get_ydata(), model.path_["icl"])
    assert display.mark_.get_xdata().tolist() == [model.n_experts_]
    with pytest.raises(ValueError, match="criterion='p' is none of"):
        displays.ExpertCountDisplay.from_estimator(model, criterion="p")
    with pytest.raises(ValueError, match="fit with n_experts='auto'"):
        displays.ExpertCountDisplay.from_estimator(regressor)


def test_wrong_features_are_refused(displays, regressor):
    show = displays.GateDisplay.from_estimator
    with pytest.raises(ValueError, match="'weight', which is no column of X"):
        show(regressor, X, "weight")
    with pytest.raises(ValueError, match="one or two features, but are 3"):
        show(regressor, X, [0, 1, 0])
    with pytest.raises(TypeError, match="needs dense rows"):
        show(regressor, sp.csr_matrix(X.to_numpy()), 0)


def test_coefficients_of_experts_and_gate(displays, regressor, classifier):
    show = displays.CoefficientsDisplay.from_estimator
    plain = show(regressor)
    assert_allclose(plain.coef, [expert.coef_ for expert in regressor.experts_])
    assert plain.feature_names == ["size", "age"]
    assert_allclose(show(regressor, X).coef, plain.coef * X.std(ddof=0).to_numpy())
    rows = sp.csr_matrix(X.to_numpy())
    assert_allclose(show(regressor, rows).coef, plain.coef * X.std(ddof=0).to_numpy())
    gate = show(regressor, what="gate")
    slopes = regressor.gate_.coef_
    assert_allclose(gate.coef[0] - gate.coef[1], slopes[0] - slopes[1])
    yes, no = show(classifier), show(classifier, target="no")
    assert_allclose(yes.coef, [expert.coef_[0] for expert in classifier.experts_])
    assert_allclose(no.coef, -yes.coef)
    assert [t.get_text() for t in yes.ax_.texts] == [f"{v:.2g}" for v in yes.coef.ravel()]
    with pytest.raises(ValueError, match="target='maybe' is none of the classes"):
        show(classifier, target="maybe")
    with pytest.raises(ValueError, match="what='both'"):
        show(classifier, what="both")
    trees = MoERegressor(DecisionTreeRegressor(max_depth=1), n_experts=2, cross_fit=None)
    with pytest.raises(TypeError, match=r"DecisionTreeRegressor\) has no coef_"):
        show(trees.fit(X, Y))


def test_title_of_a_small_matrix_fits_its_figure(displays):
    display = displays.SpecialisationDisplay(np.array([[0.1, 1234.5], [2e-3, 1.0]]), ["one", "two"])
    figure = display.plot().figure_
    figure.canvas.draw()
    box = display.ax_.get_tightbbox()
    assert 0 <= box.x0 and box.x1 <= figure.bbox.x1
    assert [text.get_text() for text in display.ax_.texts] == ["0.1", "1200", "0.002", "1"]


def test_specialisation(displays, regressor, classifier):
    for model, rows, y in ((regressor, X, Y), (classifier, X.to_numpy(), LABELS)):
        display = displays.SpecialisationDisplay.from_estimator(model, rows, y)
        expected = model.diagnose(rows, y, one_expert=None).specialisation
        assert_allclose(display.loss, expected)
        for row, frame in enumerate(display.frames_):
            assert round(frame.get_x() + 0.46) == display.loss[row].argmin()
    idle = displays.SpecialisationDisplay(np.array([[0.1, 0.2], [np.nan, np.nan]]), ["a", "b"])
    assert len(idle.plot().frames_) == 1


def test_responsibilities_against_the_gate(displays, regressor):
    display = displays.ResponsibilitiesDisplay.from_estimator(regressor, X, Y, n_bins=4)
    proba, resp = regressor.gate_proba(X)[:, 1], regressor.responsibilities(X, Y)[:, 1]
    inside = (proba >= 0.75) & (proba <= 1.0)
    assert inside.sum() >= 5
    assert_allclose(display.lines_[1].get_ydata()[-1], resp[inside].mean())
    assert_allclose(display.points_[1].get_xdata(), proba)


def test_pit_and_coverage(displays, regressor, classifier):
    display = displays.PITDisplay.from_estimator(regressor, X, Y, n_bins=5)
    pit = regressor.predict_dist(X).cdf(Y)
    assert_allclose(display.pit, pit)
    heights = [bar.get_height() for bar in display.bars_]
    assert_allclose(heights, np.histogram(pit, np.linspace(0, 1, 6))[0] / len(pit) * 5)
    low, high = regressor.predict_dist(X).interval(0.6)
    covered = displays.CoverageDisplay.from_estimator(regressor, X, Y, levels=[0.9, 0.6])
    assert_allclose(covered.line_.get_xdata(), [0.6, 0.9])
    assert_allclose(covered.line_.get_ydata()[0], ((Y >= low) & (Y <= high)).mean())
    with pytest.raises(ValueError, match=r"inside \(0, 1\)"):
        displays.CoverageDisplay.from_estimator(regressor, X, Y, levels=[0.5, 1.0])
    with pytest.raises(TypeError, match="PITDisplay needs a numeric target"):
        displays.PITDisplay.from_estimator(classifier, X.to_numpy(), LABELS)


@pytest.mark.parametrize("classify", [False, True])
def test_tree_of_gates(displays, classify, regressor):
    kind, y = (MoEClassifier, LABELS) if classify else (MoERegressor, Y)
    model = kind(n_experts=3, gate=HierarchicalGate(((2,), 1)), init="kmeans", random_state=0)
    model.set_params(n_init=1, max_iter=5)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    display = displays.HierarchyDisplay.from_estimator(model, X, y)
    resp = model.responsibilities(X, y)
    at = {path: i for i, path in enumerate(display.paths)}
    assert set(at) == {(), (0,), (1,), (0, 0), (0, 1)}
    assert_allclose(display.shares[at[0,]], resp[:, :2].sum(axis=1).mean())
    assert_allclose(display.composition.sum(axis=1), 1.0)
    if classify:
        yes = resp[:, 2] @ (LABELS == "yes") / resp[:, 2].sum()
        assert_allclose(display.composition[at[1,]], [1 - yes, yes])
        with pytest.raises(ValueError, match="y is needed"):
            displays.HierarchyDisplay.from_estimator(model, X)
    else:
        assert_allclose(display.composition[at[1,]], [0, 0, 1])
        assert display.labels[at[1,]] == "expert 2" and display.labels[0] in X.columns
    assert display.texts_[0].get_text().endswith("100 %")
    with pytest.raises(TypeError, match="SoftmaxGate is no tree"):
        displays.HierarchyDisplay.from_estimator(regressor, X)


# What each display is asked with, and whether it needs numbers as targets.
ASKED = {
    "GateDisplay": (lambda X, y: (X, [0]), False),
    "ExpertsDisplay": (lambda X, y: (X, y), False),
    "LoadDisplay": (lambda X, y: (X,), False),
    "ConvergenceDisplay": (lambda X, y: (), False),
    "CoefficientsDisplay": (lambda X, y: (X,), False),
    "SpecialisationDisplay": (lambda X, y: (X, y), False),
    "ResponsibilitiesDisplay": (lambda X, y: (X, y), False),
    "PITDisplay": (lambda X, y: (X, y), True),
    "CoverageDisplay": (lambda X, y: (X, y), True),
}


TASKS = [(name, task) for name in ASKED for task in (False, True) if not (task and ASKED[name][1])]


@pytest.mark.parametrize("form", ["frame", "array"])
@pytest.mark.parametrize("name, classify", TASKS)
def test_every_display_of_every_task_and_form(displays, name, classify, form):
    given = ASKED[name][0]
    rows = X if name != "ExpertsDisplay" else X[["size"]]
    rows = rows if form == "frame" else rows.to_numpy()
    y = np.asarray(LABELS if classify else Y)
    kind = MoEClassifier if classify else MoERegressor
    model = kind(n_experts=2, random_state=0).fit(rows, y)
    display = getattr(displays, name).from_estimator(model, *given(rows, y))
    ax = getattr(display, "ax_", None) or display.axes_[0]
    texts = [text.get_text() for text in ax.findobj(lambda artist: hasattr(artist, "get_text"))]
    if name in ("GateDisplay", "ExpertsDisplay", "CoefficientsDisplay"):
        assert ("size" if form == "frame" else "x0") in texts
    if name not in ("PITDisplay", "CoverageDisplay", "ConvergenceDisplay"):
        every = ax.figure.findobj(lambda artist: hasattr(artist, "get_text"))
        assert {"expert 0", "expert 1"} <= {text.get_text() for text in every}
    assert ax.get_title(loc="left") or ax.get_title()
    assert ax.has_data()
