"""Joint training of neural experts against EM with MLPRegressor experts, on held-out rows.

Needs the folder of data sets in ``SKMOE_DATA``. Prints the table of docs/joint.md and writes
results/joint.csv. Three fixed folds of at most ``--rows`` rows of each set; CPU seconds of
``fit`` on one thread. Every method sees standardised features and target, four experts with
16 hidden units and a softmax gate. EM is run to several numbers of iterations, out of fold
with networks trained to the end, and in sample with networks trained for 20 epochs, which take
less time.
"""

import argparse
import csv
import warnings
from functools import partial

import common
import numpy as np
import pandas as pd
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from skmoe import MoERegressor
from skmoe.datasets import read_dataset
from skmoe.experts import MLPExpert
from skmoe.solvers import Minibatch

SETS = ("concrete", "diamonds", "kc_housing", "nox")


def models():
    """Models by name."""
    common_settings = {"n_experts": 4, "random_state": 0}
    stopping = Minibatch(n_epochs=100, early_stopping=True, n_iter_no_change=10)
    yield "joint, L-BFGS", MoERegressor(MLPExpert(), solver="gradient", **common_settings)
    yield "joint, minibatch", MoERegressor(MLPExpert(), solver=stopping, **common_settings)
    settings = {"solver": "em", **common_settings}
    network = MLPRegressor(hidden_layer_sizes=(16,))
    for n in (1, 3):
        yield f"EM, out of fold, {n}", MoERegressor(network, max_iter=n, **settings)
    quick = MLPRegressor(hidden_layer_sizes=(16,), max_iter=20)
    for n in (1, 3, 10):
        model = MoERegressor(quick, max_iter=n, cross_fit=None, **settings)
        yield f"EM, 20 epochs, {n}", model


def read(name, n_rows, skip=0):
    """Numbers (n, d) and a target (n,) of some rows."""
    X, y = read_dataset(name, return_X_y=True)
    rows = np.sort(np.random.RandomState(0).permutation(len(y))[skip : skip + n_rows])
    X, y = X.iloc[rows], np.asarray(y)[rows]
    for column in X.columns:
        if isinstance(X[column].dtype, pd.CategoricalDtype) and X[column].cat.ordered:
            X = X.assign(**{column: X[column].cat.codes})
    X = pd.get_dummies(X, dtype=float)
    return X.fillna(X.median()).to_numpy(dtype=float), y


def folds(X, y):
    """Training and test parts, standardised as the training parts are."""
    for train, test in KFold(3, shuffle=True, random_state=0).split(X):
        scaler = StandardScaler().fit(X[train])
        mean, scale = y[train].mean(), y[train].std()
        rows = [(scaler.transform(X[part]), (y[part] - mean) / scale) for part in (train, test)]
        yield *rows[0], *rows[1]


def run(name, n_rows):
    """Rows (set, fold, model, CPU seconds, held-out log-likelihood, RMSE)."""
    X, y = read(name, n_rows)
    for fold, (train_X, train_y, test_X, test_y) in enumerate(folds(X, y)):
        for label, model in models():
            cpu, _, _ = common.clocks(partial(model.fit, train_X, train_y))
            loglik = model.log_likelihood(test_X, test_y).mean()
            rmse = np.sqrt(np.mean(np.square(model.predict(test_X) - test_y)))
            yield name, fold, label, cpu, loglik, rmse


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--sets", nargs="*", default=SETS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    first = MoERegressor(MLPExpert((2,)), n_experts=2, max_iter=2)
    first.fit(np.random.RandomState(0).normal(size=(50, 2)), np.arange(50.0))  # compile
    path = common.RESULTS / "joint.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["set", "fold", "model", "cpu_seconds", "log_likelihood", "rmse"])
        for name in options.sets:
            found = []
            for row in run(name, options.rows):
                found.append(row)
                writer.writerow([*row[:3], *(f"{value:.4f}" for value in row[3:])])
                file.flush()
            table = pd.DataFrame(found, columns=["set", "fold", "model", "cpu", "loglik", "rmse"])
            means = table.groupby("model", sort=False)[["cpu", "loglik", "rmse"]].mean()
            print(name, means.round(3).to_string(), sep="\n", flush=True)


if __name__ == "__main__":
    main()
