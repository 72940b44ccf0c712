"""Every part with every other: a combination works, or an error names what does not fit.

A new gate, likelihood, solver or kind of expert is one more entry in a list below. The first
fit of a test is asked all that a mixture answers, and every other one question that is drawn
from them, with a drawn choice of weights, and of one solver for frames and float32: the same
draws in every run.
"""

from zlib import crc32

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.balance import BalancePenalty
from skmoe.experts import FactorExpert, LinearExpert, MLPExpert
from skmoe.gates import HierarchicalGate, MLPGate, SoftmaxGate
from skmoe.likelihoods import Binomial, GaussianWithNoise
from skmoe.solvers import EM, Gradient, Minibatch, Pool, Stages

# Three iterations are not meant to converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, K = 30, 3
rng = np.random.RandomState(0)
DENSE = rng.uniform(-1, 1, size=(N, 2))
NUMBERS = np.abs(DENSE[:, 0]) + 0.1 * rng.normal(size=N)
# Noise, so that no gate tells the classes apart and every expert sees several.
SCORE = DENSE.sum(axis=1) + np.random.RandomState(1).normal(size=N)
LABELS = np.array(["a", "b", "c"])[np.digitize(SCORE, [-0.4, 0.4])]
WEIGHT = rng.uniform(0.5, 2.0, size=N)
CITY = np.where(DENSE[:, 1] > 0, "X", "Y")

GATES = {
    "softmax": "softmax",
    "strong ridge": SoftmaxGate(alpha=0.1),
    "hierarchical": HierarchicalGate(((2,), 1)),
    "gaussian": "gaussian",
    "mlp": MLPGate((3,)),
}
# Gates that see columns as they are; with one choice of solver and weights.
FOREIGN_GATES = {
    "tree": DecisionTreeClassifier(max_depth=2),
    "pipeline": make_pipeline(PolynomialFeatures(2), SoftmaxGate()),
}

# (settings of the estimator, its targets)
TASKS = {
    "gaussian": ({"likelihood": "gaussian"}, NUMBERS),
    "shared and noise": ({"likelihood": GaussianWithNoise(shared=True)}, NUMBERS),
    "gaussian outputs": ({"likelihood": "gaussian"}, np.column_stack([NUMBERS, DENSE])),
    "categorical": ({}, LABELS),
}

# (for regression, for classification)
EXPERTS = {
    "linear": (None, None),
    "strong ridge": (LinearExpert(alpha=10.0), LinearExpert(alpha=10.0)),
    "neural": (MLPExpert((2,)), MLPExpert((2,))),
    "factors": (FactorExpert(2, standardize=False), FactorExpert(2)),
    "tree": (DecisionTreeRegressor(max_depth=2), DecisionTreeClassifier(max_depth=2)),
    "neighbours": (KNeighborsRegressor(3), KNeighborsClassifier(3)),
    "pipeline": (
        make_pipeline(PolynomialFeatures(2), Ridge()),
        make_pipeline(StandardScaler(with_mean=False), DecisionTreeClassifier(max_depth=2)),
    ),
    "mixed": (
        [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=2)), ("flat", Ridge(9.0))],
        [
            ("logistic", LogisticRegression(solver="newton-cholesky")),
            ("tree", DecisionTreeClassifier(max_depth=2)),
            ("neighbours", KNeighborsClassifier(3)),
        ],
    ),
    "dense only": (BayesianRidge(), GaussianNB()),
}

# Other experts have one solver, which "auto" takes.
SOLVERS = {
    "auto": "auto",
    "em": "em",
    "plain em": EM(accelerate=False),
    "moves": EM(e_step="hard", temperature=2.0, cooling=0.5, revive=True, polish=1),
    "gradient": Gradient(warm_up=1),
    "minibatch": Minibatch(n_epochs=2),
}
LINEAR = ("linear", "strong ridge")
BUILT_IN = (*LINEAR, "neural", "factors")
# With one choice of weights, on some of the inputs.
OTHER_SOLVERS = {
    "stages": {"solver": Stages(), "init": np.arange(N) % K},
    "first stages": {"solver": Stages(["experts", "gate"]), "init": "kmeans"},
    "pool": {"solver": Pool(alphas=(0.1, 1e6), n_folds=2), "cross_fit": 2},
    "drop": {"solver": "auto", "on_expert_error": "drop"},
}

