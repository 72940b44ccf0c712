"""Sparse routing: candidate sets, training on them, and their slow twins."""

import pickle
from dataclasses import replace

import naive
import numpy as np
import problems
import pytest
import scipy.sparse as sp
from scipy.special import log_softmax, logsumexp
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._em import fit_em
from skmoe._monitor import Monitor
from skmoe._routed import fit_routed
from skmoe.balance import BalanceBias, BalancePenalty
from skmoe.experts import LinearExpert
from skmoe.experts._jobs import Shown
from skmoe.gates import SoftmaxGate
from skmoe.routing import Candidates, ExpertRouting, TokenRouting, route_rows, top_k_route
from skmoe.solvers import Gradient

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def random_log_gate(n, n_experts, seed=0):
    return log_softmax(np.random.default_rng(seed).normal(size=(n, n_experts)), axis=1)


# --- candidate sets ----------------------------------------------------------------


@pytest.mark.parametrize("top_k", [1, 2, 5])
def test_token_routing_takes_the_best_of_each_row(top_k):
    log_gate = random_log_gate(40, 5)
    sets = TokenRouting().candidates(log_gate, top_k, None)
    best = np.sort(np.argsort(-log_gate, axis=1)[:, :top_k], axis=1)
    np.testing.assert_array_equal(np.sort(sets.indices, axis=1), best)


@pytest.mark.parametrize("n, n_experts, top_k", [(40, 5, 1), (41, 5, 2), (7, 3, 3), (3, 5, 1)])
def test_expert_routing_against_a_loop(n, n_experts, top_k):
    log_gate = random_log_gate(n, n_experts)
    capacity = min(n, int(np.ceil(n * top_k / n_experts)))
    expected = np.zeros((n, n_experts), dtype=bool)
    for k in range(n_experts):
        for row in sorted(range(n), key=lambda i: -log_gate[i, k])[:capacity]:
            expected[row, k] = True
    for row in range(n):
        if not expected[row].any():
            expected[row, int(np.argmax(log_gate[row]))] = True
    sets = ExpertRouting().candidates(log_gate, top_k, None)
    np.testing.assert_array_equal(sets.mask(), expected)


def test_candidates_of_unequal_sizes():
    mask = np.array([[True, False, True], [False, True, False], [True, True, True]])
    sets = Candidates.from_mask(mask)
    np.testing.assert_array_equal(sets.mask(), mask)
    assert sets.n_pairs == 6
    assert [rows.tolist() for rows in sets.rows] == [[0, 2], [1, 2], [0, 2]]
    values = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(sets.spread(sets.take(values, 0.0)), np.where(mask, values, 0.0))
    assert (sets.take(values)[1] == -np.inf).sum() == 2
    parts = [10.0 * k + rows[:, None] for k, rows in enumerate(sets.rows)]
    placed = sets.spread(sets.place(parts)[:, :, 0])
    expected = np.where(mask, 10.0 * np.arange(3) + np.arange(3)[:, None], 0.0)
    np.testing.assert_array_equal(placed, expected)


def test_noise_changes_sets_and_a_bias_moves_them():
    log_gate = random_log_gate(200, 4)
    plain = TokenRouting().candidates(log_gate, 1, None)
    noise = np.random.default_rng(1).normal(size=log_gate.shape)
    assert (TokenRouting().candidates(log_gate, 1, noise).indices != plain.indices).any()
    bias = np.array([0.0, 0.0, 0.0, 50.0])
    indices, log_weights = top_k_route(log_gate, 2, bias)
    assert (indices[:, 0] == 3).all()
    chosen = np.take_along_axis(log_gate, indices, axis=1)
    np.testing.assert_allclose(log_weights, log_softmax(chosen, axis=1), atol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 1024, 2500])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_routes_of_blocks_are_those_of_all_rows(n, sparse, biased):
    X = np.random.default_rng(0).normal(size=(2500, 3))
    X = sp.csr_matrix(X) if sparse else X
    gate, rows = SoftmaxGate().fit(X, np.exp(random_log_gate(2500, 6))), X[:n]
    bias = np.linspace(-1.0, 1.0, 6) if biased else None
    found = route_rows(gate, rows, 2, bias)
    expected = top_k_route(gate.log_proba(rows), 2, bias)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-12)


