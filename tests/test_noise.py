"""The noise expert: a law beside the experts that explains outliers."""

import copy

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import (
    StrictMonitor,
    linear_parts,
    regression,
    regression_data,
    responsibilities,
    sparsened,
    weights,
)
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoERegressor
from skmoe._em import fit_em
from skmoe._fit import Parts, objective_value
from skmoe._joint import fit_joint, objective_gradient
from skmoe._monitor import Monitor
from skmoe._ops import get_ops
from skmoe._sweep import Sweeper
from skmoe._whole import WholeEvaluator
from skmoe.likelihoods import Gaussian, GaussianWithNoise
from skmoe.solvers import EM, Gradient, Pool

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NOTHING = np.empty((0, 0))


def polluted(seed, n=200, share=0.05, **sizes):
    """Regimes, and rows whose target is far from all of them: X, y (n, m), bad (n,)."""
    X, y = regression(seed, n=n, **sizes)
    rng = np.random.RandomState(seed + 100)
    bad = rng.uniform(size=n) < share
    y[bad] += rng.choice([-30.0, 30.0], size=y[bad].shape)
    return X, y, bad


def polluted_data(seed, sparse=False, n=100, **sizes):
    """`FitData` with weights and five far rows."""
    X, y = regression(seed, n=n, **sizes)
    y[:5] += 25.0
    return regression_data(sparsened(X, seed) if sparse else X, y, weights(n, seed))


def noisy_parts(data, n_experts=3, n_iter=3, **options):
    """Parts after some EM iterations from random responsibilities."""
    parts = linear_parts(data, n_experts, likelihood=GaussianWithNoise(**options))
    resp = responsibilities(len(data.y), n_experts)
    result = fit_em(data, parts, Monitor(0.0, n_iter), resp)
    return Parts(result.gate, result.experts, result.likelihood)


def explicit(data, parts):
    """The mixture of K + 1 laws by definition: log_gate, posterior (n, K + 1), loglik (n,)."""
    likelihood = parts.likelihood
    mean = np.average(data.y, axis=0, weights=data.weight)
    scale = np.sqrt(np.average((data.y - mean) ** 2, axis=0, weights=data.weight))
    pred = parts.experts.predict(data.X)
    log_lik = naive.gaussian_log_lik(data.y, pred, likelihood.dispersion)
    wide = (likelihood.width * scale[None]) ** 2
    noise = naive.gaussian_log_lik(data.y, np.tile(mean, (len(data.y), 1, 1)), wide)
    log_gate = parts.gate.log_proba(data.gate_X)
    share = likelihood.noise_share_
    prior = np.column_stack([np.log(1 - share) + log_gate, np.full(len(data.y), np.log(share))])
    resp, loglik, _ = naive.e_step(prior, np.column_stack([log_lik, noise]))
    return log_gate, resp, loglik


# -- the law -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_laws_of_experts_add_up_to_the_mixture_with_one_more_law(n_outputs):
    X, y, _ = polluted(0, n_outputs=n_outputs)
    data = regression_data(X, y, weights(200))
    parts = noisy_parts(data)
    log_gate, posterior, loglik = explicit(data, parts)
    likelihood, pred = parts.likelihood, parts.experts.predict(data.X)
    log_lik = likelihood.log_lik(data.y, pred)
    resp, found, _ = naive.e_step(log_gate, log_lik)
    assert_allclose(found, loglik, rtol=1e-10)
    # Noise is everyone's by the gate: that is why it does not move the gate.
    spread = posterior[:, :-1] + posterior[:, -1:] * np.exp(log_gate)
    assert_allclose(resp, spread, atol=1e-10)
    own = likelihood.expert_resp(data.y, pred, resp)
    assert_allclose(own, posterior[:, :-1], atol=1e-10)
    assert_allclose(np.exp(likelihood.log_noise(data.y) - loglik), posterior[:, -1], atol=1e-10)


