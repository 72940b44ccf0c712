"""Joint functional descent against NGBoost and HistGradientBoosting, and without its parts.

    python benchmarks/bench_boosting.py run regression|classification|ablation|speed
    python benchmarks/bench_boosting.py tables
    python benchmarks/bench_boosting.py picture

``run`` appends a line for each set, fold and model to results/boosting.csv (``--out``);
``tables`` prints Markdown from the newest line of each; ``picture`` draws the histograms of
the probability integral transform. Folds are those of ``--seed``; what was chosen was chosen
on folds of other seeds. A set with more than ``--rows`` rows is subsampled. NGBoost
(``pip install ngboost``) is left out where it is not installed. Sets that are not shipped are
read from SKMOE_DATA. Seconds are CPU seconds of one thread.
"""

import argparse
import csv
import json
import warnings
from pathlib import Path

import common
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import make_moe_regression, read_dataset
from skmoe.experts import AdditiveExpert
from skmoe.solvers import Boosting

REGRESSION = ("mcycle", "diabetes", "concrete", "credit_price", "nox", "kc_housing", "diamonds")
CLASSIFICATION = ("vowel", "vowel by speaker", "satellite", "spam", "credit")
SPEED = ("synthetic 1000", "synthetic 5000", "synthetic 50000")
VARIANTS = {
    "ours": ({}, {}, 3),
    "K=1": ({}, {}, 1),
    "K=2": ({}, {}, 2),
    "K=6": ({}, {}, 6),
    "no base": ({"base": None}, {}, 3),
    "linear gate": ({}, {"gate": "linear"}, 3),
    "no corrections": ({}, {"corrections": False}, 3),
    "base only": ({}, {"corrections": False}, 1),
    "all rows per round": ({"subsample": 1.0}, {}, 3),
}
FIELDS = ("task", "set", "seed", "rows", "fold", "model", "rmse", "loglik", "covered")
FIELDS += ("log_loss", "error", "fit_s", "predict_s", "pit")
KEY = FIELDS[:6]
_N_BINS = 20


def read(name):
    """Features as a frame, target, and which rows are the test set that comes with it."""
    if name == "diabetes":
        bunch = load_diabetes(as_frame=True)
        return bunch.data, bunch.target.to_numpy(), None
    if name == "credit_price":
        frame = read_dataset("credit").data
        return frame.drop(columns="Price"), frame["Price"].to_numpy(dtype=float), None
    if name.startswith("synthetic"):
        n = int(name.split()[1])
        X, y = make_moe_regression(n + 1000, 10, n_experts=3, random_state=0)[:2]
        return pd.DataFrame(X), y, np.arange(n + 1000) >= n
    bunch = read_dataset(name.split()[0])
    test = bunch.other_columns["is_test"].to_numpy(dtype=bool) if name.endswith("speaker") else None
    return bunch.data, bunch.target.to_numpy(), test


def folds_of(name, options, splitter):
    """Features, target, and (train, test) of each fold."""
    X, y, test = read(name)
    if test is not None:
        return X, y, [(np.flatnonzero(~test), np.flatnonzero(test))]
    rows = np.random.RandomState(options.seed).permutation(len(y))[: options.rows]
    X, y = X.iloc[rows].reset_index(drop=True), y[rows]
    splits = splitter(5, shuffle=True, random_state=options.seed).split(X, y)
    return X, y, list(splits)[: options.folds]


def as_numbers(X):
    """Codes for categories and -1 for missing values, for models that need them."""
    columns = [X[c].cat.codes if str(X[c].dtype) == "category" else X[c] for c in X]
    return np.nan_to_num(np.column_stack(columns).astype(float), nan=-1.0)


def make(variant, kind=MoERegressor):
    """A mixture, from a name in VARIANTS."""
    expert, solver, n_experts = VARIANTS[variant]
    solver = Boosting(**solver)
    return kind(AdditiveExpert(**expert), n_experts=n_experts, solver=solver, random_state=0)


# --- one model on one fold --------------------------------------------------------------


def judge_ours(variant, X, y, train, test):
    model = make(variant)
    fit_s, _, _ = common.clocks(lambda: model.fit(X.iloc[train], y[train]))
    predict_s, _, dist = common.clocks(lambda: model.predict_dist(X.iloc[test]))
    return judged(dist, dist.mean(), y[test], fit_s, predict_s)


def judge_ngboost(_, X, y, train, test):
    from ngboost import NGBRegressor

    Z = as_numbers(X)
    model = NGBRegressor(n_estimators=500, verbose=False, random_state=0)
    fit_s, _, _ = common.clocks(lambda: model.fit(Z[train], y[train]))
    predict_s, _, dist = common.clocks(lambda: model.pred_dist(Z[test]))
    return judged(dist, dist.loc, y[test], fit_s, predict_s)


