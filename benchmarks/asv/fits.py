"""Time and peak memory of fits, passes and predictions through the public interface."""

import warnings

import numpy as np

from skmoe import MoEClassifier, MoERegressor


def _data(n, d, n_experts, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    logits = X @ rng.normal(size=(d, n_experts))
    means = X @ rng.normal(size=(d, n_experts))
    regime = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
    return X, means[np.arange(n), regime] + 0.3 * rng.normal(size=n)


class Regression:
    """`MoERegressor` with linear experts."""

    params = [(2000, 5, 3), (20000, 20, 8)]
    param_names = ["n, d, K"]

    def setup(self, shape):
        """Make data and a fitted model; this compiles the kernels, too."""
        warnings.simplefilter("ignore")
        self.X, self.y = _data(*shape)
        self.model = MoERegressor(n_experts=shape[2], init="kmeans", n_init=1, max_iter=30)
        self.fitted = MoERegressor(n_experts=shape[2], init="kmeans", n_init=1, max_iter=2)
        self.fitted.fit(self.X, self.y)
        self.routed = MoERegressor(n_experts=shape[2], init="kmeans", n_init=1, max_iter=2, top_k=1)
        self.routed.fit(self.X, self.y)

    def time_fit(self, shape):
        """At most 30 iterations."""
        self.model.fit(self.X, self.y)

    def time_predict(self, shape):
        """All experts."""
        self.fitted.predict(self.X)

    def time_predict_top_1(self, shape):
        """One expert per row."""
        self.routed.predict(self.X)

    def peakmem_fit(self, shape):
        """Of the process, data included."""
        self.model.fit(self.X, self.y)


class Classification:
    """`MoEClassifier` with linear experts."""

    params = [(2000, 5, 3), (20000, 16, 4)]
    param_names = ["n, d, K"]

    def setup(self, shape):
        """Make data of three classes."""
        warnings.simplefilter("ignore")
        self.X, y = _data(*shape)
        self.y = np.searchsorted(np.quantile(y, [1 / 3, 2 / 3]), y)
        self.model = MoEClassifier(n_experts=shape[2], init="kmeans", n_init=1, max_iter=30)
        self.model.fit(self.X, self.y)

    def time_fit(self, shape):
        """At most 30 iterations."""
        self.model.fit(self.X, self.y)

    def time_predict_proba(self, shape):
        """All experts."""
        self.model.predict_proba(self.X)

    def peakmem_fit(self, shape):
        """Of the process, data included."""
        self.model.fit(self.X, self.y)
