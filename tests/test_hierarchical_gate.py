"""The hierarchical gate: the tree, its gradients, one level, and whole fits."""

import pickle

import naive
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import (
    StrictMonitor,
    classification,
    linear_parts,
    make_data,
    regression,
    responsibilities,
    weights,
)
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from skmoe import MoEClassifier, MoERegressor
from skmoe._em import fit_em
from skmoe._fit import Parts
from skmoe._joint import fit_joint, objective_gradient
from skmoe._monitor import Monitor
from skmoe._path import posterior
from skmoe._whole import WholeEvaluator
from skmoe.gates import HierarchicalGate, SoftmaxGate
from skmoe.gates._tree import count_leaves, plant

# (branching, paths of the experts from the root)
TREES = {
    "one level": ((3,), [(0,), (1,), (2,)]),
    "pairs": ((2, 2), [(0, 0), (0, 1), (1, 0), (1, 1)]),
    "unequal": (((2,), 3), [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]),
    "lists": ([[2], 1], [(0, 0), (0, 1), (1,)]),
    "deep": ((((2,), 1), 1), [(0, 0, 0), (0, 0, 1), (0, 1), (1,)]),
    "levels below": (
        ((2, 2), 2),
        [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0), (1, 1)],
    ),
}
trees = pytest.mark.parametrize("tree", TREES)
TASKS = ["regression", "classification"]


def draw(branching, n=80, d=3, seed=0):
    """A gate fitted to random responsibilities, its features and these."""
    X = np.random.RandomState(seed).normal(size=(n, d))
    resp = responsibilities(n, count_leaves(branching), seed)
    return HierarchicalGate(branching, alpha=0.01).fit(X, resp, weights(n)), X, resp


@trees
def test_probability_is_the_product_of_the_choices_on_the_way(tree):
    branching, paths = TREES[tree]
    gate, X, _ = draw(branching)
    assert gate.count_experts() == gate.n_experts_ == len(paths)
    logits = X @ gate.coef_.T + gate.intercept_
    product = np.ones((len(X), len(paths)))
    for node in gate.nodes_:
        choice = np.exp(naive.log_softmax(logits[:, node.columns]))
        for k, path in enumerate(paths):
            depth = len(node.path)
            if path[:depth] == node.path:
                product[:, k] *= choice[:, path[depth]]
    assert_allclose(np.exp(gate.log_proba(X)), product, rtol=1e-10)
    assert_allclose(product.sum(axis=1), 1.0)


@trees
def test_branches_of_nodes_are_the_experts_below(tree):
    branching, paths = TREES[tree]
    for node in plant(branching):
        for c, (start, stop) in enumerate(node.branches):
            mine = [
                k for k, path in enumerate(paths) if path[: len(node.path) + 1] == (*node.path, c)
            ]
            assert mine == list(range(start, stop))


@pytest.mark.parametrize(
    "branching", [(), (1,), (2, 1), (2, 0), ((2,),), (2, "a"), ((2,), 0), (2, -1), ((1, 1), 2)]
)
def test_no_tree_is_an_error(branching):
    with pytest.raises(ValueError, match=r"branching: .* is no tree"):
        MoERegressor(gate=HierarchicalGate(branching)).fit(*regression(0))


def test_one_level_is_the_softmax_gate():
    rng = np.random.RandomState(0)
    X, resp, weight = rng.normal(size=(200, 3)), responsibilities(200, 4), weights(200)
    options = {"alpha": 1e-3, "max_iter": 500, "tol": 1e-15}
    one = SoftmaxGate(**options).fit(X, resp, weight)
    other = HierarchicalGate((4,), **options).fit(X, resp, weight)
    assert_allclose(one.log_proba(X), other.log_proba(X), atol=1e-8)
    assert_allclose(one.penalty(), other.penalty(), atol=1e-10)
    assert_allclose(one.coef_, other.coef_, atol=1e-7)


