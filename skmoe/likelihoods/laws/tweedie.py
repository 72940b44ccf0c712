"""Tweedie laws: sums of a Poisson number of gamma variables."""

import numpy as np
import scipy.special

from ._compound import compound_quantile
from ._numeric import quantile_of_each
from .base import Law

# Terms of the Poisson law beyond so many standard deviations are left out.
_REACH, _EXTRA = 9.0, 25.0
# Smaller probabilities (logarithm) are left out of sums, too.
_LEAST_LOG = -60.0


class TweedieLaw(Law):
    r"""Tweedie laws with powers between 1 and 2, one for each row, expert and output.

    A value is the sum of :math:`N` gamma variables, :math:`N` a Poisson variable; it is zero
    with the probability that :math:`N` is.

    Parameters
    ----------
    mean, dispersion : ndarray of shape (n, k, m)
        Means, and dispersions; the variance is dispersion * mean ** power.
    power : float or ndarray of shape (n, k, m)
        Between 1 and 2.

    References
    ----------
    Jorgensen, B. (1997). The Theory of Dispersion Models. Chapman and Hall, chapter 4.
    """

    has_mass = True
    _names = ("_mean", "_dispersion", "_power")

    def mean(self):
        """Return the means: (n, k, m)."""
        return self._mean

    def variance(self):
        """Return the variances: (n, k, m)."""
        return self._dispersion * self._mean**self._power

    def modes(self):
        """Return values near the highest density or mass: (n, k, m)."""
        number, shape, scale = self._sums()
        inner = np.maximum(number * shape - 1.0, 0.0) * scale
        return np.where(number < 1.0, 0.0, inner)

    def _sums(self):
        """Mean of the Poisson number, shape and scale of the gamma variables."""
        p = self._power
        number = self._mean ** (2.0 - p) / (self._dispersion * (2.0 - p))
        return number, (2.0 - p) / (p - 1.0), self._dispersion * (p - 1.0) * self._mean ** (p - 1.0)

    def _terms(self):
        """Numbers of gamma variables from 1 on, and the logarithm of their probability."""
        number, _, _ = self._sums()
        least, most = number.min(), number.max()
        first = max(1, int(least - _REACH * np.sqrt(least) - _EXTRA))
        last = int(most + _REACH * np.sqrt(most) + _EXTRA)
        log_number = np.log(number)
        for j in range(first, last + 1):
            yield j, j * log_number - number - scipy.special.gammaln(j + 1.0)

    def mass(self, y):
        """Probability of the very value y: of zero only."""
        return np.where(np.asarray(y) == 0.0, np.exp(-self._sums()[0]), 0.0)

    def log_density(self, y):
        """Logarithm of the density, or at zero of the probability."""
        number, shape, scale = self._sums()
        y = np.asarray(y, dtype=np.float64)
        x = np.where(y > 0.0, y, 1.0) / scale
        found = np.full(np.broadcast_shapes(y.shape, self.shape), -np.inf)
        for j, log_proba in self._terms():
            a = j * shape
            log_gamma = (a - 1.0) * np.log(x) - x - scipy.special.gammaln(a) - np.log(scale)
            found = np.logaddexp(found, log_proba + log_gamma)
        return np.where(y > 0.0, found, np.where(y == 0.0, -number, -np.inf))

    def cdf(self, y):
        """Probability of a value up to y."""
        number, shape, scale = self._sums()
        x = np.maximum(y, 0.0) / scale
        found = np.exp(-number) + np.zeros(x.shape)
        for j, log_proba in self._terms():
            found = found + _terms_of(scipy.special.gammainc, log_proba, j * shape, x)
        return np.where(np.asarray(y) >= 0.0, np.minimum(found, 1.0), 0.0)

    def sf(self, y):
        """Probability of a value above y, without loss of digits in the upper tail."""
        _, shape, scale = self._sums()
        x = np.maximum(y, 0.0) / scale
        found = np.zeros(x.shape)
        for j, log_proba in self._terms():
            found = found + _terms_of(scipy.special.gammaincc, log_proba, j * shape, x)
        return np.where(np.asarray(y) >= 0.0, np.minimum(found, 1.0), 1.0)

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        return quantile_of_each(self, levels)

    def mixture_quantile(self, weights, levels):
        """Quantiles of the mixtures; see `Law.mixture_quantile`."""
        return compound_quantile(self, weights, levels)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        _, shape, scale = self._sums()
        x = np.maximum(y, 0.0) / scale
        found = np.zeros(x.shape)
        for j, log_proba in self._terms():
            a = j * shape
            found = found + np.exp(log_proba) * a * scipy.special.gammaincc(a + 1.0, x)
        return found * scale

    def sample(self, experts, rng):
        """Draw one value for each row; see `Law.sample`."""
        number, shape, scale = (part[:, 0] for part in self.chosen(experts)._sums())
        n = rng.poisson(number)
        return rng.gamma(np.where(n > 0, n * shape, 1.0)) * np.where(n > 0, scale, 0.0)


def _terms_of(function, log_proba, a, x):
    """Probability times an incomplete gamma function, where it is not negligible."""
    log_proba, a, x = np.broadcast_arrays(log_proba, a, x)
    counts = log_proba > _LEAST_LOG
    found = np.zeros(x.shape)
    found[counts] = np.exp(log_proba[counts]) * function(a[counts], x[counts])
    return found
