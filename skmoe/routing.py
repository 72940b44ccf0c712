"""Routing: which experts run on which rows, and with what weight."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from ._ops import get_ops

__all__ = ["ExpertRouting", "TokenRouting"]

_BLOCK_ROWS = 1024


def top_k_route(log_gate, top_k, bias=None):
    """Choose the most probable experts of each row.

    Parameters
    ----------
    log_gate : ndarray of shape (n, K)
    top_k : int
    bias : ndarray of shape (K,), default=None
        Added to ``log_gate`` for the choice; weights come from ``log_gate`` alone.

    Returns
    -------
    indices : ndarray of shape (n, top_k) of int
        Most probable first, the bias included.
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
    scores = log_gate if bias is None else log_gate + bias
    get_ops().top_k(np.ascontiguousarray(scores), indices, log_weights)
    if bias is not None:
        chosen = np.ascontiguousarray(np.take_along_axis(log_gate, indices, axis=1))
        get_ops().log_softmax(chosen, log_weights)
    return indices, log_weights


def route_rows(gate, X, top_k, bias=None):
    """Choose experts by a gate, in blocks of rows where it has logits.

    Weights are renormalised over the chosen experts, so that the normalisation over all is
    not needed.

    Parameters
    ----------
    gate : fitted gate
    X : what the gate takes, of n rows
    top_k : int
    bias : ndarray of shape (K,), default=None

    Returns
    -------
    indices, log_weights : ndarray of shape (n, top_k)
        As of `top_k_route`.
    """
    if not hasattr(gate, "logits"):
        return top_k_route(gate.log_proba(X), top_k, bias)
    n_rows = X.shape[0]
    starts = range(0, max(n_rows, 1), _BLOCK_ROWS)
    blocks = [
        top_k_route(gate.logits(X[start : start + _BLOCK_ROWS]), top_k, bias) for start in starts
    ]
    indices, log_weights = zip(*blocks, strict=True)
    return np.concatenate(indices), np.concatenate(log_weights)


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
    # Sixteen bits are sorted by radix, in linear time.
    flat = indices.ravel().astype(np.uint16 if n_experts <= 2**16 else np.intp)
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


class Candidates:
    """The experts that may explain each row; only these are fitted to it and evaluated.

    Parameters
    ----------
    indices : ndarray of shape (n, c) of int
        Experts of each row, all different.
    n_experts : int
    used : ndarray of bool of shape (n, c), default=None
        False where a row has fewer than c; all are used by default.

    Attributes
    ----------
    rows : list of n_experts ndarray of int
        Rows of each expert, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routing import Candidates
    >>> sets = Candidates(np.array([[0, 1], [2, 1]]), 3)
    >>> [rows.tolist() for rows in sets.rows]
    [[0], [0, 1], [1]]
    >>> sets.spread(np.array([[0.9, 0.1], [0.5, 0.5]]))
    array([[0.9, 0.1, 0. ],
           [0. , 0.5, 0.5]])
    """

    def __init__(self, indices, n_experts, used=None):
        self.indices = indices
        self.n_experts = n_experts
        self.used = used
        self._groups = rows_by_expert(indices, n_experts)
        if used is not None:
            kept = [used[rows, slots] for rows, slots in self._groups]
            self._groups = [
                (rows[some], slots[some]) for (rows, slots), some in zip(self._groups, kept)
            ]
        self.rows = [rows for rows, _ in self._groups]

    @classmethod
    def from_mask(cls, mask):
        """The sets of a mask (n, K) of bool."""
        counts = mask.sum(axis=1)
        order = np.argsort(~mask, axis=1, kind="stable")[:, : counts.max()]
        used = np.arange(order.shape[1]) < counts[:, None]
        return cls(order, mask.shape[1], None if used.all() else used)

    @property
    def n_pairs(self):
        """Pairs of a row and an expert."""
        return sum(map(len, self.rows))

    def mask(self):
        """Membership (n, K) of bool."""
        out = np.zeros((len(self.indices), self.n_experts), dtype=bool)
        np.put_along_axis(out, self.indices, True if self.used is None else self.used, axis=1)
        return out

    def take(self, values, fill=-np.inf):
        """Values (n, K) of the candidates: (n, c), ``fill`` where a slot is not used."""
        taken = np.take_along_axis(values, self.indices, axis=1)
        return taken if self.used is None else np.where(self.used, taken, fill)

    def spread(self, values):
        """Values (n, c) of candidates as (n, K), zero elsewhere."""
        out = np.zeros((len(values), self.n_experts))
        kept = values if self.used is None else np.where(self.used, values, 0.0)
        np.put_along_axis(out, self.indices, kept, axis=1)
        return out

    def place(self, parts):
        """Predictions (len(rows[k]), P) by expert as (n, c, P); zero in unused slots."""
        out = np.zeros((*self.indices.shape, parts[0].shape[1]))
        for part, (rows, slots) in zip(parts, self._groups, strict=True):
            out[rows, slots] = part
        return out


