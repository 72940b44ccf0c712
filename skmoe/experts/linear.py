"""Linear experts: K ridge regressions as one array of coefficients."""

import copy
from dataclasses import dataclass
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from sklearn.utils._param_validation import Interval

from .._design import Design, add_grams, block_transposed_dot, solve_spd
from .._owlqn import minimize_l1
from .._penalty import ElasticNet
from .._precondition import fits_gram
from .multinomial import MultinomialExperts

# Conjugate-gradient steps of one M-step where Gram matrices would be too large.
_CG_STEPS = 10
# Descent steps of one M-step with an L1 penalty.
_L1_STEPS = 20


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
        regression, slopes are then penalised in units of the noise of their expert, as
        in Staedler et al. (2010): else the noise could shrink to nothing unpunished.
        Needs ``solver="gradient"``.

    References
    ----------
    Staedler, N., Buehlmann, P. and van de Geer, S. (2010). L1-penalization for mixture
    regression models. Test 19, 209-256.

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
    }

    def __init__(self, alpha=1.0, *, l1_ratio=0.0):
        self.alpha = alpha
        self.l1_ratio = l1_ratio

    def collection(self, n_experts, n_classes=None):
        """The experts made from this template.

        Parameters
        ----------
        n_experts : int
        n_classes : int, default=None
            None for regression.

        Returns
        -------
        LinearExperts or MultinomialExperts
        """
        if n_classes is None:
            return LinearExperts(n_experts, self.alpha, self.l1_ratio)
        return MultinomialExperts(n_experts, n_classes, self.alpha, self.l1_ratio)


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


