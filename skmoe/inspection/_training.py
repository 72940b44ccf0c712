"""How a fit came about: convergence, and the choice of a number of experts."""

import numpy as np

from ._rows import expert_names
from ._style import INK, MUTED, colours, legend, new_axes, plain, title

_CRITERIA = {
    "bic": "BIC",
    "bicc": "BIC, corrected for few rows",
    "icl": "ICL",
    "aic": "AIC",
    "cv": "held-out log-likelihood per row",
    "log_likelihood": "log-likelihood per row",
    "objective": "objective",
}


class ConvergenceDisplay:
    """The objective and the load of the experts by iteration.

    Parameters
    ----------
    objective : ndarray of shape (n_iter,)
        Penalised mean log-likelihood of each iteration.
    load : ndarray of shape (n_iter, n_experts)
        Share of the training weight whose most probable expert is k.
    expert_names : list of str
        Labels of the experts.
    validation : ndarray of shape (n_iter,), default=None
        Held-out log-likelihood, where training stops early.
    stage : list of str, default=None
        Stage of each iteration, where there are several.
    converged : bool, default=True
        Whether the objective stopped rising.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        For the objective and, unless a single one was given, for the load.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
        The objective.
    areas_ : list of matplotlib PolyCollection
        The load, an expert each.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import load_mcycle
    >>> from skmoe.inspection import ConvergenceDisplay
    >>> X, y = load_mcycle(return_X_y=True)
    >>> model = MoERegressor(n_experts=3, random_state=0).fit(X, y)
    >>> display = ConvergenceDisplay.from_estimator(model)
    >>> len(display.objective) == model.n_iter_
    True
    """

    def __init__(self, objective, load, expert_names, validation=None, stage=None, converged=True):
        self.objective = objective
        self.load = load
        self.expert_names = expert_names
        self.validation = validation
        self.stage = stage
        self.converged = converged

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Read the history of a fit and draw.

        Parameters
        ----------
        estimator : MoERegressor or MoEClassifier
            Fitted.
        ax : matplotlib Axes or pair of them, default=None
            New ones by default. A single one gets the objective only.

        Returns
        -------
        ConvergenceDisplay
        """
        names, history = expert_names(estimator), estimator.history_
        objective = np.array(history["objective"])
        # Experts may have been added or removed on the way: those of the end are shown.
        load = np.full((len(objective), len(names)), np.nan)
        for row, shares in zip(load, history["load"]):
            if len(shares) == len(names):
                row[:] = shares
        validation = history.get("validation")
        validation = None if validation is None else np.array(validation)
        converged = bool(estimator.converged_)
        stage = history.get("stage")
        return cls(objective, load, names, validation, stage, converged).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or pair of them, default=None
            New ones by default. A single one gets the objective only.

        Returns
        -------
        ConvergenceDisplay
            Itself.
        """
        if ax is None:
            first = new_axes(self, None, (6.4, 4.8))
            grid = first.get_subplotspec().subgridspec(2, 1, height_ratios=[3, 2])
            first.set_subplotspec(grid[0])
            axes = np.array([first, self.figure_.add_subplot(grid[1], sharex=first)])
        else:
            axes = np.atleast_1d(np.asarray(ax, dtype=object))
            new_axes(self, axes[0])
        self.axes_ = axes
        self._draw_objective(axes[0])
        self.areas_ = self._draw_load(axes[1]) if len(axes) > 1 else []
        for each in axes[-1:] if ax is None else axes:
            each.set_xlabel("iteration")
        return self

    def _draw_objective(self, ax):
        at = np.arange(1, len(self.objective) + 1)
        marker = "o" if len(at) < 40 else None
        (self.line_,) = ax.plot(
            at, self.objective, color=colours(1)[0], marker=marker, markersize=3, label="objective"
        )
        if self.validation is not None:
            shown = at[: len(self.validation)]
            ax.plot(shown, self.validation, color=colours(2)[1], label="held-out log-likelihood")
        best = int(np.argmax(self.objective))
        ax.plot(at[best], self.objective[best], "*", color=INK, markersize=11, label="best")
        for i in range(1, len(at)):
            if self.stage is not None and self.stage[i] != self.stage[i - 1]:
                ax.axvline(at[i] - 0.5, color=MUTED, linewidth=0.8, linestyle=":")
                ax.annotate(
                    self.stage[i],
                    (at[i] - 0.4, 0.02),
                    xycoords=("data", "axes fraction"),
                    fontsize="small",
                    color=MUTED,
                )
        # The first iterations are often far below all others.
        low, high = np.quantile(self.objective, 0.1), self.objective.max()
        if len(at) > 20 and self.objective.min() < high - 5 * (high - low) and high > low:
            ax.set_ylim(high - 4 * (high - low), high + 0.2 * (high - low))
        ax.set_ylabel("objective")
        ax.xaxis.get_major_locator().set_params(integer=True)
        legend(ax, loc="lower right")
        title(ax, "Training, " + ("converged" if self.converged else "not converged"))

    def _draw_load(self, ax):
        plain(ax)
        at = np.arange(1, len(self.load) + 1)
        palette = colours(self.load.shape[1])
        areas = ax.stackplot(at, self.load.T, colors=palette, labels=self.expert_names, alpha=0.8)
        ax.set(ylabel="load", ylim=(0, 1), xlim=(1, max(len(at), 2)))
        legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return areas


