"""The Gaussian gate against textbook densities, joint mixtures and its own promises."""

import pickle

import naive
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from problems import (
    StrictMonitor,
    classification,
    classification_data,
    linear_parts,
    make_data,
    regression,
    regression_data,
    responsibilities,
    weights,
)
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.mixture import GaussianMixture
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._em import fit_em, is_additive
from skmoe._fit import Parts
from skmoe._monitor import Monitor
from skmoe._path import posterior
from skmoe._starts import fit_from_starts
from skmoe._sweep import Sweeper
from skmoe.experts import LinearExpert
from skmoe.gates import GaussianGate
from skmoe.likelihoods import Gaussian
from skmoe.solvers import EM, Gradient

COVARIANCES = ["full", "diag", "shared"]


def matrices(gate):
    """The experts' covariances as matrices (K, d, d), for features as given."""
    found = gate.covariances_
    if gate.covariance == "diag":
        return np.array([np.diag(row) for row in found])
    return np.tile(found, (gate.n_experts_, 1, 1)) if gate.covariance == "shared" else found


def log_joint(gate, X):
    """Twin of `GaussianGate.log_joint`, in units of the standardised features."""
    columns = [
        np.log(proba) + multivariate_normal(mean, matrix).logpdf(X)
        for proba, mean, matrix in zip(gate.proba_, gate.means_, matrices(gate), strict=True)
    ]
    return np.column_stack(columns) + np.log(gate.scale_).sum()


def log_prior(gate, X, weight):
    """Twin of `GaussianGate.log_prior` for features that vary in all directions."""
    pooled = np.cov(X.T, aweights=weight, ddof=0).reshape(X.shape[1], -1)
    if gate.covariance == "diag":
        pooled = np.diag(np.diag(pooled))
    distinct = matrices(gate)[: 1 if gate.covariance == "shared" else None]
    total = np.log(gate.n_experts_ * gate.proba_).sum()
    for matrix in distinct:
        ratio = np.linalg.solve(matrix, pooled)
        total += 0.5 * (np.linalg.slogdet(ratio)[1] - np.trace(ratio) + len(ratio))
    return gate.prior * total


def gate_parts(data, n_experts, gate, **settings):
    """Started parts with linear experts."""
    parts = linear_parts(data, n_experts, **settings)
    parts.gate = gate
    return parts


def climb(data, parts, resp, max_iter=15):
    """Fit under a strict monitor that does not stop early, and check the objective."""
    result = fit_em(data, parts, StrictMonitor(0.0, max_iter, patience=10_000), resp)
    assert result.objective > result.history["objective"][0]
    fitted = Parts(result.gate, result.experts, result.likelihood)
    X, gate = data.gate_X.X, result.gate
    twin = log_joint(gate, X)
    log_gate = naive.log_softmax(twin)
    assert_allclose(gate.log_proba(X), log_gate, atol=1e-7)
    evidence = np.array([naive.logsumexp(row) for row in twin])
    assert_allclose(gate.log_evidence(X), evidence, atol=1e-7)
    inside = data.weight @ (posterior(data, fitted)[1] + evidence)
    inside += result.likelihood.log_prior() - result.experts.penalty()
    inside += log_prior(gate, X, data.weight)
    assert_allclose(result.objective, inside / data.total_weight + data.log_unit, atol=1e-8)
    return result


# -- the gate alone -----------------------------------------------------------------------


def textbook_moments(X, weight):
    mean = weight @ X / weight.sum()
    return mean, (X - mean).T @ ((X - mean) * weight[:, None])


