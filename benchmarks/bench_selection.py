"""How many experts: n_experts="auto" against the best fixed number in hindsight.

For each data set and fold, mixtures with 1 to 10 experts and with a chosen number are fitted
to the other folds, and their log-likelihood is measured on the fold. What is done stays in
results/selection.csv: run it again to go on. Sets that are not shipped are read from the
folder in SKMOE_DATA.

    python benchmarks/bench_selection.py [--quick] [set ...]
"""

import common  # isort: skip  (first: it sets the number of threads)

import argparse
import csv
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import read_dataset
from skmoe.selection import Grow

MOST = 10
CRITERIA = ("auto", "bic")  # more by --criteria
# Name: rows at most, whether the target is taken as its logarithm.
REGRESSION = {
    "co2data": (None, False),
    "nodata": (None, False),
    "mcycle": (None, False),
    "tonedata": (None, False),
    "concrete": (None, False),
    "nox": (None, False),
    "diamonds": (5000, False),
    "log diamonds": (5000, True),
    "kc_housing": (8000, False),
    "log kc_housing": (8000, True),
}
CLASSIFICATION = {"vowel": (None, False), "satellite": (2000, False)}
# Five folds of so few rows say little: they are drawn twice. Seeds 0 and 1 of these folds
# were those on which the default criterion was chosen.
FEW_ROWS, SEEDS = 200, (2, 3)
QUICK = ("mcycle", "nodata", "tonedata", "co2data")


def read(name):
    """Numeric features and the target of a set, in random order."""
    n_rows, logarithm = {**REGRESSION, **CLASSIFICATION}[name]
    X, y = read_dataset(name.split()[-1], return_X_y=True)
    X, y = X.select_dtypes("number").to_numpy(float), y.to_numpy()
    order = np.random.RandomState(0).permutation(len(y))[:n_rows]
    y = np.log(y[order]) if logarithm else y[order]
    return X[order], y


def folds_of(name, X, y):
    """Pairs (seed, fold) and (train, test) rows."""
    kind = StratifiedKFold if name in CLASSIFICATION else KFold
    for seed in SEEDS if len(y) < FEW_ROWS else SEEDS[:1]:
        splits = kind(5, shuffle=True, random_state=seed).split(X, y)
        for fold, rows in enumerate(splits):
            yield (seed, fold), rows


def models(name, rules):
    """Unfitted models by name of the rule."""
    kind = MoEClassifier if name in CLASSIFICATION else MoERegressor
    for k in range(1, MOST + 1):
        yield f"K={k}", kind(n_experts=k, random_state=0)
    for criterion in rules:
        yield criterion, kind(n_experts=Grow(criterion=criterion), random_state=0)


def measure(name, path, done, rules):
    """Append what is missing for one set to the file of results."""
    X, y = read(name)
    for (seed, fold), (train, test) in folds_of(name, X, y):
        for rule, model in models(name, rules):
            if (name, str(seed), str(fold), rule) in done:
                continue
            began = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(X[train], y[train])
            seconds = time.process_time() - began
            loglik = model.log_likelihood(X[test], y[test])
            error = loglik.std() / np.sqrt(len(loglik))
            row = [name, seed, fold, rule, model.n_experts_, len(y)]
            row += [f"{loglik.mean():.6f}", f"{error:.6f}", f"{seconds:.3f}"]
            with path.open("a", newline="") as file:
                csv.writer(file).writerow(row)


COLUMNS = ["data", "seed", "fold", "rule", "n_experts", "rows", "loglik", "error", "seconds"]


def table(found, rule):
    """One row per set: what a rule chose and lost against the best number in hindsight."""
    rows = []
    for name, of_set in found.groupby("data", sort=False):
        fixed = of_set[of_set["rule"].str.startswith("K=")].pivot_table(
            "loglik", ["seed", "fold"], "n_experts"
        )
        chosen = of_set[of_set["rule"] == rule].set_index(["seed", "fold"])
        alone = of_set[of_set["rule"] == "K=1"].set_index(["seed", "fold"])
        if fixed.isna().any(axis=None) or len(chosen) < len(fixed):
            continue
        means = fixed.mean()
        gain = chosen["loglik"] - alone["loglik"]
        rows.append(
            {
                "data": name,
                "rows": of_set["rows"].iloc[0],
                "best K": means.idxmax(),
                "chosen": " ".join(map(str, chosen["n_experts"][SEEDS[0]])),
                "regret": round(means.max() - chosen["loglik"].mean(), 3),
                "gain on K=1": round(gain.mean(), 3),
                "its error": round(np.sqrt((alone["error"] ** 2).mean() / 5), 3),
                "seconds": round(chosen["seconds"].mean(), 2),
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", help="names of sets; all by default")
    parser.add_argument("--quick", action="store_true", help="small sets only, not kept")
    parser.add_argument("--criteria", nargs="*", default=CRITERIA, help="rules that choose")
    options = parser.parse_args()
    name = "selection_short" if options.quick else "selection"
    path = common.RESULTS / f"{name}.csv"
    if not path.exists():
        path.write_text(",".join(COLUMNS) + "\n")
    done = set(map(tuple, pd.read_csv(path, dtype=str)[COLUMNS[:4]].to_numpy()))
    for data in options.sets or (QUICK if options.quick else [*REGRESSION, *CLASSIFICATION]):
        measure(data, path, done, options.criteria)
    found = pd.read_csv(path).drop_duplicates(COLUMNS[:4])
    for rule in options.criteria:
        rows = table(found, rule)
        print(f"\n{rule}")
        print(pd.DataFrame(rows).to_string(index=False))
        real = [row for row in rows if row["data"] in REGRESSION]
        values = [row["regret"] for row in real]
        if values:
            print(f"regret: mean {np.mean(values):.3f}, largest {np.max(values):.3f}")


if __name__ == "__main__":
    main()
