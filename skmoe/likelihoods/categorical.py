"""Categorical law of a class label."""

import numpy as np
import scipy.special
from sklearn.base import BaseEstimator

from .._ops import get_ops, numpy_of, ops_of

_LEAST_LOG = np.log(np.finfo(np.float64).tiny)


class Categorical(BaseEstimator):
    """Law of a class label, given class scores of an expert (n, K, C).

    Scores are logits; logarithms of probabilities are logits, too. There is no
    dispersion.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.likelihoods import Categorical
    >>> scores = np.log([[[0.2, 0.8], [0.5, 0.5]]])
    >>> Categorical().log_lik(np.array([1]), scores).round(3)
    array([[-0.223, -0.693]])
    """

    _parameter_constraints = {}

    dispersion = None
    on_device = True  # as of `Gaussian`

    def start(self, data, n_experts):
        """A fresh copy; arguments as in `Gaussian.start`."""
        return type(self)()

    def resumed(self, data):
        """Itself: there is no state."""
        return self

    def selected(self, experts):
        """Itself: no expert has parameters."""
        return self

    def replaced(self, where, others):
        """Itself: no expert has parameters."""
        return self

    def log_lik(self, y, pred, experts=None):
        """Log probability of the observed class: (n,), (n, K, C) -> (n, K)."""
        xp = numpy_of(pred)
        out = xp.empty(pred.shape[:2])
        ops_of(pred).categorical_log_lik(y, xp.ascontiguousarray(pred), out)
        return out

    def n_sums(self, n_classes):
        """Number of sums by expert that `e_block` adds to."""
        return 3

    def e_block(self, y, weight, given, gate, scores, joint, sums):
        """E-step of a block of rows; arguments as in ``skmoe._ops.blocks``."""
        return ops_of(y).categorical_block(y, weight, given, gate, scores, joint, sums)

    def residual_sums(self, y, pred, weights):
        """Weighted residuals of class probabilities (n, K, C), and no squares (K, 0)."""
        residual = np.empty(pred.shape)
        get_ops().categorical_residual(y, np.ascontiguousarray(pred), weights, residual)
        return residual, np.empty((pred.shape[1], 0))

    def information_block(self, y, joint, scores, out):
        """Curvature by pairs of classes; arguments as in ``skmoe._ops.information``."""
        get_ops().categorical_information(y, joint, scores, out)

    def flat(self):
        """No parameters."""
        return np.empty(0)

    def with_flat(self, values):
        """Itself: there are no parameters."""
        return self

    def flat_gradient(self, sums):
        """No parameters."""
        return np.empty(0)

    def flat_curvature(self, sums):
        """No parameters."""
        return np.empty(0)

    def pred_curvature(self, sums):
        """Bound of the sum over rows of the curvature by a class score: (K, 1)."""
        return 0.25 * sums.weight[:, None]

    def pred_gradient(self, residual):
        """Gradient of the log-likelihood by scores: the weighted residuals (n, K, C)."""
        return residual

    def expert_gradient(self, sums):
        """Gradient of the log-likelihood by the coefficients of experts: (D, K, C)."""
        return sums.experts

    def update(self, y, pred, resp, weight, experts=None):
        """Nothing to update."""

    def log_prior(self):
        """No prior: 0."""
        return 0.0

    def n_parameters(self):
        """No parameters: 0."""
        return 0

    def combine(self, log_weights, pred, experts=None):
        """Class probabilities of the mixture: (n, K), (n, K, C) -> (n, C)."""
        proba = scipy.special.softmax(pred, axis=2)
        return np.einsum("nk,nkc->nc", np.exp(log_weights), proba)

    def log_pool(self, log_weights, pred, experts=None):
        """Normalised product of probabilities to the power of weights: (n, C).

        Genest and Zidek (1986), Statistical Science 1, 114-135.
        """
        weights = np.exp(log_weights)[:, :, None]
        # A probability of exactly 0 would be a veto, even of an expert without weight.
        log_proba = np.maximum(scipy.special.log_softmax(pred, axis=2), _LEAST_LOG)
        return scipy.special.softmax(np.sum(weights * log_proba, axis=1), axis=1)
