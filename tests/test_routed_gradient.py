"""Gradient training with a penalty on uneven experts, and on candidate sets."""

from dataclasses import replace

import numpy as np
import problems
import pytest
from scipy.special import logsumexp
from test_routing import FixedRouting

from skmoe import MoEClassifier, MoERegressor
from skmoe._em import fit_em
from skmoe._fit import Parts, objective_value
from skmoe._joint import fit_joint, objective_gradient
from skmoe._monitor import Monitor
from skmoe._routed import fit_routed
from skmoe._routed_joint import fit_routed_joint
from skmoe._whole import WholeEvaluator
from skmoe.balance import BalanceBias, BalancePenalty
from skmoe.experts import LinearExpert
from skmoe.routing import TokenRouting

tasks = pytest.mark.parametrize("task", ["regression", "classification"])
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def problem(task, how, seed=1, n=150, n_experts=4):
    """Data with a penalty, with candidate sets, or with both."""
    data = problems.make_data(task, seed, True, False, n=n)
    sets = FixedRouting().candidates(np.empty((n, n_experts)), 2, None)
    if how != "sets":
        data = replace(data, balance=BalancePenalty(0.7))
    return data if how == "penalty" else replace(data, candidates=sets.mask())


def as_parts(result):
    return Parts(result.gate, result.experts, result.likelihood)


def naive_value(data, parts):
    """The objective by rows, from the definitions."""
    log_gate = parts.gate.log_proba(data.gate_X)
    log_lik = parts.likelihood.log_lik(data.y, parts.experts.predict(data.X))
    joint = log_gate + log_lik
    if data.candidates is not None:
        joint = np.where(data.candidates, joint, -np.inf)
    value = objective_value(data, data.weight @ logsumexp(joint, axis=1), parts)
    if data.balance is not None:
        importance = np.average(np.exp(log_gate), axis=0, weights=data.weight)
        value -= data.balance.strength * importance.var() / importance.mean() ** 2
    return value


@tasks
@pytest.mark.parametrize("how", ["penalty", "sets", "both"])
def test_gradient_against_finite_differences(task, how):
    data = problem(task, how, n=60)
    start = fit_em(data, problems.linear_parts(data, 4), Monitor(0.0, 2), naive_start(60))
    parts = as_parts(start)
    sums = WholeEvaluator(data)(parts)
    value = objective_value(data, sums.loglik, parts) - sums.uneven
    assert value == pytest.approx(naive_value(data, parts), abs=1e-10)
    found, flat, step = objective_gradient(data, parts, sums), parts.flat(), 1e-5
    expected = [
        naive_value(data, parts.with_flat(flat + move))
        - naive_value(data, parts.with_flat(flat - move))
        for move in step * np.eye(len(flat))
    ]
    np.testing.assert_allclose(found, np.array(expected) / (2 * step), atol=1e-7)


def naive_start(n):
    return problems.responsibilities(n, 4)


@tasks
@pytest.mark.parametrize("how", ["penalty", "sets", "both"])
def test_training_climbs(task, how):
    data = problem(task, how)
    monitor = problems.StrictMonitor(0.0, 40, patience=1000)
    result = fit_joint(data, problems.linear_parts(data, 4), monitor, naive_start(150))
    assert result.objective == pytest.approx(naive_value(data, as_parts(result)), abs=1e-9)
    assert result.objective > monitor.history["objective"][0]


@tasks
def test_gradient_and_em_agree_near_an_optimum_on_fixed_sets(task):
    data = problem(task, "sets")
    plain = replace(data, candidates=None)
    near = fit_joint(data, problems.linear_parts(data, 4), Monitor(1e-7, 400, 5), naive_start(150))
    resp = WholeEvaluator(data)._e_step(
        as_parts(near),
        near.gate.log_proba(data.gate_X),
        near.experts.predict(data.X),
    )[0]
    options = {"routing": FixedRouting(noise=0.0), "top_k": 2}
    by_em = fit_routed(plain, as_parts(near), Monitor(1e-10, 3000, 5), resp, **options)
    by_gradient = fit_routed_joint(
        plain, as_parts(near), Monitor(1e-12, 1000, 5), resp, warm_up=1, **options
    )
    assert by_gradient.converged
    assert by_gradient.objective == pytest.approx(by_em.objective, abs=1e-6)
    assert naive_value(data, as_parts(by_gradient)) == pytest.approx(by_gradient.objective)


