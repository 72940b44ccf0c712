"""Training in stages: experts on groups, the gate, all together."""

import pickle

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.likelihoods import Gaussian
from skmoe.solvers import EM, Gradient, Minibatch, Stages

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.RandomState(0)
N = 400
X = rng.uniform(-1, 1, size=(N, 3))
TRUE = (X[:, 0] > 0.1).astype(int)
Y = np.where(TRUE == 1, 3 * X[:, 1], -2 * X[:, 2] + 1) + 0.1 * rng.normal(size=N)
LABELS = np.array(["a", "b", "c"])[(Y > 0).astype(int) + (Y > 1)]
GROUPS = np.where(rng.uniform(size=N) < 0.15, 1 - TRUE, TRUE)
SHARES = np.bincount(GROUPS) / N
TREE = DecisionTreeRegressor(min_samples_leaf=8, random_state=0)
MIXED = [("line", Ridge()), ("steps", TREE)]


def staged(stages=("experts", "gate", "joint"), experts=None, solver="auto", **settings):
    settings = {"init": GROUPS, "n_init": 1, "random_state": 0, **settings}
    n_experts = None if isinstance(experts, list) else 2
    kind = settings.pop("kind", MoERegressor)
    return kind(experts, n_experts=n_experts, solver=Stages(stages, solver=solver), **settings)


def after(model, stage):
    """The objective at the end of a stage, and the best one in it."""
    rows = [k for k, name in enumerate(model.history_["stage"]) if name == stage]
    values = [model.history_["objective"][k] for k in rows]
    return values[-1], max(values)


def mixture_objective(model, log_lik):
    """Mean log-likelihood of the mixture less the gate's penalty, from log_lik (n, K)."""
    joint = np.log(model.gate_proba(X)) + log_lik
    return logsumexp(joint, axis=1).mean() - model.gate_.penalty()


def log_lik_of(model):
    scale = model.likelihood_.scale_
    error = (Y[:, None] - model.predict_experts(X)) / scale
    return -0.5 * error**2 - np.log(scale * np.sqrt(2 * np.pi))


# -- each stage does what it says -------------------------------------------------------------


def test_linear_experts_alone_are_least_squares_of_their_groups():
    expert, likelihood = LinearExpert(alpha=0.0), Gaussian(floor=0.0)
    model = staged(["experts"], expert, likelihood=likelihood, tol=1e-12).fit(X, Y)
    for k in range(2):
        own = GROUPS == k
        line = LinearRegression().fit(X[own], Y[own])
        np.testing.assert_allclose(model.experts_[k].coef_, line.coef_, rtol=1e-7)
        spread = np.std(Y[own] - line.predict(X[own]))
        np.testing.assert_allclose(model.likelihood_.scale_[k], spread, rtol=1e-7)
    np.testing.assert_allclose(model.gate_proba(X), np.tile(SHARES, (N, 1)), rtol=1e-5)
    assert model.history_["stage"] == ["experts"] and model.n_iter_ == 1 and model.converged_
    unit = np.log(np.std(Y))
    np.testing.assert_allclose(model.objective_, model.log_likelihood(X, Y).mean() + unit)