class ExpertCountDisplay:
    """The criterion along the path of ``n_experts="auto"``, and the number chosen.

    Parameters
    ----------
    n_experts : ndarray of shape (p,) of int
        Numbers that were tried.
    values : ndarray of shape (p,)
        Of the criterion; NaN where there is none.
    chosen : int
        The number that was chosen.
    criterion : str
        Its column in ``path_``.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
    mark_ : matplotlib Line2D
        The number that was chosen.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import load_mcycle
    >>> from skmoe.inspection import ExpertCountDisplay
    >>> X, y = load_mcycle(return_X_y=True)
    >>> model = MoERegressor(n_experts="auto", max_experts=4, random_state=0).fit(X, y)
    >>> display = ExpertCountDisplay.from_estimator(model)
    >>> display.criterion, display.chosen == model.n_experts_
    ('bicc', True)
    """

    def __init__(self, n_experts, values, chosen, criterion):
        self.n_experts = n_experts
        self.values = values
        self.chosen = chosen
        self.criterion = criterion

    @classmethod
    def from_estimator(cls, estimator, *, criterion=None, ax=None):
        """Read the path and draw.

        Parameters
        ----------
        estimator : MoERegressor or MoEClassifier
            Fitted with ``n_experts="auto"`` or `Grow`.
        criterion : str, default=None
            A column of ``path_``; by default "cv" where rows were held out, else "bicc".
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        ExpertCountDisplay

        Raises
        ------
        ValueError
            If the number of experts was given and not chosen, or there is no such criterion.
        """
        expert_names(estimator)
        if not hasattr(estimator, "path_"):
            raise ValueError(
                "the number of experts was given, so there is no path; fit with n_experts='auto'."
            )
        path = estimator.path_
        if criterion is None:
            held_out = "cv" in path and path["cv"].notna().any()
            criterion = "cv" if held_out else "bicc"
        if criterion not in _CRITERIA or criterion not in path:
            known = [name for name in _CRITERIA if name in path]
            raise ValueError(f"criterion={criterion!r} is none of {known}.")
        chosen = int(path.loc[path["chosen"], "n_experts"].iloc[0])
        numbers, values = path["n_experts"].to_numpy(), path[criterion].to_numpy(dtype=float)
        return cls(numbers, values, chosen, criterion).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        ExpertCountDisplay
            Itself.
        """
        ax = new_axes(self, ax)
        colour = colours(1)[0]
        (self.line_,) = ax.plot(self.n_experts, self.values, "o-", color=colour)
        at = self.n_experts == self.chosen
        (self.mark_,) = ax.plot(
            self.n_experts[at],
            self.values[at],
            "o",
            markersize=14,
            markerfacecolor="none",
            markeredgecolor=colours(2)[1],
            markeredgewidth=2.5,
            linestyle="none",
            label=f"chosen: {self.chosen}",
        )
        ax.set_xticks(self.n_experts)
        ax.set(xlabel="number of experts", ylabel=_CRITERIA[self.criterion])
        legend(ax)
        better = "lower" if self.criterion in ("bic", "bicc", "icl", "aic") else "higher"
        title(ax, f"How many experts ({better} is better)")
        return self
