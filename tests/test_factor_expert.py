"""Factorisation machines as experts: formula, gradients, steps by column, and whole fits."""

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
    sparsened,
)
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from skmoe import MoEClassifier, MoERegressor
from skmoe._adam import FlatSteps, LazySteps, start_steps
from skmoe._em import fit_em
from skmoe._fit import Parts
from skmoe._joint import fit_joint, objective_gradient
from skmoe._monitor import Monitor
from skmoe._path import posterior
from skmoe._whole import WholeEvaluator
from skmoe.experts import FactorClassifier, FactorExpert, FactorRegressor, LinearExpert
from skmoe.gates import HierarchicalGate, MLPGate, SoftmaxGate
from skmoe.likelihoods import Gaussian, GaussianWithNoise
from skmoe.solvers import EM, Minibatch

GATES = {
    "softmax": SoftmaxGate(alpha=0.05),
    "hierarchical": HierarchicalGate(((2,), 1), alpha=0.05),
    "mlp": MLPGate((4,), alpha=0.05, random_state=0),
}
LAWS = {
    "gaussian": ("regression", Gaussian(floor=0.5), {}),
    "shared": ("regression", Gaussian(shared=True), {}),
    "outputs": ("regression", Gaussian(), {"n_outputs": 2}),
    "noise": ("regression", GaussianWithNoise(share=0.1), {}),
    "categorical": ("classification", None, {}),
}
SHORT = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
TEMPLATE = FactorExpert(2, alpha=2.0, factor_alpha=3.0, random_state=0)


def make_parts(data, template, gate, likelihood=None, n_experts=3):
    likelihood = linear_parts(data, n_experts, likelihood=likelihood).likelihood
    experts = template.collection(n_experts, data.n_classes).start(data)
    return Parts(clone(gate), experts, likelihood)


def moved(experts, seed=0, size=0.5):
    """Experts with other parameters; those that count for nothing stay zero."""
    step = size * np.random.RandomState(seed).normal(size=experts.flat().size)
    fresh = experts.with_flat(experts.flat() + step)
    fresh.table[-1, fresh._n_scores :] = 0.0
    return fresh


def slopes(value, flat, size=1e-5):
    steps = size * np.eye(flat.size)
    return [(value(flat + step) - value(flat - step)) / (2 * size) for step in steps]