def test_experts_alone_on_responsibilities():
    soft = np.random.RandomState(1).dirichlet([1, 1], size=N)
    model = staged(["experts"], Ridge(), init=soft, cross_fit=None).fit(X, Y)
    for k in range(2):
        twin = Ridge().fit(X, Y, sample_weight=soft[:, k])
        np.testing.assert_allclose(model.experts_[k].coef_, twin.coef_)
    np.testing.assert_allclose(model.gate_proba(X)[0], soft.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("cross_fit", [None, 3])
def test_other_experts_alone_see_their_groups_only(cross_fit):
    model = staged(["experts"], MIXED, cross_fit=cross_fit).fit(X, Y)
    for k, (_, template) in enumerate(MIXED):
        own = GROUPS == k
        twin = clone(template).fit(X[own], Y[own])
        np.testing.assert_allclose(model.experts_[k].predict(X), twin.predict(X))
    assert model.cross_fit_ == cross_fit


@pytest.mark.parametrize("experts", [None, TREE, MIXED], ids=["linear", "tree", "mixed"])
def test_gate_alone_is_at_its_optimum_and_moves_nothing_else(experts):
    model = staged(["experts"], experts, cross_fit=None, warm_start=True).fit(X, Y)
    frozen, scale, first = pickle.dumps(model.experts_), model.likelihood_.scale_, model.objective_
    pred = model.predict_experts(X)
    model.set_params(solver=Stages(["gate"])).fit(X, Y)
    if experts is not None:
        assert pickle.dumps(model.experts_) == frozen
    # Coefficients of linear experts are written in units of the present rows and back.
    np.testing.assert_allclose(model.predict_experts(X), pred, rtol=1e-12)
    np.testing.assert_array_equal(model.likelihood_.scale_, scale)
    assert model.objective_ > first
    log_lik, gate = log_lik_of(model), model.gate_
    Z, best = gate._design(X).block(slice(None)), mixture_objective(model, log_lik)

    def objective(coef):
        joint = log_softmax(Z @ coef, axis=1) + log_lik
        return logsumexp(joint, axis=1).mean() - gate.alpha / 2 * np.sum(coef[:-1] ** 2)

    np.testing.assert_allclose(objective(gate.block_coef()), best)
    for step in np.random.RandomState(1).normal(scale=0.02, size=(30, *gate.block_coef().shape)):
        assert objective(gate.block_coef() + step) < best + 1e-6


def test_gate_alone_learns_from_out_of_fold_predictions():
    folds = KFold(3, shuffle=True, random_state=1)
    model = staged(["experts", "gate"], TREE, cross_fit=folds, warm_start=True).fit(X, Y)
    pred = np.empty((N, 2))
    for train, test in folds.split(X):
        for k in range(2):
            own = train[GROUPS[train] == k]
            pred[test, k] = clone(TREE).fit(X[own], Y[own]).predict(X[test])
    scale = model.likelihood_.scale_
    log_lik = -0.5 * ((Y[:, None] - pred) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    honest = mixture_objective(model, log_lik) + np.log(np.std(Y))
    likelihood = model.likelihood_.log_prior() / N
    np.testing.assert_allclose(model.objective_, honest + likelihood)
    # A gate that goes on from there leaves the experts as they are.
    experts, before = model.experts_, model.objective_
    model.set_params(solver=Stages(["gate"])).fit(X, Y)
    assert all(one is two for one, two in zip(model.experts_, experts))
    np.testing.assert_allclose(model.objective_, before, rtol=1e-6)


# -- in sequence ---------------------------------------------------------------------------------

KINDS = {
    "linear": (MoERegressor, None, "auto"),
    "linear em": (MoERegressor, None, "em"),
    "linear classes": (MoEClassifier, None, "auto"),
    "tree": (MoERegressor, TREE, "auto"),
    "mixed": (MoERegressor, MIXED, "auto"),
    "tree classes": (MoEClassifier, DecisionTreeClassifier(max_depth=4, random_state=0), "auto"),
    # This one lowers the objective on its way.
    "hard": (MoERegressor, MIXED, EM(e_step="hard")),
}


@pytest.mark.parametrize("gate", ["softmax", "gaussian", DecisionTreeClassifier(max_depth=3)])
@pytest.mark.parametrize("kind", KINDS)
def test_no_stage_ends_lower(kind, gate):
    classes, experts, solver = KINDS[kind]
    settings = {"kind": classes, "gate": gate, "max_iter": 15, "cross_fit": 2}
    if not isinstance(gate, str) or gate == "gaussian":
        solver = "em" if solver == "auto" else solver
    model = staged(experts=experts, solver=solver, **settings)
    y = LABELS if classes is MoEClassifier else Y
    model.fit(X, y)
    names = model.history_["stage"]
    assert list(dict.fromkeys(names)) == ["experts", "gate", "joint"]
    assert len(names) == model.n_iter_ == len(model.history_["load"])
    assert (np.diff(model.history_["seconds"]) >= 0).all()
    first, gated = after(model, "experts")[1], after(model, "gate")[1]
    assert model.objective_ == max(first, gated, after(model, "joint")[1])
    assert gated > first
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("cross_fit", [None, 2])
@pytest.mark.parametrize("kind", ["linear", "mixed"])
def test_stage_by_stage_is_the_sequence(kind, cross_fit):
    _, experts, _ = KINDS[kind]
    whole = staged(experts=experts, cross_fit=cross_fit).fit(X, Y)
    single = staged(["experts"], experts, cross_fit=cross_fit, warm_start=True).fit(X, Y)
    for stage in ("gate", "joint"):
        before = single.objective_
        single.set_params(solver__stages=[stage]).fit(X, Y)
        assert single.objective_ > before
    assert single.history_["stage"] == whole.history_["stage"]
    np.testing.assert_allclose(single.history_["objective"], whole.history_["objective"], rtol=1e-6)
    np.testing.assert_allclose(single.predict(X), whole.predict(X), rtol=1e-4, atol=1e-4)


def test_joint_stage_that_does_not_rise_changes_nothing():
    model = staged(experts=MIXED, cross_fit=2, warm_start=True).fit(X, Y)
    before, objective = model.predict(X), model.objective_
    experts, history = model.experts_, model.history_["objective"]

    class Downhill(EM):
        def fit(self, data, parts, monitor, resp):
            return EM.fit(self, data, parts, monitor, np.full(resp.shape, 0.5))

    model.set_params(solver=Stages(["joint"], solver=Downhill()), max_iter=1).fit(X, Y)
    assert model.history_["objective"][-1] < objective
    assert all(one is two for one, two in zip(model.experts_, experts))
    np.testing.assert_array_equal(model.predict(X), before)
    assert model.history_["objective"][:-1] == history


def test_experts_and_joint_without_the_gate():
    model = staged(["experts", "joint"]).fit(X, Y)
    assert after(model, "joint")[0] > after(model, "experts")[0] and model.score(X, Y) > 0.95
    assert isinstance(model.solver_.solver, Gradient)


@pytest.mark.parametrize("init", ["auto", "kmeans", "random", "grown"])
@pytest.mark.parametrize("experts", [None, TREE])
def test_named_starts_make_groups(init, experts):
    model = staged(experts=experts, init=init, max_iter=10).fit(X, Y)
    assert model.history_["stage"][0] == "experts" and model.score(X, Y) > 0.6


def test_named_solver_and_a_callable_that_makes_groups():
    def groups(X, y, n_experts, random_state):
        return GROUPS

    given = staged().fit(X, Y)
    model = MoERegressor(n_experts=2, init=groups, solver="stages", random_state=0).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), given.predict(X))


