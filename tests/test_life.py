"""Experts that are added, removed, split, merged and pruned."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._fit import FitData, Parts
from skmoe._monitor import Monitor
from skmoe._some import fit_some
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.gates._rows import fit_rows
from skmoe.likelihoods import Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def sample(n, seed, noise=0.2):
    """Three regimes along the first feature."""
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, size=(n, 4))
    regime = (X[:, 0] > -0.33).astype(int) + (X[:, 0] > 0.33)
    lines = np.stack([1 + 2 * X[:, 1], -1 - 2 * X[:, 2] + X[:, 1], 3 * X[:, 3] + 2])
    return X, lines[regime, np.arange(n)] + noise * rng.normal(size=n), regime


X, Y, REGIME = sample(600, 0)
OLD = REGIME < 2
X_NEW, Y_NEW, _ = sample(2000, 1)


def rmse(model):
    return np.sqrt(np.mean(np.square(model.predict(X_NEW) - Y_NEW)))


def two(experts=None, **settings):
    settings = {"n_experts": 2, "random_state": 0, **settings}
    return MoERegressor(experts, **settings).fit(X[OLD], Y[OLD])


@pytest.fixture(scope="module")
def _linear():
    return MoERegressor(n_experts=3, random_state=0).fit(X, Y)


@pytest.fixture
def three(_linear):
    """Three linear experts of three regimes."""
    return copy.deepcopy(_linear)


def state(model):
    """Everything of a model that a failed change must leave alone."""
    return pickle.dumps(vars(model))


# -- adding ---------------------------------------------------------------------------------

KINDS = {
    "linear": None,
    "tree": DecisionTreeRegressor(min_samples_leaf=20),
    "boosted": HistGradientBoostingRegressor(max_iter=30),
}


@pytest.mark.parametrize("kind", KINDS)
def test_added_expert_learns_the_regime_that_was_lacking(kind):
    model = two(KINDS[kind])
    before, experts = rmse(model), model.experts_
    frozen = [pickle.dumps(expert) for expert in experts]
    gate, scale = model.gate_.coef_, model.likelihood_.scale_
    proba = model.gate_proba(X)
    assert model.add_expert(X, Y) is model
    whole = MoERegressor(KINDS[kind], n_experts=3, random_state=0).fit(X, Y)
    assert rmse(model) < 1.03 * rmse(whole)
    assert rmse(model) < 0.4 * before
    # The others, to the last bit.
    assert [pickle.dumps(expert) for expert in model.experts_[:2]] == frozen
    np.testing.assert_array_equal(model.likelihood_.scale_[:2], scale)
    np.testing.assert_array_equal(model.gate_.coef_[:2], gate)
    after = model.gate_proba(X)[:, :2]
    np.testing.assert_allclose(after / after.sum(axis=1, keepdims=True), proba, rtol=1e-9)
    # What is published.
    assert model.expert_names_ == ["expert_0", "expert_1", "expert_2"]
    assert model.n_experts_ == len(model.experts_) == len(model.load_) == 3
    assert model.n_experts == 2 and model.get_params()["experts"] is KINDS[kind]
    np.testing.assert_allclose(model.load_, np.bincount(REGIME) / len(X), atol=0.1)
    assert model.history_["stage"][0] == "fit" and model.history_["stage"][-1] == "add_expert"
    lengths = {len(v) for k, v in model.history_.items() if isinstance(v, list)}
    assert lengths == {len(model.history_["stage"])}


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS)
def test_adding_takes_a_fraction_of_the_time(kind):
    import time

    # Linear experts are trained so fast that there is nothing to gain on few rows.
    rows, y, regime = sample(20000 if kind == "linear" else 1500, 2)
    known = regime < 2
    model = MoERegressor(KINDS[kind], n_experts=2, random_state=0).fit(rows[known], y[known])
    adding, whole = [], []
    for _ in range(1 if kind == "boosted" else 3):
        fresh = copy.deepcopy(model)
        start = time.process_time()
        fresh.add_expert(rows, y)
        adding.append(time.process_time() - start)
        start = time.process_time()
        MoERegressor(KINDS[kind], n_experts=3, random_state=0).fit(rows, y)
        whole.append(time.process_time() - start)
    assert min(adding) < 0.9 * min(whole)


def test_objective_and_load_are_those_of_the_rows(three):
    model = two().add_expert(X, Y)
    data = model._life_data(X, Y, None)
    unit = len(X) * data.log_unit
    total = model.log_likelihood(X, Y).sum() + unit
    inside = total - model._parts.experts.penalty() + model.likelihood_.log_prior()
    np.testing.assert_allclose(model.objective_, inside / len(X) - model.gate_.penalty())
    np.testing.assert_array_equal(
        model.load_, np.bincount(model.gate_proba(X).argmax(axis=1), minlength=3) / len(X)
    )


def test_polish_does_not_end_lower():
    model = two()
    added = copy.deepcopy(model).add_expert(X, Y)
    polished = copy.deepcopy(model).add_expert(X, Y, polish=True)
    assert polished.objective_ >= added.objective_
    assert polished.history_["stage"][-1] == "polish"
    assert rmse(polished) < 1.03 * rmse(added)


def test_polish_of_other_experts():
    model = two(DecisionTreeRegressor(min_samples_leaf=20), cross_fit=2, max_iter=5)
    model.add_expert(X, Y, polish=True)
    assert model.history_["stage"][-1] == "polish" and rmse(model) < 0.7


def test_em_of_one_expert_is_monotone_and_agrees_with_its_slow_twin():
    """Two lines, the second one free: plain formulas, one row of the gate."""
    rows, y = X[OLD], Y[OLD]
    view = SoftmaxGate().view(rows, np.ones(len(rows)))
    data = FitData(view, view, y[:, None], np.ones(len(y)), None, np.ones(1), np.ones(1))
    start = np.column_stack([rows[:, 0] < 0, rows[:, 0] >= 0]) * 0.8 + 0.1
    gate = SoftmaxGate(alpha=0.01).fit(view, start)
    fixed = np.column_stack([-0.5 * np.square(y - 1) - 0.9, np.zeros(len(y))])
    experts = LinearExpert(alpha=0.0).collection(1).start(data)
    likelihood = Gaussian(floor=0.0).start(data, 1)
    parts, monitor = Parts(gate, experts, likelihood), Monitor(0.0, 30)
    result = fit_some(data, parts, fixed, [1], monitor, start)
    climb = np.array(result.history["objective"])
    assert (np.diff(climb) > -1e-9).all()
    assert climb[-1] > climb[0]
    # The twin: weighted least squares, the gate by Newton steps, from the same responsibilities.
    Z = view.block(slice(None))
    resp, gamma = start, gate.block_coef()[:, 1].copy()
    for _ in range(result.n_iter):
        r = resp[:, 1]
        beta = np.linalg.solve(Z.T @ (r[:, None] * Z), Z.T @ (r * y))
        error = y - Z @ beta
        variance = r @ error**2 / r.sum()
        for _ in range(20):
            g = 1 / (1 + np.exp(Z @ gate.block_coef()[:, 0] - Z @ gamma))
            ridge = np.append(np.full(4, 0.01 * len(y)), 0.0)
            hessian = Z.T @ ((g * (1 - g))[:, None] * Z) + np.diag(ridge)
            gamma += np.linalg.solve(hessian, Z.T @ (r - g) - ridge * gamma)
        g = 1 / (1 + np.exp(Z @ gate.block_coef()[:, 0] - Z @ gamma))
        law = -0.5 * error**2 / variance - 0.5 * np.log(2 * np.pi * variance)
        joint = np.log(np.column_stack([1 - g, g])) + np.column_stack([fixed[:, 0], law])
        resp = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    np.testing.assert_allclose(result.experts.coef[:, 0, 0], beta, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(result.likelihood.dispersion[0, 0], variance, rtol=1e-3)
    np.testing.assert_allclose(result.gate.block_coef()[:, 1], gamma, rtol=2e-2, atol=2e-3)
    np.testing.assert_array_equal(result.gate.block_coef()[:, 0], gate.block_coef()[:, 0])


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("free", [[2], [0, 2], [0, 1, 2]])
def test_rows_of_the_gate_are_at_their_optimum(free, l1_ratio):
    resp = np.random.RandomState(0).dirichlet(np.ones(3), size=len(X))
    gate = SoftmaxGate(alpha=0.01, l1_ratio=l1_ratio).fit(X, resp[:, ::-1])
    view, weight, net = gate._design(X), np.linspace(0.5, 1.5, len(X)), gate._net
    coef = fit_rows(view, gate.block_coef(), free, resp, weight, net, 500, 1e-12)
    others = [k for k in range(3) if k not in free]
    np.testing.assert_array_equal(coef[:, others], gate.block_coef()[:, others])

    def value(c):
        logits = view.dot(c)
        log_gate = logits - logsumexp(logits, axis=1, keepdims=True)
        return -weight @ (resp * log_gate).sum(axis=1) / weight.sum() + net.value(c[:, free])

    best = value(coef)
    for step in np.random.RandomState(1).normal(scale=0.01, size=(20, len(coef), len(free))):
        moved = coef.copy()
        moved[:, free] += step
        assert value(moved) >= best - 1e-9


def test_named_experts_and_a_frozen_one():
    experts = [("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=3, random_state=0))]
    model = MoERegressor(experts, random_state=0, cross_fit=2, max_iter=5).fit(X[OLD], Y[OLD])
    with pytest.raises(ValueError, match="experts is a list of different ones; say which"):
        model.add_expert(X, Y)
    line = LinearRegression().fit(X[REGIME == 2], Y[REGIME == 2])
    frozen = FrozenEstimator(line)
    model.add_expert(X, Y, frozen, name="c")
    assert model.expert_names_ == ["a", "b", "c"] and model.experts_[2] is frozen
    assert model.experts is experts
    assert model.load_[2] > 0.25 and rmse(model) < 0.75
    np.testing.assert_array_equal(model.predict_experts(X)[:, 2], line.predict(X))


def test_classifier():
    labels = np.array(["a", "b", "c"])[(Y > np.quantile(Y, 0.3)).astype(int) + (Y > 1.5)]
    for experts in (None, GaussianNB()):
        model = MoEClassifier(experts, n_experts=2, random_state=0, max_iter=20)
        model.fit(X[OLD], labels[OLD])
        coef = model.gate_.coef_
        before = model.log_likelihood(X, labels).mean()
        model.add_expert(X, labels)
        assert model.log_likelihood(X, labels).mean() > before
        np.testing.assert_array_equal(model.gate_.coef_[:2], coef)
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


def test_sample_weight_and_frames():
    weight = np.where(np.arange(len(X)) % 5 == 0, 0.0, 1.0)
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = MoERegressor(n_experts=2, random_state=0).fit(frame[OLD], Y[OLD])
    kept = copy.deepcopy(model).add_expert(frame[weight > 0], Y[weight > 0])
    model.add_expert(frame, Y, sample_weight=weight)
    np.testing.assert_array_equal(model.predict(frame), kept.predict(frame))
    assert model.experts_[2].feature_names_in_.tolist() == list("abcd")
    twice = copy.deepcopy(model).remove_expert(2)
    doubled = copy.deepcopy(twice).add_expert(frame, Y, sample_weight=np.full(len(X), 2.0))
    again = twice.add_expert(pd.concat([frame, frame]), np.append(Y, Y))
    np.testing.assert_allclose(rmse_of(doubled, frame), rmse_of(again, frame), rtol=0.02)


def rmse_of(model, frame):
    return np.sqrt(np.mean(np.square(model.predict(frame) - Y)))


class Plain:
    """A gate without features."""

    def fit(self, X, resp, sample_weight=None):
        self.log_share_ = np.log(np.average(resp, axis=0, weights=sample_weight))
        return self

    def log_proba(self, X):
        return np.tile(self.log_share_, (X.shape[0], 1))


OTHER_GATES = {"plain": Plain(), "classifier": LogisticRegression(), "gaussian": "gaussian"}


@pytest.mark.parametrize("gate", OTHER_GATES.values(), ids=OTHER_GATES)
@pytest.mark.parametrize("experts", [None, DecisionTreeRegressor(max_depth=3)])
def test_other_gates_are_fitted_anew(gate, experts):
    model = two(experts, gate=gate, max_iter=10, cross_fit=None)
    frozen = [pickle.dumps(expert) for expert in model.experts_]
    before = model.log_likelihood(X, Y).mean()
    model.add_expert(X, Y)
    assert [pickle.dumps(expert) for expert in model.experts_[:2]] == frozen
    assert model.gate_proba(X).shape == (len(X), 3)
    assert model.log_likelihood(X, Y).mean() > before
    proba = model.gate_proba(X)[:, [0, 2]]
    model.remove_expert(1)
    np.testing.assert_allclose(model.gate_proba(X), proba / proba.sum(axis=1, keepdims=True))
    model.merge_experts(0, 1, X, Y)
    np.testing.assert_allclose(model.gate_proba(X), 1.0)


@pytest.mark.parametrize("change", ["add", "split"])
def test_new_experts_where_a_classifier_as_gate_sees_words(change):
    frame = pd.DataFrame(X[:200], columns=list("abcd"))
    frame["word"] = pd.Categorical(np.array(["left", "middle", "right"])[REGIME[:200]])
    trees = {"max_iter": 3, "min_samples_leaf": 5, "categorical_features": "from_dtype"}
    model = MoERegressor(
        HistGradientBoostingRegressor(**trees),
        n_experts=2,
        gate=HistGradientBoostingClassifier(**trees),
        max_iter=3,
        random_state=0,
    ).fit(frame, Y[:200])
    if change == "add":
        model.add_expert(frame, Y[:200])
    else:
        model.split_expert(0, frame, Y[:200])
    assert np.isfinite(model.predict(frame)).all() and model.n_experts_ == 3


def test_a_gate_made_for_its_number_of_experts():
    model = MoERegressor(gate="hierarchical", random_state=0, max_iter=10).fit(X, Y)
    n_experts = model.n_experts_
    before = state(model)
    with pytest.raises(ValueError, match="is made for its number of experts and takes no more"):
        model.add_expert(X, Y)
    assert state(model) == before
    proba = model.gate_proba(X)[:, 1:]
    model.remove_expert(0)
    np.testing.assert_allclose(model.gate_proba(X), proba / proba.sum(axis=1, keepdims=True))
    model.merge_experts(0, 1, X, Y)
    assert model.gate_proba(X).shape == (len(X), n_experts - 2)


# -- removing -----------------------------------------------------------------------------


@pytest.mark.parametrize("which", [1, "expert_1", -2, ["expert_1"], [1, "expert_1"]])
def test_removal_renormalises_the_rest(three, which):
    proba, pred, load = three.gate_proba(X)[:, [0, 2]], three.predict_experts(X), three.load_
    history = three.history_
    assert three.remove_expert(which) is three
    weights = proba / proba.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(three.gate_proba(X), weights, rtol=1e-9)
    np.testing.assert_array_equal(three.predict_experts(X), pred[:, [0, 2]])
    np.testing.assert_allclose(three.predict(X), (weights * pred[:, [0, 2]]).sum(axis=1))
    assert three.expert_names_ == ["expert_0", "expert_2"] and three.n_experts_ == 2
    np.testing.assert_allclose(three.load_, load[[0, 2]] / load[[0, 2]].sum())
    assert three.history_ is history and three.n_experts == 3
    assert clone(three).fit(X, Y).n_experts_ == 3


def test_removal_of_all_but_one_and_of_none(three):
    np.testing.assert_array_equal(three.remove_expert([]).n_experts_, 3)
    three.remove_expert([0, 2])
    np.testing.assert_array_equal(three.gate_proba(X), 1.0)
    with pytest.raises(ValueError, match="which names all experts"):
        three.remove_expert(0)


def test_top_k_and_warm_start_after_a_removal(three):
    three.set_params(top_k=3, warm_start=True).remove_expert(0)
    assert three.route(X)[0].shape == (len(X), 2)
    assert three.fit(X, Y).n_experts_ == 3


def test_routing_bias_follows_the_experts():
    from skmoe.balance import BalanceBias

    model = MoERegressor(n_experts=3, random_state=0, top_k=1, load_balance=BalanceBias())
    model.fit(X, Y)
    bias = model.routing_bias_
    model.add_expert(X, Y)
    np.testing.assert_array_equal(model.routing_bias_, np.append(bias, 0.0))
    order = (np.log(model.gate_proba(X)) + model.routing_bias_).argmax(axis=1)
    np.testing.assert_allclose(model.load_, np.bincount(order, minlength=4) / len(X))
    np.testing.assert_array_equal(model.route(X)[0][:, 0], order)
    model.remove_expert(0)
    np.testing.assert_array_equal(model.routing_bias_, np.append(bias[1:], 0.0))


# -- splitting and merging --------------------------------------------------------------------


@pytest.mark.parametrize("experts", [None, Ridge()])
def test_split_finds_two_regimes_in_one_expert(experts):
    model = MoERegressor(experts, n_experts=2, random_state=0, init=np.minimum(REGIME, 1), n_init=1)
    model.fit(X, Y)
    blurred = int(np.argmax(model.likelihood_.scale_))
    other = pickle.dumps(model.experts_[1 - blurred])
    before, scale = rmse(model), model.likelihood_.scale_[1 - blurred]
    model.split_expert(blurred, X, Y, names=("left", "right"))
    assert pickle.dumps(model.experts_[1 - blurred]) == other
    assert model.likelihood_.scale_[1 - blurred] == scale
    assert model.expert_names_[blurred] == "left" and model.expert_names_[2] == "right"
    assert rmse(model) < 0.7 * before
    assert model.history_["stage"][-1] == "split_expert"


def test_split_that_does_not_pay_is_not_made():
    """Two steps, which one tree knows well and two halves of the rows less well."""
    truth = 2 * np.sign(X[:, 0]) + np.sign(X[:, 1])
    steps = truth + 0.5 * np.random.RandomState(0).normal(size=len(X))
    tree = DecisionTreeRegressor(min_samples_leaf=20)
    model = MoERegressor(tree, n_experts=1, random_state=0, cross_fit=3).fit(X, steps)
    before, pred = state(model), model.predict(X)
    with pytest.warns(UserWarning, match="A split of expert 'expert_0' does not pay"):
        assert model.split_expert(0, X, steps) is model
    assert state(model) == before
    np.testing.assert_array_equal(model.predict(X), pred)
    fresh = 2 * np.sign(X_NEW[:, 0]) + np.sign(X_NEW[:, 1])
    error = np.mean(np.square(model.predict(X_NEW) - fresh))
    assert model.split_expert(0, X, steps, force=True).n_experts_ == 2
    assert np.mean(np.square(model.predict(X_NEW) - fresh)) > error


def test_split_of_the_only_expert():
    model = MoERegressor(n_experts=1, random_state=0).fit(X, Y)
    before = rmse(model)
    model.split_expert(0, X, Y).split_expert(0, X, Y, polish=True)
    assert model.expert_names_ == ["expert_0", "expert_1", "expert_2"]
    assert rmse(model) < 0.6 * before


def test_merge_of_two_halves(three):
    with pytest.warns(UserWarning, match="A split of expert 'expert_1' does not pay"):
        assert copy.deepcopy(three).split_expert(1, X, Y).n_experts_ == 3
    halves = copy.deepcopy(three).split_expert("expert_1", X, Y, force=True)
    frozen = [pickle.dumps(halves.experts_[k]) for k in (0, 2)]
    halves.merge_experts("expert_3", 1, X, Y)
    assert halves.expert_names_ == ["expert_0", "expert_3", "expert_2"]
    assert [pickle.dumps(halves.experts_[k]) for k in (0, 2)] == frozen
    np.testing.assert_allclose(rmse(halves), rmse(three), rtol=0.05)
    merged = halves.merge_experts(0, 1, X, Y, name="both")
    assert merged.expert_names_ == ["both", "expert_2"] and rmse(merged) > 1.5 * rmse(three)


def test_split_and_merge_of_classifiers():
    labels = (Y > np.median(Y)).astype(int)
    model = MoEClassifier(
        DecisionTreeClassifier(max_depth=3), n_experts=2, random_state=0, max_iter=5
    ).fit(X, labels)
    model.split_expert(0, X, labels).merge_experts(0, 2, X, labels)
    assert model.n_experts_ == 2 and model.score(X, labels) > 0.75


# -- pruning ----------------------------------------------------------------------------------


def test_prune_by_load(three):
    spare = copy.deepcopy(three)
    spare.add_expert(X, Y)
    assert spare.load_[3] < 0.2
    threshold = spare.load_[3] + 1e-9
    spare.prune(X, by="load", threshold=threshold)
    assert spare.expert_names_ == ["expert_0", "expert_1", "expert_2"]
    np.testing.assert_array_equal(spare.gate_proba(X).argmax(1), three.gate_proba(X).argmax(1))
    assert spare.prune(X, threshold=0.9).n_experts_ == 1


def test_prune_by_loss(three):
    spare = copy.deepcopy(three).add_expert(X, Y)
    pruned = copy.deepcopy(spare).prune(X_NEW, Y_NEW, by="loss", threshold=0.02)
    assert pruned.n_experts_ == 3
    fall = spare.log_likelihood(X_NEW, Y_NEW).mean() - pruned.log_likelihood(X_NEW, Y_NEW).mean()
    assert fall <= 0.02
    # None of the rest can be spared.
    for name in pruned.expert_names_:
        without = copy.deepcopy(pruned).remove_expert(name)
        assert spare.log_likelihood(X_NEW, Y_NEW).mean() - 0.02 > np.mean(
            without.log_likelihood(X_NEW, Y_NEW)
        )


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.add_expert(X, Y[:5]), "inconsistent numbers of samples"),
        (lambda m: m.add_expert(X, Y, Ridge()), "are all made from one LinearExpert"),
        (lambda m: m.add_expert(X, Y, name="expert_0"), "the name 'expert_0' is given twice"),
        (lambda m: m.add_expert(X, Y, name="a__b"), "contains '__'"),
        (lambda m: m.add_expert(X, Y, name=3), "name=3 must be a str"),
        (lambda m: m.add_expert(X[:, :2], Y), "features"),
        (lambda m: m.add_expert(X, Y, sample_weight=-np.ones(len(X))), "Negative values"),
        (lambda m: m.remove_expert("x"), "there is no expert 'x'; there are"),
        (lambda m: m.remove_expert(3), "3 is no expert: give a number below 3"),
        (lambda m: m.split_expert(0, X, Y, names=["a"]), "must be two names"),
        (lambda m: m.merge_experts(0, "expert_0", X, Y), "a and b are both expert 'expert_0'"),
        (lambda m: m.prune(X, by="age"), "by='age' is unknown"),
        (lambda m: m.prune(X, by="loss"), "needs targets y"),
        (lambda m: m.prune(X, threshold=-1), "threshold=-1 must be a number of at least 0"),
    ],
)
def test_errors_leave_the_model_as_it_was(three, change, message):
    before = state(three)
    with pytest.raises(ValueError, match=message):
        change(three)
    assert state(three) == before


def test_an_expert_that_fails_is_not_added():
    class Fails(Ridge):
        def fit(self, X, y, sample_weight=None):
            raise ValueError("no solution")

    model = two(Ridge(), on_expert_error="drop")
    before = model.predict(X)
    with pytest.raises(ValueError, match="expert 'new' failed in fit: no solution"):
        model.add_expert(X, Y, Fails(), name="new")
    np.testing.assert_array_equal(model.predict(X), before)
    assert model.n_experts_ == 2


def test_frozen_experts_are_not_split():
    line = FrozenEstimator(LinearRegression().fit(X, Y))
    model = MoERegressor([("line", line), ("ridge", Ridge())], random_state=0, max_iter=3)
    model.fit(X, Y)
    with pytest.raises(ValueError, match="expert 'line' is frozen and cannot be trained"):
        model.split_expert("line", X, Y)


def test_not_fitted():
    from sklearn.exceptions import NotFittedError

    model = MoERegressor()
    for change in (
        lambda: model.add_expert(X, Y),
        lambda: model.remove_expert(0),
        lambda: model.split_expert(0, X, Y),
        lambda: model.merge_experts(0, 1, X, Y),
        lambda: model.prune(X),
    ):
        with pytest.raises(NotFittedError):
            change()