def judge_hist(_, X, y, train, test):
    model = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
    fit_s, _, _ = common.clocks(lambda: model.fit(X.iloc[train], y[train]))
    predict_s, _, pred = common.clocks(lambda: model.predict(X.iloc[test]))
    return {"rmse": rmse(pred, y[test]), "fit_s": fit_s, "predict_s": predict_s}


def judged(dist, mean, y, fit_s, predict_s):
    pit = dist.cdf(y)
    counts = np.histogram(pit, _N_BINS, (0.0, 1.0))[0]
    return {
        "rmse": rmse(mean, y),
        "loglik": float(np.mean(dist.logpdf(y))),
        "covered": float(np.mean((pit > 0.05) & (pit < 0.95))),
        "fit_s": fit_s,
        "predict_s": predict_s,
        "pit": json.dumps(counts.tolist(), separators=(";", ":")),
    }


def rmse(pred, y):
    return float(np.sqrt(np.mean(np.square(pred - y))))


def judge_classifier(name, X, y, train, test):
    ours = name in VARIANTS
    other = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    model = make(name, MoEClassifier) if ours else other
    fit_s, _, _ = common.clocks(lambda: model.fit(X.iloc[train], y[train]))
    predict_s, _, proba = common.clocks(lambda: model.predict_proba(X.iloc[test]))
    return {
        "log_loss": log_loss(y[test], proba, labels=model.classes_),
        "error": float(np.mean(model.classes_[proba.argmax(axis=1)] != y[test])),
        "fit_s": fit_s,
        "predict_s": predict_s,
    }


# --- runs -------------------------------------------------------------------------------

TASKS = {
    "regression": (REGRESSION, ("ours", "NGBoost", "Hist")),
    "ablation": (REGRESSION, (*VARIANTS, "Hist")),
    "classification": (CLASSIFICATION, ("ours", "Hist")),
    "speed": (SPEED, ("ours", "NGBoost", "Hist")),
}


def run(options):
    """Judge models on folds, and append to the file of results."""
    sets, models = TASKS[options.task]
    classes = options.task == "classification"
    others = {"NGBoost": judge_ngboost, "Hist": judge_hist}
    splitter = StratifiedKFold if classes else KFold
    compile_kernels()
    for name in options.sets or sets:
        X, y, folds = folds_of(name, options, splitter)
        for number, (train, test) in enumerate(folds):
            for model in options.models or models:
                judge = judge_classifier if classes else others.get(model, judge_ours)
                try:
                    found = judge(model, X, y, train, test)
                except ImportError as error:
                    print(f"{model} is left out: {error}")
                    continue
                key = (options.task, name, options.seed, len(y), number, model)
                append(options.out, {**dict(zip(KEY, key, strict=True)), **found})
                print(*key, {k: round(v, 4) for k, v in found.items() if k != "pit"}, flush=True)


def compile_kernels():
    X, y = make_moe_regression(60, 2, n_experts=2, random_state=0)[:2]
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(c=pd.Categorical(np.where(y > 0, "a", "b")))
    for kind, target in ((MoERegressor, y), (MoEClassifier, y > 0)):
        kind(AdditiveExpert(max_rounds=2), n_experts=2, random_state=0).fit(frame, target)


def append(path, row):
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
            path.with_suffix(".machine.txt").write_text(common.machine() + "\n")
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


# --- tables -----------------------------------------------------------------------------


def results(options):
    """The newest line of each set, fold and model."""
    frame = pd.read_csv(options.out)
    frame = frame[frame["seed"] == options.seed]
    return frame.drop_duplicates(list(KEY), keep="last")


def tables(options):
    """Print all tables as Markdown."""
    frame = results(options)
    for task, show in (
        ("regression", show_regression),
        ("ablation", show_ablation),
        ("classification", show_classification),
        ("speed", show_speed),
    ):
        part = frame[frame["task"] == task]
        if len(part):
            order = [name for name in TASKS[task][0] if name in set(part["set"])]
            show(part, order)
            print()


def cell(part, name, column):
    """Means over folds by model, of one set."""
    return part[part["set"] == name].groupby("model")[column].mean()


def n_rows(part, name):
    return part.loc[part["set"] == name, "rows"].iloc[0]


def header(*names):
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))


