"""The number of experts: criteria, the grown path, and n_experts="auto"."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import load_nodata, load_tonedata, make_moe_classification, make_moe_regression
from skmoe.experts import LinearExpert
from skmoe.gates import HierarchicalGate, SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.selection import Grow

COLUMNS = ["n_experts", "objective", "log_likelihood", "n_parameters"]
COLUMNS += ["aic", "bic", "bicc", "icl", "cv", "chosen"]
# (rows, features, noise): the settings of the recovery of K.
SIZES = [(1000, 5), (500, 2)]
TREE = DecisionTreeRegressor(max_depth=3, random_state=0)


def auto(**settings):
    return MoERegressor(**{"n_experts": "auto", "random_state": 0, **settings})


@pytest.fixture(scope="module")
def sample():
    return make_moe_regression(400, 2, n_experts=2, random_state=0)


@pytest.fixture(scope="module")
def model(sample):
    return auto(max_experts=6).fit(*sample)


# --- the right number ----------------------------------------------------------------


def chosen(n, d, n_experts, seeds, **settings):
    samples = [make_moe_regression(n, d, n_experts=n_experts, random_state=s) for s in seeds]
    return [auto(**settings).fit(X, y).n_experts_ for X, y in samples]


@pytest.mark.jit_only
@pytest.mark.parametrize("n_experts", [1, 2, 3, 4])
def test_finds_the_number_of_experts(n_experts):
    assert chosen(500, 2, n_experts, range(2)) == [n_experts] * 2


@pytest.mark.jit_only
@pytest.mark.slow
@pytest.mark.parametrize("n, d", SIZES)
@pytest.mark.parametrize("n_experts", [1, 2, 3, 4, 6])
def test_finds_the_number_in_nine_of_ten_samples(n, d, n_experts):
    assert np.sum(np.equal(chosen(n, d, n_experts, range(10, 20)), n_experts)) >= 9


def without_regimes(kind, seed):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(300, 3))
    return X, rng.normal(size=300) + (X @ [1.0, -2.0, 0.5] if kind == "linear" else 0.0)


@pytest.mark.parametrize("kind", ["linear", "noise"])
def test_one_expert_where_there_are_no_regimes(kind):
    assert [auto().fit(*without_regimes(kind, seed)).n_experts_ for seed in range(2)] == [1, 1]


@pytest.mark.jit_only
@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["auto", "bic", "icl", "cv"])
@pytest.mark.parametrize("kind", ["linear", "noise"])
def test_one_expert_in_nine_of_ten_samples_without_regimes(kind, criterion):
    growth = Grow(criterion=criterion)
    samples = [without_regimes(kind, seed) for seed in range(10, 20)]
    assert sum(auto(n_experts=growth).fit(X, y).n_experts_ == 1 for X, y in samples) >= 9


@pytest.mark.parametrize("criterion", ["bic", "icl", "cv"])
def test_other_criteria_find_it_too(sample, criterion):
    model = auto(n_experts=Grow(criterion=criterion, folds=3), max_experts=4).fit(*sample)
    assert model.n_experts_ == 2
    assert model.path_[criterion].notna().all()


@pytest.mark.jit_only
def test_finds_the_number_of_classifiers():
    X, y = make_moe_classification(1000, 2, n_experts=3, random_state=0)
    model = MoEClassifier(n_experts=Grow(criterion="bic"), random_state=0).fit(X, y)
    assert model.n_experts_ == 3 and model.path_["bic"].idxmin() == 2


def test_classifiers_are_judged_on_held_out_rows():
    X, y = make_moe_classification(300, 2, n_experts=2, random_state=0)
    growth = Grow(folds=3)
    model = MoEClassifier(n_experts=growth, max_experts=2, random_state=0).fit(X, y)
    assert model.n_experts_ == 2 and model.path_["cv"].notna().all()


# --- the path ------------------------------------------------------------------------


def test_path_is_the_table_of_what_was_tried(model):
    path = model.path_
    assert list(path) == COLUMNS
    assert_array_equal(path["n_experts"], np.arange(1, len(path) + 1))
    assert path["chosen"].sum() == 1
    assert path["n_experts"][path["chosen"]].item() == model.n_experts_ == 2
    assert path["bicc"].idxmin() == 1 and len(path) == 4  # two more, in vain
    assert path["cv"].isna().all()
    assert (np.diff(path["log_likelihood"]) > 0).all()


def test_path_holds_the_criteria_of_the_formulas(model):
    path, n = model.path_, 400
    # Two features: three coefficients per line of experts and gate, one variance.
    k = path["n_experts"]
    assert_array_equal(path["n_parameters"], 3 * k + 3 * (k - 1) + k)
    deviance = -2 * n * path["log_likelihood"]
    assert_allclose(path["aic"], deviance + 2 * path["n_parameters"])
    assert_allclose(path["bic"], deviance + np.log(n) * path["n_parameters"])
    small_sample = n / (n - path["n_parameters"] - 1)
    assert_allclose(path["bicc"], deviance + np.log(n) * path["n_parameters"] * small_sample)
    assert path["icl"][0] == path["bic"][0] and (path["icl"][1:] > path["bic"][1:]).all()


def test_the_kept_fit_is_finished(model, sample):
    assert model.converged_ and len(model.experts_) == 2
    assert model.objective_ >= model.path_["objective"][model.path_["chosen"]].item() - 1e-9
    assert model.bic(*sample) <= model.path_["bic"].min() + 0.1


def test_patience_and_max_experts_end_the_path(sample):
    assert len(auto(n_experts=Grow(patience=1)).fit(*sample).path_) == 3
    assert len(auto(n_experts=Grow(patience=3)).fit(*sample).path_) == 5
    capped = auto(max_experts=1).fit(*sample)
    assert capped.n_experts_ == 1 and len(capped.path_) == 1


def test_one_expert_where_rows_are_too_few_for_any_criterion():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(20, 30))
    model = auto().fit(X, X[:, 0] + rng.normal(size=20))
    assert model.n_experts_ == 1 and len(model.path_) == 3
    assert np.isinf(model.path_["bicc"]).all() and np.isfinite(model.path_["bic"]).all()


@pytest.mark.jit_only
def test_path_of_few_rows_tries_every_promising_split(monkeypatch):
    X, y = load_tonedata(return_X_y=True)
    growth = Grow(patience=4)
    every = auto(n_experts=growth, max_experts=5).fit(X, y).path_["objective"]
    monkeypatch.setattr("skmoe._selection._FEW_ROWS", 0)
    first = auto(n_experts=growth, max_experts=5).fit(X, y).path_["objective"]
    assert_array_equal(every[0], first[0])
    assert every[2] > first[2] + 0.1


def test_held_out_log_likelihood_of_one_expert_is_that_of_ridge_lines(sample):
    X, y = sample
    growth = Grow(criterion="cv", folds=4)
    free = {"experts": LinearExpert(alpha=0.0), "likelihood": Gaussian(floor=0.0)}
    model = auto(n_experts=growth, max_experts=1, **free).fit(X, y)
    # The folds themselves are shuffled: compare with the mean over many such splits.
    rng, values = np.random.RandomState(1), []
    for _ in range(40):
        fold = rng.permutation(np.arange(len(y)) % 4)
        for f in range(4):
            line = LinearRegression().fit(X[fold != f], y[fold != f])
            variance = np.mean((y - line.predict(X))[fold != f] ** 2)
            error = (y - line.predict(X))[fold == f] ** 2
            values.append(np.mean(-0.5 * (np.log(2 * np.pi * variance) + error / variance)))
    assert_allclose(model.path_["cv"].item(), np.mean(values), atol=0.02)


# --- any experts, any gate ---------------------------------------------------------------


@pytest.fixture(scope="module")
def steps():
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, size=(240, 2))
    slope = np.where(X[:, 0] > 0, 3.0, -3.0)
    return X, slope * X[:, 1] + 0.1 * rng.normal(size=240)


def test_other_experts_are_counted_out_of_fold(steps):
    X, y = steps
    model = auto(experts=Ridge(alpha=0.1), max_experts=4).fit(X, y)
    assert model.n_experts_ == 2 == len(model.experts_)
    assert model.path_["cv"].idxmax() == 1
    assert model.path_[["aic", "bic", "icl", "n_parameters"]].isna().all(axis=None)
    assert model.n_parameters_ is None


def test_out_of_fold_log_likelihood_is_honest(steps):
    """In sample a deep tree would look far better than on new rows."""
    X, y = steps
    deep = DecisionTreeRegressor(random_state=0)
    model = auto(experts=deep, max_experts=1, cross_fit=None).fit(X, y)
    assert model.cross_fit_ is None
    in_sample = model.log_likelihood(X, y).mean()
    assert in_sample > model.path_["cv"].item() + 1.0


def test_other_classifiers(steps):
    X, y = steps
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    model = MoEClassifier(tree, "auto", max_experts=3, random_state=0).fit(X, y > 0)
    assert 1 <= model.n_experts_ <= 3 and model.path_["cv"].notna().all()


class OwnGate(BaseEstimator):
    """A gate that has the least that is asked for."""

    def fit(self, X, resp, sample_weight=None):
        self.inner_ = SoftmaxGate().fit(X, resp, sample_weight)
        return self

    def log_proba(self, X):
        return self.inner_.log_proba(X)


class CountedGate(OwnGate):
    """The same, which counts its parameters."""

    def n_parameters(self):
        return self.inner_.n_parameters()


def test_own_gate_is_judged_on_held_out_rows(steps):
    model = auto(gate=OwnGate(), max_experts=3).fit(*steps)
    assert model.n_experts_ == 2
    assert model.path_["cv"].notna().all() and model.path_["bic"].isna().all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("gate", [DecisionTreeClassifier(max_depth=2)])
def test_gates_that_are_not_linear_are_judged_on_held_out_rows(steps, gate):
    X, y = steps
    growth = Grow(folds=2)
    some = auto(gate=gate, max_experts=2, n_experts=growth, max_iter=20).fit(X[:120], y[:120])
    assert some.n_experts_ == 2 and some.path_["cv"].notna().all()


def test_density_of_the_features_does_not_count(steps):
    X, y = steps
    gated = auto(gate="gaussian", max_experts=3).fit(X, y)
    assert gated.n_experts_ == 2 and gated.path_["bic"].notna().all()
    other = auto(experts=Ridge(0.1), gate="gaussian", max_experts=2).fit(X, y)
    best = gated.path_["log_likelihood"][1]
    assert_allclose(other.path_["cv"][1], best, atol=0.3)


def test_own_gate_that_counts_its_parameters_has_criteria(steps):
    model = auto(gate=CountedGate(), max_experts=3).fit(*steps)
    assert model.n_experts_ == 2
    assert_array_equal(model.path_["n_parameters"], [4, 11, 18])
    assert np.isfinite(model.bic(*steps))


# --- what scikit-learn asks ------------------------------------------------------------


def test_clone_and_pickle(model, sample):
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(sample[0]), model.predict(sample[0]))
    assert again.path_.equals(model.path_)
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "path_")


def test_result_does_not_depend_on_chance(sample):
    growth = Grow(criterion="cv", folds=2)
    paths = [auto(n_experts=growth, max_experts=2).fit(*sample).path_ for _ in range(2)]
    assert paths[0].equals(paths[1])


def test_options_are_searched(sample):
    grid = {"n_experts__criterion": ["bic", "icl"], "max_experts": [1, 3]}
    search = GridSearchCV(auto(), grid, cv=2).fit(*sample)
    assert search.best_params_["max_experts"] == 3
    assert search.best_estimator_.n_experts_ == 2


def test_a_given_number_forgets_the_path(model, sample):
    again = clone(model).fit(*sample).set_params(n_experts=3).fit(*sample)
    assert again.n_experts_ == 3 and not hasattr(again, "path_")


def test_warm_start_keeps_the_number(sample):
    X, y = sample
    model = auto(warm_start=True).fit(X, y)
    path = model.path_
    one_regime = X[:, 0] + np.random.RandomState(0).normal(size=400)
    model.fit(X, one_regime)
    assert model.n_experts_ == 2 and model.path_ is path
    model.set_params(max_experts=3).fit(X, one_regime)
    assert model.n_experts_ == 1 and len(model.path_) == 3


def test_top_k_may_be_more_than_the_chosen_number():
    model = auto(top_k=2, max_experts=2).fit(*without_regimes("linear", 0))
    assert model.n_experts_ == 1
    with_all = clone(model).set_params(top_k=None).fit(*without_regimes("linear", 0))
    rows = without_regimes("linear", 1)[0]
    assert_array_equal(model.predict(rows), with_all.predict(rows))
    assert model.route(rows)[0].shape == (300, 1)


# --- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"experts": [("a", Ridge()), ("b", TREE)]}, "experts is a list; leave n_experts out"),
        ({"init": lambda X, y, k, rng: np.zeros(len(y))}, "leave init out"),
        ({"init": np.zeros(400, dtype=int), "n_init": 1}, "leave init out"),
        ({"gate": HierarchicalGate((2, 2))}, r"made for 4 experts; leave n_experts out"),
        ({"experts": TREE, "n_experts": Grow(criterion="bic")}, "use Grow.criterion='cv'"),
        ({"gate": OwnGate(), "n_experts": Grow(criterion="icl")}, "OwnGate.*criterion='cv'"),
        ({"n_experts": "some"}, "n_experts"),
        ({"n_experts": Grow(patience=0)}, "patience"),
        ({"n_experts": Grow(criterion="aic")}, "criterion"),
        ({"max_experts": 0}, "max_experts"),
        ({"max_experts": 3, "top_k": 4}, "top_k"),
    ],
)
def test_errors_name_the_cure(sample, settings, message):
    with pytest.raises(ValueError, match=message):
        auto(**settings).fit(*sample)


def test_one_row_has_one_expert_and_cannot_be_held_out():
    assert auto().fit([[0.0]], [1.0]).n_experts_ == 1
    with pytest.raises(ValueError, match="1 sample; give the number"):
        auto(n_experts=Grow(criterion="cv")).fit([[0.0]], [1.0])


# --- criteria ----------------------------------------------------------------------------


def test_criteria_are_those_of_the_formulas(model, sample):
    X, y = sample
    deviance, n_parameters = -2 * model.log_likelihood(X, y).sum(), model.n_parameters_
    resp = model.responsibilities(X, y)
    entropy = -sum(r * np.log(r) for r in resp.ravel() if r > 0)
    bic = deviance + n_parameters * np.log(400)
    assert_allclose(model.aic(X, y), deviance + 2 * n_parameters)
    assert_allclose(model.bic(X, y), bic)
    assert_allclose(model.icl(X, y), bic + 2 * entropy)


def test_weights_in_criteria_count_as_repeated_rows(model, sample):
    X, y = sample
    weight = np.arange(400) % 3
    again = np.repeat(X, weight, axis=0), np.repeat(y, weight)
    for name in ("aic", "bic", "icl"):
        criterion = getattr(model, name)
        assert_allclose(criterion(X, y, sample_weight=weight), criterion(*again))


def test_criteria_refuse_what_cannot_be_counted(steps):
    other = MoERegressor(TREE, n_experts=2, random_state=0).fit(*steps)
    with pytest.raises(TypeError, match=r"DecisionTreeRegressor.*log_likelihood"):
        other.bic(*steps)
    gated = MoERegressor(n_experts=2, gate=OwnGate(), random_state=0).fit(*steps)
    with pytest.raises(TypeError, match=r"^OwnGate: free"):
        gated.aic(*steps)


def test_nodata_has_the_criteria_of_flexmix():
    """flexmix 2.3-18, the best of 20 runs: 8 parameters, BIC -211.397, AIC -231.216.

    Its noise is divided by the rows less two, so that its likelihood is .013 lower. Its
    ICL, -205.893, takes the most probable expert of each row in the place of the entropy,
    and moves more with the noise: the responsibilities are another model's.
    """
    X, y = load_nodata(return_X_y=True)
    free = {"gate": SoftmaxGate(alpha=0.0), "likelihood": Gaussian(floor=0.0)}
    model = MoERegressor(LinearExpert(alpha=0.0), 2, n_init=4, random_state=0, tol=1e-7, **free)
    model.fit(X, y)
    assert model.n_parameters_ == 8
    assert_allclose(model.bic(X, y), -211.397, atol=0.03)
    assert_allclose(model.aic(X, y), -231.216, atol=0.03)
    classified = -2 * np.log(model.responsibilities(X, y).max(axis=1)).sum()
    assert_allclose(model.bic(X, y) + classified, -205.893, atol=0.15)
    assert_allclose(model.bic(X, y), -2 * 123.6206 + 8 * np.log(88), atol=3e-3)


# --- free parameters -----------------------------------------------------------------------


def rank(function, flat):
    """Rank of the derivative of a function of flat parameters."""
    steps = 1e-5 * np.eye(len(flat))
    columns = [(function(flat + s) - function(flat - s)).ravel() / 2e-5 for s in steps]
    return np.linalg.matrix_rank(np.column_stack(columns), tol=1e-5)


@pytest.mark.parametrize("n_experts", [1, 2, 3])
def test_gate_has_as_many_parameters_as_directions(n_experts):
    rng = np.random.RandomState(0)
    X, resp = rng.normal(size=(40, 3)), rng.dirichlet(np.ones(n_experts), size=40)
    gate = SoftmaxGate(alpha=0.1).fit(X, resp)
    found = rank(lambda flat: gate.with_flat(flat).log_proba(X), gate.flat())
    assert gate.n_parameters() == found == 4 * (n_experts - 1)


@pytest.mark.parametrize("branching, free", [((2, 2), 3), ((3, 2), 5), ((3,), 2)])
def test_tree_of_gates_has_as_many_parameters_as_directions(branching, free):
    rng = np.random.RandomState(0)
    n_experts = np.prod(branching)
    X, resp = rng.normal(size=(60, 2)), rng.dirichlet(np.ones(n_experts), size=60)
    gate = HierarchicalGate(branching, alpha=0.1).fit(X, resp)
    found = rank(lambda flat: gate.with_flat(flat).log_proba(X), gate.flat())
    assert gate.n_parameters() == found == 3 * free


@pytest.mark.parametrize("n_outputs, shared", [(1, False), (2, False), (2, True)])
def test_regressor_has_as_many_parameters_as_directions(n_outputs, shared):
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, size=(60, 2))
    y = np.abs(X[:, :1]) + rng.normal(size=(60, n_outputs))
    model = MoERegressor(n_experts=2, likelihood=Gaussian(shared=shared), random_state=0)
    model = model.fit(X, y if n_outputs > 1 else y[:, 0])
    variances = n_outputs * (1 if shared else 2)
    assert model.n_parameters_ == 3 + 2 * 3 * n_outputs + variances


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifier_has_as_many_parameters_as_directions(n_classes):
    X, y = make_moe_classification(
        200, 2, n_experts=2, n_classes=n_classes, class_sharpness=1.0, random_state=0
    )
    model = MoEClassifier(n_experts=2, random_state=0).fit(X, y)
    experts = model._parts.experts

    def log_proba(flat):
        pred = experts.with_flat(flat).predict(X)
        return pred - np.log(np.exp(pred).sum(axis=2, keepdims=True))

    free = 2 * 3 * (n_classes - 1)
    assert experts.n_parameters() == rank(log_proba, experts.flat()) == free
    assert model.n_parameters_ == free + 3


def test_columns_that_an_l1_penalty_removes_are_not_counted():
    X, y = make_moe_regression(200, 8, n_experts=2, n_informative=2, random_state=0)
    sparse = LinearExpert(alpha=20.0, l1_ratio=1.0)
    gate = SoftmaxGate(alpha=0.02, l1_ratio=1.0)
    model = MoERegressor(sparse, 2, gate=gate, max_iter=2000, random_state=0).fit(X, y)
    slopes = sum(np.count_nonzero(expert.coef_) for expert in model.experts_)
    steep = np.count_nonzero(model.gate_.coef_)
    assert slopes < 16 and steep < 8
    assert model.n_parameters_ == slopes + 2 + steep + 1 + 2
