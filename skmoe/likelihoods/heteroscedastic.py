"""Gaussian law whose noise depends on the features."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from .laws import NormalLaw
from .linked import LinkedLikelihood


class HeteroscedasticGaussian(LinkedLikelihood):
    r"""Gaussian law whose mean and logarithm of the scale are both linear in the features.

    For linear experts only, which have two predictors each. The variance is
    :math:`e^{2\eta} + v_0`, with a fraction ``floor`` of the residual variance of one linear
    expert as :math:`v_0`.

    Parameters
    ----------
    floor : float, default=0.01
        See above. 0 allows a scale to vanish where an expert fits its rows exactly.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> X = np.linspace(0, 1, 200).reshape(-1, 1)
    >>> y = X[:, 0] * np.sin(np.arange(200))
    >>> model = MoERegressor(n_experts=1, likelihood="heteroscedastic_gaussian").fit(X, y)
    >>> bool(np.diff(model.predict([[0.1], [0.9]], return_std=True)[1])[0] > 0.2)
    True
    """

    n_predictors = 2
    in_units = True
    longest = np.array([1e6, 1.0])

    _parameter_constraints = {"floor": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, *, floor=0.01):
        self.floor = floor

    def start(self, data, n_experts):
        """A fresh copy; arguments as in `Gaussian.start`."""
        fresh = super().start(data, n_experts)
        fresh._least = self.floor * data.base_variance
        return fresh

    def start_eta(self, y, weight):
        """Mean, and logarithm of the standard deviation."""
        mean = weight @ y[0] / weight.sum()
        variance = weight @ np.square(y[0] - mean) / weight.sum()
        return np.stack([mean, 0.5 * np.log(np.maximum(variance, 1e-300))])

    def longest_step(self):
        """Return the longest steps (K, P * m) of predictors in one iteration."""
        return np.repeat(self.longest, self.n_outputs_) * self.unit()

    def _variances(self, eta, moved_last=False):
        least = self._least if moved_last else self._least[:, None]
        bent = np.exp(np.clip(2.0 * eta[1], -600.0, 600.0))
        return bent + least, bent

    def log_density(self, y, eta, theta):
        """Logarithm of the density."""
        variance, _ = self._variances(eta)
        squares = np.square(y[0] - eta[0]) / variance
        return -0.5 * (squares + np.log(2.0 * np.pi * variance))

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        variance, bent = self._variances(eta)
        error, share = y[0] - eta[0], bent / variance
        by_scale = share * (np.square(error) / variance - 1.0)
        return (
            [error / variance, by_scale],
            [1.0 / variance, np.maximum(2.0 * np.square(share), 1e-3)],
            [],
            [],
        )

    def mean(self, eta, theta):
        """Mean."""
        return eta[0]

    def variance(self, eta, theta):
        """Variance."""
        return self._variances(eta, moved_last=True)[0]

    def make_law(self, eta, theta):
        """`NormalLaw` of each row and expert."""
        return NormalLaw(eta[0], np.sqrt(self._variances(eta, moved_last=True)[0]))
