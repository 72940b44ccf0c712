"""Tweedie law: positive numbers with zeros among them."""

from numbers import Real

import numpy as np
from sklearn.linear_model import TweedieRegressor
from sklearn.utils._param_validation import Interval

from .._ops import numpy_of, ops_of
from .laws import TweedieLaw
from .linked import bounded
from .positive import Positive

_LEAST_MEAN = 1e-10


class Tweedie(Positive):
    r"""Tweedie law of positive numbers with zeros among them, such as sums of claims.

    It is that of a Poisson number of gamma numbers, with the variance
    :math:`\phi_k \mu^\text{power}`. The logarithm of the mean is linear in the features.

    Parameters
    ----------
    power : float, default=1.5
        Between 1 and 2; not estimated.
    floor : float, default=0.1
        Smooth floor of the dispersions, as in `Gaussian`, relative to that of one expert.

    Attributes
    ----------
    dispersion_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Dispersions.

    References
    ----------
    Dunn, P. K. and Smyth, G. K. (2005). Series evaluation of Tweedie exponential dispersion
    model densities. Statistics and Computing 15, 267-280.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 2.0, 5.0, 9.0]
    >>> model = MoERegressor(n_experts=1, likelihood="tweedie").fit(X, y)
    >>> bool((model.predict(X) > 0).all())
    True
    """

    support = "numbers of at least zero"
    cure = "; for any numbers use 'gaussian'"

    _parameter_constraints = {
        **Positive._parameter_constraints,
        "power": [Interval(Real, 1, 2, closed="neither")],
    }

    def __init__(self, *, power=1.5, floor=0.1):
        super().__init__(floor=floor)
        self.power = power

    def supported(self, y):
        """Whether targets are at least zero."""
        return y >= 0

    def rough(self, y):
        """Return logarithms of the targets, shifted away from zero."""
        return np.log1p(y[0] / np.maximum(y[0].mean(axis=0), 1e-300))

    def start_eta(self, y, weight):
        """Logarithm of the mean."""
        return np.log(np.maximum(weight @ y[0] / weight.sum(), _LEAST_MEAN))[None]

    def start_theta(self, y, weight, base):
        """Logarithm of the dispersion around the mean of all."""
        mean = np.maximum(weight @ y[0] / weight.sum(), _LEAST_MEAN)
        variance = weight @ np.square(y[0] - mean) / weight.sum()
        return np.log(np.maximum(variance, 1e-300) / mean**self.power)[None]

    def log_density(self, y, eta, theta):
        """Logarithm of the density, or of the probability of zero."""
        log_series, _ = self._series(y, eta, theta)
        return log_series + self._exponent(y, eta, theta)

    def _exponent(self, y, eta, theta):
        p = self.power
        mean = np.exp((1.0 - p) * eta[0])
        inside = y[0] * mean / (1.0 - p) - mean * np.exp(eta[0]) / (2.0 - p)
        return inside * np.exp(-theta[0])

    def _series(self, y, eta, theta):
        """Logarithm of the series that depends on y and dispersion, and its mean index."""
        xp, shape = numpy_of(y[0]), np.broadcast_shapes(y[0].shape, theta[0].shape)
        values = xp.ascontiguousarray(np.broadcast_to(y[0], shape)).ravel()
        log_phi = xp.ascontiguousarray(np.broadcast_to(theta[0], shape)).ravel()
        found = xp.empty((2, len(values)))
        ops_of(values).tweedie_series(values, log_phi, self.power, found)
        return found[0].reshape(shape), found[1].reshape(shape)

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        p, shape = self.power, np.exp(-theta[0])
        mean = np.exp((1.0 - p) * eta[0])
        score = (y[0] - np.exp(eta[0])) * mean * shape
        _, index = self._series(y, eta, theta)
        by_theta = -index / (p - 1.0) - self._exponent(y, eta, theta)
        return [score], [mean * np.exp(eta[0]) * shape], [by_theta], [np.square(by_theta)]

    def variance(self, eta, theta):
        """Dispersion times a power of the mean."""
        return np.exp(theta[0] + self.power * bounded(eta[0]))

    def regressor(self):
        """`TweedieRegressor` of the same power."""
        return TweedieRegressor(power=self.power, link="log")

    def make_law(self, eta, theta):
        """`TweedieLaw` of each row and expert."""
        return TweedieLaw(np.exp(bounded(eta[0])), np.exp(theta[0]), self.power)
