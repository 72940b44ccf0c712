"""Displays: what is drawn is what the model says."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from conftest import require
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.gates import SoftmaxGate

rng = np.random.RandomState(0)
X = pd.DataFrame(rng.uniform(-1, 1, size=(120, 2)), columns=["size", "age"])
Y = pd.Series(np.abs(X["size"]) + 0.1 * rng.normal(size=120), name="price")
LABELS = np.where(X["size"] * X["age"] + 0.1 * rng.normal(size=120) > 0, "yes", "no")


@pytest.fixture(scope="module")
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
