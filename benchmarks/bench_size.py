"""How small a mixture can be made: experts pruned, numbers in single precision.

Ten experts are fitted to half of the rows, pruned by a quarter, and judged by the last quarter,
before and after. Run as

    python benchmarks/bench_size.py
"""

import numpy as np
from common import save, show
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoERegressor
from skmoe.datasets import load_concrete, load_diamonds
from skmoe.experts import MLPExpert
from skmoe.export import model_size, to_numpy

THRESHOLD = 0.005  # what pruning may lose, in log-likelihood per row


def problems():
    """Features and targets by name."""
    X, y = load_concrete(return_X_y=True)
    yield "concrete", np.asarray(X), np.asarray(y)
    X, y = load_diamonds(return_X_y=True, as_frame=True)
    X, y = X.select_dtypes("number").to_numpy()[::5], np.log(y.to_numpy())[::5]
    yield "diamonds", X, y


def shrunk(X, y, experts, seed):
    """Bytes and held-out log-likelihood before and after."""
    X_train, X_rest, y_train, y_rest = train_test_split(X, y, train_size=0.5, random_state=seed)
    X_prune, X_test, y_prune, y_test = train_test_split(
        X_rest, y_rest, train_size=0.5, random_state=seed
    )
    model = MoERegressor(experts, n_experts=10, random_state=seed).fit(X_train, y_train)
    full = to_numpy(model)
    before, n_before = full.log_likelihood(X_test, y_test).mean(), full.nbytes
    model.prune(X_prune, y_prune, by="loss", threshold=THRESHOLD)
    small = to_numpy(model, dtype=np.float32)
    after = small.log_likelihood(X_test, y_test).mean()
    return {
        "experts": model.n_experts_,
        "bytes": n_before,
        "bytes_small": small.nbytes,
        "ratio": small.nbytes / n_before,
        "loglik": before,
        "lost": before - after,
    }


def main():
    """Measure, print and write the tables."""
    rows = []
    for name, X, y in problems():
        for kind, experts in {"linear": None, "neural": MLPExpert((8,))}.items():
            for seed in range(3):
                found = shrunk(X, y, experts, seed)
                rows.append({"set": name, "kind": kind, "seed": seed, **found})
    save("size", rows)
    show(rows)
    X, y = next(problems())[1:]
    tree = DecisionTreeRegressor(max_depth=6)
    model = MoERegressor(tree, n_experts=16, top_k=2, routing="token", random_state=0).fit(X, y)
    print(model_size(model))


if __name__ == "__main__":
    main()
