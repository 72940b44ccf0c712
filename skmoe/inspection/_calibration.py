"""Whether predictive distributions mean what they say."""

import numpy as np
import scipy.stats

from ._rows import expert_names
from ._style import INK, MUTED, colours, legend, new_axes, title


def _transforms(estimator, X, y, display):
    """Probability integral transforms (n,) or (n, m) of observed targets."""
    expert_names(estimator)
    if not hasattr(estimator, "predict_dist"):
        raise TypeError(
            f"{display.__name__} needs a numeric target; for classes use "
            f"sklearn.calibration.CalibrationDisplay."
        )
    return np.asarray(estimator.predict_dist(X).pit(y))


class PITDisplay:
    """Histogram of the probability integral transforms of observed targets.

    It is flat where the predictive distributions are right. A hump means that they are too
    wide, a trough that they are too narrow, a slope that they are off to one side.

    Parameters
    ----------
    pit : ndarray of shape (n_samples,)
        Probability that the model gave to values up to the observed one.
    n_bins : int, default=20
        Bars between 0 and 1.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    bars_ : matplotlib BarContainer
        Density of the transforms, 1 on average.
    band_ : matplotlib Polygon
        Where 95 % of the bars would be if the distributions were right.

    References
    ----------
    Dawid, A. P. (1984). Statistical theory: the prequential approach. JRSS A 147, 278-292.

    Gneiting, T., Balabdaoui, F. and Raftery, A. E. (2007). Probabilistic forecasts,
    calibration and sharpness. JRSS B 69, 243-268.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import load_mcycle
    >>> from skmoe.inspection import PITDisplay
    >>> X, y = load_mcycle(return_X_y=True)
    >>> model = MoERegressor(n_experts=4, random_state=0).fit(X, y)
    >>> display = PITDisplay.from_estimator(model, X, y, n_bins=10)
    >>> display.pit.shape, len(display.bars_)
    ((133,), 10)
    """

    def __init__(self, pit, n_bins=20):
        self.pit = pit
        self.n_bins = n_bins

    @classmethod
    def from_estimator(cls, estimator, X, y, *, n_bins=20, ax=None):
        """Predict distributions and draw.

        Parameters
        ----------
        estimator : MoERegressor
            Fitted.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows that the model has not seen.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; several outputs are put together.
        n_bins : int, default=20
            Bars.
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        PITDisplay

        Raises
        ------
        TypeError
            For a classifier.
        """
        return cls(_transforms(estimator, X, y, cls).ravel(), n_bins).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        PITDisplay
            Itself.
        """
        ax = new_axes(self, ax, grid="y")
        n, bins = len(self.pit), np.linspace(0.0, 1.0, self.n_bins + 1)
        heights, _ = np.histogram(self.pit, bins, density=True)
        low, high = scipy.stats.binom(n, 1.0 / self.n_bins).ppf([0.025, 0.975]) * self.n_bins / n
        self.band_ = ax.axhspan(low, high, color=MUTED, alpha=0.2, lw=0, label="95 % if uniform")
        width = 1.0 / self.n_bins
        self.bars_ = ax.bar(
            bins[:-1], heights, 0.92 * width, align="edge", color=colours(1)[0], alpha=0.85
        )
        ax.axhline(1.0, color=INK, linewidth=1, linestyle=":")
        ax.set(xlabel="probability integral transform", ylabel="density", xlim=(0, 1))
        legend(ax, loc="lower right", bbox_to_anchor=(1.0, 1.0))
        title(ax, f"PIT histogram of {n} rows")
        return self


class CoverageDisplay:
    """Share of observed targets inside central intervals, against what they promise.

    Parameters
    ----------
    levels : ndarray of shape (q,)
        Probability inside each central interval.
    coverage : ndarray of shape (q,)
        Share of the rows whose target is inside.
    n_samples : int
        Rows, for the width of the band.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
    band_ : matplotlib PolyCollection
        Where 95 % of the shares would be if the distributions were right.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import load_mcycle
    >>> from skmoe.inspection import CoverageDisplay
    >>> X, y = load_mcycle(return_X_y=True)
    >>> model = MoERegressor(n_experts=4, random_state=0).fit(X, y)
    >>> display = CoverageDisplay.from_estimator(model, X, y, levels=[0.5, 0.9])
    >>> display.coverage.shape
    (2,)
    """

    def __init__(self, levels, coverage, n_samples):
        self.levels = levels
        self.coverage = coverage
        self.n_samples = n_samples

    @classmethod
    def from_estimator(cls, estimator, X, y, *, levels=None, ax=None):
        """Predict distributions and draw.

        Parameters
        ----------
        estimator : MoERegressor
            Fitted.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows that the model has not seen.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; several outputs are put together.
        levels : array-like of shape (q,), default=None
            Inside (0, 1); from 0.05 to 0.95 by default.
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        CoverageDisplay

        Raises
        ------
        TypeError
            For a classifier.
        ValueError
            If a level is not inside (0, 1).
        """
        levels = np.linspace(0.05, 0.95, 19) if levels is None else np.sort(np.ravel(levels))
        if not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"levels must be inside (0, 1), but are {levels.tolist()}.")
        # Central intervals hold what is not too far from the median, in probability.
        centred = np.abs(2.0 * _transforms(estimator, X, y, cls).ravel() - 1.0)
        coverage = (centred[:, None] <= levels).mean(axis=0)
        return cls(levels, coverage, len(centred)).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        CoverageDisplay
            Itself.
        """
        ax = new_axes(self, ax, (4.8, 4.4))
        exact = np.linspace(0.0, 1.0, 101)
        law = scipy.stats.binom(self.n_samples, exact)
        low, high = law.ppf(0.025) / self.n_samples, law.ppf(0.975) / self.n_samples
        self.band_ = ax.fill_between(
            exact, low, high, color=MUTED, alpha=0.25, linewidth=0, label="95 % if right"
        )
        ax.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":")
        (self.line_,) = ax.plot(
            self.levels, self.coverage, "o-", color=colours(1)[0], markersize=4, label="observed"
        )
        ax.set(xlabel="level of the central interval", ylabel="share of targets inside")
        ax.set(xlim=(0, 1), ylim=(0, 1))
        legend(ax, loc="upper left")
        title(ax, f"Coverage, {self.n_samples} rows")
        return self