@pytest.mark.parametrize("task", ["regression", "outputs", "classification"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("standardize", [False, True])
def test_outputs_equal_their_formula(task, sparse, standardize):
    sizes = {"n_outputs": 2} if task == "outputs" else {}
    kind = "classification" if task == "classification" else "regression"
    data = make_data(kind, 0, True, sparse, n=20, d=4, **sizes)
    template = clone(TEMPLATE).set_params(standardize=standardize)
    collection = template.collection(3, data.n_classes)
    X = data.X.X
    view = collection.view(X, data.weight)
    assert_array_equal(view.scale, data.X.scale if standardize else np.ones(4))
    experts = collection.with_table(None, view)
    data = type(data)(**{**vars(data), "X": view})
    experts = moved(collection.start(data))
    Z = ((X.toarray() if sparse else X) - view.center) / view.scale
    n_outputs = len(experts._unit)
    table = experts.table
    for k in range(3):
        for j in range(n_outputs):
            q = k * n_outputs + j
            first = 3 * n_outputs + 2 * q
            out = naive.factorisation_machine(
                Z, table[:-1, q], table[-1, q], table[:-1, first : first + 2]
            )
            expected = experts._shift[j] + experts._unit[j] * out
            assert_allclose(experts.predict(X)[:, k, j], expected, atol=1e-10)
    squares = np.square(table[:-1])
    penalty = squares[:, : 3 * n_outputs].sum() + 1.5 * squares[:, 3 * n_outputs :].sum()
    assert_allclose(experts.penalty(), penalty)
    scores = n_outputs - (task == "classification")
    assert experts.n_parameters() == 3 * scores * (4 * 3 + 1)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("gate", GATES)
def test_gradient_of_the_objective_against_finite_differences(gate, law, sparse, weighted):
    task, likelihood, sizes = LAWS[law]
    data = make_data(task, 0, weighted, sparse, n=30, d=3, **sizes)
    parts = make_parts(data, TEMPLATE, GATES[gate], likelihood)
    begun = fit_em(data, parts, Monitor(0.0, 2), responsibilities(30, 3))
    parts = Parts(begun.gate, begun.experts, begun.likelihood)
    flat = parts.flat() + 0.1 * np.random.RandomState(1).normal(size=parts.flat().size)
    at = parts.with_flat(flat)
    at.experts.table[-1, at.experts._n_scores :] = 0.0
    flat = at.flat()
    gradient = objective_gradient(data, at, WholeEvaluator(data)(at))

    def value(flat):
        at = parts.with_flat(flat)
        loglik = posterior(data, at)[1]
        inside = data.weight @ loglik - at.experts.penalty() + at.likelihood.log_prior()
        return inside / data.total_weight - at.gate.penalty()

    assert_allclose(gradient, slopes(value, flat), atol=1e-6)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_dense_and_sparse_rows_give_the_same(task):
    data = make_data(task, 0, True, True, n=40, d=5)
    experts = moved(TEMPLATE.collection(3, data.n_classes).start(data))
    view = type(data.X)(data.X.X.toarray(), data.X.center, data.X.scale)
    pred, pull_back = experts.predict_with_gradient(data.X)
    again, pull_dense = experts.predict_with_gradient(view)
    assert_allclose(pred, again, atol=1e-10)
    score = np.random.RandomState(0).normal(size=pred.shape)
    assert_allclose(pull_back(score), pull_dense(score), atol=1e-9)


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("sparse", [False, True])
def test_training_climbs(task, sparse):
    data = make_data(task, 0, True, sparse)
    for fit in (fit_em, fit_joint):
        parts = make_parts(data, TEMPLATE, SoftmaxGate())
        monitor = StrictMonitor(0.0, 20, patience=1000)
        result = fit(data, parts, monitor, responsibilities(100, 3))
        assert result.objective > result.history["objective"][0]


def test_em_and_gradient_agree_at_the_end():
    data = make_data("regression", 0, True, False)
    parts = make_parts(data, TEMPLATE, SoftmaxGate(1e-2), n_experts=2)
    end = fit_joint(data, parts, Monitor(1e-13, 3000, patience=10), responsibilities(100, 2))
    near = Parts(end.gate, end.experts, end.likelihood)
    assert_allclose(objective_gradient(data, near, WholeEvaluator(data)(near)), 0.0, atol=1e-5)
    by_em = fit_em(data, near, Monitor(1e-13, 50, patience=10), posterior(data, near)[0])
    assert_allclose(by_em.objective, end.objective, atol=1e-6)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_steps_by_column_equal_steps_of_all_where_batches_touch_all(task):
    data = make_data(task, 0, True, True, n=60, d=4)
    parts = make_parts(data, TEMPLATE, SoftmaxGate(1e-2))
    parts.gate = parts.gate.uniform(data.gate_X, 3)
    parts.experts = moved(parts.experts, size=0.1)
    lazy, flat = start_steps(data, parts.keep()), FlatSteps(data, parts.keep())
    assert isinstance(lazy, LazySteps)
    lazy._gate.sizes[:] = lazy._experts.sizes[:] = 1.0  # those of rare columns are smaller
    rows, nobody = np.arange(60), np.zeros(3, dtype=bool)
    options = Minibatch(decay=0.0)
    for _ in range(5):
        one, other = (steps.step(rows, 0.05, options, nobody)[0] for steps in (lazy, flat))
        assert_allclose(one.loglik, other.loglik, rtol=1e-10)
    assert_allclose(lazy.settle().flat(), flat.settle().flat(), atol=1e-9)


def test_columns_that_no_batch_touches_stay_without_factors():
    X = sparsened(regression(0, d=4)[0])
    X = sp.hstack([X, sp.csr_matrix((X.shape[0], 2))]).tocsr()
    solver = Minibatch(n_epochs=2)
    model = MoERegressor(FactorExpert(3, standardize=False), solver=solver, n_experts=2)
    with pytest.warns(match="did not converge"):
        model.fit(X, regression(0, d=4)[1].ravel())
    for expert in model.experts_:
        assert_array_equal(expert.factors_[4:], 0.0)
        assert np.abs(expert.factors_[:4]).min() > 0.0


def test_collections_are_taken_apart_and_put_together():
    data = make_data("regression", 0, True, False, n_outputs=2)
    other = make_data("regression", 1, False, False, n=40, n_outputs=2)
    collection = TEMPLATE.collection(3)
    experts = moved(collection.start(data))
    pred = experts.predict(data.X)
    assert_allclose(experts.selected([2, 0]).predict(data.X), pred[:, [2, 0]])
    # Experts of another fit, whose target has another unit, keep their function.
    guest = moved(collection.start(other), 1).selected([1])
    mixed = experts.replaced([1], guest.with_table(guest.table, data.X)).predict(data.X)
    expected = guest.with_table(guest.table, data.X).predict(data.X)
    assert_allclose(mixed[:, 1], expected[:, 0], atol=1e-10)
    assert_allclose(mixed[:, [0, 2]], pred[:, [0, 2]])
    assert_array_equal(experts.predict(data.X), pred)
    X = other.X.X
    assert_allclose(experts.resumed(other).predict(other.X), experts.predict(X), atol=1e-9)
    rows = [np.array([0, 3]), np.array([], dtype=int), np.array([2])]
    for k, part in enumerate(experts.predict(X, rows)):
        assert_allclose(part, experts.predict(X)[rows[k], k], atol=1e-12)


def targets(task, n_outputs=1, n_classes=3, n=150):
    if task == "regression":
        X, y = regression(0, n=n, n_outputs=n_outputs)
        return X, 1e3 + 50.0 * (y if n_outputs > 1 else y.ravel())
    X, codes = classification(0, n=n, n_classes=n_classes)
    return X, np.array(["a", "b", "c"])[codes]


def estimator(task, template, **settings):
    kind = MoERegressor if task == "regression" else MoEClassifier
    settings = {"n_experts": 3, "max_iter": 10, "random_state": 0, "n_init": 1, **settings}
    return kind(template, **settings)


CASES = [("regression", {}), ("regression", {"n_outputs": 2})]
CASES += [("classification", {}), ("classification", {"n_classes": 2})]


@SHORT
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("task", "kinds"), CASES)
def test_published_experts_predict_the_same(task, kinds, sparse, standardize):
    X, y = targets(task, **kinds)
    X = sparsened(X) if sparse else 3.0 * X + 5.0
    model = estimator(task, FactorExpert(3, standardize=standardize)).fit(X, y)
    answers = model.predict_experts(X)
    for k, expert in enumerate(pickle.loads(pickle.dumps(model.experts_))):
        if task == "regression":
            assert type(expert) is FactorRegressor
            found = expert.predict(X)
        else:
            assert type(expert) is FactorClassifier
            found = expert.predict_proba(X)
            assert set(expert.predict(X)) <= set(y)
        assert_allclose(found, answers[:, k], rtol=1e-9, atol=1e-9)
        assert expert.n_features_in_ == X.shape[1] and expert.n_factors == 3


@SHORT
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("solver", ["gradient", "em", "minibatch"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_fits_repeat_pickle_and_clone(task, solver, sparse):
    X, y = targets(task)
    X = sparsened(X) if sparse else X
    template = FactorExpert(2)
    model = estimator(task, template, solver=solver)
    one, other = (clone(model).fit(X, y).predict_experts(X) for _ in range(2))
    assert_array_equal(one, other)
    assert template.random_state is None
    fitted = model.fit(X, y)
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))
    fixed = clone(model).set_params(experts__factor_alpha=3)
    assert fixed.experts.factor_alpha == 3 and template.factor_alpha == 10.0


@SHORT
@pytest.mark.parametrize("solver", ["gradient", "minibatch"])
def test_warm_start_goes_on(solver):
    X, y = targets("regression")
    model = estimator("regression", FactorExpert(2), solver=solver, warm_start=True)
    first = model.fit(X, y).objective_
    again = model.set_params(max_iter=30, experts__factor_alpha=0.5).fit(X, y).objective_
    assert again > first
    assert model._parts.experts.factor_alpha == 0.5
    model.set_params(experts__n_factors=4).fit(X, y)  # another shape: anew
    assert model.experts_[0].factors_.shape == (3, 4)


def visits(seed, n=3000, n_users=40, n_items=50):
    """Users who like items by two hidden traits, in two regimes that a column tells apart."""
    rng = np.random.RandomState(0)
    likes, has = rng.normal(size=(2, n_users, 2)), rng.normal(size=(2, n_items, 2))
    rng = np.random.RandomState(seed)
    user, item, regime = (
        rng.randint(n_users, size=n),
        rng.randint(n_items, size=n),
        rng.randint(2, size=n),
    )
    y = np.einsum("nf,nf->n", likes[regime, user], has[regime, item])
    columns = np.column_stack([user, n_users + item, n_users + n_items + regime])
    rows = np.repeat(np.arange(n), 3)
    shape = n, n_users + n_items + 2
    X = sp.csr_matrix((np.ones(3 * n), (rows, columns.ravel())), shape=shape)
    return X, y + 0.1 * rng.normal(size=n)


@SHORT
@pytest.mark.parametrize("solver", ["gradient", Minibatch(n_epochs=60)])
def test_factors_find_what_slopes_cannot(solver):
    (X, y), (new_X, new_y) = visits(0), visits(1)
    parts = {"gate": SoftmaxGate(standardize=False), "random_state": 0, "n_experts": 2}
    expert = FactorExpert(4, factor_alpha=0.3, standardize=False)
    model = MoERegressor(expert, solver=solver, init=regimes, n_init=1, **parts).fit(X, y)
    linear = MoERegressor(LinearExpert(standardize=False), **parts).fit(X, y)
    assert linear.score(new_X, new_y) < 0.2
    assert model.score(new_X, new_y) > 0.9


def regimes(X, y, n_experts, random_state):
    return X[:, -1].toarray().ravel().astype(int)


def test_alone_it_equals_ridge_without_factors():
    X, y = regression(0)
    y = y.ravel()
    machine = FactorRegressor(1, alpha=3.0, factor_alpha=300.0).fit(X, y)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    ridge = Ridge(3.0).fit(Z, y)
    assert_allclose(machine.predict(X), ridge.predict(Z), atol=1e-5 * y.std())


@SHORT
def test_other_ways_to_a_mixture():
    X, y = targets("regression")
    model = estimator("regression", FactorExpert(2), top_k=1, routing="token").fit(X, y)
    assert np.isfinite(model.log_likelihood(X, y)).all()
    grown = estimator("regression", FactorExpert(2), n_experts=2).fit(X, y).add_expert(X, y)
    assert grown.n_experts_ == len(grown.experts_)
    assert np.isfinite(grown.predict(X)).all()
    with pytest.raises(AttributeError, match="experts are FactorExpert, which cannot learn"):
        MoERegressor(FactorExpert()).partial_fit(X, y)
    solver = EM(e_step="hard", revive=True, polish=1, temperature=2.0)
    staged = estimator("regression", FactorExpert(2), solver=solver).fit(X, y)
    assert np.isfinite(staged.score(X, y))


@pytest.mark.parametrize(
    ("name", "value"), [("n_factors", 0), ("alpha", -1.0), ("factor_alpha", "a")]
)
def test_parameters_that_make_no_experts(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of FactorExpert"):
        MoERegressor(FactorExpert(**{name: value})).fit(*regression(0))


ONE = [FactorRegressor(2, random_state=0), FactorClassifier(2, random_state=0)]
ROUNDING = "the check wants 1e-7, and the objective is flat along rotations of the factors"


@parametrize_with_checks(
    ONE,
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_sparse_data": ROUNDING
    },
)
def test_common_checks_of_one_machine(estimator, check):
    check(estimator)
