"""Training for the blended prediction in the place of the likelihood."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import regression
from scipy.special import log_softmax
from test_interrupt import CtrlC

from skmoe import MoEClassifier, MoERegressor
from skmoe._cooperative import SquaredLoss
from skmoe.balance import BalancePenalty
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.solvers import Gradient, Minibatch, Stages

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = [Gradient(objective="prediction"), Minibatch(objective="prediction", n_epochs=40)]


def bent(seed, n=300, n_outputs=1):
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, size=(n, 2))
    y = np.column_stack([np.sin(3 * X[:, 0]) + X[:, 1] ** 2, np.cos(3 * X[:, 1]) * X[:, 0]])
    return X, (y + 0.2 * rng.normal(size=y.shape))[:, :n_outputs]


@pytest.mark.parametrize("solver", SOLVERS, ids=["gradient", "minibatch"])
@pytest.mark.parametrize("per_output", [False, True])
def test_the_objective_is_the_penalised_squared_error(solver, per_output):
    X, y = bent(0, n_outputs=2)
    weight = np.random.RandomState(0).uniform(0.3, 2.0, size=len(y))
    experts, gate = LinearExpert(alpha=0.0), SoftmaxGate(alpha=0.0)
    model = MoERegressor(
        experts, 3, gate=gate, solver=solver, gate_per_output=per_output, random_state=0
    )
    model.fit(X, y, weight)
    one = MoERegressor(LinearExpert(alpha=1.0), 1, tol=1e-10)
    pred = one.set_params(likelihood=Gaussian(floor=0.0)).fit(X, y, weight).predict(X)
    unit = weight @ (y - pred) ** 2 / weight.sum()
    error = 0.5 * weight @ ((y - model.predict(X)) ** 2 / unit).sum(axis=1) / weight.sum()
    assert_allclose(model.objective_, -error, rtol=1e-3)
    history = model.history_["objective"]
    if isinstance(solver, Gradient):
        assert_allclose(model.objective_, max(history))
        assert np.all(np.diff(history) >= -1e-10)


@pytest.mark.parametrize("experts", [None, MLPExpert((4,), alpha=0.1)], ids=["linear", "mlp"])
@pytest.mark.parametrize("solver", SOLVERS, ids=["gradient", "minibatch"])
def test_noise_is_that_of_most_likelihood(solver, experts):
    X, y = bent(0)
    y = y[:, 0]
    likelihood = Gaussian(floor=0.0)
    model = MoERegressor(experts, 3, solver=solver, likelihood=likelihood, random_state=0)
    model.fit(X, y)
    proba, pred, scale = model.gate_proba(X), model.predict_experts(X), model.likelihood_.scale_

    def loglik(scale):
        density = np.exp(-0.5 * ((y[:, None] - pred) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
        return np.log((proba * density).sum(axis=1)).mean()

    assert_allclose(loglik(scale), model.log_likelihood(X, y).mean())
    for k in range(3):
        for factor in (0.8, 1.25):
            moved = np.where(np.arange(3) == k, factor * scale, scale)
            assert loglik(moved) <= loglik(scale) + 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_linear_experts_that_cooperate_predict_bent_functions_better(seed):
    X, y = bent(seed)
    X_new, y_new = bent(seed + 100, 2000)
    both = {}
    for objective in ("likelihood", "prediction"):
        solver = Gradient(objective=objective)
        model = MoERegressor(n_experts=4, solver=solver, random_state=0).fit(X, y)
        both[objective] = (
            np.mean((model.predict(X) - y) ** 2),
            model.score(X_new, y_new),
            model.log_likelihood(X_new, y_new).mean(),
        )
    assert both["prediction"][0] < both["likelihood"][0]
    assert both["prediction"][2] < both["likelihood"][2]


def test_one_expert_is_least_squares():
    X, y = regression(0)
    likelihood = MoERegressor(LinearExpert(alpha=0.0), 1).fit(X, y)
    solver = Gradient(objective="prediction")
    blended = MoERegressor(LinearExpert(alpha=0.0), 1, solver=solver, tol=1e-10).fit(X, y)
    assert_allclose(blended.predict(X), likelihood.predict(X), atol=1e-5)
    assert_allclose(blended.likelihood_.scale_, likelihood.likelihood_.scale_, rtol=1e-3)


@pytest.mark.parametrize("kind", [Gradient, Minibatch])
def test_of_classes_it_is_the_likelihood(kind):
    X, y = regression(0)
    codes = np.digitize(y[:, 0], [0.0, 2.0])
    models = [
        MoEClassifier(n_experts=2, solver=kind(objective=objective), random_state=0).fit(X, codes)
        for objective in ("likelihood", "prediction")
    ]
    assert_array_equal(models[0].predict_proba(X), models[1].predict_proba(X))


def test_missing_outputs_have_no_error():
    X, y = bent(0, n_outputs=2)
    holes = np.where(np.random.RandomState(9).uniform(size=y.shape) < 0.3, np.nan, y)
    model = MoERegressor(
        n_experts=3, missing_outputs="mask", solver=SOLVERS[0], random_state=0
    ).fit(X, holes)
    assert model.score(X, y) > 0.7


@pytest.mark.parametrize("solver", SOLVERS, ids=["gradient", "minibatch"])
def test_early_stopping_warm_start_and_interruption(solver, monkeypatch):
    X, y = bent(0)
    model = MoERegressor(
        n_experts=3, solver=solver, init="kmeans", n_init=1, max_iter=77, random_state=0
    )
    model.set_params(warm_start=True)
    with monkeypatch.context() as patch:
        CtrlC(patch, 4, 77)
        with pytest.raises(KeyboardInterrupt, match="goes on from there"):
            model.fit(X, y)
    first = model.objective_
    assert isinstance(model.likelihood_, Gaussian)
    assert np.isfinite(model.predict_dist(X).logpdf(y)).all()
    assert model.fit(X, y).objective_ > first


def test_validation_curve():
    X, y = bent(0)
    solver = Minibatch(objective="prediction", early_stopping=True, n_epochs=10)
    model = MoERegressor(n_experts=3, solver=solver, random_state=0).fit(X, y)
    curve = model.history_["validation"]
    assert len(curve) == model.n_iter_ and max(curve) < 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"likelihood": "gaussian_with_noise"}, "but likelihood is GaussianWithNoise"),
        ({"likelihood": "student_t"}, "but likelihood is StudentT"),
        ({"load_balance": BalancePenalty()}, "does not go with load_balance"),
        ({"routing": "token", "top_k": 1}, "does not go with routing"),
        ({"n_experts": "auto"}, "compares likelihoods"),
        ({"experts": LinearExpert(l1_ratio=0.5)}, "L1 penalty"),
        ({"solver": Gradient(objective="prediction", polish=1)}, "revive or polish"),
        ({"solver": Stages(solver=SOLVERS[0]), "init": "kmeans"}, "climbs the likelihood"),
    ],
)
def test_what_does_not_go_with_it(settings, message):
    X, y = bent(0, 60)
    model = MoERegressor(**({"n_experts": 2, "solver": SOLVERS[0]} | settings))
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    with pytest.raises(ValueError, match="partial_fit climbs the likelihood"):
        MoERegressor(n_experts=2, solver=SOLVERS[0]).partial_fit(X, y)


def test_wide_features_that_are_trained_from_scratch_are_refused():
    X = sp.random(200, 3000, density=0.01, format="csr", random_state=0)
    with pytest.raises(ValueError, match="features as wide as these are trained from scratch"):
        MoERegressor(n_experts=3, solver=SOLVERS[1]).fit(X, np.arange(200.0))


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_block_of_the_loss_is_that_of_all_rows(n_outputs):
    rng = np.random.RandomState(0)
    y, weight = rng.normal(size=(40, n_outputs)), rng.uniform(0.5, 2.0, size=40)
    pred, log_gate = rng.normal(size=(40, 3, n_outputs)), log_softmax(rng.normal(size=(40, 3)), 1)
    data = SimpleNamespace(y=y, observed=None, base_variance=np.full(n_outputs, 0.7))
    loss = SquaredLoss(data, 3)
    value, by_log_gate, by_pred = loss.blend(data, log_gate, pred)
    gate, sums = log_gate.T + rng.normal(size=40), np.zeros((3, loss.n_sums(n_outputs)))
    scores = np.ascontiguousarray(pred.transpose(1, 2, 0).reshape(3 * n_outputs, 40))
    joint, proba = np.empty_like(gate), np.exp(log_gate)
    found, _ = loss.blend_block(y, weight, gate, scores, joint, sums)
    assert_allclose(found, weight @ value)
    assert_allclose(joint.T, weight[:, None] * proba)
    by_logit = by_log_gate - by_log_gate.sum(axis=1, keepdims=True) * proba
    assert_allclose(gate.T, weight[:, None] * by_logit, atol=1e-12)
    by_pred = by_pred.transpose(1, 2, 0).reshape(scores.shape)
    assert_allclose(scores, weight * by_pred, atol=1e-12)
    assert_allclose(sums[:, -2], weight @ proba)
    assert_allclose(sums[:, -3], weight @ (proba * (1.0 - proba)))
    assert_allclose(sums[:, -1], np.bincount(log_gate.argmax(axis=1), weight, minlength=3))
