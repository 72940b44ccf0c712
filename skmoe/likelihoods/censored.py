"""Gaussian and lognormal laws of targets that are known only to lie in an interval."""

import numpy as np

from .laws import LogNormalLaw, NormalLaw
from .laws.truncated import log_normal_mass
from .linked import bounded
from .location import Location

_LOG_2PI = np.log(2.0 * np.pi)


class CensoredGaussian(Location):
    r"""Gaussian law of a target that may be censored.

    The target has two columns, lower and upper. Where they are equal, that is the value; an
    infinite one says that the value is only known to lie above (right-censored) or below
    (left-censored) the other; two finite ones are an interval that it lies in. One column
    alone are values. Predictions are those of the value itself. The likelihood of a censored
    row is the probability of its interval, so censoring must not depend on the value but
    through the features.

    For linear experts only: what a scikit-learn regressor should be trained on is not known
    before the law is.

    Parameters
    ----------
    floor : float, default=0.1
        Smooth floor of the variances, as in `Gaussian`.

    Attributes
    ----------
    scale_ : ndarray of shape (n_experts,)
        Standard deviation of the noise in units of the target.

    References
    ----------
    Tobin, J. (1958). Estimation of relationships for limited dependent variables.
    Econometrica 26, 24-36.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> X = np.arange(6.0).reshape(-1, 1)
    >>> value = np.array([0.1, 0.9, 2.1, 2.9, 4.1, 5.0])
    >>> y = np.column_stack([np.minimum(value, 3.5), np.where(value > 3.5, np.inf, value)])
    >>> model = MoERegressor(n_experts=1, likelihood="censored_gaussian").fit(X, y)
    >>> bool(model.predict([[5.0]])[0] > 4.0)
    True
    """

    n_columns = 2
    takes_infinite = True
    only_linear = True
    support = "one or two columns of numbers, lower and upper, that may be infinite"
    cure = (
        "; give equal ones for a value, np.inf as upper for one above lower, -np.inf as lower "
        "for one below upper"
    )
    least = -np.inf

    def columns_of(self, y):
        """Return lower and upper bounds (n, 2)."""
        if y.shape[1] == 1:
            y = np.column_stack([y, y])
        if y.shape[1] != 2 or np.isnan(y).any():
            found = "NaN" if np.isnan(y).any() else f"{y.shape[1]} columns"
            raise ValueError(
                f"y has {found}, and likelihood={type(self).__name__} is a law of "
                f"{self.support}{self.cure}."
            )
        return y

    def supported(self, y):
        """Whether lower is at most upper, and one of them finite."""
        lower, upper = y[:, 0], y[:, 1]
        known = (lower > self.least) | np.isfinite(upper)
        exact = (lower != upper) | (lower > self.least)
        return known & exact & (lower <= upper) & (lower < np.inf) & (upper > self.least)

    def _transformed(self, y):
        """Bounds on the scale of the predictor, and what the density of a value gains."""
        return y[0], y[1], 0.0

    def rough(self, y):
        """Return values, or the middle or the finite end of their intervals."""
        lower, upper, _ = self._transformed(y)
        with np.errstate(invalid="ignore"):
            middle = 0.5 * (lower + upper)
        return np.where(np.isfinite(middle), middle, np.where(np.isfinite(lower), lower, upper))

    def observed(self, y):
        """Return values, or the middle or the finite end of their intervals: (n, 1)."""
        return CensoredGaussian.rough(self, self.columns(y))

    def _pieces(self, y, eta, theta):
        """Standardised bounds, which rows are values, and inverse scale."""
        lower, upper, gain = self._transformed(y)
        inverse = np.exp(-0.5 * theta[0])
        a, b = (lower - eta[0]) * inverse, (upper - eta[0]) * inverse
        return a, b, lower == upper, inverse, gain

    def log_density(self, y, eta, theta):
        """Logarithm of the density of a value, or of the probability of an interval."""
        a, b, exact, _, gain = self._pieces(y, eta, theta)
        density = -0.5 * (np.square(a) + theta[0] + _LOG_2PI) + gain
        return np.where(exact, density, log_normal_mass(a, np.where(exact, a + 1.0, b)))

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        a, b, exact, inverse, _ = self._pieces(y, eta, theta)
        mean, bend, slope = truncated_slopes(a, np.where(exact, a + 1.0, b))
        by_theta = np.where(exact, 0.5 * (np.square(a) - 1.0), -0.5 * slope)
        return (
            [np.where(exact, a, mean) * inverse],
            [np.where(exact, 1.0, np.maximum(bend, 1e-6)) * np.square(inverse)],
            [by_theta],
            [np.where(exact, 0.5, np.square(by_theta))],
        )

    def variance(self, eta, theta):
        """Variance of the value."""
        return np.exp(theta[0]) + 0.0 * eta[0]

    def make_law(self, eta, theta):
        """`NormalLaw` of the value, of each row and expert."""
        return NormalLaw(eta[0], np.exp(0.5 * theta[0]))


class CensoredLogNormal(CensoredGaussian):
    r"""Lognormal law of a positive target that may be censored, such as a survival time.

    The target is as for `CensoredGaussian`; a lower bound of zero is none. For linear experts
    only. Predictions are means of the value itself.

    Parameters
    ----------
    floor : float, default=0.1
        Smooth floor of the variances of logarithms, as in `Gaussian`.

    Attributes
    ----------
    scale_ : ndarray of shape (n_experts,)
        Standard deviations of the logarithms.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> X = np.arange(6.0).reshape(-1, 1)
    >>> time = np.array([1.1, 1.9, 4.2, 7.9, 16.0, 33.0])
    >>> y = np.column_stack([np.minimum(time, 20.0), np.where(time > 20.0, np.inf, time)])
    >>> model = MoERegressor(n_experts=1, likelihood="censored_lognormal").fit(X, y)
    >>> bool(model.predict([[5.0]])[0] > 20.0)
    True
    """

    in_units = False
    longest = 2.0
    support = "one or two columns of numbers, lower and upper, of at least zero"
    least = 0.0

    def supported(self, y):
        """Whether lower is at least zero and at most upper, and one of them finite."""
        return super().supported(y) & (y[:, 0] >= 0)

    def _transformed(self, y):
        with np.errstate(divide="ignore"):
            lower, upper = np.log(y[0]), np.log(y[1])
        return lower, upper, np.where(lower == upper, -lower, 0.0)

    def mean(self, eta, theta):
        """Mean of the value."""
        return np.exp(bounded(eta[0]) + 0.5 * np.exp(theta[0]))

    def variance(self, eta, theta):
        """Variance of the value."""
        variance = np.exp(theta[0])
        return np.expm1(variance) * np.exp(2.0 * bounded(eta[0]) + variance)

    def make_law(self, eta, theta):
        """`LogNormalLaw` of the value, of each row and expert."""
        return LogNormalLaw(eta[0], np.exp(0.5 * theta[0]))


def truncated_slopes(a, b):
    """Mean of a standard normal variable between a and b, one minus its variance, and more.

    The last is ``(b pdf(b) - a pdf(a)) / mass``, where an infinite bound counts as zero.
    """
    log_mass = log_normal_mass(a, b)
    at_a, at_b = (np.exp(-0.5 * np.square(z) - 0.5 * _LOG_2PI - log_mass) for z in (a, b))
    by_a = np.where(np.isfinite(a), a, 0.0) * at_a
    by_b = np.where(np.isfinite(b), b, 0.0) * at_b
    mean, slope = at_a - at_b, by_b - by_a
    return mean, np.square(mean) + slope, slope