def test_routed_columns_equal_those_of_all():
    X, y, _ = polluted(0)
    data = regression_data(X, y)
    parts = noisy_parts(data)
    likelihood, pred = parts.likelihood, parts.experts.predict(data.X)
    experts = np.tile([2, 0], (200, 1))
    some = likelihood.log_lik(data.y, pred[:, [2, 0]], experts)
    assert_allclose(some, likelihood.log_lik(data.y, pred)[:, [2, 0]], rtol=1e-12)
    resp = responsibilities(200, 3)
    some = likelihood.expert_resp(data.y, pred[:, [2, 0]], resp[:, [2, 0]], experts)
    assert_allclose(some, likelihood.expert_resp(data.y, pred, resp)[:, [2, 0]], rtol=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("with_given", [False, True])
def test_block_equals_naive(n_outputs, with_given):
    rng = np.random.RandomState(0)
    _, y = regression(0, n=70, n_outputs=n_outputs)
    weight, logits = weights(70), 3.0 * rng.normal(size=(70, 3))
    pred, log_odds = rng.normal(size=(70, 3, n_outputs)), 3.0 * rng.normal(size=70) - 4.0
    variance = rng.uniform(0.3, 4.0, size=(3, n_outputs))
    given = responsibilities(70, 3) if with_given else None
    own = naive.gaussian_log_lik(y, pred, variance)
    both = np.logaddexp(own, log_odds[:, None])
    log_gate = naive.log_softmax(logits)
    resp, loglik, _ = naive.e_step(log_gate, both)
    resp = given if with_given else resp
    left = weight[:, None] * (resp if with_given else resp * np.exp(own - both))

    gate, scores = logits.T.copy(), pred.reshape(70, -1).T.copy()
    joint, sums = np.empty((3, 70)), np.ones((3, n_outputs + 3))
    found, unexplained = get_ops().noisy_gaussian_block(
        y,
        np.stack([weight, log_odds]),
        variance,
        given if with_given else NOTHING,
        gate,
        scores,
        joint,
        sums,
    )
    assert_allclose(found, weight @ loglik, rtol=1e-12)
    assert unexplained == 0
    assert_allclose(joint, left.T, atol=1e-12)
    proba = np.exp(log_gate)
    assert_allclose(gate, (weight[:, None] * (resp - proba)).T, atol=1e-12)
    error = y[:, None, :] - pred
    weighted = left[:, :, None] * error
    assert_allclose(scores, weighted.reshape(70, -1).T, atol=1e-11)
    load = np.bincount(logits.argmax(axis=1), weights=weight, minlength=3)
    expected = [
        np.sum(weighted * error, axis=0),
        weight @ (proba * (1 - proba)),
        left.sum(axis=0),
        load,
    ]
    assert_allclose(sums - 1.0, np.column_stack(expected), rtol=1e-10, atol=1e-10)


def test_a_value_beyond_all_laws_stays_finite():
    X, y, _ = polluted(0)
    data = regression_data(X, y)
    parts = noisy_parts(data)
    y = np.array([[1e8], [-1e30], [0.0]])
    pred = np.zeros((3, 3, 1))
    assert np.isfinite(parts.likelihood.log_lik(y, pred)).all()
    own = parts.likelihood.expert_resp(y, pred, np.full((3, 3), 1 / 3))
    assert_allclose(own[:2], 0.0)
    gate, joint, sums = np.zeros((3, 3)), np.empty((3, 3)), np.zeros((3, 4))
    loglik, missed = parts.likelihood.e_block(
        y, np.ones(3), NOTHING, gate, np.zeros((3, 3)), joint, sums
    )
    assert np.isfinite(loglik) and missed == 0 and np.isfinite(sums).all()


# -- training ----------------------------------------------------------------------------------

CASES = [(False, 1), (True, 1), (False, 2)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize(("sparse", "n_outputs"), CASES)
def test_em_climbs(sparse, n_outputs, accelerate, shared, seed):
    data = polluted_data(seed, sparse, n_outputs=n_outputs)
    parts = linear_parts(data, 3, likelihood=GaussianWithNoise(shared=shared))
    monitor = StrictMonitor(0.0, 30, patience=10_000)
    result = fit_em(data, parts, monitor, responsibilities(100, 3, seed), accelerate=accelerate)
    assert result.objective > result.history["objective"][0]
    found = Parts(result.gate, result.experts, result.likelihood)
    loglik = data.weight @ explicit(data, found)[2]
    assert_allclose(result.objective, objective_value(data, loglik, found), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_em_of_one_expert_after_the_other_climbs(seed):
    X, y, _ = polluted(seed)
    data = regression_data(X, y, weights(200))
    parts = linear_parts(data, 3, likelihood=GaussianWithNoise())
    monitor = StrictMonitor(0.0, 20, patience=10_000)
    result = fit_em(data, parts, monitor, responsibilities(200, 3), assign=np.copy)
    assert result.objective > result.history["objective"][0]
    assert (result.expert_resp <= result.resp + 1e-12).all()
    assert result.expert_resp.sum() < 0.999 * result.resp.sum()


def test_m_step_of_share_and_variances_by_definition():
    X, y, _ = polluted(0)
    data = regression_data(X, y, weights(200))
    parts = noisy_parts(data)
    pred, posterior = parts.experts.predict(data.X), explicit(data, parts)[1]
    likelihood, left = copy.copy(parts.likelihood), posterior[:, :-1]
    likelihood.update(data.y, pred, left, data.weight)
    total = data.weight @ left
    squares = np.sum((data.weight[:, None] * left) * (data.y - pred[:, :, 0]) ** 2, axis=0)
    variance = (squares + 0.1 * data.base_variance) / (total + 1.0)
    assert_allclose(likelihood.dispersion[:, 0], variance, rtol=1e-9)
    share = (data.weight @ posterior[:, -1] + 0.01) / (data.total_weight + 1.0)
    assert_allclose(likelihood.noise_share_, share, rtol=1e-9)
    # The sweep gives the same sums.
    other, sums = copy.copy(parts.likelihood), Sweeper(data)(parts)
    other.update_sums(sums.squares, sums.weight, sums.load.sum())
    assert_allclose(other.flat(), likelihood.flat(), rtol=1e-9)


def value_at(evaluator, parts, flat):
    moved = parts.with_flat(flat)
    return objective_value(evaluator.data, evaluator(moved).loglik, moved)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("sparse", "n_outputs"), CASES)
def test_gradient_equals_finite_differences(sparse, n_outputs, shared):
    data = polluted_data(0, sparse, n_outputs=n_outputs)
    parts = noisy_parts(data, shared=shared)
    for evaluator in (Sweeper(data), WholeEvaluator(data)):
        sums, flat = evaluator(parts, grams=True), parts.flat()
        found = objective_gradient(data, parts, sums)

        steps = 1e-5 * np.eye(len(flat))
        rises = [
            value_at(evaluator, parts, flat + step) - value_at(evaluator, parts, flat - step)
            for step in steps
        ]
        assert_allclose(found, np.array(rises) / 2e-5, atol=2e-7)
    swept = Sweeper(data)(parts, grams=True)
    for name in ("loglik", "experts", "by_expert", "gram"):
        assert_allclose(getattr(swept, name), getattr(sums, name), rtol=1e-8, atol=1e-8)


def test_solvers_agree():
    X, y, _ = polluted(1, n=400)
    data = regression_data(X, y)
    parts = linear_parts(data, 3, likelihood=GaussianWithNoise())
    start = responsibilities(400, 3, 1)
    near = fit_em(data, parts, Monitor(1e-6, 500, patience=3), start)
    parts = Parts(near.gate, near.experts, near.likelihood)
    log_gate = parts.gate.log_proba(data.gate_X)
    log_lik = parts.likelihood.log_lik(data.y, parts.experts.predict(data.X))
    resp = naive.e_step(log_gate, log_lik)[0]
    em = fit_em(data, parts, Monitor(1e-11, 4000, patience=3), resp)
    joint = fit_joint(data, parts, Monitor(1e-11, 1000, patience=3), resp)
    assert_allclose(em.objective, joint.objective, atol=1e-6)
    assert_allclose(em.likelihood.noise_share_, joint.likelihood.noise_share_, rtol=1e-2)


def test_repeated_rows_are_integer_weights():
    X, y, _ = polluted(0, n=120)
    weight = np.random.RandomState(0).randint(1, 4, size=120)
    start = responsibilities(120, 2)
    model = MoERegressor(n_experts=2, likelihood="gaussian_with_noise", init=start, n_init=1)
    one = clone(model).fit(X, y[:, 0], sample_weight=weight)
    rows = np.repeat(np.arange(120), weight)
    two = model.set_params(init=start[rows]).fit(X[rows], y[rows, 0])
    assert_allclose(one.objective_, two.objective_, rtol=1e-7)
    assert_allclose(one.likelihood_.noise_share_, two.likelihood_.noise_share_, rtol=1e-3)


# -- estimators --------------------------------------------------------------------------------

MODELS = {
    "linear": {},
    "em": {"solver": "em"},
    "gradient": {"solver": Gradient(warm_up=1)},
    "minibatch": {"solver": "minibatch"},
    "moves": {"solver": EM(revive=True, polish=1)},
    "hard": {"solver": EM(e_step="hard")},
    "gaussian gate": {"gate": "gaussian"},
    "mlp gate": {"gate": "mlp"},
    "ridge": {"experts": Ridge()},
    "out of fold": {"experts": Ridge(), "cross_fit": 3},
    "routed": {"top_k": 1, "routing": "token"},
    "routed ridge": {"experts": Ridge(), "top_k": 1, "routing": "token"},
}


@pytest.mark.parametrize("kind", MODELS)
def test_outliers_move_neither_gate_nor_experts(kind):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(500, 2))
    truth = np.abs(X[:, 0])
    y = truth + 0.1 * rng.normal(size=500)
    bad = rng.uniform(size=500) < 0.06
    y[bad] += rng.choice([-12.0, 15.0], size=bad.sum())
    settings = {"n_experts": 2, "random_state": 0, **MODELS[kind]}
    plain, noisy = (
        MoERegressor(likelihood=likelihood, **settings).fit(X, y)
        for likelihood in (Gaussian(), GaussianWithNoise())
    )
    assert 0.04 < noisy.likelihood_.noise_share_ < 0.08
    errors = [np.mean((model.predict(X) - truth) ** 2) for model in (plain, noisy)]
    assert errors[1] < 0.02 and errors[1] < 0.5 * errors[0]
    assert noisy.likelihood_.scale_.max() < 0.16
    assert noisy.log_likelihood(X, y).mean() > plain.log_likelihood(X, y).mean() + 0.5
    assert_array_equal(noisy.noise_proba(X, y) > 0.5, bad)
    assert_array_equal(plain.noise_proba(X, y), 0.0)
    assert_allclose(noisy.responsibilities(X, y).sum(axis=1), 1.0)


def test_noise_takes_no_expert_for_itself():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(500, 2))
    y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=500)
    bad = rng.uniform(size=500) < 0.06
    y[bad] += 12.0 * rng.normal(size=bad.sum())  # at two places they would be regimes
    plain, noisy = (
        MoERegressor(n_experts="auto", max_experts=4, likelihood=likelihood, random_state=0)
        .fit(X, y)
        .n_experts_
        for likelihood in (Gaussian(), GaussianWithNoise())
    )
    assert noisy == 2 < plain


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_distribution_has_the_noise_and_the_prediction_has_not(n_outputs):
    X, y, _ = polluted(0, n_outputs=n_outputs)
    y = y if n_outputs > 1 else y[:, 0]
    model = MoERegressor(n_experts=2, likelihood=GaussianWithNoise(), random_state=0).fit(X, y)
    dist, share = model.predict_dist(X), model.likelihood_.noise_share_
    assert dist.log_weights.shape == (200, 3)
    assert_allclose(dist.weights.sum(axis=1), 1.0)
    assert_allclose(dist.logpdf(y), model.log_likelihood(X, y), rtol=1e-9)
    mean, std = model.predict(X, return_std=True)
    assert_allclose(dist.mean(), (1 - share) * mean + share * y.mean(axis=0), rtol=1e-9)
    wide = (2.0 * y.std(axis=0)) ** 2
    within = (1 - share) * (std**2 + mean**2) + share * (wide + y.mean(axis=0) ** 2)
    assert_allclose(dist.var(), within - dist.mean() ** 2, rtol=1e-8)
    lower, upper = dist.interval(0.9)
    assert_allclose(dist.cdf(upper) - dist.cdf(lower), 0.9, atol=1e-6)


