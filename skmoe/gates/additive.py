"""A gate that is a sum: linear in the features, and trees."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import BaseEstimator

from .._bins import is_frame, numeric_matrix
from .._forest import Forest
from .._ops import get_ops

# More columns than this have a diagonal in the place of a Gram matrix.
_MOST_COLUMNS = 2000


class AdditiveGate(BaseEstimator):
    """Gate of boosted mixtures: linear logits plus trees, trained by `skmoe.solvers.Boosting`.

    ``gate="softmax"`` becomes one where experts are additive.

    Parameters
    ----------
    alpha : float, default=1e-4
        Ridge on the linear slopes of standardised columns, per unit of weight.
    linear, trees : bool, default=True
        Which parts there are.
    """

    takes_frames = True
    dense_only = True

    def __init__(self, alpha=1e-4, *, linear=True, trees=True):
        self.alpha = alpha
        self.linear = linear
        self.trees = trees

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def start(self, ground, table, weight, n_experts):
        """Get ready for training; all experts have the same probability.

        Parameters
        ----------
        ground : Ground
            How rows are seen.
        table : ndarray of shape (n, q)
            Numbers that the linear part sees.
        weight : ndarray of shape (n,)
        n_experts : int

        Returns
        -------
        AdditiveGate
        """
        fresh = type(self)(self.alpha, linear=self.linear, trees=self.trees)
        fresh.ground, fresh.n_experts_ = ground, n_experts
        share = weight / weight.sum()
        known = np.isfinite(table)
        filled = np.where(known, table, 0.0)
        mass = np.maximum(share @ known, 1e-300)
        fresh.mean_ = share @ filled / mass
        spread = share @ np.where(known, np.square(table - fresh.mean_), 0.0) / mass
        fresh.spread_ = np.where(spread > 0, np.sqrt(spread), 1.0)
        fresh.coef_ = np.zeros((1 + table.shape[1], n_experts))
        fresh.gains_ = np.zeros(table.shape[1])
        fresh.forest = Forest(n_experts, len(ground.bins[0]))
        return fresh

    def design(self, table):
        """Standardised columns (n, 1 + q) after a constant one; missing values are 0."""
        z = (table - self.mean_) / self.spread_
        return np.column_stack([np.ones(len(z)), np.where(np.isfinite(z), z, 0.0)])

    @staticmethod
    def numbers(X, base):
        """What the linear part sees: numeric columns and the base (S, n), if any."""
        table = numeric_matrix(X) if is_frame(X) else np.asarray(X, dtype=np.float64)
        return table if base is None else np.column_stack([table, base.T])

    def log_proba(self, X, last=None):
        """Logarithm of the probability of each expert.

        Parameters
        ----------
        X : ndarray or frame of shape (n, d)
        last : int, default=None
            Trees of so many rounds only.

        Returns
        -------
        ndarray of shape (n, K)
        """
        return self.of_seen(X, *self.ground.see(X), last)

    def of_seen(self, X, codes, base, last=None):
        """`log_proba` of rows that the gate's ground has seen: codes (d, n), base (S, n)."""
        logits = np.ascontiguousarray((self.seen_design(X, base) @ self.coef_).T)
        return normalised(self.forest.add_to(logits, codes, last=last))

    def seen_design(self, X, base):
        """Columns (n, 1 + q) of the linear part, of rows that the gate's ground has seen."""
        return self.design(self.numbers(X, base if self.ground.has_base else None))

    def fit(self, X, resp, sample_weight=None):
        """Refuse: this gate is trained together with additive experts."""
        raise TypeError("AdditiveGate is trained by solvers.Boosting, with AdditiveExpert experts.")

    def penalty(self):
        """Ridge of the slopes."""
        return 0.5 * self.alpha * float(np.square(self.coef_[1:]).sum())

    def factor(self, design, weight):
        """What `step` needs of the rows: a bound of the curvature of the log-likelihood."""
        ridge = np.full(design.shape[1], self.alpha * weight.sum())
        ridge[0] = 0.0
        if design.shape[1] > _MOST_COLUMNS:
            bound = 0.5 * np.abs(weight[:, None] * design).T @ np.abs(design).sum(axis=1)
            return bound + ridge + 1e-12 * bound.max()
        gram = 0.5 * design.T @ (weight[:, None] * design)
        return cho_factor(gram + np.diag(ridge + 1e-9 * np.trace(gram) / len(gram)))

    def step(self, design, slope, total, factor):
        """Move the slopes uphill, never too far: slope (n, K) is the gradient by logits.

        Half the Gram matrix bounds the curvature of a softmax (Boehning, 1992).

        Returns
        -------
        ndarray of shape (n, K)
            What is added to the logits.
        """
        gradient = design.T @ slope
        gradient[1:] -= self.alpha * total * self.coef_[1:]
        tall = gradient / factor[:, None] if isinstance(factor, np.ndarray) else None
        move = cho_solve(factor, gradient) if tall is None else tall
        self.gains_ = self.gains_ + np.sum(gradient[1:] * move[1:], axis=1)
        self.coef_ = self.coef_ + move
        return design @ move

    def importance(self):
        """What columns (d + S,), the base last, have added to the log-likelihood.

        A quadratic estimate, of trees and slopes together.
        """
        total = self.forest.rate * (1.0 - 0.5 * self.forest.rate) * self.forest.importance()
        total[~self.ground.bins[1]] += 0.5 * np.maximum(self.gains_, 0.0)
        return total


def normalised(logits):
    """Log probabilities (n, K) from logits (K, n)."""
    out = np.ascontiguousarray(logits.T)
    get_ops().log_softmax(out, out)
    return out
