"""Normal and lognormal laws."""

import numpy as np
import scipy.special

from ..._ops import get_ops
from .base import Law, log_of

_LOG_ROOT_2PI = 0.5 * np.log(2.0 * np.pi)


class NormalLaw(Law):
    """Normal laws, one for each row, expert and output.

    Parameters
    ----------
    loc, scale : ndarray of shape (n, k, m)
        Means and standard deviations.
    """

    _names = ("loc", "scale")

    def mean(self):
        """Return the means: (n, k, m)."""
        return self.loc

    def variance(self):
        """Return the variances: (n, k, m)."""
        return np.square(self.scale)

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return self.loc

    def log_density(self, y):
        """Logarithm of the density; y broadcasts against (n, k, m)."""
        z = (y - self.loc) / self.scale
        return -0.5 * np.square(z) - np.log(self.scale) - _LOG_ROOT_2PI

    def log_density_slope(self, y):
        """Derivative of `log_density` by y."""
        return (self.loc - y) / np.square(self.scale)

    def uphill(self, y, share):
        """Move values (n, m) up the mixture's density; share (n, k, m) of the laws at y."""
        precision = 1.0 / np.square(self.scale)
        force = np.sum(share * self.log_density_slope(y[:, None, :]), axis=1)
        return y + force / np.sum(share * precision, axis=1)

    def cdf(self, y):
        """Probability of a value up to y."""
        return scipy.special.ndtr((y - self.loc) / self.scale)

    def sf(self, y):
        """Probability of a value above y, without loss of digits in the upper tail."""
        return scipy.special.ndtr((self.loc - y) / self.scale)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        z = (y - self.loc) / self.scale
        density = np.exp(-0.5 * np.square(z) - _LOG_ROOT_2PI)
        return self.loc * scipy.special.ndtr(-z) + self.scale * density

    def coded(self):
        """Return what a kernel needs to know; see `Law.coded`."""
        return get_ops().NORMAL, [self.loc, self.scale], None

    def mixture_crps(self, weights, y):
        """Continuous ranked probability score of the mixtures in closed form.

        Parameters
        ----------
        weights : ndarray of shape (n, k)
        y : ndarray of shape (n, m)

        Returns
        -------
        ndarray of shape (n, m)
        """
        own = _mean_distance(y[:, None, :] - self.loc, np.square(self.scale))
        score = np.einsum("nk,nkm->nm", weights, own)
        variance = np.square(self.scale)
        for k in range(self.loc.shape[1]):  # one expert against all: no (n, k, k) array
            between = _mean_distance(
                self.loc - self.loc[:, k : k + 1], variance + variance[:, k : k + 1]
            )
            pairs = np.einsum("nk,nkm->nm", weights, between)
            score -= 0.5 * weights[:, k : k + 1] * pairs
        return score

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        return self.loc + self.scale * scipy.special.ndtri(levels)

    def sample(self, experts, rng):
        """Draw one value for each row; see `Law.sample`."""
        rows = np.arange(len(experts))
        return rng.normal(self.loc[rows, experts], self.scale[rows, experts])


class LogNormalLaw(NormalLaw):
    """Lognormal laws, one for each row, expert and output.

    Parameters
    ----------
    loc, scale : ndarray of shape (n, k, m)
        Means and standard deviations of the logarithm.
    """

    def mean(self):
        """Return the means: (n, k, m)."""
        return np.exp(self.loc + 0.5 * np.square(self.scale))

    def variance(self):
        """Return the variances: (n, k, m)."""
        return np.square(self.mean()) * np.expm1(np.square(self.scale))

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return np.exp(self.loc - np.square(self.scale))

    def log_density(self, y):
        """Logarithm of the density; y broadcasts against (n, k, m)."""
        log_y = log_of(y)
        jacobian = np.where(np.isneginf(log_y), 0.0, log_y)
        return super().log_density(log_y) - jacobian

    def log_density_slope(self, y):
        """Derivative of `log_density` by y, for positive y."""
        return ((self.loc - np.log(y)) / np.square(self.scale) - 1.0) / y

    def uphill(self, y, share):
        """Move values (n, m) up the mixture's density; share (n, k, m) of the laws at y."""
        precision = share / np.square(self.scale)
        return np.exp((np.sum(precision * self.loc, axis=1) - 1.0) / np.sum(precision, axis=1))

    def cdf(self, y):
        """Probability of a value up to y."""
        return super().cdf(log_of(y))

    def sf(self, y):
        """Probability of a value above y, without loss of digits in the upper tail."""
        return super().sf(log_of(y))

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        z = (log_of(y) - self.loc) / self.scale
        return self.mean() * scipy.special.ndtr(self.scale - z)

    def coded(self):
        """Return nothing: the kernel of normal laws is used on logarithms."""
        return None

    def mixture_quantile(self, weights, levels):
        """Quantiles of the mixtures of the k laws; see `Law.mixture_quantile`."""
        return np.exp(NormalLaw(self.loc, self.scale).mixture_quantile(weights, levels))

    def mixture_crps(self, weights, y):
        """Score in closed form; see `NormalLaw.mixture_crps`."""
        at = y[:, None, :]
        own = at * (2.0 * self.cdf(at) - 1.0) + 2.0 * self.upper_mean(at) - self.mean()
        score = np.einsum("nk,nkm->nm", weights, own)
        mean, variance = self.mean(), np.square(self.scale)
        for k in range(self.loc.shape[1]):
            one = slice(k, k + 1)
            root = np.sqrt(variance + variance[:, one])
            gap = self.loc - self.loc[:, one]
            first = mean * (2.0 * scipy.special.ndtr((gap + variance) / root) - 1.0)
            second = mean[:, one] * (
                2.0 * scipy.special.ndtr((variance[:, one] - gap) / root) - 1.0
            )
            pairs = np.einsum("nk,nkm->nm", weights, first + second)
            score -= 0.5 * weights[:, one] * pairs
        return score

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        return np.exp(super().ppf(levels))

    def sample(self, experts, rng):
        """Draw one value for each row; see `Law.sample`."""
        return np.exp(super().sample(experts, rng))


def _mean_distance(mean, variance):
    """Mean absolute value of normal variables."""
    scale = np.sqrt(variance)
    z = mean / scale
    density = np.exp(-0.5 * np.square(z) - _LOG_ROOT_2PI)
    return 2.0 * scale * density + mean * (2.0 * scipy.special.ndtr(z) - 1.0)
