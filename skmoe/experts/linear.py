"""Linear experts: K ridge regressions as one array of coefficients."""

import copy
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.utils._param_validation import Interval

from .._design import add_grams, block_transposed_dot, solve_each
from .._penalty import ElasticNet
from .._precondition import fits_gram
from ._coefficients import CoefficientExperts
from ._wide import conjugate_gradient_step, elastic_net_step
from .generalized import GeneralizedLinearExperts
from .multinomial import MultinomialExperts


class LinearExpert(BaseEstimator):
    r"""Template of linear experts, for both tasks.

    In regression an expert is :math:`\mu_k(x) = b_k + x'\beta_k`, in classification a
    multinomial logistic regression. All K experts are fitted together. Slopes of
    standardised features (and target) carry the penalty
    :math:`\frac{\alpha}{2}\|\beta_k\|^2` on the sum of the log-likelihood.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the ridge penalty; intercepts are free. 0 is allowed. In regression
        it equals ``Ridge(alpha * noise_variance / target_variance)`` on standardised
        features.
    l1_ratio : float, default=0.0
        Share of the penalty that is :math:`\alpha |\beta_k|_1` instead (elastic net); it
        removes features from experts, which pays where most columns are noise. In
        regression, slopes are then penalised in units of the noise of their expert (the
        scaled lasso of Sun and Zhang, 2012), so that a slope is kept where its force on
        the residuals exceeds ``alpha``; about ``sqrt(2 n log(d))`` for n rows of an
        expert and d columns keeps noise out. Needs ``solver="gradient"``.
    standardize : bool, default=True
        Whether features are scaled to unit variance. With False slopes are penalised in the
        units of the features as given: the right unit for one-hot columns, since scaled
        values of a rare column are so large that the penalty all but ignores it.

    References
    ----------
    Sun, T. and Zhang, C.-H. (2012). Scaled sparse linear regression. Biometrika 99,
    879-898.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.experts import LinearExpert
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 2.0, 4.0, 6.0]
    >>> model = MoERegressor(LinearExpert(alpha=0.0), n_experts=1).fit(X, y)
    >>> model.experts_[0].coef_.round(6)
    array([2.])
    """

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "standardize": ["boolean"],
    }

    # The estimator that this template stands for; its class is what is published.
    origin = None

    def __init__(self, alpha=1.0, *, l1_ratio=0.0, standardize=True):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.standardize = standardize

    def check(self):
        """Raise for parameters that make no experts."""
        self._validate_params()

    def form(self):
        """What two fits have in common where one can go on from the other."""
        return type(self).__qualname__, type(self.origin).__qualname__

    def collection(self, n_experts, n_classes=None, likelihood=None):
        """The experts made from this template.

        Parameters
        ----------
        n_experts : int
        n_classes : int, default=None
            None for regression.
        likelihood : likelihood, default=None
            Started; Gaussian if None.

        Returns
        -------
        LinearExperts, MultinomialExperts or GeneralizedLinearExperts
        """
        if hasattr(likelihood, "first_pred"):
            experts = GeneralizedLinearExperts(n_experts, likelihood, self.alpha, self.l1_ratio)
        elif n_classes is None:
            experts = LinearExperts(n_experts, self.alpha, self.l1_ratio)
        else:
            experts = MultinomialExperts(n_experts, n_classes, self.alpha, self.l1_ratio)
        experts.origin, experts.standardize = self.origin, self.standardize
        return experts


@dataclass
class LinearStatistics:
    """Sums over rows, in residual form, that determine an M-step.

    Attributes
    ----------
    gram : ndarray of shape (K, D, D)
        ``Z' diag(weight * resp_k) Z``.
    gradient : ndarray of shape (D, K, m)
        ``Z' (weight * resp_k * residual_k)``.
    weight : ndarray of shape (K,)
        ``sum weight * resp_k``.
    squares : ndarray of shape (K, m)
        ``sum weight * resp_k * residual_k ** 2``.
    """

    gram: np.ndarray
    gradient: np.ndarray
    weight: np.ndarray
    squares: np.ndarray

    def __add__(self, other):
        return LinearStatistics(
            self.gram + other.gram,
            self.gradient + other.gradient,
            self.weight + other.weight,
            self.squares + other.squares,
        )


