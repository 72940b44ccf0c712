"""What a predictive mixture asks of the law of each of its experts."""

import numpy as np

from ._coded import coded_quantile
from ._numeric import averaged, mixture_crps

_GRID = 65
_GOLDEN, _GOLDEN_STEPS = 0.5 * (np.sqrt(5.0) - 1.0), 60


class Law:
    """Laws of one kind, one for each row, expert and output.

    A subclass has the moments, ``log_density``, ``cdf``, ``ppf``, ``modes`` and
    ``upper_mean``; the rest follows, by numbers where it must.

    Parameters
    ----------
    *parts : float or ndarray of shape (n, k, m)
        Parameters of the laws, in the order of the subclass; broadcast.

    Attributes
    ----------
    discrete : bool
        Whether values are whole numbers.
    has_mass : bool
        Whether single values have a probability, though others do not.
    has_counts : bool
        Whether whole numbers have a probability.
    """

    discrete = False
    has_mass = False
    has_counts = False
    _names = ()

    def __init__(self, *parts):
        parts = np.broadcast_arrays(*parts)
        for name, part in zip(self._names, parts):
            setattr(self, name, part)

    @property
    def shape(self):
        """Rows, experts and outputs."""
        return getattr(self, self._names[0]).shape

    def on(self, rows):
        """Return the laws of some rows; ``rows`` is what NumPy indexes by."""
        return type(self)(*(getattr(self, name)[rows] for name in self._names))

    def chosen(self, experts):
        """Return the laws (n, 1, m) of one expert per row, given as positions (n,)."""
        rows = np.arange(len(experts))
        return type(self)(*(getattr(self, name)[rows, experts][:, None] for name in self._names))

    def sf(self, y):
        """Probability of a value above y."""
        return 1.0 - self.cdf(y)

    def mass(self, y):
        """Probability of the very value y; 0 where the law has a density."""
        if self.discrete:
            return np.exp(self.log_density(y))
        return np.zeros(np.broadcast_shapes(np.shape(y), self.shape))

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
        law = self.chosen(experts)
        return law.ppf(rng.uniform(size=law.shape))[:, 0]

    def weighed(self, weights):
        """The weights (n, k), which must be of these laws: kernels would go beyond an end."""
        if np.shape(weights) != self.shape[:2]:
            raise ValueError(
                f"weights of shape {np.shape(weights)} need laws of as many rows and experts, "
                f"but these have the shape {self.shape}."
            )
        return weights

    def coded(self):
        """Return what a kernel needs to know of the laws, or None.

        Returns
        -------
        kind : int
            One of those in ``skmoe._ops.continuous``.
        parts : list of ndarrays of shape (n, k, m)
            Its parts.
        standard : Law of shape (1, k, m) or None
            The same laws without location and scale, for kinds that need a table.
        """
        return None

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
            The smallest values up to which there is so much probability.
        """
        return coded_quantile(self, weights, levels)

    def mixture_crps(self, weights, y):
        """Continuous ranked probability score of the mixtures.

        Parameters
        ----------
        weights : ndarray of shape (n, k)
        y : ndarray of shape (n, m)

        Returns
        -------
        ndarray of shape (n, m)
        """
        return mixture_crps(self, weights, y)

    def mixture_mode(self, weights):
        """Highest points of the mixtures' densities, between the modes of their laws.

        Parameters
        ----------
        weights : ndarray of shape (n, k)

        Returns
        -------
        ndarray of shape (n, m)
        """
        modes = self.modes()
        low, high = modes.min(axis=1, keepdims=True), modes.max(axis=1, keepdims=True)
        grid = low + np.linspace(0.0, 1.0, _GRID)[None, :, None] * (high - low)
        grid = np.concatenate([modes, np.rint(grid) if self.discrete else grid], axis=1)
        heights = np.stack([self._height(weights, grid[:, j]) for j in range(grid.shape[1])], 1)
        best = np.argmax(heights, axis=1)[:, None]
        found = np.take_along_axis(grid, best, axis=1)[:, 0]
        height = np.take_along_axis(heights, best, axis=1)[:, 0]
        step = ((high - low) / (_GRID - 1))[:, 0]
        better = (self._nearby_counts if self.discrete else self._golden)(weights, found, step)
        return np.where(self._height(weights, better) > height, better, found)

    def _height(self, weights, y):
        with np.errstate(over="ignore"):
            return averaged(weights, np.exp(self.log_density(y[:, None, :])))

    def _golden(self, weights, found, step):
        low, high = found - step, found + step
        for _ in range(_GOLDEN_STEPS):
            first, second = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
            left = self._height(weights, first) >= self._height(weights, second)
            low, high = np.where(left, low, first), np.where(left, second, high)
        return 0.5 * (low + high)

    def _nearby_counts(self, weights, found, step):
        reach = np.ceil(step)
        best, height = found, self._height(weights, found)
        for j in range(-int(reach.max()), int(reach.max()) + 1):
            y = found + np.clip(j, -reach, reach)
            now = self._height(weights, y)
            best, height = np.where(now > height, y, best), np.maximum(now, height)
        return best


def log_of(y):
    """Logarithm, minus infinity where y is not positive."""
    y = np.asarray(y, dtype=np.float64)
    return np.log(y, out=np.full(y.shape, -np.inf), where=y > 0.0)
