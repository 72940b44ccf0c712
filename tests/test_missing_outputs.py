"""Targets that are missing."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import StrictMonitor, linear_parts, regression, regression_data, responsibilities
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoERegressor
from skmoe._em import fit_em
from skmoe._fit import Parts
from skmoe._joint import fit_joint
from skmoe._monitor import Monitor
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import SoftmaxGate
from skmoe.gates.per_output import OutputGates
from skmoe.solvers import EM, Gradient, Minibatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def with_gaps(seed=0, n=150, n_outputs=2, share=0.3):
    X, y = regression(seed, n=n, n_outputs=n_outputs)
    gaps = np.random.RandomState(seed).uniform(size=y.shape) < share
    return X, y, np.where(gaps, np.nan, y)


def masked_data(seed, weighted=False, share=0.3, n_outputs=3):
    X, y, holes = with_gaps(seed, 100, n_outputs, share)
    weight = np.random.RandomState(seed).uniform(0.2, 3.0, 100) if weighted else None
    return replace(regression_data(X, y, weight), observed=~np.isnan(holes))


@pytest.mark.parametrize(
    "solver", [EM(), Gradient(), Minibatch(n_epochs=5)], ids=lambda s: str(s)[:3]
)
@pytest.mark.parametrize("experts", [None, MLPExpert((4,))], ids=["linear", "mlp"])
def test_rows_without_any_target_are_as_if_dropped(solver, experts):
    X, y = regression(0, n_outputs=2)
    holes, kept = y.copy(), np.random.RandomState(1).uniform(size=len(y)) < 0.7
    holes[~kept] = np.nan
    settings = {"n_experts": 2, "solver": solver, "random_state": 0, "max_iter": 20}
    model = MoERegressor(experts, missing_outputs="mask", **settings).fit(X, holes)
    dropped = MoERegressor(experts, **settings).fit(X[kept], y[kept])
    assert_array_equal(model.predict(X), dropped.predict(X))
    assert model.objective_ == dropped.objective_
    loglik = model.log_likelihood(X, holes)
    assert_allclose(loglik[kept], dropped.log_likelihood(X[kept], y[kept]), rtol=1e-13)
    assert_allclose(loglik[~kept], 0.0, atol=1e-14)


def test_one_output_with_gaps_takes_any_experts():
    X, y = regression(0)
    holes = y[:, 0].copy()
    holes[::3] = np.nan
    kept = ~np.isnan(holes)
    model = MoERegressor(DecisionTreeRegressor(max_depth=3), 2, random_state=0)
    dropped = model.fit(X[kept], holes[kept]).predict(X)
    assert_array_equal(model.set_params(missing_outputs="mask").fit(X, holes).predict(X), dropped)


@pytest.mark.parametrize("per_output", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_em_climbs(seed, weighted, per_output):
    data = masked_data(seed, weighted)
    parts = linear_parts(data, 3)
    if per_output:
        parts.gate = OutputGates(SoftmaxGate())
    monitor = StrictMonitor(0.0, 15, patience=1000)
    result = fit_em(data, parts, monitor, responsibilities(100, 3, seed))
    assert result.objective > result.history["objective"][0]


@pytest.mark.parametrize("per_output", [False, True])
def test_em_and_gradient_agree(per_output):
    data = masked_data(0)
    parts = linear_parts(data, 2)
    if per_output:
        parts.gate = OutputGates(SoftmaxGate())
    resp = responsibilities(100, 2)
    near = fit_joint(data, parts, Monitor(1e-6, 500, patience=5), resp)
    near = Parts(near.gate, near.experts, near.likelihood)
    resp = np.exp(near.gate.log_proba(data.gate_X))
    ends = [fit(data, near, Monitor(1e-13, 3000, patience=20), resp) for fit in (fit_em, fit_joint)]
    assert_allclose(ends[0].objective, ends[1].objective, atol=1e-6)


def test_what_fills_the_gaps_does_not_matter():
    """Values where nothing was observed have no part in the objective."""
    data = masked_data(1)
    other = replace(data, y=np.where(data.observed, data.y, 1e3))
    resp = responsibilities(100, 3)
    one, two = (fit_em(d, linear_parts(data, 3), Monitor(0.0, 5), resp) for d in (data, other))
    assert_allclose(one.experts.coef, two.experts.coef, atol=1e-8)
    assert_allclose(one.objective, two.objective, rtol=1e-10)


@pytest.mark.parametrize("solver", ["em", "gradient", "minibatch"])
@pytest.mark.parametrize("experts", [LinearExpert(), MLPExpert((6,))], ids=["linear", "mlp"])
def test_known_targets_of_half_empty_rows_teach(solver, experts):
    """More is learned than from the rows that are complete."""
    X, _, holes = with_gaps(2, 400, n_outputs=3, share=0.5)
    X_new, y_new, _ = with_gaps(2, 400, n_outputs=3)
    settings = {"n_experts": 3, "solver": solver, "random_state": 0}
    model = MoERegressor(experts, missing_outputs="mask", **settings).fit(X, holes)
    complete = ~np.isnan(holes).any(axis=1)
    few = MoERegressor(experts, **settings).fit(X[complete], holes[complete])
    assert 30 < complete.sum() < 60
    gain = model.log_likelihood(X_new, y_new) - few.log_likelihood(X_new, y_new)
    assert gain.mean() > 0.05
    assert np.isfinite(model.bic(X, holes))


def test_log_likelihood_is_that_of_the_known_targets():
    X, y, holes = with_gaps()
    model = MoERegressor(n_experts=2, missing_outputs="mask", random_state=0).fit(X, holes)
    proba, pred, scale = model.gate_proba(X), model.predict_experts(X), model.likelihood_.scale_
    log_density = -0.5 * ((y[:, None] - pred) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    known = np.where(np.isnan(holes)[:, None], 0.0, log_density).sum(axis=2)
    expected = np.log((proba * np.exp(known)).sum(axis=1))
    assert_allclose(model.log_likelihood(X, holes), expected, rtol=1e-9, atol=1e-14)
    complete = model.log_likelihood(X, y)
    assert_allclose(complete, np.log((proba * np.exp(log_density.sum(axis=2))).sum(axis=1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"missing_outputs": "raise"}, "contains NaN"),
        ({"experts": DecisionTreeRegressor()}, "DecisionTreeRegressor takes one weight"),
        ({"likelihood": "gaussian_with_noise"}, "but likelihood is GaussianWithNoise"),
        ({"likelihood": "student_t"}, "contains NaN|columns|student|StudentT"),
        ({"n_experts": "auto"}, "n_experts='auto' has none"),
        ({"solver": "pool", "experts": [("a", DecisionTreeRegressor())]}, "one weight"),
    ],
)
def test_what_does_not_go_with_it(settings, message):
    X, _, holes = with_gaps(n=40)
    model = MoERegressor(**({"n_experts": 2, "missing_outputs": "mask"} | settings))
    if isinstance(model.experts, list):
        model.n_experts = None
    with pytest.raises(ValueError, match=message):
        model.fit(X, holes)


def test_an_output_without_values():
    X, _, holes = with_gaps(n=40)
    holes[:, 1] = np.nan
    with pytest.raises(ValueError, match="Output 1 of y has no observed value"):
        MoERegressor(n_experts=2, missing_outputs="mask").fit(X, holes)
    with pytest.raises(ValueError, match=r"Input y contains infinity|infinity"):
        MoERegressor(n_experts=2, missing_outputs="mask").fit(X, np.full((40, 2), np.inf))