class LinearExperts:
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

    def __init__(self, n_experts, alpha, l1_ratio=0.0):
        self.n_experts = n_experts
        self.alpha = alpha
        self.l1_ratio = l1_ratio

    def view(self, X, sample_weight):
        """Prepare features once for repeated fits; arguments as in `SoftmaxGate.view`."""
        return Design.standardised(X, sample_weight)

    def start(self, data):
        """A fresh copy that predicts the mean of the target."""
        fresh = copy.copy(self)
        n_columns, n_outputs = data.X.shape[1], data.y.shape[1]
        fresh.coef = np.zeros((n_columns, self.n_experts, n_outputs))
        fresh.coef[-1] = data.weight @ data.y / data.total_weight
        fresh._center, fresh._scale = data.X.center, data.X.scale
        fresh._y_scale = data.y_scale
        return fresh

    def resumed(self, data):
        """A copy with the same coefficients for features of another fit."""
        fresh = copy.copy(self)
        flat = self.coef.reshape(len(self.coef), -1)
        slopes, intercept = self._design(None).to_raw(flat)
        fresh.coef = data.X.from_raw(slopes, intercept).reshape(self.coef.shape)
        fresh._center, fresh._scale = data.X.center, data.X.scale
        fresh._y_scale = data.y_scale
        return fresh

    def additive(self, data):
        """Whether sums over rows (Gram matrices) suffice and are no larger than the data."""
        return not self.has_l1 and fits_gram(data.X, self.n_experts)

    def predict(self, X, rows=None):
        """Predict the mean of each expert.

        Parameters
        ----------
        X : view, ndarray or CSR matrix of shape (n, d)
        rows : list of K index arrays, default=None
            Rows that each expert runs on; all by default.

        Returns
        -------
        ndarray of shape (n, K, m), or list of K ndarray of shape (len(rows[k]), m)
        """
        n_columns, n_experts, n_outputs = self.coef.shape
        if rows is None:
            flat = self.coef.reshape(n_columns, -1)
            return self._design(X).dot(flat).reshape(-1, n_experts, n_outputs)
        return [self._design(X[some]).dot(self.coef[:, k]) for k, some in enumerate(rows)]

    def raw(self):
        """Slopes (K, m, d) and intercepts (K, m) of features as given."""
        n_columns, n_experts, n_scores = self.coef.shape
        slopes, intercept = self._design(None).to_raw(self.coef.reshape(n_columns, -1))
        shape = (n_experts, n_scores)
        return np.ascontiguousarray(slopes.T).reshape(*shape, -1), intercept.reshape(shape)

    def flat(self):
        """Coefficients of standardised features, in units of the target, flat."""
        return (self.coef / self._y_scale).ravel()

    def unit(self):
        """What a flat parameter of one means: (m,)."""
        return self._y_scale

    def with_flat(self, values):
        """A copy with other coefficients."""
        fresh = copy.copy(self)
        fresh.coef = values.reshape(self.coef.shape) * self._y_scale
        return fresh

    def ridge(self):
        """Factor of ``coef ** 2 / 2`` in `penalty`, by output: (m,)."""
        return self._net().ridge

    def penalty_gradient(self, dispersion=None):
        """Gradient of the smooth part of `penalty`: (D, K, m)."""
        return self._net(dispersion).smooth_gradient(self.coef)

    def l1_weights(self, dispersion=None):
        """Factors of absolute values in `penalty`, flat."""
        return self._net(dispersion).l1_weights(self.coef).ravel()

    @property
    def has_l1(self):
        """Whether the penalty has an L1 part."""
        return self.alpha * self.l1_ratio > 0.0

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
        if self.has_l1:
            self._elastic_net(data, resp, dispersion)
        elif self.additive(data):
            self.update(self._sum_up(data, resp), dispersion)
        else:
            self._conjugate_gradients(data, resp, dispersion)
        return self.predict(data.X)

    def block_coef(self):
        """Coefficients of standardised features: (D, K * m)."""
        return self.coef.reshape(len(self.coef), -1)

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
        ridge = self._ridge(dispersion)
        coef, squares = self.coef.copy(), stats.squares.copy()
        for k in range(self.n_experts):
            if stats.weight[k] <= 1e-12 * stats.weight.sum():
                continue  # nothing to learn from: the expert stays as it is
            for j in range(coef.shape[2]):
                penalty = np.append(np.full(len(coef) - 1, ridge[k, j]), 0.0)
                right = stats.gradient[:, k, j] - penalty * self.coef[:, k, j]
                gram = stats.gram[k]
                step = solve_spd(gram + np.diag(penalty), right[:, None])[:, 0]
                coef[:, k, j] += step
                squares[k, j] += step @ (gram @ step) - 2.0 * step @ stats.gradient[:, k, j]
        self.coef = coef
        return squares

    def penalty(self, dispersion=None):
        """What the sum of the log-likelihood loses to the penalty."""
        return self._net(dispersion).value(self.coef)

    def n_parameters(self):
        """Number of coefficients."""
        return self.coef.size

    def published(self, classes=None):
        """The experts as fitted `LinearRegression` estimators."""
        n_outputs = self.coef.shape[2]
        experts = []
        for k in range(self.n_experts):
            slopes, intercept = self._design(None).to_raw(self.coef[:, k])
            expert = LinearRegression()
            expert.coef_ = slopes[:, 0] if n_outputs == 1 else slopes.T
            expert.intercept_ = intercept[0] if n_outputs == 1 else intercept
            expert.n_features_in_ = len(slopes)
            experts.append(expert)
        return experts

    # -- private ------------------------------------------------------------------

    def _design(self, X):
        if isinstance(X, Design):
            return X
        X = np.empty((0, len(self._scale))) if X is None else X
        return Design(X, self._center, self._scale)

    def _ridge(self, dispersion):
        return dispersion * self._net().ridge

    def _net(self, dispersion=None):
        """The penalty: in units of the target, or of the noise if it has an L1 part."""
        unit = np.sqrt(dispersion) if self.has_l1 else self._y_scale
        return ElasticNet(self.alpha, self.l1_ratio, unit)

    def _sum_up(self, data, resp):
        total = None
        for rows in data.X.slices():
            block = data.X.block(rows)
            residual = data.y[rows, None, :] - self.predict(data.X.on(data.X.X[rows]))
            weights = resp[rows] * data.weight[rows, None]
            stats = self.statistics(block, weights, residual)
            total = stats if total is None else total + stats
        return total

    def _elastic_net(self, data, resp, dispersion):
        """Descend on each expert's squares with an L1 penalty, all in the same passes."""
        weights = (resp * data.weight[:, None])[:, :, None] / dispersion
        shape, total = self.coef.shape, data.total_weight

        def loss(flat):
            fresh = copy.copy(self)
            fresh.coef = flat.reshape(shape)
            error = data.y[:, None, :] - fresh.predict(data.X)
            weighted = weights * error
            gradient = -data.X.transposed_dot(weighted.reshape(len(error), -1)).reshape(shape)
            gradient += fresh.penalty_gradient(dispersion)
            value = 0.5 * np.sum(weighted * error) + fresh.penalty(dispersion)
            return value / total, gradient.ravel() / total

        curvature = np.maximum(weights.sum(axis=0), 1e-300) / total
        scale = np.broadcast_to(1.0 / curvature, shape).ravel()
        found = minimize_l1(
            loss,
            self.coef.ravel(),
            self.l1_weights(dispersion) / total,
            precondition=lambda vector: scale * vector,
            max_iter=_L1_STEPS,
            tol=1e-10,
        )
        self.coef = found.x.reshape(shape)

    def _conjugate_gradients(self, data, resp, dispersion):
        """Descend on each expert's penalised squares, all in the same passes.

        Every step lowers the quadratic, so that EM stays monotone.
        """
        n_columns, n_experts, n_outputs = self.coef.shape
        weights = resp * data.weight[:, None]
        ridge = np.zeros((n_columns, n_experts, n_outputs))
        ridge[:-1] = self._ridge(dispersion)
        inverse = 1.0 / (data.X.column_squares(weights)[:, :, None] + ridge + 1e-300)

        def transposed(values):
            weighted = (weights[:, :, None] * values).reshape(len(values), -1)
            products = data.X.transposed_dot(weighted)
            return products.reshape(n_columns, n_experts, n_outputs)

        rest = transposed(data.y[:, None, :] - self.predict(data.X)) - ridge * self.coef
        direction = inverse * rest
        size = np.einsum("dkm,dkm->km", rest, direction)
        coef, tiny = self.coef.copy(), 1e-24 * size + 1e-300
        for _ in range(_CG_STEPS):
            image = data.X.dot(direction.reshape(n_columns, -1))
            image = transposed(image.reshape(-1, n_experts, n_outputs)) + ridge * direction
            curvature = np.einsum("dkm,dkm->km", direction, image)
            active = (size > tiny) & (curvature > 0)
            rate = np.where(active, size / np.where(active, curvature, 1.0), 0.0)
            coef += rate * direction
            rest -= rate * image
            scaled = inverse * rest
            new_size = np.einsum("dkm,dkm->km", rest, scaled)
            ratio = np.where(active, new_size / np.where(active, size, 1.0), 0.0)
            direction = scaled + ratio * direction
            size = new_size
        self.coef = coef
