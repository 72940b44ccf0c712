"""Races to the same log-likelihood from the same start, and a table of other models.

``--full`` runs the large problems and five repeats; prints tables, writes CSV files to
results/ and docs/images/race.png.
"""

import argparse
import gzip
import importlib
import os
import warnings
from pathlib import Path

import common
import numpy as np
import problems
import race
from peers import flexmix, mixtools, torch_twin
from sklearn.metrics import r2_score

from skmoe import MoEClassifier, MoERegressor
from skmoe._fit import Parts, objective_value
from skmoe._path import posterior
from skmoe.solvers import EM, Gradient

MODEL_PEERS = (
    "gaussian_mixture",
    "cgmm_moe",
    "gmr_mixture",
    "smt_moe",
    "neural_trees_moe",
    "lightgbm_linear",
    "hist_gradient_boosting",
    "kmeans_ridge",
)
GOAL = 1e-6
# CPU seconds after which L-BFGS is stopped, and those methods that run once.
LIMIT, SIDE_LIMIT = 240.0, 60.0
OURS, THEIRS = "skmoe gradient", "PyTorch L-BFGS"


def _torch_rows_first(start, stop_at=np.inf, limit=np.inf):
    return torch_twin.race_lbfgs(start, stop_at, limit, rows_first=True)


def methods():
    """Methods of a race by name: ``method(start, stop_at, limit)``."""
    found = {
        OURS: lambda *args: race.run_skmoe(Gradient(), *args),
        "skmoe EM": lambda *args: race.run_skmoe(EM(), *args),
    }
    if torch_twin.available() is None:
        found[THEIRS] = torch_twin.race_lbfgs
        found["PyTorch L-BFGS, (n, K)"] = _torch_rows_first
        found["PyTorch Adam"] = torch_twin.race_adam
    return found


def _goals(runs):
    """The best objective, and what each run has to reach."""
    best = max(run.final for run in runs.values())
    goals = {}
    for name, run in runs.items():
        own = name != "PyTorch Adam" and run.final < best - GOAL
        goals[name] = (run.final if own else best) - GOAL
    return best, goals


def run_race(problem, kind, repeats, side_limit=SIDE_LIMIT):
    """One problem from one start: rows of the table, and the curves of the first round.

    The first round goes to the end and shows where that is; the others stop at the goal.
    """
    start = problems.make_start(problem, kind)
    entrants = methods()
    first = {
        name: method(start, np.inf, LIMIT if name in (OURS, THEIRS) else side_limit)
        for name, method in entrants.items()
    }
    best, goals = _goals(first)
    seconds = {name: [run.seconds_to(goals[name])] for name, run in first.items()}
    for _ in range(repeats - 1):
        for name in (name for name in (OURS, THEIRS) if name in first):
            run = entrants[name](start, goals[name], LIMIT)
            seconds[name].append(run.seconds_to(goals[name]))
    rows, ours = [], np.median(seconds[OURS])
    for name, run in first.items():
        value = float(np.median(seconds[name]))
        rows.append(
            {
                "problem": problem.name,
                "start": kind,
                "method": name,
                "seconds": value,
                "times skmoe": value / ours,
                "iterations": int(np.sum(run.objective < goals[name])),
                "below best": best - run.final,
                "optimum": "own" if goals[name] < best - GOAL else "same",
                "begun": run.begun if name.startswith("skmoe") else np.nan,
                "repeats": len(seconds[name]),
            }
        )
    common.show(rows)
    return rows, {(problem.name, kind, name): (best, run) for name, run in first.items()}


