"""Gates of classifiers: held-out log-likelihood against one expert, by gate and kind of expert.

Means over five folds of log-likelihoods per row, and how many folds have a higher one than
one expert of the same kind. Sets that are not shipped are read from the folder in SKMOE_DATA.

    python benchmarks/bench_gates.py [vowel] [satellite]
"""

import common  # isort: skip  (first: it sets the number of threads)

import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier

from skmoe import MoEClassifier
from skmoe.datasets import read_dataset
from skmoe.gates import HierarchicalGate, MLPGate

# Rows at most, chosen at random, and the experts that are tried.
SETS = {"vowel": (None, "linear"), "satellite": (1500, "tree")}
N_EXPERTS = 4
TREE = DecisionTreeClassifier(min_samples_leaf=20, random_state=0)
GATES = {
    "softmax": "softmax",
    "gaussian": "gaussian",
    "hierarchical (2, 2)": HierarchicalGate((2, 2)),
    "MLP": MLPGate(),
    "a tree": TREE,
}
EXPERTS = {"linear": None, "tree": TREE}


def read(name):
    """Numbers (n, d) and labels (n,); categories as indicators, gaps as medians."""
    X, y = read_dataset(name, return_X_y=True)
    rows = np.sort(np.random.RandomState(0).permutation(len(y))[: SETS[name][0]])
    X, y = X.iloc[rows], np.asarray(y)[rows]
    X = pd.get_dummies(X, dtype=float)
    return X.fillna(X.median()).to_numpy(dtype=float), y


def held_out(model, X, y):
    """Log-likelihoods (5,) and accuracies (5,) by fold."""
    found = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
        model.fit(X[train], y[train])
        loglik = model.log_likelihood(X[test], y[test]).mean()
        found.append((loglik, model.score(X[test], y[test])))
    return np.array(found).T


def rows_of(name):
    X, y = read(name)
    kind = SETS[name][1]
    alone = held_out(MoEClassifier(EXPERTS[kind], 1, random_state=0), X, y)
    for gate_name, gate in [("one expert", None), *GATES.items()]:
        loglik, accuracy = alone
        if gate is not None:
            model = MoEClassifier(EXPERTS[kind], N_EXPERTS, gate=gate, random_state=0)
            loglik, accuracy = held_out(model, X, y)
        row = {"set": name, "experts": kind, "gate": gate_name}
        row |= {"log-likelihood": loglik.mean(), "accuracy": accuracy.mean()}
        row["folds won"] = int(np.sum(loglik > alone[0]))
        print(*(v if isinstance(v, str) else f"{v:.4f}" for v in row.values()), flush=True)
        yield row


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(common.machine(), "\n")
    names = sys.argv[1:] or list(SETS)
    rows = [row for name in names for row in rows_of(name)]
    common.save("gates", rows)


if __name__ == "__main__":
    main()
