"""Laplace laws: absolute errors, and the pinball loss of quantiles."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from .laws import AsymmetricLaplaceLaw, LaplaceLaw
from .location import Location

# An absolute error below this share of the scale counts as so large in the curvature.
_LEAST_ERROR = 1e-2


class AsymmetricLaplace(Location):
    r"""Asymmetric Laplace law around a linear quantile.

    Its location, the linear predictor, is the quantile at ``level``, and the logarithm of its
    density is minus the pinball loss over the scale. Predictions of the mixture are means;
    other experts than linear ones, such as ``QuantileRegressor``, predict the location.

    Parameters
    ----------
    level : float, default=0.5
        Of the quantile, between 0 and 1.
    floor : float, default=0.1
        Smooth floor of the squared scales, as in `Gaussian`.

    Attributes
    ----------
    scale_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Scales in units of the target.

    References
    ----------
    Yu, K. and Moyeed, R. A. (2001). Bayesian quantile regression. Statistics and Probability
    Letters 54, 437-447.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.likelihoods import AsymmetricLaplace
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 2.0, 5.0, 6.0]
    >>> model = MoERegressor(n_experts=1, likelihood=AsymmetricLaplace(0.9)).fit(X, y)
    >>> bool((model.experts_[0].predict(X) > y).mean() >= 0.5)
    True
    """

    _parameter_constraints = {
        **Location._parameter_constraints,
        "level": [Interval(Real, 0, 1, closed="neither")],
    }

    is_smooth = False

    def __init__(self, level=0.5, *, floor=0.1):
        super().__init__(floor=floor)
        self.level = level

    def start_theta(self, y, weight, base):
        """Logarithm of a squared scale that gives the variance around a line."""
        return np.log(base / self._unit_variance())[None]

    def _unit_variance(self):
        level = self.level
        return (1.0 - 2.0 * level + 2.0 * level**2) / (level * (1.0 - level)) ** 2

    def _loss(self, error):
        return error * (self.level - (error < 0))

    def log_density(self, y, eta, theta):
        """Logarithm of the density."""
        constant = np.log(self.level * (1.0 - self.level)) - 0.5 * theta[0]
        return constant - self._loss(y[0] - eta[0]) * np.exp(-0.5 * theta[0])

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        error, inverse = y[0] - eta[0], np.exp(-0.5 * theta[0])
        score = np.where(error == 0, 0.0, self.level - (error < 0)) * inverse
        # Of a parabola above the loss that touches it.
        curvature = 0.5 * inverse / np.maximum(np.abs(error), _LEAST_ERROR / inverse)
        slope = 0.5 * (self._loss(error) * inverse - 1.0)
        return [score], [curvature], [slope], [np.full_like(slope, 0.25)]

    def mean(self, eta, theta):
        """Mean of the target."""
        level = self.level
        return eta[0] + np.exp(0.5 * theta[0]) * (1.0 - 2.0 * level) / (level * (1.0 - level))

    def variance(self, eta, theta):
        """Variance of the target."""
        return np.exp(theta[0]) * self._unit_variance() + 0.0 * eta[0]

    def make_law(self, eta, theta):
        """`AsymmetricLaplaceLaw` of each row and expert."""
        scale = np.exp(0.5 * theta[0])
        return AsymmetricLaplaceLaw(eta[0], scale, self.level)


class Laplace(AsymmetricLaplace):
    r"""Laplace law around a linear median: the logarithm of the density is the absolute error.

    Parameters
    ----------
    floor : float, default=0.1
        Smooth floor of the squared scales, as in `Gaussian`.

    Attributes
    ----------
    scale_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Mean absolute errors, in units of the target.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0], [4.0]], [0.0, 1.0, 2.0, 30.0, 4.0]
    >>> model = MoERegressor(n_experts=1, likelihood="laplace").fit(X, y)
    >>> bool(model.predict([[3.0]])[0] < 6.0)
    True
    """

    _parameter_constraints = Location._parameter_constraints
    level = 0.5

    def __init__(self, *, floor=0.1):
        self.floor = floor

    @property
    def scale_(self):
        """Scales, (n_experts,) or (n_experts, n_outputs)."""
        return 2.0 * super().scale_

    def make_law(self, eta, theta):
        """`LaplaceLaw` of each row and expert."""
        scale = 2.0 * np.exp(0.5 * theta[0])
        return LaplaceLaw(eta[0], scale)
