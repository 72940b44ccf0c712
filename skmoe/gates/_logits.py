"""Multinomial logistic regression on soft targets."""

import numpy as np

from .._design import BlockReader
from .._lbfgs import minimize
from .._ops import get_ops
from .._owlqn import minimize_l1


def fit_logits(design, targets, coef, net, precondition, *, max_iter, tol):
    """Multinomial logistic regression on soft targets, from given coefficients.

    Parameters
    ----------
    design : Design of shape (n, D)
    targets : ndarray of shape (n, K)
        Weights of the classes in each row, which need not sum to one.
    coef : ndarray of shape (D, K)
        Start; not written to.
    net : ElasticNet
        Penalty on the sum over rows.
    precondition : callable
        Inverse curvature on flat coefficients; not used with an L1 penalty.
    max_iter : int
    tol : float

    Returns
    -------
    coef : ndarray of shape (D, K)
    n_iter : int
    """
    ops, reader = get_ops(), BlockReader(design, exact=True)
    blocks = [
        (rows, np.ascontiguousarray(targets[rows].T), targets[rows].sum(axis=1))
        for rows in design.slices(targets.shape[1])
    ]

    def loss(flat):
        moved = flat.reshape(coef.shape)
        packed, gradient = reader.pack(moved), reader.new_gradient(moved.shape[1])
        value = net.value(moved)
        for rows, target, share in blocks:
            reader.read(rows)
            scores = np.empty(target.shape)
            reader.forward(packed, scores)
            value += ops.soft_target_block(target, share, scores)
            reader.add_gradient(scores, gradient)
        gradient = reader.finish_gradient(gradient) + net.smooth_gradient(moved)
        return value, gradient.ravel()

    return descend(loss, coef, net, precondition, max_iter=max_iter, tol=tol)


def descend(loss, coef, net, precondition, *, max_iter, tol):
    """Minimise a loss of flat coefficients; other arguments and results as of `fit_logits`."""
    options = {"max_iter": max_iter, "tol": tol}
    if net.has_l1:
        found = minimize_l1(loss, coef.ravel(), net.l1_weights(coef).ravel(), **options)
        return found.x.reshape(coef.shape), found.n_iter
    found = minimize(loss, coef.ravel(), precondition=precondition, **options)
    return centred(found.x.reshape(coef.shape)), found.n_iter


def centred(coef):
    """The same gate with coefficients that sum to zero over the experts."""
    return coef - coef.mean(axis=1, keepdims=True)
