"""Poisson law of counts."""

import numpy as np
from sklearn.linear_model import PoissonRegressor

from .._ops import special_of
from .laws import PoissonLaw
from .linked import LinkedLikelihood, bounded

_LEAST_MEAN = 1e-10


class Counts(LinkedLikelihood):
    """What laws of counts share: the logarithm of the mean is linear, and there is exposure."""

    discrete = True
    takes_exposure = True
    support = "counts, whole numbers of at least zero"
    cure = (
        "; for rates give the counts as y and what they are divided by as exposure, for "
        "positive numbers use 'gamma' or 'tweedie'"
    )

    def supported(self, y):
        """Whether targets are whole numbers of at least zero."""
        return (y >= 0) & (y == np.floor(y))

    def rough(self, y):
        """Return logarithms of counts, shifted away from zero."""
        return np.log1p(y[0])

    def start_eta(self, y, weight):
        """Logarithm of the mean."""
        mean = weight @ y[0] / weight.sum()
        return np.log(np.maximum(mean, _LEAST_MEAN))[None]

    def mean(self, eta, theta):
        """Mean of the counts."""
        return np.exp(bounded(eta[0]))

    def link(self, mean):
        """Logarithm of a mean, of at least 1e-10."""
        return np.log(np.maximum(mean, _LEAST_MEAN))

    def training_target(self, y):
        """Return rates, and exposures as factors of the weights."""
        exposure = np.exp(y[:, -1])
        return self.columns(y)[0] / exposure[:, None], exposure

    def regressor(self):
        """`PoissonRegressor`, whose mean is the exponential of a linear predictor."""
        return PoissonRegressor()


class Poisson(Counts):
    r"""Poisson law of counts; the logarithm of its mean is linear in the features.

    .. math:: \log p_k(y \mid x) = y \eta_k - e^{\eta_k} - \log y!, \qquad
              \eta_k = b_k + x'\beta_k + \log(\text{exposure})

    Other experts than linear ones predict the mean (of exposure one), such as
    ``PoissonRegressor`` or ``HistGradientBoostingRegressor(loss="poisson")``.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1, 1, 4, 9]
    >>> model = MoERegressor(n_experts=1, likelihood="poisson").fit(X, y)
    >>> model.predict([[1.5]]).round(1)
    array([2.6])
    """

    def log_density(self, y, eta, theta):
        """Logarithm of the probability of counts."""
        return y[0] * eta[0] - np.exp(eta[0]) - special_of(y[0]).gammaln(y[0] + 1.0)

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        mean = np.exp(eta[0])
        return [y[0] - mean], [mean], [], []

    def variance(self, eta, theta):
        """The mean."""
        return np.exp(bounded(eta[0]))

    def make_law(self, eta, theta):
        """`PoissonLaw` of each row and expert."""
        return PoissonLaw(np.exp(bounded(eta[0])))
