"""Cells of colour with figures on them."""

import numpy as np

from ._style import INK, new_axes

# Inches, so that a title fits beside the names of the rows.
_NARROWEST = 5.0


def two_figures(value):
    """A number of two significant figures, without an exponent unless it is far from one."""
    text = f"{value:.2g}"
    short = 1e-3 <= abs(value) < 1e6
    return np.format_float_positional(float(text), trim="-") if short else text


def heatmap(display, ax, shades, texts, rows, columns, *, cmap, limits):
    """Draw cells coloured by ``shades``, with ``texts`` on them where they are few enough.

    Parameters
    ----------
    display : display
        Gets ``ax_`` and ``figure_``.
    ax : matplotlib Axes or None
        New ones if None.
    shades : ndarray of shape (r, c)
        Colours, within ``limits``; NaN stays white.
    texts : ndarray of str of shape (r, c)
    rows, columns : list of str
        Labels.
    cmap : str
        Name of a colormap.
    limits : tuple of float
        Ends of the colormap.

    Returns
    -------
    matplotlib.image.AxesImage
    """
    n_rows, n_columns = shades.shape
    width = max(2.2 + 0.62 * n_columns, _NARROWEST)
    ax = new_axes(display, ax, (width, 1.9 + 0.42 * n_rows), grid=None)
    image = ax.imshow(shades, cmap=cmap, vmin=limits[0], vmax=limits[1], aspect="auto")
    ax.set_xticks(np.arange(n_columns), columns)
    ax.set_yticks(np.arange(n_rows), rows)
    if max(map(len, columns)) > 5:
        for label in ax.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if shades.size <= 200:
        colours = image.cmap(image.norm(np.ma.masked_invalid(shades)))
        for i, j in np.ndindex(shades.shape):
            dark = np.isfinite(shades[i, j]) and colours[i, j, :3] @ (0.3, 0.59, 0.11) < 0.5
            tint = "white" if dark else INK
            ax.text(j, i, texts[i, j], ha="center", va="center", color=tint, fontsize="small")
    return image
