"""Errors of coefficients, or of anything, from refits to samples of rows."""

import warnings
from numbers import Integral

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._outputs import refuse_by_output
from .._validation import check_weight
from ._errors import StandardErrors, expert_number
from ._layout import Layout, check_linear
from ._resampling import Resampler, Simulator

KINDS, STARTS = ("nonparametric", "parametric"), ("fit", "fresh")
INTERVALS = ("percentile", "basic", "normal")
_KEYS = ["part", "expert", "outcome", "term"]


class Bootstrap(StandardErrors):
    """Coefficients with those of the replicates; what `bootstrap` returns.

    Parameters
    ----------
    names : DataFrame
        As in `StandardErrors`; for a statistic of one's own ``part`` is "statistic" and
        ``term`` the number of the value.
    estimates : ndarray of shape (p,)
        Values of the fit.
    replicates : ndarray of shape (n_replicates, p)
        Values of the refits, in the same order of experts.
    reference : str
        Name of the expert whose gate coefficients are zero.
    orders : ndarray of int of shape (n_replicates, n_experts)
        Which expert of the refit stood for each expert of the fit.
    converged : ndarray of bool of shape (n_replicates,)
        Whether the refit did.

    Attributes
    ----------
    std_error : ndarray of shape (p,)
        Standard deviations over the replicates.
    bias : ndarray of shape (p,)
        Mean over the replicates minus the estimate.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.inference import bootstrap
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> y = 2 * X[:, 0] + 0.1 * np.sin(50 * X[:, 0])
    >>> model = MoERegressor(n_experts=1, random_state=0).fit(X, y)
    >>> found = bootstrap(model, X, y, n_replicates=20, random_state=0)
    >>> found.replicates.shape, found.table()["term"].tolist()
    ((20, 3), ['x0', '(intercept)', 'log(scale)'])
    """

    def __init__(self, names, estimates, replicates, reference, orders, converged):
        covariance = np.atleast_2d(np.cov(replicates, rowvar=False))
        super().__init__(names, estimates, covariance, reference)
        self.replicates = replicates
        self.orders = orders
        self.converged = converged

    @property
    def bias(self):
        """Mean over the replicates minus the estimate, (p,)."""
        return self.replicates.mean(axis=0) - self.estimates

    def table(self, level=0.95, interval="percentile"):
        """Estimates, errors, Wald tests against zero and confidence intervals.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals, between 0 and 1.
        interval : {"percentile", "basic", "normal"}, default="percentile"
            Quantiles of the replicates; these mirrored at the estimate; or the estimate
            and multiples of the standard error.

        Returns
        -------
        DataFrame
            As that of `StandardErrors.table`. Noise has no test.

        References
        ----------
        Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application,
        chapter 5. Cambridge University Press.
        """
        if interval not in INTERVALS:
            raise ValueError(f"interval={interval!r} is unknown; valid are {INTERVALS}.")
        table = super().table(level)
        if interval == "normal":
            return table
        ends = np.quantile(self.replicates, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
        if interval == "basic":
            ends = 2.0 * self.estimates - ends[::-1]
        return table.assign(lower=ends[0], upper=ends[1])


def bootstrap(
    model,
    X,
    y,
    sample_weight=None,
    *,
    kind="nonparametric",
    n_replicates=200,
    start="fit",
    statistic=None,
    groups=None,
    reference=0,
    exposure=None,
    n_jobs=None,
    random_state=None,
):
    """Refit a mixture to samples of rows, to see how far its coefficients move.

    Experts have no order: each refit's are given the labels of the fit's experts that have
    the most responsibility for the same rows of X, so that the sum over all experts is
    largest (Stephens 2000).

    Parameters
    ----------
    model : MoERegressor or MoEClassifier
        Fitted. Without ``statistic`` it needs ``gate="softmax"`` and linear experts. A number of
        experts that was chosen stays as it is.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        The features that the model was fitted to.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The targets that it was fitted to.
    sample_weight : array-like of shape (n_samples,), default=None
        The weights of the fit. A row of weight 2 counts as two rows.
    kind : {"nonparametric", "parametric"}, default="nonparametric"
        Draw rows with replacement, which holds where the law of the noise is wrong, or
        draw new targets from the mixture at the rows' features.
    n_replicates : int, default=200
        Refits, at least 2; a thousand or more for percentiles.
    start : {"fit", "fresh"}, default="fit"
        Refits start at the responsibilities of the fit, which is fast and keeps to its
        optimum, or as the model itself does: errors then tell of other optima, too.
    statistic : callable, default=None
        What to look at instead of the coefficients: takes a fitted mixture and returns an
        array, such as ``lambda model: model.predict(grid)``. For all experts and gates.
        The order of experts in it is that of each refit; see ``orders`` of the result.
    groups : array-like of shape (n_samples,), default=None
        Labels of rows that are not independent; groups are drawn instead of rows.
    reference : int or str, default=0
        Expert, by number or name, whose gate coefficients are zero.
    exposure : array-like of shape (n_samples,), default=None
        Of counts, as in `fit`.
    n_jobs : int, default=None
        Processes, as in joblib; the result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Source of the samples, and of what is random in the refits.

    Returns
    -------
    Bootstrap
        With ``table``, ``std_error``, ``replicates``, ``wald_test``.

    Raises
    ------
    TypeError
        If there are no coefficients and no ``statistic``, or targets cannot be simulated.
    ValueError
        If a parameter makes no sense.

    Warns
    -----
    UserWarning
        If refits did not converge.

    References
    ----------
    Efron, B. (1979). Bootstrap methods: another look at the jackknife. Annals of
    Statistics 7, 1-26.

    Stephens, M. (2000). Dealing with label switching in mixture models. Journal of the
    Royal Statistical Society B 62, 795-809.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.inference import bootstrap
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, size=(200, 1))
    >>> y = np.abs(X[:, 0]) + 0.05 * rng.normal(size=200)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> table = bootstrap(model, X, y, n_replicates=20, random_state=0).table()
    >>> slopes = table[(table.part == "expert") & (table.term == "x0")]
    >>> bool((slopes["upper"] - slopes["lower"] < 0.2).all())
    True
    """
    check_is_fitted(model)
    refuse_by_output(model, "bootstrap")
    _check(kind, start, n_replicates, groups, statistic)
    if statistic is None:
        check_linear(model, "bootstrap without a statistic")
    number = expert_number(model, reference)
    if kind == "parametric":
        sampler = Simulator(model, X, y, sample_weight, exposure)
    else:
        sampler = Resampler(model, X, y, sample_weight, groups, exposure)
    resp = model._posterior(X, y, exposure)[0]
    weight = check_weight(sample_weight, np.zeros(len(resp)))
    refit = _Refit(template(model, n_jobs), X, y, exposure, resp, weight, start)
    if statistic is None:
        refit.look = _Coefficients(model, number)
    else:
        refit.look = _Statistic(statistic)
    seeds = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=n_replicates)
    every = Parallel(n_jobs=n_jobs)(delayed(refit)(sampler, seed) for seed in seeds)
    values, orders, converged = map(np.array, zip(*every, strict=True))
    _warn_of_unfinished(converged)
    own = refit.look(model, np.arange(model.n_experts_))
    name = model.expert_names_[number]
    return Bootstrap(refit.look.names_of(own), own, values, name, orders, converged)


