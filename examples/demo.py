"""Mixtures of experts beside their own experts taken singly, on two shipped data sets.

Run it with ``make demo``. For every model, each of five folds is held out in turn. The
table gives the error and the log-likelihood of the held-out rows, and the median seconds of a
fit with all that belongs to it (searches, and for single regressors the folds in which
their noise is measured). At the end a picture shows what a gate learned.

``--quick`` takes few rows, folds and trees, so that the tests can run it.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

# The tables are small: a fit is fastest on one thread, and folds run side by side. This
# must be said before numpy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.cluster import KMeans
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import load_concrete, load_credit, load_mcycle
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate

PICTURE = Path(__file__).parent / "figures" / "what_the_gate_learned.png"

# Probabilities of the observed class are clipped here, for all models alike.
SMALLEST_PROBABILITY = 1e-6


# --- the rivals, and how all are judged ---------------------------------------------


class WithNoise(RegressorMixin, BaseEstimator):
    """A regressor with Gaussian noise of one variance, measured out of fold.

    Residuals of the training rows would be too small for trees and boosting.
    """

    def __init__(self, regressor):
        self.regressor = regressor

    def fit(self, X, y):
        folds = KFold(5, shuffle=True, random_state=0)
        error = y - cross_val_predict(self.regressor, X, y, cv=folds)
        self.scale_ = np.sqrt(np.mean(error**2))
        self.regressor_ = clone(self.regressor).fit(X, y)
        return self

    def predict(self, X):
        return self.regressor_.predict(X)

    def log_likelihood(self, X, y):
        return norm.logpdf(y, self.predict(X), self.scale_)


class ClusterThenRegress(RegressorMixin, BaseEstimator):
    """K-means on standardised features, then one regressor per cluster."""

    def __init__(self, model, n_clusters=3):
        self.model = model
        self.n_clusters = n_clusters

    def fit(self, X, y):
        X = np.asarray(X)
        means = KMeans(self.n_clusters, n_init=3, random_state=0)
        self.clusters_ = make_pipeline(StandardScaler(), means)
        labels = self.clusters_.fit_predict(X)
        self.models_ = [
            self._fit_one(X[labels == k], y[labels == k]) for k in range(self.n_clusters)
        ]
        return self

    def _fit_one(self, X, y):
        return clone(self.model).fit(X, y)

    def predict(self, X):
        X, out = np.asarray(X), np.empty(len(X))
        labels = self.clusters_.predict(X)
        for k in np.unique(labels):
            out[labels == k] = self.models_[k].predict(X[labels == k])
        return out


class ClusterThenClassify(ClassifierMixin, ClusterThenRegress):
    """K-means on standardised features, then one classifier per cluster."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return super().fit(X, y)

    def _fit_one(self, X, y):
        one_class = len(np.unique(y)) == 1
        return DummyClassifier().fit(X, y) if one_class else super()._fit_one(X, y)

    def predict_proba(self, X):
        X, out = np.asarray(X), np.zeros((len(X), len(self.classes_)))
        labels = self.clusters_.predict(X)
        for k in np.unique(labels):
            model, rows = self.models_[k], np.flatnonzero(labels == k)
            columns = np.searchsorted(self.classes_, model.classes_)
            out[np.ix_(rows, columns)] = model.predict_proba(X[rows])
        return out

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def log_likelihood(model, X, y):
    """Log density of each target, or log probability of each class: (n,)."""
    model = getattr(model, "best_estimator_", model)
    if not hasattr(model, "predict_proba"):
        return model.log_likelihood(X, y)
    observed = np.searchsorted(model.classes_, y)
    proba = model.predict_proba(X)[np.arange(len(y)), observed]
    return np.log(np.clip(proba, SMALLEST_PROBABILITY, 1.0))


def mean_log_likelihood(model, X, y):
    """The score by which inner searches choose."""
    return float(np.mean(log_likelihood(model, X, y)))


# --- the models ------------------------------------------------------------------------


def regression_models(quick):
    """Pairs (name, model) for concrete."""
    rounds, trees = (10, 10) if quick else (60, 50)
    folds = KFold(3 if quick else 5, shuffle=True, random_state=0)
    ridge = make_pipeline(StandardScaler(), Ridge())
    boosting = HistGradientBoostingRegressor(max_iter=rounds, max_leaf_nodes=15, random_state=0)
    extra = ExtraTreesRegressor(trees, random_state=0)
    forest = RandomForestRegressor(2 * trees, random_state=0)
    clusters = {"n_clusters": [2, 3, 4, 6]}
    counts = {"n_experts": [2, 3] if quick else [2, 3, 4, 6]}
    linear = MoERegressor(random_state=0)
    mixed = [("ridge", ridge), ("boosting", boosting), ("extra_trees", extra)]
    return [
        ("ridge", WithNoise(ridge)),
        ("k-means, then ridge", WithNoise(GridSearchCV(ClusterThenRegress(ridge), clusters))),
        ("MoE, linear", GridSearchCV(linear, counts, scoring=mean_log_likelihood, cv=folds)),
        ("boosting", WithNoise(boosting)),
        ("MoE, 3 x boosting", MoERegressor(boosting, n_experts=3, random_state=0)),
        ("extra trees", WithNoise(extra)),
        ("MoE, ridge + boosting + extra trees", MoERegressor(mixed, random_state=0)),
        ("random forest", WithNoise(forest)),
    ]


