"""Likelihoods of counts and of heavy tails, by held-out log-likelihood.

Doctor visits: Poisson, negative binomial and zero-inflated experts, one to four of them.
Outliers: Gaussian against Student's t experts on sets whose errors have heavy tails. Five
folds, of counts in four shuffles, since an optimum more or less in one fold moves the mean by
0.01. Numbers are means per row of held-out log-likelihoods in units of the target, their
differences from the first law with as many experts, and standard errors of the differences.
For counts: also differences from the best mixture of the first law.
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


def held_out(X, y, likelihood, n_experts, n_shuffles):
    """Log-likelihoods (n_shuffles, n) of rows by models of the other four folds."""
    found = np.empty((n_shuffles, len(y)))
    for shuffle in range(n_shuffles):
        for train, test in KFold(5, shuffle=True, random_state=shuffle).split(X):
            model = MoERegressor(None, n_experts, likelihood=likelihood, random_state=0)
            model.fit(X[train], y[train])
            found[shuffle, test] = model.log_likelihood(X[test], y[test])
    return found


def gain_of(found, other):
    """Mean gain and its standard error over rows, each a mean over shuffles."""
    gain = (found - other).mean(axis=0)
    return gain.mean(), gain.std() / np.sqrt(len(gain))


def rows_of(name, X, y, laws, numbers, n_shuffles=1):
    by_first = {}
    for n_experts in numbers:
        for law, likelihood in laws.items():
            found = held_out(X, y, likelihood, n_experts, n_shuffles)
            first = by_first.setdefault(n_experts, found)
            if n_shuffles > 1:
                by_first[law, n_experts] = found
            yield (name, law, n_experts, *rounded(found.mean(), *gain_of(found, first)))
    if n_shuffles > 1:
        yield from against_the_best(name, by_first, laws, numbers)


def against_the_best(name, found, laws, numbers):
    """Each law with its best number of experts against the first law with its own."""
    means = {key: value.mean() for key, value in found.items() if isinstance(key, tuple)}
    best = {law: max((k for k in means if k[0] == law), key=means.get) for law in laws}
    first = found[best[next(iter(laws))]]
    for law in laws:
        own = found[best[law]]
        wins = int(((own - first).mean(axis=1) > 0).sum())
        label = f"{name}, best numbers, {wins} of {len(own)} shuffles"
        yield (label, law, best[law][1], *rounded(own.mean(), *gain_of(own, first)))


def rounded(*values):
    return tuple(round(float(value), 4) for value in values)


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    wanted, table = sys.argv[1:] or ["doctor_visits", "outliers"], []
    if "doctor_visits" in wanted:
        laws = {name: name for name in COUNTS}
        table += list(shown(rows_of("doctor_visits", *doctor_visits(), laws, (1, 2, 3, 4), 4)))
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
