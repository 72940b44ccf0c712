"""scikit-learn templates that gradient solvers train together, and give back as they came."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import classification, regression, sparsened
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.solvers import Gradient, Minibatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = [Gradient(), "minibatch"]
# (template, the built-in one with the same functions)
REGRESSORS = [
    (LinearRegression(), LinearExpert(0.0)),
    (Ridge(3.0), LinearExpert(3.0)),
    (
        MLPRegressor(hidden_layer_sizes=4, alpha=0.1, activation="tanh"),
        MLPExpert((4,), 0.1, activation="tanh"),
    ),
    (
        MLPRegressor(hidden_layer_sizes=(4, 3), alpha=0.1, activation="logistic"),
        MLPExpert((4, 3), 0.1, activation="logistic"),
    ),
]
CLASSIFIERS = [
    (LogisticRegression(C=0.2), LinearExpert(5.0)),
    (LogisticRegression(C=np.inf), LinearExpert(0.0)),
    (MLPClassifier((5,), alpha=0.1), MLPExpert((5,), 0.1)),
]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("template", "own"), REGRESSORS)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_regressors_come_back_fitted(template, own, solver, n_outputs):
    X, y = regression(0, n_outputs=n_outputs)
    y = 100.0 + 10.0 * (y if n_outputs > 1 else y.ravel())
    settings = {"n_experts": 3, "solver": solver, "max_iter": 10, "random_state": 0}
    model = MoERegressor(template, **settings)
    if n_outputs == 2 and isinstance(template, MLPRegressor):  # so its tags say
        with pytest.raises(ValueError, match="MLPRegressor predicts one"):
            model.fit(X, y)
        return
    model.fit(X, y)
    answers = model.predict_experts(X)
    for k, expert in enumerate(model.experts_):
        assert type(expert) is type(template)
        assert expert.get_params() == template.get_params()
        assert_allclose(expert.predict(X), answers[:, k], rtol=1e-10, atol=1e-10)
    same = MoERegressor(own, **settings).fit(X, y)
    assert_allclose(same.predict(X), model.predict(X), rtol=1e-12)
    assert model.log_likelihood(X, y).mean() > -8.0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("template", "own"), CLASSIFIERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_come_back_fitted(template, own, solver, n_classes):
    X, y = classification(0, n_classes=n_classes)
    settings = {"n_experts": 2, "solver": solver, "max_iter": 10, "random_state": 0}
    for rows in (X, sparsened(X)):
        model = MoEClassifier(template, **settings).fit(rows, y)
        answers = model.predict_experts(rows)
        for k, expert in enumerate(model.experts_):
            assert type(expert) is type(template)
            assert expert.get_params() == template.get_params()
            assert_allclose(expert.predict_proba(rows), answers[:, k], atol=1e-10)
        same = MoEClassifier(own, **settings).fit(rows, y)
        assert_allclose(same.predict_proba(rows), model.predict_proba(rows), rtol=1e-10)


def test_seeds_and_nested_parameters_are_those_of_the_template():
    X, y = regression(0)
    template = MLPRegressor(hidden_layer_sizes=(4,), random_state=3)
    settings = {"n_experts": 2, "solver": "gradient", "max_iter": 5}
    one, other = (
        MoERegressor(template, random_state=seed, init=np.arange(120) % 2, n_init=1, **settings)
        .fit(X, y.ravel())
        .predict(X)
        for seed in (0, 1)
    )
    assert_allclose(one, other, rtol=1e-10)  # the start is given, and so are the weights
    model = MoERegressor(template, **settings).set_params(experts__alpha=7.0).fit(X, y.ravel())
    assert model._parts.experts.alpha == 7.0
    assert not hasattr(template, "coefs_")


def test_other_solvers_train_them_as_any_estimator():
    X, y = regression(0)
    model = MoERegressor(Ridge(), n_experts=2, max_iter=3, cross_fit=None).fit(X, y.ravel())
    assert type(model.solver_).__name__ == "EM" and model.n_parameters_ is None


@pytest.mark.parametrize("solver", [Gradient(), Minibatch()])
@pytest.mark.parametrize(
    ("template", "message"),
    [
        (Ridge(positive=True), r"cannot train Ridge\(positive=True\); use solver='em'"),
        (Ridge([1.0, 2.0]), "Ridge with one alpha for all outputs"),
        (LinearRegression(fit_intercept=False), r"LinearRegression\(fit_intercept=False\)"),
        (MLPRegressor(hidden_layer_sizes=(3, 3, 3)), "one or two positive integers"),
        (DecisionTreeRegressor(), "trains linear, neural and factorised experts only"),
        ([("one", Ridge()), ("two", Ridge())], "all from one template"),
    ],
)
def test_what_gradients_cannot_train(template, message, solver):
    n_experts = None if isinstance(template, list) else 2
    with pytest.raises(ValueError, match=message):
        MoERegressor(template, n_experts=n_experts, solver=solver).fit(*regression(0, n_outputs=2))


def test_weights_of_classes_cannot_be_trained():
    template = LogisticRegression(class_weight="balanced")
    with pytest.raises(ValueError, match=r"LogisticRegression\(class_weight='balanced'\)"):
        MoEClassifier(template, solver="gradient").fit(*classification(0))