def classification_models(quick):
    """Pairs (name, model) for credit: columns of mixed types, some values missing."""
    rounds, trees = (10, 10) if quick else (60, 100)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    prepare = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (
            OneHotEncoder(handle_unknown="ignore", min_frequency=20, sparse_output=False),
            make_column_selector(dtype_exclude="number"),
        ),
    )

    def search(model, **grid):
        """Preparation and model, with parameters of the model chosen on inner folds."""
        pipeline = make_pipeline(prepare, model)
        grid = {f"{pipeline.steps[-1][0]}__{key}": values for key, values in grid.items()}
        return GridSearchCV(pipeline, grid, scoring=mean_log_likelihood, cv=folds)

    logistic = LogisticRegression(max_iter=1000)
    lines = search(
        MoEClassifier(LinearExpert(), gate=SoftmaxGate(), random_state=0),
        n_experts=[2] if quick else [2, 3],
        experts__alpha=[30.0] if quick else [30.0, 100.0],
        gate__alpha=[0.01] if quick else [0.01, 0.1],
    )
    # Stumps add up effects of single columns; what depends on two is left to the gate.
    stumps = HistGradientBoostingClassifier(
        max_iter=rounds, max_leaf_nodes=2, learning_rate=0.2, random_state=0
    )
    native = HistGradientBoostingClassifier(
        max_iter=rounds, max_leaf_nodes=4, categorical_features="from_dtype", random_state=0
    )
    forest = RandomForestClassifier(trees, min_samples_leaf=5, random_state=0)
    mixture = {"gate": SoftmaxGate(alpha=0.01), "tol": 1e-3, "random_state": 0}
    # Each of these two brings its own preparation; the gate takes the numeric columns.
    mixed = [("logistic", make_pipeline(prepare, logistic)), ("native", native)]
    return [
        ("logistic regression", search(logistic, C=[0.01, 0.1, 1.0])),
        ("k-means, then logistic", search(ClusterThenClassify(logistic), n_clusters=[2, 3, 4])),
        ("MoE, linear", lines),
        ("boosted stumps", make_pipeline(prepare, stumps)),
        (
            "MoE, 2 x boosted stumps",
            make_pipeline(prepare, MoEClassifier(stumps, n_experts=2, **mixture)),
        ),
        ("boosting, native categories", native),
        ("MoE, logistic + boosting, native", MoEClassifier(mixed, **mixture)),
        ("random forest", make_pipeline(prepare, forest)),
    ]


# --- the comparison -------------------------------------------------------------------


def run_fold(model, X, y, train, test):
    """Fit on one part and judge on the other: (error or accuracy, log-likelihood, seconds)."""
    with warnings.catch_warnings():
        # A search tries settings that do not converge within max_iter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        began = time.perf_counter()
        model = clone(model).fit(X.iloc[train], y[train])
        seconds = time.perf_counter() - began
    right = model.predict(X.iloc[test])
    if hasattr(model, "predict_proba"):
        quality = np.mean(right == y[test])
    else:
        quality = np.sqrt(np.mean((right - y[test]) ** 2))
    return quality, mean_log_likelihood(model, X.iloc[test], y[test]), seconds


def compare(title, models, X, y, splitter, quality, n_jobs):
    """Print one row per model as soon as its folds are done; return the means."""
    print(f"\n{title}, {splitter.n_splits} folds")
    print(f"{'':<38}{quality:>10}{'log-likelihood':>16}{'seconds per fit':>17}", flush=True)
    folds, means = list(splitter.split(X, y)), {}
    with Parallel(n_jobs=n_jobs) as parallel:
        for name, model in models:
            rows = parallel(delayed(run_fold)(model, X, y, *fold) for fold in folds)
            means[name] = np.mean(rows, axis=0)
            # Kernels are compiled in the first folds of a new machine.
            means[name][2] = np.median(rows, axis=0)[2]
            first, second, third = means[name]
            print(f"{name:<38}{first:>10.3f}{second:>16.3f}{third:>17.2f}", flush=True)
    return means


# --- the picture ----------------------------------------------------------------------

INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
# Okabe and Ito's colours can be told apart by the colour-blind, too.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"]


def quantiles(model, X, level):
    """Quantile (n,) of a mixture of normal laws, by bisection of its distribution."""
    weights, means = model.gate_proba(X), model.predict_experts(X)
    scales = model.likelihood_.scale_
    low, high = (means - 9 * scales).min(axis=1), (means + 9 * scales).max(axis=1)
    for _ in range(60):
        middle = (low + high) / 2
        below = (weights * norm.cdf(middle[:, None], means, scales)).sum(axis=1) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


