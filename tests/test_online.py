"""Learning from batches: against full fits, streams that change, and stops on the way."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._adam import FlatSteps, LazySteps
from skmoe._design import Design
from skmoe._em import _update_experts
from skmoe._fit import FitData, Parts
from skmoe._stepwise import StepwiseSteps
from skmoe._stream import Moments, _change
from skmoe._sweep import Sweeper
from skmoe.balance import BalancePenalty
from skmoe.datasets import make_moe_classification, make_moe_regression
from skmoe.experts import LinearExpert
from skmoe.gates import GaussianGate, HierarchicalGate, MLPGate, SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.solvers import EM, Minibatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

K = 3


def regression(n_rows, seed=0, n_features=4):
    return make_moe_regression(
        n_samples=n_rows, n_experts=K, n_features=n_features, random_state=seed
    )


def classification(n_rows, seed=0, n_features=4):
    return make_moe_classification(
        n_samples=n_rows, n_experts=K, n_features=n_features, random_state=seed
    )


def batches(n_rows, size, seed=0):
    order = np.random.RandomState(seed).permutation(n_rows)
    return [order[start : start + size] for start in range(0, n_rows, size)]


def learn(model, X, y, parts, **more):
    for rows in parts:
        model.partial_fit(X[rows], y[rows], **more)
    return model


# -- one step against plain formulas ----------------------------------------------------


def data_and_parts(gate=None, n_rows=60):
    rng = np.random.RandomState(0)
    X, weight = rng.normal(size=(n_rows, 3)) + 1.0, rng.uniform(0.5, 2.0, n_rows)
    y = rng.normal(size=(n_rows, 2)) + 5.0
    view = Design.standardised(X, weight)
    data = FitData(view, view, y, weight, y_scale=np.ones(2), base_variance=np.ones(2))
    resp = rng.dirichlet(np.ones(K), size=n_rows)
    gate = (gate or SoftmaxGate(alpha=0.01)).fit(view, resp, weight)
    experts = LinearExpert(alpha=0.5).collection(K).start(data)
    experts = experts.with_flat(rng.normal(size=experts.flat().size))
    return data, Parts(gate, experts, Gaussian().start(data, K))


@pytest.mark.parametrize("gate", [None, GaussianGate()])
def test_a_step_that_counts_wholly_is_a_step_of_em(gate):
    data, parts = data_and_parts(gate)
    steps = StepwiseSteps(data, parts)
    steps.step(np.arange(60), 1.0)
    sums, moved = Sweeper(data)(parts, grams=True), parts.keep()
    _update_experts(moved, sums)
    if gate is None:
        grams = sums.gate_curvature[:, None, None] * sums.gram
        moved.gate = parts.gate.moved(parts.gate.block_step(sums.gate, grams, data.weight.sum()))
    else:
        moved.gate = parts.gate.updated(sums.gram)
    assert_allclose(steps.parts.flat(), moved.flat(), rtol=1e-9, atol=1e-11)


def test_statistics_are_running_means_at_the_present_residuals():
    """Against sums over all rows with the responsibilities that each batch had."""
    data, parts = data_and_parts()
    steps = StepwiseSteps(data, parts)
    first, second = np.arange(30), np.arange(30, 60)
    resps, Z = [], data.X.block(slice(0, 60))
    for rows, share in ((first, 1.0), (second, 0.3)):
        now = steps.parts
        log_joint = now.gate.log_proba(data.X) + now.likelihood.log_lik(
            data.y, now.experts.predict(data.X)
        )
        joint = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
        resps.append(data.weight[:, None] * joint / joint.sum(axis=1, keepdims=True))
        steps.step(rows, share)
    weights = np.zeros((60, K))
    weights[first] = 0.7 * resps[0][first] / data.weight[first].sum()
    weights[second] = 0.3 * resps[1][second] / data.weight[second].sum()
    residual = data.y[:, None] - steps.parts.experts.predict(data.X)
    assert_allclose(steps.sums.gram, np.einsum("ni,nk,nj->kij", Z, weights, Z), rtol=1e-9)
    assert_allclose(
        steps.sums.experts, np.einsum("ni,nk,nkm->ikm", Z, weights, residual), atol=1e-10
    )
    assert_allclose(
        steps.sums.squares, np.einsum("nk,nkm->km", weights, np.square(residual)), rtol=1e-9
    )


def test_running_moments_are_those_of_all_rows():
    rng = np.random.RandomState(0)
    X, weight = rng.normal(size=(50, 3)) * [1.0, 5.0, 0.1] + 7.0, rng.uniform(1, 2, 50)
    X[3, 1] = np.nan
    start = Design.standardised(X[:20], weight[:20])
    moments = Moments(weight[:20] @ ~np.isnan(X[:20]), start.center, np.square(start.scale)).after(
        X[20:], weight[20:], 1.0
    )
    whole = Design.standardised(X, weight)
    assert_allclose(moments.mean, whole.center, rtol=1e-10)
    assert_allclose(np.sqrt(moments.variance), whole.scale, rtol=1e-10)


def test_steps_in_other_units_are_the_same_steps():
    data, parts = data_and_parts()
    parts.gate.alpha, parts.experts.alpha = 0.0, 0.0  # penalties depend on units
    steps = StepwiseSteps(data, parts)
    steps.step(np.arange(30), 1.0)
    X = data.X.X
    view = Design(X, X.mean(axis=0) - 2.0, 3.0 * X.std(axis=0))
    other = FitData(view, view, data.y, data.weight, None, data.y_scale, data.base_variance)
    change = _change(data.X, view)
    assert_allclose(data.X.block(slice(0, 5)) @ change, view.block(slice(0, 5)), rtol=1e-12)
    moved = steps.rescaled(
        Parts(
            steps.parts.gate.resumed(view),
            steps.parts.experts.resumed(other),
            steps.parts.likelihood.resumed(other),
        ),
        change,
        change,
    )
    moved.turn(other)
    for one in (steps, moved):
        one.step(np.arange(30, 60), 0.4)
    assert_allclose(
        moved.parts.experts.predict(view), steps.parts.experts.predict(data.X), rtol=1e-8
    )
    assert_allclose(
        moved.parts.gate.log_proba(view), steps.parts.gate.log_proba(data.X), rtol=1e-6, atol=1e-8
    )


# -- whole streams ----------------------------------------------------------------------


@pytest.mark.jit_only
@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize("solver", ["auto", "minibatch"])
def test_passes_over_batches_come_within_a_thousandth_of_the_full_fit(classify, solver):
    make, kind = (classification, MoEClassifier) if classify else (regression, MoERegressor)
    X, y = make(20_000, n_features=10)
    if solver == "minibatch":
        solver = Minibatch(rate=0.1 if classify else 0.02)
    model = kind(n_experts=K, solver=solver, random_state=0)
    more = {"classes": np.unique(y)} if classify else {}
    for epoch in range(5):
        learn(model, X, y, batches(20_000, 500, epoch), **more)
    full = kind(
        n_experts=K, init=model.responsibilities(X, y), n_init=1, tol=1e-8, max_iter=500
    ).fit(X, y)
    gap = full.log_likelihood(X, y).mean() - model.log_likelihood(X, y).mean()
    assert -1e-4 < gap < 1e-3


def test_adam_goes_on_where_a_stream_moves_to_other_units():
    model = MoERegressor(n_experts=2, solver=Minibatch(forgetting=0.5), random_state=0)
    rng = np.random.RandomState(0)
    for shift in (0.0, 0.0, 50.0, 100.0):
        X = rng.normal(size=(1500, 2))
        y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=1500)
        model.partial_fit(X + shift, y)
    assert np.isfinite(model.predict(X + 100.0)).all()


@pytest.mark.jit_only
def test_a_changed_regime_is_tracked_with_forgetting_and_not_without():
    X, y = regression(20_000)
    old, new = (X[:10_000], y[:10_000]), (X[10_000:], y[10_000:] + 4.0 * X[10_000:, 0])
    late = slice(4_000, 10_000)
    error = {}
    for forgetting in (1.0, 0.7):
        model = MoERegressor(n_experts=K, solver=EM(forgetting=forgetting), random_state=0)
        learn(model, *old, batches(10_000, 250))
        before = model.score(*old)
        assert before > 0.5
        learn(model, *new, batches(4_000, 250))
        error[forgetting] = 1.0 - model.score(new[0][late], new[1][late])
    fresh = MoERegressor(n_experts=K, random_state=0).fit(new[0][:4_000], new[1][:4_000])
    reached = 1.0 - fresh.score(new[0][late], new[1][late])
    assert error[0.7] < 1.5 * reached
    assert error[1.0] > 10.0 * reached


@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize("kind", ["auto", "minibatch", "sparse"])
def test_a_stop_changes_nothing(classify, kind):
    make, model = (
        (classification, MoEClassifier(n_experts=K, random_state=0))
        if classify
        else (regression, MoERegressor(n_experts=K, random_state=0))
    )
    X, y = make(1500)
    if kind != "auto":
        model.set_params(solver=Minibatch(expert_dropout=0.2, forgetting=0.98))
    if kind == "sparse":
        X = sp.csr_matrix(np.where(np.abs(X) > 0.5, X, 0.0))
    more = {"classes": np.unique(y)} if classify else {}
    rows = batches(1500, 100)
    straight = learn(clone(model), X, y, rows, **more)
    stopped = clone(model)
    for number, some in enumerate(rows):
        learn(stopped, X, y, [some], **more)
        if number in (1, 8, 12):
            stopped = pickle.loads(pickle.dumps(stopped))
    assert_array_equal(stopped._parts.flat(), straight._parts.flat())
    steps = {"auto": (StepwiseSteps, FlatSteps), "minibatch": (FlatSteps,), "sparse": (LazySteps,)}
    assert isinstance(straight._stream.steps, steps[kind])
    assert stopped.history_["objective"] == straight.history_["objective"]


@pytest.mark.parametrize("classify", [False, True])
def test_sparse_batches(classify):
    make, kind = (classification, MoEClassifier) if classify else (regression, MoERegressor)
    X, y = make(4000)
    X = np.where(np.abs(X) > 0.5, X, 0.0)
    more = {"classes": np.unique(y)} if classify else {}
    found = []
    for rows in (X, sp.csr_matrix(X)):
        model = kind(n_experts=K, init="kmeans", n_init=1, random_state=0)
        found.append(learn(model, rows, y, batches(4000, 100) * 3, **more))
    full = kind(n_experts=K, init=found[1].responsibilities(X, y), n_init=1).fit(X, y)
    gap = full.log_likelihood(X, y).mean() - found[1].log_likelihood(X, y).mean()
    assert gap < 5e-3
    # The form of a batch makes no difference.
    again = copy.deepcopy(found[1]).partial_fit(X[:100], y[:100])
    plain = found[1].partial_fit(sp.csr_matrix(X[:100]), y[:100])
    assert_array_equal(again._parts.flat(), plain._parts.flat())
    dense = found[0]
    again = copy.deepcopy(dense).partial_fit(sp.csr_matrix(X[:100]), y[:100])
    assert_array_equal(again._parts.flat(), dense.partial_fit(X[:100], y[:100])._parts.flat())


@pytest.mark.parametrize(
    "gate", [GaussianGate(), GaussianGate("diag"), HierarchicalGate(((2,), 1)), MLPGate((4,))]
)
def test_other_gates(gate):
    X, y = regression(3000)
    model = MoERegressor(n_experts=K, gate=gate, random_state=0)
    learn(model, X, y, batches(3000, 100) * 6)
    full = clone(model).set_params(init=model.responsibilities(X, y), n_init=1).fit(X, y)
    gap = full.log_likelihood(X, y).mean() - model.log_likelihood(X, y).mean()
    assert gap < 0.02


def test_columns_that_grow_and_move_are_standardised_anew():
    """A start on rows that are nothing like those to come."""
    X, y = regression(6000)
    wide = X * [1.0, 1.0, 300.0, 1.0] + [0.0, 50.0, 0.0, 0.0]
    wide[:400] = X[:400] * [1.0, 1.0, 300.0, 1e-3] + [0.0, 50.0, 0.0, 5.0]
    model = MoERegressor(n_experts=K, random_state=0)
    learn(model, wide, y, np.split(np.arange(6000), 60))
    assert_allclose(model.gate_.scale_[3], wide[:, 3].std(), rtol=1.0)
    assert model.gate_.scale_[3] > 0.1
    learn(model, wide, y, batches(6000, 100) * 6)
    full = MoERegressor(n_experts=K, init=model.responsibilities(wide, y), n_init=1).fit(wide, y)
    gap = full.log_likelihood(wide, y).mean() - model.log_likelihood(wide, y).mean()
    assert gap < 2e-3


def test_several_outputs_and_weights_and_features_of_their_own():
    X, y = regression(2000)
    y = np.column_stack([y, -y, y + X[:, 0]])
    weight = np.where(np.arange(2000) % 5 == 0, 0.0, 1.5)
    model = MoERegressor(n_experts=K, gate_features=[0, 1], random_state=0)
    frame = pd.DataFrame(X, columns=list("abcd"))
    for rows in batches(2000, 200):
        model.partial_fit(frame.iloc[rows], y[rows], sample_weight=weight[rows])
    other = clone(model)
    for rows in batches(2000, 200):
        kept = rows[weight[rows] > 0]
        other.partial_fit(frame.iloc[kept], y[kept], sample_weight=weight[kept])
    assert model.predict(frame).shape == y.shape
    assert model.score(frame, y) == pytest.approx(other.score(frame, y), abs=0.05)
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame.rename(columns={"a": "z"}), y)


# -- life between calls -----------------------------------------------------------------


def test_it_goes_on_from_a_fit():
    X, y = regression(5000)
    model = MoERegressor(n_experts=K, random_state=0).fit(X[:2000], y[:2000])
    before, n_iter = model.log_likelihood(X, y).mean(), model.n_iter_
    learn(model, X, y, [np.arange(2000, 5000)])
    assert model.log_likelihood(X, y).mean() > before
    assert model.n_iter_ == n_iter + 1 == len(model.history_["objective"])
    # A few rows change little, however singular their Gram matrix is.
    small = MoERegressor(n_experts=K, random_state=0).fit(X, y)
    pred = small.predict(X)
    small.partial_fit(X[:2], y[:2])
    assert np.abs(small.predict(X) - pred).max() < 0.05


def test_fit_starts_anew_and_so_does_a_clone():
    X, y = regression(1500)
    model = MoERegressor(n_experts=K, random_state=0)
    plain = clone(model).fit(X, y)
    learn(model, X, y, batches(1500, 300))
    assert not hasattr(clone(model), "_stream")
    model.fit(X, y)
    assert not hasattr(model, "_stream")
    assert_array_equal(model.predict(X), plain.predict(X))


def test_a_change_of_the_experts_is_where_it_goes_on_from():
    X, y = regression(3000)
    model = learn(MoERegressor(n_experts=K, random_state=0), X, y, batches(3000, 500))
    model.remove_expert(0)
    model.partial_fit(X[:500], y[:500])
    assert model.n_experts_ == len(model.experts_) == K - 1


def test_small_batches_are_kept_until_they_make_a_start():
    X, y = regression(1200)
    model = MoERegressor(n_experts=2, random_state=0)
    learn(model, X, y, np.split(np.arange(1200), 60))
    assert isinstance(model._stream.steps, StepwiseSteps)
    whole = MoERegressor(n_experts=2, random_state=0).fit(X[:20], y[:20])
    first = learn(MoERegressor(n_experts=2, random_state=0), X, y, np.split(np.arange(20), 2))
    assert_array_equal(first.predict(X), whole.predict(X))


def test_classes_are_given_once_and_batches_may_lack_some():
    X, y = classification(2000)
    y = np.array(["a", "b", "c"])[y]
    model = MoEClassifier(n_experts=2, random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    assert not hasattr(model, "classes_")
    only = np.flatnonzero(y == "a")
    model.partial_fit(X[only], y[only], classes=["a", "b", "c", "d"])
    assert model.predict_proba(X).shape == (2000, 4)
    learn(model, X, y, batches(2000, 200) * 3)
    assert model.score(X, y) > 0.5
    assert set(model.predict(X)) <= {"a", "b", "c"}
    with pytest.raises(ValueError, match="labels that fit has not seen"):
        model.partial_fit(X[:2], ["a", "z"])
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=["a", "b"])


def test_a_bad_batch_leaves_the_model_as_it_was():
    X, y = regression(1000)
    model = learn(MoERegressor(n_experts=K, random_state=0), X, y, batches(1000, 250))
    before = model._parts.flat()
    X_bad = X[:50].copy()
    X_bad[3, 1] = np.nan
    for bad in ((X[:5, :2], y[:5]), (X_bad, y[:50]), (X[:5], y[:4])):
        with pytest.raises(ValueError):
            model.partial_fit(*bad)
    assert_array_equal(model._parts.flat(), before)


def test_an_interrupted_call_leaves_the_model_as_it_was(monkeypatch):
    X, y = regression(4000)
    model = learn(MoERegressor(n_experts=K, random_state=0), X, y, batches(4000, 500))
    twin = copy.deepcopy(model)
    step, calls = StepwiseSteps.step, []

    def interrupted(self, *args, **more):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(self, *args, **more)

    monkeypatch.setattr(StepwiseSteps, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X, y)
    monkeypatch.undo()
    assert_array_equal(model.partial_fit(X, y)._parts.flat(), twin.partial_fit(X, y)._parts.flat())


@pytest.mark.parametrize(
    "model, reason",
    [
        (MoERegressor(DecisionTreeRegressor()), "experts are DecisionTreeRegressor"),
        (MoERegressor(gate=DecisionTreeClassifier()), "gate is DecisionTreeClassifier"),
        (MoEClassifier(gate="gaussian"), "gate is a GaussianGate"),
        (MoERegressor(routing="token", top_k=1), "routing is 'token'"),
        (MoERegressor(load_balance=BalancePenalty()), "load_balance is BalancePenalty"),
    ],
)
def test_parts_that_cannot_learn_from_batches(model, reason):
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError, match=reason):
        model.partial_fit(np.ones((10, 1)), np.arange(10.0))


@pytest.mark.parametrize(
    "model, reason",
    [
        (MoERegressor(init=np.zeros(10, dtype=int)), "init gives responsibilities"),
        (MoERegressor(LinearExpert(l1_ratio=0.5), solver="gradient"), "l1_ratio needs all rows"),
        (MoERegressor(gate=SoftmaxGate(l1_ratio=0.5)), "l1_ratio needs all rows"),
        (MoEClassifier(solver="em"), "no steps on batches for classes"),
        (MoEClassifier(class_weight="balanced"), "class_weight='balanced'"),
    ],
)
def test_options_that_need_all_rows(model, reason):
    with pytest.raises(ValueError, match=reason):
        model.partial_fit(np.ones((10, 1)), np.arange(10) % 2)


def test_the_share_of_noise_is_learned():
    X, y = regression(6000)
    y[::10] = np.random.RandomState(0).uniform(-40, 40, size=600)
    model = MoERegressor(n_experts=K, likelihood="gaussian_with_noise", random_state=0)
    learn(model, X, y, batches(6000, 300) * 3)
    full = clone(model).fit(X, y)
    share = model.likelihood_.noise_share_
    assert share == pytest.approx(full.likelihood_.noise_share_, abs=0.02) and share > 0.05