INPUTS = {
    "dense": DENSE,
    "csr": sp.csr_matrix(DENSE),
    "float32": DENSE.astype(np.float32),
    "frame": pd.DataFrame(DENSE, columns=["x", "y"]),
    "frame with words": pd.DataFrame({"x": DENSE[:, 0], "y": DENSE[:, 1], "city": CITY}),
}

# With what they are used in training; weights go with in-sample, none with out-of-fold.
WEIGHTS = {"weights": (WEIGHT, None), "no weights": (None, 2)}

TOP_K = [None, 1, 2]

RULES = ["top1", "median", "log_pool", "vote"]


COUNTS = np.random.RandomState(2).poisson(np.exp(DENSE[:, 0]))
# Likelihoods of linear predictors and their targets; with fewer choices of all else.
LAWS = {
    "asymmetric_laplace": NUMBERS,
    "binomial": np.minimum(COUNTS, 5),
    "censored_gaussian": np.minimum(NUMBERS, 0.7),
    "censored_lognormal": np.exp(np.minimum(NUMBERS, 0.7)),
    "gamma": np.exp(NUMBERS),
    "heteroscedastic_gaussian": NUMBERS,
    "inverse_gaussian": np.exp(NUMBERS),
    "laplace": NUMBERS,
    "list": np.exp(NUMBERS),
    "lognormal": np.exp(NUMBERS),
    "negative_binomial": COUNTS,
    "poisson": COUNTS,
    "student_t": NUMBERS,
    "truncated_gaussian": np.exp(NUMBERS),
    "tweedie": np.maximum(SCORE, 0.0),
    "zero_inflated_negative_binomial": COUNTS,
    "zero_inflated_poisson": COUNTS,
}

ONLY_LINEAR = ("censored_gaussian", "censored_lognormal", "list")


# Experts whose paths are those of others of the list: all of their pairs are slow tests.
SLOW = ("strong ridge", "neighbours")
BY_EXPERTS = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in EXPERTS
]


def make(task, experts, **settings):
    """The estimator and its target."""
    own, y = TASKS[task]
    classify = task == "categorical"
    template = EXPERTS[experts][int(classify)]
    if not isinstance(template, list):
        settings["n_experts"] = K
    kind = MoEClassifier if classify else MoERegressor
    settings = {"init": "kmeans", "n_init": 1, "random_state": 0, **own, **settings}
    return kind(template, max_iter=3, **settings), y


def solvers_of(experts):
    """Names of the solvers to go with a kind of expert."""
    if experts in LINEAR:
        return tuple(SOLVERS)
    if experts == "factors":  # their EM is that of neural experts
        return ("gradient", "minibatch")
    return ("em", "gradient", "minibatch") if experts == "neural" else ("auto", "gradient")


def expected_error(gate, experts, solver, X, y):
    """What the error says where a combination cannot work, else None."""
    if solver in ("gradient", "minibatch") and experts not in BUILT_IN:
        return "solver=.*trains linear, neural and factorised experts only.*use solver='em'"
    if solver in ("gradient", "minibatch") and gate == "gaussian":
        return "solver=.*GaussianGate is in closed form; use solver='em'"
    if X == "csr" and gate == "gaussian":
        return "Sparse data was passed, but|y has 3 outputs, and"
    if X == "csr" and experts == "dense only":
        # scikit-learn 1.6.0 does not say who takes sparse data; there the expert complains.
        return "Sparse data was passed, but|y has 3 outputs, and|expert .* failed in fit"
    if y.ndim == 2 and experts == "dense only":
        return "y has 3 outputs, and the expert BayesianRidge predicts one"
    if X == "frame with words" and experts in BUILT_IN:
        return r"Built-in experts need numbers, but columns \['city'\]"
    if X == "frame with words":
        return r"expert '\w+' failed in fit: could not convert string to float"
    return None


