"""Truncated normal and lognormal laws."""

import numpy as np
import scipy.special
import scipy.stats

from ..._ops import get_ops, special_of
from .base import Law, log_of

_LOG_ROOT_2PI = 0.5 * np.log(2.0 * np.pi)


class TruncatedNormalLaw(Law):
    """Normal laws of which only values between two bounds occur.

    Parameters
    ----------
    loc, scale : ndarray of shape (n, k, m)
        Means and standard deviations before the truncation.
    lower, upper : float or ndarray of shape (n, k, m)
        Bounds; infinite for none.
    """

    _names = ("loc", "scale", "lower", "upper")

    def _ends(self):
        return (self.lower - self.loc) / self.scale, (self.upper - self.loc) / self.scale

    def _log_mass(self):
        return log_normal_mass(*self._ends())

    def mean(self):
        """Return the means: (n, k, m)."""
        low, high = self._ends()
        return self.loc + self.scale * (self._density(low) - self._density(high))

    def variance(self):
        """Return the variances: (n, k, m)."""
        low, high = self._ends()
        first, last = self._density(low), self._density(high)
        with np.errstate(invalid="ignore"):
            products = np.where(first > 0, low * first, 0.0) - np.where(last > 0, high * last, 0.0)
        return np.square(self.scale) * (1.0 + products - np.square(first - last))

    def coded(self):
        """Return what a kernel needs to know; see `Law.coded`."""
        ends = self._ends()
        upper = ends[0] > 0.0
        first, last = (scipy.special.ndtr(np.where(upper, -end, end)) for end in ends)
        if np.any(np.abs(last - first) < 1e-200):
            return None
        parts = [self.loc, self.scale, self.lower, self.upper, first, last]
        return get_ops().TRUNCATED, parts, None

    def _density(self, z):
        """Standard normal density over the probability between the bounds."""
        with np.errstate(over="ignore"):
            return np.exp(-0.5 * np.square(z) - _LOG_ROOT_2PI - self._log_mass())

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return np.clip(self.loc, self.lower, self.upper)

    def log_density(self, y):
        """Logarithm of the density; y broadcasts against (n, k, m)."""
        z = (y - self.loc) / self.scale
        inside = -0.5 * np.square(z) - _LOG_ROOT_2PI - np.log(self.scale) - self._log_mass()
        return np.where((y >= self.lower) & (y <= self.upper), inside, -np.inf)

    def cdf(self, y):
        """Probability of a value up to y."""
        z, (low, _) = self._within(y), self._ends()
        return np.exp(np.minimum(_mass_or_none(low, z) - self._log_mass(), 0.0))

    def sf(self, y):
        """Probability of a value above y, without loss of digits in the upper tail."""
        z, (_, high) = self._within(y), self._ends()
        return np.exp(np.minimum(_mass_or_none(z, high) - self._log_mass(), 0.0))

    def _within(self, y):
        return (np.clip(y, self.lower, self.upper) - self.loc) / self.scale

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        low, high = self._ends()
        found = scipy.stats.truncnorm.ppf(levels, low, high, loc=self.loc, scale=self.scale)
        return np.clip(found, self.lower, self.upper)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        z, (_, high) = self._within(y), self._ends()
        return self.loc * self.sf(y) + self.scale * (self._density(z) - self._density(high))


class TruncatedLogNormalLaw(TruncatedNormalLaw):
    """Lognormal laws of which only values between two bounds occur.

    Parameters
    ----------
    loc, scale : ndarray of shape (n, k, m)
        Means and standard deviations of the logarithm before the truncation.
    lower, upper : float or ndarray of shape (n, k, m)
        Bounds of the value, lower at least zero; zero and infinity for none.
    """

    def _ends(self):
        return (log_of(self.lower) - self.loc) / self.scale, (
            log_of(self.upper) - self.loc
        ) / self.scale

    def _log_moment(self, power, low=None):
        """Logarithm of the mean of ``y ** power``, of the values from a standardised low on."""
        first, last = self._ends()
        first, shift = first if low is None else low, power * self.scale
        part = _mass_or_none(first - shift, last - shift) - self._log_mass()
        return power * self.loc + 0.5 * np.square(shift) + part

    def mean(self):
        """Return the means: (n, k, m)."""
        return np.clip(np.exp(self._log_moment(1.0)), self.lower, self.upper)

    def variance(self):
        """Return the variances: (n, k, m)."""
        first = self._log_moment(1.0)
        return np.exp(2.0 * first) * np.expm1(np.maximum(self._log_moment(2.0) - 2.0 * first, 0.0))

    def mixture_quantile(self, weights, levels):
        """Quantiles of the mixtures of the k laws; see `Law.mixture_quantile`."""
        logs = TruncatedNormalLaw(self.loc, self.scale, log_of(self.lower), log_of(self.upper))
        found = np.exp(logs.mixture_quantile(weights, levels))
        return np.clip(found, self.lower.min(1)[:, None], self.upper.max(1)[:, None])

    def coded(self):
        """Return nothing: quantiles are those of normal laws on logarithms."""
        return None

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return np.clip(np.exp(self.loc - np.square(self.scale)), self.lower, self.upper)

    def log_density(self, y):
        """Logarithm of the density; y broadcasts against (n, k, m)."""
        log_y = log_of(y)
        at = np.where(np.isneginf(log_y), 0.0, log_y)
        z = (at - self.loc) / self.scale
        inside = -0.5 * np.square(z) - _LOG_ROOT_2PI - np.log(self.scale) - self._log_mass() - at
        possible = (y > 0.0) & (y >= self.lower) & (y <= self.upper)
        return np.where(possible, inside, -np.inf)

    def _within(self, y):
        return (log_of(np.clip(y, self.lower, self.upper)) - self.loc) / self.scale

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        low, high = self._ends()
        found = scipy.stats.truncnorm.ppf(levels, low, high, loc=self.loc, scale=self.scale)
        return np.clip(np.exp(found), self.lower, self.upper)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        return np.exp(self._log_moment(1.0, self._within(y)))


def log_normal_mass(a, b):
    """Logarithm of the probability of a standard normal variable between a and b, a < b."""
    flip = a > 0  # in the upper tail, by symmetry, digits are not lost
    low, high = np.where(flip, -b, a), np.where(flip, -a, b)
    log_ndtr = special_of(high).log_ndtr
    log_high, log_low = log_ndtr(high), log_ndtr(low)
    return log_high + np.log(-np.expm1(np.minimum(log_low - log_high, 0.0)))


def _mass_or_none(a, b):
    """The same, minus infinity where a = b."""
    with np.errstate(divide="ignore"):
        return log_normal_mass(a, b)
