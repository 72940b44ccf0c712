"""The softmax gate: multinomial logistic regression on soft targets."""

import copy
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from .._design import Design, solve_each
from .._ops import get_ops
from .._penalty import ElasticNet
from .._precondition import gram_preconditioner
from ._logits import centred, descend, fit_logits
from ._rows import fit_rows

# Warm iterations of one M-step: 5 needed no more EM iterations than 100 did.
_INNER_ITER = 5
# Coefficients of standardised features beyond this are certainty many times over.
_LARGEST = 1e4
# The logits of an expert without rows have no curvature: they move no further in one step.
_MOST_STEP = 20.0
# The same where few rows are trained, which is cheap.
_ROWS_ITER = 10


class SoftmaxGate(BaseEstimator):
    r"""Softmax of logits that are linear in the features.

    .. math:: g_k(x) = \exp(a_k + x'c_k) / \sum_j \exp(a_j + x'c_j)

    Features are standardised internally, NaN counts as the average, and the
    slopes of standardised features carry a ridge penalty, without which the gate
    diverges where regimes are separable.

    Parameters
    ----------
    alpha : float, default=1e-4
        Strength of the penalty :math:`\frac{\alpha}{2}\sum_k \|c_k\|^2` on the mean
        log-likelihood per row; intercepts are free. 0 is allowed.
    l1_ratio : float, default=0.0
        Share of the penalty that is :math:`\alpha\sum_k |c_k|` instead (elastic net); it
        removes features from the gate.
    standardize : bool, default=True
        Whether features are scaled to unit variance, dense ones with a few far values to that
        of their bulk. With False slopes are penalised in the
        units of the features as given: the right unit for one-hot columns, since scaled
        values of a rare column are so large that the penalty all but ignores it.
    max_iter : int, default=100
        Iterations of L-BFGS in `fit`.
    tol : float, default=1e-8
        Relative decrease at which `fit` stops.

    Attributes
    ----------
    coef_ : ndarray of shape (n_experts, n_features)
        Slopes for features as given.
    intercept_ : ndarray of shape (n_experts,)
    mean_, scale_ : ndarray of shape (n_features,)
        Shift and scale of the internal standardisation; the shift of sparse features is
        zero, and the scale is one with ``standardize=False``.
    n_experts_ : int
    n_iter_ : int
        Iterations of the last `fit`.

    References
    ----------
    Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the
    EM algorithm. Neural Computation 6, 181-214.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import SoftmaxGate
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> resp = np.array([[1.0, 0.0], [0.9, 0.1], [0.1, 0.9], [0.0, 1.0]])
    >>> gate = SoftmaxGate(alpha=0.01).fit(X, resp)
    >>> np.exp(gate.log_proba(X)).argmax(axis=1)
    array([0, 0, 1, 1])
    """

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "standardize": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, alpha=1e-4, *, l1_ratio=0.0, standardize=True, max_iter=100, tol=1e-8):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.standardize = standardize
        self.max_iter = max_iter
        self.tol = tol

    def view(self, X, sample_weight):
        """Prepare features once for repeated fits.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n_samples, n_features)
            NaN counts as the average.
        sample_weight : ndarray of shape (n_samples,)

        Returns
        -------
        Design
            May be given to all methods in the place of ``X``.
        """
        return Design.standardised(X, sample_weight, self.standardize)

    def fit(self, X, resp, sample_weight=None):
        """Fit to soft targets, from zero, until convergence.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)
            NaN counts as the average.
        resp : ndarray of shape (n_samples, n_experts)
            Non-negative; each row sums to one.
        sample_weight : ndarray of shape (n_samples,), default=None
            Ones by default.

        Returns
        -------
        self : SoftmaxGate
        """
        sample_weight = np.ones(len(resp)) if sample_weight is None else sample_weight
        design = X if isinstance(X, Design) else self.view(X, sample_weight)
        self._set(design, np.zeros((design.shape[1], resp.shape[1])))
        return self._descend(design, resp, sample_weight, self.max_iter, self.tol)

    def partial_fit(self, X, resp, sample_weight=None):
        """Improve the present coefficients by a few iterations.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)
        resp : ndarray of shape (n_samples, n_experts)
        sample_weight : ndarray of shape (n_samples,), default=None

        Returns
        -------
        self : SoftmaxGate
        """
        if getattr(self, "n_experts_", None) != resp.shape[1]:
            return self.fit(X, resp, sample_weight)
        sample_weight = np.ones(len(resp)) if sample_weight is None else sample_weight
        return self._descend(self._design(X), resp, sample_weight, _INNER_ITER, 1e-14)

    def log_proba(self, X):
        """Logarithm of the probability of each expert.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
        """
        logits = self.logits(X)
        get_ops().log_softmax(logits, logits)
        return logits

    def logits(self, X):
        """Gating logits: `log_proba` before rows are normalised.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
        """
        check_is_fitted(self)
        return self._design(X).dot(self._coef)

    def resumed(self, view):
        """A copy with the same coefficients for features of another fit."""
        gate = copy.copy(self)
        own = Design(np.empty((0, len(self.mean_))), self.mean_, self.scale_)
        gate._set(view, view.restated(self._coef, own))
        return gate

    def selected(self, experts):
        """A copy that renormalises the probabilities of some experts, by index."""
        gate = copy.copy(self)
        if hasattr(self, "_coef"):
            gate._coef = np.ascontiguousarray(self._coef[:, experts])
            gate.n_experts_ = len(experts)
        return gate

    def fit_rows(self, X, resp, weight, free):
        """A copy in which some experts' coefficients are improved, the others fixed.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)
        resp : ndarray of shape (n_samples, n_experts)
        weight : ndarray of shape (n_samples,)
        free : list of int
            Experts whose coefficients may change.

        Returns
        -------
        SoftmaxGate
        """
        gate = copy.copy(self)
        design, net = self._design(X), self._net
        gate._coef = fit_rows(design, self._coef, free, resp, weight, net, _ROWS_ITER, self.tol)
        return gate

    def uniform(self, view, n_experts):
        """A copy that gives all experts the same probability."""
        return self.with_columns(np.zeros((view.shape[1], n_experts)), view)

    def with_columns(self, coef, view):
        """A copy with coefficients (D, K) for the columns of a view."""
        gate = copy.copy(self)
        gate._set(view, coef)
        return gate

    def penalty(self):
        """What the objective loses to the penalty, per row of weight one."""
        return self._net.value(self._coef)

    def n_parameters(self):
        """Number of free coefficients: the logits of one expert may be held at zero.

        Slopes that an L1 penalty holds at zero are not counted.
        """
        n_rows, n_experts = self._coef.shape
        if not self.has_l1:
            return n_rows * (n_experts - 1)
        return (
            min(np.count_nonzero(self._coef[:-1]), (n_rows - 1) * (n_experts - 1)) + n_experts - 1
        )

    @property
    def coef_(self):
        """Slopes for features as given, of shape (n_experts, n_features)."""
        return self._raw()[0].T

    @property
    def intercept_(self):
        """Intercepts for features as given, of shape (n_experts,)."""
        return self._raw()[1]

    # -- additive: one block step from the experts' Gram matrices ----------------

    def flat(self):
        """Return coefficients of standardised features, flat."""
        return self._coef.ravel()

    def with_flat(self, values):
        """A copy with other coefficients."""
        gate = copy.copy(self)
        # The objective is flat where an expert has no rows, and steps there may be huge.
        gate._coef = np.clip(values.reshape(self._coef.shape), -_LARGEST, _LARGEST)
        return gate

    def resp_gradient(self, X, resp, sample_weight):
        """Gradient of ``sum weight * resp * log_proba`` by the coefficients: (D, K)."""
        design = self._design(X)
        reached = resp.sum(axis=1, keepdims=True)
        error = resp - reached * np.exp(self.log_proba(design))
        return design.transposed_dot(sample_weight[:, None] * error)

    def penalty_gradient(self):
        """Gradient of the smooth part of `penalty`: (D, K)."""
        return self._net.smooth_gradient(self._coef)

    def l1_weights(self):
        """Return the factors of absolute values in `penalty`, flat."""
        return self._net.l1_weights(self._coef).ravel()

    @property
    def ridge(self):
        """Factor of ``coef ** 2 / 2`` in `penalty`."""
        return self._net.ridge

    @property
    def has_l1(self):
        """Whether the penalty has an L1 part."""
        return self._net.has_l1

    def block_coef(self):
        """Return coefficients of standardised features: (D, K)."""
        return self._coef

    def moved(self, step):
        """A copy whose standardised coefficients (D, K) are moved by a step."""
        gate = copy.copy(self)
        gate._coef = centred(self._coef + step)
        return gate

    def block_step(self, gradient, grams, total_weight):
        """Newton step with block-diagonal curvature.

        Near the optimum responsibilities equal gate probabilities on average, so
        the experts' weighted Grams bound the blocks of the gate's Hessian.

        Parameters
        ----------
        gradient : ndarray of shape (D, K)
            ``Z' (weight * (resp - gate_proba))``.
        grams : ndarray of shape (K, D, D)
            ``Z' diag(weight * resp_k) Z``.
        total_weight : float

        Returns
        -------
        ndarray of shape (D, K)
        """
        ridge = np.full(len(gradient), total_weight * self.ridge)
        ridge[-1] = 0.0
        right = gradient - ridge[:, None] * self._coef
        step = solve_each(grams, np.tile(ridge, (len(grams), 1)), right.T)
        without = grams[:, -1, -1] < 1e-9 * total_weight
        step[without] = np.clip(step[without], -_MOST_STEP, _MOST_STEP)
        return step.T

    # -- private ------------------------------------------------------------------

    @property
    def _net(self):
        return ElasticNet(self.alpha, self.l1_ratio)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_coef")

    def _set(self, design, coef):
        self.mean_, self.scale_ = design.center, design.scale
        self.n_experts_ = coef.shape[1]
        self._coef = coef

    def _design(self, X):
        return X if isinstance(X, Design) else Design(X, self.mean_, self.scale_)

    def _raw(self):
        if not hasattr(self, "_coef"):
            raise AttributeError("this SoftmaxGate is not fitted yet; call fit first")
        return Design(np.empty((0, len(self.mean_))), self.mean_, self.scale_).to_raw(self._coef)

    def _descend(self, design, resp, weight, max_iter, tol):
        curvature = 1.0 / max(2, resp.shape[1]) / weight.sum()
        precondition = gram_preconditioner(
            design, weight, curvature, self.ridge, self._coef.shape[1]
        )
        more = (self._coef, self._net, precondition)
        if hasattr(design, "logit_loss"):  # of rows that lie elsewhere
            loss = design.logit_loss(resp, weight, self._net)
            found = descend(loss, *more, max_iter=max_iter, tol=tol)
        else:
            targets = resp * (weight / weight.sum())[:, None]
            found = fit_logits(design, targets, *more, max_iter=max_iter, tol=tol)
        self._coef, self.n_iter_ = found
        return self
