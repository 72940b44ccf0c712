"""Rules that turn the outputs of a row's experts into one prediction, against naive twins."""

import math

import naive
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._combine import combined, weighted_median
from skmoe.likelihoods import Categorical, Gaussian

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

K = 4
rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(80, 2))
NEW = rng.uniform(-1, 1, size=(25, 2))
Y = np.abs(X[:, 0]) + 0.3 * np.sin(5 * X[:, 1]) + 0.1 * rng.normal(size=80)
Y2 = np.column_stack([Y, X[:, 0] - Y])
LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0] * X[:, 1], [-0.15, 0.15])]
SETTINGS = {"n_experts": K, "n_init": 1, "init": "kmeans", "max_iter": 8, "random_state": 0}

REGRESSORS = {"linear": None, "tree": DecisionTreeRegressor(max_depth=2)}
CLASSIFIERS = {"linear": None, "tree": DecisionTreeClassifier(max_depth=2)}
TOP = pytest.mark.parametrize("top_k", [None, 1, 3])
fitted = {}


def fit(kind, classify, several=False):
    key = kind, classify, several
    if key not in fitted:
        template = (CLASSIFIERS if classify else REGRESSORS)[kind]
        y = LABELS if classify else Y2 if several else Y
        estimator = MoEClassifier if classify else MoERegressor
        fitted[key] = estimator(template, **SETTINGS).fit(X, y)
    return fitted[key]


def routed(model, top_k):
    """Experts' outputs and weights by row, the weights 0 of those that are not used."""
    proba = model.gate_proba(NEW)
    indices, weights = naive.top_k(np.log(proba), top_k or K)
    dense = np.zeros(proba.shape)
    np.put_along_axis(dense, indices, np.exp(weights), axis=1)
    return dense, model.predict_experts(NEW).reshape(len(NEW), K, -1)


# -- naive twins -------------------------------------------------------------------------


def naive_median(weights, values):
    """Middle of all minimisers of the weighted sum of absolute deviations."""

    def cost(at):
        return sum(w * abs(v - at) for w, v in zip(weights, values, strict=True))

    least = min(cost(v) for v in values)
    best = [v for v in values if cost(v) <= least + 1e-12]
    return (min(best) + max(best)) / 2


def naive_pool(weights, means, variances):
    """Mean and variance of the product of Gaussian densities to powers, on a fine grid."""
    used = weights > 0
    sizes = np.sqrt(variances[used])
    span = 12 * sizes.max()
    grid = np.linspace(means[used].min() - span, means[used].max() + span, 40001)
    log_density = np.zeros(grid.size)
    for w, mean, variance in zip(weights, means, variances, strict=True):
        log_density -= w * (grid - mean) ** 2 / (2 * variance)
    density = np.exp(log_density - log_density.max())
    mean = (grid * density).sum() / density.sum()
    return mean, ((grid - mean) ** 2 * density).sum() / density.sum()


def naive_class_pool(weights, proba):
    products = [
        math.prod(p**w for p, w in zip(proba[:, c], weights, strict=True))
        for c in range(proba.shape[1])
    ]
    return np.array(products) / sum(products)


def naive_vote(weights, proba):
    shares = [0.0] * proba.shape[1]
    for w, row in zip(weights, proba, strict=True):
        shares[list(row).index(max(row))] += w
    return shares


def naive_class_median(weights, proba):
    middle = [naive_median(weights, proba[:, c]) for c in range(proba.shape[1])]
    return np.array(middle) / sum(middle)


# -- regression --------------------------------------------------------------------------


