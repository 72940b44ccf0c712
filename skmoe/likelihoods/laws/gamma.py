"""Gamma and inverse Gaussian laws."""

import numpy as np
import scipy.special

from ..._ops import get_ops
from ._numeric import quantile_of_each
from .base import Law, log_of

# Shape over mean of inverse Gaussian laws up to which the kernel's terms do not overflow.
_MOST_SHAPE = 300.0


class GammaLaw(Law):
    """Gamma laws, one for each row, expert and output.

    Parameters
    ----------
    mean, shape : ndarray of shape (n, k, m)
        Means, and shapes; the variance is the square of the mean over the shape.
    """

    _names = ("_mean", "_shape")

    def mean(self):
        """Return the means: (n, k, m)."""
        return self._mean

    def variance(self):
        """Return the variances: (n, k, m)."""
        return np.square(self._mean) / self._shape

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return self._mean * np.maximum(1.0 - 1.0 / self._shape, 0.0)

    def coded(self):
        """Return what a kernel needs to know; see `Law.coded`."""
        if not np.array_equal(np.broadcast_to(self._shape[:1], self._shape.shape), self._shape):
            return None
        standard = GammaLaw(self._shape[:1], self._shape[:1])
        return get_ops().POSITIVE, [self._mean, self._mean / self._shape], standard

    def log_density(self, y):
        """Logarithm of the density; y broadcasts against (n, k, m)."""
        x, a = y * self._shape / self._mean, self._shape
        power = scipy.special.xlogy(a - 1.0, np.maximum(x, 0.0))
        inside = power - np.maximum(x, 0.0) - scipy.special.gammaln(a) + np.log(a / self._mean)
        return np.where(x < 0.0, -np.inf, inside)

    def cdf(self, y):
        """Probability of a value up to y."""
        return scipy.special.gammainc(self._shape, self._scaled(y))

    def sf(self, y):
        """Probability of a value above y, without loss of digits in the upper tail."""
        return scipy.special.gammaincc(self._shape, self._scaled(y))

    def _scaled(self, y):
        return np.maximum(y, 0.0) * self._shape / self._mean

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        return scipy.special.gammaincinv(self._shape, levels) * self._mean / self._shape

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        return self._mean * scipy.special.gammaincc(self._shape + 1.0, self._scaled(y))


class InverseGaussianLaw(Law):
    """Inverse Gaussian laws, one for each row, expert and output.

    Parameters
    ----------
    mean, shape : ndarray of shape (n, k, m)
        Means, and shapes; the variance is the cube of the mean over the shape.
    """

    _names = ("_mean", "_shape")

    def mean(self):
        """Return the means: (n, k, m)."""
        return self._mean

    def variance(self):
        """Return the variances: (n, k, m)."""
        return self._mean**3 / self._shape

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        ratio = 1.5 * self._mean / self._shape
        return self._mean / (np.sqrt(1.0 + np.square(ratio)) + ratio)

    def log_density(self, y):
        """Logarithm of the density; y broadcasts against (n, k, m)."""
        log_y = log_of(y)
        at = np.where(np.isneginf(log_y), 1.0, y)
        square = self._shape * np.square(at / self._mean - 1.0) / at
        inside = 0.5 * (np.log(self._shape / (2.0 * np.pi)) - 3.0 * np.log(at) - square)
        return np.where(np.isneginf(log_y), -np.inf, inside)

    def coded(self):
        """Return what a kernel needs to know; see `Law.coded`."""
        ratio = self._shape / self._mean
        if np.any(ratio > _MOST_SHAPE):
            return None
        return get_ops().INVERSE_GAUSSIAN, [self._mean, self._shape], None

    def _halves(self, y):
        """Two logarithms, of normal probabilities above and, reflected, below."""
        at = np.where(np.asarray(y) > 0.0, y, self._mean)
        root = np.sqrt(self._shape / at)
        near, far = root * (at / self._mean - 1.0), root * (at / self._mean + 1.0)
        return near, 2.0 * self._shape / self._mean + scipy.special.log_ndtr(-far)

    def cdf(self, y):
        """Probability of a value up to y."""
        near, reflected = self._halves(y)
        found = scipy.special.ndtr(near) + np.exp(reflected)
        return np.where(np.asarray(y) > 0.0, np.minimum(found, 1.0), 0.0)

    def sf(self, y):
        """Probability of a value above y, without loss of digits in the upper tail."""
        near, reflected = self._halves(y)
        above = scipy.special.log_ndtr(-near)
        found = -np.exp(above) * np.expm1(np.minimum(reflected - above, 0.0))
        return np.where(np.asarray(y) > 0.0, found, 1.0)

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        return quantile_of_each(self, levels)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        near, reflected = self._halves(y)
        found = self._mean * (scipy.special.ndtr(-near) + np.exp(reflected))
        return np.where(np.asarray(y) > 0.0, found, self._mean)