def draw_fading_line(axes, x, line, strength, colour):
    """A line that fades into the paper where its strength (n,) in [0, 1] is small."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    points = np.column_stack([x, line])
    segments = np.stack([points[:-1], points[1:]], axis=1)
    share = strength[:-1, None]
    tint = share * np.array(to_rgb(colour)) + (1 - share)
    seen = share[:, 0] > 0.1
    axes.add_collection(
        LineCollection(segments[seen], colors=tint[seen], linewidths=4, capstyle="round")
    )


def draw(model, X, y, path):
    """Lines of the experts, the gate's probabilities, and the predictive law."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    name = X.columns[0]
    x = np.linspace(X[name].min() - 1, X[name].max() + 1, 600)
    grid = X.iloc[[0]].reindex([0] * len(x)).assign(**{name: x})
    proba, lines = model.gate_proba(grid), model.predict_experts(grid)
    order = np.argsort(x @ proba / proba.sum(axis=0))  # from left to right
    style = {"font.size": 11, "axes.edgecolor": MUTED, "axes.labelcolor": INK}
    with plt.rc_context(style):
        figure, (top, middle, bottom) = plt.subplots(
            3, 1, figsize=(8, 8.6), sharex=True, height_ratios=[3, 1.15, 3], layout="constrained"
        )
        owner = model.gate_proba(X).argmax(axis=1)
        for number, k in enumerate(order):
            colour = COLOURS[number % len(COLOURS)]
            draw_fading_line(top, x, lines[:, k], proba[:, k], colour)
            rows = owner == k
            top.scatter(X[name][rows], y[rows], s=22, color=colour, ec="w", lw=0.5, zorder=3)
            middle.plot(x, proba[:, k], color=colour, lw=2.2)
            centre = np.average(x, weights=proba[:, k] ** 2)
            middle.text(
                centre, 1.07, f"expert {number + 1}", ha="center", color=colour, weight="bold"
            )
        low, high = quantiles(model, grid, 0.05), quantiles(model, grid, 0.95)
        bottom.fill_between(x, low, high, color="#9db4c8", alpha=0.5, lw=0, label="90 % band")
        bottom.plot(x, model.predict(grid), color=INK, lw=2, label="mean")
        bottom.scatter(X[name], y, s=16, color=MUTED, ec="w", lw=0.4, label="data", zorder=3)
        bottom.legend(frameon=False, loc="lower right", ncols=3)
        titles = [
            "Experts: one line each, as strong as the gate trusts it",
            "Gate: probability of each expert",
            "Mixture: predictive mean and 90 % band",
        ]
        for axes, title in zip((top, middle, bottom), titles):
            axes.set_title(title, loc="left", color=INK, fontsize=12, weight="bold")
            axes.grid(color=GRID, lw=0.7)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(colors=MUTED, labelcolor=INK)
        for axes in (top, bottom):
            axes.set_ylabel("acceleration (g)")
        top.set_ylim(-150, 100)
        bottom.set_ylim(1.03 * low.min(), 1.08 * high.max())
        middle.set(ylabel="probability", ylim=(0, 1.22), yticks=[0, 0.5, 1])
        bottom.set(xlabel="time after the impact (ms)", xlim=(x[0], x[-1]))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
        plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rows, folds and trees")
    parser.add_argument("--jobs", type=int, default=2, help="folds that run side by side")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the picture goes")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    n_folds, n_jobs = (2 if options.quick else 5), options.jobs

    X, y = load_concrete(return_X_y=True, as_frame=True)
    keep = np.random.default_rng(0).permutation(len(y))[: 200 if options.quick else None]
    compare(
        "Concrete: strength in MPa",
        regression_models(options.quick),
        X.iloc[keep].reset_index(drop=True),
        y.to_numpy()[keep],
        KFold(n_folds, shuffle=True, random_state=0),
        "RMSE",
        n_jobs,
    )
    X, y = load_credit(return_X_y=True)
    keep = np.random.default_rng(0).permutation(len(y))[: 300 if options.quick else None]
    compare(
        "Credit: good or bad risk",
        classification_models(options.quick),
        X.iloc[keep].reset_index(drop=True),
        y.to_numpy()[keep],
        StratifiedKFold(n_folds, shuffle=True, random_state=0),
        "accuracy",
        n_jobs,
    )
    X, y = load_mcycle(return_X_y=True, as_frame=True)
    model = MoERegressor(n_experts=4, random_state=0).fit(X, y)
    draw(model, X, y.to_numpy(), options.picture)
    print(f"\nPicture: {os.path.relpath(options.picture)}")
    print(f"{time.perf_counter() - began:.0f} seconds in total")


if __name__ == "__main__":
    main()
