"""Covariances of every law against numerical derivatives of the log-likelihood, row by row."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import log_softmax, logsumexp

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inference import standard_errors
from skmoe.likelihoods import BY_NAME, Gaussian

FREE = {"experts": LinearExpert(alpha=0.0), "gate": SoftmaxGate(alpha=0.0)}
TIGHT = {"tol": 1e-9, "max_iter": 5000, "n_init": 1, "random_state": 0}


class Twin:
    """Log-likelihood of rows from reported coefficients, found by their names."""

    def __init__(self, model, X, y, names, reference):
        self.model, self.y = model, model._decode_target(y)
        self.Z = np.column_stack([X, np.ones(len(X))])
        keys = list(names.itertuples(index=False, name=None))
        own = names[names["part"] == "expert"]
        outcomes, terms = own["outcome"].drop_duplicates(), own["term"].drop_duplicates()
        experts = list(model.expert_names_)
        self.moving = [k for k, name in enumerate(experts) if name != reference]
        self.gate = [[keys.index(("gate", experts[k], "", t)) for k in self.moving] for t in terms]
        self.slopes = [
            [[keys.index(("expert", name, o, t)) for o in outcomes] for name in experts]
            for t in terms
        ]
        self.noise = np.flatnonzero(names["part"] == "noise")

    def rows(self, values):
        """Log-likelihoods (n,)."""
        logits = np.zeros((len(self.Z), self.model.n_experts_))
        logits[:, self.moving] = self.Z @ values[self.gate]
        pred = np.einsum("nd,dkp->nkp", self.Z, values[self.slopes])
        log_lik = self.by_expert(pred, values[self.noise])
        return logsumexp(log_softmax(logits, axis=1) + log_lik, axis=1)

    def by_expert(self, pred, flat):
        """Log-densities (n, K)."""
        law = self.model.likelihood_
        if hasattr(self.model, "classes_"):  # scores against the first class
            scores = np.concatenate([np.zeros((*pred.shape[:2], 1)), pred], axis=2)
            return log_softmax(scores, axis=2)[np.arange(len(pred)), :, self.y]
        if type(law) is Gaussian:
            scale = np.exp(flat).reshape(1, -1, pred.shape[2])
            error = (self.y[:, None] - pred) / scale
            return (-0.5 * error**2 - np.log(scale) - 0.5 * np.log(2 * np.pi)).sum(axis=2)
        return law.with_flat(flat).log_lik(self.y, pred) if flat.size else law.log_lik(self.y, pred)


def differences(twin, at, error, weight):
    """Scores of rows (n, p), and the Hessian (p, p) of the weighted sum."""
    steps = np.diag(3e-3 * error)

    def total(values):
        return weight @ twin.rows(values)

    scores = [(twin.rows(at + s) - twin.rows(at - s)) / (2 * s.max()) for s in steps]
    hessian = np.empty((len(at), len(at)))
    for i, s in enumerate(steps):
        for j, t in enumerate(steps[: i + 1]):
            bent = total(at + s + t) - total(at + s - t) - total(at - s + t) + total(at - s - t)
            hessian[i, j] = hessian[j, i] = bent / (4 * s.max() * t.max())
    return np.transpose(scores), hessian


def check(model, X, y, weight, groups):
    found = standard_errors(model, X, y, weight, reference=1)
    twin = Twin(model, X, y, found.names, found.reference)
    at, error = found.estimates, found.std_error
    scores, hessian = differences(twin, at, error, weight)
    inverse = np.linalg.inv(-hessian)
    unit = np.outer(error, error)
    assert_allclose(found.covariance / unit, inverse / unit, atol=2e-3)
    n = weight.sum()
    meat = (weight[:, None] * scores).T @ scores * n / (n - 1)
    robust = standard_errors(model, X, y, weight, reference=1, covariance="robust").covariance
    assert_allclose(robust / unit, inverse @ meat @ inverse / unit, atol=5e-3)
    sums = np.array([(weight[:, None] * scores)[groups == g].sum(axis=0) for g in set(groups)])
    n = len(sums)
    meat = sums.T @ sums * n / (n - 1)
    robust = standard_errors(model, X, y, weight, reference=1, groups=groups).covariance
    assert_allclose(robust / unit, inverse @ meat @ inverse / unit, atol=5e-3)


def rows(n=160, seed=0):
    """Features (n, 1), a regime, and positive weights; groups of four rows."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n, 1))
    upper = X[:, 0] + 0.7 * rng.logistic(size=n) > 0
    return rng, X, upper, rng.uniform(0.5, 2.0, size=n), rng.integers(n // 4, size=n)


def targets(law, rng, X, upper):
    """Targets of a kind that the law can give, with a regime each way."""
    eta = np.where(upper, 1.0 + X[:, 0], -X[:, 0])
    mean = np.exp(0.5 + eta)
    if law == "binomial":
        return np.column_stack([rng.binomial(9, 1 / (1 + np.exp(-2 * eta))), np.full(len(X), 9)])
    if law.startswith("zero_inflated"):
        count = rng.poisson(3 * mean)
        if "binomial" in law:
            count = rng.negative_binomial(3, 3 / (3 + 4 * mean))
        return np.where(rng.uniform(size=len(X)) < 0.3, 0, count)
    if law in ("poisson", "negative_binomial"):
        return rng.negative_binomial(5, 5 / (5 + 3 * mean))
    if law in ("gamma", "inverse_gaussian") or "lognormal" in law:
        return mean * rng.gamma(6.0, size=len(X)) / 6.0
    if law == "tweedie":
        return mean * rng.gamma(2.0, size=len(X)) * (rng.uniform(size=len(X)) > 0.15)
    y = 3.0 * eta + 0.5 * rng.standard_t(6, size=len(X))
    return np.abs(y) + 0.1 if law == "truncated_gaussian" else y


LAWS = sorted(name for name in BY_NAME if "laplace" not in name and "noise" not in name)


def fitted(kind, X, y, weight, upper, **options):
    model = kind(n_experts=2, init=upper.astype(int), **FREE, **TIGHT, **options)
    return model.fit(X, y, sample_weight=weight)


# These run always, the others where time does not matter.
_QUICK = ("gaussian", "gamma", "heteroscedastic_gaussian", "poisson", "student_t")


@pytest.mark.parametrize(
    "law",
    [law if law in _QUICK else pytest.param(law, marks=pytest.mark.slow) for law in LAWS],
)
def test_laws(law):
    rng, X, upper, weight, groups = rows(400 if law.startswith("zero_inflated") else 160)
    kind = BY_NAME[law]
    likelihood = kind(floor=0.0) if "floor" in kind().get_params() else kind()
    y = targets(law, rng, X, upper)
    model = fitted(MoERegressor, X, y, weight, upper, likelihood=likelihood)
    check(model, X, y, weight, groups)


@pytest.mark.parametrize("shared", [False, True])
def test_several_outputs(shared):
    rng, X, upper, weight, groups = rows()
    y = np.where(upper[:, None], 3.0 * X, [[2.0, -1.0]] * X) + 0.5 * rng.normal(size=(160, 2))
    law = Gaussian(floor=0.0, shared=shared)
    check(fitted(MoERegressor, X, y, weight, upper, likelihood=law), X, y, weight, groups)


def test_classes():
    rng, X, _, weight, groups = rows(400)
    upper = X[:, 0] + 0.15 * rng.logistic(size=400) > 0
    slopes = np.where(upper[:, None], [4.0, -2.0, 0.0], [4.0, 0.0, -2.0])
    y = (
        slopes * (X - np.where(upper, 0.5, -0.5)[:, None]) + 0.4 * rng.gumbel(size=(400, 3))
    ).argmax(axis=1)
    check(fitted(MoEClassifier, X, y, weight, upper), X, y, weight, groups)


def test_class_weights_are_weights():
    """Those of ``class_weight`` are the weights of the fit, as given ones are."""
    rng, X, upper, _, _ = rows(300)
    y = (np.where(upper, 2.0, -2.0) * X[:, 0] + 0.7 * rng.logistic(size=300) > 0.8).astype(int)
    balanced = 300 / (2 * np.bincount(y))[y]
    ones = np.ones(300)
    weighted = fitted(MoEClassifier, X, y, balanced, upper)
    model = fitted(MoEClassifier, X, y, ones, upper, class_weight="balanced")
    expected = standard_errors(weighted, X, y, balanced, covariance="robust").covariance
    found = standard_errors(model, X, y, covariance="robust").covariance
    assert_allclose(found, expected, rtol=1e-4)
