"""Time of a pass and of a fit, and peak memory, against n, d and K.

Every row is measured in a process of its own, so that peak memory is its own; memory is
given above that of a process that only imports. ``--full`` goes to 10 million rows.
"""

import argparse
import json
import time

import common
import numpy as np


def measure(n, d, n_experts, kind):
    """CPU seconds of an EM pass and of a fit; peak memory above the data."""
    import problems

    from skmoe import MoERegressor
    from skmoe._sweep import Sweeper

    problems.make_start(problems.regression(300, 3, 2), "noisy")  # compiles
    problem = _sparse_problem(n, d) if kind == "sparse" else problems.regression(n, d, n_experts)
    X, y = problem.X, problem.y
    if kind == "fit":
        held = common.peak_memory()
        model = MoERegressor(n_experts=n_experts, n_init=1, init="random", tol=0.0, max_iter=10)
        model.set_params(verbose=0)
        seconds, _, _ = common.clocks(lambda: _quiet(model.fit, X, y))
        bytes_ = X.nbytes + y.nbytes
        return {"seconds": seconds, "MiB": common.peak_memory() - held, "data MiB": bytes_ / 2**20}
    held = common.peak_memory()
    data = problems.fit_data(X, y)
    parts = problems.new_parts(data, n_experts)
    parts.gate._set(data.gate_X, np.random.default_rng(0).normal(size=(d + 1, n_experts)) * 0.1)
    sweeps, grams = Sweeper(data), kind != "sparse"
    sweeps(parts, grams=grams)
    times = []
    while len(times) < 5 or (sum(times) < 1.0 and len(times) < 200):
        began = time.process_time()
        sweeps(parts, grams=grams)
        times.append(time.process_time() - began)
    stored = X.data.nbytes + X.indices.nbytes if kind == "sparse" else X.nbytes
    row = {"seconds": float(np.median(times)), "MiB": common.peak_memory() - held}
    return row | {"data MiB": (stored + y.nbytes) / 2**20}


def _sparse_problem(n, d, n_stored=20):
    import problems
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    indices = rng.integers(0, d, size=n * n_stored)
    X = sp.csr_matrix((rng.normal(size=n * n_stored), indices, np.arange(n + 1) * n_stored))
    X.resize(n, d)
    X.sum_duplicates()
    return problems.Problem("sparse", X, X @ rng.normal(size=d), np.zeros((n, 1)))


def _quiet(function, *args):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args)


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
