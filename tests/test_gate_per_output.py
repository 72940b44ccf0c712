"""A gate for each output over shared experts."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import StrictMonitor, linear_parts, regression, regression_data, responsibilities
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoERegressor
from skmoe._em import fit_em
from skmoe.balance import BalancePenalty
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import HierarchicalGate, MLPGate, SoftmaxGate
from skmoe.gates.per_output import OutputGates
from skmoe.solvers import EM, Gradient, Minibatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GATES = {
    "softmax": SoftmaxGate(1e-3),
    "hierarchical": HierarchicalGate((2, 2), alpha=1e-3),
    "mlp": MLPGate((4,), random_state=0),
}


def switching(seed, n=200, n_outputs=2, noise=0.1):
    """Outputs that take one of two functions of x, each switched by a feature of its own."""
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, size=(n, n_outputs + 2))
    functions = np.stack(
        [np.sin(4 * X[:, 0] + 2 * X[:, 1]), np.cos(3 * X[:, 0] - 3 * X[:, 1])], axis=1
    )
    y = np.take_along_axis(functions, (X[:, 2:] > 0).astype(int), axis=1)
    return X, (y + noise * rng.normal(size=y.shape)) * (1.0 + 0.5 * np.arange(n_outputs))


def shared_functions(seed, n):
    """Six noisy outputs, each one of two functions by the sign of a feature of its own."""
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, size=(n, 8))
    functions = np.stack(
        [2 * X[:, 0] + np.sin(4 * X[:, 1]), np.cos(4 * X[:, 1]) - 2 * X[:, 0]], axis=1
    )
    y = np.take_along_axis(functions, (X[:, 2:] > 0).astype(int), axis=1)
    return X, y + 0.3 * rng.normal(size=y.shape)


def fitted(seed=0, experts=None, solver="auto", **settings):
    X, y = switching(seed)
    settings = {"n_experts": 2, "gate_per_output": True, "random_state": 0} | settings
    return MoERegressor(experts, solver=solver, **settings).fit(X, y), X, y


@pytest.mark.parametrize("solver", ["gradient", "em"])
def test_linear_experts_share_nothing_and_are_separate_models(solver):
    tight = {"tol": 1e-12, "max_iter": 1000, "solver": solver}
    X = np.random.RandomState(0).uniform(-1, 1, size=(200, 3))
    y = np.where(X[:, :2] > 0, X[:, [2]], 1 - 2 * X[:, [2]])
    y = y + 0.1 * np.random.RandomState(1).normal(size=y.shape)
    model = MoERegressor(n_experts=2, gate_per_output=True, random_state=0, **tight).fit(X, y)
    single = [MoERegressor(n_experts=2, random_state=0, **tight).fit(X, y[:, j]) for j in range(2)]
    assert_allclose(model.objective_, sum(one.objective_ for one in single), atol=1e-6)
    loglik = sum(one.log_likelihood(X, y[:, j]) for j, one in enumerate(single))
    assert_allclose(model.log_likelihood(X, y), loglik, atol=2e-3)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("experts", [None, MLPExpert((4,))], ids=["linear", "mlp"])
@pytest.mark.parametrize(
    "solver", [EM(), Gradient(), Minibatch(n_epochs=3)], ids=lambda s: str(s)[:3]
)
def test_answers_are_those_of_the_formula(gate, experts, solver):
    n_experts = 4 if gate == "hierarchical" else 3
    model, X, y = fitted(
        experts=experts, solver=solver, gate=GATES[gate], n_experts=n_experts, max_iter=5
    )
    proba, pred = model.gate_proba(X), model.predict_experts(X)
    assert proba.shape == pred.shape == (200, n_experts, 2)
    assert_allclose(proba.sum(axis=1), 1.0)
    scale = model.likelihood_.scale_
    density = np.exp(-0.5 * ((y[:, None] - pred) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
    joint = proba * density
    assert_allclose(model.log_likelihood(X, y), np.log(joint.sum(axis=1)).sum(axis=1), rtol=1e-9)
    resp = joint / joint.sum(axis=1, keepdims=True)
    assert_allclose(model.responsibilities(X, y), resp, atol=1e-9)
    mean = (proba * pred).sum(axis=1)
    assert_allclose(model.predict(X), mean, rtol=1e-10)
    variance = (proba * (scale**2 + (pred - mean[:, None]) ** 2)).sum(axis=1)
    assert_allclose(model.predict(X, return_std=True)[1], np.sqrt(variance), rtol=1e-9)
    dist = model.predict_dist(X)
    assert_allclose(dist.logpdf(y), model.log_likelihood(X, y), rtol=1e-9)
    assert_allclose(dist.mean(), mean, rtol=1e-10)
    assert_allclose(dist.std(), np.sqrt(variance), rtol=1e-9)
    indices, weights = model.route(X)
    assert_allclose(weights, np.take_along_axis(proba, indices, axis=1))
    assert np.all(np.diff(weights, axis=1) <= 0)
    assert np.isfinite(model.objective_) and model.load_.shape == (n_experts,)


def test_distributions_of_outputs():
    model, X, y = fitted()
    dist = model.predict_dist(X[:50])
    assert (len(dist), dist.n_outputs, len(dist[:10])) == (50, 2, 10)
    lower, upper = dist.interval(0.8)
    assert_allclose(dist.cdf(upper) - dist.cdf(lower), 0.8, atol=1e-6)
    assert_allclose(dist.quantile(0.1), lower, atol=1e-8)
    assert dist.crps(y[:50]).shape == dist.var().shape == (50, 2)
    draws = dist.sample(4000, random_state=0)
    assert_allclose(draws.mean(axis=0), dist.mean(), atol=6 * dist.std().max() / np.sqrt(4000))
    assert_allclose(dist.output(1).mean(), dist.mean()[:, 1])
    assert_allclose(dist.weights, model.gate_proba(X[:50]))
    with pytest.raises(ValueError, match="one value for each of"):
        dist.logpdf(y[:50, 0])


def test_one_output_is_a_plain_mixture():
    X, y = regression(0)
    tight = {"n_experts": 2, "tol": 1e-10, "random_state": 0}
    plain = MoERegressor(**tight).fit(X, y)
    one = MoERegressor(gate_per_output=True, **tight).fit(X, y)
    assert_allclose(one.objective_, plain.objective_, atol=1e-7)
    assert_allclose(
        one.gate_proba(X)[:, :, 0].max(axis=1), plain.gate_proba(X).max(axis=1), atol=1e-3
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weighted", [False, True])
def test_em_climbs(seed, weighted):
    X, y = regression(seed, n_outputs=3, n=100)
    weight = np.random.RandomState(seed).uniform(0.2, 3.0, 100) if weighted else None
    data = regression_data(X, y, weight)
    parts = linear_parts(data, 3)
    parts.gate = OutputGates(SoftmaxGate())
    monitor = StrictMonitor(0.0, 15, patience=1000)
    resp = np.stack([responsibilities(100, 3, j) for j in range(3)], axis=2)
    result = fit_em(data, parts, monitor, resp)
    assert result.objective > result.history["objective"][0]


@pytest.mark.parametrize("how", ["median", "log_pool"])
def test_other_combinations_by_output(how):
    model, X, y = fitted(n_experts=3, combine=how)
    assert model.predict(X).shape == y.shape and model.score(X, y) > 0.2


def test_copies_weights_and_going_on():
    X, y = switching(0)
    model = MoERegressor(n_experts=2, gate_per_output=True, max_iter=3, warm_start=True)
    model.fit(X, y, np.ones(200))
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    assert clone(model).gate_per_output
    before = model.objective_
    assert model.set_params(max_iter=50).fit(X, y).objective_ > before
    gate = clone(model).set_params(gate=SoftmaxGate(alpha=10.0), warm_start=False).fit(X, y)
    assert np.ptp(gate.gate_proba(X)) < np.ptp(model.gate_proba(X))
    model.set_params(gate=SoftmaxGate(alpha=10.0)).fit(X, y)
    assert_allclose(model.objective_, gate.objective_, atol=0.05)
    doubled = MoERegressor(n_experts=2, gate_per_output=True, random_state=0, tol=1e-11)
    twice = clone(doubled).fit(np.vstack([X, X]), np.vstack([y, y]))
    assert_allclose(twice.objective_, doubled.fit(X, y, np.full(200, 2.0)).objective_, atol=1e-6)


def test_a_pipeline_before_the_gates():
    gate = make_pipeline(PolynomialFeatures(2, include_bias=False), SoftmaxGate())
    model, X, _ = fitted(gate=gate)
    assert model.gate_proba(X).shape == (200, 2, 2)
    assert len(model.gate_.steps[-1][1].gates_) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"experts": DecisionTreeRegressor()}, "DecisionTreeRegressor takes one weight"),
        ({"gate": "gaussian"}, "gate='gaussian'; use 'softmax'"),
        ({"top_k": 1}, "top_k=1 chooses experts by row"),
        ({"combine": "top1"}, "combine='top1' runs one expert"),
        ({"load_balance": BalancePenalty()}, "chooses experts by row"),
        ({"likelihood": "gaussian_with_noise"}, "but likelihood is GaussianWithNoise"),
        ({"n_experts": "auto"}, "n_experts='auto' has none"),
        ({"solver": EM(e_step="hard")}, "soft E-steps"),
        ({"solver": EM(polish=1)}, "does not go with revive or polish"),
        ({"solver": "stages", "init": "kmeans"}, "does not go with solver='stages'"),
        ({"experts": LinearExpert(l1_ratio=0.5), "solver": "gradient"}, "l1_ratio"),
    ],
)
def test_what_does_not_go_with_it(settings, message):
    X, y = switching(0, n=40)
    model = MoERegressor(**({"n_experts": 2, "gate_per_output": True} | settings))
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)


def test_methods_that_look_at_one_gate_refuse():
    model, X, y = fitted()
    for call in (
        lambda: model.diagnose(X, y),
        lambda: model.add_expert(X, y),
        lambda: model.remove_expert(0),
        lambda: model.prune(X),
    ):
        with pytest.raises(ValueError, match="does not go with gate_per_output=True"):
            call()
    assert not hasattr(model, "partial_fit")
    with pytest.raises(ValueError, match="top_k=1 chooses experts by row"):
        model.set_params(top_k=1).predict(X)


@pytest.mark.parametrize("seed", range(2))
def test_gates_of_outputs_beat_one_gate_and_separate_models(seed):
    """Two functions, found by all outputs together, and switched for each by itself."""
    X, y = shared_functions(seed, 200)
    X_new, y_new = shared_functions(seed + 100, 2000)

    def judged(targets, new, n_experts=2, **settings):
        experts = MLPExpert((16,), alpha=3.0)
        model = MoERegressor(experts, n_experts, solver="gradient", random_state=0, **settings).fit(
            X, targets
        )
        return np.array([model.log_likelihood(X_new, new).mean(), model.score(X_new, new)])

    by_output = judged(y, y_new, gate_per_output=True)
    single = np.array([judged(y[:, j], y_new[:, j]) for j in range(6)])
    separate = np.array([single[:, 0].sum(), single[:, 1].mean()])
    for other in (judged(y, y_new), judged(y, y_new, n_experts=4), separate):
        assert np.all(by_output > other + [2.0, 0.05])