class _Routing(BaseEstimator):
    """Options that both kinds of routing share."""

    _parameter_constraints = {
        "warm_up": [Interval(Integral, 0, None, closed="left")],
        "renew_every": [Interval(Integral, 1, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, *, warm_up=0, renew_every=3, noise=0.5):
        self.warm_up = warm_up
        self.renew_every = renew_every
        self.noise = noise


class TokenRouting(_Routing):
    r"""Each row is trained by the ``top_k`` experts that its gate ranks first.

    Noise in the ranking lets experts see rows that they would not get otherwise (noisy
    top-k, Shazeer et al. 2017); it is drawn only where candidate sets are renewed, its size
    halves with every renewal, and from the fourth choice on there is none.

    Parameters
    ----------
    warm_up : int, default=0
        Iterations at first in which every expert is trained on all rows.
    renew_every : int, default=3
        Iterations between renewals of the candidate sets.
    noise : float, default=0.5
        Standard deviation of the Gaussian noise in the first choice of candidates, in
        units of ``log_gate``.

    References
    ----------
    Shazeer, N. et al. (2017). Outrageously large neural networks: the sparsely-gated
    mixture-of-experts layer. ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skmoe import MoERegressor
    >>> from skmoe.routing import TokenRouting
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> y = np.sin(5 * X[:, 0])
    >>> tree = DecisionTreeRegressor(max_depth=3)
    >>> model = MoERegressor(tree, top_k=1, routing=TokenRouting(noise=0.1), random_state=0)
    >>> model.fit(X, y).history_["rows_fitted"][-1] <= 200 * 2  # three folds of two thirds
    True
    """

    def candidates(self, scores, top_k, noise):
        """Choose candidate sets.

        Parameters
        ----------
        scores : ndarray of shape (n, K)
            ``log_gate``, and a bias of load balancing if there is one.
        top_k : int
            Experts by row.
        noise : ndarray of shape (n, K) or None
            Added to the scores.

        Returns
        -------
        Candidates
        """
        scores = scores if noise is None else scores + noise
        return Candidates(top_k_route(scores, top_k)[0], scores.shape[1])


class ExpertRouting(_Routing):
    r"""Each expert picks the rows that it is trained on, all experts equally many.

    Expert k takes the :math:`\lceil n \cdot \mathrm{top\_k} / K \rceil` rows with its
    highest gate probability (expert choice, Zhou et al. 2022), so that training is balanced
    by construction. Rows that nobody picks go to their most probable expert. In prediction
    each row uses its ``top_k`` most probable experts.

    Parameters
    ----------
    warm_up : int, default=0
        Iterations at first in which every expert is trained on all rows.
    renew_every : int, default=3
        Iterations between renewals of the candidate sets.
    noise : float, default=0.5
        Standard deviation of the Gaussian noise in the first choice of candidates, in
        units of ``log_gate``; it halves with every renewal, and ends with the third choice.

    References
    ----------
    Zhou, Y. et al. (2022). Mixture-of-experts with expert choice routing. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routing import ExpertRouting
    >>> log_gate = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> sets = ExpertRouting().candidates(log_gate, top_k=1, noise=None)
    >>> [rows.tolist() for rows in sets.rows]
    [[0, 1], [2, 3]]
    """

    def candidates(self, scores, top_k, noise):
        """Choose candidate sets.

        Parameters
        ----------
        scores : ndarray of shape (n, K)
            ``log_gate``, and a bias of load balancing if there is one.
        top_k : int
            Experts by row, on average.
        noise : ndarray of shape (n, K) or None
            Added to the scores.

        Returns
        -------
        Candidates
        """
        scores = scores if noise is None else scores + noise
        n_rows, n_experts = scores.shape
        capacity = min(n_rows, -(-n_rows * top_k // n_experts))
        order = np.argsort(-scores, axis=0, kind="stable")[:capacity]
        mask = np.zeros(scores.shape, dtype=bool)
        np.put_along_axis(mask, order, True, axis=0)
        unpicked = np.flatnonzero(~mask.any(axis=1))
        mask[unpicked, np.argmax(scores[unpicked], axis=1)] = True
        return Candidates.from_mask(mask)
