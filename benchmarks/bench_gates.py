"""Gates: held-out log-likelihood against one expert, by gate and kind of expert.

Means over five folds of log-likelihoods per row, and how many folds have a higher one than
one expert; of mixed experts, than the best kind among them alone. Sets that are not shipped
are read from the folder in SKMOE_DATA.

    python benchmarks/bench_gates.py [vowel] [satellite] [concrete] [mixed]

A kind of expert runs that kind only. What all of it gives is written to results/gates.csv.
"""

import common  # isort: skip  (first: it sets the number of threads)

import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import read_dataset
from skmoe.gates import HierarchicalGate, MLPGate

# Rows at most, chosen at random, and the experts that are tried.
SETS = {
    "vowel": (None, ["linear", "tree", "mixed"]),
    "satellite": (1500, ["tree"]),
    "concrete": (None, ["linear", "tree", "mixed"]),
}
N_EXPERTS = 4
TREE = DecisionTreeClassifier(min_samples_leaf=20, random_state=0)
GATES = {
    "softmax": "softmax",
    "gaussian": "gaussian",
    "hierarchical (2, 2)": HierarchicalGate((2, 2)),
    "MLP": MLPGate(),
    "a tree": TREE,
}
# By kind: the experts of a mixture, and those that are tried alone.
LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression())
NEIGHBOURS = make_pipeline(StandardScaler(), KNeighborsRegressor(10))
LEAVES = DecisionTreeRegressor(min_samples_leaf=20, random_state=0)
CLASSIFIERS = {"linear": LOGISTIC, "tree": TREE, "bayes": GaussianNB(), "linear 2": LOGISTIC}
REGRESSORS = {"linear": Ridge(), "tree": LEAVES, "neighbours": NEIGHBOURS, "linear 2": Ridge()}


def experts_of(kind, regress):
    """Experts of a mixture, and templates of one expert to compare with."""
    mixed = REGRESSORS if regress else CLASSIFIERS
    if kind == "mixed":
        return list(mixed.items()), list(mixed.values())[:3]
    template = None if kind == "linear" else mixed[kind]
    return template, [template]


def read(name):
    """Numbers (n, d) and targets (n,); categories as indicators, gaps as medians."""
    X, y = read_dataset(name, return_X_y=True)
    rows = np.sort(np.random.RandomState(0).permutation(len(y))[: SETS[name][0]])
    X, y = X.iloc[rows], np.asarray(y)[rows]
    X = pd.get_dummies(X, dtype=float)
    return X.fillna(X.median()).to_numpy(dtype=float), y


def held_out(experts, X, y, regress, **settings):
    """Log-likelihoods (5,) and accuracies or R2 (5,) by fold."""
    model = (MoERegressor if regress else MoEClassifier)(experts, random_state=0, **settings)
    folds = (KFold if regress else StratifiedKFold)(5, shuffle=True, random_state=0)
    found = []
    for train, test in folds.split(X, y):
        model.fit(X[train], y[train])
        loglik = model.log_likelihood(X[test], y[test]).mean()
        found.append((loglik, model.score(X[test], y[test])))
    return np.array(found).T


def rows_of(name, kind):
    X, y = read(name)
    regress = name == "concrete"
    experts, singles = experts_of(kind, regress)
    alone = [held_out(single, X, y, regress, n_experts=1) for single in singles]
    alone = max(alone, key=lambda found: found[0].mean())
    for gate_name, gate in [("one expert", None), *GATES.items()]:
        loglik, score = alone
        if gate is not None:
            n_experts = None if kind == "mixed" else N_EXPERTS
            loglik, score = held_out(experts, X, y, regress, n_experts=n_experts, gate=gate)
        row = {"set": name, "experts": kind, "gate": gate_name}
        row |= {"log-likelihood": loglik.mean(), "score": score.mean()}
        row["folds won"] = int(np.sum(loglik > alone[0]))
        print(*(v if isinstance(v, str) else f"{v:.4f}" for v in row.values()), flush=True)
        yield row


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(common.machine(), "\n")
    names = [name for name in sys.argv[1:] if name in SETS] or list(SETS)
    kinds = [kind for kind in sys.argv[1:] if kind not in SETS]
    rows = [
        row
        for name in names
        for kind in SETS[name][1]
        if kind in (kinds or SETS[name][1])
        for row in rows_of(name, kind)
    ]
    if len(sys.argv) == 1:
        common.save("gates", rows)


if __name__ == "__main__":
    main()