# --- training on fixed sets against its slow twin ---------------------------------------


def line(seed, n):
    X, y = problems.regression(seed, n=n)
    return X, np.ravel(y)


def naive_routed_em(data, sets, resp, log_gates, *, alpha=1.0, floor=0.1):
    """Coefficients, variances and the responsibilities that they were fitted to."""
    Z = naive.columns(data.X.X, data.X.center, data.X.scale)
    n, n_experts = resp.shape
    mask, y = sets.mask(), data.y[:, 0]
    coef = np.zeros((Z.shape[1], n_experts))
    variance = np.full(n_experts, data.base_variance[0])
    ridge = np.append(np.full(Z.shape[1] - 1, alpha / data.y_scale[0] ** 2), 0.0)
    for log_gate in log_gates:
        fitted_to = resp.copy()
        for k in range(n_experts):
            own = np.flatnonzero(mask[:, k])
            w = data.weight[own] * resp[own, k]
            gram = (Z[own] * w[:, None]).T @ Z[own] + variance[k] * np.diag(ridge)
            coef[:, k] = np.linalg.solve(gram, Z[own].T @ (w * y[own]))
            error = y[own] - Z[own] @ coef[:, k]
            squares = w @ error**2 + floor * data.base_variance[0]
            variance[k] = squares / (w.sum() + 1.0)
        for i in range(n):
            error = y[i] - Z[i] @ coef
            log_lik = -0.5 * (error**2 / variance + np.log(2 * np.pi * variance))
            joint = np.where(mask[i], log_gate[i] + log_lik, -np.inf)
            resp[i] = np.exp(joint - logsumexp(joint))
    return coef, variance, fitted_to


class FixedRouting(TokenRouting):
    """Always the same sets, from the row numbers."""

    def candidates(self, scores, top_k, noise):
        n, n_experts = scores.shape
        return Candidates((np.arange(n)[:, None] + np.arange(top_k)) % n_experts, n_experts)


class GateRecord:
    """A gate that never changes, on all calls."""

    def __init__(self, log_gate):
        self.log_gate = log_gate

    def fit(self, X, resp, sample_weight=None):
        return self

    def log_proba(self, X):
        return self.log_gate


