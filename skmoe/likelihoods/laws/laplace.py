"""Laplace laws, symmetric and not."""

import numpy as np

from ..._ops import get_ops
from .base import Law


class AsymmetricLaplaceLaw(Law):
    r"""Asymmetric Laplace laws, one for each row, expert and output.

    .. math:: p(y) = \frac{\tau (1 - \tau)}{s} e^{-\rho_\tau((y - \mu) / s)},
              \qquad \rho_\tau(z) = z (\tau - 1[z < 0])

    Parameters
    ----------
    loc, scale : ndarray of shape (n, k, m)
        Quantiles :math:`\mu` of the given level, and scales :math:`s`.
    level : float or ndarray of shape (n, k, m)
        :math:`\tau`, between 0 and 1.
    """

    _names = ("loc", "scale", "level")

    def mean(self):
        """Return the means: (n, k, m)."""
        return self.loc + self.scale * (1.0 - 2.0 * self.level) / self._product()

    def variance(self):
        """Return the variances: (n, k, m)."""
        return np.square(self.scale / self._product()) * (1.0 - 2.0 * self._product())

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return self.loc

    def coded(self):
        """Return what a kernel needs to know; see `Law.coded`."""
        return get_ops().LAPLACE, [self.loc, self.scale, self.level], None

    def _product(self):
        return self.level * (1.0 - self.level)

    def log_density(self, y):
        """Logarithm of the density; y broadcasts against (n, k, m)."""
        z = (y - self.loc) / self.scale
        return np.log(self._product() / self.scale) - z * (self.level - (z < 0.0))

    def cdf(self, y):
        """Probability of a value up to y."""
        below, above, z = self._tails(y)
        return np.where(z < 0.0, below, 1.0 - above)

    def sf(self, y):
        """Probability of a value above y, without loss of digits in the upper tail."""
        below, above, z = self._tails(y)
        return np.where(z < 0.0, 1.0 - below, above)

    def _tails(self, y):
        """Probabilities below and above, each where it is a tail, and standardised values."""
        z = (y - self.loc) / self.scale
        below = self.level * np.exp((1.0 - self.level) * np.minimum(z, 0.0))
        above = (1.0 - self.level) * np.exp(-self.level * np.maximum(z, 0.0))
        return below, above, z

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        levels = np.asarray(levels)
        with np.errstate(divide="ignore"):
            low = np.log(np.minimum(levels / self.level, 1.0)) / (1.0 - self.level)
            high = -np.log(np.minimum((1.0 - levels) / (1.0 - self.level), 1.0)) / self.level
        return self.loc + self.scale * (low + high)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        below, above, z = self._tails(y)
        upper = above * (y + self.scale / self.level)
        lower = self.mean() - below * (y - self.scale / (1.0 - self.level))
        return np.where(z < 0.0, lower, upper)


class LaplaceLaw(AsymmetricLaplaceLaw):
    """Laplace laws, one for each row, expert and output.

    Parameters
    ----------
    loc, scale : ndarray of shape (n, k, m)
        Medians, and mean absolute deviations from them.
    """

    def __init__(self, loc, scale):
        super().__init__(loc, 0.5 * np.asarray(scale), 0.5)

    def on(self, rows):
        """Return the laws of some rows; ``rows`` is what NumPy indexes by."""
        return LaplaceLaw(self.loc[rows], 2.0 * self.scale[rows])

    def chosen(self, experts):
        """Return the laws (n, 1, m) of one expert per row, given as positions (n,)."""
        rows = np.arange(len(experts))
        return LaplaceLaw(
            self.loc[rows, experts][:, None], 2.0 * self.scale[rows, experts][:, None]
        )
