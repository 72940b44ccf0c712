"""Draws docs/images/distributions.png: predictive distributions of numbers and of counts.

python docs/figures/distributions.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.datasets import load_mcycle, load_patent

IMAGES = Path(__file__).parents[1] / "images"
BLUE, ORANGE, GREEN, INK = "#0072B2", "#E69F00", "#009E73", "#1f2430"
TIME = 14.2


def draw_density(axes, model, X, y):
    """The density over time, its mean, and 90 % of the probability."""
    time, accel = np.linspace(2.0, 58.0, 300), np.linspace(-175.0, 112.0, 400)
    dist = model.predict_dist(time[:, None])
    height = np.array([dist.pdf(value) for value in accel])
    axes.pcolormesh(time, accel, height**0.4, cmap="Blues", rasterized=True)
    lower, upper = dist.interval(0.9)
    axes.plot(time, lower, time, upper, color=BLUE, linewidth=1.2)
    axes.plot(time, dist.mean(), color=ORANGE, linewidth=2, label="mean")
    axes.plot([], [], color=BLUE, linewidth=1.2, label="90 % interval")
    axes.scatter(X[:, 0], y, s=9, color=INK, linewidths=0, label="observed")
    axes.axvline(TIME, color=GREEN, linestyle=":", linewidth=1.5)
    axes.set(xlabel="time (ms)", ylabel="acceleration (g)", title="Density over the features")
    axes.legend(loc="lower right", fontsize=8, framealpha=0.9)


def draw_cut(axes, model):
    """The density at one time, with both kinds of intervals."""
    accel = np.linspace(-105.0, 30.0, 600)
    dist = model.predict_dist([[TIME]])
    density = np.array([dist.pdf(value)[0] for value in accel])
    axes.plot(accel, density, color=INK)
    top = density.max()
    for place, kind, colour in ((-0.07, "central", BLUE), (-0.14, "shortest", GREEN)):
        lower, upper = dist.interval(0.5, kind=kind)
        axes.plot([lower[0], upper[0]], [place * top] * 2, color=colour, linewidth=5, label=kind)
    axes.axvline(dist.mean()[0], color=ORANGE, linewidth=1.5, label="mean")
    axes.axvline(dist.mode()[0], color=ORANGE, linewidth=1.5, linestyle=":", label="mode")
    axes.set(xlabel="acceleration (g)", yticks=[], title=f"At {TIME} ms; intervals of 50 %")
    axes.legend(fontsize=8, loc="upper left")


def draw_counts(axes):
    """Probabilities of counts of one company, and what each expert gives."""
    patents = load_patent(as_frame=True).frame
    model = MoERegressor(n_experts=3, likelihood="poisson", n_init=4, random_state=0)
    model.set_params(gate_features=["RDS"], expert_features=["lgRD"])
    rows = patents[["lgRD", "RDS"]]
    one = model.fit(rows, patents["Patents"]).predict_dist(rows.iloc[[COMPANY]])
    counts = np.arange(0, 100)
    axes.bar(counts, [one.pdf(value)[0] for value in counts], color=BLUE, width=0.8)
    lower, median, upper = one.quantile([0.05, 0.5, 0.95])[0]
    for value, style in ((lower, ":"), (median, "-"), (upper, ":")):
        axes.axvline(value, color=ORANGE, linewidth=1.5, linestyle=style)
    axes.set(xlabel="patents of a company", yticks=[], title="Counts; quantiles 5, 50, 95 %")


COMPANY = 68


def main():
    X, y = load_mcycle(return_X_y=True)
    model = MoERegressor(n_experts=4, random_state=0).fit(X, y)
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    draw_density(axes[0], model, X, y)
    draw_cut(axes[1], model)
    draw_counts(axes[2])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / "distributions.png", dpi=110)


if __name__ == "__main__":
    main()
