"""Laws of any numbers with a linear location and a scale."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from .linked import LinkedLikelihood


class Location(LinkedLikelihood):
    """What laws with a linear location and a scale per expert share."""

    in_units = True
    longest = 1e6
    n_thetas = 1
    floored = (0,)

    _parameter_constraints = {"floor": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, *, floor=0.1):
        self.floor = floor

    @property
    def scale_(self):
        """Scales, (n_experts,) or (n_experts, n_outputs)."""
        if not hasattr(self, "theta_"):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet")
        found = np.exp(0.5 * self.theta_[:, 0])
        return found[:, 0] if found.shape[1] == 1 else found

    def start_theta(self, y, weight, base):
        """Logarithm of the variance around a line."""
        return np.log(base)[None]

    def mean(self, eta, theta):
        """Location."""
        return eta[0]
