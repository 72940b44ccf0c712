"""Laws of one expert: what a predictive mixture asks of each of its parts."""

import numpy as np
import scipy.special

from .._ops import get_ops

_LOG_ROOT_2PI = 0.5 * np.log(2.0 * np.pi)


class NormalLaw:
    """Normal laws, one for each row, expert and output.

    Parameters
    ----------
    loc, scale : ndarray of shape (n, k, m)
        Means and standard deviations.
    """

    discrete = False

    def __init__(self, loc, scale):
        self.loc = loc
        self.scale = np.broadcast_to(scale, loc.shape)

    def on(self, rows):
        """Return the laws of some rows; ``rows`` is what NumPy indexes by."""
        return type(self)(self.loc[rows], self.scale[rows])

    def mean(self):
        """Return the means: (n, k, m)."""
        return self.loc

    def variance(self):
        """Return the variances: (n, k, m)."""
        return np.square(self.scale)

    def log_density(self, y):
        """Logarithm of the density; y broadcasts against (n, k, m)."""
        z = (y - self.loc) / self.scale
        return -0.5 * np.square(z) - np.log(self.scale) - _LOG_ROOT_2PI

    def log_density_slope(self, y):
        """Derivative of `log_density` by y."""
        return (self.loc - y) / np.square(self.scale)

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

    def mixture_quantile(self, weights, levels):
        """Quantiles of the mixtures of the k laws.

        Parameters
        ----------
        weights : ndarray of shape (n, k)
            Rows sum to one.
        levels : ndarray of shape (q,) or (n, q, m)
            Ascending along q, inside (0, 1).

        Returns
        -------
        ndarray of shape (n, q, m)
        """
        n_rows, _, n_outputs = self.loc.shape
        levels = levels[None, :, None] if levels.ndim == 1 else levels
        levels = np.broadcast_to(levels, (*levels.shape[:2], n_outputs))
        out = np.empty((n_outputs, n_rows, levels.shape[1]))
        weights = np.ascontiguousarray(weights)
        for j in range(n_outputs):
            loc = np.ascontiguousarray(self.loc[:, :, j])
            scale = np.ascontiguousarray(self.scale[:, :, j])
            wanted = np.ascontiguousarray(levels[:, :, j])
            normal = scipy.special.ndtri(wanted)
            get_ops().normal_mixture_quantile(weights, loc, scale, wanted, normal, out[j])
        return out.transpose(1, 2, 0)

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

    def sample(self, experts, rng):
        """Draw one value for each row from the law of its chosen expert.

        Parameters
        ----------
        experts : ndarray of shape (n,) of int
            Positions along the second axis.
        rng : numpy.random.RandomState

        Returns
        -------
        ndarray of shape (n, m)
        """
        rows = np.arange(len(experts))
        return rng.normal(self.loc[rows, experts], self.scale[rows, experts])


def _mean_distance(mean, variance):
    """Mean absolute value of normal variables."""
    scale = np.sqrt(variance)
    z = mean / scale
    density = np.exp(-0.5 * np.square(z) - _LOG_ROOT_2PI)
    return 2.0 * scale * density + mean * (2.0 * scipy.special.ndtr(z) - 1.0)
