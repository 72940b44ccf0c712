"""What all corrections of a mixture stand on: a shared base and the bins of its features."""

import numpy as np

from .._bins import Binner, is_frame


class Ground:
    """The shared base f0, and how parts that are additive see rows.

    They see the features and, after these, what the base says of a row.

    Parameters
    ----------
    binner : Binner
        Of the features.
    constant : ndarray of shape (S,)
        What the base is without any model: the mean, or log odds.
    forest : Forest, default=None
        Boosted trees as the base.
    estimator : tuple of (slot, fitted estimator, output), default=None
        Another model as the base, and how to ask it for scores.
    """

    def __init__(self, binner, constant, forest=None, estimator=None):
        self.binner, self.constant = binner, constant
        self.forest, self.estimator = forest, estimator
        self.base_binner = None

    @property
    def has_base(self):
        """Whether there is more to the base than a constant."""
        return self.forest is not None or self.estimator is not None

    def base(self, X, codes):
        """Scores (S, n) of the base."""
        scores = np.repeat(self.constant[:, None], codes.shape[1], axis=1)
        if self.forest is not None:
            return self.forest.add_to(scores, codes)
        if self.estimator is not None:
            slot, fitted, output = self.estimator
            pred = output(slot.who, fitted, X)
            scores = as_scores(pred, getattr(output, "classes", None) is not None)
        return scores

    def watch(self, base, weight):
        """Take the base as a feature, from its scores (S, n) of the training rows."""
        if self.has_base:
            self.base_binner = Binner(base.T, weight)

    def joined(self, codes, base):
        """Codes (d + S, n) of features and base."""
        if self.base_binner is None:
            return codes
        return np.vstack([codes, self.base_binner.transform(base.T)])

    def see(self, X):
        """Codes (d + S, n) of features and base, and the base (S, n), of new rows."""
        codes = self.binner.transform(X)
        base = self.base(X, codes)
        return self.joined(codes, base), base

    def table(self, X, base):
        """Features for other learners than trees on bins: those of a frame as they are."""
        if is_frame(X) or not self.has_base:
            return X
        return np.column_stack([X, base.T])

    @property
    def bins(self):
        """Numbers of bins (d + S,), and which features are categorical."""
        binners = [self.binner] + [self.base_binner] * (self.base_binner is not None)
        return (
            np.concatenate([b.n_bins for b in binners]),
            np.concatenate([b.categorical for b in binners]),
        )


def as_scores(pred, classify):
    """Free scores (S, n) of predictions (n, P): of two classes, the log odds of the second."""
    if classify and pred.shape[1] == 2:
        pred = pred[:, 1:] - pred[:, :1]
    return np.ascontiguousarray(pred.T)


def as_pred(scores, n_classes):
    """Predictions (n, K, P) of an expert collection from free scores (K, S, n)."""
    if n_classes == 2:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    return np.ascontiguousarray(scores.transpose(2, 0, 1))