@pytest.mark.parametrize("weighted", [False, True])
def test_linear_experts_against_a_naive_routed_em(weighted):
    data = problems.make_data("regression", 3, weighted, False, n=60)
    parts = problems.linear_parts(data, 4)
    parts.gate = GateRecord(random_log_gate(60, 4))
    resp = problems.responsibilities(60, 4)
    monitor = Monitor(0.0, 3)
    result = fit_routed(data, parts, monitor, resp, routing=FixedRouting(), top_k=2)
    sets = FixedRouting().candidates(parts.gate.log_gate, 2, None)
    start = np.where(sets.mask(), resp, 0.0)
    start /= start.sum(axis=1, keepdims=True)
    coef, variance, resp = naive_routed_em(data, sets, start, [parts.gate.log_gate] * 3)
    np.testing.assert_allclose(result.experts.coef[:, :, 0], coef, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(result.likelihood.dispersion[:, 0], variance, rtol=1e-8)
    np.testing.assert_allclose(result.resp, resp, rtol=1e-6, atol=1e-9)
    assert result.history["rows_fitted"] == [120] * 3


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("weighted, sparse", [(False, False), (True, True)])
def test_the_bound_never_drops_on_fixed_sets(task, weighted, sparse):
    data = problems.make_data(task, 5, weighted, sparse, n=150)
    parts = problems.linear_parts(data, 4)
    monitor = problems.StrictMonitor(1e-9, 40)
    resp = problems.responsibilities(150, 4)
    fit_routed(data, parts, monitor, resp, routing=FixedRouting(), top_k=2)
    assert monitor.history["objective"][-1] > monitor.history["objective"][0]


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_all_experts_as_candidates_is_dense_training(task):
    data = problems.make_data(task, 2, True, False, n=120)
    resp = problems.responsibilities(120, 3)
    results = []
    for fit, options in ((fit_em, {}), (fit_routed, {"routing": TokenRouting(), "top_k": 3})):
        parts = problems.linear_parts(data, 3)
        parts.gate = GateRecord(random_log_gate(120, 3))
        # Multinomial steps of several experts at once differ from those of one alone.
        n_iter = 3 if task == "regression" else 60
        results.append(fit(data, parts, Monitor(0.0, n_iter), resp, **options))
    dense, routed = results
    accuracy = 1e-10 if task == "regression" else 1e-6
    assert routed.objective == pytest.approx(dense.objective, rel=accuracy)
    np.testing.assert_allclose(routed.resp, dense.resp, atol=100 * accuracy**0.5)


# --- estimators -----------------------------------------------------------------------


class Counting(RegressorMixin, BaseEstimator):
    """A tree that writes down how many rows it sees."""

    fitted = []
    asked = []

    def __init__(self, max_depth=3):
        self.max_depth = max_depth

    def fit(self, X, y, sample_weight=None):
        Counting.fitted.append(len(X))
        self.tree_ = DecisionTreeRegressor(max_depth=self.max_depth, random_state=0)
        self.tree_.fit(X, y, sample_weight)
        return self

    def predict(self, X):
        Counting.asked.append(len(X))
        return self.tree_.predict(X)


@quiet
@pytest.mark.parametrize("cross_fit", [None, 3])
@pytest.mark.parametrize("routing", ["token", "expert"])
def test_work_is_in_proportion_to_top_k(routing, cross_fit):
    X, y = line(0, 300)
    Counting.fitted, Counting.asked = [], []
    model = MoERegressor(
        Counting(),
        n_experts=6,
        top_k=2,
        routing=routing,
        cross_fit=cross_fit,
        max_iter=7,
        random_state=0,
    ).fit(X, y)
    history = model.history_
    nominal = 300 * 2 * (1 if cross_fit is None else cross_fit - 1)
    final = 0 if cross_fit is None else 300 * 2 + 6 * 20
    slack = 300 if routing == "expert" else 6 * 3 * 20
    assert max(history["rows_fitted"]) <= nominal + slack
    assert sum(Counting.fitted) <= sum(history["rows_fitted"]) + final + slack
    assert sum(Counting.asked) == sum(history["rows_predicted"])
    assert any(history["renewed"]) and not history["renewed"][0]
    Counting.asked = []
    model.predict(X)
    assert sum(Counting.asked) == 2 * 300


@quiet
def test_warm_up_trains_on_all_rows_and_is_not_kept():
    X, y = line(0, 200)
    tree = DecisionTreeRegressor(max_depth=3)
    model = MoERegressor(
        tree,
        n_experts=5,
        top_k=1,
        routing=TokenRouting(warm_up=2),
        cross_fit=None,
        max_iter=6,
        random_state=0,
    ).fit(X, y)
    fitted = model.history_["rows_fitted"]
    # Responsibilities may be too small to be told from zero.
    assert min(fitted[:2]) > 900 and max(fitted[3:]) <= 200 + 5 * 20
    assert model.objective_ == max(model.history_["objective"][2:])


@quiet
@pytest.mark.parametrize("routing", ["token", "expert", TokenRouting(noise=0.0)])
@pytest.mark.parametrize("experts", ["linear", "tree"])
@pytest.mark.parametrize("classify", [False, True])
def test_fits_weights_and_pickles(routing, experts, classify):
    X, y = problems.classification(1, n=150) if classify else line(1, 150)
    weight = problems.weights(150)
    tree = DecisionTreeClassifier(max_depth=2) if classify else DecisionTreeRegressor(max_depth=2)
    kind = MoEClassifier if classify else MoERegressor
    settings = {"n_experts": 4, "top_k": 2, "max_iter": 8, "random_state": 0}
    model = kind(None if experts == "linear" else tree, routing=routing, **settings)
    model.fit(X, y, sample_weight=weight)
    again = clone(model).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert ((model.responsibilities(X, y) > 0).sum(axis=1) <= 2).all()
    assert model.load_.sum() == pytest.approx(1.0)


@quiet
def test_top_k_can_be_searched():
    X, y = line(1, 120)
    model = MoERegressor(n_experts=3, routing="token", top_k=1, max_iter=10, random_state=0)
    grid = {"top_k": [1, 2], "routing__noise": [0.0, 1.0]}
    search = GridSearchCV(model, grid, cv=2).fit(X, y)
    assert search.best_params_["top_k"] in (1, 2)
    assert model.routing == "token"


@quiet
def test_sparse_rows_and_frames_reach_routed_experts():
    X, y = line(1, 120)
    settings = {"n_experts": 3, "top_k": 1, "max_iter": 4, "random_state": 0}
    for experts in (None, Ridge()):
        model = MoERegressor(experts, routing="token", **settings)
        dense = model.fit(X, y).predict(X)
        assert dense.shape == (120,)
        assert np.isfinite(model.fit(sp.csr_matrix(X), y).predict(sp.csr_matrix(X))).all()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"routing": "token"}, "top_k is None; set top_k"),
        ({"load_balance": BalanceBias()}, "set top_k, or use BalancePenalty"),
        ({"routing": "tokens", "top_k": 1}, "'routing' parameter"),
        ({"load_balance": 0.1}, "'load_balance' parameter"),
        ({"routing": "token", "top_k": 1, "solver": "minibatch"}, "use another solver"),
        (
            {"routing": "token", "top_k": 1, "solver": Gradient(revive=True)},
            "leave revive at False",
        ),
        ({"load_balance": BalancePenalty(), "solver": "minibatch"}, "use another solver"),
        (
            {
                "routing": "token",
                "top_k": 1,
                "solver": "gradient",
                "experts": LinearExpert(l1_ratio=0.5),
            },
            "with an L1 penalty",
        ),
        ({"routing": TokenRouting(noise=-1.0), "top_k": 1}, "'noise' parameter"),
        ({"load_balance": BalancePenalty(strength=-1.0)}, "'strength' parameter"),
        (
            {"routing": "token", "top_k": 1, "experts": LinearExpert(l1_ratio=0.5)},
            "l1_ratio=0",
        ),
    ],
)
def test_errors_name_the_cure(settings, message):
    X, y = line(0, 30)
    with pytest.raises((TypeError, ValueError), match=message):
        MoERegressor(**settings).fit(X, y)