class LinearExperts(CoefficientExperts):
    """K linear regressions, fitted by weighted normal equations in residual form.

    Parameters
    ----------
    n_experts : int
    alpha, l1_ratio : float, default=0.0

    Attributes
    ----------
    coef : ndarray of shape (D, K, m)
        Coefficients of standardised features; the intercept is the last row.
    """

    def start(self, data):
        """A fresh copy that predicts the mean of the target."""
        fresh = copy.copy(self)
        n_columns, n_outputs = data.X.shape[1], data.y.shape[1]
        fresh.coef = np.zeros((n_columns, self.n_experts, n_outputs))
        fresh.coef[-1] = data.weight @ data.y / data.total_weight
        fresh._center, fresh._scale = data.X.center, data.X.scale
        fresh._y_scale = data.y_scale
        noise = data.y_scale if data.base_variance is None else np.sqrt(data.base_variance)
        fresh.noise = np.tile(noise, (self.n_experts, 1))
        return fresh

    def resumed(self, data):
        """A copy with the same coefficients for features of another fit."""
        fresh = super().resumed(data)
        fresh._y_scale = data.y_scale
        return fresh

    def additive(self, data):
        """Whether sums over rows (Gram matrices) suffice and are no larger than the data."""
        return not self.has_l1 and fits_gram(data.X, self.n_experts)

    def unit(self):
        """What a flat parameter of one means: (m,)."""
        return self._y_scale

    def with_noise(self, dispersion):
        """A copy whose L1 penalty is in units of this noise, (K, m) of variances."""
        fresh = copy.copy(self)
        fresh.noise = np.sqrt(dispersion)
        return fresh

    def fit_predict(self, data, resp, dispersion):
        """One M-step and the fitted values.

        Parameters
        ----------
        data : FitData
        resp : ndarray of shape (n, K)
        dispersion : ndarray of shape (K, m)
            Present noise variances: they scale the ridge.

        Returns
        -------
        ndarray of shape (n, K, m)
        """
        if resp.ndim == 3:
            self.coef = self._fitted_by_output(data, resp, dispersion)
        elif self.has_l1:
            self.coef = elastic_net_step(self, data, resp, dispersion)
        elif self.additive(data):
            self.update(self._sum_up(data, resp), dispersion)
        else:
            ridge = self._ridge(dispersion)
            self.coef = conjugate_gradient_step(self, data, resp, ridge)
        return self.predict(data.X)

    def statistics(self, block, weights, residual):
        """Statistics of a block of rows.

        Parameters
        ----------
        block : block of `Design.block`, (rows, D)
        weights : ndarray of shape (rows, K)
            Sample weight times responsibility.
        residual : ndarray of shape (rows, K, m)
            Target minus present prediction.

        Returns
        -------
        LinearStatistics
        """
        n_columns, n_experts, n_outputs = self.coef.shape
        weighted = weights[:, :, None] * residual
        gram = np.zeros((n_experts, n_columns, n_columns))
        add_grams(block, weights, gram)
        gradient = block_transposed_dot(block, weighted.reshape(len(residual), -1))
        return LinearStatistics(
            gram,
            gradient.reshape(n_columns, n_experts, n_outputs),
            weights.sum(axis=0),
            np.einsum("nkm,nkm->km", weighted, residual),
        )

    def update(self, stats, dispersion):
        """Move the coefficients to the weighted ridge solution.

        Parameters
        ----------
        stats : LinearStatistics
        dispersion : ndarray of shape (K, m)

        Returns
        -------
        ndarray of shape (K, m)
            Weighted residual sums of squares at the new coefficients.
        """
        n_columns, _, n_outputs = self.coef.shape
        penalty = np.repeat(self._ridge(dispersion)[:, :, None], n_columns, axis=2)
        penalty[:, :, -1] = 0.0
        before = self.coef.transpose(1, 2, 0)
        gradient = stats.gradient.transpose(1, 2, 0)
        right = gradient - penalty * before
        grams = np.repeat(stats.gram, n_outputs, axis=0) if n_outputs > 1 else stats.gram
        step = solve_each(
            grams, penalty.reshape(-1, n_columns), right.reshape(-1, n_columns)
        ).reshape(right.shape)
        # An expert with nothing to learn from stays as it is.
        step[stats.weight <= 1e-12 * stats.weight.sum()] = 0.0
        self.coef = np.ascontiguousarray((before + step).transpose(2, 0, 1))
        moved = np.matmul(step, stats.gram)
        return stats.squares + np.sum(step * (moved - 2.0 * gradient), axis=2)

    def n_parameters(self):
        """Number of coefficients; slopes that an L1 penalty holds at zero are not counted."""
        if not self.has_l1:
            return self.coef.size
        return np.count_nonzero(self.coef[:-1]) + self.coef[-1].size

    def published(self, classes=None):
        """The experts as fitted `LinearRegression` estimators, or of the class they come from."""
        n_outputs = self.coef.shape[2]
        experts = []
        for k in range(self.n_experts):
            slopes, intercept = self._design(None).to_raw(self.coef[:, k])
            expert = LinearRegression() if self.origin is None else clone(self.origin)
            if isinstance(expert, Ridge):
                expert.n_iter_ = None
            expert.coef_ = slopes[:, 0] if n_outputs == 1 else slopes.T
            expert.intercept_ = intercept[0] if n_outputs == 1 else intercept
            expert.n_features_in_ = len(slopes)
            experts.append(expert)
        return experts

    # -- private ------------------------------------------------------------------

    def _ridge(self, dispersion):
        return dispersion * self._net().ridge

    def _net(self):
        """The penalty: in units of the target, or of the noise if it has an L1 part."""
        unit = self.noise if self.has_l1 else self._y_scale
        return ElasticNet(self.alpha, self.l1_ratio, unit)

    def _fitted_by_output(self, data, resp, dispersion):
        """Coefficients after an M-step from responsibilities (n, K, m)."""
        each = []
        for j in range(resp.shape[2]):
            one = copy.copy(self)
            one.coef, one.noise = self.coef[:, :, [j]], self.noise[:, [j]]
            one._y_scale = self._y_scale[[j]]
            own = replace(data, y=data.y[:, [j]])
            one.fit_predict(own, np.ascontiguousarray(resp[:, :, j]), dispersion[:, [j]])
            each.append(one.coef)
        return np.concatenate(each, axis=2)

    def _sum_up(self, data, resp):
        there = getattr(data, "linear_sums", None)  # of rows on a device
        total = None if there is None else there(self, resp)
        if total is not None:
            return total
        for rows in data.X.slices():
            block = data.X.block(rows)
            residual = data.y[rows, None, :] - self.predict(data.X.on(data.X.X[rows]))
            weights = resp[rows] * data.weight[rows, None]
            stats = self.statistics(block, weights, residual)
            total = stats if total is None else total + stats
        return total