def run_r(repeats, suffix):
    """To within 1e-4 of the best log-likelihood, without penalties."""
    races = (
        (flexmix, "flexmix", problems.regression(5000, 10, 4)),
        (mixtools, "mixtools hmeEM", problems.regression(1000, 1, 2)),
    )
    rows = []
    for peer, name, problem in races:
        reason = peer.available()
        if reason:
            print(f"{name} not run: {reason}")
            continue
        start = problems.make_start(problem, "noisy", penalised=False)
        found = [(race.run_skmoe(Gradient(), start), peer.race(start)) for _ in range(repeats)]
        best = max(run.final for run in found[0])
        for entrant, runs in zip((OURS, name), zip(*found)):
            rows.append(
                {
                    "problem": problem.name,
                    "method": entrant,
                    "seconds to 1e-4": float(np.median([r.seconds_to(best - 1e-4) for r in runs])),
                    "seconds in all": float(np.median([r.seconds[-1] for r in runs])),
                    "iterations": int(runs[0].passes),
                    "below best": best - runs[0].final,
                }
            )
    if rows:
        common.save("race_r" + suffix, rows)


def _near_optimum(start):
    """Move a start to within 1e-3 of the optimum that it leads to; returns both objectives."""
    result = race.run_skmoe(Gradient(), start).result
    parts = Parts(result.gate, result.experts, result.likelihood)
    noise = np.random.default_rng(0).normal(size=parts.flat().size)
    size, value = 1.0, -np.inf
    while value < result.objective - 1e-3:
        start.parts = parts.with_flat(parts.flat() + size * noise)
        loglik = posterior(start.data, start.parts)[1]
        value = objective_value(start.data, loglik.sum(), start.parts)
        size *= 0.7
    return result.objective, value


def run_agreement(suffix):
    """Where the solvers end from a start within 1e-3 of an optimum."""
    solvers = {OURS: Gradient(), "skmoe EM": EM(), "skmoe EM, plain": EM(accelerate=False)}
    rows = []
    for problem in (problems.regression(5000, 10, 4), problems.classification(5000, 10, 4, 3)):
        start = problems.make_start(problem, "noisy")
        top, begun = _near_optimum(start)
        ends = {
            name: race.run_skmoe(solver, start, tol=1e-13, resume=True).final
            for name, solver in solvers.items()
        }
        if torch_twin.available() is None:
            ends[THEIRS] = torch_twin.race_lbfgs(start).final
        for name, final in ends.items():
            row = {"problem": problem.name, "start below": top - begun, "method": name}
            rows.append(row | {"objective": f"{final:.10f}", "from optimum": final - top})
    common.save("agreement" + suffix, rows)


def run_models(suffix):
    """Other models on held-out rows; those that cannot run are named."""
    regression = problems.regression(10000, 10, 4)
    classification = problems.classification(10000, 10, 4, 3)
    rows = []
    for task, problem, ours in (
        ("regression", regression, MoERegressor(n_experts=4, random_state=0)),
        ("classification", classification, MoEClassifier(n_experts=4, random_state=0)),
    ):
        estimators = {"skmoe, two starts": ours}
        for name in MODEL_PEERS:
            peer = importlib.import_module(f"peers.{name}")
            if peer.TASK not in (task, "both"):
                continue
            if peer.available():
                print(f"{name} not run: {peer.available()}")
            elif peer.TASK == "regression":
                estimators.update(peer.models(4))
            else:
                estimators.update(peer.models(4, classify=task == "classification"))
        for name, model in estimators.items():
            rows.append({"task": task, "model": name} | _held_out(model, problem))
    common.save("models" + suffix, rows)