# --- load balancing --------------------------------------------------------------------


def test_penalty_gradient_against_finite_differences():
    rng = np.random.default_rng(0)
    logits, weight = rng.normal(size=(7, 4)), rng.uniform(0.5, 2.0, 7)
    penalty = BalancePenalty(strength=0.7)

    def value(flat):
        return penalty.value(log_softmax(flat.reshape(7, 4), axis=1), weight)

    found = penalty.correction(log_softmax(logits, axis=1), weight)
    found = -found * weight[:, None] / weight.sum()
    expected, step = np.empty(28), 1e-6
    for i in range(28):
        move = np.eye(28)[i] * step
        above, below = value(logits.ravel() + move), value(logits.ravel() - move)
        expected[i] = (above - below) / (2 * step)
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 0.0, atol=1e-12)


def test_penalty_is_the_squared_coefficient_of_variation():
    log_gate, weight = random_log_gate(30, 5), problems.weights(30)
    importance = np.average(np.exp(log_gate), axis=0, weights=weight)
    expected = 0.3 * importance.var() / importance.mean() ** 2
    assert BalancePenalty(0.3).value(log_gate, weight) == pytest.approx(expected)


@pytest.mark.parametrize("strength", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_the_penalised_objective_never_drops(task, strength):
    data = problems.make_data(task, 4, True, False, n=150)
    data = replace(data, balance=BalancePenalty(strength))
    parts = problems.linear_parts(data, 4)
    monitor = problems.StrictMonitor(1e-9, 40)
    result = fit_em(data, parts, monitor, problems.responsibilities(150, 4))
    log_gate = result.gate.log_proba(data.gate_X)
    plain = replace(data, balance=None)
    expected = problems.naive_objective(plain, result) - data.balance.value(log_gate, data.weight)
    assert result.objective == pytest.approx(expected, abs=1e-9)


@quiet
def test_the_bias_evens_routes_and_leaves_weights_alone():
    X, y = line(5, 400)
    settings = {"n_experts": 5, "top_k": 2, "random_state": 0, "max_iter": 15}
    model = MoERegressor(routing="token", load_balance=BalanceBias(), **settings).fit(X, y)
    indices, weights = model.route(X)
    routes = np.bincount(indices.ravel(), minlength=5) / indices.size
    assert routes.max() * 5 < 1.1
    chosen = np.take_along_axis(model.gate_proba(X), indices, axis=1)
    np.testing.assert_allclose(weights, chosen / chosen.sum(axis=1, keepdims=True))
    assert model.routing_bias_.shape == (5,) and abs(model.routing_bias_.mean()) < 1e-12
    assert MoERegressor(**settings).fit(X, y).routing_bias_ is None


@quiet
def test_the_bias_serves_fast_and_general_predictions_alike():
    X, y = line(5, 300)
    settings = {"n_experts": 4, "random_state": 0, "max_iter": 10}
    model = MoERegressor(top_k=1, load_balance=BalanceBias(), **settings).fit(X, y)
    mean = model.predict(X)
    np.testing.assert_allclose(mean, model.predict(X, return_std=True)[0])
    experts = model.route(X)[0][:, 0]
    np.testing.assert_allclose(mean, model.predict_experts(X)[np.arange(300), experts])


@pytest.mark.jit_only
@pytest.mark.parametrize("balance", [BalancePenalty(10.0), BalanceBias()])
def test_balancing_helps_where_the_default_is_uneven(balance):
    def heavy_tails(n, seed):
        rng = np.random.default_rng(seed)
        X = np.clip(rng.standard_t(1.5, size=(n, 1)), -30, 30)
        return X, np.sin(2 * np.clip(X[:, 0], -1.6, 1.6)) + 0.1 * rng.normal(size=n)

    (X, y), (X_test, y_test) = heavy_tails(2000, 0), heavy_tails(6000, 1)
    settings = {"n_experts": 8, "random_state": 0}
    sparse = {"top_k": 1, "routing": "token"}
    even = MoERegressor(load_balance=balance, **sparse, **settings).fit(X, y)
    assert even.load_.max() * 8 < 1.3
    loglik = even.log_likelihood(X_test, y_test).mean()
    for options in ({}, {"top_k": 1}, sparse):
        plain = MoERegressor(**options, **settings).fit(X, y)
        assert plain.load_.max() * 8 > 3.0
        assert loglik > plain.log_likelihood(X_test, y_test).mean() + 0.1


@quiet
@pytest.mark.parametrize("routing", ["token", "expert"])
def test_experts_are_fitted_again_only_to_other_rows_or_weights(monkeypatch, routing):
    def fitted():
        model = MoERegressor(
            DecisionTreeRegressor(max_depth=3), 4, top_k=1, routing=routing, cross_fit=None,
            max_iter=7, random_state=0,
        )  # fmt: skip
        return model.fit(X, y)

    X, y = line(4, 200)
    saving = fitted()
    monkeypatch.setattr("skmoe.experts._jobs.Shown.same", lambda *args: False)
    plain = fitted()
    np.testing.assert_array_equal(saving.predict(X), plain.predict(X))
    assert saving.history_["objective"] == plain.history_["objective"]
    shown, all_shown = (np.array(m.history_["rows_fitted"]) for m in (saving, plain))
    assert shown[0] == all_shown[0] > 0
    assert (shown <= all_shown).all()
    # Where experts pick, rows in several sets have weights that go on moving.
    assert routing == "expert" or shown.sum() < 0.8 * all_shown.sum()


@quiet
def test_a_fitted_model_lets_the_training_rows_go():
    X, y = line(4, 200)
    model = MoERegressor(
        DecisionTreeRegressor(max_depth=3), 4, top_k=1, routing="token", cross_fit=None, max_iter=5
    )
    model.fit(X, y)
    assert vars(model._parts.experts._shown) == vars(Shown())
