"""Laws of counts."""

import numpy as np
import scipy.special
import scipy.stats

from ._panjer import counts_crps, counts_quantile
from .base import Law


class CountLaw(Law):
    """What laws of counts share.

    A subclass has ``_log_mass``, ``_cdf`` and ``_sf`` of whole numbers of at least zero, and
    ``recursion``.
    """

    discrete = True

    def log_density(self, y):
        """Logarithm of the probability of y; y broadcasts against (n, k, m)."""
        y = np.asarray(y, dtype=np.float64)
        possible = (y >= 0.0) & (y == np.floor(y))
        return np.where(possible, self._log_mass(np.where(possible, y, 0.0)), -np.inf)

    def recursion(self):
        """Return what gives a probability from the last one.

        Returns
        -------
        log_first, a, b, zero : float or ndarray of shape (n, k, m)
            Logarithm of p(0), and p(y + 1) / p(y) = (a + b y) / (y + 1); the share of extra
            zeros beside that law.
        """
        raise NotImplementedError(f"{type(self).__name__} has no recursion")

    def mixture_quantile(self, weights, levels):
        """Quantiles of the mixtures; see `Law.mixture_quantile`."""
        return counts_quantile(self, weights, levels)

    def mixture_crps(self, weights, y):
        """Score of the mixtures; see `Law.mixture_crps`."""
        return counts_crps(self, weights, y)

    def cdf(self, y):
        """Probability of a value up to y."""
        y = np.floor(y)
        return np.where(y >= 0.0, self._cdf(np.maximum(y, 0.0)), 0.0)

    def sf(self, y):
        """Probability of a value above y, without loss of digits in the upper tail."""
        y = np.floor(y)
        return np.where(y >= 0.0, self._sf(np.maximum(y, 0.0)), 1.0)


class PoissonLaw(CountLaw):
    """Poisson laws, one for each row, expert and output.

    Parameters
    ----------
    mean : ndarray of shape (n, k, m)
        Means, which are the variances, too.
    """

    _names = ("_mean",)

    def mean(self):
        """Return the means: (n, k, m)."""
        return self._mean

    def variance(self):
        """Return the variances: (n, k, m)."""
        return self._mean

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return np.floor(self._mean)

    def recursion(self):
        """Return the recursion of probabilities; see `CountLaw.recursion`."""
        return -self._mean, self._mean, 0.0, 0.0

    def _log_mass(self, y):
        return scipy.special.xlogy(y, self._mean) - self._mean - scipy.special.gammaln(y + 1.0)

    def _cdf(self, y):
        return scipy.special.gammaincc(y + 1.0, self._mean)

    def _sf(self, y):
        return scipy.special.gammainc(y + 1.0, self._mean)

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        return scipy.stats.poisson.ppf(levels, self._mean)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        return self._mean * self.sf(np.floor(y) - 1.0)


class NegativeBinomialLaw(CountLaw):
    """Negative binomial laws, one for each row, expert and output.

    Parameters
    ----------
    mean, dispersion : ndarray of shape (n, k, m)
        Means, and dispersions; the variance is mean + dispersion * mean ** 2.
    """

    _names = ("_mean", "_dispersion")

    def mean(self):
        """Return the means: (n, k, m)."""
        return self._mean

    def variance(self):
        """Return the variances: (n, k, m)."""
        return self._mean * (1.0 + self._dispersion * self._mean)

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return np.floor(np.maximum(self._mean * (1.0 - self._dispersion), 0.0))

    def recursion(self):
        """Return the recursion of probabilities; see `CountLaw.recursion`."""
        r, product = 1.0 / self._dispersion, self._dispersion * self._mean
        b = product / (1.0 + product)
        return -r * np.log1p(product), r * b, b, 0.0

    def _tries(self):
        """Number of failures that is waited for, and the probability of one."""
        return 1.0 / self._dispersion, 1.0 / (1.0 + self._dispersion * self._mean)

    def _log_mass(self, y):
        r, product = 1.0 / self._dispersion, self._dispersion * self._mean
        # Gamma(y + r) / (Gamma(r) y!), of which differences of gammaln lose digits.
        ways = -scipy.special.betaln(r, y + 1.0) - np.log(y + r)
        success = scipy.special.xlogy(y, product) - scipy.special.xlog1py(y, product)
        return ways - r * np.log1p(product) + success

    def _cdf(self, y):
        r, p = self._tries()
        return scipy.special.betainc(r, y + 1.0, p)

    def _sf(self, y):
        r, p = self._tries()
        return scipy.special.betainc(y + 1.0, r, self._dispersion * self._mean * p)

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        return scipy.stats.nbinom.ppf(levels, *self._tries())

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        r, p = self._tries()
        y = np.floor(y)
        success = self._dispersion * self._mean * p
        more = scipy.special.betainc(np.maximum(y, 1.0), r + 1.0, success)
        return self._mean * np.where(y > 0.0, more, 1.0)


