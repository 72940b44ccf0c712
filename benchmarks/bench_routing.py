"""What sparse routing saves: training and prediction with top_k experts a row.

    python benchmarks/bench_routing.py diamonds predict processes

Times are CPU seconds of one process and compare within one run.
"""

import sys
import time
import warnings

import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoERegressor
from skmoe.balance import BalanceBias
from skmoe.datasets import load_diamonds


class CountingTree(RegressorMixin, BaseEstimator):
    """A regression tree that adds up the rows that all its kind are shown."""

    rows_fitted = 0
    rows_asked = 0

    def __init__(self, max_depth=None, min_samples_leaf=5, random_state=None):
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        """Fit the tree."""
        CountingTree.rows_fitted += len(X)
        tree = DecisionTreeRegressor(
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            random_state=self.random_state,
        )
        self.tree_ = tree.fit(X, y, sample_weight)
        return self

    def predict(self, X):
        """Predict with it."""
        CountingTree.rows_asked += len(X)
        return self.tree_.predict(X)


def cpu(work):
    """What ``work()`` returns, and its CPU seconds."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def diamonds(n_experts=16, top_k=2, max_iter=200):
    """Tree experts, dense and routed until convergence, on three quarters of the diamonds."""
    X, y = load_diamonds(return_X_y=True)
    codes = {name: X[name].cat.codes for name in X.select_dtypes("category")}
    X = X.assign(**codes).to_numpy(float)
    X, X_test, y, y_test = train_test_split(X, y.to_numpy(float), test_size=0.25, random_state=0)
    settings = {"n_experts": n_experts, "top_k": top_k, "max_iter": max_iter, "random_state": 0}
    for routing in (None, "token", "expert"):
        CountingTree.rows_fitted = 0
        model = MoERegressor(CountingTree(), routing=routing, **settings)
        model, seconds = cpu(lambda model=model: model.fit(X, y))
        fitted, CountingTree.rows_asked = CountingTree.rows_fitted, 0
        model.predict(X_test)
        asked = CountingTree.rows_asked / len(y_test)
        steady = np.array(model.history_.get("rows_fitted", [0]))
        print(
            f"diamonds routing={routing} R2 {model.score(X_test, y_test):.4f} "
            f"log-likelihood {model.log_likelihood(X_test, y_test).mean():.3f} CPU {seconds:.1f} s "
            f"iterations {model.n_iter_} converged {model.converged_} rows shown {fitted} "
            f"({fitted / model.n_iter_ / len(X):.2f} n an iteration; nominal most "
            f"{steady.max() / len(X):.2f}) asked in predict {asked:.1f} a row, "
            f"max/mean load {model.load_.max() * n_experts:.2f}",
            flush=True,
        )


class CentresGate(BaseEstimator):
    """A gate that is given: rows go to what is near, so that every expert is in use."""

    def __init__(self, n_experts):
        self.n_experts = n_experts

    def fit(self, X, resp, sample_weight=None):
        """Take the first rows for centres."""
        self.centres_ = X[: self.n_experts].copy()
        return self

    def logits(self, X):
        """Minus the squares of distances (n, K), up to what experts share."""
        return 40.0 * (X @ self.centres_.T) - 20.0 * np.square(self.centres_).sum(axis=1)

    def log_proba(self, X):
        """Logarithms of probabilities (n, K)."""
        return log_softmax(self.logits(X), axis=1)


def predict():
    """Prediction time at a fixed top_k and a growing number of forests.

    Under a softmax gate, which leaves some of 256 without rows, and under one that uses all.
    """
    for gate in ("softmax", "centres"):
        _predict(gate)


def _predict(gate, n_rows=400_000, n_fit=40_000):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(n_rows, 4))
    y = np.sin(4 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=n_rows)
    forest = RandomForestRegressor(n_estimators=50, max_depth=8)
    models = {}
    for n_experts in (4, 16, 64, 256):
        model = MoERegressor(
            forest,
            n_experts=n_experts,
            gate=gate if gate == "softmax" else CentresGate(n_experts),
            top_k=2,
            routing="token",
            load_balance=BalanceBias() if gate == "softmax" else None,
            cross_fit=None,
            init="kmeans",
            n_init=1,
            max_iter=2,
            random_state=0,
        )
        models[n_experts] = model.fit(X[:n_fit], y[:n_fit])
    for n in (10, 1000, 100_000, n_rows):
        best = {}
        for _ in range(5):
            for n_experts, model in models.items():
                seconds = cpu(lambda model=model, n=n: model.predict(X[:n]))[1]
                best[n_experts] = min(seconds, best.get(n_experts, np.inf))
        for n_experts, model in models.items():
            used = len(np.unique(model.route(X[:n])[0]))
            routes = min(cpu(lambda model=model, n=n: model.route(X[:n]))[1] for _ in range(3))
            print(
                f"{gate} gate: predict {n} rows, K={n_experts} ({used} used) top_k=2: "
                f"{best[n_experts]:.4f} s ({best[n_experts] / best[4]:.2f}x), "
                f"routes {routes:.4f} s",
                flush=True,
            )


def processes(n_rows=4000):
    """Eight Gaussian processes on their own rows, and one on all."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 10, size=(n_rows + 2000, 2))
    y = np.sin(X[:, 0] * (1 + 0.1 * X[:, 0])) + np.cos(X[:, 1]) + 0.1 * rng.normal(size=len(X))
    X, X_test, y, y_test = X[:n_rows], X[n_rows:], y[:n_rows], y[n_rows:]
    kernel = RBF(1.0) + WhiteKernel(0.02)
    for optimizer in ("fmin_l_bfgs_b", None):
        one = GaussianProcessRegressor(kernel, optimizer=optimizer, normalize_y=True)
        one, seconds = cpu(lambda one=one: one.fit(X, y))
        rmse = np.sqrt(np.mean((one.predict(X_test) - y_test) ** 2))
        print(f"one process, {optimizer=}: RMSE {rmse:.4f} CPU {seconds:.1f} s", flush=True)
        for top_k, routing in ((1, "token"), (1, "expert"), (2, "token")):
            expert = GaussianProcessRegressor(kernel, optimizer=optimizer, normalize_y=True)
            model = MoERegressor(
                expert,
                n_experts=8,
                top_k=top_k,
                routing=routing,
                cross_fit=None,
                init="kmeans",
                n_init=1,
                max_iter=2,
                random_state=0,
            )
            model, own = cpu(lambda model=model: model.fit(X, y))
            error = np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2))
            print(
                f"8 processes top_k={top_k} routing={routing}: RMSE {error:.4f} "
                f"({error / rmse - 1:+.1%}) CPU {own:.1f} s ({seconds / own:.1f}x) "
                f"iterations {model.n_iter_}",
                flush=True,
            )


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in sys.argv[1:] or ("diamonds", "predict", "processes"):
        {"diamonds": diamonds, "predict": predict, "processes": processes}[name]()
