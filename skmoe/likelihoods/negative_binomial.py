"""Negative binomial law of counts."""

import numpy as np

from .._ops import special_of
from .laws import NegativeBinomialLaw
from .linked import bounded
from .poisson import Counts

# A logarithm of the dispersion below which the law is a Poisson law.
_LEAST_LOG = -12.0


class NegativeBinomial(Counts):
    r"""Negative binomial law of counts; the logarithm of its mean is linear in the features.

    The variance is :math:`\mu + \alpha_k \mu^2`, with a dispersion :math:`\alpha_k` per
    expert; at zero it is a Poisson law.

    Attributes
    ----------
    dispersion_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Dispersions.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1, 1, 4, 9]
    >>> model = MoERegressor(n_experts=1, likelihood="negative_binomial").fit(X, y)
    >>> model.predict([[1.5]]).round(1)
    array([2.6])
    """

    n_thetas = 1

    @property
    def dispersion_(self):
        """Dispersions, (n_experts,) or (n_experts, n_outputs)."""
        if not hasattr(self, "theta_"):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet")
        found = np.exp(np.maximum(self.theta_[:, 0], _LEAST_LOG))
        return found[:, 0] if found.shape[1] == 1 else found

    def start_theta(self, y, weight, base):
        """Logarithm of the dispersion that variance and mean of all rows tell of."""
        mean = np.maximum(weight @ y[0] / weight.sum(), 1e-10)
        variance = weight @ np.square(y[0] - mean) / weight.sum()
        return np.log(np.maximum((variance - mean) / mean**2, 0.1))[None]

    def log_density(self, y, eta, theta):
        """Logarithm of the probability of counts."""
        size = np.exp(-np.maximum(theta[0], _LEAST_LOG))
        gammaln = special_of(size).gammaln
        found = gammaln(y[0] + size) - gammaln(size) - gammaln(y[0] + 1.0)
        log_odds = eta[0] - np.log(size)  # of mean to size
        return found + y[0] * log_odds - (y[0] + size) * np.logaddexp(0.0, log_odds)

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        alpha = np.exp(np.maximum(theta[0], _LEAST_LOG))
        size, mean = 1.0 / alpha, np.exp(eta[0])
        spread = 1.0 + alpha * mean
        digamma = special_of(size).digamma
        slope = digamma(y[0] + size) - digamma(size)
        slope = slope - np.log(spread) + (mean - y[0]) / (size + mean)
        slope = np.where(theta[0] > _LEAST_LOG, -size * slope, 0.0)
        return [(y[0] - mean) / spread], [mean / spread], [slope], [np.square(slope)]

    def variance(self, eta, theta):
        """Mean plus dispersion times the squared mean."""
        alpha = np.exp(np.maximum(theta[0], _LEAST_LOG))
        return np.exp(bounded(eta[0])) + alpha * np.exp(2.0 * bounded(eta[0]))

    def make_law(self, eta, theta):
        """`NegativeBinomialLaw` of each row and expert."""
        return NegativeBinomialLaw(
            np.exp(bounded(eta[0])), np.exp(np.maximum(theta[0], _LEAST_LOG))
        )
