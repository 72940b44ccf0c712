"""Who would do how well on whose rows."""

import numpy as np

from ._heatmap import heatmap, two_figures
from ._rows import expert_names
from ._style import INK, title

# Losses beyond so many times the best of a row are equally dark.
_DARKEST = 4.0


class SpecialisationDisplay:
    """Loss of each expert on the rows that each expert leads.

    Experts have specialised where every row of the map has its minimum, which is framed, on
    the diagonal.

    Parameters
    ----------
    loss : ndarray of shape (n_experts, n_experts)
        Loss of the expert of the column on the rows whose most probable expert is that of
        the row, in units of the variance of the target; NaN for an expert that leads nowhere.
    expert_names : list of str
        Labels of the experts.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage
        Logarithm of the loss relative to the best of its row, light where it is small.
    frames_ : list of matplotlib Rectangle
        Around the minimum of each row.

    See Also
    --------
    skmoe.diagnosis.Diagnosis : Has the matrix, ``specialisation``, and more.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_moe_regression
    >>> from skmoe.inspection import SpecialisationDisplay
    >>> X, y = make_moe_regression(600, 2, n_experts=2, random_state=0)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X[:400], y[:400])
    >>> display = SpecialisationDisplay.from_estimator(model, X[400:], y[400:])
    >>> display.loss.argmin(axis=1)
    array([0, 1])
    """

    def __init__(self, loss, expert_names):
        self.loss = loss
        self.expert_names = expert_names

    @classmethod
    def from_estimator(cls, estimator, X, y, *, sample_weight=None, ax=None):
        """Diagnose the mixture on given rows and draw.

        Parameters
        ----------
        estimator : MoERegressor or MoEClassifier
            Fitted.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Best of rows that the model has not seen.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        SpecialisationDisplay
        """
        names = expert_names(estimator)
        diagnosis = estimator.diagnose(X, y, sample_weight, one_expert=None)
        return cls(diagnosis.specialisation.to_numpy(), names).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        SpecialisationDisplay
            Itself.
        """
        from matplotlib.patches import Rectangle

        loss = self.loss
        led = ~np.isnan(loss).all(axis=1)
        best = np.full((len(loss), 1), np.nan)
        best[led, 0] = np.nanmin(loss[led], axis=1)
        tiny = np.finfo(float).tiny
        shades = np.log(np.maximum(loss, tiny) / np.maximum(best, tiny))
        texts = np.array([["" if np.isnan(v) else two_figures(v) for v in row] for row in loss])
        limits = 0.0, np.log(_DARKEST)
        names = self.expert_names
        self.image_ = heatmap(self, ax, shades, texts, names, names, cmap="Blues", limits=limits)
        self.frames_ = []
        for row in np.flatnonzero(led):
            at = int(np.nanargmin(loss[row])) - 0.46, row - 0.46
            frame = Rectangle(at, 0.92, 0.92, fill=False, edgecolor=INK, linewidth=2)
            self.frames_.append(self.ax_.add_patch(frame))
        self.ax_.set(xlabel="loss of", ylabel="on the rows of")
        title(self.ax_, "Specialisation; best of a row framed")
        return self
