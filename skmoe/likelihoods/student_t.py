"""Student's t law: heavy tails."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from .._ops import special_of
from .laws import StudentTLaw
from .location import Location

# Degrees of freedom are 1 + 1 / (2 cosh t - 2 + this): at most 1001, which is as good as
# Gaussian, where t is 0. There the bracket is t^2, so that a fit that has once taken long steps
# comes back; on a scale of logarithms large values are a plateau. Far out it is exp t.
_LEAST = 1e-3


class StudentT(Location):
    r"""Student's t law around a linear location: errors with heavy tails, such as outliers.

    Parameters
    ----------
    df : float or "estimate", default=4.0
        Degrees of freedom; of each expert by maximum likelihood (and above 1) if "estimate".
    floor : float, default=0.1
        Smooth floor of the squared scales, as in `Gaussian`.

    Attributes
    ----------
    scale_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Scales in units of the target.
    df_ : ndarray of shape (n_experts, n_outputs)
        Degrees of freedom.

    References
    ----------
    Lange, K. L., Little, R. J. A. and Taylor, J. M. G. (1989). Robust statistical modeling
    using the t distribution. Journal of the American Statistical Association 84, 881-896.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]], [0.1, 0.9, 2.2, 30.0, 3.8, 5.1]
    >>> model = MoERegressor(n_experts=1, likelihood="student_t").fit(X, y)
    >>> bool(model.predict([[3.0]])[0] < 5.0)
    True
    """

    _parameter_constraints = {
        **Location._parameter_constraints,
        "df": [Interval(Real, 0, None, closed="neither"), StrOptions({"estimate"})],
    }

    def __init__(self, df=4.0, *, floor=0.1):
        super().__init__(floor=floor)
        self.df = df

    @property
    def n_thetas(self):
        """Number of dispersions: the scale, and the degrees of freedom where estimated."""
        return 2 if self.df == "estimate" else 1

    @property
    def df_(self):
        """Degrees of freedom, (n_experts, n_outputs)."""
        return np.broadcast_to(
            self._df([self.theta_[:, j] for j in range(self.n_thetas)]), self.theta_[:, 0].shape
        )

    def _df(self, theta):
        if self.df != "estimate":
            return float(self.df)
        return 1.0 + 1.0 / (2.0 * np.cosh(theta[1]) - 2.0 + _LEAST)

    def start_theta(self, y, weight, base):
        """Half the variance around a line, and degrees of freedom of 5."""
        scale = np.log(0.5 * base)
        tail = np.full_like(scale, np.arccosh(1.0 + 0.5 * (0.25 - _LEAST)))
        return np.stack([scale, tail][: self.n_thetas])

    def log_density(self, y, eta, theta):
        """Logarithm of the density."""
        df, squares = self._df(theta), np.square(y[0] - eta[0]) * np.exp(-theta[0])
        gammaln = special_of(eta[0]).gammaln
        constant = gammaln(0.5 * (df + 1.0)) - gammaln(0.5 * df) - 0.5 * np.log(df * np.pi)
        return constant - 0.5 * theta[0] - 0.5 * (df + 1.0) * np.log1p(squares / df)

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        df, error, inverse = self._df(theta), y[0] - eta[0], np.exp(-theta[0])
        squares = np.square(error) * inverse
        use = (df + 1.0) / (df + squares)
        slope = 0.5 * (use * squares - 1.0)
        slopes, bent = [slope], [0.5 * df / (df + 3.0) + np.zeros_like(slope)]
        if self.df == "estimate":
            digamma = special_of(eta[0]).digamma
            by_df = digamma(0.5 * (df + 1.0)) - digamma(0.5 * df) - np.log1p(squares / df)
            by_df = 0.5 * (by_df + (use * squares - 1.0) / df)
            by_inverse = -np.square(df - 1.0) * by_df
            slopes.append(2.0 * np.sinh(theta[1]) * by_inverse)
            # Near t = 0 the slope is all but linear in t, and the first part all but zero.
            near = 0.01 / (0.01 + np.square(theta[1]))
            bent.append(np.square(slopes[1]) + near * np.abs(2.0 * by_inverse) + 1e-4)
        return [use * error * inverse], [use * inverse], slopes, bent

    def variance(self, eta, theta):
        """Variance, infinite up to two degrees of freedom."""
        df = np.asarray(self._df(theta))
        factor = np.where(df > 2.0, df / np.where(df > 2.0, df - 2.0, 1.0), np.inf)
        return np.exp(theta[0]) * factor + 0.0 * eta[0]

    def make_law(self, eta, theta):
        """`StudentTLaw` of each row and expert."""
        scale = np.exp(0.5 * theta[0])
        return StudentTLaw(eta[0], scale, np.broadcast_to(self._df(theta), eta[0].shape))
