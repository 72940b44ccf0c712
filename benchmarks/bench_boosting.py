"""Joint functional descent against NGBoost and HistGradientBoosting, and without its parts.

    python benchmarks/bench_boosting.py regression|classification|ablation|speed [--rows 5000]

The folds are those of ``--seed``; defaults were chosen on the folds of another seed. NGBoost
is used where it is installed. Sets other than the shipped ones are read from SKMOE_DATA.
Seconds are CPU time. A set with more than ``--rows`` rows is subsampled.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import make_moe_regression, read_dataset
from skmoe.experts import AdditiveExpert
from skmoe.solvers import Boosting

REGRESSION = ("concrete", "diamonds", "kc_housing", "nox", "mcycle", "diabetes", "credit_price")
CLASSIFICATION = ("vowel", "vowel by speaker", "satellite", "spam", "credit")
ABLATION = {
    "default": ({}, {}, 3),
    "K=1": ({}, {}, 1),
    "K=2": ({}, {}, 2),
    "K=6": ({}, {}, 6),
    "no base": ({"base": None}, {}, 3),
    "linear gate": ({}, {"gate": "linear"}, 3),
    "no corrections": ({}, {"corrections": False}, 3),
    "base only": ({}, {"corrections": False}, 1),
    "base HistGradientBoosting": ({"base": HistGradientBoostingRegressor()}, {}, 3),
}


def read(name):
    """Features as a frame, target, and the split that comes with the set or None."""
    if name == "diabetes":
        bunch = load_diabetes(as_frame=True)
        return bunch.data, bunch.target.to_numpy(), None
    if name == "credit_price":
        frame = read_dataset("credit").data
        return frame.drop(columns="Price"), frame["Price"].to_numpy(dtype=float), None
    bunch = read_dataset(name.split()[0])
    test = bunch.other_columns["is_test"].to_numpy(dtype=bool) if name.endswith("speaker") else None
    return bunch.data, bunch.target.to_numpy(), test


def folds_of(name, most, seed, n_folds, splitter):
    X, y, test = read(name)
    if test is not None:
        return X, y, [(np.flatnonzero(~test), np.flatnonzero(test))]
    rows = np.random.RandomState(seed).permutation(len(y))[:most]
    X, y = X.iloc[rows].reset_index(drop=True), y[rows]
    return X, y, list(splitter(5, shuffle=True, random_state=seed).split(X, y))[:n_folds]


def as_codes(X):
    """Numbers for learners that take nothing else."""
    columns = [X[c].cat.codes if str(X[c].dtype) == "category" else X[c] for c in X]
    return np.nan_to_num(np.column_stack(columns).astype(float), nan=-1.0)


def timed(function, *args):
    began = time.process_time()
    out = function(*args)
    return out, time.process_time() - began


def rmse(pred, y):
    return float(np.sqrt(np.mean(np.square(pred - y))))


def judge_moe(model, X, y, train, test):
    _, fit_time = timed(model.fit, X.iloc[train], y[train])
    dist, predict_time = timed(model.predict_dist, X.iloc[test])
    lower, upper = dist.interval(0.9)
    covered = np.mean((lower <= y[test]) & (y[test] <= upper))
    loglik = float(np.mean(dist.logpdf(y[test])))
    return rmse(dist.mean(), y[test]), loglik, covered, fit_time, predict_time


def judge_hist(X, y, train, test):
    model = HistGradientBoostingRegressor(random_state=0)
    _, fit_time = timed(model.fit, X.iloc[train], y[train])
    pred, predict_time = timed(model.predict, X.iloc[test])
    return rmse(pred, y[test]), fit_time, predict_time


def judge_ngboost(X, y, train, test):
    try:
        from ngboost import NGBRegressor
    except ImportError:
        return (np.nan,) * 5
    Z = as_codes(X)
    model = NGBRegressor(n_estimators=500, verbose=False, random_state=0)
    _, fit_time = timed(model.fit, Z[train], y[train])
    dist, predict_time = timed(model.pred_dist, Z[test])
    lower, upper = dist.interval(0.9)
    covered = np.mean((lower <= y[test]) & (y[test] <= upper))
    return rmse(dist.loc, y[test]), dist.logpdf(y[test]).mean(), covered, fit_time, predict_time


def make(variant, kind=MoERegressor):
    expert, solver, n_experts = ABLATION[variant]
    solver = Boosting(**solver)
    return kind(AdditiveExpert(**expert), n_experts=n_experts, solver=solver, random_state=0)


def regression(args):
    print(
        "| set | rows | RMSE / Hist | log-lik | NGBoost | coverage 90 % | NGBoost | "
        "fit s: ours / NGBoost / Hist | predict ms: ours / NGBoost / Hist |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in args.sets or REGRESSION:
        X, y, folds = folds_of(name, args.rows, args.seed, args.folds, KFold)
        make("default").fit(X.iloc[:100], y[:100])  # compiles
        ours = np.mean([judge_moe(make("default"), X, y, *f) for f in folds], axis=0)
        hist = np.mean([judge_hist(X, y, *f) for f in folds], axis=0)
        other = np.mean([judge_ngboost(X, y, *f) for f in folds], axis=0)
        print(
            f"| {name} | {len(y)} | {ours[0] / hist[0]:.3f} | {ours[1]:.3f} | {other[1]:.3f} | "
            f"{100 * ours[2]:.1f} | {100 * other[2]:.1f} | "
            f"{ours[3]:.2f} / {other[3]:.2f} / {hist[1]:.2f} | "
            f"{1e3 * ours[4]:.0f} / {1e3 * other[4]:.0f} / {1e3 * hist[2]:.0f} |",
            flush=True,
        )


def ablation(args):
    print("| set | " + " | ".join(ABLATION) + " |\n|" + "---|" * (1 + len(ABLATION)))
    for name in args.sets or REGRESSION:
        X, y, folds = folds_of(name, args.rows, args.seed, args.folds, KFold)
        reference = np.mean([judge_hist(X, y, *f)[0] for f in folds])
        cells = []
        for variant in ABLATION:
            found = np.mean([judge_moe(make(variant), X, y, *f) for f in folds], axis=0)
            cells.append(f"{found[0] / reference:.3f}, {found[1]:.3f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def classification(args):
    print("| set | rows | log loss | Hist | ratio | error | Hist | fit s: ours / Hist |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.sets or CLASSIFICATION:
        X, y, folds = folds_of(name, args.rows, args.seed, args.folds, StratifiedKFold)
        results = []
        for train, test in folds:
            row = []
            for model in (
                make("default", MoEClassifier),
                HistGradientBoostingClassifier(random_state=0),
            ):
                _, seconds = timed(model.fit, X.iloc[train], y[train])
                proba = model.predict_proba(X.iloc[test])
                wrong = np.mean(model.classes_[proba.argmax(axis=1)] != y[test])
                row += [log_loss(y[test], proba, labels=model.classes_), wrong, seconds]
            results.append(row)
        a, b, c, d, e, f = np.mean(results, axis=0)
        print(
            f"| {name} | {len(y)} | {a:.4f} | {d:.4f} | {a / d:.3f} | {100 * b:.1f} % | "
            f"{100 * e:.1f} % | {c:.2f} / {f:.2f} |",
            flush=True,
        )


def speed(args):
    import pandas as pd

    print("| rows | fit s: ours | NGBoost | predict s: ours | NGBoost |\n|---|---|---|---|---|")
    for n in (1000, 5000, 50_000):
        X, y = make_moe_regression(n + 1000, 10, n_experts=3, random_state=0)[:2]
        rows = np.arange(n), np.arange(n, n + 1000)
        ours = judge_moe(make("default"), pd.DataFrame(X), y, *rows)
        other = judge_ngboost(pd.DataFrame(X), y, *rows)
        print(
            f"| {n} | {ours[3]:.2f} | {other[3]:.2f} | {ours[4]:.3f} | {other[4]:.3f} |", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = {f.__name__: f for f in (regression, classification, ablation, speed)}
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--sets", nargs="*")
    warnings.simplefilter("ignore")
    arguments = parser.parse_args()
    kinds[arguments.kind](arguments)