@pytest.mark.parametrize("solver", ["em", "gradient"])
@pytest.mark.parametrize("task", TASKS)
def test_mixtures_with_one_level_are_those_with_a_softmax_gate(task, solver):
    X, y = (regression if task == "regression" else classification)(0, n=200)
    y = y.ravel()
    kind = MoERegressor if task == "regression" else MoEClassifier
    init = kind(n_experts=3, random_state=0).fit(X, y).responsibilities(X, y)
    settings = {"n_experts": 3, "solver": solver, "init": init, "n_init": 1}
    settings |= {"tol": 1e-12, "max_iter": 3000}
    one = kind(gate="softmax", **settings).fit(X, y)
    other = kind(gate=HierarchicalGate((3,)), **settings).fit(X, y)
    assert_allclose(one.objective_, other.objective_, atol=1e-6)
    assert_allclose(one.gate_proba(X), other.gate_proba(X), atol=5e-3)


@trees
def test_fit_is_a_regression_at_each_node(tree):
    branching, _ = TREES[tree]
    X, n = np.random.RandomState(0).normal(size=(80, 3)), 80
    resp, weight = responsibilities(n, count_leaves(branching)), weights(n)
    options = {"alpha": 0.01, "max_iter": 500, "tol": 1e-15}
    gate = HierarchicalGate(branching, **options).fit(X, resp, weight)
    gradient = gate.resp_gradient(X, resp, weight) / weight.sum() - gate.penalty_gradient()
    assert_allclose(gradient, 0.0, atol=1e-7)


@trees
def test_gradient_of_soft_targets_against_finite_differences(tree):
    branching, paths = TREES[tree]
    gate, X, _ = draw(branching, n=30, d=2)
    weight = weights(30, 1)
    # Rows need not sum to one: corrections of a penalty come this way, too.
    resp = np.random.RandomState(1).normal(size=(30, len(paths)))
    gradient = gate.resp_gradient(X, resp, weight).ravel()

    def value(flat):
        return weight @ np.sum(resp * gate.with_flat(flat).log_proba(X), axis=1)

    assert_allclose(gradient, naive_slopes(value, gate.flat()), atol=1e-6)
    slopes = naive_slopes(lambda flat: gate.with_flat(flat).penalty(), gate.flat())
    assert_allclose(gate.penalty_gradient().ravel(), slopes, atol=1e-8)


def naive_slopes(value, flat, size=1e-5):
    steps = size * np.eye(flat.size)
    return [(value(flat + step) - value(flat - step)) / (2 * size) for step in steps]


@trees
def test_posteriors_of_nodes(tree):
    branching, paths = TREES[tree]
    gate, X, resp = draw(branching)
    resp = resp.copy()
    resp[0] = np.eye(len(paths))[-1]  # no expert of the first node below the root
    proba = gate.node_proba(X)
    for node, choice, found in zip(gate.nodes_, proba, gate.node_posteriors(X, resp)):
        assert_allclose(found.sum(axis=1), 1.0)
        shares = np.column_stack([resp[:, start:stop].sum(axis=1) for start, stop in node.branches])
        reached = shares.sum(axis=1)
        for i in range(len(X)):
            expected = shares[i] / reached[i] if reached[i] > 0 else choice[i]
            assert_allclose(found[i], expected)


@pytest.mark.parametrize("seed", range(3))
@trees
@pytest.mark.parametrize("outputs", [1, 2])
def test_em_climbs(tree, outputs, seed):
    n_experts = count_leaves(TREES[tree][0])
    data = make_data("regression", seed, True, seed == 2, n_outputs=outputs)
    parts = tree_parts(data, TREES[tree][0])
    monitor = StrictMonitor(0.0, 30, patience=1000)
    fit_em(data, parts, monitor, responsibilities(100, n_experts, seed))


def tree_parts(data, branching, alpha=1e-3):
    parts = linear_parts(data, count_leaves(branching))
    return Parts(HierarchicalGate(branching, alpha), parts.experts, parts.likelihood)


