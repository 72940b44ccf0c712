"""Routing: which experts run on which rows, and with what weight."""

import numpy as np

from ._ops import get_ops


def top_k_route(log_gate, top_k):
    """Choose the most probable experts of each row.

    Parameters
    ----------
    log_gate : ndarray of shape (n, K)
    top_k : int

    Returns
    -------
    indices : ndarray of shape (n, top_k) of int
        Most probable first.
    log_weights : ndarray of shape (n, top_k)
        Logarithms of weights that sum to one in each row.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routing import top_k_route
    >>> indices, log_weights = top_k_route(np.log([[0.2, 0.5, 0.3]]), 2)
    >>> indices
    array([[1, 2]])
    >>> np.exp(log_weights).round(3)
    array([[0.625, 0.375]])
    """
    shape = (len(log_gate), top_k)
    indices, log_weights = np.empty(shape, dtype=np.intp), np.empty(shape)
    get_ops().top_k(np.ascontiguousarray(log_gate), indices, log_weights)
    return indices, log_weights


def rows_by_expert(indices, n_experts):
    """Positions in ``indices`` (n, k) of each expert.

    Parameters
    ----------
    indices : ndarray of shape (n, k) of int
    n_experts : int

    Returns
    -------
    list of n_experts pairs (rows, slots) of ndarray of int
        ``indices[rows, slots]`` all equal the expert; rows ascend.
    """
    flat = indices.ravel()
    order = np.argsort(flat, kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=n_experts))
    groups = np.split(order, ends[:-1])
    return [np.divmod(group, indices.shape[1]) for group in groups]


def predict_routed(experts, X, indices):
    """Predictions of the chosen experts; each runs only on the rows routed to it.

    Parameters
    ----------
    experts : collection of experts
    X : array, CSR matrix or DataFrame of shape (n, d)
    indices : ndarray of shape (n, k) of int

    Returns
    -------
    ndarray of shape (n, k, P)
    """
    groups = rows_by_expert(indices, experts.n_experts)
    parts = experts.predict(X, [rows for rows, _ in groups])
    width = max((part.shape[1] for part in parts if part.ndim == 2), default=1)
    pred = np.empty((*indices.shape, width))
    for part, (rows, slots) in zip(parts, groups):
        pred[rows, slots] = part
    return pred