def _check(kind, start, n_replicates, groups, statistic):
    for name, value, valid in (("kind", kind, KINDS), ("start", start, STARTS)):
        if value not in valid:
            raise ValueError(f"{name}={value!r} is unknown; valid are {valid}.")
    if not isinstance(n_replicates, Integral) or n_replicates < 2:
        raise ValueError(f"n_replicates={n_replicates!r} must be a whole number of at least 2.")
    if groups is not None and kind == "parametric":
        raise ValueError(
            "groups says that rows are not independent, but kind='parametric' draws them so; "
            "use kind='nonparametric'."
        )
    if statistic is not None and not callable(statistic):
        raise ValueError(f"statistic={statistic!r} must be a function of a fitted mixture.")


def template(model, n_jobs):
    """An unfitted copy for the refits: with as many experts, and threads of its own left out."""
    options = {"warm_start": False, "on_expert_error": "raise"}
    if not isinstance(model.experts, list):
        options["n_experts"] = model.n_experts_
    if n_jobs not in (None, 1):
        options["n_jobs"] = 1
    return clone(model).set_params(**options)


class _Refit:
    """Fits the model to samples; may go to another process."""

    def __init__(self, template, X, y, exposure, resp, weight, start):
        self.template, self.data = template, (X, y, exposure)
        self.resp, self.weight, self.start = resp, weight, start

    def __call__(self, sampler, seed):
        """Statistic (p,), order of the experts (K,), and whether the refit converged."""
        rng = np.random.RandomState(seed)
        sample = sampler.draw(rng)
        model = clone(self.template).set_params(random_state=int(rng.randint(2**31 - 1)))
        if self.start == "fit":
            model.set_params(init=self.resp[sample.rows], n_init=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # they are counted
            sample.fit(model)
        order = matched(model._posterior(*self.data)[0], self.resp, self.weight)
        return self.look(model, order), order, model.converged_


def matched(found, resp, weight):
    """Experts of a refit that stand for those of the fit, as numbers (K,).

    Parameters
    ----------
    found, resp : ndarray of shape (n, K)
        Responsibilities of the refit, and of the fit, for the same rows.
    weight : ndarray of shape (n,)
    """
    return linear_sum_assignment(-(weight[:, None] * resp).T @ found)[1]


class _Coefficients:
    """Reported coefficients of a mixture whose experts stand for others."""

    def __init__(self, model, reference):
        self.reference, self.experts = reference, list(model.expert_names_)
        self.names = Layout(model, reference).names
        self.index = pd.MultiIndex.from_frame(self.names)

    def __call__(self, model, order):
        layout = Layout(model, int(order[self.reference]))
        stands_for = {model.expert_names_[j]: self.experts[k] for k, j in enumerate(order)}
        names = layout.names.assign(expert=layout.names["expert"].replace(stands_for))
        values = pd.Series(layout.estimates(model._parts), pd.MultiIndex.from_frame(names[_KEYS]))
        return values.reindex(self.index).to_numpy()

    def names_of(self, values):
        return self.names


class _Statistic:
    """A function of the user, as a flat array."""

    def __init__(self, function):
        self.function = function

    def __call__(self, model, order):
        return np.ravel(np.asarray(self.function(model), dtype=np.float64))

    def names_of(self, values):
        rows = [("statistic", "", "", str(i)) for i in range(len(values))]
        return pd.DataFrame(rows, columns=_KEYS)


def _warn_of_unfinished(converged):
    if not converged.all():
        warnings.warn(
            f"{(~converged).sum()} of {len(converged)} refits did not converge; raise max_iter of "
            f"the model, or look at ``converged``.",
            UserWarning,
            stacklevel=3,
        )
