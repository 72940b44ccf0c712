"""Draws a fitted tree of gates into docs/images/gate_tree.png.

Reads the satellite set from the folder that SKMOE_DATA names.
"""

import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmoe import MoEClassifier
from skmoe.gates import HierarchicalGate

IMAGES = Path(__file__).parents[1] / "images"
INK, MUTED = "#1f2430", "#6b7280"
# Okabe and Ito's colours, one for each class.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"]
BRANCHING = ((2, 2), (2,), 1, 1)


def satellite():
    """Pixels (n, 36), their kinds of ground (n,)."""
    path = Path(os.environ["SKMOE_DATA"]) / "satellite.csv.gz"
    frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    return frame.drop(columns="classes").to_numpy(float), frame["classes"].to_numpy()


def reach(model, X, y):
    """Weight of each class at each path of the tree, {path: (n_classes,)}."""
    gate, resp = model.gate_, model.responsibilities(X, y)
    onehot = (y[:, None] == model.classes_).astype(float)
    found = {(): onehot.sum(axis=0)}
    for node in gate.nodes_:
        for c, (start, stop) in enumerate(node.branches):
            found[(*node.path, c)] = resp[:, start:stop].sum(axis=1) @ onehot
    return found


def places(gate):
    """Where each path stands: {path: (x, y)}; leaves side by side, parents above them."""
    leaves, depth = {}, {}
    for node in gate.nodes_:
        for c, (start, stop) in enumerate(node.branches):
            path = (*node.path, c)
            leaves[path] = (start + stop - 1) / 2
            depth[path] = len(path)
    leaves[()], depth[()] = (gate.n_experts_ - 1) / 2, 0
    return {path: (leaves[path], -depth[path]) for path in leaves}


def bar(axes, x, y, counts, label):
    """The classes of the rows that come here, as one bar of a fixed width."""
    left, width = x - 0.38, 0.76
    for share, colour in zip(counts / counts.sum(), COLOURS):
        axes.barh(y, share * width, left=left, height=0.2, color=colour, zorder=3)
        left += share * width
    axes.text(x, y - 0.2, label, ha="center", va="center", size=9, color=INK, zorder=4)


def draw(model, X, y, path):
    """The tree: a bar of classes for each node and expert, lines as wide as their rows."""
    at, weight, gate = places(model.gate_), reach(model, X, y), model.gate_
    depth = max(len(node.path) for node in gate.nodes_) + 1
    figure, axes = plt.subplots(figsize=(11, 2.0 + 1.15 * depth), layout="constrained")
    axes.set(xlim=(-0.6, gate.n_experts_ - 0.4), ylim=(-depth - 0.4, 0.55))
    axes.set_axis_off()
    for place, (x, height) in at.items():
        if place:
            top = at[place[:-1]]
            share = weight[place].sum() / len(y)
            width = 1.0 + 14.0 * share
            xs, ys = [top[0], x], [top[1] - 0.3, height + 0.1]
            axes.plot(xs, ys, color=MUTED, alpha=0.35, linewidth=width, zorder=1)
        leaf = place not in [node.path for node in gate.nodes_]
        share = f"{100 * weight[place].sum() / len(y):.0f} %"
        bar(axes, x, height, weight[place], f"expert {round(x)}, {share}" if leaf else share)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in COLOURS]
    axes.legend(handles, model.classes_, ncols=6, loc="upper center", frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main():
    """Fit on all pixels, and draw."""
    X, y = satellite()
    gate = HierarchicalGate(BRANCHING)
    model = MoEClassifier(gate=gate, max_iter=500, random_state=0).fit(X, y)
    print(np.round(model.load_, 3), model.objective_)
    draw(model, X, y, IMAGES / "gate_tree.png")


if __name__ == "__main__":
    main()
