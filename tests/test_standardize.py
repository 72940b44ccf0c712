"""Penalties in the units of the features as given, for experts and gate."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import classification, regression, sparsened
from sklearn.linear_model import LogisticRegression, Ridge

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import FactorExpert, LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.solvers import Minibatch

RAW = {"standardize": False}
SCALES = np.array([0.01, 1.0, 50.0])


@pytest.mark.parametrize("solver", ["em", "gradient"])
@pytest.mark.parametrize("sparse", [False, True])
def test_one_expert_equals_ridge_on_columns_as_given(sparse, solver):
    X, y = regression(0)
    X = SCALES * X + (0.0 if sparse else 4.0)
    X, y = sparsened(X) if sparse else X, y.ravel()
    expert = LinearExpert(5.0, **RAW)
    model = MoERegressor(expert, n_experts=1, solver=solver, tol=1e-12).fit(X, y)
    noise = model.likelihood_.dispersion[0, 0]
    ridge = Ridge(5.0 * noise / y.var(), tol=1e-12).fit(X, y)
    assert_allclose(model.experts_[0].coef_, ridge.coef_, rtol=1e-4)
    assert_allclose(model.predict(X), ridge.predict(X), atol=1e-5 * y.std())


def test_one_expert_equals_logistic_regression_on_columns_as_given():
    X, y = classification(0, n_classes=3)
    X = SCALES * X
    model = MoEClassifier(LinearExpert(2.0, **RAW), n_experts=1, tol=1e-13).fit(X, y)
    logistic = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(X, y)
    assert_allclose(model.predict_proba(X), logistic.predict_proba(X), atol=1e-4)


def test_the_gate_is_penalised_in_units_of_columns_as_given():
    rng = np.random.RandomState(0)
    X = SCALES * rng.normal(size=(300, 3))
    resp = rng.dirichlet(np.ones(2), size=300)
    gate = SoftmaxGate(0.1, standardize=False, tol=1e-14).fit(X, resp)
    scaled = SoftmaxGate(0.1).fit(X, resp)
    assert_array_equal(gate.scale_, np.ones(3))
    # The slope of a tiny column costs more than it brings, that of a large one nothing.
    sizes = np.abs(gate.coef_[0]) / np.abs(scaled.coef_[0])
    assert sizes[0] < 0.01 and sizes[2] > 1.0
    error = resp - np.exp(gate.log_proba(X))
    slopes = 0.1 * gate.coef_
    assert_allclose(error.T @ (X - X.mean(axis=0)) / 300, slopes, atol=1e-5)


def test_rare_columns_are_held_back_only_in_units_as_given():
    """A user with one rating: its slope is an outlier unless the penalty counts."""
    rng = np.random.RandomState(0)
    user = np.append(rng.randint(5, size=2000), 5)
    X = sp.csr_matrix((np.ones(2001), (np.arange(2001), user)), shape=(2001, 6))
    y = np.append(rng.normal(size=2000), 8.0)
    scaled, raw = (
        MoERegressor(LinearExpert(3.0, standardize=given), n_experts=1).fit(X, y)
        for given in (True, False)
    )
    assert scaled.experts_[0].coef_[5] > 7.0
    assert 1.0 < raw.experts_[0].coef_[5] < 3.0


@pytest.mark.parametrize("gate_scaled", [True, False])
@pytest.mark.parametrize("expert_scaled", [True, False])
def test_gate_and_experts_may_differ(gate_scaled, expert_scaled):
    """EM and gradient end in the same place, whichever columns are scaled."""
    X, y = regression(0)
    X, y = SCALES * X, y.ravel()
    parts = {
        "gate": SoftmaxGate(1e-2, standardize=gate_scaled),
        "experts": LinearExpert(standardize=expert_scaled),
    }
    near = MoERegressor(**parts, n_experts=2, random_state=0, tol=1e-12, max_iter=2000).fit(X, y)
    resp = near.responsibilities(X, y)
    settings = {"init": resp, "n_init": 1, "solver": "em", "tol": 1e-12, "max_iter": 2000}
    again = MoERegressor(**parts, n_experts=2, **settings).fit(X, y)
    assert_allclose(again.objective_, near.objective_, atol=1e-6)
    assert_allclose(near.gate_.scale_, X.std(axis=0) if gate_scaled else np.ones(3))
    assert_allclose(again.log_likelihood(X, y), near.log_likelihood(X, y), atol=0.05)


@pytest.mark.parametrize("template", [LinearExpert(**RAW), FactorExpert(2, **RAW)])
def test_minibatches_of_sparse_rows(template):
    X, y = regression(0, n=400)
    X = sparsened(X)
    gate = SoftmaxGate(**RAW)
    model = MoERegressor(template, n_experts=2, gate=gate, solver=Minibatch(n_epochs=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y.ravel())
    assert_array_equal(model.gate_.scale_, np.ones(3))
    assert np.isfinite(model.predict(X)).all()


def test_streams_keep_the_units_of_columns_as_given():
    X, y = regression(0, n=3000)
    X, y = 20.0 * X, y.ravel()
    settings = {"n_experts": 2, "gate": SoftmaxGate(**RAW), "random_state": 0}
    model = MoERegressor(LinearExpert(**RAW), **settings)
    for rows in np.array_split(np.arange(3000), 6):
        model.partial_fit(X[rows] + rows[0] / 30.0, y[rows])  # the columns drift
    assert_array_equal(model.gate_.scale_, np.ones(3))
    assert_array_equal(model._parts.experts._scale, np.ones(3))
    assert np.isfinite(model.predict(X)).all()
