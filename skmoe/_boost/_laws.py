"""Functional gradients: slopes of a law's log-likelihood by the scores of rows.

Scores are (K, S, n): of K experts, S free numbers per row.
"""

import numpy as np
import scipy.special


class Means:
    """Squared error around means: the Gaussian law, up to the variances.

    Parameters
    ----------
    y : ndarray of shape (n, S)
    """

    # Curvature of a row of weight one, by which limits on leaves are scaled.
    row_curvature = 1.0
    # Least sum of curvatures in a leaf of the base.
    base_curvature = 20.0

    def __init__(self, y):
        self.y = y
        self.n_scores = y.shape[1]

    def constant(self, weight):
        """The best constant score (S,)."""
        return weight @ self.y / weight.sum()

    def loss(self, scores):
        """Loss (n,) of the scores (S, n) of one model."""
        return np.square(self.y.T - scores).sum(axis=0)

    def slopes(self, scores, joint):
        """Gradient and curvature (K, S, n), both times the variance of the expert.

        Parameters
        ----------
        scores : ndarray of shape (K, S, n)
        joint : ndarray of shape (K, n)
            Weight times responsibility.
        """
        curvature = np.broadcast_to(joint[:, None], scores.shape)
        return joint[:, None] * (self.y.T - scores), curvature


class Classes:
    """Logarithm of the probability of the observed class.

    Of two classes there is one score, the log odds of the second.

    Parameters
    ----------
    y : ndarray of shape (n,) of int
    n_classes : int
    """

    row_curvature = 0.1
    # Rows that are nearly certain have next to no curvature, and still need splits.
    base_curvature = 0.1

    def __init__(self, y, n_classes):
        self.n_scores = n_classes if n_classes != 2 else 1
        self.y, self.n_classes = y, n_classes
        first = 1 if n_classes == 2 else 0
        self.hits = (y == np.arange(first, first + self.n_scores)[:, None]).astype(np.float64)

    def constant(self, weight):
        """The best constant score (S,): log odds, shrunk by half a row per class."""
        shares = np.bincount(self.y, weight, self.n_classes) + 0.5
        logs = np.log(shares / shares.sum())
        return logs[1:] - logs[:1] if self.n_classes == 2 else logs

    def proba(self, scores):
        """Probabilities of the scored classes; the last but one axis is of scores."""
        if self.n_classes == 2:
            return scipy.special.expit(scores)
        return scipy.special.softmax(scores, axis=-2)

    def loss(self, scores):
        """Loss (n,) of the scores (S, n) of one model."""
        if self.n_classes == 2:
            return np.logaddexp(0.0, np.where(self.y == 1, -scores[0], scores[0]))
        own = np.take_along_axis(scores, self.y[None], axis=0)[0]
        return scipy.special.logsumexp(scores, axis=0) - own

    def slopes(self, scores, joint):
        """Gradient and diagonal curvature (K, S, n); arguments as of `Means.slopes`."""
        proba = self.proba(scores)
        joint = joint[:, None]
        return joint * (self.hits - proba), joint * np.maximum(proba * (1.0 - proba), 1e-9)

    def slant_slopes(self, scores, base, joint):
        """Gradient and curvature (K,) by the factor of the base in the scores."""
        proba = self.proba(scores)
        gradient = np.sum(joint[:, None] * (self.hits - proba) * base, axis=(1, 2))
        mean = np.sum(proba * base, axis=1)
        second = np.sum(proba * np.square(base), axis=1)
        return gradient, np.sum(joint * (second - np.square(mean)), axis=1)


def law_of(data):
    """The law of the targets of a fit."""
    if data.n_classes is None:
        return Means(data.y)
    return Classes(data.y, data.n_classes)
