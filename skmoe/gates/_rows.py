"""Some rows of a softmax gate trained, the others as they are."""

import numpy as np

from .._lbfgs import minimize
from .._ops import get_ops
from .._owlqn import minimize_l1
from .._precondition import gram_preconditioner

# A design of up to so many numbers is standardised once for all iterations.
_MAX_NUMBERS = 4_000_000


def fit_rows(design, coef, free, resp, weight, net, max_iter, tol):
    """Coefficients of some experts that fit soft targets, those of the others fixed.

    Parameters
    ----------
    design : Design of shape (n, D)
    coef : ndarray of shape (D, K)
        Start.
    free : list of int
        Experts whose columns may change.
    resp : ndarray of shape (n, K)
    weight : ndarray of shape (n,)
    net : ElasticNet
        Penalty of the columns.
    max_iter : int
    tol : float

    Returns
    -------
    ndarray of shape (D, K)
    """
    frozen = [k for k in range(coef.shape[1]) if k not in free]
    total = weight.sum()
    share, mine = weight[:, None] / total, np.ascontiguousarray(resp[:, free])
    # Experts that stay as they are count as one, with a logit of its own in each row.
    rest = _log_sum(design.dot(coef[:, frozen])) if frozen else np.full(len(resp), -np.inf)
    left = share[:, 0] * resp[:, frozen].sum(axis=1)
    rows = _Rows(design)
    logits = np.empty((len(resp), len(free) + bool(frozen)))
    shape = (len(coef), len(free))

    def loss(flat):
        moved = flat.reshape(shape)
        logits[:, : len(free)] = rows.dot(moved)
        if frozen:
            logits[:, -1] = rest
        get_ops().log_softmax(logits, logits)
        log_gate = logits[:, : len(free)]
        gradient = rows.transposed_dot(share * (np.exp(log_gate) - mine))
        gradient += net.smooth_gradient(moved)
        value = net.value(moved) - np.einsum("nk,nk->", share * mine, log_gate)
        return value - (left @ logits[:, -1] if frozen else 0.0), gradient.ravel()

    options = {"max_iter": max_iter, "tol": tol}
    start = np.ascontiguousarray(coef[:, free]).ravel()
    if net.has_l1:
        found = minimize_l1(loss, start, net.l1_weights(coef[:, free]).ravel(), **options)
    else:
        curvature = 1.0 / max(2, coef.shape[1]) / total
        precondition = gram_preconditioner(design, weight, curvature, net.ridge, len(free))
        found = minimize(loss, start, precondition=precondition, **options)
    out = coef.copy()
    out[:, free] = found.x.reshape(shape)
    return out


class _Rows:
    """Products with a design, which is written out once where it is small."""

    def __init__(self, design):
        small = not design.is_sparse and design.shape[0] * design.shape[1] <= _MAX_NUMBERS
        self.dense = design.block(slice(None)) if small else None
        self.design = design

    def dot(self, coef):
        return self.design.dot(coef) if self.dense is None else self.dense @ coef

    def transposed_dot(self, values):
        if self.dense is None:
            return self.design.transposed_dot(values)
        return self.dense.T @ values


def _log_sum(logits):
    top = logits.max(axis=1)
    return top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
