"""How much each expert is used."""

import numpy as np

from .._validation import check_weight
from ._rows import expert_names
from ._style import INK, MUTED, colours, legend, new_axes, title


class LoadDisplay:
    """Load and importance of the experts, beside an equal share.

    Parameters
    ----------
    load : ndarray of shape (n_experts,)
        Share of the rows whose first choice is the expert.
    importance : ndarray of shape (n_experts,)
        Mean gate probability.
    expert_names : list of str
        Labels of the experts.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    load_bars_, importance_bars_ : matplotlib BarContainer

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import load_mcycle
    >>> from skmoe.inspection import LoadDisplay
    >>> X, y = load_mcycle(return_X_y=True)
    >>> model = MoERegressor(n_experts=3, random_state=0).fit(X, y)
    >>> display = LoadDisplay.from_estimator(model, X)
    >>> bool(abs(display.load.sum() - 1) < 1e-9), len(display.load_bars_)
    (True, 3)
    """

    def __init__(self, load, importance, expert_names):
        self.load = load
        self.importance = importance
        self.expert_names = expert_names

    @classmethod
    def from_estimator(cls, estimator, X, *, sample_weight=None, ax=None):
        """Ask the gate and draw.

        Parameters
        ----------
        estimator : MoERegressor or MoEClassifier
            Fitted.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows to share out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        LoadDisplay
        """
        names = expert_names(estimator)
        proba, first = estimator.gate_proba(X), estimator.route(X)[0][:, 0]
        weight = check_weight(sample_weight, X)
        weight = weight / weight.sum()
        load = np.bincount(first, weights=weight, minlength=len(names))
        return cls(load, weight @ proba, names).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        LoadDisplay
            Itself.
        """
        n_experts = len(self.expert_names)
        ax = new_axes(self, ax, (6.4, 1.7 + 0.5 * n_experts), grid="x")
        at, palette = np.arange(n_experts), colours(n_experts)
        self.load_bars_ = ax.barh(at - 0.19, self.load, 0.36, color=palette)
        self.importance_bars_ = ax.barh(at + 0.19, self.importance, 0.36, color=palette, alpha=0.4)
        ax.axvline(1.0 / n_experts, color=INK, linewidth=1, linestyle=":", label="equal share")
        ax.barh([0], [0], color=MUTED, label="load: share of first choices")
        ax.barh([0], [0], color=MUTED, alpha=0.4, label="importance: mean probability")
        ax.set_yticks(at, self.expert_names)
        ax.invert_yaxis()
        ax.set(xlabel="share of the rows", xlim=(0, None))
        legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=3)
        title(ax, "Use of the experts")
        return self
