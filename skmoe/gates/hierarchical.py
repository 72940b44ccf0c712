"""The hierarchical gate: a tree of softmax gates."""

import copy
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from .._block_passes import TreePass
from .._design import Design
from .._ops import get_ops
from .._penalty import ElasticNet
from .._precondition import fits_gram, gram_preconditioner
from ._logits import descend, fit_logits
from ._tree import arrange, below, count_leaves, plant

# Warm iterations of one M-step, as of the softmax gate.
_INNER_ITER = 5
# Share of the weight below which a node has nothing to learn from.
_NEGLIGIBLE = 1e-12


class HierarchicalGate(BaseEstimator):
    r"""A tree of softmax gates whose leaves are the experts.

    The gate of a node chooses between its branches, so that the probability of an expert
    is the product of the choices on the way to it:

    .. math:: g_k(x) = \prod_{(v, c) \to k} \frac{\exp(a_{vc} + x'b_{vc})}
              {\sum_{c'} \exp(a_{vc'} + x'b_{vc'})}

    Boundaries far down the tree end where those above them cut, which one softmax over
    all experts cannot do, and siblings are alike in where they are used. One level,
    ``branching=(K,)``, is `SoftmaxGate`.

    Parameters
    ----------
    branching : tuple, default=(2, 2)
        The tree. A tuple of numbers gives the branches of each level, so that (2, 3) is
        two nodes of three experts each. A tuple that holds tuples lists the subtrees of
        the root, each read by the same rule; there a number m stands for a node of m
        experts, and 1 for a single expert: ((2, 2), 3, 1) has 4 + 3 + 1 experts. The
        tree decides the number of experts of the mixture.
    alpha : float, default=1e-4
        Strength of the penalty :math:`\frac{\alpha}{2}\sum_{vc} \|b_{vc}\|^2` on the mean
        log-likelihood per row, on slopes of standardised features; intercepts are free.
    max_iter : int, default=100
        Iterations of L-BFGS by node in `fit`.
    tol : float, default=1e-8
        Relative decrease at which `fit` stops.

    Attributes
    ----------
    nodes_ : list of Node
        The inner nodes, each before those below it, with ``path`` (numbers of the
        branches from the root), ``branches`` (first expert below each branch and one past
        the last) and ``columns`` (rows of ``coef_`` that are its branches').
    coef_ : ndarray of shape (n_branches, n_features)
        Slopes for features as given, one row for each branch of each node.
    intercept_ : ndarray of shape (n_branches,)
    mean_, scale_ : ndarray of shape (n_features,)
        Shift and scale of the internal standardisation.
    n_experts_ : int
    n_iter_ : int
        Most iterations that a node took in the last `fit`.

    References
    ----------
    Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the
    EM algorithm. Neural Computation 6, 181-214.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import HierarchicalGate
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> gate = HierarchicalGate((2, 2), alpha=0.01).fit(X, np.eye(4))
    >>> gate.log_proba(X).argmax(axis=1)
    array([0, 1, 2, 3])
    >>> [node.path for node in gate.nodes_]
    [(), (0,), (1,)]
    """

    _parameter_constraints = {
        "branching": [tuple, list],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, branching=(2, 2), alpha=1e-4, *, max_iter=100, tol=1e-8):
        self.branching = branching
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol

    def count_experts(self):
        """Return the number of experts that the tree has."""
        return count_leaves(self.branching)

    def view(self, X, sample_weight):
        """Prepare features once for repeated fits; as `SoftmaxGate.view`."""
        return Design.standardised(X, sample_weight)

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
        self : HierarchicalGate
        """
        self._check(resp)
        sample_weight = np.ones(len(resp)) if sample_weight is None else sample_weight
        design = X if isinstance(X, Design) else self.view(X, sample_weight)
        self.nodes_ = plant(self.branching)
        n_branches = sum(len(node.branches) for node in self.nodes_)
        self._set(design, np.zeros((design.shape[1], n_branches)))
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
        self : HierarchicalGate
        """
        if getattr(self, "n_experts_", None) != resp.shape[1]:
            return self.fit(X, resp, sample_weight)
        sample_weight = np.ones(len(resp)) if sample_weight is None else sample_weight
        return self._descend(self._design(X), resp, sample_weight, _INNER_ITER, 1e-14)

    def order_experts(self, X, resp, sample_weight):
        """An order of experts in which those that are alike share a subtree.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)
        resp : ndarray of shape (n_samples, n_experts)
            Responsibilities of experts in any order.
        sample_weight : ndarray of shape (n_samples,)

        Returns
        -------
        ndarray of shape (n_experts,)
            Column of ``resp`` for each leaf.
        """
        self._check(resp)
        design = X if isinstance(X, Design) else self.view(X, sample_weight)
        return arrange(plant(self.branching), design, resp, sample_weight, self._net)

    def log_proba(self, X):
        """Logarithm of the probability of each expert.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
        """
        return self._down(self._log_branches(X))[0]

    def node_proba(self, X):
        """Probability of each branch of each node, for rows that reach the node.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)

        Returns
        -------
        list of ndarray of shape (n_samples, n_branches)
            In the order of ``nodes_``; rows sum to one.
        """
        return [np.exp(log_branch) for log_branch in self._log_branches(X)]

    def node_posteriors(self, X, resp):
        """Probability of each branch of each node once the target is known.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)
        resp : ndarray of shape (n_samples, n_experts)
            Responsibilities.

        Returns
        -------
        list of ndarray of shape (n_samples, n_branches)
            In the order of ``nodes_``; rows sum to one. Where no expert below a node is
            responsible they are those of `node_proba`.
        """
        posteriors = []
        for node, proba in zip(self._nodes(), self.node_proba(X)):
            shares = below(node, resp)
            reached = shares.sum(axis=1, keepdims=True)
            safe = np.where(reached > 0, reached, 1.0)
            posteriors.append(np.where(reached > 0, shares / safe, proba))
        return posteriors

    def resumed(self, view):
        """A copy with the same coefficients for features of another fit."""
        gate = copy.copy(self)
        own = Design(np.empty((0, len(self.mean_))), self.mean_, self.scale_)
        gate._set(view, view.restated(self._coef, own))
        return gate

    def penalty(self):
        """What the objective loses to the penalty, per row of weight one."""
        return self._net.value(self._coef)

    def n_parameters(self):
        """Number of free coefficients: the logits of one branch of a node may be held at zero."""
        return self._coef.shape[0] * (self._coef.shape[1] - len(self.nodes_))

    @property
    def coef_(self):
        """Slopes for features as given, of shape (n_branches, n_features)."""
        return self._raw()[0].T

    @property
    def intercept_(self):
        """Intercepts for features as given, of shape (n_branches,)."""
        return self._raw()[1]

    # -- gradient: flat parameters --------------------------------------------------

    def flat(self):
        """Return coefficients of standardised features, flat."""
        return self._coef.ravel()

    def with_flat(self, values):
        """A copy with other coefficients."""
        gate = copy.copy(self)
        gate._coef = values.reshape(self._coef.shape)
        return gate

    def penalty_gradient(self):
        """Gradient of `penalty`: (D, n_branches)."""
        return self._net.smooth_gradient(self._coef)

    def resp_gradient(self, X, resp, sample_weight):
        """Gradient of ``sum weight * resp * log_proba`` by the coefficients: (D, n_branches)."""
        design, error = self._design(X), np.empty((len(resp), self._coef.shape[1]))
        for node, proba in zip(self.nodes_, self.node_proba(design)):
            shares = below(node, resp)
            error[:, node.columns] = shares - shares.sum(axis=1, keepdims=True) * proba
        return design.transposed_dot(sample_weight[:, None] * error)

    def preconditioner(self, X, sample_weight):
        """Apply the inverse of the block diagonal of the curvature, a block per branch.

        Parameters
        ----------
        X : view of shape (n_samples, n_features)
        sample_weight : ndarray of shape (n_samples,)

        Returns
        -------
        callable
            On flat parameters, in terms of the objective per row of weight one.
        """
        log_branches = self._log_branches(X)
        reached = np.exp(self._down(log_branches)[1])
        weights = np.empty((len(sample_weight), self._coef.shape[1]))
        for j, (node, log_branch) in enumerate(zip(self.nodes_, log_branches)):
            proba, n_branches = np.exp(log_branch), len(node.branches)
            # K / (K - 1) allows for the blocks off the diagonal, as for one softmax.
            spread = n_branches / (n_branches - 1) * proba * (1.0 - proba)
            weights[:, node.columns] = reached[:, [j]] * spread
        weights *= sample_weight[:, None] / sample_weight.sum()
        return _block_inverse(X, weights, self.alpha)

    def block_pass(self, reader):
        """What computes log probabilities of blocks on a device; see `pass_of`."""
        return TreePass(reader, self._coef, self.nodes_)

    # -- private ------------------------------------------------------------------

    @property
    def _net(self):
        return ElasticNet(self.alpha)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_coef")

    def _check(self, resp):
        if resp.shape[1] != self.count_experts():
            raise ValueError(
                f"branching={self.branching!r} makes {self.count_experts()} experts, but resp "
                f"has {resp.shape[1]} columns; change one of them."
            )

    def _nodes(self):
        check_is_fitted(self)
        return self.nodes_

    def _set(self, design, coef):
        self.mean_, self.scale_ = design.center, design.scale
        self.n_experts_ = self.nodes_[0].experts[1]
        self._coef = coef

    def _design(self, X):
        return X if isinstance(X, Design) else Design(X, self.mean_, self.scale_)

    def _raw(self):
        if not hasattr(self, "_coef"):
            raise AttributeError("this HierarchicalGate is not fitted yet; call fit first")
        return Design(np.empty((0, len(self.mean_))), self.mean_, self.scale_).to_raw(self._coef)

    def _log_branches(self, X):
        """Log probabilities (n, b) of the branches of each node."""
        nodes, logits = self._nodes(), self._design(X).dot(self._coef)
        found = [np.ascontiguousarray(logits[:, node.columns]) for node in nodes]
        for part in found:
            get_ops().log_softmax(part, part)
        return found

    def _down(self, log_branches):
        """Log probability of reaching each expert (n, K) and each node (n, n_nodes)."""
        log_gate = np.zeros((len(log_branches[0]), self.n_experts_))
        reached = np.empty((len(log_gate), len(self.nodes_)))
        for j, (node, log_branch) in enumerate(zip(self.nodes_, log_branches)):
            reached[:, j] = log_gate[:, node.experts[0]]
            for c, (start, stop) in enumerate(node.branches):
                log_gate[:, start:stop] += log_branch[:, [c]]
        return log_gate, reached

    def _descend(self, design, resp, weight, max_iter, tol):
        coef, n_iter = self._coef.copy(), 0
        share = weight / weight.sum()
        for node in self.nodes_:
            targets = share[:, None] * below(node, resp)
            reached, n_branches = targets.sum(), len(node.branches)
            if reached <= _NEGLIGIBLE:
                continue  # no row comes here: the node stays as it is
            curvature = reached / n_branches / weight.sum()
            precondition = gram_preconditioner(
                design, weight, curvature, self._net.ridge, n_branches
            )
            more = (coef[:, node.columns], self._net, precondition)
            if hasattr(design, "logit_loss"):  # of rows that lie elsewhere
                loss = design.logit_loss(resp, weight, self._net, node.branches)
                found = descend(loss, *more, max_iter=max_iter, tol=tol)
            else:
                found = fit_logits(design, targets, *more, max_iter=max_iter, tol=tol)
            coef[:, node.columns], used = found
            n_iter = max(n_iter, used)
        self._coef, self.n_iter_ = coef, n_iter
        return self


def _block_inverse(design, weights, ridge):
    """Apply the inverses of weighted Grams with a ridge, one for each column of weights."""
    n_columns, n_blocks = design.shape[1], weights.shape[1]
    penalty = np.append(np.full(n_columns - 1, ridge), 0.0)
    if not fits_gram(design, n_blocks):
        diagonal = design.column_squares(weights) + penalty[:, None]
        diagonal = np.maximum(diagonal, 1e-3 * diagonal.max()).ravel()
        return lambda vector: vector / diagonal
    grams = design.grams(weights)
    # A node that no row reaches must not take steps without bound.
    small = 1e-8 * np.trace(grams, axis1=1, axis2=2) / n_columns + 1e-3 / len(weights)
    diagonal = penalty + small[:, None]
    inverses = np.linalg.inv(grams + diagonal[:, :, None] * np.eye(n_columns))
    shape = n_columns, n_blocks
    return lambda vector: np.einsum("kde,ek->dk", inverses, vector.reshape(shape)).ravel()
