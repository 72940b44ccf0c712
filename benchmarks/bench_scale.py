"""Time of a pass and of a fit, and peak memory, against n, d and K.

Every row is measured in a process of its own, so that peak memory is its own; memory is
counted above the features and targets. ``--full`` goes to 10 million rows.
"""

import argparse
import json
import warnings

import common
import numpy as np
import problems
import scipy.sparse as sp

from skmoe import MoERegressor
from skmoe._sweep import Sweeper


def measure(n, d, n_experts, kind):
    """CPU seconds of a pass or a fit; peak memory above the data."""
    problems.make_start(problems.regression(300, 3, 2), "noisy")  # compiles
    problem = _sparse_problem(n, d) if kind == "sparse" else problems.regression(n, d, n_experts)
    X, y = problem.X, problem.y
    stored = X.data.nbytes + X.indices.nbytes if kind == "sparse" else X.nbytes
    measured = _fit if kind == "fit" else _passes
    seconds, memory = common.memory_of(lambda: measured(X, y, n_experts))
    return {"seconds": seconds, "MiB": memory, "data MiB": (stored + y.nbytes) / 2**20}


def _fit(X, y, n_experts):
    """CPU seconds of ten iterations from one random start."""
    model = MoERegressor(n_experts=n_experts, n_init=1, init="random", tol=0.0, max_iter=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return common.clocks(lambda: model.fit(X, y))[0]


def _passes(X, y, n_experts):
    """Median CPU seconds of a pass, with Grams where features are dense."""
    data = problems.fit_data(X, y)
    parts = problems.new_parts(data, n_experts)
    coef = np.random.default_rng(0).normal(size=(data.gate_X.shape[1], n_experts))
    parts.gate._set(data.gate_X, 0.1 * coef)
    sweeps, times = Sweeper(data), []
    grams = not data.X.is_sparse
    sweeps(parts, grams=grams)
    while len(times) < 5 or (sum(times) < 1.0 and len(times) < 200):
        times.append(common.clocks(lambda: sweeps(parts, grams=grams))[0])
    return float(np.median(times))


def _sparse_problem(n, d, n_stored=20):
    rng = np.random.default_rng(0)
    indices = rng.integers(0, d, size=n * n_stored)
    X = sp.csr_matrix((rng.normal(size=n * n_stored), indices, np.arange(n + 1) * n_stored))
    X.resize(n, d)
    X.sum_duplicates()
    return problems.Problem("sparse", X, X @ rng.normal(size=d), np.zeros((n, 1)))


def slope(rows, key):
    """Slope of log seconds by the logarithm of a size."""
    sizes, seconds = ([row[name] for row in rows] for name in (key, "seconds"))
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def plan(full):
    """What to measure: (series, n, d, K, kind)."""
    sizes = [10**4, 10**5, 10**6] + ([10**7] if full else [])
    sizes += [3 * 10**5] + ([3 * 10**6] if full else [])
    found = [("n", n, 10, 4, "pass") for n in sorted(sizes)]
    found += [("d", 20000, d, 4, "pass") for d in (5, 10, 20, 50, 100, 200)]
    found += [("K", 20000, 20, K, "pass") for K in (2, 4, 8, 16, 32)]
    found += [("n", n, 10, 4, "fit") for n in sorted(sizes) if n >= 10**5]
    width = 50_000 if full else 10_000
    found += [("n", n, width, 4, "sparse") for n in (25_000, 50_000, 100_000)]
    return found


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="to 10 million rows")
    parser.add_argument("--one", help="one measurement, as JSON; for the processes of this script")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*json.loads(arguments.one))))
        return
    print(common.machine(), "\n")
    rows = []
    for series, *what in plan(arguments.full):
        text = common.in_fresh_process(__file__, "--one", json.dumps(what))
        row = {"series": series} | dict(zip(("n", "d", "K", "kind"), what)) | json.loads(text)
        rows.append(row)
    common.save("scale" if arguments.full else "scale_short", rows)
    for kind in ("pass", "fit", "sparse"):
        large = [r for r in rows if r["series"] == "n" and r["kind"] == kind and r["n"] >= 10**4]
        if kind == "pass":
            large = [r for r in large if r["n"] >= 10**5]
        print(f"slope of log time of {kind} by log n: {slope(large, 'n'):.3f}")


if __name__ == "__main__":
    main()
