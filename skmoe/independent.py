"""Predictive distributions of outputs that are mixtures of their own."""

import numpy as np
from sklearn.utils import check_random_state

from .mixture import MixtureDistribution


class IndependentMixtures:
    """Predictive distribution of several outputs, which are independent given the features.

    ``MoERegressor.predict_dist(X)`` returns it where each output has a gate of its own.
    ``output(j)`` is the `skmoe.mixture.MixtureDistribution` of one output, with all that it
    can tell; the methods here gather the most common answers.

    Parameters
    ----------
    outputs : list of MixtureDistribution
        Of one output each, for the same rows.
    """

    def __init__(self, outputs):
        self._outputs = list(outputs)

    def __len__(self):
        return len(self._outputs[0])

    def __getitem__(self, rows):
        return IndependentMixtures(one[rows] for one in self._outputs)

    @property
    def n_outputs(self):
        """Number of outputs."""
        return len(self._outputs)

    @property
    def weights(self):
        """Weights of the experts for each output, (n_samples, k, n_outputs)."""
        return np.stack([one.weights for one in self._outputs], axis=2)

    def output(self, j):
        """Return the distribution of one output.

        Parameters
        ----------
        j : int

        Returns
        -------
        MixtureDistribution
        """
        return self._outputs[j]

    def mean(self):
        """Means, (n_samples, n_outputs)."""
        return self._gathered("mean")

    def var(self):
        """Variances, (n_samples, n_outputs)."""
        return self._gathered("var")

    def std(self):
        """Standard deviations, (n_samples, n_outputs)."""
        return self._gathered("std")

    def logpdf(self, y):
        """Logarithm of the joint density.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_outputs)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._of_values("logpdf", y).sum(axis=-1)

    def cdf(self, y):
        """Probabilities of values up to y by output; arguments as of `logpdf`."""
        return self._of_values("cdf", y)

    def crps(self, y):
        """Continuous ranked probability scores by output; arguments as of `logpdf`."""
        return self._of_values("crps", y)

    def quantile(self, q):
        """Quantiles by output.

        Parameters
        ----------
        q : float or array-like
            Levels between 0 and 1.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs) or (n_samples, n_levels, n_outputs)
        """
        return self._gathered("quantile", q)

    def interval(self, level=0.9, *, kind="central"):
        """Intervals by output.

        Parameters
        ----------
        level : float, default=0.9
        kind : {"central", "shortest"}, default="central"
            As in `skmoe.mixture.MixtureDistribution.interval`.

        Returns
        -------
        lower, upper : ndarray of shape (n_samples, n_outputs)
        """
        both = [one.interval(level, kind=kind) for one in self._outputs]
        return tuple(np.stack(ends, axis=-1) for ends in zip(*both, strict=True))

    def sample(self, n_draws=None, random_state=None):
        """Draw from the joint distribution of each row.

        Parameters
        ----------
        n_draws : int, default=None
            Draws by row. None is one, without an axis for it.
        random_state : int, RandomState instance or None, default=None
            Source of randomness.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs) or (n_draws, n_samples, n_outputs)
        """
        rng = check_random_state(random_state)
        return self._gathered("sample", n_draws, rng)

    def _gathered(self, name, *args):
        return np.stack([getattr(one, name)(*args) for one in self._outputs], axis=-1)

    def _of_values(self, name, y):
        shape = (len(self), self.n_outputs)
        y = np.asarray(y, dtype=np.float64)
        if y.shape != shape:
            raise ValueError(f"y has shape {y.shape}; give one value for each of {shape}.")
        pairs = zip(self._outputs, y.T, strict=True)
        return np.stack([getattr(one, name)(values) for one, values in pairs], axis=-1)


def independent_mixtures(likelihood, log_weights, pred):
    """Distributions of outputs from weights and predictions (n, K, m)."""
    each = (
        MixtureDistribution(log_weights[:, :, j], likelihood.of_outputs([j]).law(pred[:, :, [j]]))
        for j in range(pred.shape[2])
    )
    return IndependentMixtures(each)
