"""What laws of positive numbers share."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from .linked import LinkedLikelihood, bounded

_LEAST_MEAN = 1e-10


class Positive(LinkedLikelihood):
    """What laws of positive numbers share: a mean behind a logarithm, and one dispersion."""

    n_thetas = 1
    floored = (0,)
    support = "numbers above zero"
    cure = "; for zeros among positive numbers use 'tweedie', for any numbers 'gaussian'"

    _parameter_constraints = {"floor": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, *, floor=0.1):
        self.floor = floor

    @property
    def dispersion_(self):
        """Dispersions, (n_experts,) or (n_experts, n_outputs)."""
        if not hasattr(self, "theta_"):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet")
        found = np.exp(self.theta_[:, 0])
        return found[:, 0] if found.shape[1] == 1 else found

    def supported(self, y):
        """Whether targets are above zero."""
        return y > 0

    def rough(self, y):
        """Return logarithms of the targets."""
        return np.log(y[0])

    def start_eta(self, y, weight):
        """Logarithm of the mean."""
        return np.log(weight @ y[0] / weight.sum())[None]

    def start_theta(self, y, weight, base):
        """Logarithm of the dispersion that the spread of logarithms around a line tells of."""
        return np.log(base)[None]

    def mean(self, eta, theta):
        """Mean of the target."""
        return np.exp(bounded(eta[0]))

    def link(self, mean):
        """Logarithm of a mean, of at least 1e-10."""
        return np.log(np.maximum(mean, _LEAST_MEAN))