class BinomialLaw(CountLaw):
    """Binomial laws, one for each row, expert and output.

    Parameters
    ----------
    proba : ndarray of shape (n, k, m)
        Probabilities of success.
    trials : int or ndarray of shape (n, k, m)
        Numbers of trials.
    """

    _names = ("_proba", "_trials")

    def mean(self):
        """Return the means: (n, k, m)."""
        return self._trials * self._proba

    def variance(self):
        """Return the variances: (n, k, m)."""
        return self._trials * self._proba * (1.0 - self._proba)

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return np.minimum(np.floor((self._trials + 1.0) * self._proba), self._trials)

    def recursion(self):
        """Return the recursion of probabilities; see `CountLaw.recursion`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = self._proba / (1.0 - self._proba)
            first = scipy.special.xlog1py(self._trials, -self._proba)
            return first, self._trials * odds, -odds, 0.0

    def _log_mass(self, y):
        rest = np.maximum(self._trials - y, 0.0)
        ways = -scipy.special.betaln(y + 1.0, rest + 1.0) - np.log1p(self._trials)
        found = ways + scipy.special.xlogy(y, self._proba)
        found = found + scipy.special.xlog1py(rest, -self._proba)
        return np.where(y <= self._trials, found, -np.inf)

    def _cdf(self, y):
        return scipy.special.bdtr(np.minimum(y, self._trials), self._trials, self._proba)

    def _sf(self, y):
        return scipy.special.bdtrc(np.minimum(y, self._trials), self._trials, self._proba)

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        return scipy.stats.binom.ppf(levels, self._trials, self._proba)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        fewer = BinomialLaw(self._proba, self._trials - 1)
        return self.mean() * fewer.sf(np.floor(y) - 1.0)


class ZeroInflatedLaw(CountLaw):
    """Laws of counts with extra zeros, one for each row, expert and output.

    Parameters
    ----------
    law : CountLaw
        Of arrays (n, k, m).
    zero_proba : ndarray of shape (n, k, m)
        Probability of an extra zero.
    """

    _names = ("_zero",)

    def __init__(self, law, zero_proba):
        super().__init__(np.broadcast_to(zero_proba, law.shape))
        self.law = law

    def on(self, rows):
        """Return the laws of some rows; ``rows`` is what NumPy indexes by."""
        return ZeroInflatedLaw(self.law.on(rows), self._zero[rows])

    def chosen(self, experts):
        """Return the laws (n, 1, m) of one expert per row, given as positions (n,)."""
        zero = self._zero[np.arange(len(experts)), experts][:, None]
        return ZeroInflatedLaw(self.law.chosen(experts), zero)

    def mean(self):
        """Return the means: (n, k, m)."""
        return (1.0 - self._zero) * self.law.mean()

    def variance(self):
        """Return the variances: (n, k, m)."""
        square = self._zero * np.square(self.law.mean())
        return (1.0 - self._zero) * (self.law.variance() + square)

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        inner = self.law.modes()
        return np.where(self.log_density(0.0) >= self.log_density(inner), 0.0, inner)

    def recursion(self):
        """Return the recursion of probabilities; see `CountLaw.recursion`."""
        log_first, a, b, zero = self.law.recursion()
        return log_first, a, b, 1.0 - (1.0 - zero) * (1.0 - self._zero)

    def _log_mass(self, y):
        inside = np.log1p(-self._zero) + self.law.log_density(y)
        return np.where(y == 0.0, np.logaddexp(np.log(self._zero), inside), inside)

    def _cdf(self, y):
        return self._zero + (1.0 - self._zero) * self.law.cdf(y)

    def _sf(self, y):
        return (1.0 - self._zero) * self.law.sf(y)

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        rest = np.clip((levels - self._zero) / (1.0 - self._zero), 0.0, 1.0)
        found = np.maximum(self.law.ppf(rest), 0.0)
        # Rounding may have led one count too far.
        fewer = np.maximum(found - 1.0, 0.0)
        return np.where(self.cdf(fewer) >= levels, fewer, found)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        return (1.0 - self._zero) * self.law.upper_mean(y)