def test_units_of_the_target_do_not_matter():
    X, y, _ = polluted(0)
    one, two = (
        MoERegressor(n_experts=2, likelihood="gaussian_with_noise", random_state=0).fit(X, target)
        for target in (y[:, 0], 1e4 * y[:, 0] - 3e5)
    )
    assert_allclose(one.objective_, two.objective_, rtol=1e-6)
    assert_allclose(one.likelihood_.noise_share_, two.likelihood_.noise_share_, rtol=1e-4)


def test_a_target_without_outliers_has_next_to_no_noise():
    X, y = regression(0, n=400)
    plain, noisy = (
        MoERegressor(n_experts=3, likelihood=likelihood, random_state=0).fit(X, y[:, 0])
        for likelihood in (Gaussian(), GaussianWithNoise())
    )
    assert noisy.likelihood_.noise_share_ < 0.02
    assert noisy.n_parameters_ == plain.n_parameters_ + 1


def test_warm_start_takes_up_and_drops_the_noise():
    X, y, _ = polluted(0)
    model = MoERegressor(n_experts=2, likelihood=GaussianWithNoise(), warm_start=True)
    model.fit(X, y[:, 0])
    share, objective = model.likelihood_.noise_share_, model.objective_
    model.set_params(likelihood__share=0.011).fit(X, y[:, 0])
    assert_allclose(model.likelihood_.noise_share_, share, rtol=0.1)
    assert_allclose(model.objective_, objective, atol=0.01)
    assert clone(model).likelihood.share == 0.011


