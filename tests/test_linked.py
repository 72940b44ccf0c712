"""Laws behind links: densities and derivatives, EM and gradients, targets, exposure."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from problems import StrictMonitor, responsibilities, weights
from scipy import stats
from scipy.integrate import quad
from scipy.special import logsumexp
from sklearn import config_context
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoERegressor
from skmoe._design import Design
from skmoe._em import fit_em, is_additive
from skmoe._fit import FitData, objective_value
from skmoe._joint import objective_gradient
from skmoe._monitor import Monitor
from skmoe._starts import linear_parts, one_expert_variance
from skmoe._sweep import Sweeper
from skmoe._whole import WholeEvaluator
from skmoe.datasets import load_patent
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import (
    AsymmetricLaplace,
    Binomial,
    CensoredGaussian,
    CensoredLogNormal,
    Gamma,
    HeteroscedasticGaussian,
    InverseGaussian,
    Laplace,
    LogNormal,
    Mixed,
    NegativeBinomial,
    Poisson,
    StudentT,
    TruncatedGaussian,
    TruncatedLogNormal,
    Tweedie,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from skmoe.likelihoods.linked import spread_of
from skmoe.solvers import Minibatch, Pool

N = 60
rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(N, 2))
ETA = np.where(X[:, 0] > 0, 1.0 + X[:, 1], 0.5 - X[:, 1])
COUNTS = rng.poisson(np.exp(ETA)).astype(float)

# (law, its targets)
POSITIVE = np.exp(ETA) * rng.gamma(5.0, 0.2, size=N)
NUMBERS = ETA + 0.3 * rng.standard_t(4, size=N)
SUMS = np.where(COUNTS > 0, rng.gamma(np.maximum(COUNTS, 1) * 2.0, 0.5), 0.0)
MANY = rng.negative_binomial(2.0, 1.0 / (1.0 + 0.5 * np.exp(ETA)))
TRIALS = np.column_stack([rng.binomial(9, 1.0 / (1.0 + np.exp(-ETA))), np.full(N, 9)])
CENSORED = np.column_stack([np.minimum(NUMBERS, 1.2), np.where(NUMBERS > 1.2, np.inf, NUMBERS)])
LOW = np.argsort(NUMBERS)[:9]
CENSORED[LOW[:5], 0], CENSORED[LOW[5:]] = -np.inf, CENSORED[LOW[5:]] + [[-0.5, 0.3]]
LAWS = {
    "censored gaussian": (CensoredGaussian(), CENSORED),
    "censored lognormal": (CensoredLogNormal(), np.exp(CENSORED)),
    "truncated gaussian": (TruncatedGaussian(), POSITIVE),
    "truncated lognormal": (TruncatedLogNormal(0.1, 40.0), POSITIVE),
    "counts of two kinds": (Mixed([Poisson(), NegativeBinomial(), Poisson()]), COUNTS),
    "numbers of two kinds": (Mixed([StudentT("estimate"), Gamma(), Gamma()]), POSITIVE - 0.2),
    "poisson": (Poisson(), COUNTS),
    "negative binomial": (NegativeBinomial(), MANY.astype(float)),
    "zero-inflated poisson": (ZeroInflatedPoisson(), COUNTS * (rng.uniform(size=N) > 0.3)),
    "zero-inflated negative binomial": (
        ZeroInflatedNegativeBinomial(),
        MANY * (rng.uniform(size=N) > 0.3),
    ),
    "binomial": (Binomial(), TRIALS.astype(float)),
    "binomial of trials": (Binomial(9), TRIALS[:, 0].astype(float)),
    "gamma": (Gamma(), POSITIVE),
    "inverse gaussian": (InverseGaussian(), POSITIVE),
    "tweedie": (Tweedie(), SUMS),
    "lognormal": (LogNormal(), POSITIVE),
    "student t": (StudentT(), NUMBERS),
    "student t of any df": (StudentT("estimate"), NUMBERS),
    "laplace": (Laplace(), NUMBERS),
    "asymmetric laplace": (AsymmetricLaplace(0.8), NUMBERS),
    "heteroscedastic gaussian": (HeteroscedasticGaussian(), NUMBERS),
}
laws = pytest.mark.parametrize("name", LAWS)


def fit_data(name, weighted=True):
    """`FitData` as the estimator makes it."""
    law, y = LAWS[name]
    weight = weights(N) if weighted else np.ones(N)
    view, y = Design.standardised(X, weight), law.encode(y)
    rough = law.rough(law.columns(y))
    numeric = FitData(view, view, rough, weight, y_scale=spread_of(rough, weight))
    scale, base = law.target_scale(y, weight), one_expert_variance(numeric)
    return FitData(view, view, y, weight, y_scale=scale, base_variance=base)


def begun(data, name, n_iter=2, n_experts=3, alpha=1.0):
    parts = linear_parts(data, LinearExpert(alpha), SoftmaxGate(), LAWS[name][0], n_experts)
    resp = responsibilities(N, n_experts)
    result = fit_em(data, parts, Monitor(0.0, n_iter), resp, accelerate=False)
    parts.gate, parts.experts, parts.likelihood = result.gate, result.experts, result.likelihood
    return parts


@laws
def test_gradient_agrees_with_differences(name):
    data = fit_data(name)
    parts = begun(data, name)

    def value(flat):
        moved = parts.with_flat(flat)
        return objective_value(data, Sweeper(data)(moved).loglik, moved)

    flat = parts.flat() + 0.05 * np.random.RandomState(1).normal(size=parts.flat().size)
    moved = parts.with_flat(flat)
    found = objective_gradient(data, moved, Sweeper(data)(moved))
    steps = 1e-5 * np.maximum(1.0, np.abs(flat))
    expected = [
        (value(flat + step * unit) - value(flat - step * unit)) / (2 * step)
        for step, unit in zip(steps, np.eye(len(flat)))
    ]
    assert_allclose(found, expected, atol=1e-6)


@laws
def test_a_sweep_equals_all_rows_at_once(name):
    data = fit_data(name)
    parts = begun(data, name)
    one, other = (make(data)(parts, grams=True) for make in (Sweeper, WholeEvaluator))
    for field in ("loglik", "experts", "by_expert", "gram", "gate_gram"):
        assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-9, atol=1e-9)
    assert_allclose(one.gate.ravel(), other.gate.ravel(), atol=1e-9)


@laws
@pytest.mark.parametrize("additive", [True, False])
def test_em_climbs(name, additive):
    data = fit_data(name)
    parts = linear_parts(data, LinearExpert(), SoftmaxGate(), LAWS[name][0], 3)
    assert is_additive(data, parts)
    monitor = StrictMonitor(0.0, 10, patience=10_000)
    resp = responsibilities(N, 3)
    assign = None if additive else lambda resp: resp
    result = fit_em(data, parts, monitor, resp, assign=assign)
    assert result.objective > result.history["objective"][0]


@pytest.mark.parametrize("name", [name for name in LAWS if LAWS[name][0].is_smooth])
def test_em_and_gradients_agree(name):
    y = LAWS[name][1]
    found = []
    for solver in ("em", "gradient"):
        law = LAWS[name][0]
        n_experts = 3 if isinstance(law, Mixed) else 2
        model = MoERegressor(n_experts=n_experts, likelihood=law, solver=solver, init="kmeans")
        model.set_params(n_init=1, tol=1e-10, max_iter=3000).fit(X, y)
        found.append(model.objective_)
    assert_allclose(found[0], found[1], atol=1e-5)


@laws
def test_routed_log_likelihood_is_that_of_the_chosen_experts(name):
    data = fit_data(name)
    parts = begun(data, name)
    pred = parts.experts.predict(data.X)
    every = parts.likelihood.log_lik(data.y, pred)
    chosen = np.argsort(np.random.RandomState(0).uniform(size=(N, 3)), axis=1)[:, :2]
    some = np.take_along_axis(pred, chosen[:, :, None], axis=1)
    found = parts.likelihood.log_lik(data.y, some, chosen)
    assert_allclose(found, np.take_along_axis(every, chosen, axis=1), rtol=1e-10)


@laws
def test_the_laws_that_are_predicted_are_those_that_are_fitted(name):
    data = fit_data(name)
    likelihood = begun(data, name).likelihood
    pred = (
        likelihood.first_pred()
        + 0.3
        * np.random.RandomState(0).normal(size=(N, 3, likelihood.unit().shape[1]))
        * likelihood.unit()
    )
    law = likelihood.law(pred)
    assert_allclose(law.mean(), likelihood.means(pred), rtol=1e-8)
    assert_allclose(law.variance(), likelihood.variances(pred), rtol=1e-6)
    if name not in ("censored gaussian", "censored lognormal", "numbers of two kinds"):
        y = likelihood.observed(data.y) if name != "binomial" else None
        if y is not None:
            found = law.log_density(y[:, None, :])[:, :, 0]
            assert_allclose(found, likelihood.log_lik(data.y, pred), rtol=1e-8, atol=1e-8)


# What scipy says of the same law, from mean or location and a dispersion.
SCIPY = {
    "poisson": lambda eta, phi: stats.poisson(np.exp(eta)),
    "negative binomial": lambda eta, phi: stats.nbinom(1 / phi, 1 / (1 + phi * np.exp(eta))),
    "binomial of trials": lambda eta, phi: stats.binom(9, 1 / (1 + np.exp(-eta))),
    "gamma": lambda eta, phi: stats.gamma(1 / phi, scale=phi * np.exp(eta)),
    "inverse gaussian": lambda eta, phi: stats.invgauss(phi * np.exp(eta), scale=1 / phi),
    "lognormal": lambda eta, phi: stats.lognorm(np.sqrt(phi), scale=np.exp(eta)),
    "student t": lambda eta, phi: stats.t(4, eta, np.sqrt(phi)),
    "laplace": lambda eta, phi: stats.laplace(eta, 2 * np.sqrt(phi)),
}


@pytest.mark.parametrize("name", SCIPY)
def test_densities_and_moments_are_those_of_scipy(name):
    data = fit_data(name)
    law = LAWS[name][0].start(data, 2)
    pred = np.random.RandomState(0).normal(size=(N, 2, 1))
    phi = np.exp(law.theta_[0, 0, 0]) if law.n_thetas else 1.0
    twin = SCIPY[name](pred[:, :, 0], phi)
    y = law.columns(data.y)[0]
    log_density = twin.logpmf(y) if law.discrete else twin.logpdf(y)
    assert_allclose(law.log_lik(data.y, pred), log_density, rtol=1e-10)
    assert_allclose(law.means(pred)[:, :, 0], twin.mean(), rtol=1e-10)
    variance = twin.var() if twin.dist.name != "t" else np.full((N, 2), 2.0 * phi)
    assert_allclose(law.variances(pred)[:, :, 0], variance, rtol=1e-9)


@pytest.mark.parametrize("power", [1.2, 1.5, 1.9])
def test_tweedie_is_a_poisson_number_of_gamma_numbers(power):
    y, mean, phi = np.array([0.0, 0.02, 0.5, 3.0, 20.0]), 1.7, 0.8
    rate = mean ** (2 - power) / (phi * (2 - power))
    shape, scale = (2 - power) / (power - 1), phi * (power - 1) * mean ** (power - 1)
    number = np.arange(1, 400)[:, None]
    terms = stats.poisson(rate).logpmf(number) + stats.gamma(number * shape, scale=scale).logpdf(y)
    expected = np.where(y > 0, logsumexp(terms, axis=0), -rate)
    law = Tweedie(power=power)
    eta, theta = np.full((1, 1, 5), np.log(mean)), np.full((1, 1, 1), np.log(phi))
    assert_allclose(law.log_density((y[None],), [eta], [theta])[0, 0], expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["zero-inflated poisson", "zero-inflated negative binomial"])
def test_zero_inflated_probabilities_sum_to_one(name):
    law, counts = LAWS[name][0], np.arange(600.0)[None]
    eta = [np.full((1, 1, 1), 0.7)]
    theta = [np.full((1, 1, 1), value) for value in (-0.4, 0.3)[-law.n_thetas :]]
    proba = np.exp(law.log_density((counts,), eta, theta))[0, 0]
    assert_allclose(proba.sum(), 1.0, rtol=1e-10)
    assert_allclose(proba @ counts[0], law.mean(eta, theta).item(), rtol=1e-9)
    variance = proba @ counts[0] ** 2 - (proba @ counts[0]) ** 2
    assert_allclose(variance, law.variance(eta, theta).item(), rtol=1e-8)


@pytest.mark.parametrize("level", [0.2, 0.5, 0.9])
def test_the_moments_of_an_asymmetric_laplace_law(level):
    law, eta, theta = AsymmetricLaplace(level), [np.full((1, 1, 1), 0.7)], [np.full((1, 1, 1), 0.4)]

    def mean_of(function):
        def inside(y):
            log_density = law.log_density((np.full((1, 1), y),), eta, theta)
            return function(y) * np.exp(log_density.item())

        return np.array([quad(inside, -np.inf, 0.7)[0], quad(inside, 0.7, np.inf)[0]])

    assert_allclose(mean_of(lambda y: 1.0), [level, 1.0 - level], rtol=1e-7)
    mean = mean_of(lambda y: y).sum()
    assert_allclose(law.mean(eta, theta).item(), mean, rtol=1e-7)
    variance = mean_of(lambda y: (y - mean) ** 2).sum()
    assert_allclose(law.variance(eta, theta).item(), variance, rtol=1e-7)


GLMS = {
    "gamma": GammaRegressor(alpha=0.0, tol=1e-9, max_iter=500),
    "inverse gaussian": TweedieRegressor(power=3, alpha=0.0, link="log", tol=1e-9, max_iter=500),
    "tweedie": TweedieRegressor(power=1.5, alpha=0.0, link="log", tol=1e-9, max_iter=500),
    "negative binomial": None,
    "binomial": None,
    "lognormal": None,
    "student t": None,
}


@pytest.mark.parametrize("name", GLMS)
def test_one_expert_is_a_generalised_linear_model(name):
    y, template = LAWS[name][1], GLMS[name]
    model = MoERegressor(LinearExpert(alpha=0.0), 1, likelihood=LAWS[name][0], tol=1e-12)
    model.fit(X, y)
    expert = model.experts_[0]
    if template is not None:
        template.fit(X, y)
        assert type(expert) is type(template)
        assert_allclose(expert.coef_, template.coef_, atol=1e-4)
    if name == "lognormal":  # experts give medians, the mixture means
        half = 0.5 * model.likelihood_.scale_[0] ** 2
        assert_allclose(expert.predict(X) * np.exp(half), model.predict(X), rtol=1e-10)
    elif name != "negative binomial" or template is None:
        assert_allclose(expert.predict(X), model.predict(X), rtol=1e-9)


@laws
def test_other_experts_work_as_means(name):
    law, y = LAWS[name]
    tree, n_experts = DecisionTreeRegressor(max_depth=2), 3 if isinstance(law, Mixed) else 2
    model = MoERegressor(tree, n_experts, likelihood=law, cross_fit=None)
    model.set_params(init="kmeans", n_init=1, tol=10.0, random_state=0)
    if law.n_predictors > 1 or law.only_linear:
        with pytest.raises(ValueError, match=r"is for linear|2 predictors.*use linear experts"):
            model.fit(X, y)
        return
    model.fit(X, y)
    assert np.isfinite(model.log_likelihood(X, y)).all()
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == (N,) and (std > 0).all()
    if not isinstance(law, (LogNormal, AsymmetricLaplace, TruncatedGaussian)):
        expected = model.experts_[1].predict(X) * (9 if name == "binomial of trials" else 1)
        assert_allclose(model.predict_experts(X)[:, 1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name, wrong, says",
    [
        ("gamma", 0.0, "numbers above zero; for zeros among positive numbers use 'tweedie'"),
        ("tweedie", -1.0, "numbers of at least zero"),
        ("negative binomial", -1.0, "counts.*exposure"),
        ("lognormal", -0.5, "numbers above zero.*'student_t'"),
        ("binomial of trials", 10.0, r"successes and of trials.*Binomial\(trials"),
    ],
)
def test_targets_outside_the_support_are_named(name, wrong, says):
    law, y = LAWS[name]
    y = y.copy()
    y[3] = wrong
    with pytest.raises(ValueError, match=rf"y\[3\].*likelihood=.*{says}"):
        MoERegressor(n_experts=2, likelihood=law).fit(X, y)


# -- counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["em", "gradient"])
def test_golden_patent(solver):
    """Log-likelihood and BIC published for flexmix (Leisch 2004, three Poisson experts)."""
    frame = load_patent(as_frame=True).frame
    model = MoERegressor(
        LinearExpert(alpha=0.0),
        3,
        gate=SoftmaxGate(alpha=0.0),
        likelihood="poisson",
        solver=solver,
        gate_features=["RDS"],
        expert_features=["lgRD"],
        n_init=4,
        tol=1e-8,
        max_iter=1000,
        random_state=0,
    )
    data, y = frame[["lgRD", "RDS"]], frame["Patents"]
    model.fit(data, y)
    assert_allclose(model.log_likelihood(data, y).sum(), -197.675, atol=1e-2)
    assert_allclose(model.bic(data, y), 437.84, atol=1e-2)
    assert model.n_parameters_ == 10
    assert_allclose(
        model.predict_experts(data)[:, 0], model.experts_[0].predict(data[["lgRD"]]), rtol=1e-10
    )


@pytest.fixture(name="motor")
def _motor(shared_data):
    """Dummies of the three factors, claims and holders."""
    frame = shared_data("motor_insurance")
    factors = [frame[name].astype("category").cat.codes for name in ("District", "Group", "Age")]
    numbers = np.column_stack([codes == level for codes in factors for level in (1, 2, 3)])
    return numbers.astype(float), frame["Claims"].to_numpy(float), frame["Holders"].to_numpy(float)


@pytest.mark.parametrize("solver", ["em", "gradient"])
def test_one_expert_with_exposure_is_a_poisson_regression_of_rates(motor, solver):
    numbers, claims, holders = motor
    expected = PoissonRegressor(alpha=0.0, tol=1e-10, max_iter=1000, solver="newton-cholesky")
    expected.fit(numbers, claims / holders, sample_weight=holders)
    model = MoERegressor(
        LinearExpert(alpha=0.0), 1, likelihood="poisson", solver=solver, tol=1e-13, max_iter=500
    )
    model.fit(numbers, claims, exposure=holders)
    assert_allclose(model.experts_[0].coef_, expected.coef_, atol=1e-6)
    assert_allclose(model.experts_[0].intercept_, expected.intercept_, atol=1e-6)
    assert_allclose(model.predict(numbers), expected.predict(numbers), rtol=1e-6)
    counts = expected.predict(numbers) * holders
    assert_allclose(model.predict(numbers, exposure=holders), counts, rtol=1e-6)
    levels, twin = [0.05, 0.5, 0.95], stats.poisson(counts)
    dist = model.predict_dist(numbers, exposure=holders)
    assert_allclose(dist.quantile(levels), np.transpose([twin.ppf(p) for p in levels]))
    ends = model.predict_interval(numbers, exposure=holders)
    assert_allclose(ends, model.predict(numbers, quantiles=levels, exposure=holders)[:, ::2])
    assert_allclose(ends, dist.quantile(levels)[:, ::2])


def test_other_experts_are_trained_on_rates(motor):
    numbers, claims, holders = motor
    template = PoissonRegressor(alpha=1e-8, tol=1e-8, max_iter=1000, solver="newton-cholesky")
    model = MoERegressor(template, 1, likelihood="poisson", cross_fit=None)
    model.fit(numbers, claims, exposure=holders)
    template.fit(numbers, claims / holders, sample_weight=holders)
    assert_allclose(model.predict(numbers), template.predict(numbers), rtol=1e-6)
    loglik = model.log_likelihood(numbers, claims, exposure=holders)
    mean = template.predict(numbers) * holders
    assert_allclose(loglik, stats.poisson(mean).logpmf(claims), rtol=1e-5)


def test_exposure_is_routed_through_cross_validation(motor):
    numbers, claims, holders = motor
    with config_context(enable_metadata_routing=True):
        model = MoERegressor(n_experts=1, likelihood="poisson")
        model.set_fit_request(exposure=True).set_score_request(exposure=True)
        found = cross_val_score(model, numbers, claims, cv=2, params={"exposure": holders})
    assert (found > 0.5).all()


def test_wrong_targets_and_exposures_say_what_to_do():
    model = MoERegressor(n_experts=2, likelihood="poisson")
    with pytest.raises(
        ValueError, match=r"y\[0\] is .*likelihood=Poisson is a law of counts.*exposure"
    ):
        model.fit(X, COUNTS + 0.5)
    with pytest.raises(ValueError, match="exposure must be positive"):
        model.fit(X, COUNTS, exposure=np.zeros(N))
    with pytest.raises(ValueError, match=r"exposure has shape \(3,\)"):
        model.fit(X, COUNTS, exposure=np.ones(3))
    with pytest.raises(ValueError, match="likelihood=Gaussian has no use for it"):
        MoERegressor().fit(X, COUNTS, exposure=np.ones(N))
    assert not vars(model).get("gate_")


def test_boosted_trees_with_a_poisson_loss_are_experts():
    boosted = HistGradientBoostingRegressor(loss="poisson", max_iter=5, min_samples_leaf=5)
    model = MoERegressor(boosted, 2, likelihood="poisson", max_iter=20, tol=10.0, random_state=0)
    model.fit(X, COUNTS)
    assert (model.predict(X) > 0).all() and np.isfinite(model.log_likelihood(X, COUNTS)).all()
    mean, std = model.predict(X, return_std=True)
    assert (np.square(std) >= mean - 1e-9).all()  # a mixture of Poisson laws is overdispersed


MEANS = {
    "poisson": PoissonRegressor(),
    "zero-inflated negative binomial": PoissonRegressor(),
    "negative binomial": HistGradientBoostingRegressor(loss="poisson", max_iter=3),
    "gamma": GammaRegressor(),
    "inverse gaussian": HistGradientBoostingRegressor(loss="gamma", max_iter=3),
    "tweedie": TweedieRegressor(power=1.5, link="log"),
}


@pytest.mark.parametrize("name", MEANS)
def test_regressors_with_a_loss_of_their_own_are_means(name):
    law, y = LAWS[name]
    model = MoERegressor(MEANS[name], 2, likelihood=law, cross_fit=None, init="kmeans", n_init=1)
    model.set_params(max_iter=20, tol=10.0, random_state=0).fit(X, y)
    dist = model.predict_dist(X)
    assert (model.predict(X) > 0).all() and np.isfinite(model.log_likelihood(X, y)).all()
    assert_allclose(dist.mean(), model.predict(X), rtol=1e-9)
    assert_allclose(dist.logpdf(y), model.log_likelihood(X, y), rtol=1e-9)


def test_numbers_of_experts_are_chosen_for_counts():
    model = MoERegressor(n_experts="auto", max_experts=3, likelihood="poisson", random_state=0)
    model.fit(X, COUNTS)
    assert 1 <= model.n_experts_ <= 3 and len(model.path_) >= 2


@pytest.mark.parametrize("sparse", [False, True])
def test_minibatches_come_near_the_whole(sparse):
    rows = sp.csr_matrix(X) if sparse else X
    model = MoERegressor(n_experts=2, likelihood="poisson", init="kmeans", n_init=1)
    whole = model.fit(X, COUNTS).log_likelihood(X, COUNTS).mean()
    model.set_params(solver=Minibatch(n_epochs=30, batch_size=20), random_state=0).fit(rows, COUNTS)
    assert model.log_likelihood(rows, COUNTS).mean() > whole - 0.1


# -- lists ------------------------------------------------------------------------------------


def test_a_list_of_one_law_is_that_law():
    one = MoERegressor(n_experts=2, likelihood="negative_binomial", random_state=0)
    two = MoERegressor(n_experts=2, likelihood=["negative_binomial"] * 2, random_state=0)
    y, exposure = LAWS["negative binomial"][1], np.exp(X[:, 0])
    for model in (one, two):
        model.fit(X, y, exposure=exposure)
    assert_allclose(one.objective_, two.objective_, rtol=1e-9)
    assert one.n_parameters_ == two.n_parameters_
    found = [model.log_likelihood(X, y, exposure=exposure) for model in (one, two)]
    assert_allclose(*found, rtol=1e-6)
    found = [model.predict(X, return_std=True, exposure=exposure) for model in (one, two)]
    assert_allclose(*found, rtol=1e-6)


def test_experts_of_a_list_have_laws_of_their_own():
    """One regime is positive and skewed, the other has outliers on both sides."""
    local = np.random.RandomState(0)
    rows = local.uniform(-1, 1, size=(600, 1))
    skewed = np.exp(rows[:, 0]) * local.gamma(2.0, 0.5, size=600)
    y = np.where(rows[:, 0] > 0, skewed, rows[:, 0] + 0.3 * local.standard_t(3, size=600))
    labels = (rows[:, 0] <= 0).astype(int)
    settings = {"init": labels, "n_init": 1, "random_state": 0}
    scores = {}
    for laws in (("gamma", "student_t"), ("student_t", "student_t")):
        model = MoERegressor(n_experts=2, likelihood=list(laws), **settings).fit(rows, y)
        scores[laws] = model.log_likelihood(rows, y).mean()
        for top_k in (1, 2):
            assert np.isfinite(model.set_params(top_k=top_k).predict(rows)).all()
            assert np.isfinite(model.responsibilities(rows, y)).all()
    assert scores["gamma", "student_t"] > scores["student_t", "student_t"] + 0.05


@pytest.mark.parametrize(
    "laws, n_experts, says",
    [
        ([], 2, "empty list"),
        (["poisson"], 2, "list of 1, and n_experts=2"),
        (["poisson", "gamma"], 2, "do not go together"),
        (["gaussian", "student_t"], 2, "Gaussian cannot stand in a list"),
        (["laplace", "heteroscedastic_gaussian"], 2, "as many predictors"),
        (["poisson", "what"], 2, "likelihood='what' is unknown"),
    ],
)
def test_lists_that_make_no_sense_are_named(laws, n_experts, says):
    with pytest.raises(ValueError, match=says):
        MoERegressor(n_experts=n_experts, likelihood=laws).fit(X, COUNTS)


# -- with the rest of the estimator -------------------------------------------------------------


@pytest.mark.parametrize("law", ["negative_binomial", "student_t", ["poisson", "poisson"]])
def test_experts_can_be_added_split_merged_and_removed(law):
    model = MoERegressor(n_experts=2, likelihood=law, random_state=0).fit(X, COUNTS)
    before = model.log_likelihood(X, COUNTS).mean()
    model.add_expert(X=X, y=COUNTS, polish=True)
    assert model.n_experts_ == 3 and model.log_likelihood(X, COUNTS).mean() > before - 0.05
    model.split_expert(0, X, COUNTS, force=True).merge_experts(0, 1, X, COUNTS).remove_expert(0)
    assert model.n_experts_ == 2 and np.isfinite(model.log_likelihood(X, COUNTS)).all()
    assert len(model.experts_) == 2 and model.predict(X).shape == (N,)


def test_a_warm_start_goes_on_from_the_last_fit():
    model = MoERegressor(n_experts=2, likelihood="negative_binomial", warm_start=True)
    model.fit(X, COUNTS)
    before = model.objective_
    model.fit(X, COUNTS)
    assert_allclose(model.objective_, before, atol=1e-4)


def test_what_a_law_has_no_use_for_is_refused():
    with pytest.raises(
        ValueError, match=r"Pool\(loss='squared'\) has no use for likelihood=Poisson"
    ):
        pool = Pool(loss="squared")
        MoERegressor([("a", PoissonRegressor())], likelihood="poisson", solver=pool).fit(X, COUNTS)
    with pytest.raises(ValueError, match=r"trains linear experts.*but experts are MLPExpert"):
        MoERegressor(MLPExpert(), 2, likelihood="poisson").fit(X, COUNTS)
    with pytest.raises(AttributeError, match="likelihood is 'poisson'"):
        MoERegressor(likelihood="poisson").partial_fit(X, COUNTS)


@pytest.mark.parametrize("law", ["poisson", "negative_binomial", "lognormal"])
def test_an_l1_penalty_keeps_noise_out(law):
    local = np.random.RandomState(3)
    rows = local.normal(size=(300, 7))
    y = local.poisson(np.exp(1.0 + 0.8 * rows[:, 0])) + (law == "lognormal")
    template = LinearExpert(alpha=80.0, l1_ratio=1.0)
    model = MoERegressor(template, 1, likelihood=law, solver="gradient").fit(rows, y)
    coef = model.experts_[0].regressor_.coef_ if law == "lognormal" else model.experts_[0].coef_
    assert coef[0] > 0.2 and (coef[1:] == 0).all()
    assert model.n_parameters_ == 2 + (law != "poisson")


@pytest.mark.parametrize("solver", ["em", "gradient"])
@pytest.mark.parametrize("law", ["poisson", "zero_inflated_poisson", "negative_binomial"])
def test_large_counts_and_a_far_row_do_not_overflow(law, solver):
    rows, large = X.copy(), np.random.RandomState(0).poisson(np.exp(10.0 + 2.0 * X[:, 0]))
    rows[0, 0] = 1e4
    model = MoERegressor(n_experts=2, likelihood=law, solver=solver, max_iter=60, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, large)
    assert np.isfinite(model.log_likelihood(rows, large)).all()
    assert np.isfinite(model.predict(rows)).all()
