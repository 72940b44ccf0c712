"""Gaussian and lognormal laws of targets that cannot lie outside of bounds."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from .censored import log_normal_mass, truncated_slopes
from .laws import TruncatedLogNormalLaw, TruncatedNormalLaw
from .linked import bounded
from .location import Location


class TruncatedGaussian(Location):
    r"""Gaussian law cut at bounds: no target outside of them can be observed.

    The linear predictor is the location of the whole Gaussian, and predictions are means of
    the truncated one. (Values beyond a bound that are seen, but not how far, are censored
    instead: `CensoredGaussian`.) Other experts than linear ones predict the location.

    Parameters
    ----------
    lower, upper : float, default=0 and infinity
        Bounds, lower below upper.
    floor : float, default=0.1
        Smooth floor of the variances, as in `Gaussian`.

    Attributes
    ----------
    scale_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Standard deviations of the whole Gaussians.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.2, 0.9, 2.2, 2.8]
    >>> model = MoERegressor(n_experts=1, likelihood="truncated_gaussian").fit(X, y)
    >>> bool((model.predict([[-1.0], [0.0]]) > 0).all())
    True
    """

    cure = "; set the bounds of TruncatedGaussian(lower=..., upper=...) around them"

    _parameter_constraints = {
        **Location._parameter_constraints,
        "lower": [Interval(Real, None, None, closed="both")],
        "upper": [Interval(Real, None, None, closed="both")],
    }

    def __init__(self, lower=0.0, upper=np.inf, *, floor=0.1):
        super().__init__(floor=floor)
        self.lower = lower
        self.upper = upper

    @property
    def support(self):
        """The bounds, in words."""
        return f"numbers between {self.lower} and {self.upper}"

    def supported(self, y):
        """Whether targets lie within the bounds."""
        if not self.lower < self.upper:
            raise ValueError(
                f"{type(self).__name__}: lower={self.lower} must be below upper={self.upper}."
            )
        return (y >= self.lower) & (y <= self.upper)

    def _pieces(self, eta, theta):
        inverse = np.exp(-0.5 * theta[0])
        lower, upper = self._bounds()
        return (lower - eta[0]) * inverse, (upper - eta[0]) * inverse, inverse

    def _bounds(self):
        """Bounds on the scale of the predictor."""
        return self.lower, self.upper

    def log_density(self, y, eta, theta):
        """Logarithm of the density."""
        a, b, inverse = self._pieces(eta, theta)
        squares = np.square((y[0] - eta[0]) * inverse)
        return -0.5 * (squares + theta[0] + np.log(2.0 * np.pi)) - log_normal_mass(a, b)

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        a, b, inverse = self._pieces(eta, theta)
        z = (y[0] - eta[0]) * inverse
        mean, bend, slope = truncated_slopes(a, b)
        by_theta = 0.5 * (np.square(z) - 1.0 + slope)
        return (
            [(z - mean) * inverse],
            [np.maximum(1.0 - bend, 1e-3) * np.square(inverse)],
            [by_theta],
            [np.square(by_theta) + 1e-3],
        )

    def mean(self, eta, theta):
        """Mean within the bounds."""
        a, b, inverse = self._pieces(eta, theta)
        return np.clip(eta[0] + truncated_slopes(a, b)[0] / inverse, self.lower, self.upper)

    def variance(self, eta, theta):
        """Variance within the bounds."""
        a, b, inverse = self._pieces(eta, theta)
        return np.maximum(1.0 - truncated_slopes(a, b)[1], 1e-12) / np.square(inverse)

    def make_law(self, eta, theta):
        """`TruncatedNormalLaw` of each row and expert."""
        scale = np.exp(0.5 * theta[0])
        return TruncatedNormalLaw(eta[0], scale, self.lower, self.upper)


class TruncatedLogNormal(TruncatedGaussian):
    r"""Lognormal law cut at bounds, such as losses that are only reported above a deductible.

    The linear predictor is the location of the logarithm before the cut, and predictions are
    means of the truncated law. Other experts than linear ones are trained on the logarithms
    of the targets, and predict the location.

    Parameters
    ----------
    lower, upper : float, default=0 and infinity
        Bounds of the target, lower at least zero and below upper. The default cuts nothing.
    floor : float, default=0.1
        Smooth floor of the variances of logarithms, as in `Gaussian`.

    Attributes
    ----------
    scale_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Standard deviations of the logarithms before the cut.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.likelihoods import TruncatedLogNormal
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.1, 2.2, 3.9, 8.1]
    >>> model = MoERegressor(n_experts=1, likelihood=TruncatedLogNormal(lower=1.0)).fit(X, y)
    >>> bool((model.predict([[-9.0], [0.0]]) > 1.0).all())
    True
    """

    in_units = False
    longest = 2.0
    cure = "; set the bounds of TruncatedLogNormal(lower=..., upper=...) around them"

    _parameter_constraints = {
        **TruncatedGaussian._parameter_constraints,
        "lower": [Interval(Real, 0, None, closed="both")],
    }

    @property
    def support(self):
        """The bounds, in words."""
        return f"numbers above zero, between {self.lower} and {self.upper}"

    def supported(self, y):
        """Whether targets are above zero and lie within the bounds."""
        return super().supported(y) & (y > 0)

    def rough(self, y):
        """Return logarithms of the targets."""
        return np.log(y[0])

    def training_target(self, y):
        """Return logarithms of the targets."""
        return np.log(y), None

    def _bounds(self):
        with np.errstate(divide="ignore"):
            return np.log(self.lower), np.log(self.upper)

    def log_density(self, y, eta, theta):
        """Logarithm of the density."""
        log_y = np.log(y[0])
        return super().log_density((log_y,), eta, theta) - log_y

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        return super().derivatives((np.log(y[0]),), eta, theta)

    def mean(self, eta, theta):
        """Mean within the bounds."""
        loc = bounded(eta[0])
        a, b, inverse = self._pieces([loc], theta)
        scale = 1.0 / inverse
        share = log_normal_mass(a - scale, b - scale) - log_normal_mass(a, b)
        inside = np.exp(loc + 0.5 * np.square(scale) + share)
        return np.clip(inside, self.lower, self.upper)

    def variance(self, eta, theta):
        """Variance within the bounds."""
        return self._cut(eta, theta).variance()

    def _cut(self, eta, theta):
        scale = np.exp(0.5 * theta[0])
        return TruncatedLogNormalLaw(bounded(eta[0]), scale, self.lower, self.upper)

    def make_law(self, eta, theta):
        """`TruncatedLogNormalLaw` of each row and expert."""
        return self._cut(eta, theta)
