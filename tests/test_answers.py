"""What a fitted mixture answers, against slow formulas on its parts."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.validation import check_is_fitted

from skmoe import MoEClassifier, MoERegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, K = 90, 3
SMOOTHING = 1e-3
rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(N, 2))
Y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=N)
Y2 = np.column_stack([Y, X[:, 1] ** 2])
LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + X[:, 1] ** 2, [-0.2, 0.5])]
BINARY = np.where(np.abs(X[:, 0]) > 0.5, "far", "near")
NEW = rng.uniform(-1, 1, size=(40, 2))

TREE = DecisionTreeRegressor(max_depth=3, random_state=0)
TREE_C = DecisionTreeClassifier(max_depth=3, random_state=0)
REGRESSORS = {
    "linear": None,
    "tree": TREE,
    "mixed": [("ridge", Ridge()), ("tree", TREE), ("flat", Ridge(alpha=1e3))],
}
CLASSIFIERS = {
    "linear": None,
    "tree": TREE_C,
    "mixed": [("logistic", LogisticRegression()), ("tree", TREE_C), ("svm", LinearSVC())],
}


def regressor(kind, y=Y, **settings):
    n_experts = None if kind == "mixed" else K
    model = MoERegressor(REGRESSORS[kind], n_experts, max_iter=10, random_state=0)
    return model.set_params(**settings).fit(X, y)


def classifier(kind, y=LABELS, **settings):
    n_experts = None if kind == "mixed" else K
    model = MoEClassifier(CLASSIFIERS[kind], n_experts, max_iter=10, random_state=0)
    return model.set_params(**settings).fit(X, y)


def truncated_gate(model, X):
    """Gate probabilities of the experts in use, renormalised: (n, K)."""
    proba = model.gate_proba(X)
    top_k = model.top_k or model.n_experts_
    out = np.zeros_like(proba)
    for i, row in enumerate(proba):
        chosen = np.argsort(-row)[:top_k]
        out[i, chosen] = row[chosen] / row[chosen].sum()
    return out


def log_density(model, X, y):
    """Log density of y under every expert: (n, K)."""
    pred = model.predict_experts(X)
    if isinstance(model, MoEClassifier):
        columns = np.searchsorted(model.classes_, y)
        return np.log(pred[np.arange(len(y)), :, columns])
    pred, y = pred.reshape(len(X), K, -1), y.reshape(len(X), -1)
    scale = model.likelihood_.scale_.reshape(K, -1)
    return norm.logpdf(y[:, None, :], pred, scale).sum(axis=2)


TOP = pytest.mark.parametrize("top_k", [None, 1, 2, K])


@TOP
@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.parametrize("y", [Y, Y2], ids=["one", "two"])
def test_mean_and_total_variance(kind, y, top_k):
    """Law of total variance: noise within experts plus disagreement between them."""
    model = regressor(kind, y, top_k=top_k)
    gate = truncated_gate(model, NEW)
    pred = model.predict_experts(NEW).reshape(len(NEW), K, -1)
    scale = model.likelihood_.scale_.reshape(K, -1)
    mean = np.einsum("nk,nkm->nm", gate, pred)
    within = gate @ scale**2
    between = np.einsum("nk,nkm->nm", gate, (pred - mean[:, None]) ** 2)
    got_mean, got_std = model.predict(NEW, return_std=True)
    assert got_mean.shape == got_std.shape == (len(NEW), *y.shape[1:])
    np.testing.assert_allclose(got_mean.reshape(mean.shape), mean, rtol=1e-9)
    np.testing.assert_allclose(got_std.reshape(mean.shape) ** 2, within + between, rtol=1e-9)
    np.testing.assert_allclose(model.predict(NEW), got_mean, rtol=1e-12)


@TOP
@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("y", [LABELS, BINARY], ids=["three", "binary"])
def test_class_probabilities(kind, y, top_k):
    model = classifier(kind, y, top_k=top_k)
    expected = np.einsum("nk,nkc->nc", truncated_gate(model, NEW), model.predict_experts(NEW))
    proba = model.predict_proba(NEW)
    np.testing.assert_allclose(proba, expected, rtol=1e-9)
    np.testing.assert_allclose(model.predict_log_proba(NEW), np.log(proba), rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(model.predict(NEW), model.classes_[proba.argmax(axis=1)])
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert np.isclose(model.score(X, y), np.mean(model.predict(X) == y))


CASES = [
    *[(regressor, kind, y) for kind in REGRESSORS for y in (Y, Y2)],
    *[(classifier, kind, y) for kind in CLASSIFIERS for y in (LABELS, BINARY)],
]


@TOP
@pytest.mark.parametrize("make, kind, y", CASES)
def test_likelihood_and_responsibilities(make, kind, y, top_k):
    """Both follow from gate and densities of the (truncated) mixture."""
    model = make(kind, y, top_k=top_k)
    with np.errstate(divide="ignore"):
        joint = np.log(truncated_gate(model, X)) + log_density(model, X, y)
    loglik = logsumexp(joint, axis=1)
    np.testing.assert_allclose(model.log_likelihood(X, y), loglik, rtol=1e-8, atol=1e-8)
    expected = np.exp(joint - loglik[:, None])
    np.testing.assert_allclose(model.responsibilities(X, y), expected, atol=1e-8)


@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.parametrize("y", [Y, Y2], ids=["one", "two"])
def test_experts_are_fitted_regressors(kind, y):
    model = regressor(kind, y)
    pred = model.predict_experts(NEW)
    assert pred.shape == (len(NEW), K, *y.shape[1:])
    for k, expert in enumerate(model.experts_):
        check_is_fitted(expert)
        np.testing.assert_allclose(expert.predict(NEW), pred[:, k], rtol=1e-9, atol=1e-12)
        assert isinstance(expert, LinearRegression) == (kind == "linear")


@pytest.mark.parametrize("kind", ["linear", "tree"])
@pytest.mark.parametrize("y", [LABELS, BINARY], ids=["three", "binary"])
def test_experts_are_fitted_classifiers(kind, y):
    """Probabilities of foreign experts are smoothed, by 1e-3; some see few of the classes."""
    model = classifier(kind, y)
    pred = model.predict_experts(NEW)
    assert pred.shape == (len(NEW), K, len(model.classes_))
    for k, expert in enumerate(model.experts_):
        check_is_fitted(expert)
        proba = np.zeros((len(NEW), len(model.classes_)))
        proba[:, np.searchsorted(model.classes_, expert.classes_)] = expert.predict_proba(NEW)
        if kind == "linear":
            assert isinstance(expert, LogisticRegression)
            np.testing.assert_array_equal(expert.classes_, model.classes_)
        else:
            proba = (1 - SMOOTHING) * proba + SMOOTHING / len(model.classes_)
        np.testing.assert_allclose(proba, pred[:, k], rtol=1e-7, atol=1e-9)
        np.testing.assert_array_equal(
            expert.predict(NEW), model.classes_[pred[:, k].argmax(axis=1)]
        )


def test_gate_is_a_softmax_of_its_public_coefficients():
    model = regressor("linear")
    logits = NEW @ model.gate_.coef_.T + model.gate_.intercept_
    np.testing.assert_allclose(model.gate_proba(NEW), softmax(logits, axis=1), rtol=1e-9)


def test_load_is_the_share_of_rows():
    weight = rng.uniform(0.5, 2.0, size=N)
    model = MoERegressor(n_experts=K, max_iter=10, random_state=0).fit(X, Y, weight)
    top = model.gate_proba(X).argmax(axis=1)
    expected = [weight[top == k].sum() / weight.sum() for k in range(K)]
    np.testing.assert_allclose(model.load_, expected)


# -- routing -------------------------------------------------------------------------------


class Counting(BaseEstimator):
    """Counts the rows that each clone predicts, by an identity that cloning keeps."""

    seen = {}

    def __init__(self, name="", slope=1.0):
        self.name = name
        self.slope = slope

    def fit(self, X, y, sample_weight=None):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        Counting.seen.setdefault(self.name, []).extend(X[:, 0].tolist())
        return self._answer(X)


class CountingRegressor(RegressorMixin, Counting):
    def _answer(self, X):
        return self.slope * X[:, 0] + 1 / 3


class CountingClassifier(ClassifierMixin, Counting):
    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return super().fit(X, y)

    def _answer(self, X):
        return self.classes_[(self.slope * X[:, 0] > 0).astype(int)]


@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("kind, task, y", [
    (CountingRegressor, MoERegressor, Y),
    (CountingClassifier, MoEClassifier, BINARY),
])  # fmt: skip
def test_only_chosen_experts_run(kind, task, y, top_k):
    """Each row is evaluated in exactly top_k experts, and in those that `route` names."""
    experts = [(f"e{k}", kind(f"e{k}", slope)) for k, slope in enumerate([-1.0, 1.0, 0.5])]
    init = np.digitize(X[:, 0], [-0.4, 0.4])
    model = task(experts, init=init, n_init=1, max_iter=2, cross_fit=None, top_k=top_k).fit(X, y)
    indices, weights = model.route(NEW)
    assert indices.shape == weights.shape == (len(NEW), top_k)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert (np.diff(weights, axis=1) <= 0).all()
    Counting.seen.clear()
    model.predict(NEW)
    for k in range(3):
        expected = NEW[(indices == k).any(axis=1), 0]
        assert sorted(Counting.seen.get(f"e{k}", [])) == sorted(expected)
    assert sum(map(len, Counting.seen.values())) == top_k * len(NEW)


@pytest.mark.parametrize("kind", ["tree", "mixed"])
def test_top_1_returns_exactly_what_the_chosen_expert_says(kind):
    model = regressor(kind, top_k=1)
    chosen = model.route(NEW)[0][:, 0]
    np.testing.assert_array_equal(chosen, model.gate_proba(NEW).argmax(axis=1))
    for k, expert in enumerate(model.experts_):
        rows = chosen == k
        if rows.any():
            np.testing.assert_array_equal(model.predict(NEW)[rows], expert.predict(NEW[rows]))


@pytest.mark.parametrize("make", [regressor, classifier])
@pytest.mark.parametrize("kind", ["linear", "tree", "mixed"])
def test_all_experts_routed_equals_dense(make, kind):
    dense, routed = make(kind), make(kind, top_k=K)
    np.testing.assert_array_equal(dense.predict(NEW), routed.predict(NEW))
    np.testing.assert_array_equal(dense.predict_experts(NEW), routed.predict_experts(NEW))


@pytest.mark.parametrize("kind", ["linear", "tree"])
def test_training_is_dense_whatever_top_k(kind):
    dense, routed = regressor(kind), regressor(kind, top_k=1)
    assert dense.objective_ == routed.objective_
    assert routed.set_params(top_k=None).predict(NEW).tolist() == dense.predict(NEW).tolist()


def test_one_column_of_targets_keeps_its_shape():
    flat, column = regressor("linear", Y), regressor("linear", Y[:, None])
    assert column.predict(NEW).shape == (len(NEW), 1)
    np.testing.assert_allclose(column.predict(NEW)[:, 0], flat.predict(NEW))
    assert column.predict_experts(NEW).shape == (len(NEW), K, 1)
