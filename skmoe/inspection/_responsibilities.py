"""Whether the gate is right about the experts."""

import numpy as np

from ._rows import expert_names
from ._style import MUTED, colours, legend, new_axes, title

# Means of fewer rows than this say little.
_FEWEST = 5


class ResponsibilitiesDisplay:
    """Responsibilities, which know the target, against gate probabilities, which do not.

    Rows are put into bins by the gate probability of an expert; its mean responsibility is
    drawn for each bin of five rows or more. A gate that is right on average lies on the
    diagonal. Above it, the expert explains more rows than the gate expects. The faint points
    are single rows: the further they are from the diagonal, the more the target tells that
    the features do not.

    Parameters
    ----------
    proba, resp : ndarray of shape (n_samples, n_experts)
        Gate probabilities and responsibilities.
    expert_names : list of str
        Labels of the experts.
    n_bins : int, default=10
        Bins between 0 and 1.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        Mean responsibility by mean gate probability of the bins, an expert each.
    points_ : list of matplotlib Line2D
        Rows, an expert each.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import load_mcycle
    >>> from skmoe.inspection import ResponsibilitiesDisplay
    >>> X, y = load_mcycle(return_X_y=True)
    >>> model = MoERegressor(n_experts=3, random_state=0).fit(X, y)
    >>> display = ResponsibilitiesDisplay.from_estimator(model, X, y)
    >>> display.resp.shape
    (133, 3)
    """

    def __init__(self, proba, resp, expert_names, n_bins=10):
        self.proba = proba
        self.resp = resp
        self.expert_names = expert_names
        self.n_bins = n_bins

    @classmethod
    def from_estimator(cls, estimator, X, y, *, n_bins=10, ax=None):
        """Ask the model and draw.

        Parameters
        ----------
        estimator : MoERegressor or MoEClassifier
            Fitted, with one gate.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Best of rows that the model has not seen.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        n_bins : int, default=10
            Bins between 0 and 1.
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        ResponsibilitiesDisplay
        """
        names = one_gate(estimator, cls)
        proba, resp = estimator.gate_proba(X), estimator.responsibilities(X, y)
        return cls(proba, resp, names, n_bins).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        ResponsibilitiesDisplay
            Itself.
        """
        ax = new_axes(self, ax, (5.2, 4.6))
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        self.lines_, self.points_ = [], []
        faint = float(np.clip(60.0 / len(self.proba), 0.03, 0.4))
        for k, colour in enumerate(colours(len(self.expert_names))):
            proba, resp = self.proba[:, k], self.resp[:, k]
            self.points_ += ax.plot(proba, resp, ".", color=colour, alpha=faint, markersize=4)
            centre, mean = _binned(proba, resp, self.n_bins)
            label = self.expert_names[k]
            self.lines_ += ax.plot(centre, mean, "o-", color=colour, label=label, markersize=5)
        ax.set(xlabel="gate probability", ylabel="responsibility")
        ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
        title(ax, "Is the gate right about the experts?")
        return self


def one_gate(estimator, display):
    """Names of the experts; an error where every output has a gate of its own."""
    names = expert_names(estimator)
    if getattr(estimator, "gate_per_output", False):
        raise TypeError(f"{display.__name__} draws one gate; this model has one per output.")
    return names


def _binned(proba, resp, n_bins):
    """Means of both in bins of ``proba`` that have enough rows."""
    bins = np.minimum((proba * n_bins).astype(int), n_bins - 1)
    count = np.bincount(bins, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        centre, mean = (np.bincount(bins, v, n_bins) / count for v in (proba, resp))
    shown = count >= _FEWEST
    return centre[shown], mean[shown]
