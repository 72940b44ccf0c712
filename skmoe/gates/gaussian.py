"""The Gaussian gate: every expert has a normal density over the features."""

import copy
from numbers import Real

import numpy as np
import scipy.sparse as sp
from scipy.special import log_softmax, logsumexp
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._design import Design
from .._ops import get_ops
from ._densities import (
    DiagonalScorer,
    FullScorer,
    SharedScorer,
    free_values,
    from_free_values,
    half_log_det,
)

# Least weight of the prior in rows, relative to all rows: covariances stay regular to
# the precision of their sums, and ``prior=0`` differs from maximum likelihood in the
# twelfth digit.
_LEAST_PRIOR = 1e-12
_LOG_2PI = np.log(2.0 * np.pi)


class GaussianGate(BaseEstimator):
    r"""Localised gate: each expert's region is a normal density over the features.

    .. math:: g_k(x) = \pi_k N(x | \mu_k, \Sigma_k) / \sum_j \pi_j N(x | \mu_j, \Sigma_j)

    Regions are ellipsoids, boundaries between two of them are quadrics (planes with
    ``covariance="shared"``). Training is in closed form: expectation maximisation climbs
    the joint density of target and features, so that the objective contains the mean of
    `log_evidence`; likelihoods and scores of the mixture remain conditional on the
    features. Features are standardised internally, and NaN counts as the average. They
    must be dense.

    Parameters
    ----------
    covariance : {"full", "diag", "shared"}, default="full"
        Covariance matrices: one per expert, one diagonal matrix per expert, or one matrix
        for all experts.
    prior : float, default=1.0
        Every expert is given this many rows more, spread around its mean as all rows are
        around theirs (with "diag", by the variances alone):

        .. math:: \Sigma_k = (S_k + \nu \Sigma_0) / (N_k + \nu), \quad
                  \pi_k = (N_k + \nu) / (N + K \nu)

        where :math:`S_k` are weighted sums of squares around :math:`\mu_k`,
        :math:`N_k` the responsibility of the expert, and :math:`\nu` the prior; a shared
        matrix is given them once. 0 gives maximum likelihood, which is unbounded where an
        expert may shrink onto one row.

    Attributes
    ----------
    proba_ : ndarray of shape (n_experts,)
        Probability of each expert before the features are seen.
    means_ : ndarray of shape (n_experts, n_features)
        For features as given.
    covariances_ : ndarray
        For features as given: (n_experts, n_features, n_features); the variances
        (n_experts, n_features) with "diag"; (n_features, n_features) with "shared".
        Zero in directions in which the features do not vary.
    mean_, scale_ : ndarray of shape (n_features,)
        Shift and scale of the internal standardisation.
    n_experts_ : int

    References
    ----------
    Xu, L., Jordan, M. I. and Hinton, G. E. (1995). An alternative model for mixtures of
    experts. Advances in Neural Information Processing Systems 7, 633-640.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import GaussianGate
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> resp = np.array([[1.0, 0.0], [0.9, 0.1], [0.1, 0.9], [0.0, 1.0]])
    >>> gate = GaussianGate().fit(X, resp)
    >>> np.exp(gate.log_proba(X)).argmax(axis=1)
    array([0, 0, 1, 1])
    """

    _parameter_constraints = {
        "covariance": [StrOptions({"full", "diag", "shared"})],
        "prior": [Interval(Real, 0, None, closed="left")],
    }

    # Centred columns of a sparse matrix are full.
    dense_only = True

    def __init__(self, covariance="full", *, prior=1.0):
        self.covariance = covariance
        self.prior = prior

    # Densities are of coordinates u = basis' z of the standardised columns z, in which
    # all rows together have covariance one (variances one with "diag"); directions in
    # which the rows do not vary have no coordinate.

    def view(self, X, sample_weight):
        """Prepare features once for repeated fits.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            NaN counts as the average.
        sample_weight : ndarray of shape (n_samples,)

        Returns
        -------
        Design
            May be given to all methods in the place of ``X``.

        Raises
        ------
        TypeError
            For sparse features, whose covariances would fill up.
        """
        _refuse_sparse(X)
        return Design.standardised(X, sample_weight)

    def fit(self, X, resp, sample_weight=None):
        """Fit to soft targets, in closed form.

        Parameters
        ----------
        X : ndarray or view, of shape (n_samples, n_features)
            NaN counts as the average.
        resp : ndarray of shape (n_samples, n_experts)
            Non-negative; each row sums to one.
        sample_weight : ndarray of shape (n_samples,), default=None
            Ones by default.

        Returns
        -------
        self : GaussianGate
        """
        sample_weight = np.ones(len(resp)) if sample_weight is None else sample_weight
        design = X if isinstance(X, Design) else self.view(X, sample_weight)
        _refuse_sparse(design.X)
        self.mean_, self.scale_ = design.center, design.scale
        weights = resp * sample_weight[:, None]
        sums = design.transposed_dot(weights).T
        if self.covariance == "diag":
            squares = design.column_squares(weights).T[:, :-1]
            total = np.diag(squares.sum(axis=0))
        else:
            grams = design.grams(weights) if self.covariance == "full" else None
            total = design.total_gram(sample_weight) if grams is None else grams.sum(axis=0)
            total = total[:-1, :-1]
            squares = total[None] if grams is None else grams[:, :-1, :-1]
        self._basis = self._coordinates(total, sums.sum(axis=0), design.X.dtype)
        self._set_moments(sums[:, -1], sums[:, :-1], squares)
        return self

    @classmethod
    def from_parameters(cls, proba, means, covariances, *, covariance="full", prior=1.0):
        """A fitted gate with given parameters, such as those of a mixture of Gaussians.

        Parameters
        ----------
        proba : array-like of shape (n_experts,)
            Positive; sums to one.
        means : array-like of shape (n_experts, n_features)
        covariances : array-like
            In the shape of ``covariances_``, positive definite.
        covariance : {"full", "diag", "shared"}, default="full"
        prior : float, default=1.0

        Returns
        -------
        GaussianGate
            Its features are as given: shifted by 0, scaled by 1.
        """
        gate, means = cls(covariance, prior=prior), np.array(means, dtype=np.float64)
        n_columns = means.shape[1]
        gate.mean_, gate.scale_ = np.zeros(n_columns), np.ones(n_columns)
        gate.n_experts_, gate._rows = len(means), prior
        gate._basis, gate._mean = np.eye(n_columns), means
        gate._log_pi = np.log(np.asarray(proba, dtype=np.float64))
        covariances = np.asarray(covariances, dtype=np.float64)
        if covariance == "diag":
            gate._factor = np.sqrt(covariances)
        else:
            gate._factor = np.linalg.cholesky(covariances.reshape(-1, n_columns, n_columns))
        return gate

    def updated(self, grams):
        """A copy after the M-step.

        Parameters
        ----------
        grams : ndarray of shape (K, D, D)
            ``Z' diag(weight * resp_k) Z`` of the standardised columns, the column of
            ones last.

        Returns
        -------
        GaussianGate
        """
        gate = copy.copy(self)
        squares = grams[:, :-1, :-1]
        if self.covariance == "diag":
            squares = np.diagonal(squares, axis1=1, axis2=2)
        elif self.covariance == "shared":
            squares = squares.sum(axis=0, keepdims=True)
        gate._set_moments(grams[:, -1, -1], grams[:, :-1, -1], squares)
        return gate

    def log_proba(self, X):
        """Logarithm of the probability of each expert.

        Parameters
        ----------
        X : ndarray or view, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
        """
        scores = self.log_joint(X)
        get_ops().log_softmax(scores, scores)
        return scores

    def log_evidence(self, X):
        """Log density of the features, in units of the standardised ones.

        Parameters
        ----------
        X : ndarray or view, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            Subtract ``np.log(gate.scale_).sum()`` for the density of features as given.
            Directions in which the training rows do not vary are left out.
        """
        return logsumexp(self.log_joint(X), axis=1)

    def log_joint(self, X):
        """Logarithm of ``pi_k N(x | mu_k, Sigma_k)``, in the units of `log_evidence`.

        Parameters
        ----------
        X : ndarray or view, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
        """
        check_is_fitted(self)
        _refuse_sparse(X)
        design = X if isinstance(X, Design) else Design(X, self.mean_, self.scale_)
        out = np.empty((design.shape[0], self.n_experts_))
        scorer = self.block_scorer(design.shape[1])
        for rows in design.slices(self.n_experts_ + len(self._basis)):
            scores = np.empty((self.n_experts_, rows.stop - rows.start))
            scorer(design.block(rows), scores)
            out[rows] = scores.T
        return out

    def log_prior(self):
        """Log prior of the parameters relative to its largest value."""
        factor, n_experts = self._factor, self.n_experts_
        inverse = 1.0 / factor if factor.ndim == 2 else np.linalg.inv(factor)
        spread = 0.5 * (len(factor) * factor.shape[1] - np.square(inverse).sum())
        spread -= half_log_det(factor).sum()
        return self._rows * (spread + np.sum(self._log_pi) + n_experts * np.log(n_experts))

    def n_parameters(self):
        """Number of free parameters."""
        q = self._basis.shape[1]
        each = q if self.covariance == "diag" else q * (q + 1) // 2
        return self.n_experts_ * (q + 1) - 1 + len(self._factor) * each

    def resumed(self, view):
        """A copy with the same densities for features of another fit."""
        gate = copy.copy(self)
        # u = basis' z stays what it is while the meaning of z changes
        shift = (view.center - self.mean_) / self.scale_
        gate._mean = self._mean - shift @ self._basis
        gate._basis = self._basis * (view.scale / self.scale_)[:, None]
        gate.mean_, gate.scale_ = view.center, view.scale
        return gate

    def selected(self, kept):
        """A copy with some of the experts; their probabilities sum to one again."""
        gate = copy.copy(self)
        if hasattr(self, "_factor"):
            gate._log_pi, gate._mean = log_softmax(self._log_pi[kept]), self._mean[kept]
            gate._factor = self._factor if self.covariance == "shared" else self._factor[kept]
            gate.n_experts_ = len(kept)
        return gate

    @property
    def proba_(self):
        """Probability of each expert before the features are seen, (n_experts,)."""
        return np.exp(self._fitted("_log_pi"))

    @property
    def means_(self):
        """Means of features as given, of shape (n_experts, n_features)."""
        means = self._fitted("_mean") @ np.linalg.pinv(self._basis)
        return self.mean_ + self.scale_ * means

    @property
    def covariances_(self):
        """Covariances of features as given; variances with "diag"."""
        factor, scatter = self._fitted("_factor"), np.linalg.pinv(self._basis)
        if self.covariance == "diag":
            return np.square(factor) @ np.square(scatter * self.scale_)
        roots = np.swapaxes(factor, 1, 2) @ (scatter * self.scale_)
        covariances = np.swapaxes(roots, 1, 2) @ roots
        return covariances[0] if self.covariance == "shared" else covariances

    # -- additive: scores of blocks, and flat parameters without constraints --------------

    def block_scorer(self, width):
        """Return a function ``scorer(block, out)`` that writes `log_joint` of blocks.

        Parameters
        ----------
        width : int
            Columns of blocks (m, width): the standardised ones, ones, and padding.

        Returns
        -------
        callable
            Writes into ``out`` (K, m). Serves one thread.
        """
        constant = self._log_pi - 0.5 * self._basis.shape[1] * _LOG_2PI
        constant += 0.5 * np.linalg.slogdet(self._basis.T @ self._basis)[1]
        constant -= half_log_det(self._factor)
        if self.covariance == "diag":
            return DiagonalScorer(self._basis, self._mean, 1.0 / self._factor, constant)
        kind = SharedScorer if self.covariance == "shared" else FullScorer
        return kind(self._basis, self._mean, np.linalg.inv(self._factor), constant, width)

    def flat(self):
        """Return log probabilities, means and log-Cholesky factors, flat."""
        return np.concatenate([self._log_pi, self._mean.ravel(), free_values(self._factor)])

    def with_flat(self, values):
        """A copy with other parameters, in the order of `flat`."""
        gate = copy.copy(self)
        n_experts, mean = self.n_experts_, self._mean
        log_pi, means, rest = np.split(values, [n_experts, n_experts + mean.size])
        gate._log_pi, gate._mean = log_softmax(log_pi), means.reshape(mean.shape)
        gate._factor = from_free_values(rest, self._factor)
        return gate

    # -- private --------------------------------------------------------------------------

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_factor")

    def _fitted(self, name):
        if not hasattr(self, name):
            raise AttributeError("this GaussianGate is not fitted yet; call fit first")
        return getattr(self, name)

    def _coordinates(self, total, sums, dtype):
        """The basis (d, q) from sums over all rows: squares (d, d) and sums (D,)."""
        mean = sums[:-1] / sums[-1]
        pooled = total / sums[-1] - np.outer(mean, mean)
        n_columns = len(pooled)
        least = 32.0 * n_columns * np.finfo(dtype).eps
        if self.covariance == "diag":
            variance = np.diag(pooled)
            varies = variance > least
            return np.eye(n_columns)[:, varies] / np.sqrt(variance[varies])
        variance, directions = np.linalg.eigh(pooled)
        varies = variance > least * max(1.0, variance[-1])
        return directions[:, varies] / np.sqrt(variance[varies])

    def _set_moments(self, totals, sums, squares):
        """The M-step, from the experts' weights (K,), sums (K, d) and squares.

        Squares are (K, d, d), (1, d, d) summed over experts, or (K, d).
        """
        n_experts, n_all = len(totals), totals.sum()
        rows = max(self.prior, _LEAST_PRIOR * n_all)
        means = sums / np.maximum(totals, 1e-300)[:, None]
        self.n_experts_, self._rows = n_experts, rows
        self._log_pi = np.log((totals + rows) / (n_all + n_experts * rows))
        self._mean = means @ self._basis
        if self.covariance == "diag":
            squares = (squares - sums * means) @ np.square(self._basis)
            squares = np.maximum(squares, 0.0)
            self._factor = np.sqrt((squares + rows) / (totals + rows)[:, None])
            return
        if self.covariance == "shared":
            squares, totals = squares - (sums.T @ means), np.array([n_all])
        else:
            squares = squares - sums[:, :, None] * means[:, None, :]
        squares = self._basis.T @ squares @ self._basis
        squares = 0.5 * (squares + squares.transpose(0, 2, 1))
        squares += rows * np.eye(self._basis.shape[1])
        self._factor = np.linalg.cholesky(squares / (totals + rows)[:, None, None])


def _refuse_sparse(X):
    if sp.issparse(X):
        raise TypeError(
            "Sparse data was passed, but GaussianGate takes dense features only; use "
            "X.toarray(), choose dense columns by gate_features, or take gate='softmax'."
        )
