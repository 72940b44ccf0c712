"""Pools of fitted models: gated by skmoe, stacked by scikit-learn, and the best member.

Writes results/pool.csv and prints the table of docs/pools.md. ``--rows`` limits the rows
of each set (a random subsample), ``--sets`` names some of them. Folds are drawn in several
shuffles, and all figures are means over them.
"""

import argparse
import csv
import warnings

import common
import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import read_dataset
from skmoe.solvers import Pool

REGRESSION = ("concrete", "diamonds", "kc_housing", "nox")
CLASSIFICATION = ("vowel", "satellite", "spam", "credit")
SMOOTHING = 1e-3
_FITS = {}


class _Once(BaseEstimator):
    """Fits the same estimator to the same rows once, whoever asks."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        key = joblib.hash((type(self.estimator), self.estimator.get_params(), X, y))
        if key not in _FITS:
            _FITS[key] = clone(self.estimator).fit(X, y)
        self.fitted_ = _FITS[key]
        if hasattr(self.fitted_, "classes_"):
            self.classes_ = self.fitted_.classes_
        return self

    def predict(self, X):
        return self.fitted_.predict(X)


class OnceRegressor(RegressorMixin, _Once):
    """`_Once` for regressors."""


class OnceClassifier(ClassifierMixin, _Once):
    """`_Once` for classifiers."""

    def predict_proba(self, X):
        return self.fitted_.predict_proba(X)


def regressors():
    mlp = MLPRegressor(hidden_layer_sizes=(64,), alpha=1e-3, max_iter=300, random_state=0)
    members = {
        "Ridge": make_pipeline(StandardScaler(), Ridge()),
        "HistGradientBoosting": HistGradientBoostingRegressor(random_state=0),
        "RandomForest": RandomForestRegressor(random_state=0),
        "KNN": make_pipeline(StandardScaler(), KNeighborsRegressor()),
        "MLP": TransformedTargetRegressor(
            make_pipeline(StandardScaler(), mlp), transformer=StandardScaler()
        ),
    }
    return [(name, OnceRegressor(member)) for name, member in members.items()]


def classifiers():
    mlp = MLPClassifier(hidden_layer_sizes=(64,), alpha=1e-3, max_iter=300, random_state=0)
    members = {
        "LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
        "RandomForest": RandomForestClassifier(random_state=0),
        "KNN": make_pipeline(StandardScaler(), KNeighborsClassifier()),
        "MLP": make_pipeline(StandardScaler(), mlp),
    }
    return [(name, OnceClassifier(member)) for name, member in members.items()]


def read(name, n_rows):
    """Numbers (n, d) and a target; categories by code if ordered, else one column each."""
    X, y = read_dataset(name, return_X_y=True)
    rows = np.sort(np.random.RandomState(0).permutation(len(y))[:n_rows])
    X, y = X.iloc[rows], np.asarray(y)[rows]
    for column in X.columns:
        if isinstance(X[column].dtype, pd.CategoricalDtype) and X[column].cat.ordered:
            X = X.assign(**{column: X[column].cat.codes})
    X = pd.get_dummies(X, dtype=float)
    return X.fillna(X.median()).to_numpy(dtype=float), y


def gaussian(y, mean, std):
    return np.mean(-0.5 * np.square((y - mean) / std) - np.log(std * np.sqrt(2 * np.pi)))


def run_regression(X, y, train, test, splitter):
    """Rows (model, log-likelihood, RMSE) of one outer fold."""
    members = regressors()

    def rmse(pred):
        return np.sqrt(np.mean(np.square(pred - y[test])))

    for name, member in members:
        out_of_fold = cross_val_predict(member, X[train], y[train], cv=splitter)
        std = np.sqrt(np.mean(np.square(y[train] - out_of_fold)))
        pred = clone(member).fit(X[train], y[train]).predict(X[test])
        yield name, gaussian(y[test], pred, std), rmse(pred)
    for loss in ("log", "squared"):
        pool = MoERegressor(members, solver=Pool(loss=loss), cross_fit=splitter, random_state=0)
        pool.fit(X[train], y[train])
        loglik = pool.log_likelihood(X[test], y[test]).mean()
        yield f"skmoe, {loss}", loglik, rmse(pool.predict(X[test]))
    stack = StackingRegressor(members, cv=splitter).fit(X[train], y[train])
    yield "StackingRegressor", np.nan, rmse(stack.predict(X[test]))


def run_classification(X, y, train, test, splitter):
    """Rows (model, log-likelihood, error in percent) of one outer fold."""
    members, labels = classifiers(), np.unique(y)

    def scores(proba):
        loss = log_loss(y[test], proba, labels=labels)
        return -loss, 100 * (1 - accuracy_score(y[test], labels[proba.argmax(axis=1)]))

    for name, member in members:
        proba = clone(member).fit(X[train], y[train]).predict_proba(X[test])
        # As smooth as in the pool: some are exactly 0.
        yield name, *scores((1 - SMOOTHING) * proba + SMOOTHING / len(labels))
    pool = MoEClassifier(members, solver=Pool(), cross_fit=splitter, random_state=0)
    yield "skmoe, log", *scores(pool.fit(X[train], y[train]).predict_proba(X[test]))
    stack = StackingClassifier(members, cv=splitter).fit(X[train], y[train])
    yield "StackingClassifier", *scores(stack.predict_proba(X[test]))


def run_set(name, n_rows, n_folds, n_shuffles):
    """(log-likelihood, error) of each outer fold by model, and the number of rows."""
    X, y = read(name, n_rows)
    regress = name in REGRESSION
    kind, run = (KFold, run_regression) if regress else (StratifiedKFold, run_classification)
    found = {}
    for shuffle in range(n_shuffles):
        for train, test in kind(n_folds, shuffle=True, random_state=shuffle).split(X, y):
            _FITS.clear()
            for model, *values in run(X, y, train, test, kind(5, shuffle=True, random_state=1)):
                found.setdefault(model, []).append(values)
    return {model: np.array(values) for model, values in found.items()}, len(y)


def against_stacking(results):
    """Lines on the RMSE of the squared loss relative to that of stacking, fold by fold."""
    ratios = {
        name: 100 * (found["skmoe, squared"][:, 1] / found["StackingRegressor"][:, 1] - 1)
        for name, (found, _) in results.items()
    }
    ratios["all"] = np.concatenate(list(ratios.values()))
    return [
        f"squared loss against stacking, {name}: {np.mean(r):+.2f} % (standard error "
        f"{np.std(r, ddof=1) / np.sqrt(len(r)):.2f}, {len(r)} folds)"
        for name, r in ratios.items()
    ]


def table(results, members):
    """Lines of a Markdown table."""
    results = {
        name: ({model: values.mean(axis=0) for model, values in found.items()}, n_rows)
        for name, (found, n_rows) in results.items()
    }
    others = [m for m in next(iter(results.values()))[0] if m not in members]
    lines = ["| set (rows) | best member | " + " | ".join(others) + " |"]
    lines.append("|---" * (len(others) + 2) + "|")
    for name, (found, n_rows) in results.items():
        best = max(members, key=lambda m: found[m][0])
        least = min(members, key=lambda m: found[m][1])
        cells = [f"{found[best][0]:.3f} ({best}) / {found[least][1]:.4g} ({least})"]
        for model in others:
            loglik, error = found[model]
            cells.append(f"{'' if np.isnan(loglik) else f'{loglik:.3f} / '}{error:.4g}")
        lines.append(f"| {name} ({n_rows}) | " + " | ".join(cells) + " |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--shuffles", type=int, default=4)
    parser.add_argument("--sets", nargs="*", default=REGRESSION + CLASSIFICATION)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    common.RESULTS.mkdir(exist_ok=True)
    with open(common.RESULTS / "pool.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "rows", "model", "log_likelihood", "rmse_or_error_percent"])
        for names, members in ((REGRESSION, regressors()), (CLASSIFICATION, classifiers())):
            results = {}
            for name in [n for n in options.sets if n in names]:
                results[name] = run_set(name, options.rows, options.folds, options.shuffles)
                found, n_rows = results[name]
                for model, values in found.items():
                    means = (f"{mean:.6g}" for mean in values.mean(axis=0))
                    writer.writerow([name, n_rows, model, *means])
                file.flush()
            if results:
                print("\n".join(table(results, [member for member, _ in members])), flush=True)
            if results and names is REGRESSION:
                print("\n".join(against_stacking(results)), flush=True)


if __name__ == "__main__":
    main()
