"""Laws of different kinds for different experts."""

import numpy as np

from ._panjer import counts_crps, counts_quantile
from .base import Law


class MixedLaw(Law):
    """A law of its own kind for every expert.

    Parameters
    ----------
    laws : list of k Law
        Of arrays (n, 1, m).
    """

    def __init__(self, laws):
        self.laws = list(laws)
        self.discrete = all(law.discrete for law in self.laws)
        self.has_counts = any(law.discrete for law in self.laws)
        others = any(law.has_mass for law in self.laws)
        self.has_mass = not self.discrete and (self.has_counts or others)

    @property
    def shape(self):
        """Rows, experts and outputs."""
        n_rows, _, n_outputs = self.laws[0].shape
        return n_rows, len(self.laws), n_outputs

    def on(self, rows):
        """Return the laws of some rows; ``rows`` is what NumPy indexes by."""
        return MixedLaw(law.on(rows) for law in self.laws)

    def _each(self, name, values=None):
        if values is None:
            return np.concatenate([getattr(law, name)() for law in self.laws], axis=1)
        values = np.asarray(values, dtype=np.float64)
        own = values.ndim == 3 and values.shape[1] > 1
        found = []
        for k, law in enumerate(self.laws):
            part = getattr(law, name)(values[:, k : k + 1] if own else values)
            found.append(np.broadcast_to(part, np.broadcast_shapes(part.shape, law.shape)))
        return np.concatenate(found, axis=1)

    def mean(self):
        """Return the means: (n, k, m)."""
        return self._each("mean")

    def variance(self):
        """Return the variances: (n, k, m)."""
        return self._each("variance")

    def modes(self):
        """Return the most probable values: (n, k, m)."""
        return self._each("modes")

    def log_density(self, y):
        """Logarithm of the density (or probability); y broadcasts against (n, k, m)."""
        return self._each("log_density", y)

    def cdf(self, y):
        """Probability of a value up to y."""
        return self._each("cdf", y)

    def sf(self, y):
        """Probability of a value above y."""
        return self._each("sf", y)

    def mass(self, y):
        """Probability of the very value y."""
        return self._each("mass", y)

    def ppf(self, levels):
        """Quantiles of each law; levels broadcast against (n, k, m)."""
        return self._each("ppf", levels)

    def upper_mean(self, y):
        """Mean of the values above y times their probability."""
        return self._each("upper_mean", y)

    def recursion(self):
        """Return the recursion of probabilities, where all laws are of counts."""
        found = [np.broadcast_arrays(*law.recursion(), law.mean())[:4] for law in self.laws]
        return [np.concatenate(parts, axis=1) for parts in zip(*found, strict=True)]

    def mixture_quantile(self, weights, levels):
        """Quantiles of the mixtures; see `Law.mixture_quantile`."""
        if self.discrete:
            return counts_quantile(self, weights, levels)
        return super().mixture_quantile(weights, levels)

    def mixture_crps(self, weights, y):
        """Score of the mixtures; see `Law.mixture_crps`."""
        return counts_crps(self, weights, y) if self.discrete else super().mixture_crps(weights, y)

    def sample(self, experts, rng):
        """Draw one value for each row; see `Law.sample`."""
        found = np.empty((len(experts), self.shape[2]))
        for k, law in enumerate(self.laws):
            rows = np.flatnonzero(experts == k)
            if len(rows):
                found[rows] = law.on(rows).sample(np.zeros(len(rows), dtype=int), rng)
        return found