def show_regression(part, order):
    names = ["set", "rows", "RMSE / Hist", "NGBoost / Hist", "log-likelihood", "NGBoost"]
    header(*names, "folds won", "covered 90 %", "NGBoost")
    ratios = []
    for name in order:
        error, loglik = cell(part, name, "rmse"), cell(part, name, "loglik")
        covered = 100.0 * cell(part, name, "covered")
        by_fold = part[part["set"] == name].pivot(index="fold", columns="model", values="loglik")
        won = (by_fold["ours"] > by_fold["NGBoost"]).sum()
        ratios.append(error["ours"] / error["Hist"])
        print(
            f"| {name} | {n_rows(part, name)} | {ratios[-1]:.3f} | "
            f"{error['NGBoost'] / error['Hist']:.3f} | {loglik['ours']:.3f} | "
            f"{loglik['NGBoost']:.3f} | {won} of {len(by_fold)} | "
            f"{covered['ours']:.1f} | {covered['NGBoost']:.1f} |"
        )
    print(f"\nMean of the ratios of RMSE: {np.mean(ratios):.3f}.\n")
    show_speed(part, order)


def show_speed(part, order):
    header("set", "rows", "fit s", "NGBoost", "Hist", "predict s", "NGBoost", "Hist")
    for name in order:
        fit, predict = cell(part, name, "fit_s"), cell(part, name, "predict_s")
        numbers = [f"{part[m]:.3g}" for part in (fit, predict) for m in ("ours", "NGBoost", "Hist")]
        print(f"| {name} | {n_rows(part, name)} | " + " | ".join(numbers) + " |")


def show_ablation(part, order):
    models = [m for m in VARIANTS if m in set(part["model"])]
    header("set", "rows", *models)
    table = []
    for name in order:
        error, loglik = cell(part, name, "rmse"), cell(part, name, "loglik")
        if not {"Hist", *models} <= set(error.index):
            print(f"({name} is not complete.)")
            continue
        table.append([(error[m] / error["Hist"], loglik[m]) for m in models])
        texts = [f"{ratio:.3f}, {value:.3f}" for ratio, value in table[-1]]
        print(f"| {name} | {n_rows(part, name)} | " + " | ".join(texts) + " |")
    table = np.array(table)
    gaps = (table[:, :, 1] - table[:, :1, 1]).mean(axis=0)
    texts = [f"{r:.3f}, {gap:+.3f}" for r, gap in zip(table[:, :, 0].mean(axis=0), gaps)]
    print("| mean, gap to ours | | " + " | ".join(texts) + " |")


def show_classification(part, order):
    header("set", "rows", "log loss", "Hist", "ratio", "error", "Hist", "fit s", "Hist")
    for name in order:
        loss, error, fit = (cell(part, name, c) for c in ("log_loss", "error", "fit_s"))
        print(
            f"| {name} | {n_rows(part, name)} | {loss['ours']:.4f} | {loss['Hist']:.4f} | "
            f"{loss['ours'] / loss['Hist']:.3f} | {100 * error['ours']:.1f} % | "
            f"{100 * error['Hist']:.1f} % | {fit['ours']:.2f} | {fit['Hist']:.2f} |"
        )


def picture(options):
    """Draw the histograms of the probability integral transform, a panel for each set."""
    import matplotlib.pyplot as plt

    part = results(options)
    part = part[(part["task"] == "regression") & part["model"].isin(["ours", "NGBoost"])]
    sets = [name for name in REGRESSION if name in set(part["set"])]
    figure, axes = plt.subplots(2, len(sets) // 2 + 1, figsize=(9, 4), layout="constrained")
    for ax in axes.flat[len(sets) :]:
        ax.axis("off")
    edges = np.linspace(0, 1, _N_BINS + 1)
    for ax, name in zip(axes.flat, sets):
        here = part[part["set"] == name]
        for model, style in (("NGBoost", {"color": "0.6"}), ("ours", {"color": "C0", "lw": 2})):
            texts = here.loc[here["model"] == model, "pit"]
            counts = sum(np.array(json.loads(text.replace(";", ","))) for text in texts)
            label = "skmoe" if model == "ours" else model
            ax.stairs(counts * _N_BINS / counts.sum(), edges, label=label, **style)
        ax.axhline(1.0, color="k", lw=0.5)
        ax.set(title=name, xlim=(0, 1), ylim=(0, 2.5), xticks=(0, 0.5, 1))
    axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center", frameon=False)
    figure.supxlabel("probability integral transform of held-out rows")
    figure.supylabel("density")
    figure.savefig(common.IMAGES / "boosting_pit.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=("run", "tables", "picture"))
    parser.add_argument("task", nargs="?", choices=TASKS)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--out", type=Path, default=common.RESULTS / "boosting.csv")
    warnings.simplefilter("ignore")
    arguments = parser.parse_args()
    if arguments.action == "run" and arguments.task is None:
        parser.error("run needs one of " + ", ".join(TASKS))
    {"run": run, "tables": tables, "picture": picture}[arguments.action](arguments)
