"""Neural experts: the networks, their gradients in the joint objective, and whole fits."""

import pickle
from dataclasses import replace

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
from sklearn.neural_network import MLPClassifier, MLPRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._em import fit_em
from skmoe._fit import Parts
from skmoe._joint import fit_joint, objective_gradient
from skmoe._monitor import Monitor
from skmoe._path import posterior
from skmoe._whole import WholeEvaluator
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import HierarchicalGate, MLPGate, SoftmaxGate
from skmoe.likelihoods import Gaussian, GaussianWithNoise
from skmoe.solvers import EM, Minibatch

GATES = {
    "softmax": SoftmaxGate(alpha=0.05),
    "hierarchical": HierarchicalGate(((2,), 1), alpha=0.05),
    "mlp": MLPGate((4,), alpha=0.05, random_state=0),
}
EXPERTS = {
    "linear": LinearExpert(2.0),
    "tanh": MLPExpert((4,), alpha=2.0, activation="tanh", random_state=0),
    "relu": MLPExpert((4,), alpha=2.0, random_state=0),
    "two layers": MLPExpert((4, 3), alpha=2.0, activation="logistic", random_state=0),
    "identity": MLPExpert((2,), alpha=2.0, activation="identity", random_state=0),
}
# (task, likelihood, sizes)
LAWS = {
    "gaussian": ("regression", Gaussian(floor=0.5), {}),
    "shared": ("regression", Gaussian(shared=True), {}),
    "outputs": ("regression", Gaussian(), {"n_outputs": 2}),
    "noise": ("regression", GaussianWithNoise(share=0.1), {}),
    "categorical": ("classification", None, {}),
}
SHORT = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def make_parts(data, expert, gate, likelihood=None, n_experts=3):
    likelihood = linear_parts(data, n_experts, likelihood=likelihood).likelihood
    experts = expert.collection(n_experts, data.n_classes).start(data)
    return Parts(clone(gate), experts, likelihood)


def slopes(value, flat, size=1e-5):
    steps = size * np.eye(flat.size)
    return [(value(flat + step) - value(flat - step)) / (2 * size) for step in steps]


def small(task, weighted, sparse=False, n=30, d=2, **sizes):
    return make_data(task, 0, weighted, sparse, n=n, d=d, **sizes)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("expert", EXPERTS)
@pytest.mark.parametrize("gate", GATES)
def test_gradient_of_the_objective_against_finite_differences(gate, expert, law, weighted):
    task, likelihood, sizes = LAWS[law]
    data = small(task, weighted, sparse=gate == "mlp", **sizes)
    parts = make_parts(data, EXPERTS[expert], GATES[gate], likelihood)
    begun = fit_em(data, parts, Monitor(0.0, 2), responsibilities(30, 3))
    parts = Parts(begun.gate, begun.experts, begun.likelihood)
    flat = parts.flat() + 0.1 * np.random.RandomState(1).normal(size=parts.flat().size)
    moved = parts.with_flat(flat)
    gradient = objective_gradient(data, moved, WholeEvaluator(data)(moved))

    def value(flat):
        at = parts.with_flat(flat)
        loglik = posterior(data, at)[1]
        inside = data.weight @ loglik - at.experts.penalty() + at.likelihood.log_prior()
        return inside / data.total_weight - at.gate.penalty()

    assert_allclose(gradient, slopes(value, flat), atol=1e-6)


ACTIVATIONS = {
    "relu": lambda x: np.where(x > 0, x, 0.0),
    "tanh": np.tanh,
    "logistic": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "identity": lambda x: x,
}


