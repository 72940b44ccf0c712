"""Likelihoods of counts and of heavy tails, by held-out log-likelihood.

Doctor visits: Poisson, negative binomial and zero-inflated experts, one to three of them.
Outliers: Gaussian against Student's t experts on sets whose errors have heavy tails. Five
folds each; numbers are means per row of held-out log-likelihoods in units of the target, their
differences from the first law with as many experts, and standard errors of the differences.
Sets that are not shipped are read from the folder in SKMOE_DATA.

    python benchmarks/bench_likelihoods.py [doctor_visits] [outliers]
"""

import common  # isort: skip  (first: it sets the number of threads)

import csv
import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold

from skmoe import MoERegressor
from skmoe.datasets import read_dataset
from skmoe.likelihoods import StudentT

COUNTS = (
    "poisson",
    "negative_binomial",
    "zero_inflated_poisson",
    "zero_inflated_negative_binomial",
)
ERRORS = {"gaussian": "gaussian", "student_t": StudentT("estimate"), "laplace": "laplace"}
# Name: rows at most, in random order.
OUTLIERS = {"nox": 4000, "kc_housing": 4000, "concrete": None}


def doctor_visits():
    X, y = read_dataset("doctor_visits", return_X_y=True)
    X = pd.get_dummies(X, drop_first=True).astype(float)
    X["age squared"] = X["age"] ** 2
    return X.to_numpy(), y.to_numpy(float)


def numeric(name, n_rows):
    X, y = read_dataset(name, return_X_y=True)
    X, y = X.select_dtypes("number").to_numpy(float), y.to_numpy(float)
    order = np.random.RandomState(0).permutation(len(y))[:n_rows]
    return X[order], y[order]


def held_out(X, y, likelihood, n_experts):
    """Log-likelihoods (n,) of rows by models of the other four folds."""
    found = np.empty(len(y))
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        model = MoERegressor(None, n_experts, likelihood=likelihood, random_state=0)
        model.fit(X[train], y[train])
        found[test] = model.log_likelihood(X[test], y[test])
    return found


def rows_of(name, X, y, laws, numbers):
    for n_experts in numbers:
        first = None
        for law, likelihood in laws.items():
            found = held_out(X, y, likelihood, n_experts)
            first = found if first is None else first
            gain = found - first
            error = gain.std() / np.sqrt(len(gain))
            numbers_of_row = (found.mean(), gain.mean(), error)
            yield (name, law, n_experts, *(round(value, 4) for value in numbers_of_row))


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    wanted, table = sys.argv[1:] or ["doctor_visits", "outliers"], []
    if "doctor_visits" in wanted:
        laws = {name: name for name in COUNTS}
        table += list(shown(rows_of("doctor_visits", *doctor_visits(), laws, (1, 2, 3, 4))))
    if "outliers" in wanted:
        for name, n_rows in OUTLIERS.items():
            table += list(shown(rows_of(name, *numeric(name, n_rows), ERRORS, (1, 3))))
    with open(common.RESULTS / "likelihoods.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "likelihood", "n_experts", "loglik", "gain", "standard_error"])
        writer.writerows(table)


def shown(rows):
    for row in rows:
        print(*row, sep="  ", flush=True)
        yield row


if __name__ == "__main__":
    main()
