"""Hard, stochastic and annealed E-steps; dead experts planted anew; the lightest one moved."""

import numpy as np
import pandas as pd
import pytest
from problems import StrictMonitor, linear_parts, make_data, regression, responsibilities
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor, _em
from skmoe._assign import Cooling, Stochastic, hard
from skmoe._fit import objective_value
from skmoe._monitor import Monitor
from skmoe.datasets import make_moe_regression
from skmoe.likelihoods import GaussianWithNoise
from skmoe.solvers import EM, Gradient, Minibatch, Stages

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# -- E-steps ---------------------------------------------------------------------------------


def test_what_steps_make_of_responsibilities():
    resp = np.array([[0.2, 0.5, 0.3], [0.6, 0.4, 0.0]])
    np.testing.assert_array_equal(hard(resp), [[0, 1, 0], [1, 0, 0]])
    draw = Stochastic(0)
    drawn = np.array([draw(resp) for _ in range(4000)])
    assert set(drawn.ravel()) == {0.0, 1.0} and (drawn.sum(axis=2) == 1.0).all()
    np.testing.assert_allclose(drawn.mean(axis=0), resp, atol=0.03)
    assert drawn[:, 1, 2].sum() == 0
    cooling = Cooling(2.0, 0.6)
    roots = np.sqrt(resp)
    np.testing.assert_allclose(cooling(resp), roots / roots.sum(axis=1, keepdims=True))
    warmer = resp ** (1 / 1.2)
    np.testing.assert_allclose(cooling(resp), warmer / warmer.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(cooling(resp), resp)
    assert cooling.temperature == 1.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_hard_steps_climb_the_classification_likelihood(task, seed, monkeypatch):
    data = make_data(task, seed, weighted=True, sparse=False)
    parts = linear_parts(data, 3)
    values, objective = [], _em.objective_of_rows

    def watched(data, parts, loglik, log_gate):
        log_lik = parts.likelihood.log_lik(data.y, parts.experts.predict(data.X))
        joint = parts.gate.log_proba(data.gate_X) + log_lik
        values.append(objective_value(data, data.weight @ joint.max(axis=1), parts))
        return objective(data, parts, loglik, log_gate)

    monkeypatch.setattr(_em, "objective_of_rows", watched)
    start = hard(responsibilities(len(data.y), 3, seed))
    result = EM(e_step="hard").fit(data, parts, Monitor(0.0, 25, patience=99), start)
    assert len(values) == 25 and min(np.diff(values)) > -1e-9
    assert values[-1] > values[0]
    assert result.objective == max(result.history["objective"])


MODELS = {
    "linear": (MoERegressor(n_experts=3, random_state=0), "numbers"),
    "tree": (MoERegressor(DecisionTreeRegressor(max_depth=3), n_experts=3), "numbers"),
    "classes": (MoEClassifier(n_experts=3, random_state=0), "labels"),
    "class tree": (MoEClassifier(DecisionTreeClassifier(max_depth=3), n_experts=3), "labels"),
}
SOLVERS = {
    "hard": EM(e_step="hard"),
    "stochastic": EM(e_step="stochastic"),
    "annealed": EM(temperature=5.0),
    "annealed hard": EM(temperature=3.0, cooling=0.5, e_step="hard"),
    "revive": EM(revive=True),
    "polish": EM(polish=2),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", MODELS)
def test_every_option_with_every_expert(kind, solver):
    X, y = regression(3, n=100)
    y = y[:, 0]
    model, target = MODELS[kind]
    y = y if target == "numbers" else np.digitize(y, np.quantile(y, [0.3, 0.7]))
    model.set_params(solver=SOLVERS[solver], max_iter=8, random_state=0, n_init=1)
    first = model.fit(X, y).predict(X)
    assert np.isfinite(model.objective_) and model.score(X, y) > 0.4
    assert len(model.history_["objective"]) == model.n_iter_ <= 8
    np.testing.assert_array_equal(model.fit(X, y).predict(X), first)


def test_seeds_of_stochastic_steps():
    X, y = regression(3, n=150)
    values = [
        MoERegressor(n_experts=3, solver=EM(e_step="stochastic", random_state=seed), random_state=0)
        .fit(X, y[:, 0])
        .history_["objective"][:5]
        for seed in (0, 0, 1)
    ]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    "solver",
    [
        EM(e_step="stochastic"),
        Minibatch(n_epochs=2),
        Stages(["experts", "joint"], solver=EM(e_step="stochastic")),
    ],
    ids=["em", "minibatch", "stages"],
)
def test_the_seed_of_the_mixture_is_that_of_its_solver(solver):
    X, y = regression(3, n=100)
    start = responsibilities(100, 3)

    def history(seed, solver=solver):
        model = MoERegressor(
            n_experts=3, init=start, n_init=1, max_iter=5, solver=solver, random_state=seed
        )
        return model.fit(X, y[:, 0]).history_["objective"]

    assert history(0) == history(0) != history(1)
    if hasattr(solver, "random_state"):
        fixed = clone(solver).set_params(random_state=7)
        assert history(0, fixed) == history(1, fixed)
    assert getattr(solver, "random_state", None) is None


def test_annealing_ends_in_monotone_steps():
    data = make_data("regression", 1, weighted=True, sparse=False)
    resp = responsibilities(len(data.y), 3, 1)
    monitor = StrictMonitor(0.0, 20, patience=99)
    warm = EM(temperature=4.0).fit(data, linear_parts(data, 3), monitor, resp)
    cold = EM().fit(data, linear_parts(data, 3), StrictMonitor(0.0, 20, patience=99), resp)
    assert warm.history["objective"][0] != cold.history["objective"][0]


def test_bad_options():
    X, y = regression(3, n=50)
    for options in ({"e_step": "crisp"}, {"temperature": 0.5}, {"cooling": 1.0}, {"polish": -1}):
        with pytest.raises(ValueError, match=f"'{next(iter(options))}' parameter of EM"):
            MoERegressor(n_experts=2, solver=EM(**options)).fit(X, y[:, 0])


def test_options_that_routing_has_not():
    X, y = regression(3, n=50)
    for options in ({"e_step": "hard"}, {"temperature": 2.0}, {"revive": True}, {"polish": 1}):
        model = MoERegressor(n_experts=3, top_k=1, routing="token", solver=EM(**options))
        with pytest.raises(
            ValueError, match=f"leave {next(iter(options))} at .*or routing at None"
        ):
            model.fit(X, y[:, 0])


# -- moves -----------------------------------------------------------------------------------


def collapsing(seed):
    """Four regimes; 42 of 600 rows are five times as far away and say nothing."""
    X, y = make_moe_regression(1200, 3, n_experts=4, random_state=seed, noise=0.1)
    rng = np.random.RandomState(seed)
    train, y_train = X[:600].copy(), y[:600].copy()
    train[:42] *= 5.0
    y_train[:42] = rng.normal(size=42) * y_train.std()
    return train, y_train, X[600:], y[600:]


def idle(model, X, y):
    """Experts that neither lead rows nor are responsible for them."""
    held = model.responsibilities(X, y).mean(axis=0)
    return int((np.maximum(model.load_, held) < 0.1 / model.n_experts_).sum())


def dead(model):
    return int((model.load_ < 0.1 / model.n_experts_).sum())


def collapsed_and_revived(seed, **options):
    """What is idle with and without revival, and the gain held out."""
    X, y, new, new_y = collapsing(seed)
    plain, revived = [
        MoERegressor(n_experts=4, solver=solver, random_state=0, **options).fit(X, y)
        for solver in (EM(), EM(revive=True))
    ]
    gain = revived.log_likelihood(new, new_y) - plain.log_likelihood(new, new_y)
    before = idle(plain, X, y)
    assert not before or revived.objective_ > plain.objective_
    return before, idle(revived, X, y), gain.mean()


@pytest.mark.parametrize("seed", [2, 3, 30, 47])
def test_revival_where_the_default_start_collapses(seed):
    plain, revived, gain = collapsed_and_revived(seed)
    assert plain == 1 and revived == 0
    assert gain > 0.25


@pytest.mark.parametrize("seed", [4, 15])
def test_revival_beside_a_noise_expert(seed):
    plain, revived, gain = collapsed_and_revived(seed, likelihood=GaussianWithNoise())
    assert plain == 1 and revived == 0
    assert gain > 1.0


@pytest.mark.slow
def test_revival_of_default_starts_over_all_seeds():
    found = [collapsed_and_revived(seed) for seed in range(48)]
    collapsed = [(left, gain) for plain, left, gain in found if plain]
    assert len(collapsed) >= 5
    assert all(left == 0 and gain > 0.0 for left, gain in collapsed)


@pytest.mark.parametrize("options", [{"revive": True}, {"polish": 2}])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_gradient_has_moves_between_fits(task, options):
    data = make_data(task, 0, weighted=True, sparse=False, n=300)
    parts = linear_parts(data, 3)
    start = empty_start(300, 3)
    plain, moved = [
        solver.fit(data, parts, Monitor(1e-7, 200, patience=5), start)
        for solver in (Gradient(), Gradient(**options))
    ]
    assert plain.history["load"][-1].min() < 0.03 < moved.history["load"][-1].min()
    assert moved.objective > plain.objective + 0.01
    assert moved.objective == max(moved.history["objective"])


MOVES = [{"revive": True}, {"polish": 3}, {"revive": True, "polish": 3}]


@pytest.mark.parametrize("options", MOVES)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_moves_never_lower_the_objective(task, seed, options):
    data = make_data(task, seed, weighted=True, sparse=seed % 2 == 1)
    resp = responsibilities(len(data.y), 6, seed)
    resp[:, 1] = 1e-9  # one is dead from the start
    monitor = StrictMonitor(1e-7, 40, patience=2)
    result = EM(**options).fit(data, linear_parts(data, 6), monitor, resp)
    plain = EM().fit(data, linear_parts(data, 6), Monitor(1e-7, 40, patience=2), resp)
    assert result.objective == max(result.history["objective"])
    assert result.n_iter == len(result.history["objective"])
    assert result.objective >= plain.objective - 1e-3


def empty_start(n, n_experts):
    start = np.random.RandomState(0).dirichlet(np.ones(n_experts), size=n)
    start[:, -1] = 0.0
    return start / start.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("frame", [False, True])
def test_dead_trees_are_revived(frame):
    X, y = make_moe_regression(300, 2, n_experts=3, random_state=0, noise=0.1)
    rows = pd.DataFrame(X, columns=["u", "v"]) if frame else X
    tree = DecisionTreeRegressor(max_depth=3)
    plain, revived = [
        MoERegressor(
            tree, n_experts=3, init=empty_start(300, 3), n_init=1, solver=solver, random_state=0
        ).fit(rows, y)
        for solver in (EM(), EM(revive=True))
    ]
    assert dead(plain) == 1 and dead(revived) == 0
    assert revived.objective_ > plain.objective_


def test_nothing_changes_where_none_is_dead():
    X, y = make_moe_regression(400, 2, n_experts=2, random_state=0)
    plain = MoERegressor(n_experts=2, solver=EM(), random_state=0).fit(X, y)
    revived = MoERegressor(n_experts=2, solver=EM(revive=True), random_state=0).fit(X, y)
    assert plain.history_["objective"] == revived.history_["objective"]
    np.testing.assert_array_equal(plain.predict(X), revived.predict(X))


def test_one_expert_cannot_be_moved():
    X, y = regression(0, n=60)
    model = MoERegressor(n_experts=1, solver=EM(revive=True, polish=2)).fit(X, y[:, 0])
    assert model.converged_ and model.load_ == [1.0]


def test_a_mixed_list_is_polished():
    X, y = make_moe_regression(300, 2, n_experts=3, random_state=1)
    experts = [("a", Ridge()), ("b", Ridge(0.1)), ("tree", DecisionTreeRegressor(max_depth=2))]
    values = [
        MoERegressor(experts, solver=solver, random_state=0).fit(X, y).objective_
        for solver in (EM(), EM(polish=3))
    ]
    assert values[1] >= values[0]