def test_gradient_and_em_agree_under_a_penalty():
    data = problem("regression", "penalty")
    near = fit_joint(data, problems.linear_parts(data, 4), Monitor(1e-7, 400, 5), naive_start(150))
    resp = WholeEvaluator(data)._e_step(
        as_parts(near), near.gate.log_proba(data.gate_X), near.experts.predict(data.X)
    )[0]
    by_em = fit_em(data, as_parts(near), Monitor(1e-10, 3000, 5), resp)
    by_gradient = fit_joint(data, as_parts(near), Monitor(1e-12, 1000, 5), resp, warm_up=1)
    assert by_gradient.objective == pytest.approx(by_em.objective, abs=1e-6)


class Recorded(TokenRouting):
    """Writes down the noise of every choice."""

    seen = []

    def candidates(self, scores, top_k, noise):
        Recorded.seen.append(None if noise is None else noise.std())
        return super().candidates(scores, top_k, noise)


@quiet
def test_noise_halves_between_stages_and_ends():
    X, y = problems.regression(1, n=300)
    Recorded.seen = []
    settings = {"n_experts": 4, "top_k": 2, "solver": "gradient", "random_state": 0}
    model = MoERegressor(routing=Recorded(noise=0.8), **settings).fit(X, np.ravel(y))
    sizes = Recorded.seen
    np.testing.assert_allclose(sizes[:3], [0.8, 0.4, 0.2], rtol=0.1)
    assert len(sizes) > 3 and set(sizes[3:]) == {None}
    renewed = np.flatnonzero(model.history_["renewed"])
    np.testing.assert_array_equal(renewed[:3], [3, 6, 9])
    assert len(model.history_["renewed"]) == model.n_iter_
    first = MoERegressor(routing="token", **settings).fit(X, np.ravel(y)).predict(X)
    again = MoERegressor(routing="token", **settings).fit(X, np.ravel(y)).predict(X)
    other = MoERegressor(routing="token", **settings | {"random_state": 1})
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other.fit(X, np.ravel(y)).predict(X))


@quiet
@pytest.mark.parametrize("routing", [TokenRouting(warm_up=4), "expert"])
def test_estimators_train_by_gradients_on_sets(routing):
    X, y = problems.classification(1, n=150)
    model = MoEClassifier(
        n_experts=4,
        top_k=2,
        routing=routing,
        solver="gradient",
        load_balance=BalanceBias(),
        max_iter=60,
        random_state=0,
    ).fit(X, y, sample_weight=problems.weights(150))
    assert model.routing_bias_.shape == (4,)
    assert model.score(X, y) > 0.5
    objective = np.array(model.history_["objective"])
    warm_up = getattr(routing, "warm_up", 0)
    assert model.objective_ == objective[warm_up:].max()


def test_gate_and_experts_may_see_other_columns():
    X, y = problems.regression(3, n=200)
    settings = {"n_experts": 3, "random_state": 0, "gate_features": [0]}
    fits = [
        MoERegressor(solver=solver, load_balance=BalancePenalty(1.0), tol=1e-9, **settings)
        .set_params(max_iter=2000)
        .fit(X, np.ravel(y))
        for solver in ("em", "gradient")
    ]
    assert fits[1].objective_ >= fits[0].objective_ - 1e-3


def test_an_l1_penalty_goes_with_load_balancing():
    X, y = problems.regression(3, n=200)
    model = MoERegressor(
        LinearExpert(alpha=5.0, l1_ratio=1.0),
        n_experts=3,
        solver="gradient",
        load_balance=BalancePenalty(1.0),
        random_state=0,
    )
    with_penalty = model.fit(X, np.ravel(y)).gate_proba(X).mean(axis=0)
    without = model.set_params(load_balance=None).fit(X, np.ravel(y)).gate_proba(X).mean(axis=0)
    assert with_penalty.std() < without.std()
