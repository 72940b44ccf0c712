"""A hierarchical gate as the tree that it is."""

import numpy as np
from sklearn.base import is_classifier

from ._responsibilities import one_gate
from ._style import INK, MUTED, colours, legend, new_axes, title


class HierarchyDisplay:
    """The tree of a hierarchical gate, with what arrives where.

    Lines are as wide as the share of the rows that goes along them. A node names the
    feature that tells its branches apart most. For classes, each bar shows the classes of
    the rows that arrive; for numbers, experts have their colours.

    Parameters
    ----------
    paths : list of tuple of int
        Branches from the root; the empty tuple is the root.
    places : ndarray of shape (n_paths, 2)
        Where each stands.
    shares : ndarray of shape (n_paths,)
        Share of the rows that arrive there.
    composition : ndarray of shape (n_paths, n_parts)
        What the rows that arrive consist of; rows sum to one.
    part_names : list of str
        Classes, or experts for a numeric target.
    labels : list of str
        The feature of a node, or the name of an expert.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    bars_ : list of matplotlib Rectangle
        Parts of all bars, path by path.
    texts_ : list of matplotlib Text
        Under the bars.

    References
    ----------
    Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the EM
    algorithm. Neural Computation 6, 181-214.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import load_concrete
    >>> from skmoe.inspection import HierarchyDisplay
    >>> X, y = load_concrete(return_X_y=True, as_frame=True)
    >>> model = MoERegressor(n_experts=4, gate="hierarchical", random_state=0).fit(X, y)
    >>> display = HierarchyDisplay.from_estimator(model, X, y)
    >>> len(display.paths)
    7
    """

    def __init__(self, paths, places, shares, composition, part_names, labels):
        self.paths = paths
        self.places = places
        self.shares = shares
        self.composition = composition
        self.part_names = part_names
        self.labels = labels

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, ax=None):
        """Follow the rows down the tree and draw.

        Parameters
        ----------
        estimator : MoERegressor or MoEClassifier
            Fitted, with a `HierarchicalGate`.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows to send down.
        y : array-like of shape (n_samples,), default=None
            Targets. With them rows go by responsibility, else by gate probability;
            a classifier needs them.
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        HierarchyDisplay

        Raises
        ------
        TypeError
            If the gate is no tree.
        ValueError
            If a classifier is given without ``y``.
        """
        names, gate = one_gate(estimator, cls), estimator.gate_
        if not hasattr(gate, "nodes_"):
            raise TypeError(f"gate {type(gate).__name__} is no tree; use gate='hierarchical'.")
        weights = estimator.gate_proba(X) if y is None else estimator.responsibilities(X, y)
        parts, part_names = np.eye(len(names)), names
        if is_classifier(estimator):
            if y is None:
                raise ValueError("y is needed to show which classes arrive where.")
            part_names = [str(label) for label in estimator.classes_]
            onehot = np.asarray(y)[:, None] == estimator.classes_
            parts = weights.T @ onehot / np.maximum(weights.sum(axis=0), 1e-300)[:, None]
        use = weights.mean(axis=0)
        below = _experts_below(gate)
        paths = list(below)
        shares = np.array([use[below[path]].sum() for path in paths])
        counts = np.array([use[below[path]] @ parts[below[path]] for path in paths])
        composition = counts / np.maximum(shares, 1e-300)[:, None]
        features = _deciding_features(estimator)
        labels = [features.get(path) or names[below[path][0]] for path in paths]
        return cls(paths, _places(gate, below), shares, composition, part_names, labels).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        HierarchyDisplay
            Itself.
        """
        n_experts, depth = self.places[:, 0].max() + 1, -self.places[:, 1].min()
        ax = new_axes(self, ax, (max(5.0, 1.5 * n_experts), 1.6 + 1.15 * depth), grid=None)
        ax.set_axis_off()
        ax.set(xlim=(-0.6, n_experts - 0.4), ylim=(-depth - 0.5, 0.35))
        at = dict(zip(self.paths, self.places))
        self.bars_, self.texts_ = [], []
        for path, (x, y), share in zip(self.paths, self.places, self.shares):
            if path:
                top = at[path[:-1]]
                line = {"linewidth": 1.0 + 14.0 * share, "color": MUTED, "alpha": 0.35}
                ax.plot([top[0], x], [top[1] - 0.34, y + 0.12], zorder=1, **line)
        for parts, (x, y), share, label in zip(
            self.composition, self.places, self.shares, self.labels
        ):
            self._draw_bar(ax, x, y, parts)
            text = f"{label}, {100 * share:.0f} %"
            options = {"ha": "center", "va": "top", "color": INK, "fontsize": "small"}
            self.texts_.append(ax.text(x, y - 0.13, text, zorder=4, **options))
        for name, colour in zip(self.part_names, colours(len(self.part_names))):
            ax.barh([0], [0], color=colour, label=name)
        legend(ax, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=6)
        title(ax, "Tree of gates")
        return self

    def _draw_bar(self, ax, x, y, parts):
        left = x - 0.38
        for part, colour in zip(parts, colours(len(parts))):
            bars = ax.barh(y, 0.76 * part, left=left, height=0.2, color=colour, zorder=3)
            self.bars_ += bars.patches
            left += 0.76 * part


def _experts_below(gate):
    """Numbers of the experts below each path, {path: ndarray}; the root comes first."""
    below = {(): np.arange(gate.n_experts_)}
    for node in gate.nodes_:
        for branch, (start, stop) in enumerate(node.branches):
            below[(*node.path, branch)] = np.arange(start, stop)
    return below


def _places(gate, below):
    """Experts side by side, nodes above the middle of theirs: (n_paths, 2)."""
    return np.array([[experts.mean(), -len(path)] for path, experts in below.items()])


def _deciding_features(estimator):
    """The feature by which the branches of each node differ most, {path: name}."""
    gate, columns = estimator.gate_, estimator._gate_columns
    columns = np.arange(estimator.n_features_in_) if columns is None else columns
    default = [f"x{i}" for i in range(estimator.n_features_in_)]
    names = getattr(estimator, "feature_names_in_", default)
    if gate.coef_.shape[1] != len(columns):  # behind a transformer
        names, columns = [f"x{i}" for i in range(gate.coef_.shape[1])], range(gate.coef_.shape[1])
    found = {}
    for node in gate.nodes_:
        slopes = gate.coef_[node.columns] * gate.scale_
        spread = np.ptp(slopes, axis=0)
        found[node.path] = str(names[columns[int(np.argmax(spread))]])
    return found