@TOP
@pytest.mark.parametrize("several", [False, True], ids=["one output", "two outputs"])
@pytest.mark.parametrize("kind", REGRESSORS)
def test_regression(kind, several, top_k):
    model = fit(kind, False, several).set_params(top_k=top_k)
    weights, outputs = routed(model, top_k)
    variance = model.likelihood_.scale_.reshape(K, -1) ** 2
    mixture_std = model.set_params(combine="mean").predict(NEW, return_std=True)[1]
    shape = mixture_std.shape

    mean = np.einsum("nk,nkm->nm", weights, outputs).reshape(shape)
    np.testing.assert_allclose(model.predict(NEW), mean, rtol=1e-9)

    got, std = model.set_params(combine="top1").predict(NEW, return_std=True)
    top, rows = weights.argmax(axis=1), np.arange(len(NEW))
    np.testing.assert_allclose(got, outputs[rows, top].reshape(shape), rtol=1e-9)
    np.testing.assert_allclose(std, np.sqrt(variance[top]).reshape(shape), rtol=1e-9)
    np.testing.assert_allclose(model.predict(NEW), got, rtol=1e-9)

    got, std = model.set_params(combine="median").predict(NEW, return_std=True)
    expected = [
        [naive_median(w, column) for column in values.T]
        for w, values in zip(weights, outputs, strict=True)
    ]
    np.testing.assert_allclose(got, np.reshape(expected, shape), rtol=1e-9)
    np.testing.assert_array_equal(std, mixture_std)

    got, std = model.set_params(combine="log_pool").predict(NEW, return_std=True)
    expected = np.array(
        [
            [naive_pool(w, values[:, j], variance[:, j]) for j in range(values.shape[1])]
            for w, values in zip(weights, outputs, strict=True)
        ]
    )
    np.testing.assert_allclose(got, expected[:, :, 0].reshape(shape), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(std**2, expected[:, :, 1].reshape(shape), rtol=1e-6)
    model.set_params(combine="mean", top_k=None)


def test_a_regressor_has_no_votes():
    with pytest.raises(ValueError, match=r"'vote' counts class labels.*use combine='median'"):
        MoERegressor(combine="vote").fit(X, Y)
    model = MoERegressor(n_experts=2, max_iter=5).fit(X, Y).set_params(combine="vote")
    with pytest.raises(ValueError, match="use combine='median'"):
        model.predict(NEW)
    with pytest.raises(ValueError, match="combine='best' is unknown; use one of 'mean', 'top1'"):
        model.set_params(combine="best").predict(NEW)
    with pytest.raises(ValueError, match="'combine' parameter of MoERegressor must be"):
        MoERegressor(combine="best").fit(X, Y)


class Plain(Gaussian):
    """A law that nobody has written a pool for."""

    log_pool = property()  # hasattr finds nothing


def test_a_likelihood_without_a_pool():
    with pytest.raises(ValueError, match="Plain has no method 'log_pool'; add it, or use"):
        MoERegressor(likelihood=Plain(), combine="log_pool").fit(X, Y)
    model = MoERegressor(n_experts=2, likelihood=Plain(), combine="median", max_iter=5)
    assert np.isfinite(model.fit(X, Y).predict(NEW)).all()


# -- classification ------------------------------------------------------------------------


CLASS_TWINS = {
    "mean": lambda weights, proba: weights @ proba,
    "top1": lambda weights, proba: proba[weights.argmax()],
    "median": naive_class_median,
    "log_pool": naive_class_pool,
    "vote": naive_vote,
}


@TOP
@pytest.mark.parametrize("how", CLASS_TWINS)
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_classification(kind, how, top_k):
    model = fit(kind, True).set_params(top_k=top_k, combine=how)
    pairs = zip(*routed(model, top_k), strict=True)
    expected = np.array([CLASS_TWINS[how](w, proba) for w, proba in pairs])
    proba = model.predict_proba(NEW)
    np.testing.assert_allclose(proba, expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(model.predict(NEW), model.classes_[proba.argmax(axis=1)])
    np.testing.assert_allclose(np.exp(model.predict_log_proba(NEW)), proba, atol=1e-12)
    assert model.score(X, LABELS) == np.mean(model.predict(X) == LABELS)
    model.set_params(top_k=None, combine="mean")


def test_experts_that_are_sure_of_different_classes():
    """Every class has the median 0: the mean takes its place. No zero is a veto in the pool."""
    with np.errstate(divide="ignore"):
        pred = np.log(np.eye(3))[None]
    thirds = np.log(np.full((1, 3), 1 / 3))
    for how in ("median", "log_pool"):
        proba = combined(how, Categorical(), thirds, pred, classify=True)
        np.testing.assert_allclose(proba, [[1 / 3, 1 / 3, 1 / 3]])


# -- both ------------------------------------------------------------------------------------


def test_median_between_two_halves():
    weights = np.array([[0.5, 0.25, 0.25], [0.5, 0.3, 0.2], [0.6, 0.2, 0.2]])
    values = np.array([[1.0, 3.0, 9.0], [4.0, 2.0, 8.0], [5.0, 0.0, 1.0]])[:, :, None]
    np.testing.assert_allclose(weighted_median(weights, values)[:, 0], [2.0, 4.0, 5.0])
    np.testing.assert_allclose(
        weighted_median(np.ones((1, 2)), np.array([[[3.0], [5.0]]])), [[4.0]]
    )


@pytest.mark.parametrize("classify", [False, True])
def test_density_is_the_mixtures_whatever_the_rule(classify):
    model, y = fit("linear", classify), LABELS if classify else Y
    resp, loglik = model.responsibilities(X, y), model.log_likelihood(X, y)
    for how in ("top1", "median", "log_pool"):
        model.set_params(combine=how)
        np.testing.assert_array_equal(model.responsibilities(X, y), resp)
        np.testing.assert_array_equal(model.log_likelihood(X, y), loglik)
        assert model.gate_proba(NEW).shape == model.route(NEW)[1].shape
    model.set_params(combine="mean")


def test_one_expert_runs_per_row_with_top1(monkeypatch):
    model = fit("tree", False)
    model.set_params(combine="top1")
    collection, seen = type(model._parts.experts), []
    predict = collection.predict

    def counted(self, rows_X, rows=None):
        seen.append(sum(map(len, rows)))
        return predict(self, rows_X, rows)

    monkeypatch.setattr(collection, "predict", counted)
    model.predict(NEW)
    model.set_params(combine="mean")
    assert seen == [len(NEW)]


def test_one_expert_is_the_same_under_every_rule():
    model = MoEClassifier(LogisticRegression(), n_experts=1).fit(X, LABELS)
    expected = model.predict_proba(NEW)
    for how in ("top1", "median", "log_pool"):
        np.testing.assert_allclose(model.set_params(combine=how).predict_proba(NEW), expected)


def test_in_a_search():
    grid = {"combine": ["mean", "top1", "median", "log_pool"]}
    search = GridSearchCV(MoERegressor(**SETTINGS), grid, cv=2).fit(X, Y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all() and len(set(scores.round(6))) > 1
    grid["combine"].append("vote")
    search = GridSearchCV(MoEClassifier(**SETTINGS), grid, cv=2).fit(X, LABELS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
