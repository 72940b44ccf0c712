"""Draws the pictures of the documentation into docs/images; run it by hand."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

IMAGES = Path(__file__).parents[1] / "images"
INK, MUTED = "#1f2430", "#6b7280"
# Okabe and Ito's colours.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"


def box(axes, x, y, title, text, colour, height=1.25):
    """A rounded box centred on (x, y), 2.7 wide."""
    axes.add_patch(
        FancyBboxPatch(
            (x - 1.35, y - height / 2),
            2.7,
            height,
            boxstyle="round,pad=0.02,rounding_size=0.14",
            facecolor=colour + "1f",
            edgecolor=colour,
            linewidth=1.8,
        )
    )
    axes.text(x, y + 0.22, title, ha="center", va="center", color=INK, weight="bold", size=13)
    axes.text(x, y - 0.25, text, ha="center", va="center", color=INK, size=10)


def arrow(axes, points, label="", at=(0, 0), **line):
    """A broken line through the points that ends in an arrow, and what travels along it."""
    line = {"color": MUTED, "linewidth": 1.6, **line}
    *before, last, end = points
    if before:
        xs, ys = zip(*before, last)
        axes.plot(xs, ys, solid_capstyle="round", **line)
    head = FancyArrowPatch(last, end, arrowstyle="-|>", mutation_scale=15, shrinkA=0, **line)
    axes.add_patch(head)
    axes.text(*at, label, ha="center", va="center", color=MUTED, size=9.5, family="monospace")


def given(axes, x, y, name, shape):
    """Data that the user gives."""
    axes.text(x, y + 0.12, name, ha="center", va="center", size=17, color=INK)
    small = {"size": 9.5, "color": MUTED, "family": "monospace"}
    axes.text(x, y - 0.3, shape, ha="center", va="center", **small)


def four_nouns(path):
    """Gate, experts, likelihood and router, and the arrays between them."""
    figure, axes = plt.subplots(figsize=(10, 4.6), layout="constrained")
    axes.set(xlim=(0, 13.9), ylim=(0, 6.5))
    axes.set_axis_off()
    given(axes, 0.5, 3.55, "X", "(n, d)")
    given(axes, 7.5, 1.22, "y", "(n,)")
    box(axes, 3.3, 4.7, "Gate", "which expert, given x?", BLUE)
    box(axes, 3.3, 2.6, "Experts", "one prediction each", GREEN)
    box(axes, 7.5, 4.7, "Router", "which of them run?", PINK)
    box(axes, 7.5, 2.6, "Likelihood", "how likely is y?", ORANGE)
    box(axes, 12.1, 3.65, "Mixture", "mean, density, classes", INK)
    arrow(axes, [(1.0, 3.9), (1.88, 4.6)])
    arrow(axes, [(1.0, 3.4), (1.88, 2.7)])
    arrow(axes, [(4.7, 4.7), (6.1, 4.7)], "log_gate\n(n, K)", (5.4, 5.12))
    arrow(axes, [(4.7, 2.6), (6.1, 2.6)], "pred\n(n, K, P)", (5.4, 3.02))
    arrow(axes, [(8.9, 4.7), (10.67, 4.05)], "weights\n(n, top_k)", (10.2, 4.85))
    arrow(axes, [(8.9, 2.6), (10.67, 3.25)], "log_lik\n(n, K)", (10.2, 2.45))
    arrow(axes, [(7.5, 1.6), (7.5, 1.95)])
    back = {"linestyle": (0, (4, 2.5)), "linewidth": 1.4}
    arrow(axes, [(12.1, 4.3), (12.1, 6.0), (3.3, 6.0), (3.3, 5.36)], **back)
    label = "in training: resp (n, K), the responsibilities"
    arrow(axes, [(12.1, 3.0), (12.1, 0.6), (3.3, 0.6), (3.3, 1.94)], label, (7.5, 0.3), **back)
    axes.text(7.5, 6.27, label, ha="center", va="center", color=MUTED, size=9.5, family="monospace")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    four_nouns(IMAGES / "four_nouns.png")
