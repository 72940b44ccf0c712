"""What the first fit of a process costs, and a grid search over the number of experts."""

import argparse
import json
import time
import warnings

import common
import numpy as np


def first_fits():
    """Wall-clock seconds of import and of three fits in this process."""
    began = time.perf_counter()
    from skmoe import MoEClassifier, MoERegressor

    imported = time.perf_counter() - began
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 5))
    y = np.where(X[:, 0] > 0, X[:, 1], -X[:, 1])
    row = {"import": imported}
    for name, model, target in (
        ("regressor", MoERegressor(n_experts=2, random_state=0), y),
        ("classifier", MoEClassifier(n_experts=2, random_state=0), y > 0),
    ):
        for which in ("first", "second", "third"):
            began = time.perf_counter()
            model.fit(X, target)
            row[f"{name}, {which} fit"] = time.perf_counter() - began
    return row


def grid_seconds(repeats):
    """GridSearchCV over 8 values, 5 folds, 5000 x 10: CPU and wall-clock seconds."""
    import problems
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import GridSearchCV

    from skmoe import MoERegressor

    warnings.simplefilter("ignore")
    problem = problems.regression(5000, 10, 4)
    ours = GridSearchCV(MoERegressor(random_state=0), {"n_experts": list(range(1, 9))}, cv=5)
    theirs = HistGradientBoostingRegressor(random_state=0)
    theirs = GridSearchCV(theirs, {"max_iter": [25, 50, 75, 100, 125, 150, 175, 200]}, cv=5)
    fits = {
        "skmoe, n_experts 1 to 8": lambda: ours.fit(problem.X, problem.y),
        "HistGradientBoosting, max_iter 25 to 200": lambda: theirs.fit(problem.X, problem.y),
    }
    times = common.interleaved(fits, repeats, warm=False)
    scores = {name: grid.best_score_ for name, grid in zip(fits, (ours, theirs))}
    return [
        {"grid": name, "cpu seconds": cpu, "wall seconds": wall, "best R2": float(scores[name])}
        for name, (cpu, wall) in ((name, np.median(pairs, axis=0)) for name, pairs in times.items())
    ]


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="more repeats")
    parser.add_argument("--one", action="store_true", help="for the processes of this script")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(first_fits()))
        return
    print(common.machine(), "\n")
    repeats = 5 if arguments.full else 3
    common.in_fresh_process(__file__, "--one")  # fills the cache of compiled kernels
    found = [json.loads(common.in_fresh_process(__file__, "--one")) for _ in range(repeats)]
    median = {key: float(np.median([row[key] for row in found])) for key in found[0]}
    for name in ("regressor", "classifier"):
        extra = median[f"{name}, first fit"] - median[f"{name}, second fit"]
        median[f"{name}, first less second"] = extra
    suffix = "" if arguments.full else "_short"
    common.save("startup" + suffix, [{"what": k, "wall seconds": v} for k, v in median.items()])
    common.save("grid" + suffix, grid_seconds(3 if arguments.full else 1))


if __name__ == "__main__":
    main()
