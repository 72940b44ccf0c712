"""Student's t."""

import numpy as np
import scipy.special

from ..._ops import get_ops
from .base import Law


class StudentTLaw(Law):
    """Student's t laws, one for each row, expert and output.

    Parameters
    ----------
    loc, scale : ndarray of shape (n, k, m)
        Medians, and scales; a scale is not the standard deviation.
    df : float or ndarray of shape (n, k, m)
        Degrees of freedom; the mean is defined above 1, the variance is finite above 2.
    """

    _names = ("loc", "scale", "df")

    def mean(self):
        """Return the means: (n, k, m); NaN where there is none."""
        return np.where(self.df > 1.0, self.loc, np.nan)

    def variance(self):
        """Return the variances: (n, k, m); infinite for two degrees of freedom or fewer."""
        rest = np.where(self.df > 2.0, self.df - 2.0, 1.0)
        return np.where(self.df > 2.0, np.square(self.scale) * self.df / rest, np.inf)

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return self.loc

    def coded(self):
        """Return what a kernel needs to know; see `Law.coded`."""
        if not np.array_equal(np.broadcast_to(self.df[:1], self.df.shape), self.df):
            return None
        standard = StudentTLaw(0.0, 1.0, self.df[:1])
        return get_ops().WIDE, [self.loc, self.scale], standard

    def log_density(self, y):
        """Logarithm of the density; y broadcasts against (n, k, m)."""
        return self._log_standard((y - self.loc) / self.scale) - np.log(self.scale)

    def _log_standard(self, z):
        half = 0.5 * self.df
        constant = -scipy.special.betaln(half, 0.5) - 0.5 * np.log(self.df)
        return constant - (half + 0.5) * np.log1p(np.square(z) / self.df)

    def cdf(self, y):
        """Probability of a value up to y."""
        return scipy.special.stdtr(self.df, (y - self.loc) / self.scale)

    def sf(self, y):
        """Probability of a value above y, without loss of digits in the upper tail."""
        return scipy.special.stdtr(self.df, (self.loc - y) / self.scale)

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        return self.loc + self.scale * scipy.special.stdtrit(self.df, levels)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        z = (y - self.loc) / self.scale
        rest = np.where(self.df > 1.0, self.df - 1.0, np.nan)
        beyond = np.exp(self._log_standard(z)) * (self.df + np.square(z)) / rest
        return self.loc * self.sf(y) + self.scale * beyond
