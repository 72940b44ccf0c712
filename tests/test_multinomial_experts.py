"""Multinomial experts against scikit-learn and against their objective."""

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import classification, classification_data, responsibilities, sparsened, weights
from sklearn.linear_model import LogisticRegression

from skmoe.experts import LinearExpert


def problem(n_classes=3, seed=0, sparse=False):
    X, codes = classification(seed, n_classes=n_classes)
    X = sparsened(X) if sparse else X
    return classification_data(X, codes, weights(120, seed))


def dense_columns(design):
    X = design.X.toarray() if design.is_sparse else design.X
    return naive.columns(X, design.center, design.scale)


def loss(experts, data, resp):
    """Penalised weighted log-likelihood that an M-step maximises."""
    log_lik = naive.categorical_log_lik(data.y, experts.predict(data.X))
    return np.sum(data.weight[:, None] * resp * log_lik) - experts.penalty()


def settled(experts, data, resp, n_calls=25):
    for _ in range(n_calls):
        pred = experts.fit_predict(data, resp)
    return pred


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("alpha", [0.1, 1.0, 30.0])
def test_one_expert_equals_logistic_regression(n_classes, alpha):
    data = problem(n_classes)
    experts = LinearExpert(alpha).collection(1, n_classes).start(data)
    pred = settled(experts, data, np.ones((120, 1)))
    Z = dense_columns(data.X)[:, :-1]
    # Of two classes scikit-learn penalises the difference of the slopes, which costs
    # half as much when it is shared out between both.
    strength = alpha / 2 if n_classes == 2 else alpha
    reference = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000)
    reference.fit(Z, data.y, sample_weight=data.weight)
    proba = np.exp(naive.log_softmax(pred[:, 0]))
    assert_allclose(proba, reference.predict_proba(Z), atol=1e-4)


@pytest.mark.parametrize("sparse", [False, True])
def test_each_expert_is_stationary_for_its_own_rows(sparse):
    data = problem(sparse=sparse)
    resp = responsibilities(120, 2)
    experts = LinearExpert(1.0).collection(2, 3).start(data)
    pred = settled(experts, data, resp)
    residual = naive.categorical_residual(data.y, pred, data.weight[:, None] * resp)
    gradient = np.einsum("nd,nkc->dkc", dense_columns(data.X), residual)
    gradient[:-1] -= experts.coef[:-1]
    assert_allclose(gradient, 0.0, atol=0.02)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_objective_increases_with_every_call(alpha, n_classes):
    data = problem(n_classes)
    experts = LinearExpert(alpha).collection(3, n_classes).start(data)
    for seed in range(5):
        resp = responsibilities(120, 3, seed)
        before = loss(experts, data, resp)
        experts.fit_predict(data, resp)
        assert loss(experts, data, resp) > before


def test_fit_predict_returns_the_scores_of_the_new_coefficients():
    data = problem()
    experts = LinearExpert().collection(3, 3).start(data)
    pred = experts.fit_predict(data, responsibilities(120, 3))
    expected = np.einsum("nd,dkc->nkc", dense_columns(data.X), experts.coef)
    assert pred.shape == (120, 3, 3)
    assert_allclose(pred, expected, atol=1e-10)


def test_start_predicts_about_the_shares_of_the_classes():
    data = problem()
    experts = LinearExpert().collection(2, 3).start(data)
    shares = np.bincount(data.y, weights=data.weight) / data.weight.sum()
    proba = np.exp(naive.log_softmax(experts.predict(data.X)[0]))
    assert_allclose(proba, np.tile(shares, (2, 1)), atol=2e-3)


def test_start_of_a_class_without_rows_is_finite():
    data = problem()
    experts = LinearExpert().collection(2, 5).start(data)
    assert np.isfinite(settled(experts, data, responsibilities(120, 2), 2)).all()


def test_penalty_is_half_alpha_times_squared_slopes():
    data = problem()
    experts = LinearExpert(3.0).collection(2, 3).start(data)
    assert experts.penalty() == 0.0
    experts.fit_predict(data, responsibilities(120, 2))
    assert_allclose(experts.penalty(), 1.5 * np.sum(experts.coef[:-1] ** 2))


@pytest.mark.parametrize("sparse", [False, True])
def test_sparse_prediction_and_prediction_on_rows(sparse):
    data = problem(sparse=sparse)
    experts = LinearExpert().collection(2, 3).start(data)
    pred = experts.fit_predict(data, responsibilities(120, 2))
    assert_allclose(experts.predict(data.X.X), pred, atol=1e-10)
    rows = [np.array([4, 4, 0]), np.array([], dtype=int)]
    parts = experts.predict(data.X.X, rows)
    assert_allclose(parts[0], pred[rows[0], 0], atol=1e-10)
    assert parts[1].shape == (0, 3)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_published_estimators_predict_the_same(n_classes):
    data = problem(n_classes)
    labels = np.array(["far", "near", "odd"])[:n_classes]
    experts = LinearExpert().collection(2, n_classes).start(data)
    pred = experts.fit_predict(data, responsibilities(120, 2))
    for k, expert in enumerate(experts.published(labels)):
        assert isinstance(expert, LogisticRegression)
        expected = np.exp(naive.log_softmax(pred[:, k]))
        assert_allclose(expert.predict_proba(data.X.X), expected, atol=1e-9)
        assert (expert.predict(data.X.X) == labels[pred[:, k].argmax(axis=1)]).all()


def test_more_experts_than_one_have_no_effect_on_each_other():
    data, resp = problem(), responsibilities(120, 3)
    together = settled(LinearExpert().collection(3, 3).start(data), data, resp)
    alone = LinearExpert().collection(1, 3).start(data)
    pred = settled(alone, data, resp[:, [1]])
    proba = np.exp(naive.log_softmax(together[:, 1]))
    assert_allclose(proba, np.exp(naive.log_softmax(pred[:, 0])), atol=1e-3)


def test_resumed_experts_predict_the_same_from_another_view():
    data = problem()
    experts = LinearExpert().collection(2, 3).start(data)
    experts.fit_predict(data, responsibilities(120, 2))
    other = classification_data(3.0 * data.X.X[:50] + 1.0, data.y[:50])
    resumed = experts.resumed(other)
    assert_allclose(resumed.predict(data.X.X), experts.predict(data.X.X), atol=1e-9)


def test_shallow_copies_keep_their_coefficients():
    data = problem()
    experts = LinearExpert().collection(2, 3).start(data)
    before, kept = experts.coef, experts.coef.copy()
    experts.fit_predict(data, responsibilities(120, 2))
    assert_allclose(before, kept, atol=0)
