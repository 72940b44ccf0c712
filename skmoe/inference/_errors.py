"""Standard errors of the coefficients of a fitted mixture."""

import warnings

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm
from sklearn.utils.validation import check_is_fitted

from .._door import check_lengths
from .._outputs import refuse_by_output
from .._validation import check_weight
from ._layout import Layout, check_coefficients, penalty_curvature, penalty_slope
from ._observed import ObservedInformation
from ._resampling import group_numbers

# Directions with less curvature than this, in units of the largest, are not identified.
_FLAT = 1e-10
# How far from an optimum a fit may be, in standard errors.
_FAR = 0.25
COVARIANCES = ("observed", "robust")


class StandardErrors:
    """Coefficients with their covariance; what `standard_errors` returns.

    Gate coefficients are contrasts to a reference expert, class scores contrasts to the first
    class; all are in units of features and target as given. Noise stands as the logarithm of
    its scale (Gaussian) or as the likelihood keeps it (``theta_``).

    Parameters
    ----------
    names : DataFrame
        Columns ``part`` ("gate", "expert" or "noise"), ``expert``, ``outcome`` (class or output,
        empty where there is one) and ``term``.
    estimates : ndarray of shape (p,)
        Values of the coefficients.
    covariance : ndarray of shape (p, p)
        Their covariance.
    reference : str
        Name of the expert whose gate coefficients are zero.

    Attributes
    ----------
    std_error : ndarray of shape (p,)
        Square roots of the diagonal of the covariance.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.inference import standard_errors
    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0]]
    >>> y = [0.1, 0.9, 2.2, 2.9, 4.1]
    >>> model = MoERegressor(n_experts=1, random_state=0).fit(X, y)
    >>> errors = standard_errors(model, X, y)
    >>> errors.table()["term"].tolist()
    ['x0', '(intercept)', 'log(scale)']
    >>> bool(errors.wald_test("x0")["p_value"] < 0.001)
    True
    """

    def __init__(self, names, estimates, covariance, reference):
        self.names = names
        self.estimates = estimates
        self.covariance = covariance
        self.reference = reference

    @property
    def std_error(self):
        """Standard errors, (p,); NaN where the rows do not determine a coefficient."""
        return np.sqrt(np.diag(self.covariance))

    def table(self, level=0.95):
        """Coefficients, standard errors, Wald tests against zero and confidence intervals.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals, between 0 and 1.

        Returns
        -------
        DataFrame
            The columns of ``names``, then ``estimate``, ``std_error``, ``z``, ``p_value``,
            ``lower`` and ``upper``. Noise has no test.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level={level!r} must be a probability between 0 and 1.")
        error = self.std_error
        tested = (self.names["part"] != "noise").to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(tested, self.estimates / error, np.nan)
        half = norm.ppf(0.5 + 0.5 * level) * error
        found = {
            "estimate": self.estimates,
            "std_error": error,
            "z": z,
            "p_value": 2.0 * norm.sf(np.abs(z)),
            "lower": self.estimates - half,
            "upper": self.estimates + half,
        }
        return self.names.assign(**found)

    def wald_test(self, term=None, part=None, expert=None, outcome=None, *, equal=False):
        """Test several coefficients at once.

        Parameters
        ----------
        term : str or list of str, default=None
            Features; all but the intercepts if None.
        part : {"gate", "expert"}, default=None
            Both if None.
        expert, outcome : str or list of str, default=None
            All if None.
        equal : bool, default=False
            Test whether coefficients of a term are equal in all chosen experts, rather than
            zero. For ``part="expert"``.

        Returns
        -------
        Series
            ``statistic``, ``df`` and ``p_value`` of the chi-squared test.

        Raises
        ------
        ValueError
            If nothing is chosen, or the chosen coefficients are not determined.
        """
        chosen = self._chosen(term=term, part=part, expert=expert, outcome=outcome)
        matrix = np.eye(len(self.names))[chosen]
        if equal:
            matrix = self._differences(chosen, part)
        value = matrix @ self.estimates
        covariance = matrix @ np.nan_to_num(self.covariance) @ matrix.T
        if np.isnan(np.diag(self.covariance)[np.abs(matrix).sum(axis=0) > 0]).any():
            raise ValueError("the rows do not determine some of the chosen coefficients.")
        statistic = float(value @ np.linalg.solve(covariance, value))
        df = len(matrix)
        found = {"statistic": statistic, "df": df, "p_value": float(chi2.sf(statistic, df))}
        return pd.Series(found)

    def _chosen(self, **wanted):
        keep = (self.names["part"] != "noise").to_numpy(copy=True)
        if wanted["term"] is None:
            keep &= (self.names["term"] != "(intercept)").to_numpy()
        for column, value in wanted.items():
            if value is not None:
                values = [value] if isinstance(value, str) else list(value)
                keep &= self.names[column].isin(values).to_numpy()
        if not keep.any():
            asked = {name: value for name, value in wanted.items() if value is not None}
            raise ValueError(f"no coefficient has {asked}; see the columns of names.")
        return np.flatnonzero(keep)

    def _differences(self, chosen, part):
        if part != "expert":
            raise ValueError("equal=True compares experts; it needs part='expert'.")
        rows, each = [], np.eye(len(self.names))
        for _, group in self.names.loc[chosen].groupby(["outcome", "term"], sort=False):
            first, *others = group.index
            rows += [each[other] - each[first] for other in others]
        if not rows:
            raise ValueError("equal=True needs at least two experts.")
        return np.array(rows)


def standard_errors(
    model,
    X,
    y,
    sample_weight=None,
    *,
    covariance="observed",
    groups=None,
    reference=0,
    exposure=None,
):
    r"""Standard errors of the coefficients of gate and linear experts.

    The observed information of the mixture is computed exactly (Louis 1982), of all rows.
    Penalties and priors of the fit are counted in: with :math:`H` the information of the
    log-likelihood and :math:`P` the curvature of the penalties, the covariance is
    :math:`(H + P)^{-1}`, that of the normal approximation to a posterior. Without penalties
    (``alpha=0`` of experts and gate, ``floor=0`` of the noise) it is the usual
    :math:`H^{-1}` of maximum likelihood. That a penalty shrinks coefficients is not counted.

    Parameters
    ----------
    model : MoERegressor or MoEClassifier
        Fitted, with ``gate="softmax"`` and linear experts.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        The features that the model was fitted to.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The targets that it was fitted to.
    sample_weight : array-like of shape (n_samples,), default=None
        The weights of the fit. A row of weight 2 counts as two rows.
    covariance : {"observed", "robust"}, default="observed"
        "robust" is the sandwich :math:`(H+P)^{-1} M (H+P)^{-1}` with :math:`M` the sum of
        the products of scores, times n / (n - 1): valid where the law of the noise is wrong.
    groups : array-like of shape (n_samples,), default=None
        Labels of rows that are not independent, such as those of a patient. They make the
        covariance robust to it: scores are summed by group first.
    reference : int or str, default=0
        Expert, by number or name, whose gate coefficients are zero: only differences between
        experts' logits are determined.
    exposure : array-like of shape (n_samples,), default=None
        Of counts, as in `fit`.

    Returns
    -------
    StandardErrors
        With `table`, `wald_test`, ``covariance``.

    Raises
    ------
    TypeError
        If gate or experts have no coefficients, or the law has no second derivative.
    ValueError
        If a parameter makes no sense, or the fit has L1 penalties, ``top_k`` or routing.

    Warns
    -----
    UserWarning
        If the rows do not determine a coefficient, or the fit stopped far from an optimum.

    References
    ----------
    Louis, T. A. (1982). Finding the observed information matrix when using the EM
    algorithm. Journal of the Royal Statistical Society B 44, 226-233.

    White, H. (1982). Maximum likelihood estimation of misspecified models. Econometrica 50,
    1-25.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.inference import standard_errors
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, size=(300, 1))
    >>> y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=300)
    >>> model = MoERegressor(n_experts=2, tol=1e-8, random_state=0).fit(X, y)
    >>> table = standard_errors(model, X, y).table()
    >>> slopes = table[(table.part == "expert") & (table.term == "x0")]
    >>> bool((slopes.std_error < 0.05).all())
    True
    """
    check_is_fitted(model)
    _check(model, covariance, exposure)
    number = expert_number(model, reference)
    check_lengths(X, y)
    gate_X, expert_X, target = _views(model, X, y, exposure)
    weight = model._target_weight(target, check_weight(sample_weight, np.zeros(len(target))))
    kept = np.flatnonzero(weight > 0)
    parts, layout = model._parts, Layout(model, number)
    rows = [view.on(view.X[kept]) for view in (gate_X, expert_X)]
    labels = None if groups is None else group_numbers(groups, len(weight))[kept]
    observed = ObservedInformation(parts, *rows, target[kept], weight[kept])
    information, products = observed.matrices(labels)
    slope = observed.score - penalty_slope(parts, weight.sum())
    bend = information + np.diag(penalty_curvature(parts, weight.sum()))
    bend, slope = layout.spread.T @ bend @ layout.spread, layout.spread.T @ slope
    inverse, unknown = _inverse(bend)
    _warn_of_distance(inverse, slope)
    if covariance == "robust" or groups is not None:
        n = weight.sum() if labels is None else len(np.unique(labels))
        middle = layout.spread.T @ products @ layout.spread
        inverse = inverse @ middle @ inverse * (n / max(n - 1.0, 1.0))
    found = layout.reported @ inverse @ layout.reported.T
    lost = np.abs(layout.reported) @ unknown > 0
    found[lost] = found[:, lost] = np.nan
    _warn_of_unknown(layout.names[lost])
    name = model.expert_names_[number]
    return StandardErrors(layout.names, layout.estimates(parts), found, name)


def _check(model, covariance, exposure):
    if covariance not in COVARIANCES:
        raise ValueError(f"covariance={covariance!r} is unknown; valid are {COVARIANCES}.")
    if exposure is not None and hasattr(model, "classes_"):
        raise ValueError("exposure is for counts; leave it out for a classifier.")
    refuse_by_output(model, "standard_errors")
    check_coefficients(model, "standard_errors")
    for name in ("routing", "load_balance"):
        if getattr(model, name) is not None:
            raise ValueError(
                f"standard_errors are those of the dense mixture, and the model has {name}; fit "
                f"with {name}=None."
            )
    if model._top_k is not None:
        raise ValueError(
            f"standard_errors are those of the dense mixture, and top_k={model.top_k}; set it to "
            f"None."
        )


def _views(model, X, y, exposure):
    """Views of gate and experts, and the encoded target."""
    rows = model._rows(X)
    gate_X = model._parts.gate._design(model._gate_rows(rows))
    expert_X = model._parts.experts.on(model._expert_rows(rows))
    target = model._decode_target(y) if exposure is None else model._decode_target(y, exposure)
    return gate_X, expert_X, target


def expert_number(model, reference):
    names = list(model.expert_names_)
    if isinstance(reference, str) and reference in names:
        return names.index(reference)
    whole = isinstance(reference, (int, np.integer)) and not isinstance(reference, bool)
    if whole and 0 <= reference < len(names):
        return int(reference)
    raise ValueError(
        f"reference={reference!r} is no expert; valid are 0 to {len(names) - 1}, {names}."
    )


def _inverse(bend):
    """Inverse of the information, and which parameters (p,) it does not determine."""
    diagonal = np.diag(bend).copy()
    unit = np.where(diagonal > 0, diagonal, 1.0) ** -0.5
    values, vectors = np.linalg.eigh(bend * unit * unit[:, None])
    flat = values <= _FLAT * values[-1]
    unknown = np.square(vectors[:, flat]).sum(axis=1) > 1e-6
    steep = vectors[:, ~flat] * unit[:, None]
    return (steep / values[~flat]) @ steep.T, unknown


def _warn_of_distance(inverse, slope):
    error = np.sqrt(np.diag(inverse))
    step = np.divide(np.abs(inverse @ slope), error, out=np.zeros_like(error), where=error > 0)
    if step.max(initial=0.0) > _FAR:
        warnings.warn(
            f"The fit stopped before its optimum: a coefficient would move by "
            f"{step.max():.1f} standard errors in a Newton step. Fit with a smaller tol "
            f"(such as 1e-8) and a larger max_iter, and to the same rows.",
            UserWarning,
            stacklevel=3,
        )


def _warn_of_unknown(lost):
    if len(lost):
        some = [" ".join(filter(None, row)) for row in lost.head(3).itertuples(index=False)]
        warnings.warn(
            f"{len(lost)} coefficients are not determined by the rows, and have no standard "
            f"error ({', '.join(some)}{', ...' if len(lost) > 3 else ''}): is a column "
            f"constant, an expert without rows, or a regime separated without a penalty?",
            UserWarning,
            stacklevel=3,
        )
