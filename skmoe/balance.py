"""Load balancing: a penalty in the objective, or a bias in the choice of experts."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from .routing import top_k_route

__all__ = ["BalanceBias", "BalancePenalty"]

# A load within this share of the mean is even.
_EVEN = 0.02


class BalancePenalty(BaseEstimator):
    r"""Penalty on an uneven importance of the experts, part of the objective.

    The importance :math:`P_k` of an expert is its mean gate probability over the training
    rows, and the objective loses ``strength`` times the squared coefficient of variation

    .. math:: \mathrm{CV}^2 = K \sum_k P_k^2 - 1 .

    Parameters
    ----------
    strength : float, default=0.1
        Log-likelihood per row that one unit of the squared coefficient of variation costs.
        K experts of which one does all have a squared coefficient of K - 1.

    References
    ----------
    Shazeer, N. et al. (2017). Outrageously large neural networks: the sparsely-gated
    mixture-of-experts layer. ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.balance import BalancePenalty
    >>> log_gate = np.log([[0.9, 0.1], [0.7, 0.3]])
    >>> round(BalancePenalty(strength=1.0).value(log_gate, np.ones(2)), 3)
    0.36
    """

    _parameter_constraints = {"strength": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, strength=0.1):
        self.strength = strength

    def value(self, log_gate, weight):
        """What the objective loses.

        Parameters
        ----------
        log_gate : ndarray of shape (n, K)
        weight : ndarray of shape (n,)

        Returns
        -------
        float
        """
        importance = weight @ np.exp(log_gate) / weight.sum()
        return float(self.strength * (len(importance) * np.square(importance).sum() - 1.0))

    def correction(self, log_gate, weight):
        r"""What the penalty adds to the responsibilities as targets of the gate.

        With :math:`a_k = \partial\,\mathrm{penalty} / \partial P_k` it is :math:`-g_{ik}
        (a_k - \sum_j g_{ij} a_j)`, so that the gradient of the gate's log-likelihood at
        corrected targets is that of the penalised one.

        Parameters
        ----------
        log_gate : ndarray of shape (n, K)
        weight : ndarray of shape (n,)

        Returns
        -------
        ndarray of shape (n, K)
            Rows sum to zero.
        """
        gate = np.exp(log_gate)
        importance = weight @ gate / weight.sum()
        slope = 2.0 * self.strength * len(importance) * importance
        return gate * ((gate @ slope)[:, None] - slope)


class BalanceBias(BaseEstimator):
    """A bias per expert that evens the load, in the choice of experts only.

    The bias is added to ``log_gate`` where candidate sets and routes are chosen; neither the
    likelihood nor the weights of the chosen experts see it. At every renewal of the
    candidate sets it moves against the load, the share of the routes (all ``top_k`` of a
    row) that end at an expert, until no load is more than 2 % above the mean. It needs
    ``top_k``. Without ``routing`` it is found once, for prediction, after the fit.

    Parameters
    ----------
    rate : float, default=0.2
        A move adds ``rate * (1 - load / mean load)`` to the bias, at most ``rate`` in size.
        0 keeps the bias at zero.
    max_moves : int, default=300
        Moves at one renewal. They cost a sort of the gate's probabilities and no work of
        experts.

    References
    ----------
    Wang, L. et al. (2024). Auxiliary-loss-free load balancing strategy for
    mixture-of-experts. arXiv:2408.15664.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.balance import BalanceBias
    >>> log_gate = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> bias = BalanceBias().moved(None, log_gate, top_k=1, weight=np.ones(4))
    >>> (log_gate + bias).argmax(axis=1)
    array([0, 0, 1, 1])
    """

    _parameter_constraints = {
        "rate": [Interval(Real, 0, None, closed="left")],
        "max_moves": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, rate=0.2, *, max_moves=300):
        self.rate = rate
        self.max_moves = max_moves

    def moved(self, bias, log_gate, top_k, weight):
        """Move a bias until the load is even.

        Parameters
        ----------
        bias : ndarray of shape (K,) or None
            Present bias; zero if None.
        log_gate : ndarray of shape (n, K)
        top_k : int
        weight : ndarray of shape (n,)

        Returns
        -------
        ndarray of shape (K,)
            That with the lowest largest load of all that were tried; it has mean zero.
        """
        n_experts = log_gate.shape[1]
        bias = np.zeros(n_experts) if bias is None else bias
        spread = np.repeat(weight, top_k)
        best, lowest = bias, np.inf
        for number in range(self.max_moves):
            indices = top_k_route(log_gate + bias, top_k)[0]
            load = np.bincount(indices.ravel(), spread, n_experts) * n_experts / spread.sum()
            if load.max() < lowest:
                best, lowest = bias, load.max()
            if lowest <= 1.0 + _EVEN:
                break
            # Smaller and smaller moves, so that loads do not swing around the mean.
            rate = self.rate / np.sqrt(1.0 + number / 10.0)
            bias = bias + rate * np.clip(1.0 - load, -1.0, 1.0)
            bias = bias - bias.mean()
        return best
