"""Laws of counts with extra zeros."""

import numpy as np
import scipy.special

from .._ops import special_of
from .laws import ZeroInflatedLaw
from .negative_binomial import NegativeBinomial
from .poisson import Counts, Poisson


class ZeroInflated(Counts):
    """What laws with more zeros share: an expert gives zero with a probability of its own.

    The predictor is the logarithm of the mean of all counts, zeros included.
    """

    counts = Poisson()

    @property
    def zero_proba_(self):
        """Probabilities of an extra zero, (n_experts,) or (n_experts, n_outputs)."""
        if not hasattr(self, "theta_"):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet")
        found = scipy.special.expit(self.theta_[:, -1])
        return found[:, 0] if found.shape[1] == 1 else found

    def start_theta(self, y, weight, base):
        """Those of the counts, and the logit of half the share of zeros."""
        zeros = weight @ (y[0] == 0) / weight.sum()
        own = self.counts.start_theta(y, weight, base)
        return np.concatenate([own, scipy.special.logit(np.clip(0.5 * zeros, 0.01, 0.9))[None]])

    def _inner(self, eta, theta):
        """Predictor and dispersions of the counts that are no extra zeros."""
        return [eta[0] + np.logaddexp(0.0, theta[-1])], theta[:-1]

    def log_density(self, y, eta, theta):
        """Logarithm of the probability of counts."""
        own = self.counts.log_density(y, *self._inner(eta, theta))
        own = own - np.logaddexp(0.0, theta[-1])
        extra = -np.logaddexp(0.0, -theta[-1])
        return np.where(y[0] == 0, np.logaddexp(own, extra), own)

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        inner, expit = self._inner(eta, theta), special_of(theta[-1]).expit
        proba = expit(theta[-1])
        log_odds = theta[-1] - self.counts.log_density(y, *inner)
        extra = np.where(y[0] == 0, expit(log_odds), 0.0)
        found = self.counts.derivatives(y, *inner)
        scores, curvatures, slopes, bent = ([(1.0 - extra) * part for part in p] for p in found)
        slope = extra - proba + proba * scores[0]
        bend = proba * (1.0 - proba) + np.square(proba) * curvatures[0] + 1e-6
        return scores, curvatures, [*slopes, slope], [*bent, bend]

    def variance(self, eta, theta):
        """Variance of counts with extra zeros."""
        inner, proba = self._inner(eta, theta), scipy.special.expit(theta[-1])
        mean = self.counts.mean(*inner)
        return (1.0 - proba) * (self.counts.variance(*inner) + proba * np.square(mean))

    def make_law(self, eta, theta):
        """`ZeroInflatedLaw` of each row and expert."""
        proba = scipy.special.expit(theta[-1])
        return ZeroInflatedLaw(self.counts.make_law(*self._inner(eta, theta)), proba)


class ZeroInflatedPoisson(ZeroInflated):
    r"""Poisson law of counts with extra zeros.

    An expert gives zero with a probability :math:`\pi_k`, and else a Poisson count. The
    logarithm of the mean of both together is linear in the features.

    Attributes
    ----------
    zero_proba_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Probabilities of an extra zero.

    References
    ----------
    Lambert, D. (1992). Zero-inflated Poisson regression, with an application to defects in
    manufacturing. Technometrics 34, 1-14.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]], [0, 0, 4, 0, 7, 8]
    >>> model = MoERegressor(n_experts=1, likelihood="zero_inflated_poisson").fit(X, y)
    >>> model.likelihood_.zero_proba_.round(1)
    array([0.5])
    """

    n_thetas = 1


class ZeroInflatedNegativeBinomial(ZeroInflated):
    r"""Negative binomial law of counts with extra zeros.

    An expert gives zero with a probability :math:`\pi_k`, and else a count of a
    `NegativeBinomial` law. The logarithm of the mean of both together is linear in the
    features.

    Attributes
    ----------
    zero_proba_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Probabilities of an extra zero.

    References
    ----------
    Greene, W. H. (1994). Accounting for excess zeros and sample selection in Poisson and
    negative binomial regression models. NYU Working Paper EC-94-10.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]], [0, 0, 4, 0, 7, 8]
    >>> law = "zero_inflated_negative_binomial"
    >>> model = MoERegressor(n_experts=1, likelihood=law).fit(X, y)
    >>> model.likelihood_.zero_proba_.round(1)
    array([0.5])
    """

    n_thetas = 2
    counts = NegativeBinomial()
