"""What the experts say over one feature, and what the mixture makes of it."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_consistent_length

from ._rows import (
    as_rows,
    column_of,
    expert_names,
    grid_of,
    is_numeric,
    typical_row,
    values_of,
    with_values,
)
from ._style import INK, colours, legend, new_axes, title

# Experts are drawn where the gate gives them more than this.
_SEEN = 0.05


class ExpertsDisplay:
    """Predictions of the experts over one feature, with the mixture and its band.

    Other features are held at typical values: medians of numbers, the most frequent of
    other values. An expert's line fades where the gate does not trust it.

    Parameters
    ----------
    feature : str
        Name of the feature.
    values : ndarray of shape (g,)
        Values of the feature, ascending.
    pred : ndarray of shape (g, n_experts)
        Prediction of each expert; for classes its probability of ``target``.
    proba : ndarray of shape (g, n_experts)
        Gate probabilities.
    mean : ndarray of shape (g,)
        Prediction of the mixture.
    band : tuple of two ndarray of shape (g,), or None
        Lower and upper end of the predictive interval; None for classes.
    expert_names : list of str
        Labels of the experts.
    level : float, default=0.9
        Probability inside the band.
    target : str, default="target"
        What is predicted.
    data : tuple of ndarray, default=None
        Feature (n,), target (n,) and most probable expert (n,) of observed rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib LineCollection
        One for each expert.
    mean_line_ : matplotlib Line2D
    band_ : matplotlib PolyCollection or None

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import load_mcycle
    >>> from skmoe.inspection import ExpertsDisplay
    >>> X, y = load_mcycle(return_X_y=True, as_frame=True)
    >>> model = MoERegressor(n_experts=3, random_state=0).fit(X, y)
    >>> display = ExpertsDisplay.from_estimator(model, X, y, feature="times")
    >>> display.pred.shape, display.feature, display.target
    ((200, 3), 'times', 'accel')
    """

    def __init__(
        self,
        feature,
        values,
        pred,
        proba,
        mean,
        band,
        expert_names,
        level=0.9,
        target="target",
        data=None,
    ):
        self.feature = feature
        self.values = values
        self.pred = pred
        self.proba = proba
        self.mean = mean
        self.band = band
        self.expert_names = expert_names
        self.level = level
        self.target = target
        self.data = data

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        feature=0,
        target=None,
        level=0.9,
        grid_resolution=200,
        ax=None,
    ):
        """Predict over a grid and draw.

        Parameters
        ----------
        estimator : MoERegressor or MoEClassifier
            Fitted.
        X : DataFrame or ndarray of shape (n_samples, n_features)
            Rows from which the grid and typical values are taken.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Observed targets, drawn as points.
        feature : str or int, default=0
            A numeric feature, by name or position.
        target : label or int, default=None
            The class whose probability is drawn (the last one by default), or the number of
            the output where there are several (the first by default).
        level : float, default=0.9
            Probability inside the band.
        grid_resolution : int, default=200
            Points along the feature.
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        ExpertsDisplay

        Raises
        ------
        ValueError
            If the feature is none of X or not numeric, or there is no such target.
        TypeError
            If X is sparse.
        """
        names = expert_names(estimator)
        X = as_rows(X, cls.__name__)
        column, name = column_of(X, feature)
        if not is_numeric(X, column):
            raise ValueError(f"feature {name!r} is not numeric; GateDisplay draws words, too.")
        values = grid_of(X, column, grid_resolution)
        rows = with_values(typical_row(X), [column], [values])
        find = _class_curves if is_classifier(estimator) else _number_curves
        pred, mean, band, label, observed = find(estimator, rows, y, target, level)
        data = None
        if y is not None:
            check_consistent_length(X, y)
            leader = estimator.gate_proba(X).argmax(axis=1)
            data = np.asarray(values_of(X, column), dtype=float), observed, leader
        proba = estimator.gate_proba(rows)
        return cls(name, values, pred, proba, mean, band, names, level, label, data).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        ExpertsDisplay
            Itself.
        """
        ax = new_axes(self, ax)
        palette = colours(len(self.expert_names))
        self.band_ = None
        if self.band is not None:
            label = f"{100 * self.level:.0f} % band"
            self.band_ = ax.fill_between(
                self.values, *self.band, color="#9db4c8", alpha=0.4, linewidth=0, label=label
            )
        if self.data is not None:
            self._draw_data(ax, palette)
        self.lines_ = [self._draw_expert(ax, k, palette[k]) for k in range(len(palette))]
        (self.mean_line_,) = ax.plot(
            self.values, self.mean, color=INK, linewidth=1.6, linestyle="--", label="mixture"
        )
        ax.set(xlabel=self.feature, ylabel=self.target)
        legend(ax)
        title(ax, "Experts, as strong as the gate trusts them")
        return self

    def _draw_data(self, ax, palette):
        x, y, leader = self.data
        tints = np.array(palette)[leader]
        size = float(np.clip(4000 / len(x), 3, 18))
        ax.scatter(x, y, s=size, c=tints, alpha=0.55, edgecolors="none", zorder=1.5)

    def _draw_expert(self, ax, k, colour):
        from matplotlib.collections import LineCollection
        from matplotlib.colors import to_rgb

        points = np.column_stack([self.values, self.pred[:, k]])
        segments = np.stack([points[:-1], points[1:]], axis=1)
        share = np.minimum(self.proba[:-1, k], self.proba[1:, k])[:, None]
        tint = share * np.array(to_rgb(colour)) + (1 - share)
        seen = share[:, 0] > _SEEN
        lines = LineCollection(
            segments[seen], colors=tint[seen], linewidths=3.5, capstyle="round", zorder=3
        )
        ax.add_collection(lines)
        ax.plot([], [], color=colour, linewidth=3.5, label=self.expert_names[k])
        return lines


def _number_curves(estimator, rows, y, target, level):
    """Curves of a numeric target: pred, mean, band, its name, its observed values."""
    dist = estimator.predict_dist(rows)
    pred, mean = estimator.predict_experts(rows), estimator.predict(rows)
    band = dist.interval(level)
    label = str(getattr(y, "name", None) or "target")
    observed = None if y is None else np.asarray(y, dtype=float)
    if pred.ndim == 2:
        if target not in (None, 0):
            raise ValueError(f"target={target!r}, but there is one output only.")
        return pred, mean, band, label, observed
    output = 0 if target is None else target
    if output not in range(pred.shape[2]):
        raise ValueError(f"target={target!r} is none of the {pred.shape[2]} outputs.")
    label = str(y.columns[output]) if hasattr(y, "columns") else f"output {output}"
    observed = None if observed is None else observed[:, output]
    return pred[:, :, output], mean[:, output], tuple(e[:, output] for e in band), label, observed


def _class_curves(estimator, rows, y, target, level):
    """Curves of the probability of a class; no band."""
    classes = list(estimator.classes_)
    label = classes[-1] if target is None else target
    if label not in classes:
        raise ValueError(f"target={target!r} is none of the classes {classes[:10]}.")
    c = classes.index(label)
    observed = None if y is None else (np.asarray(y) == label).astype(float)
    pred = estimator.predict_experts(rows)[:, :, c]
    return pred, estimator.predict_proba(rows)[:, c], None, f"probability of {label}", observed