@pytest.mark.parametrize("sizes", [(4,), (4, 3)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_networks_equal_their_formula(activation, sizes):
    data = small("regression", True, n_outputs=2)
    template = MLPExpert(sizes, alpha=3.0, activation=activation, random_state=0)
    experts = template.collection(3).start(data)
    flat = np.random.RandomState(0).normal(size=experts.flat().size)
    experts = experts.with_flat(flat)
    assert_array_equal(experts.flat(), flat)
    units = (data.X.X - data.X.center) / data.X.scale
    mean, scale = data.weight @ data.y / data.total_weight, data.y_scale
    squares = 0.0
    for k, pred in enumerate(experts.predict(data.X).transpose(1, 0, 2)):
        layers = [experts.layers[0][:, k], *(layer[k] for layer in experts.layers[1:])]
        out = units
        for layer in layers[:-1]:
            out = ACTIVATIONS[activation](out @ layer[:-1] + layer[-1])
        out = out @ layers[-1][:-1] + layers[-1][-1]
        assert_allclose(pred, mean + scale * out, atol=1e-12)
        squares += sum(np.sum(layer[:-1] ** 2) for layer in layers)
    assert_allclose(experts.penalty(), 1.5 * squares)
    assert experts.n_parameters() == flat.size


def test_predictions_do_not_depend_on_blocks():
    X, y = regression(0, n=20_000, d=2)
    model = MoERegressor(MLPExpert((3,)), n_experts=2, max_iter=2, random_state=0)
    with pytest.warns(match="did not converge"):
        model.fit(X[:200], y[:200].ravel())
    whole = model.predict_experts(X)
    parts = [model.predict_experts(X[rows]) for rows in np.array_split(np.arange(len(X)), 7)]
    assert_allclose(whole, np.concatenate(parts), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_training_climbs(task, seed):
    data = make_data(task, seed, True, seed == 2)
    template = MLPExpert((5,), activation="tanh", random_state=seed)
    for fit in (fit_em, fit_joint):
        parts = make_parts(data, template, SoftmaxGate())
        monitor = StrictMonitor(0.0, 25, patience=1000)
        result = fit(data, parts, monitor, responsibilities(100, 3, seed))
        assert result.objective > result.history["objective"][0]


def test_em_and_gradient_agree_at_the_end():
    data = make_data("regression", 0, True, False)
    template = MLPExpert((3,), activation="tanh", alpha=3.0, random_state=0)
    parts = make_parts(data, template, SoftmaxGate(1e-2), n_experts=2)
    resp = responsibilities(100, 2)
    end = fit_joint(data, parts, Monitor(1e-13, 3000, patience=10), resp)
    near = Parts(end.gate, end.experts, end.likelihood)
    assert_allclose(objective_gradient(data, near, WholeEvaluator(data)(near)), 0.0, atol=1e-5)
    by_em = fit_em(data, near, Monitor(1e-13, 50, patience=10), posterior(data, near)[0])
    assert_allclose(by_em.objective, end.objective, atol=1e-6)


def test_collections_are_taken_apart_and_put_together():
    data, other = small("regression", True), small("regression", False, n=40)
    collection = MLPExpert((4, 3), random_state=0).collection(3)
    experts = collection.start(data)
    experts.layers[-1][:, -1] = np.arange(3)[:, None]
    pred = experts.predict(data.X)
    assert_allclose(experts.selected([2, 0]).predict(data.X), pred[:, [2, 0]])
    # Experts of another fit, whose target has another unit, keep their function.
    scaled = replace(other, X=data.X, y_scale=3.0 * other.y_scale)
    guest = collection.start(scaled).selected([1])
    mixed = experts.replaced([1], guest).predict(data.X)
    assert_allclose(mixed[:, 1], guest.predict(data.X)[:, 0], atol=1e-12)
    assert_allclose(mixed[:, [0, 2]], pred[:, [0, 2]])
    assert_array_equal(experts.predict(data.X), pred)
    X = other.X.X
    moved = experts.resumed(other).predict(other.X)
    assert_allclose(moved, experts.predict(X), atol=1e-9)
    rows = [np.array([0, 3]), np.array([], dtype=int), np.array([2])]
    for k, part in enumerate(experts.predict(X, rows)):
        assert_allclose(part, experts.predict(X)[rows[k], k], atol=1e-12)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_experts_learn_from_their_own_rows_alone(task):
    data = small(task, True, n=60)
    dispersion = None if data.n_classes else np.ones((3, 1))
    experts = MLPExpert((4,), random_state=0).collection(3, data.n_classes).start(data)
    before = experts.predict(data.X)
    resp = np.zeros((60, 3))
    resp[:30, 0] = resp[30:, 2] = 1.0
    rows = [np.arange(60)] * 3
    pred, n_fitted = experts.fit_predict_rows(data, resp, dispersion, rows)
    assert n_fitted == 60
    assert_allclose(pred[1], before[:, 1])  # without rows it stays
    assert_allclose(np.stack(pred, axis=1), experts.predict(data.X), atol=1e-12)
    assert np.abs(pred[0] - before[:, 0]).max() > 1e-3


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
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("sizes", [(6,), (5, 4)])
@pytest.mark.parametrize(("task", "kinds"), CASES)
def test_published_experts_predict_the_same(task, kinds, sizes, sparse):
    X, y = targets(task, **kinds)
    X = sparsened(X) if sparse else 3.0 * X + 5.0
    model = estimator(task, MLPExpert(sizes, activation="tanh")).fit(X, y)
    answers = model.predict_experts(X)
    for k, expert in enumerate(pickle.loads(pickle.dumps(model.experts_))):
        if task == "regression":
            assert type(expert) is MLPRegressor
            found = expert.predict(X)
        else:
            assert type(expert) is MLPClassifier
            found = expert.predict_proba(X)
            assert set(expert.predict(X)) <= set(y)
        assert_allclose(found, answers[:, k], rtol=1e-10, atol=1e-10)
        assert expert.n_layers_ == len(sizes) + 2 and expert.n_features_in_ == X.shape[1]
        expert.partial_fit(X, y)  # training can go on outside of the mixture
        assert np.isfinite(expert.predict(X) if task == "regression" else found).all()


@SHORT
@pytest.mark.parametrize("solver", ["gradient", "em", "minibatch"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_fits_repeat_pickle_and_clone(task, solver):
    X, y = targets(task)
    template = MLPExpert((4,))
    model = estimator(task, template, solver=solver)
    one, other = (clone(model).fit(X, y).predict_experts(X) for _ in range(2))
    assert_array_equal(one, other)
    assert template.random_state is None
    fitted = model.fit(X, y)
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))
    moved = clone(model).set_params(random_state=1).fit(X, y)
    assert not np.allclose(moved.predict_experts(X), one)
    fixed = clone(model).set_params(experts__random_state=3)
    assert fixed.experts.random_state == 3 and template.random_state is None


@SHORT
@pytest.mark.parametrize("solver", ["gradient", "em", "minibatch"])
def test_warm_start_goes_on(solver):
    X, y = targets("regression")
    model = estimator("regression", MLPExpert((4,)), solver=solver, warm_start=True)
    first = model.fit(X, y).objective_
    again = model.set_params(max_iter=30, experts__alpha=1.0).fit(X, y).objective_
    assert again > first
    assert model._parts.experts.alpha == 1.0
    model.set_params(experts__hidden_layer_sizes=(7,)).fit(X, y)  # another network: anew
    assert model.experts_[0].hidden_layer_sizes == (7,)


def waves(n=600, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.uniform(-2, 2, size=(n, 2))
    y = np.where(X[:, 0] > 0, np.sin(4 * X[:, 1]), 2.0 + np.square(X[:, 1]))
    return X, y + 0.1 * rng.normal(size=n)


@SHORT
@pytest.mark.parametrize("solver", ["gradient", EM(), Minibatch(n_epochs=60)])
def test_curved_experts_beat_linear_ones(solver):
    X, y = waves()
    new_X, new_y = waves(seed=1)
    # "random" starts would do as well: a linear surrogate finds the two regimes.
    model = MoERegressor(MLPExpert((10,)), n_experts=2, solver=solver, random_state=0)
    model.fit(X, y)
    linear = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    gain = model.log_likelihood(new_X, new_y).mean() - linear.log_likelihood(new_X, new_y).mean()
    assert gain > 0.5
    assert model.score(new_X, new_y) > linear.score(new_X, new_y) + 0.05


@SHORT
def test_early_stopping_returns_to_the_best_epoch():
    X, y = waves(120)
    solver = Minibatch(early_stopping=True, n_epochs=150, schedule="constant", batch_size=20)
    template = MLPExpert((50,), alpha=0.0)
    model = MoERegressor(template, n_experts=3, solver=solver, random_state=0).fit(X, y)
    held_out = model.history_["validation"]
    assert model.n_iter_ < 150
    assert np.argmax(held_out) == len(held_out) - 1 - solver.n_iter_no_change


@SHORT
def test_other_ways_to_a_mixture():
    X, y = targets("regression")
    model = estimator("regression", MLPExpert((4,)), top_k=1, routing="token").fit(X, y)
    assert np.isfinite(model.log_likelihood(X, y)).all()
    model = estimator("regression", MLPExpert((4,)), n_experts="auto", max_experts=3).fit(X, y)
    assert 1 <= model.n_experts_ <= 3
    grown = model.add_expert(X, y)
    assert grown.n_experts_ == len(grown.experts_)
    assert np.isfinite(grown.predict(X)).all()
    with pytest.raises(ValueError, match="all made from one MLPExpert"):
        grown.add_expert(X, y, Ridge())
    solver = EM(e_step="hard", revive=True, polish=1, temperature=2.0)
    assert np.isfinite(
        estimator("regression", MLPExpert((4,)), solver=solver).fit(X, y).score(X, y)
    )


@pytest.mark.parametrize("sizes", [(), (3, 3, 3), (0,), (2.5,), ("a",)])
def test_sizes_that_make_no_network(sizes):
    with pytest.raises(ValueError, match="must hold one or two positive integers"):
        MoERegressor(MLPExpert(sizes)).fit(*regression(0))


def test_a_template_for_all_is_not_one_of_a_list():
    with pytest.raises(ValueError, match="'net' is a MLPExpert, which is a template for all"):
        MoERegressor([("net", MLPExpert()), ("line", Ridge())]).fit(*regression(0))


def test_one_class():
    X = np.random.RandomState(0).normal(size=(20, 2))
    with pytest.warns(UserWarning, match="one class"):
        model = MoEClassifier(MLPExpert((3,)), n_experts=2).fit(X, np.zeros(20))
    assert_array_equal(model.predict(X), np.zeros(20))


def test_weights_are_repetitions():
    X, y = regression(0, n=60)
    repeats = np.random.RandomState(0).randint(1, 4, size=60)
    rows = np.repeat(np.arange(60), repeats)
    template = MLPExpert((4,), activation="tanh", random_state=0)
    settings = {"n_experts": 2, "solver": EM(), "max_iter": 3, "tol": 0.0}
    start = responsibilities(60, 2)
    with pytest.warns(match="did not converge"):
        one = MoERegressor(template, init=start, n_init=1, **settings)
        one.fit(X, y.ravel(), sample_weight=repeats.astype(float))
    with pytest.warns(match="did not converge"):
        other = MoERegressor(template, init=start[rows], n_init=1, **settings)
        other.fit(X[rows], y.ravel()[rows])
    assert_allclose(one.predict(X), other.predict(X), atol=1e-5)


def test_sparse_and_dense_rows_give_the_same_gradient():
    data = small("regression", True, sparse=True)
    dense = replace(data, X=type(data.X)(data.X.X.toarray(), data.X.center, data.X.scale))
    experts = MLPExpert((4,), random_state=0).collection(3).start(data)
    score = np.random.RandomState(0).normal(size=(30, 3, 1))
    results = [experts.predict_with_gradient(view.X) for view in (data, dense)]
    (one, pull_one), (other, pull_other) = results
    assert sp.issparse(data.X.X) and np.all(data.X.center == 0.0)
    assert_allclose(one, other, atol=1e-12)
    assert_allclose(pull_one(score), pull_other(score), atol=1e-10)


def test_float32_rows_give_the_gradient_of_float64():
    data = small("regression", True, n=60)
    X = data.X.X.astype(np.float32)
    single = replace(data, X=data.X.on(X), gate_X=data.gate_X.on(X))
    parts = make_parts(data, EXPERTS["tanh"], SoftmaxGate())
    begun = fit_em(data, parts, Monitor(0.0, 2), responsibilities(60, 3))
    parts = Parts(begun.gate, begun.experts, begun.likelihood)
    one, other = (
        objective_gradient(rows, parts, WholeEvaluator(rows)(parts)) for rows in (data, single)
    )
    assert_allclose(one, other, atol=1e-4)
