"""Coverage and width of predictive intervals on held-out folds of real data.

Linear experts with their number by BIC (``n_experts="auto"``), all other settings default.
Five folds; a row of the table says which share of held-out targets lay inside of the central
90 % interval, how far the widths go, and how uniform the probability integral transforms are
(the largest distance of their distribution from the uniform one). The same for one expert.
Sets that are not shipped are read from the folder in SKMOE_DATA.

    python benchmarks/bench_intervals.py [concrete] [kc_housing] [nox] [diamonds]
"""

import common  # isort: skip  (first: it sets the number of threads)

import sys
import time
import warnings

import numpy as np
import pandas as pd
from scipy.stats import kstest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold

from skmoe import MoERegressor
from skmoe.datasets import read_dataset

SETS = ("concrete", "kc_housing", "nox", "diamonds")
LEVEL = 0.9


def rows_of(name):
    X, y = read_dataset(name, return_X_y=True)
    X = pd.get_dummies(X, drop_first=True).to_numpy(float)
    return X, y.to_numpy(float)


def measured(name, n_experts):
    """One row of the table."""
    X, y = rows_of(name)
    inside, width, pit, score = (np.empty(len(y)) for _ in range(4))
    fold_of, numbers = np.empty(len(y), dtype=int), []
    start = time.process_time()
    for fold, (train, test) in enumerate(KFold(5, shuffle=True, random_state=0).split(X)):
        model = MoERegressor(None, n_experts, random_state=0).fit(X[train], y[train])
        dist = model.predict_dist(X[test])
        lower, upper = dist.interval(LEVEL)
        inside[test] = (lower <= y[test]) & (y[test] <= upper)
        width[test], fold_of[test] = upper - lower, fold
        pit[test], score[test] = dist.pit(y[test]), dist.crps(y[test])
        numbers.append(len(model.experts_))
    by_fold = [inside[fold_of == fold].mean() for fold in range(5)]
    return {
        "set": name,
        "rows": len(y),
        "n_experts": n_experts,
        "chosen": "/".join(map(str, numbers)),
        "coverage": round(inside.mean(), 4),
        "least_fold": round(min(by_fold), 4),
        "most_fold": round(max(by_fold), 4),
        "width": round(width.mean() / y.std(), 4),
        "width_10": round(np.quantile(width, 0.1) / y.std(), 4),
        "width_90": round(np.quantile(width, 0.9) / y.std(), 4),
        "crps": round(score.mean() / y.std(), 4),
        "ks": round(kstest(pit, "uniform").statistic, 4),
        "cpu_s": round(time.process_time() - start, 1),
    }


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    table = []
    for name in sys.argv[1:] or SETS:
        for n_experts in (1, "auto"):
            table.append(measured(name, n_experts))
            print(*table[-1].values(), flush=True)
    if len(sys.argv) == 1:
        common.save("intervals", table)


if __name__ == "__main__":
    main()
