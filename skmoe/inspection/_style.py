"""How all pictures look: colours, axes, names."""

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
# Okabe and Ito's colours can be told apart by the colour-blind, too.
_COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D1F", "#555555"]


def colours(n):
    """Return n colours, one for each expert or class; the first eight by hand."""
    if n <= len(_COLOURS):
        return _COLOURS[:n]
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0.0, 0.95, n))]


def new_axes(display, ax, figsize=(6.4, 4.0), grid="both"):
    """Axes to draw on, given or new, with plain spines; kept as ``ax_`` and ``figure_``."""
    check_matplotlib_support(f"{type(display).__name__}.plot")
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    display.ax_, display.figure_ = ax, ax.figure
    plain(ax, grid)
    return ax


def plain(ax, grid="both"):
    """Take what is not data into the background."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)
    ax.tick_params(colors=MUTED, labelcolor=INK)
    if grid:
        ax.grid(axis=grid, color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)


def title(ax, text):
    """A title that begins where the axes do."""
    ax.set_title(text, loc="left", color=INK, fontsize="medium", weight="bold")


def legend(ax, **options):
    """A legend without a frame, beside the axes where it is long."""
    handles, _ = ax.get_legend_handles_labels()
    many = len(handles) > 6
    where = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if many else {"loc": "best"}
    return ax.legend(**{"frameon": False, "fontsize": "small", **where, **options})