def _held_out(model, problem):
    train, test = slice(0, 5000), slice(5000, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cpu, wall, _ = common.clocks(lambda: model.fit(problem.X[train], problem.y[train]))
        X, y = problem.X[test], problem.y[test]
        if problem.n_classes:
            proba = np.maximum(model.predict_proba(X)[np.arange(len(y)), y], 1e-300)
            score, density = np.mean(model.predict(X) == y), float(np.mean(np.log(proba)))
        else:
            score, density = r2_score(y, np.ravel(model.predict(X))), np.nan
            if hasattr(model, "log_likelihood"):
                density = float(np.mean(model.log_likelihood(X, y)))
    return {
        "cpu seconds": cpu,
        "wall seconds": wall,
        "R2 or accuracy": float(score),
        "log-likelihood": density,
    }


def satellite():
    """The satellite data as a problem; None without SKMOE_DATA."""
    path = Path(os.environ.get("SKMOE_DATA", "")) / "satellite.csv.gz"
    if not path.is_file():
        print("satellite not run: SKMOE_DATA names no folder with satellite.csv.gz")
        return None
    with gzip.open(path, "rt") as file:
        cells = [line.rstrip("\n").split(",") for line in file][1:]
    X = np.array([row[:-1] for row in cells], dtype=np.float64)
    codes = np.unique([row[-1] for row in cells], return_inverse=True)[1]
    truth = np.zeros((len(X), 4))
    return problems.Problem("satellite, K=4", X, codes, truth, int(codes.max()) + 1)


def run_satellite(problem, suffix, repeats=5):
    """One start to convergence with default settings."""
    model = MoEClassifier(n_experts=4, n_init=1, init="kmeans")
    times = common.interleaved({"fit": lambda: model.fit(problem.X, problem.y)}, repeats)
    cpu, wall = np.median(times["fit"], axis=0)
    row = {"model": str(model), "cpu seconds": cpu, "wall seconds": wall}
    row |= {"iterations": model.n_iter_, "converged": model.converged_}
    common.save("satellite" + suffix, [row | {"objective": model.objective_}])


def draw(curves, path):
    """Gap to the best log-likelihood against CPU seconds, one panel for each race."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = list(dict.fromkeys(key[:2] for key in curves))
    n_columns = min(3, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(4 * n_columns, 3 * n_rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for panel, ax in zip(panels, axes.flat):
        for (problem, kind, method), (best, run) in curves.items():
            if (problem, kind) == panel:
                gap = np.maximum(best - np.maximum.accumulate(run.objective), 1e-9)
                ax.loglog(np.maximum(run.seconds, 1e-4), gap, label=method)
        ax.axhline(GOAL, color="0.6", linewidth=0.8)
        ax.set(title=f"{panel[0]}, {panel[1]}", xlabel="CPU seconds", ylabel="gap per row")
    axes.flat[0].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def chosen(full):
    """Problems and starts to run, small ones first."""
    found = [
        (problems.regression(5000, 10, 4), ("noisy", "kmeans")),
        (problems.classification(5000, 10, 4, 3), ("noisy", "kmeans")),
        (problems.classification(5000, 10, 4, 3, correlated=True), ("noisy",)),
    ]
    if full:
        found += [
            (problems.regression(50000, 20, 8), ("noisy", "kmeans")),
            (problems.classification(50000, 20, 8, 5), ("noisy",)),
            (problems.classification(20000, 16, 6, 26), ("noisy",)),
            (problems.regression(200000, 50, 8), ("noisy",)),
        ]
    return found


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="large problems, five repeats")
    full = parser.parse_args().full
    repeats, suffix = (5, "") if full else (3, "_short")
    side_limit = SIDE_LIMIT if full else 5.0
    print(common.machine(), "\n")
    if torch_twin.available():
        print(f"PyTorch not run: {torch_twin.available()}")
    for tiny in (problems.regression(500, 3, 3), problems.classification(500, 3, 3, 3)):
        start = problems.make_start(tiny, "noisy")  # compiles all kernels
        for method in methods().values():
            method(start, np.inf, 5.0)
    rows, curves = [], {}
    for problem, kinds in chosen(full):
        for kind in kinds:
            found, runs = run_race(problem, kind, repeats, side_limit)
            rows += found
            curves |= runs
    run_r(repeats, suffix)
    run_agreement(suffix)
    run_models(suffix)
    data = satellite()
    if data is not None:
        run_satellite(data, suffix)
        found, runs = run_race(data, "kmeans", repeats, side_limit)
        rows, curves = rows + found, curves | runs
    common.save("race" + suffix, rows)
    draw(curves, common.RESULTS / "race_short.png" if suffix else common.IMAGES / "race.png")


if __name__ == "__main__":
    main()