# -- with the rest of the library -----------------------------------------------------------------


def test_nothing_given_is_changed():
    solver = Stages(("experts", "gate"))
    groups = GROUPS.copy()
    groups.flags.writeable = False
    model = MoERegressor(n_experts=2, init=groups, n_init=1, solver=solver).fit(X, Y)
    assert solver.stages == ("experts", "gate") and solver.solver == "auto"
    assert model.solver is solver and isinstance(model.solver_.solver, Gradient)
    assert clone(model).fit(X, Y).objective_ == model.objective_
    assert pickle.loads(pickle.dumps(model)).predict(X).shape == (N,)


def test_rows_without_weight_have_no_group():
    weight = np.where(np.arange(N) % 4 == 0, 0.0, 1.0)
    model = staged().fit(X, Y, sample_weight=weight)
    kept = weight > 0
    other = staged(init=GROUPS[kept]).fit(X[kept], Y[kept])
    np.testing.assert_array_equal(model.predict(X), other.predict(X))


def test_an_expert_that_fails_is_dropped_and_the_others_keep_their_groups():
    class Fails(Ridge):
        def fit(self, X, y, sample_weight=None):
            raise ValueError("no solution")

    thirds = np.arange(N) % 3
    experts = [("line", Ridge()), ("bad", Fails()), ("steps", TREE)]
    model = staged(["experts", "gate"], experts, init=thirds, on_expert_error="drop")
    with pytest.warns(UserWarning, match="expert 'bad' failed in fit: no solution"):
        model.fit(X, Y)
    assert model.expert_names_ == ["line", "steps"]
    twin = Ridge().fit(X[thirds == 0], Y[thirds == 0])
    np.testing.assert_allclose(model.experts_[0].predict(X), twin.predict(X))
    model.set_params(on_expert_error="raise")
    with pytest.raises(ValueError, match="no solution"):
        model.fit(X, Y)


def test_frozen_experts():
    lines = [LinearRegression().fit(X[TRUE == k], Y[TRUE == k]) for k in range(2)]
    frozen = [FrozenEstimator(line) for line in lines]
    model = staged(experts=[("a", frozen[0]), ("b", frozen[1])]).fit(X, Y)
    assert model.experts_ == frozen and model.score(X, Y) > 0.95


def test_life_goes_on_after_stages():
    model = staged(["experts"], experts=None).fit(X, Y)
    lone = model.objective_
    model.merge_experts(0, 1, X, Y).split_expert(0, X, Y, polish=True)
    assert model.history_["stage"][0] == "experts" and model.history_["stage"][-1] == "polish"
    assert model.objective_ > lone


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": []}, "must be some of"),
        ({"stages": ["gate", "experts"]}, "each once and in this order"),
        ({"stages": ["experts", "experts"]}, "each once and in this order"),
        ({"stages": ["expert"]}, "must be some of"),
        ({"stages": ["gate"]}, "warm_start is False; begin with 'experts'"),
        ({"stages": ["joint"], "warm_start": True}, "there is none; begin with 'experts'"),
        ({"solver": "sgd"}, "must be"),
        ({"solver": Minibatch()}, "cannot train the joint stage; use 'auto'"),
        ({"solver": Stages()}, "cannot train the joint stage; use 'auto'"),
        (
            {"solver": "gradient", "experts": TREE},
            "linear, neural and factorised experts only",
        ),
        ({"init": np.zeros(N, dtype=int)}, r"init gives no rows to experts \[1\]"),
        ({"top_k": 1, "routing": "token"}, "does not train with routing='token'"),
    ],
)
def test_errors_come_before_any_work(settings, message):
    model = staged(**settings)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "experts_")


def test_errors_of_a_chosen_number_and_of_another_model():
    model = MoERegressor(n_experts="auto", solver=Stages(), random_state=0)
    with pytest.raises(ValueError, match="give the number of groups as n_experts"):
        model.fit(X, Y)
    fitted = staged(warm_start=True).fit(X, Y)
    fitted.set_params(solver__stages=["gate"], n_experts=3, init="auto")
    with pytest.raises(ValueError, match="as many experts and features"):
        fitted.fit(X, Y)
    assert fitted.n_experts_ == 2