@trees
@pytest.mark.parametrize("task", TASKS)
def test_gradient_of_the_objective_against_finite_differences(task, tree):
    branching = TREES[tree][0]
    data = make_data(task, 0, True, False, n=40, d=2)
    resp = responsibilities(40, count_leaves(branching))
    begun = fit_em(data, tree_parts(data, branching, 0.05), Monitor(0.0, 2), resp)
    parts = Parts(begun.gate, begun.experts, begun.likelihood)
    flat = parts.flat() + 0.1 * np.random.RandomState(0).normal(size=parts.flat().size)
    moved = parts.with_flat(flat)
    gradient = objective_gradient(data, moved, WholeEvaluator(data)(moved))

    def value(flat):
        at = parts.with_flat(flat)
        loglik = posterior(data, at)[1]
        inside = data.weight @ loglik - at.experts.penalty() + at.likelihood.log_prior()
        return inside / data.total_weight - at.gate.penalty()

    assert_allclose(gradient, naive_slopes(value, flat), atol=3e-7)


@pytest.mark.parametrize("tree", ["pairs", "unequal", "deep"])
@pytest.mark.parametrize("task", TASKS)
def test_em_and_gradient_agree_near_an_optimum(task, tree):
    branching = TREES[tree][0]
    data = make_data(task, 0, True, False, n=300)
    resp = responsibilities(300, count_leaves(branching))
    rough = fit_joint(data, tree_parts(data, branching), Monitor(1e-5, 400, patience=5), resp)
    parts = Parts(rough.gate, rough.experts, rough.likelihood)
    resp = posterior(data, parts)[0]
    by_joint = fit_joint(data, parts, Monitor(1e-14, 2000, patience=20), resp)
    near = Parts(by_joint.gate, by_joint.experts, by_joint.likelihood)
    flat = near.flat()
    moved = near.with_flat(flat + 1e-3 * np.random.RandomState(0).normal(size=flat.size))
    resp = posterior(data, moved)[0]
    by_em = fit_em(data, moved, Monitor(1e-13, 3000, patience=20), resp)
    again = fit_joint(data, moved, Monitor(1e-14, 2000, patience=20), resp)
    assert_allclose(by_em.objective, again.objective, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
@trees
@pytest.mark.parametrize("task", TASKS)
def test_joint_training_climbs(task, tree, seed):
    branching = TREES[tree][0]
    data = make_data(task, seed, True, seed == 2)
    monitor = StrictMonitor(0.0, 25, patience=1000)
    resp = responsibilities(100, count_leaves(branching), seed)
    result = fit_joint(data, tree_parts(data, branching), monitor, resp, warm_up=4)
    assert result.objective > result.history["objective"][0]


def four_quarters(n=400, seed=0):
    """Experts of four quarters of a line, in an order that splits neighbours up."""
    x = np.sort(np.random.RandomState(seed).uniform(-1, 1, size=n))
    quarter = np.digitize(x, [-0.5, 0.0, 0.5])
    return x[:, None], np.eye(4)[:, [0, 2, 1, 3]][quarter]


def test_experts_that_are_alike_share_a_subtree():
    X, resp = four_quarters()
    gate = HierarchicalGate((2, 2))
    order = gate.order_experts(X, resp, np.ones(len(X)))
    assert sorted(order) == [0, 1, 2, 3]
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({0, 2}), frozenset({1, 3})}
    ordered = resp[:, order]
    kept = np.sum(ordered * gate.fit(X, ordered).log_proba(X))
    assert kept > np.sum(resp * gate.fit(X, resp).log_proba(X)) + 100


def test_order_of_unequal_trees_puts_the_lone_expert_alone():
    rng = np.random.RandomState(0)
    labels = rng.randint(3, size=300)
    X = np.array([[0.0, 0.0], [9.0, 0.0], [0.5, 0.5]])[labels] + rng.normal(size=(300, 2))
    order = HierarchicalGate(((2,), 1)).order_experts(X, np.eye(3)[labels], np.ones(300))
    assert order[2] == 1


