"""Ctrl-C in the middle of a fit: as before, or with warm_start the best iterate."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.validation import check_is_fitted

from skmoe import MoEClassifier, MoERegressor
from skmoe._monitor import Monitor
from skmoe.datasets import make_moe_classification, make_moe_regression
from skmoe.solvers import EM, Gradient, Minibatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = [EM(), EM(e_step="hard"), Gradient(), Minibatch(n_epochs=8)]


class CtrlC:
    """Raises at the given iteration of a monitor with this most of iterations."""

    def __init__(self, monkeypatch, at, max_iter):
        update = Monitor.update
        self.calls = 0

        def interrupted(monitor, *args, **more):
            if monitor.max_iter == max_iter and type(monitor) is Monitor:
                self.calls += 1
                if self.calls == at:
                    raise KeyboardInterrupt
            return update(monitor, *args, **more)

        monkeypatch.setattr(Monitor, "update", interrupted)


def problem(classify=False):
    make = make_moe_classification if classify else make_moe_regression
    return make(n_samples=500, n_experts=3, n_features=3, random_state=0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_it_is_unfitted_or_as_before(solver, monkeypatch):
    X, y = problem()
    model = MoERegressor(n_experts=3, solver=solver, init="kmeans", max_iter=77, random_state=0)
    with monkeypatch.context() as patch:
        CtrlC(patch, 4, 77)
        with pytest.raises(KeyboardInterrupt, match=r"after 3 iterations; .* as it was before fit"):
            model.fit(X, y)
    with pytest.raises(Exception, match="not fitted"):
        check_is_fitted(model)
    pred = model.fit(X, y).predict(X)
    with monkeypatch.context() as patch:
        CtrlC(patch, 4, 77)
        with pytest.raises(KeyboardInterrupt, match="as it was before fit"):
            model.fit(X[:100], y[:100])
    assert_array_equal(model.predict(X), pred)


@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_warm_start_keeps_the_best_iterate_and_goes_on(solver, classify, monkeypatch):
    X, y = problem(classify)
    kind = MoEClassifier if classify else MoERegressor
    model = kind(
        n_experts=3,
        solver=solver,
        init="kmeans",
        n_init=1,
        max_iter=77,
        warm_start=True,
        random_state=0,
    )
    CtrlC(monkeypatch, 5, 77)
    with pytest.raises(KeyboardInterrupt, match=r"interrupted after 4 iterations.*warm_start=True"):
        model.fit(X, y)
    check_is_fitted(model)
    assert not model.converged_
    assert model.n_iter_ == 4 == len(model.history_["objective"]) == len(model.history_["load"])
    assert model.predict(X).shape == y.shape
    before = model.log_likelihood(X, y).mean()
    if not isinstance(solver, Minibatch):
        assert model.objective_ == max(model.history_["objective"])
    model.fit(X, y)
    assert model.log_likelihood(X, y).mean() > before - 1e-2


def test_the_best_of_the_starts_so_far_is_kept(monkeypatch):
    X, y = problem()
    options = {"init": "kmeans", "max_iter": 77, "random_state": 0}
    first = MoERegressor(n_experts=3, n_init=1, **options).fit(X, y)
    model = MoERegressor(n_experts=3, n_init=2, warm_start=True, **options)
    CtrlC(monkeypatch, first.n_iter_ + 3, 77)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert_array_equal(model.predict(X), first.predict(X))


@pytest.mark.parametrize("cross_fit", [None, 3])
def test_other_experts(cross_fit, monkeypatch):
    X, y = problem()
    tree = DecisionTreeRegressor(max_depth=3, random_state=0)
    model = MoERegressor(
        tree, n_experts=2, cross_fit=cross_fit, warm_start=True, max_iter=77, random_state=0
    )
    CtrlC(monkeypatch, 4, 77)
    with pytest.raises(KeyboardInterrupt, match="after 3 iterations"):
        model.fit(X, y)
    assert model.score(X, y) > 0.3
    assert model.fit(X, y).n_iter_ >= 1


def test_before_there_is_anything_to_keep(monkeypatch):
    X, y = problem()
    model = MoERegressor(n_experts=3, warm_start=True, max_iter=77, random_state=0)
    CtrlC(monkeypatch, 1, 77)
    with pytest.raises(KeyboardInterrupt, match="while looking for a start"):
        model.fit(X, y)
    with pytest.raises(Exception, match="not fitted"):
        model.predict(np.zeros((1, 3)))
