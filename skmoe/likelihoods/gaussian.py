"""Gaussian noise with one variance per expert and output."""

import copy
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from .._cells import by_output, weighted
from .._ops import numpy_of, ops_of
from .laws import NormalLaw

# The prior of a variance weighs as much as this many rows.
_PRIOR_ROWS = 1.0


class Gaussian(BaseEstimator):
    r"""Gaussian law of the target around the prediction of an expert.

    Each expert has its own variance. A smooth floor keeps an expert from collapsing
    onto a few rows that it fits exactly: an inverse-gamma prior that weighs as much as
    one row with the squared error :math:`s^2_0`, the fraction ``floor`` of the residual
    variance of one linear expert. The update is

    .. math:: \sigma^2_k = \Big(\sum_i w_i r_{ik} e_{ik}^2 + s^2_0\Big) \Big/
              \Big(\sum_i w_i r_{ik} + 1\Big).

    Parameters
    ----------
    shared : bool, default=False
        One variance for all experts.
    floor : float, default=0.1
        See above. 0 gives maximum likelihood, which is unbounded where an expert can
        fit its rows exactly.

    Attributes
    ----------
    scale_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Standard deviation of the noise in units of the target.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.likelihoods import Gaussian
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.1, 0.9, 2.2, 2.8]
    >>> model = MoERegressor(n_experts=1, likelihood=Gaussian(floor=0.0)).fit(X, y)
    >>> model.likelihood_.scale_.round(2)
    array([0.14])
    """

    _parameter_constraints = {
        "shared": ["boolean"],
        "floor": [Interval(Real, 0, None, closed="left")],
    }

    on_device = True  # whether `e_block` takes arrays that are on a GPU

    def __init__(self, *, shared=False, floor=0.1):
        self.shared = shared
        self.floor = floor

    @property
    def scale_(self):
        """Standard deviation of the noise, (n_experts,) or (n_experts, n_outputs)."""
        if not hasattr(self, "_variance"):
            raise AttributeError("this Gaussian is not fitted yet")
        scale = np.sqrt(self._variance)
        return scale[:, 0] if scale.shape[1] == 1 else scale

    @property
    def dispersion(self):
        """Variances, of shape (n_experts, n_outputs)."""
        return self._variance

    def start(self, data, n_experts):
        """A fresh copy with the variances of one expert for all.

        Parameters
        ----------
        data : FitData
        n_experts : int

        Returns
        -------
        Gaussian
        """
        fresh = type(self)(**self.get_params(deep=False))
        fresh._base = data.base_variance
        fresh._variance = np.tile(data.base_variance, (n_experts, 1))
        return fresh

    def resumed(self, data):
        """A copy with the same variances for another fit."""
        fresh = copy.copy(self)
        fresh._base = data.base_variance
        return fresh

    def selected(self, experts):
        """A copy with the variances of some experts, by index."""
        fresh = copy.copy(self)
        fresh._variance = self._variance[experts]
        return fresh

    def of_outputs(self, outputs):
        """A copy with the variances of some outputs, by index."""
        fresh = copy.copy(self)
        fresh._variance, fresh._base = self._variance[:, outputs], self._base[outputs]
        return fresh

    def replaced(self, where, others):
        """A copy in which variances of experts, by index, are those of another."""
        fresh = copy.copy(self)
        fresh._variance = self._variance.copy()
        fresh._variance[where] = others._variance
        return fresh

    def log_lik(self, y, pred, experts=None):
        """Log density of the target under each expert.

        Parameters
        ----------
        y : ndarray of shape (n, m)
        pred : ndarray of shape (n, K, m)
        experts : ndarray of shape (n, K) of int, default=None
            Which expert each column of ``pred`` is from; in order by default.

        Returns
        -------
        ndarray of shape (n, K)
        """
        if experts is None:
            out = numpy_of(pred).empty(pred.shape[:2])
            ops_of(pred).gaussian_log_lik(y, pred, self._variance, out)
            return out
        variance = self._variance[experts]
        error = np.square(y[:, None, :] - pred) / variance
        return -0.5 * np.sum(error + np.log(2.0 * np.pi * variance), axis=2)

    def n_sums(self, n_outputs):
        """Number of sums by expert that `e_block` adds to."""
        return n_outputs + 3

    def e_block(self, y, weight, given, gate, scores, joint, sums):
        """E-step of a block of rows; arguments as in ``skmoe._ops.blocks``."""
        ops = ops_of(y)
        return ops.gaussian_block(y, weight, self._variance, given, gate, scores, joint, sums)

    def residual_sums(self, y, pred, weights):
        """Weighted residuals, and what `update_sums` takes of them.

        Parameters
        ----------
        y : ndarray of shape (n, m)
        pred : ndarray of shape (n, K, m)
        weights : ndarray of shape (n, K) or (n, K, m)
            Sample weight times responsibility.

        Returns
        -------
        residual : ndarray of shape (n, K, m)
        squares : ndarray of shape (K, m)
        """
        residual = y[:, None, :] - pred
        weighted = by_output(weights) * residual
        return weighted, np.einsum("nkm,nkm->km", weighted, residual)

    def information_block(self, y, joint, scores, out):
        """Turn sums of residuals into scores, in place, and write curvatures by pairs.

        Arguments as in ``skmoe._ops.information``.
        """
        n_experts, n_outputs = self._variance.shape
        scores /= self._variance.reshape(-1, 1)
        out[:] = 0.0
        by_expert = out.reshape(n_experts, -1, joint.shape[1])
        pair = 0
        for j in range(n_outputs):
            by_expert[:, pair] = joint / self._variance[:, j, None]
            pair += n_outputs - j

    def update(self, y, pred, resp, weight, experts=None):
        """Update the variances from predictions; arguments as in `log_lik`."""
        weights = weighted(resp, weight)
        squares = np.square(y[:, None, :] - pred)
        if experts is None and weights.ndim == 3:
            self.update_sums(np.einsum("nkm,nkm->km", weights, squares), weights.sum(axis=0))
            return
        if experts is None:
            self.update_sums(np.einsum("nk,nkm->km", weights, squares), weights.sum(axis=0))
            return
        each, n_experts = experts.ravel(), len(self._variance)
        products = (weights[:, :, None] * squares).reshape(len(each), -1).T
        sums = [np.bincount(each, values, n_experts) for values in products]
        self.update_sums(np.stack(sums, axis=1), np.bincount(each, weights.ravel(), n_experts))

    def update_sums(self, squares, totals, whole=None):
        """Update the variances from weighted sums.

        Parameters
        ----------
        squares : ndarray of shape (K, m)
            ``sum_i w_i r_ik e_ik^2``.
        totals : ndarray of shape (K,) or (K, m)
            ``sum_i w_i r_ik``.
        whole : float, default=None
            ``sum_i w_i``, for laws under which rows are not all the experts'.
        """
        squares = np.maximum(squares, 0.0) + self._rows() * self.floor * self._base
        totals = _column(totals) + self._rows()
        if self.shared:
            squares = np.broadcast_to(squares.sum(axis=0), squares.shape)
            totals = np.broadcast_to(totals.sum(axis=0), totals.shape)
        alive = totals > 1e-6 * totals.sum(axis=0)
        variance = squares / np.where(alive, totals, 1.0)
        tiny = 1e-16 * self._base
        self._variance = np.maximum(np.where(alive, variance, self._base), tiny)

    def log_prior(self):
        """Logarithm of the prior of the variances, up to a constant."""
        relative = self._variance / self._base
        return -0.5 * self._rows() * np.sum(self.floor / relative + np.log(relative))

    def _rows(self):
        """Weight of the prior, in rows."""
        return _PRIOR_ROWS if self.floor > 0.0 else 0.0

    # -- gradient: flat parameters are the logarithms of the variances --------------------

    def flat(self):
        """Return logarithms of the free variances, flat."""
        return np.log(self._variance[:1] if self.shared else self._variance).ravel()

    def with_flat(self, values):
        """A copy with other parameters."""
        fresh = copy.copy(self)
        floor = np.log(1e-16 * self._base)
        values = np.clip(values.reshape(-1, len(self._base)), floor, 600.0)
        fresh._variance = np.tile(np.exp(values), (len(self._variance) // len(values), 1))
        return fresh

    def flat_gradient(self, sums):
        """Gradient of log-likelihood and log-prior by the flat parameters."""
        prior = self._rows() * (self.floor * self._base / self._variance - 1.0)
        gradient = 0.5 * ((sums.squares / self._variance + prior) - _column(sums.weight))
        return gradient.sum(axis=0) if self.shared else gradient.ravel()

    def flat_curvature(self, sums):
        """Diagonal of the expected negative Hessian by the flat parameters."""
        weight = _column(sums.weight)
        weight = np.maximum(weight, 1e-6 * weight.sum(axis=0)) + self._rows()
        if self.shared:
            weight = weight.sum(axis=0, keepdims=True)
        return 0.5 * np.broadcast_to(weight, (len(weight), self._variance.shape[1])).ravel()

    def pred_gradient(self, residual):
        """Gradient of the log-likelihood by predictions: weighted residuals (n, K, m) in units."""
        return residual / self._variance

    def expert_gradient(self, sums):
        """Gradient of the log-likelihood by the coefficients of experts: (D, K, m)."""
        return sums.experts / self._variance

    def pred_curvature(self, sums):
        """Sum over rows of the expected curvature by the prediction: (K, m)."""
        return _column(sums.weight) / self._variance

    def curved(self, grams):
        """Return curvatures (K, m, D, D) of experts from Grams (K, D, D)."""
        return grams[:, None] / self._variance[:, :, None, None]

    def n_parameters(self):
        """Number of free variances."""
        return self._variance.shape[1] if self.shared else self._variance.size

    def combine(self, log_weights, pred, experts=None):
        """Mean of the mixture: (n, K), (n, K, m) -> (n, m)."""
        return np.einsum("nk,nkm->nm", np.exp(log_weights), pred)

    def log_pool(self, log_weights, pred, experts=None):
        """Mean of the normalised product of densities to the power of weights: (n, m).

        The product is Gaussian: precisions add, and so the weights of the means are
        proportional to gate weight over variance (Genest and Zidek 1986, Statistical
        Science 1, 114-135).
        """
        precision = self._weighted_precision(log_weights, experts)
        return np.sum(precision * pred, axis=1) / precision.sum(axis=1)

    def pooled_variance(self, log_weights, experts=None):
        """Variance of the logarithmic pool: (n, m)."""
        return 1.0 / self._weighted_precision(log_weights, experts).sum(axis=1)

    def _weighted_precision(self, log_weights, experts):
        variance = self._variance if experts is None else self._variance[experts]
        return np.exp(log_weights)[:, :, None] / variance

    def law(self, pred, experts=None):
        """Return the laws of the target under each expert; arguments as in `log_lik`."""
        variance = self._variance if experts is None else self._variance[experts]
        return NormalLaw(pred, np.sqrt(variance))

    def total_variance(self, log_weights, pred, experts=None):
        """Variance of the mixture, within plus between experts: (n, m)."""
        weights = np.exp(log_weights)
        mean = np.einsum("nk,nkm->nm", weights, pred)
        between = np.einsum("nk,nkm->nm", weights, np.square(pred - mean[:, None, :]))
        if experts is None:
            return weights @ self._variance + between
        return np.einsum("nk,nkm->nm", weights, self._variance[experts]) + between


def _column(totals):
    """Totals (K,) as a column; those by output, (K, m), as they are."""
    return totals if totals.ndim == 2 else totals[:, None]