@pytest.mark.parametrize("prior", [0.0, 1.0, 20.0])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_fit_is_the_weighted_mean_and_covariance(covariance, prior):
    X = regression(0, n=80)[0] * [1.0, 10.0, 0.1] + [0.0, 5.0, 100.0]
    resp, weight = responsibilities(80, 3), weights(80)
    gate = GaussianGate(covariance, prior=prior).fit(X, resp, weight)
    pooled = textbook_moments(X, weight)[1] / weight.sum()
    moments = [textbook_moments(X, weight * resp[:, k]) for k in range(3)]
    rows = weight @ resp
    assert_allclose(gate.proba_, (rows + prior) / (weight.sum() + 3 * prior))
    assert_allclose(gate.means_, [mean for mean, _ in moments])
    squares = np.array([squares for _, squares in moments])
    if covariance == "shared":
        expected = (squares.sum(axis=0) + prior * pooled) / (weight.sum() + prior)
    else:
        expected = (squares + prior * pooled) / (rows + prior)[:, None, None]
    if covariance == "diag":
        expected = np.array([np.diag(matrix) for matrix in expected])
    assert_allclose(gate.covariances_, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_densities_equal_scipy(covariance):
    X, resp = regression(1, n=60)[0], responsibilities(60, 4)
    gate = GaussianGate(covariance).fit(X, resp)
    assert_allclose(gate.log_joint(X), log_joint(gate, X), atol=1e-10)
    assert_allclose(gate.log_prior(), log_prior(gate, X, np.ones(60)), rtol=1e-10)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_m_step_maximises_density_and_prior(covariance):
    """No other parameters do better, in any of many directions."""
    X, resp, weight = regression(1, n=60)[0], responsibilities(60, 3), weights(60)
    gate = GaussianGate(covariance, prior=2.0).fit(X, resp, weight)

    def value(gate):
        return weight @ np.sum(resp * gate.log_joint(X), axis=1) + gate.log_prior()

    best, flat, rng = value(gate), gate.flat(), np.random.RandomState(0)
    assert_allclose(value(gate.with_flat(flat)), best, rtol=1e-12)
    for _ in range(50):
        direction = rng.normal(size=flat.shape)
        ahead, behind = (value(gate.with_flat(flat + s * direction)) for s in (1e-4, -1e-4))
        assert max(ahead, behind) < best
        assert abs(ahead - behind) < 1e-3 * (2 * best - ahead - behind) + 1e-6


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_repeated_rows_equal_integer_weights(covariance):
    X, resp = regression(0, n=50)[0], responsibilities(50, 3)
    counts = np.random.RandomState(0).randint(1, 4, size=50)
    weighted = GaussianGate(covariance).fit(X, resp, counts.astype(float))
    repeated = GaussianGate(covariance).fit(np.repeat(X, counts, axis=0), resp.repeat(counts, 0))
    assert_allclose(weighted.flat(), repeated.flat(), atol=1e-9)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_columns_that_add_nothing_change_nothing(covariance):
    """A constant column; and, where columns may depend on each other, a repeated one."""
    X, resp = regression(0, n=80)[0], responsibilities(80, 3)
    more = [np.full(80, 1e3)] if covariance == "diag" else [np.full(80, 1e3), X[:, 0] - X[:, 1]]
    plain = GaussianGate(covariance).fit(X, resp)
    gate = GaussianGate(covariance).fit(np.column_stack([X, *more]), resp)
    assert gate.n_parameters() == plain.n_parameters()
    assert_allclose(gate.log_proba(np.column_stack([X, *more])), plain.log_proba(X), atol=1e-8)
    assert_allclose(gate.means_[:, :3], plain.means_, atol=1e-8)
    expected = plain.covariances_
    found = gate.covariances_[..., :3] if covariance == "diag" else gate.covariances_[..., :3, :3]
    assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("prior", [0.0, 1.0])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_expert_without_rows_or_with_one_row_stays_finite(covariance, prior):
    X, resp = regression(0, n=40)[0], np.zeros((40, 3))
    resp[:, 0] = 1.0
    resp[7] = [0.0, 1.0, 0.0]
    gate = GaussianGate(covariance, prior=prior).fit(X, resp)
    for part in (gate, gate.with_flat(gate.flat())):
        assert np.isfinite(part.log_proba(X)[:, :2]).all() and np.isfinite(part.log_prior())
        assert_allclose(np.exp(part.log_proba(X)).sum(axis=1), 1.0)


def test_no_column_varies():
    gate = GaussianGate().fit(np.ones((6, 2)), np.repeat([[0.25, 0.75]], 6, axis=0))
    assert_allclose(np.exp(gate.log_proba(np.ones((2, 2)))), [[0.3125, 0.6875]] * 2)
    assert_allclose(gate.log_evidence(np.ones((2, 2))), 0.0, atol=1e-12)


def test_nan_counts_as_the_average():
    X, resp = regression(0, n=50)[0], responsibilities(50, 2)
    X[3, 1] = np.nan
    filled = X.copy()
    filled[3, 1] = np.nanmean(X[:, 1])
    gate = GaussianGate().fit(X, resp)
    assert_allclose(gate.log_proba(X), gate.log_proba(filled), atol=1e-12)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_resumed_keeps_the_densities(covariance):
    X, resp = regression(0, n=50)[0], responsibilities(50, 2)
    gate = GaussianGate(covariance).fit(X, resp)
    view = gate.view(3.0 * X[:20] + 1.0, np.ones(20))
    again = gate.resumed(view)
    assert_allclose(again.log_proba(X), gate.log_proba(X), atol=1e-9)
    assert_allclose(again.means_, gate.means_, atol=1e-9)
    assert_allclose(again.covariances_, gate.covariances_, atol=1e-9)
    in_given_units = again.log_evidence(X) - np.log(again.scale_).sum()
    assert_allclose(in_given_units, gate.log_evidence(X) - np.log(gate.scale_).sum(), atol=1e-9)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_selected_experts_keep_their_densities(covariance):
    X, resp = regression(0, n=50)[0], responsibilities(50, 4)
    gate = GaussianGate(covariance).fit(X, resp)
    expected = naive.log_softmax(gate.log_proba(X)[:, [0, 3]])
    assert_allclose(gate.selected([0, 3]).log_proba(X), expected, atol=1e-10)
    assert gate.n_experts_ == 4
    assert not hasattr(GaussianGate(covariance).selected([0]), "n_experts_")


def test_the_gate_is_an_estimator():
    X, resp = regression(0, n=50)[0], responsibilities(50, 2)
    gate = GaussianGate("diag", prior=2.0).fit(X, resp)
    copy = clone(gate).set_params(prior=3.0)
    assert copy.covariance == "diag" and gate.prior == 2.0 and not hasattr(copy, "means_")
    with pytest.raises(NotFittedError):
        copy.log_proba(X)
    again = pickle.loads(pickle.dumps(gate))
    assert_allclose(again.log_proba(X), gate.log_proba(X), atol=0)


def test_sparse_features_are_refused():
    X, resp = sp.csr_matrix(regression(0, n=50)[0]), responsibilities(50, 2)
    with pytest.raises(TypeError, match=r"Sparse data.*X\.toarray\(\).*gate_features.*softmax"):
        GaussianGate().fit(X, resp)
    with pytest.raises(TypeError, match="Sparse data"):
        MoERegressor(gate="gaussian").fit(X, np.arange(50.0))
    gate = GaussianGate().fit(X.toarray(), resp)
    with pytest.raises(TypeError, match="Sparse data"):
        gate.log_proba(X)


@pytest.mark.parametrize("settings", [{"covariance": "tied"}, {"prior": -1.0}])
def test_settings_are_checked(settings):
    X, y = regression(0, n=50)
    with pytest.raises(ValueError, match=f"'{next(iter(settings))}' parameter of GaussianGate"):
        MoERegressor(gate=GaussianGate(**settings)).fit(X, y[:, 0])


# -- one pass and EM ------------------------------------------------------------------------


@pytest.mark.parametrize("own_columns", [False, True], ids=["shared", "own columns"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_update_from_a_sweep_equals_a_fit(covariance, own_columns):
    """Also of the expert whose Gram is what the others leave of the total."""
    X, y = regression(0, n=600)
    data = regression_data(X[:, :2], y, weights(600), X if own_columns else None)
    gate = GaussianGate(covariance)
    parts = gate_parts(data, 3, gate.fit(data.gate_X, responsibilities(600, 3), data.weight))
    parts.experts.fit_predict(data, responsibilities(600, 3), parts.likelihood.dispersion)
    sweeper = Sweeper(data)
    for _ in range(2):  # the second pass leaves out the heaviest
        sums = sweeper(parts, grams=True)
    assert_allclose(sums.evidence, data.weight @ gate.log_evidence(data.gate_X), rtol=1e-12)
    assert sums.gate is None
    updated = gate.updated(sums.gate_gram if own_columns else sums.gram)
    resp = posterior(data, parts)[0]
    expected = clone(gate).fit(data.gate_X, resp, data.weight)
    assert_allclose(updated.flat(), expected.flat(), atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_climbs(covariance, task, weighted, seed):
    data = make_data(task, seed, weighted, False)
    parts = gate_parts(data, 3, GaussianGate(covariance))
    assert is_additive(data, parts) == (task == "regression")
    climb(data, parts, responsibilities(100, 3, seed))


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("prior", [0.5, 30.0])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_climbs_with_every_prior_and_several_outputs(covariance, prior, accelerate):
    data = make_data("regression", 0, True, False, n_outputs=3)
    parts = gate_parts(data, 4, GaussianGate(covariance, prior=prior))
    resp = responsibilities(100, 4)
    monitor = StrictMonitor(0.0, 40, patience=10_000)
    fit_em(data, parts, monitor, resp, accelerate=accelerate)
    climb(data, parts, resp, max_iter=40)


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_climbs_with_features_of_its_own_for_the_gate(covariance, task):
    X, y = (regression if task == "regression" else classification)(0, n=100, d=5)
    make = regression_data if task == "regression" else classification_data
    data = make(X[:, :3], y, weights(100), gate_X=X[:, 2:])
    climb(data, gate_parts(data, 3, GaussianGate(covariance)), responsibilities(100, 3))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_climbs_from_labels_with_many_experts(covariance):
    """Some experts end with hardly a row, and the data have a direction less than columns."""
    X, y = regression(0, n=60)
    data = regression_data(np.column_stack([X, X[:, 0] + X[:, 1], np.ones(60)]), y)
    resp = np.eye(9)[np.random.RandomState(0).randint(9, size=60)]
    monitor = StrictMonitor(0.0, 60, patience=10_000)
    fit_em(data, gate_parts(data, 9, GaussianGate(covariance)), monitor, resp)


@pytest.mark.parametrize("kind", ["grown", "kmeans"])
def test_every_start_works_with_the_gate_itself(kind):
    data = make_data("regression", 0, True, False)
    gate = GaussianGate()
    result = fit_from_starts(
        data,
        lambda n_experts: gate_parts(data, n_experts, gate),
        3,
        [kind],
        lambda label: Monitor(1e-5, 50),
        np.random.RandomState(0),
    )
    assert result.gate.n_experts_ == 3 and np.isfinite(result.objective)


def test_the_gate_given_is_not_changed():
    data = make_data("regression", 0, True, False)
    gate = GaussianGate()
    fit_em(data, gate_parts(data, 3, gate), Monitor(0.0, 5), responsibilities(100, 3))
    assert vars(gate) == vars(GaussianGate())


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_float32_agrees(covariance):
    X, y = regression(0, n=200)
    found = []
    for dtype in (np.float64, np.float32):
        data = regression_data(X.astype(dtype), y)
        parts = gate_parts(data, 3, GaussianGate(covariance))
        monitor = Monitor(0.0, 10, patience=100)
        found.append(fit_em(data, parts, monitor, responsibilities(200, 3)).objective)
    assert_allclose(found[1], found[0], atol=1e-4)


# -- the joint mixture ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def joint():
    """Data and the joint Gaussian mixture of features and targets fitted to them."""
    X, y = regression(3, n=300, d=2, noise=0.5)
    table = np.column_stack([X, y])
    mixture = GaussianMixture(3, tol=1e-14, max_iter=5000, reg_covar=0.0, random_state=0)
    return X, y, mixture.fit(table)


def conditioned(mixture, d):
    """Marginals of the features, and regressions (slopes, intercepts, variances) on them."""
    mean, matrix = mixture.means_, mixture.covariances_
    slopes = np.array([np.linalg.solve(m[:d, :d], m[:d, d:]) for m in matrix])
    intercepts = mean[:, d:] - np.einsum("kd,kdm->km", mean[:, :d], slopes)
    variances = np.array([m[d:, d:] - m[d:, :d] @ s for m, s in zip(matrix, slopes)])
    return mean[:, :d], matrix[:, :d, :d], slopes, intercepts, variances[:, :, 0]


def set_parts(data, mixture):
    """Parts with the parameters of a joint mixture."""
    means, matrices, slopes, intercepts, variances = conditioned(mixture, data.gate_X.shape[1] - 1)
    gate = GaussianGate.from_parameters(mixture.weights_, means, matrices, prior=0.0)
    gate = gate.resumed(data.gate_X)
    likelihood = Gaussian(floor=0.0)
    parts = gate_parts(data, len(means), gate, alpha=0.0, likelihood=likelihood)
    columns = [data.X.from_raw(slopes[k], intercepts[k]) for k in range(len(means))]
    parts.experts.coef = np.stack(columns, axis=1)
    parts.likelihood._variance = variances
    return parts


def test_predictions_equal_the_conditioned_joint_mixture(joint):
    X, y, mixture = joint
    means, matrices, slopes, intercepts, _ = conditioned(mixture, 2)
    new = np.random.RandomState(0).normal(size=(50, 2)) * 2.0
    densities = np.column_stack(
        [
            proba * multivariate_normal(mean, matrix).pdf(new)
            for proba, mean, matrix in zip(mixture.weights_, means, matrices)
        ]
    )
    gate_proba = densities / densities.sum(axis=1, keepdims=True)
    pred = np.einsum("nd,kdm->nkm", new, slopes) + intercepts
    expected = np.einsum("nk,nkm->nm", gate_proba, pred)

    data = regression_data(X, y)
    parts = set_parts(data, mixture)
    assert_allclose(np.exp(parts.gate.log_proba(new)), gate_proba, atol=1e-10)
    log_gate, found = parts.gate.log_proba(new), parts.experts.predict(data.X.on(new))
    assert_allclose(found, pred, atol=1e-9)
    assert_allclose(parts.likelihood.combine(log_gate, found), expected, atol=1e-8)
    # p(y, x) = p(y given x) p(x), and the mixture agrees
    evidence = parts.gate.log_evidence(X) - np.log(data.gate_X.scale).sum()
    loglik = posterior(data, parts)[1] + evidence
    assert_allclose(loglik, mixture.score_samples(np.column_stack([X, y])), atol=1e-8)


def test_em_stays_at_the_optimum_of_the_joint_mixture(joint):
    X, y, mixture = joint
    data, table = regression_data(X, y), np.column_stack([X, y])
    parts = gate_parts(data, 3, GaussianGate(prior=0.0), alpha=0.0, likelihood=Gaussian(floor=0.0))
    resp = mixture.predict_proba(table)
    result = fit_em(data, parts, Monitor(1e-12, 200, patience=5), resp)
    units = np.log(data.y_scale).sum() + np.log(data.gate_X.scale).sum()
    assert_allclose(result.history["objective"][1:], mixture.score(table) + units, atol=1e-7)
    fitted = Parts(result.gate, result.experts, result.likelihood)
    assert_allclose(posterior(data, fitted)[0], resp, atol=1e-3)
    assert_allclose(result.gate.means_, mixture.means_[:, :2], atol=1e-3)
    assert_allclose(result.gate.covariances_, mixture.covariances_[:, :2, :2], atol=1e-3)


# -- the estimators -------------------------------------------------------------------------


def test_auto_is_em_and_gradients_are_refused():
    X, y = regression(0, n=60)
    model = MoERegressor(n_experts=2, gate="gaussian", n_init=1).fit(X, y[:, 0])
    assert isinstance(model.solver_, EM) and isinstance(model.gate_, GaussianGate)
    for solver in ("gradient", Gradient()):
        with pytest.raises(ValueError, match="GaussianGate is in closed form; use solver='em'"):
            MoERegressor(gate="gaussian", solver=solver).fit(X, y[:, 0])


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_regions_that_no_plane_bounds(covariance):
    """A dense group inside a wide one: two ellipsoids tell them apart, and planes cannot."""
    rng = np.random.RandomState(0)
    inside = np.arange(600) < 200
    X = rng.normal(size=(600, 2)) * np.where(inside, 0.2, 3.0)[:, None]
    y = np.where(inside, 10.0 + X[:, 0], -X[:, 0]) + 0.1 * X[:, 1]
    gate = GaussianGate(covariance)
    score = MoERegressor(n_experts=2, gate=gate, random_state=0).fit(X, y).score(X, y)
    if covariance == "shared":
        assert score < 0.8
    else:
        assert score > 0.9


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_warm_start_goes_on(covariance):
    X, y = regression(0, n=150)
    gate = GaussianGate(covariance)
    model = MoERegressor(n_experts=3, gate=gate, warm_start=True, random_state=0).fit(X, y[:, 0])
    before, n_iter = model.objective_, model.n_iter_
    model.fit(X, y[:, 0])
    assert abs(model.objective_ - before) < 1e-3 and model.n_iter_ < max(n_iter, 5)


@pytest.mark.parametrize(
    "experts",
    [
        None,
        LinearExpert(alpha=5.0),
        DecisionTreeRegressor(max_depth=3),
        [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=3))],
    ],
    ids=["linear", "strong ridge", "tree", "mixed"],
)
def test_regression_answers(experts):
    X, y = regression(0, n=120)
    n_experts = None if isinstance(experts, list) else 2
    model = MoERegressor(experts, n_experts, gate="gaussian", random_state=0, tol=1e-3)
    model.fit(X, y[:, 0])
    again = pickle.loads(pickle.dumps(model))
    assert_allclose(again.predict(X), model.predict(X), atol=0)
    log_gate = naive.log_softmax(log_joint(model.gate_, X))
    expected = np.einsum("nk,nk->n", np.exp(log_gate), model.predict_experts(X))
    assert_allclose(model.predict(X), expected, rtol=1e-8)
    assert model.set_params(top_k=1).score(X, y[:, 0]) > 0.3


def test_classification_answers():
    X, codes = classification(0, n=120)
    for experts in (None, DecisionTreeClassifier(max_depth=3)):
        model = MoEClassifier(experts, 2, gate="gaussian", random_state=0).fit(X, codes)
        log_gate = naive.log_softmax(log_joint(model.gate_, X))
        expected = np.einsum("nk,nkc->nc", np.exp(log_gate), model.predict_experts(X))
        assert_allclose(model.predict_proba(X), expected, rtol=1e-8)
        assert model.score(X, codes) > 0.5