def check_regressor(model, X, y):
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == y.shape
    assert np.isfinite(mean).all() and (std > 0).all()
    assert np.isfinite(model.score(X, y))
    assert model.predict_experts(X).shape == (N, K, *y.shape[1:])


def check_classifier(model, X, y):
    proba = model.predict_proba(X)
    assert proba.shape == (N, 3) and (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert set(model.predict(X)) <= set(y) and 0 <= model.score(X, y) <= 1
    np.testing.assert_allclose(model.predict_experts(X).sum(axis=2), 1.0)


def check_rules(model, X, y):
    """Every rule of combining experts, on few of the rows."""
    few = X[:7] if not hasattr(X, "iloc") else X.iloc[:7]
    for rule in RULES:
        model.set_params(combine=rule)
        if rule == "vote" and isinstance(model, MoERegressor):
            with pytest.raises(ValueError, match="use combine='median'"):
                model.predict(few)
        elif rule == "log_pool" and not hasattr(model.likelihood_, "log_pool"):
            with pytest.raises(ValueError, match="multiplies densities"):
                model.predict(few)
        elif isinstance(model, MoERegressor):
            prediction, std = model.predict(few, return_std=True)
            assert prediction.shape == std.shape == y[:7].shape
            assert np.isfinite(prediction).all() and (std > 0).all()
        else:
            np.testing.assert_allclose(model.predict_proba(few).sum(axis=1), 1.0)
    model.set_params(combine="mean")


def check_routes(model, X, y):
    """Responsibilities and routes of the experts that are chosen."""
    resp = model.responsibilities(X, y)
    np.testing.assert_allclose(resp.sum(axis=1), 1.0)
    assert ((resp > 0).sum(axis=1) <= (model.top_k or K)).all()
    indices, weights = model.route(X)
    assert indices.shape == weights.shape == (N, model.top_k or K)
    assert np.isfinite(model.log_likelihood(X, y)).all()


def check_diagnosis(model, X, y):
    found = model.diagnose(X, y, one_expert=None)
    assert found.specialisation.shape == (K, K) and np.isclose(found.experts["load"].sum(), 1.0)


def check_predictions(model, X, y):
    (check_classifier if isinstance(model, MoEClassifier) else check_regressor)(model, X, y)


QUESTIONS = [
    (ask, top_k)
    for ask in (check_predictions, check_routes, check_rules, check_diagnosis)
    for top_k in TOP_K
]


class Check:
    """Asks fitted mixtures: the first one everything, others one question each."""

    def __init__(self, *test):
        self.rng = np.random.default_rng(crc32(repr(test).encode()))
        self.questions = QUESTIONS

    def one_of(self, choices):
        """A list of one of them."""
        return [choices[self.rng.integers(len(choices))]]

    def __call__(self, model, X, y):
        np.testing.assert_allclose(model.gate_proba(X).sum(axis=1), 1.0)
        assert len(model.experts_) == K and np.isfinite(model.objective_)
        for ask, top_k in self.questions:
            ask(model.set_params(top_k=top_k), X, y)
        self.questions = self.one_of(QUESTIONS)


@pytest.mark.parametrize("X", INPUTS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("experts", BY_EXPERTS)
def test_combination(experts, task, X):
    rows, check = INPUTS[X], Check(experts, task, X)
    for name, gate in GATES.items():
        solvers = solvers_of(experts)
        for solver in solvers if X in ("dense", "csr") else check.one_of(solvers):
            ((weight, cross_fit),) = check.one_of(list(WEIGHTS.values()))
            settings = {"gate": gate, "solver": SOLVERS[solver], "cross_fit": cross_fit}
            model, y = make(task, experts, **settings)
            message = expected_error(name, experts, solver, X, y)
            if message is None:
                check(model.fit(rows, y, sample_weight=weight), rows, y)
            else:
                with pytest.raises((TypeError, ValueError), match=message):
                    model.fit(rows, y, sample_weight=weight)


@pytest.mark.parametrize("X", INPUTS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("experts", BY_EXPERTS)
def test_combination_with_a_foreign_gate(experts, task, X):
    rows, check = INPUTS[X], Check(experts, task, X)
    for name, gate in FOREIGN_GATES.items():
        model, y = make(task, experts, gate=gate, cross_fit=None)
        message = expected_error(name, experts, "auto", X, y)
        if X == "frame with words":
            message = r"(gate|expert).*failed in fit: could not.*gate_features|y has 3 outputs"
        if message is None:
            check(model.fit(rows, y, sample_weight=WEIGHT), rows, y)
        else:
            with pytest.raises((TypeError, ValueError), match=message):
                model.fit(rows, y, sample_weight=WEIGHT)


@pytest.mark.parametrize("routing", ["token", "expert"])
@pytest.mark.parametrize("experts", BY_EXPERTS)
@pytest.mark.parametrize("task", TASKS)
def test_routed_training(task, experts, routing):
    check = Check(task, experts, routing)
    for name, gate in GATES.items():
        for top_k, (weight, cross_fit) in zip((1, 2), WEIGHTS.values()):
            model, y = make(task, experts, gate=gate, cross_fit=cross_fit)
            solver = "gradient" if experts in LINEAR and top_k == 2 else "auto"
            model.set_params(routing=routing, top_k=top_k, solver=solver)
            message = expected_error(name, experts, solver, "dense", y)
            if message is None:
                check(model.fit(DENSE, y, sample_weight=weight), DENSE, y)
            else:
                with pytest.raises((TypeError, ValueError), match=message):
                    model.fit(DENSE, y, sample_weight=weight)


@pytest.mark.parametrize("X", ["dense", "csr"])
@pytest.mark.parametrize("task", ["gaussian outputs", "categorical"])
@pytest.mark.parametrize("experts", BY_EXPERTS)
def test_combination_with_other_solvers(experts, task, X):
    rows, check = INPUTS[X], Check(experts, task, X)
    for name in ("softmax", "gaussian"):
        for solver, own in OTHER_SOLVERS.items():
            model, y = make(task, experts, **{"gate": GATES[name], "cross_fit": None, **own})
            message = expected_error(name, experts, solver, X, y)
            if solver == "pool" and experts in BUILT_IN:
                message = "give a list of estimators as experts"
            if message is None:
                check(model.fit(rows, y, sample_weight=WEIGHT), rows, y)
            else:
                with pytest.raises((TypeError, ValueError), match=message):
                    model.fit(rows, y, sample_weight=WEIGHT)


@pytest.mark.parametrize("task", TASKS)
def test_balanced_training_by_gradients(task):
    check = Check(task)
    for experts in LINEAR:
        for name, gate in GATES.items():
            model, y = make(task, experts, gate=gate, solver="gradient")
            model.set_params(load_balance=BalancePenalty(1.0))
            message = expected_error(name, experts, "gradient", "dense", y)
            if message is None:
                check(model.fit(DENSE, y), DENSE, y)
            else:
                with pytest.raises((TypeError, ValueError), match=message):
                    model.fit(DENSE, y)


def check_distribution(model, X):
    """What is predicted besides the mean, of few rows."""
    dist = model.predict_dist(X)
    low, middle, high = dist.quantile([0.1, 0.5, 0.9]).T
    assert (low <= middle).all() and (middle <= high).all() and np.isfinite(high - low).all()
    assert np.isfinite(dist.crps(middle)).all() and np.isfinite(dist.logpdf(middle)).all()
    assert ((dist.pit(middle, random_state=0) > 0.0) & (dist.sf(low) < 1.0)).all()
    if np.isfinite(dist.mean()).all():  # not so of very heavy tails
        np.testing.assert_allclose(dist.mean(), model.predict(X))


@pytest.mark.parametrize("law", LAWS)
def test_laws_of_linear_predictors(law):
    y, check = LAWS[law], Check(law)
    objects = {"binomial": Binomial(5), "list": ["gamma", "student_t", "student_t"]}
    likelihood = objects.get(law, law)
    settings = {"likelihood": likelihood, "init": "kmeans", "n_init": 1, "random_state": 0}
    for name, X in (("dense", DENSE), ("csr", INPUTS["csr"])):
        for gate in ("softmax", "mlp", "gaussian"):
            for solver in ("em", "gradient", "minibatch"):
                model = MoERegressor(None, K, gate=GATES[gate], solver=SOLVERS[solver], max_iter=3)
                model.set_params(**settings)
                message = expected_error(gate, "linear", solver, name, y)
                if message is None:
                    check(model.fit(X, y, sample_weight=WEIGHT), X, y)
                    check_distribution(model.set_params(top_k=None, combine="mean"), X[:4])
                else:
                    with pytest.raises((TypeError, ValueError), match=message):
                        model.fit(X, y, sample_weight=WEIGHT)
    for experts in ("tree", "mixed"):
        for routing in (None, "token"):
            model = MoERegressor(EXPERTS[experts][0], cross_fit=2, max_iter=3, **settings)
            model.set_params(routing=routing, top_k=2, n_experts=K)
            if law in (*ONLY_LINEAR, "heteroscedastic_gaussian"):
                with pytest.raises(ValueError, match=r"use linear experts|is for linear experts"):
                    model.fit(DENSE, y)
            else:
                check(model.fit(DENSE, y), DENSE, y)
    model = MoERegressor(None, K, routing="expert", top_k=2, max_iter=3, **settings)
    check(model.fit(DENSE, y, sample_weight=WEIGHT), DENSE, y)


GAPS = np.where(np.random.RandomState(3).uniform(size=(N, 3)) < 0.2, np.nan, 0.0)
# Settings of targets and objective that only built-in experts know.
OF_TARGETS = {
    "gate per output": {"gate_per_output": True},
    "gaps": {"missing_outputs": "mask"},
    "gate per output, gaps": {"gate_per_output": True, "missing_outputs": "mask"},
    "blend": {},
}


def solver_of_targets(name, solver):
    """The solver, for the blended output where that is meant."""
    if name != "blend":
        return SOLVERS[solver]
    kind = {"gradient": Gradient, "minibatch": Minibatch}[solver]
    return kind(objective="prediction")


def error_of_targets(name, gate, experts, solver, X):
    """What the error says where these settings cannot work, else None."""
    if gate == "gaussian" and name.startswith("gate per output"):
        return "gate_per_output=True needs a gate with a gradient"
    if experts not in BUILT_IN:
        return "linear"
    if gate == "gaussian" and solver != "em":
        return "GaussianGate is in closed form"
    return "Sparse data was passed" if gate == "gaussian" and X == "csr" else None


@pytest.mark.parametrize("X", ["dense", "csr", "frame"])
@pytest.mark.parametrize("experts", ["linear", "neural", "factors", "tree", "mixed"])
@pytest.mark.parametrize("name", OF_TARGETS)
def test_targets(name, experts, X):
    rows = INPUTS[X]
    y = TASKS["gaussian outputs"][1] + (GAPS if "gaps" in name else 0.0)
    for gate in GATES:
        for solver in ("gradient", "minibatch") if name == "blend" else ("em", "gradient"):
            settings = {"gate": GATES[gate], "solver": solver_of_targets(name, solver)}
            model, _ = make("gaussian outputs", experts, **settings, **OF_TARGETS[name])
            message = error_of_targets(name, gate, experts, solver, X)
            if message is not None:
                with pytest.raises((TypeError, ValueError), match=message):
                    model.fit(rows, y, sample_weight=WEIGHT)
                continue
            check_regressor(model.fit(rows, y, sample_weight=WEIGHT), rows, np.nan_to_num(y))
            assert np.isfinite(model.log_likelihood(rows, y)).all()
            assert np.isfinite(model.objective_)
            shape = (N, K, 3) if name.startswith("gate per output") else (N, K)
            assert model.gate_proba(rows).shape == shape
            np.testing.assert_allclose(model.responsibilities(rows, y).sum(axis=1), 1.0)
