"""Inverse Gaussian law."""

import numpy as np
from sklearn.linear_model import TweedieRegressor

from .laws import InverseGaussianLaw
from .linked import bounded
from .positive import Positive


class InverseGaussian(Positive):
    r"""Inverse Gaussian law; the logarithm of its mean is linear in the features.

    The variance is :math:`\phi_k \mu^3`, with a dispersion :math:`\phi_k` per expert (one over
    the shape).

    Parameters
    ----------
    floor : float, default=0.1
        Smooth floor of the dispersions, as in `Gaussian`, relative to that of one expert.

    Attributes
    ----------
    dispersion_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Dispersions.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 2.2, 3.9, 8.1]
    >>> model = MoERegressor(n_experts=1, likelihood="inverse_gaussian").fit(X, y)
    >>> model.predict([[1.5]]).round(1)
    array([2.9])
    """

    def start_theta(self, y, weight, base):
        """Logarithm of the dispersion that the spread of logarithms around a line tells of."""
        return (np.log(base) - np.log(weight @ y[0] / weight.sum()))[None]

    def log_density(self, y, eta, theta):
        """Logarithm of the density."""
        constant = np.log(2.0 * np.pi) + 3.0 * np.log(y[0])
        return -0.5 * (constant + theta[0] + np.exp(-theta[0]) * self._deviance(y, eta))

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        shape, mean = np.exp(-theta[0]), np.exp(eta[0])
        score = shape * (y[0] - mean) / np.square(mean)
        by_theta = 0.5 * (shape * self._deviance(y, eta) - 1.0)
        return [score], [shape / mean], [by_theta], [np.full_like(by_theta, 0.5)]

    def _deviance(self, y, eta):
        return np.square(y[0] * np.exp(-eta[0]) - 1.0) / y[0]

    def variance(self, eta, theta):
        """Dispersion times the cube of the mean."""
        return np.exp(theta[0] + 3.0 * bounded(eta[0]))

    def regressor(self):
        """`TweedieRegressor` of power 3, whose mean is the exponential of a predictor."""
        return TweedieRegressor(power=3, link="log")

    def make_law(self, eta, theta):
        """`InverseGaussianLaw` of each row and expert."""
        return InverseGaussianLaw(np.exp(bounded(eta[0])), np.exp(-theta[0]))
