"""Lognormal law of positive numbers."""

import numpy as np
from sklearn.compose import TransformedTargetRegressor

from .laws import LogNormalLaw
from .linked import bounded
from .location import Location


class LogNormal(Location):
    r"""Lognormal law of positive numbers: their logarithm is Gaussian around a linear mean.

    Other experts than linear ones are trained on the logarithms of the targets, and predict
    those.

    Parameters
    ----------
    floor : float, default=0.1
        Smooth floor of the variances of logarithms, as in `Gaussian`.

    Attributes
    ----------
    scale_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Standard deviations of the logarithms.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 2.2, 3.9, 8.1]
    >>> model = MoERegressor(n_experts=1, likelihood="lognormal").fit(X, y)
    >>> model.predict([[1.5]]).round(1)
    array([2.9])
    """

    in_units = False
    support = "numbers above zero"
    cure = "; for any numbers use 'gaussian' or 'student_t'"

    def supported(self, y):
        """Whether targets are above zero."""
        return y > 0

    def rough(self, y):
        """Return logarithms of the targets."""
        return np.log(y[0])

    def training_target(self, y):
        """Return logarithms of the targets."""
        return np.log(y), None

    def log_density(self, y, eta, theta):
        """Logarithm of the density."""
        log_y = np.log(y[0])
        squares = np.square(log_y - eta[0]) * np.exp(-theta[0])
        return -0.5 * (squares + theta[0] + np.log(2.0 * np.pi)) - log_y

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        error, inverse = np.log(y[0]) - eta[0], np.exp(-theta[0])
        slope = 0.5 * (np.square(error) * inverse - 1.0)
        return [error * inverse], [inverse], [slope], [np.full_like(slope, 0.5)]

    def mean(self, eta, theta):
        """Mean of the target."""
        return np.exp(bounded(eta[0]) + 0.5 * np.exp(theta[0]))

    def variance(self, eta, theta):
        """Variance of the target."""
        variance = np.exp(theta[0])
        return np.expm1(variance) * np.exp(2.0 * bounded(eta[0]) + variance)

    def regressor(self):
        """Linear regression of the logarithm, whose prediction is the median."""
        return TransformedTargetRegressor(func=np.log, inverse_func=np.exp)

    def make_law(self, eta, theta):
        """`LogNormalLaw` of each row and expert."""
        return LogNormalLaw(eta[0], np.exp(0.5 * theta[0]))