def test_life_of_experts_keeps_the_share():
    X, y, _ = polluted(0, n=300)
    model = MoERegressor(n_experts=2, likelihood=GaussianWithNoise(), random_state=0)
    model.fit(X, y[:, 0])
    share = model.likelihood_.noise_share_
    model.add_expert(X, y[:, 0])
    assert model.n_experts_ == 3 and model.likelihood_.noise_share_ == share
    model.remove_expert(0)
    assert np.isfinite(model.log_likelihood(X, y[:, 0])).all()


def test_pool_with_noise():
    X, y, bad = polluted(0, n=300)
    pool = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=4, random_state=0))]
    model = MoERegressor(pool, likelihood=GaussianWithNoise(), solver=Pool(), random_state=0)
    proba = model.fit(X, y[:, 0]).noise_proba(X, y[:, 0])
    assert proba[bad].mean() > 0.5 > 0.05 > proba[~bad].mean()
    assert_allclose(model.likelihood_.noise_share_, proba.mean(), rtol=0.2)


def test_bad_options():
    X, y, _ = polluted(0, n=50)
    for options in ({"width": 0.0}, {"share": 0.0}, {"share": 1.0}, {"floor": -1.0}):
        model = MoERegressor(n_experts=2, likelihood=GaussianWithNoise(**options))
        with pytest.raises(ValueError, match=f"'{next(iter(options))}' parameter of Gauss"):
            model.fit(X, y[:, 0])
    with pytest.raises(AttributeError, match="GaussianWithNoise is not fitted"):
        _ = GaussianWithNoise().noise_share_
