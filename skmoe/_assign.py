"""What an E-step may make of responsibilities before experts are fitted to them."""

import numpy as np

from ._em import fit_em
from ._fit import Parts
from ._monitor import Monitor


def hard(resp):
    """Each row to its most probable expert: (n, K) -> (n, K) of 0 and 1."""
    return np.eye(resp.shape[1])[resp.argmax(axis=1)]


class Stochastic:
    """Each row to an expert drawn by its responsibilities.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed):
        self.rng = np.random.RandomState(seed)

    def __call__(self, resp):
        """Draw: (n, K) -> (n, K) of 0 and 1."""
        ends = np.cumsum(resp, axis=1)
        at = self.rng.uniform(size=(len(resp), 1)) * ends[:, -1:]
        return np.eye(resp.shape[1])[np.argmax(ends > at, axis=1)]


class Cooling:
    """Responsibilities to the power of 1 / temperature, which falls to 1.

    Parameters
    ----------
    temperature : float
        At least 1.
    factor : float
        By which it falls at every call.

    Attributes
    ----------
    resp : ndarray of shape (n, K)
        What the last call returned.
    """

    def __init__(self, temperature, factor):
        self.temperature, self.factor, self.resp = temperature, factor, None

    def __call__(self, resp):
        """Flatten: (n, K) -> (n, K)."""
        power = resp ** (1.0 / self.temperature)
        self.resp = power / power.sum(axis=1, keepdims=True)
        self.temperature = max(1.0, self.temperature * self.factor)
        return self.resp


def anneal(data, parts, resp, temperature, factor):
    """Iterate at falling temperatures.

    Parameters
    ----------
    data : FitData
    parts : Parts
    resp : ndarray of shape (n, K)
    temperature, factor : float

    Returns
    -------
    parts : Parts
    resp : ndarray of shape (n, K)
        At temperature 1, to go on from.
    """
    cooling = Cooling(temperature, factor)
    n_iter = 1 + int(np.ceil(np.log(temperature) / -np.log(factor)))
    monitor = Monitor(0.0, n_iter, patience=n_iter + 1)
    result = fit_em(data, parts, monitor, resp, assign=cooling)
    return Parts(result.gate, result.experts, result.likelihood), cooling.resp
