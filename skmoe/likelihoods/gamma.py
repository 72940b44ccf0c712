"""Gamma law."""

import numpy as np
from sklearn.linear_model import GammaRegressor

from .._ops import special_of
from .laws import GammaLaw
from .linked import bounded
from .positive import Positive


class Gamma(Positive):
    r"""Gamma law; the logarithm of its mean is linear in the features.

    The variance is :math:`\phi_k \mu^2`, with a dispersion :math:`\phi_k` per expert (one over
    the shape), estimated by maximum likelihood.

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
    >>> model = MoERegressor(n_experts=1, likelihood="gamma").fit(X, y)
    >>> model.predict([[1.5]]).round(1)
    array([2.9])
    """

    def log_density(self, y, eta, theta):
        """Logarithm of the density."""
        shape = np.exp(-theta[0])
        log_y = np.log(y[0])
        inside = shape * (log_y - eta[0] - y[0] * np.exp(-eta[0]) - theta[0])
        return inside - log_y - special_of(shape).gammaln(shape)

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        shape, ratio = np.exp(-theta[0]), y[0] * np.exp(-eta[0])
        special = special_of(shape)  # zeta(2, x) is the trigamma function
        slope = np.log(ratio) - theta[0] + 1.0 - ratio - special.digamma(shape)
        bent = np.square(shape) * special.zeta(2.0, shape) - shape
        return [shape * (ratio - 1.0)], [shape], [-shape * slope], [bent]

    def variance(self, eta, theta):
        """Dispersion times the squared mean."""
        return np.exp(theta[0] + 2.0 * bounded(eta[0]))

    def regressor(self):
        """`GammaRegressor`, whose mean is the exponential of a linear predictor."""
        return GammaRegressor()

    def make_law(self, eta, theta):
        """`GammaLaw` of each row and expert."""
        return GammaLaw(np.exp(bounded(eta[0])), np.exp(-theta[0]))
