"""Every display of skmoe.inspection on real data: concrete, motorcycle and credit.

Run it with the folder for the pictures, or without for examples/figures:

    python examples/pictures.py [FOLDER]
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from sklearn.model_selection import train_test_split

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import load_concrete, load_credit, load_mcycle
from skmoe.inspection import (
    CoefficientsDisplay,
    ConvergenceDisplay,
    CoverageDisplay,
    ExpertCountDisplay,
    ExpertsDisplay,
    GateDisplay,
    HierarchyDisplay,
    LoadDisplay,
    PITDisplay,
    ResponsibilitiesDisplay,
    SpecialisationDisplay,
)

FOLDER = Path(__file__).parent / "figures"


def regimes():
    """The motorcycle data: where the gate trusts which line, and what comes of it."""
    X, y = load_mcycle(return_X_y=True, as_frame=True)
    model = MoERegressor(n_experts=4, random_state=0).fit(X, y)
    figure, axes = plt.subplots(2, 1, figsize=(7, 7), layout="constrained", sharex=True)
    ExpertsDisplay.from_estimator(model, X, y, feature="times", ax=axes[0])
    GateDisplay.from_estimator(model, X, "times", ax=axes[1])
    return figure


def concrete():
    """Strength of concrete: what the experts are, and whether they can be trusted."""
    X, y = load_concrete(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
    model = MoERegressor(n_experts=4, random_state=0).fit(X_train, y_train)
    experts, axes = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
    CoefficientsDisplay.from_estimator(model, X_train, ax=axes[0, 0])
    GateDisplay.from_estimator(model, X_train, ["age", "cement"], ax=axes[0, 1])
    LoadDisplay.from_estimator(model, X_test, ax=axes[1, 0])
    SpecialisationDisplay.from_estimator(model, X_test, y_test, ax=axes[1, 1])
    trust, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
    PITDisplay.from_estimator(model, X_test, y_test, n_bins=12, ax=axes[0])
    CoverageDisplay.from_estimator(model, X_test, y_test, ax=axes[1])
    ResponsibilitiesDisplay.from_estimator(model, X_test, y_test, ax=axes[2])
    return experts, trust, X_train, y_train


def training(X, y):
    """How many experts, and the way to them."""
    model = MoERegressor(n_experts="auto", max_experts=8, random_state=0).fit(X, y)
    em = MoERegressor(n_experts=4, solver="em", init="random", n_init=1, random_state=0).fit(X, y)
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    ExpertCountDisplay.from_estimator(model, ax=axes[0])
    ConvergenceDisplay.from_estimator(em, ax=axes[1:])
    return figure


def credit():
    """Good and bad risks: the tree of gates, and one feature of it."""
    X, y = load_credit(return_X_y=True)
    X = X.select_dtypes("number")
    X, y = X.fillna(X.median()), y.map({0: "bad", 1: "good"}) if y.dtype.kind in "iu" else y
    model = MoEClassifier(n_experts=4, gate="hierarchical", max_iter=500, random_state=0).fit(X, y)
    figure, axes = plt.subplots(1, 2, figsize=(13, 4.4), layout="constrained", width_ratios=[3, 2])
    HierarchyDisplay.from_estimator(model, X, y, ax=axes[0])
    GateDisplay.from_estimator(model, X, "Income", ax=axes[1])
    return figure


def main(folder=FOLDER):
    folder.mkdir(parents=True, exist_ok=True)
    experts, trust, X, y = concrete()
    pictures = {
        "regimes": regimes(),
        "experts": experts,
        "trust": trust,
        "training": training(X, y),
        "tree": credit(),
    }
    for name, figure in pictures.items():
        path = folder / f"display_{name}.png"
        figure.savefig(path, dpi=90)
        print(path.name)
    plt.close("all")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", default=FOLDER, type=Path)
    main(parser.parse_args().folder)
