"""Where the gate sends what: its probabilities over one or two features."""

import numpy as np
from sklearn.utils import _safe_indexing

from ._rows import (
    as_rows,
    column_of,
    expert_names,
    grid_of,
    is_numeric,
    sample_rows,
    values_of,
    with_values,
)
from ._style import INK, colours, legend, new_axes, title


class GateDisplay:
    """Probabilities of the experts over one or two features.

    Other features are averaged over (partial dependence): each point is the mean of
    `gate_proba` over rows of X in which only the shown features are replaced.

    Parameters
    ----------
    features : list of str
        Names of the one or two features.
    values : list of ndarray
        Values of each feature at which the gate was asked, of shape (g,) each.
    proba : ndarray of shape (g, n_experts) or (g1, g2, n_experts)
        Mean gate probabilities.
    expert_names : list of str
        Labels of the experts.
    rows : list of ndarray of shape (m,), default=None
        Values of the features in some rows of X, shown as marks.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D or BarContainer
        One feature: the curves (bars of a column of words), an expert each.
    image_ : matplotlib QuadMesh or None
        Two features: colour of the most probable expert, paler where it is less sure.

    References
    ----------
    Friedman, J. H. (2001). Greedy function approximation: a gradient boosting machine.
    Annals of Statistics 29, 1189-1232 (section 8.2 on partial dependence).

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import load_mcycle
    >>> from skmoe.inspection import GateDisplay
    >>> X, y = load_mcycle(return_X_y=True, as_frame=True)
    >>> model = MoERegressor(n_experts=3, random_state=0).fit(X, y)
    >>> display = GateDisplay.from_estimator(model, X, "times")
    >>> display.proba.shape
    (100, 3)
    """

    def __init__(self, features, values, proba, expert_names, rows=None):
        self.features = features
        self.values = values
        self.proba = proba
        self.expert_names = expert_names
        self.rows = rows

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        features=0,
        *,
        n_rows=200,
        grid_resolution=None,
        random_state=0,
        ax=None,
    ):
        """Ask the gate over a grid and draw.

        Parameters
        ----------
        estimator : MoERegressor or MoEClassifier
            Fitted.
        X : DataFrame or ndarray of shape (n_samples, n_features)
            Rows to average over.
        features : str, int or pair of them, default=0
            One feature, or two numeric ones, by name or position.
        n_rows : int or None, default=200
            At most so many rows are averaged over; all if None.
        grid_resolution : int, default=None
            Points per feature; 100 for one and 50 for two.
        random_state : int, RandomState instance or None, default=0
            Of the choice of rows.
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        GateDisplay

        Raises
        ------
        ValueError
            If a feature is none of X, there are more than two, or one of two is not numeric.
        TypeError
            If X is sparse.
        """
        names = expert_names(estimator)
        X = as_rows(X, cls.__name__)
        one = isinstance(features, (str, int, np.integer))
        found = [column_of(X, feature) for feature in ([features] if one else features)]
        columns, features = [c for c, _ in found], [name for _, name in found]
        if len(columns) not in (1, 2):
            raise ValueError(f"features must be one or two features, but are {len(columns)}.")
        if len(columns) == 2:
            words = [name for column, name in found if not is_numeric(X, column)]
            if words:
                raise ValueError(f"two features must be numeric, but {words} are not.")
        resolution = grid_resolution or (100 if len(columns) == 1 else 50)
        values = [grid_of(X, column, resolution) for column in columns]
        few = _safe_indexing(X, sample_rows(X, n_rows, random_state))
        points = [v.ravel() for v in np.meshgrid(*values, indexing="ij")]
        proba = _mean_proba(estimator, few, columns, points)
        proba = proba.reshape(*map(len, values), -1)
        rows = [values_of(few, column) for column in columns]
        return cls(features, values, proba, names, rows).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        GateDisplay
            Itself.
        """
        self.lines_, self.image_ = [], None
        ax = new_axes(self, ax, grid="y" if len(self.features) == 1 else None)
        if len(self.features) == 2:
            self._draw_regions(ax)
        elif self.values[0].dtype.kind in "OUS":
            self._draw_levels(ax)
        else:
            self._draw_curves(ax)
        title(ax, "Gate: probability of each expert")
        return self

    def _draw_curves(self, ax):
        for k, colour in enumerate(colours(len(self.expert_names))):
            label = self.expert_names[k]
            self.lines_ += ax.plot(
                self.values[0], self.proba[:, k], color=colour, linewidth=2.2, label=label
            )
        if self.rows is not None:
            at = np.asarray(self.rows[0], dtype=float)
            ax.plot(at, np.full(len(at), -0.03), "|", color=INK, alpha=0.35, markersize=5)
        ax.set(xlabel=self.features[0], ylabel="probability", ylim=(-0.06, 1.04))
        legend(ax)

    def _draw_levels(self, ax):
        bottom, at = np.zeros(len(self.values[0])), np.arange(len(self.values[0]))
        for k, colour in enumerate(colours(len(self.expert_names))):
            label = self.expert_names[k]
            bars = ax.bar(at, self.proba[:, k], 0.8, bottom=bottom, color=colour, label=label)
            self.lines_.append(bars)
            bottom = bottom + self.proba[:, k]
        ax.set_xticks(at, self.values[0])
        ax.set(xlabel=self.features[0], ylabel="probability", ylim=(0, 1.0))
        legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))

    def _draw_regions(self, ax):
        from matplotlib.colors import to_rgb

        n_experts = len(self.expert_names)
        palette = np.array([to_rgb(colour) for colour in colours(n_experts)])
        top = self.proba.argmax(axis=2)
        sure = self.proba.max(axis=2)[:, :, None]
        # From pale, where all are alike, to the full colour.
        strength = 0.15 + 0.75 * np.clip((sure * n_experts - 1) / max(n_experts - 1, 1), 0, 1)
        shades = strength * palette[top] + 1.0 - strength
        self.image_ = ax.pcolormesh(*self.values, shades.transpose(1, 0, 2), shading="nearest")
        if self.rows is not None:
            ax.plot(*self.rows, ".", color=INK, alpha=0.35, markersize=3)
        for k in np.unique(top):
            ax.plot([], [], "s", color=palette[k], label=self.expert_names[k], markersize=9)
        ax.set(xlabel=self.features[0], ylabel=self.features[1])
        legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _mean_proba(estimator, X, columns, points, most=50_000):
    """Mean of ``gate_proba`` over the rows of X at each point (g, K), in parts that fit."""
    m = X.shape[0]
    step = max(1, most // m)
    parts = []
    for start in range(0, len(points[0]), step):
        some = [p[start : start + step] for p in points]
        proba = estimator.gate_proba(with_values(X, columns, some))
        parts.append(proba.reshape(len(some[0]), m, -1).mean(axis=1))
    return np.concatenate(parts)