def test_given_responsibilities_keep_their_order():
    X, resp = four_quarters()
    y = np.array([-3.0, 5.0, 0.0, 9.0])[resp.argmax(axis=1)]
    model = MoERegressor(gate="hierarchical", init=resp, n_init=1, max_iter=1, tol=0.0)
    with pytest.warns(UserWarning, match="did not converge"):
        model.fit(X, y)
    assert_array_equal(model.responsibilities(X, y).argmax(axis=1), resp.argmax(axis=1))


def test_own_start_orders_experts():
    X, resp = four_quarters()
    y = np.array([-3.0, 5.0, 0.0, 9.0])[resp.argmax(axis=1)] + 0.1 * np.sin(40 * X[:, 0])
    model = MoERegressor(gate="hierarchical", random_state=0).fit(X, y)
    left = np.exp(model.gate_.log_proba(X))[:, :2].sum(axis=1) > 0.5
    assert min((left == (X[:, 0] < 0)).mean(), (left != (X[:, 0] < 0)).mean()) < 0.02


def test_a_node_that_no_row_reaches_stays_as_it_is():
    X = np.random.RandomState(0).normal(size=(50, 2))
    resp = np.zeros((50, 4))
    resp[:, :2] = responsibilities(50, 2)
    gate = HierarchicalGate((2, 2), alpha=0.0).fit(X, resp)
    assert_array_equal(gate.coef_[gate.nodes_[2].columns], 0.0)
    assert np.isfinite(gate.log_proba(X)).all()


def test_weights_are_repetitions_and_sparse_is_dense():
    _, X, resp = draw((2, 2))
    repeats = np.random.RandomState(0).randint(1, 4, size=len(X))
    options = {"max_iter": 500, "tol": 1e-15}
    weighted = HierarchicalGate((2, 2), **options).fit(X, resp, repeats.astype(float))
    rows = np.repeat(np.arange(len(X)), repeats)
    repeated = HierarchicalGate((2, 2), **options).fit(X[rows], resp[rows])
    assert_allclose(weighted.log_proba(X), repeated.log_proba(X), atol=1e-6)
    centred = X - np.average(X, axis=0, weights=repeats)
    dense = HierarchicalGate((2, 2), **options).fit(centred, resp, repeats.astype(float))
    sparse = HierarchicalGate((2, 2), **options)
    sparse.fit(sp.csr_matrix(centred), resp, repeats.astype(float))
    assert_allclose(dense.log_proba(centred), sparse.log_proba(sp.csr_matrix(centred)), atol=1e-5)


def test_warm_start_goes_on_and_pickles():
    X, y = regression(0)
    model = MoERegressor(gate="hierarchical", random_state=0, warm_start=True).fit(X, y.ravel())
    first = model.objective_
    assert model.fit(X, y.ravel()).objective_ >= first - 1e-9
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.gate_proba(X), model.gate_proba(X))


def test_the_tree_decides_the_number_of_experts():
    X, y = regression(0)
    y = y.ravel()
    model = MoERegressor(gate=HierarchicalGate(((2,), 3)), max_iter=300).fit(X, y)
    assert model.n_experts_ == 5
    with pytest.raises(ValueError, match=r"n_experts=3 contradicts gate=HierarchicalGate\(\)"):
        MoERegressor(n_experts=3, gate="hierarchical").fit(X, y)
    with pytest.raises(ValueError, match=r"experts is a list of length 1.*made for 4 experts"):
        MoERegressor([("ridge", Ridge())], gate="hierarchical").fit(X, y)
    with pytest.raises(ValueError, match="makes 4 experts, but resp has 2 columns"):
        HierarchicalGate().fit(X, responsibilities(len(X), 2))


def test_an_unfitted_gate_says_so():
    with pytest.raises(NotFittedError):
        HierarchicalGate().log_proba(np.zeros((2, 1)))
    with pytest.raises(AttributeError, match="not fitted yet"):
        HierarchicalGate().coef_  # noqa: B018 (to ask for it is what raises)


@trees
def test_parameters_are_counted_without_the_redundant_ones(tree):
    branching, paths = TREES[tree]
    # Each node chooses between its branches: one row of coefficients less.
    assert draw(branching)[0].n_parameters() == 4 * (len(paths) - 1)
