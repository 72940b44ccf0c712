"""Competing against cooperating experts, and one gate against one for each output.

Needs the folder of data sets in ``SKMOE_DATA``. Prints the tables of docs/joint.md and
docs/outputs.md and writes results/objective.csv and results/outputs.csv. Three fixed folds of
at most ``--rows`` rows of each set, standardised features and targets; nothing was chosen on
them.
"""

import argparse
import csv
import warnings

import common
import numpy as np
import pandas as pd
from bench_joint import SETS, folds, read
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from skmoe import MoERegressor
from skmoe.datasets import read_dataset
from skmoe.experts import MLPExpert
from skmoe.solvers import Gradient, Minibatch

K = {"n_experts": 4, "random_state": 0}
# Targets of sets that have several, and the logarithm of which is taken.
SEVERAL = {
    "diamonds": (["price", "depth", "table"], ["price"]),
    "kc_housing": (["price", "sqft_living", "grade"], ["price", "sqft_living"]),
}


def stopping(**options):
    return Minibatch(n_epochs=100, early_stopping=True, n_iter_no_change=10, **options)


def objectives(name, n_rows):
    """Rows (set, fold, model, log-likelihood, RMSE)."""
    X, y = read(name, n_rows)
    for fold, (train_X, train_y, test_X, test_y) in enumerate(folds(X, y)):
        for goal in ("likelihood", "prediction"):
            linear = MoERegressor(solver=Gradient(objective=goal), **K)
            neural = MoERegressor(MLPExpert(), solver=stopping(objective=goal), **K)
            for label, model in (("linear", linear), ("neural", neural)):
                model.fit(train_X, train_y)
                loglik = model.log_likelihood(test_X, test_y).mean()
                rmse = np.sqrt(np.mean(np.square(model.predict(test_X) - test_y)))
                yield name, fold, f"{label}, {goal}", loglik, rmse


def outputs(name, n_rows):
    """Rows (set, fold, model, log-likelihood of all targets, mean RMSE)."""
    X, y = several(name, n_rows)
    for fold, (train, test) in enumerate(KFold(3, shuffle=True, random_state=0).split(X)):
        scalers = [StandardScaler().fit(part[train]) for part in (X, y)]
        rows = [[s.transform(part[i]) for s, part in zip(scalers, (X, y))] for i in (train, test)]
        (train_X, train_y), (test_X, test_y) = rows
        models = {
            "one gate": {"n_experts": 4},
            "one gate, 8 experts": {"n_experts": 8},
            "a gate per output": {"n_experts": 4, "gate_per_output": True},
        }
        for label, settings in models.items():
            model = MoERegressor(MLPExpert(), solver=stopping(), random_state=0, **settings)
            model.fit(train_X, train_y)
            loglik = model.log_likelihood(test_X, test_y).mean()
            yield name, fold, label, loglik, error(model.predict(test_X), test_y)
        single = [
            MoERegressor(MLPExpert(), solver=stopping(), **K).fit(train_X, target)
            for target in train_y.T
        ]
        pairs = list(zip(single, test_y.T, strict=True))
        loglik = sum(model.log_likelihood(test_X, target).mean() for model, target in pairs)
        predicted = np.column_stack([model.predict(test_X) for model in single])
        yield name, fold, "separate models", loglik, error(predicted, test_y)


def error(predicted, y):
    return np.sqrt(np.mean(np.square(predicted - y), axis=0)).mean()


def several(name, n_rows):
    """Numbers (n, d) and several targets (n, m) of some rows."""
    X, y = read_dataset(name, return_X_y=True)
    rows = np.sort(np.random.RandomState(0).permutation(len(y))[:n_rows])
    frame = X.assign(**{y.name: y}).iloc[rows]
    names, logs = SEVERAL[name]
    frame[logs] = np.log(frame[logs])
    X, _ = frame.drop(columns=names), None
    for column in X.columns:
        if isinstance(X[column].dtype, pd.CategoricalDtype) and X[column].cat.ordered:
            X = X.assign(**{column: X[column].cat.codes})
    X = pd.get_dummies(X, dtype=float)
    return X.fillna(X.median()).to_numpy(dtype=float), frame[names].to_numpy(dtype=float)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1500)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for file, run, sets in (("outputs", outputs, SEVERAL), ("objective", objectives, SETS)):
        columns = ["set", "fold", "model", "log_likelihood", "rmse"]
        with open(common.RESULTS / f"{file}.csv", "w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            for name in sets:
                found = list(run(name, options.rows))
                writer.writerows(
                    [*row[:3], *(f"{value:.4f}" for value in row[3:])] for row in found
                )
                table = pd.DataFrame(found, columns=columns).groupby("model", sort=False)
                means = table[["log_likelihood", "rmse"]].mean()
                print(name, means.round(3).to_string(), sep="\n", flush=True)


if __name__ == "__main__":
    main()
