"""Binomial law of successes among trials."""

from numbers import Integral

import numpy as np
import scipy.special
from sklearn.compose import TransformedTargetRegressor
from sklearn.utils._param_validation import Interval

from .._ops import special_of
from .laws import BinomialLaw
from .linked import LinkedLikelihood

_LEAST_PROBA = 1e-6


class Binomial(LinkedLikelihood):
    r"""Binomial law of the number of successes; the logit of their probability is linear.

    The target has two columns, successes and trials, and predictions are the probability of
    success; or ``trials`` is given, the target is the number of successes, and so are
    predictions. Other experts than linear ones are trained on the share of successes,
    weighted by trials, and predict the probability.

    Parameters
    ----------
    trials : int, default=None
        Number of trials of every row; None takes them from the second column of the target.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.likelihoods import Binomial
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [[1, 10], [3, 9], [5, 10], [8, 11]]
    >>> model = MoERegressor(n_experts=1, likelihood="binomial").fit(X, y)
    >>> model.predict([[1.5]]).round(1)
    array([0.4])
    """

    discrete = True
    n_columns = 2
    support = "two columns, whole numbers of successes and of trials"
    cure = "; give both as y, or set Binomial(trials=...) and give successes of at most so many"

    _parameter_constraints = {"trials": [Interval(Integral, 1, None, closed="left"), None]}

    def __init__(self, trials=None):
        self.trials = trials

    def columns_of(self, y):
        """Return successes and trials (n, 2)."""
        if self.trials is not None and y.shape[1] == 1:
            return np.column_stack([y, np.full(len(y), float(self.trials))])
        if self.trials is not None or y.shape[1] != 2:
            raise ValueError(
                f"y has {y.shape[1]} columns, and likelihood={self!r} is a law of "
                f"{self.support}{self.cure}."
            )
        return y

    def supported(self, y):
        """Whether successes are whole numbers between zero and the trials."""
        whole = (y == np.floor(y)).all(axis=1)
        return whole & (y[:, 0] >= 0) & (y[:, 0] <= y[:, 1]) & (y[:, 1] >= 1)

    def rough(self, y):
        """Return logits of shares, drawn towards one half."""
        return np.log((y[0] + 0.5) / (y[1] - y[0] + 0.5))

    def start_eta(self, y, weight):
        """Logit of the share of successes."""
        share = (weight @ y[0] + 1e-3) / (weight @ y[1] + 2e-3)
        return scipy.special.logit(share)[None]

    def training_target(self, y):
        """Return shares of successes, and trials as factors of the weights."""
        return y[:, :1] / y[:, 1:], y[:, 1]

    def observed(self, y):
        """Return numbers of successes, or their shares where trials differ."""
        return y[:, :1] / y[:, 1:] * (self.trials or 1)

    def log_density(self, y, eta, theta):
        """Logarithm of the probability of successes."""
        gammaln = special_of(eta[0]).gammaln
        ways = gammaln(y[1] + 1.0) - gammaln(y[0] + 1.0) - gammaln(y[1] - y[0] + 1.0)
        return ways + y[0] * eta[0] - y[1] * np.logaddexp(0.0, eta[0])

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        proba = special_of(eta[0]).expit(eta[0])
        return [y[0] - y[1] * proba], [y[1] * proba * (1.0 - proba)], [], []

    def mean(self, eta, theta):
        """Probability of success, times trials where they are given."""
        return (self.trials or 1) * special_of(eta[0]).expit(eta[0])

    def variance(self, eta, theta):
        """Variance of successes in as many trials, one where they differ."""
        proba = scipy.special.expit(eta[0])
        return (self.trials or 1) * proba * (1.0 - proba)

    def link(self, mean):
        """Logit of a probability, drawn inside (0, 1)."""
        return special_of(mean).logit(np.clip(mean, _LEAST_PROBA, 1.0 - _LEAST_PROBA))

    def regressor(self):
        """Linear regression of the logit, whose prediction is the probability."""
        return TransformedTargetRegressor(
            func=scipy.special.logit, inverse_func=scipy.special.expit
        )

    def make_law(self, eta, theta):
        """`BinomialLaw` of each row and expert."""
        return BinomialLaw(scipy.special.expit(eta[0]), self.trials or 1)
