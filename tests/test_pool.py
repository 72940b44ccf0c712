"""A gate over experts that are trained once."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import log_softmax, logsumexp
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._fit import FitData
from skmoe._pool import _squared_loss, log_loss
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.solvers import Pool

rng = np.random.RandomState(0)
N = 400
X = rng.uniform(-1, 1, size=(N, 3))
# A line where the first feature is low, steps where it is high.
Y = np.where(X[:, 0] < 0, 3 * X[:, 1], np.sign(X[:, 2])) + 0.2 * rng.normal(size=N)
LABELS = (Y > 0.3).astype(int)
MEMBERS = [
    ("line", Ridge()),
    ("steps", DecisionTreeRegressor(max_depth=3, random_state=0)),
    ("near", KNeighborsRegressor(15)),
]
FOLDS = KFold(5, shuffle=True, random_state=3)


def pool(solver="pool", members=MEMBERS, **settings):
    return MoERegressor(members, solver=solver, random_state=0, **settings)


@pytest.fixture(scope="module")
def fitted():
    return pool(cross_fit=FOLDS).fit(X, Y)


def test_members_are_fitted_once_on_all_rows(fitted):
    for (_, member), expert in zip(MEMBERS, fitted.experts_):
        np.testing.assert_allclose(expert.predict(X), member.fit(X, Y).predict(X))
    assert fitted.expert_names_ == ["line", "steps", "near"] and fitted.cross_fit_ == 5
    assert pool().fit(X, Y).cross_fit_ == 5


def test_gate_and_noise_fit_the_out_of_fold_predictions(fitted):
    """At the chosen strength no gate nearby has a higher objective."""
    out_of_fold = [cross_val_predict(member, X, Y, cv=FOLDS) for _, member in MEMBERS]
    errors = Y[:, None] - np.column_stack(out_of_fold)
    scale = fitted.likelihood_.scale_
    log_lik = -0.5 * (errors / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    Z, gate = fitted.gate_._design(X).block(slice(None)), fitted.gate_
    assert gate.alpha in Pool().alphas and gate.alpha < 1e6

    def objective(coef):
        joint = log_softmax(Z @ coef, axis=1) + log_lik
        return logsumexp(joint, axis=1).mean() - gate.alpha / 2 * np.sum(coef[:-1] ** 2)

    best = objective(gate.block_coef())
    for step in np.random.RandomState(1).normal(scale=0.02, size=(50, *gate.block_coef().shape)):
        assert objective(gate.block_coef() + step) < best + 1e-4
    resp = np.exp(np.log(fitted.gate_proba(X)) + log_lik)
    resp /= resp.sum(axis=1, keepdims=True)
    # With the prior of a variance, one row of a tenth of what one line leaves.
    squares = (resp * errors**2).sum(axis=0) + 0.1 * fitted._units[1]
    np.testing.assert_allclose(scale, np.sqrt(squares / (resp.sum(axis=0) + 1)), rtol=0.01)


def test_it_pays():
    fresh = np.random.RandomState(1).uniform(-1, 1, size=(2000, 3))
    truth = np.where(fresh[:, 0] < 0, 3 * fresh[:, 1], np.sign(fresh[:, 2]))
    found = {}
    for loss in ("log", "squared"):
        model = pool(Pool(loss=loss)).fit(X, Y)
        found[loss] = np.sqrt(np.mean((model.predict(fresh) - truth) ** 2))
        alone = np.sqrt(np.mean((model.predict_experts(fresh) - truth[:, None]) ** 2, axis=0))
        assert found[loss] < 0.9 * alone.min()
        assert set(model.history_["strengths"]) == set(Pool().alphas)
        assert model.gate_.alpha == max(
            model.history_["strengths"], key=model.history_["strengths"].get
        )
    assert found["squared"] < 1.1 * found["log"]


@pytest.mark.parametrize("loss", ["log", "squared"])
def test_gradients_of_the_losses(loss):
    pred = rng.normal(size=(6, 3, 2))
    y = rng.normal(size=(6, 2))
    scale = np.array([1.0, 2.0])
    data = FitData(None, None, y, rng.uniform(0.5, 2, size=6), None, scale, scale**2)
    likelihood = Gaussian().start(data, 3)
    made = (
        log_loss(data, likelihood.log_lik(data.y, pred))
        if loss == "log"
        else _squared_loss(data, pred)
    )
    logits = rng.normal(size=(6, 3))

    def value(flat):
        return made(log_softmax(flat.reshape(6, 3), axis=1))[0]

    numeric = approx_fprime(logits.ravel(), value, 1e-7).reshape(6, 3)
    analytic = made(log_softmax(logits, axis=1))[1]
    np.testing.assert_allclose(analytic, numeric, atol=2e-6)


def test_constant_gate_where_nothing_depends_on_the_features():
    noise = np.random.RandomState(2).normal(size=N)
    model = pool(Pool(alphas=[1e-3, 1e6])).fit(X, noise)
    assert model.gate_.alpha == 1e6
    assert np.ptp(model.gate_proba(X), axis=0).max() < 1e-4


def test_frozen_members_are_not_fitted():
    half = N // 2
    frozen = [(name, FrozenEstimator(m.fit(X[:half], Y[:half]))) for name, m in MEMBERS]
    before = [member.predict(X) for _, member in frozen]
    model = pool(members=frozen, cross_fit=None).fit(X[half:], Y[half:])
    assert model.cross_fit_ is None
    np.testing.assert_array_equal(model.predict_experts(X), np.column_stack(before))
    assert model.score(X[half:], Y[half:]) > 0.7


def test_classifier_weights_and_outputs():
    members = [("tree", DecisionTreeClassifier(max_depth=3)), ("nb", GaussianNB())]
    model = MoEClassifier(members, solver="pool", random_state=0).fit(X, LABELS)
    assert model.score(X, LABELS) > 0.8
    weight = np.where(np.arange(N) % 4 == 0, 0.0, 1.0)
    weighted = pool(cross_fit=3).fit(X, Y, sample_weight=weight)
    kept = pool(cross_fit=3).fit(X[weight > 0], Y[weight > 0])
    np.testing.assert_allclose(weighted.predict(X), kept.predict(X), rtol=1e-9)
    two = np.column_stack([Y, -2 * Y])
    for loss in ("log", "squared"):
        model = pool(Pool(loss=loss), MEMBERS[:2]).fit(X, two)
        assert model.predict(X).shape == (N, 2) and model.score(X, two) > 0.7


def test_other_gates_are_trained_as_they_are():
    model = pool(gate=LogisticRegression()).fit(X, Y)
    assert model.score(X, Y) > 0.7 and "strengths" not in model.history_
    with pytest.raises(ValueError, match="trains a softmax gate only"):
        pool(Pool(loss="squared"), gate=LogisticRegression()).fit(X, Y)


def test_members_that_fail_are_left_out():
    class Fails(Ridge):
        def fit(self, X, y, sample_weight=None):
            raise ValueError("no solution")

    model = pool(members=[("bad", Fails()), *MEMBERS], on_expert_error="drop", cross_fit=FOLDS)
    with pytest.warns(UserWarning, match="expert 'bad' failed in fit: no solution"):
        model.fit(X, Y)
    reference = pool(cross_fit=FOLDS).fit(X, Y)
    np.testing.assert_allclose(model.predict(X), reference.predict(X), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": None}, "linear experts would all be the same; give a list"),
        ({"cross_fit": None}, "needs predictions of rows that experts have not seen"),
        ({"solver": Pool(alphas=[])}, "must hold finite strengths"),
        ({"solver": Pool(alphas=[-1.0])}, "must hold finite strengths"),
        ({"solver": Pool(alphas=[np.inf])}, "must hold finite strengths"),
        ({"solver": Pool(n_folds=1)}, "n_folds"),
    ],
)
def test_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        pool(**settings).fit(X, Y)


def test_clones_of_one_template_are_no_pool_to_choose_from():
    with pytest.raises(ValueError, match=r"clones one template.*give a list"):
        MoERegressor(Ridge(), n_experts="auto", solver="pool").fit(X, Y)


def test_squared_loss_is_for_regression():
    members = [("line", LogisticRegression()), ("nb", GaussianNB())]
    with pytest.raises(ValueError, match="is for regression; use Pool"):
        MoEClassifier(members, solver=Pool(loss="squared")).fit(X, LABELS)


def test_life_of_a_pool(fitted):
    import copy

    model = copy.deepcopy(fitted).remove_expert("near")
    model.add_expert(X, Y, LinearRegression(), name="new")
    assert model.expert_names_ == ["line", "steps", "new"]
    assert isinstance(model.gate_, SoftmaxGate) and model.score(X, Y) > 0.7
