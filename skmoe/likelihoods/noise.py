"""Gaussian experts, and beside them a wide law that explains outliers."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from .._ops import ops_of
from .gaussian import Gaussian
from .laws import NormalLaw

# The prior of the share of noise weighs as much as this many rows.
_PRIOR_ROWS = 1.0
_MAX_LOGIT = 35.0


class GaussianWithNoise(Gaussian):
    r"""Gaussian experts, and a noise expert that absorbs outliers.

    Beside the K experts of the gate there is one more law, a wide Gaussian that does not
    depend on the features, with the same share :math:`\epsilon` of all rows:

    .. math:: p(y \mid x) = (1 - \epsilon) \sum_k g_k(x) \, p_k(y \mid x)
              + \epsilon \, \mathcal{N}(y;\, \bar y,\, (\text{width} \cdot s_y)^2)

    with mean and standard deviation of the training target. Rows that it explains better
    hardly move the experts, nor the gate. :math:`\epsilon` is estimated, with a beta prior
    that weighs as much as one row.

    Outliers are part of the target's law, not of its mean: ``log_likelihood``,
    ``predict_dist`` and the scores made of them count the noise in; ``predict`` (with
    ``return_std`` too), ``responsibilities`` (rows sum to one) and everything about gate
    and experts are as if a row were none. ``MoERegressor.noise_proba`` tells how probable
    it is that a row is one.

    Parameters
    ----------
    shared : bool, default=False
        One variance for all experts.
    floor : float, default=0.1
        Of the experts' variances, as in `Gaussian`.
    width : float, default=2.0
        Standard deviation of the noise in units of that of the target.
    share : float, default=0.01
        What the prior expects of the share of noise, and where it starts; between 0 and 1.

    Attributes
    ----------
    noise_share_ : float
        Share of noise.
    scale_ : ndarray of shape (n_experts,) or (n_experts, n_outputs)
        Standard deviation of the experts' noise in units of the target.

    References
    ----------
    Tukey, J. W. (1960). A survey of sampling from contaminated distributions. In
    Contributions to Probability and Statistics, 448-485. Stanford University Press.

    Banfield, J. D. and Raftery, A. E. (1993). Model-based Gaussian and non-Gaussian
    clustering. Biometrics 49, 803-821.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.likelihoods import GaussianWithNoise
    >>> X = np.linspace(0.0, 1.0, 100).reshape(-1, 1)
    >>> y = 2.0 * X[:, 0] + 0.01 * np.sin(50 * X[:, 0])
    >>> y[[10, 60]] = [30.0, -20.0]
    >>> model = MoERegressor(n_experts=1, likelihood=GaussianWithNoise()).fit(X, y)
    >>> model.predict([[0.5]]).round(2)
    array([1.])
    >>> np.flatnonzero(model.noise_proba(X, y) > 0.5)
    array([10, 60])
    """

    _parameter_constraints = {
        **Gaussian._parameter_constraints,
        "width": [Interval(Real, 0, None, closed="neither")],
        "share": [Interval(Real, 0, 1, closed="neither")],
    }

    # The information of experts whose rows may be noise would take further terms.
    information_block = None

    def __init__(self, *, shared=False, floor=0.1, width=2.0, share=0.01):
        super().__init__(shared=shared, floor=floor)
        self.width = width
        self.share = share

    @property
    def noise_share_(self):
        """Share of noise."""
        if not hasattr(self, "_noise_share"):
            raise AttributeError("this GaussianWithNoise is not fitted yet")
        return self._noise_share

    def start(self, data, n_experts):
        """A fresh copy with the variances of one expert for all; arguments as of `Gaussian`."""
        fresh = super().start(data, n_experts)
        fresh._noise_share = self.share
        return fresh._placed(data)

    def resumed(self, data):
        """A copy with the same variances and share for another fit."""
        fresh = super().resumed(data)
        fresh._noise_share = getattr(self, "_noise_share", self.share)
        return fresh._placed(data)

    def _placed(self, data):
        mean = data.weight @ data.y / data.total_weight
        self._noise_law = [mean, np.array(data.y_scale)]
        return self

    def log_noise(self, y):
        """Logarithm of the share times the density of noise: (n, m) -> (n,)."""
        mean, scale = self._noise_law
        z = (y - mean) / (self.width * scale)
        constant = np.log(2.0 * np.pi) + 2.0 * np.log(self.width * scale)
        return np.log(self._noise_share) - 0.5 * np.sum(np.square(z) + constant, axis=1)

    def log_lik(self, y, pred, experts=None):
        """Log density of the target under each expert or noise; arguments as of `Gaussian`."""
        return np.logaddexp(self._log_own(y, pred, experts), self.log_noise(y)[:, None])

    def expert_resp(self, y, pred, resp, experts=None):
        """What noise leaves of responsibilities; arguments as in `log_lik`.

        Parameters
        ----------
        y : ndarray of shape (n, m)
        pred : ndarray of shape (n, K, m)
        resp : ndarray of shape (n, K)
            Rows sum to one.
        experts : ndarray of shape (n, K) of int, default=None

        Returns
        -------
        ndarray of shape (n, K)
        """
        own = self._log_own(y, pred, experts)
        return resp * np.exp(own - np.logaddexp(own, self.log_noise(y)[:, None]))

    def _log_own(self, y, pred, experts=None):
        own = super().log_lik(y, pred, experts)
        own += np.log1p(-self._noise_share)
        return own

    def add_noise(self, log_weights, law):
        """Log weights (n, k + 1) and laws with one more column, that of noise."""
        mean, scale = self._noise_law
        shape = (len(log_weights), 1, len(mean))
        noise = np.full((len(log_weights), 1), np.log(self._noise_share))
        log_weights = np.hstack([np.log1p(-self._noise_share) + log_weights, noise])
        loc = np.concatenate([law.loc, np.broadcast_to(mean, shape)], axis=1)
        wide = np.broadcast_to(self.width * scale, shape)
        return log_weights, NormalLaw(loc, np.concatenate([law.scale, wide], axis=1))

    def e_block(self, y, weight, given, gate, scores, joint, sums):
        """E-step of a block of rows; arguments as in ``skmoe._ops.noise``."""
        log_keep = np.log1p(-self._noise_share)
        rows = np.stack([weight, self.log_noise(y) - log_keep])
        loglik, unexplained = ops_of(y).noisy_gaussian_block(
            y, rows, self._variance, given, gate, scores, joint, sums
        )
        return loglik + log_keep * weight.sum(), unexplained

    def update(self, y, pred, resp, weight, experts=None):
        """Update variances and share; ``resp`` is what noise leaves, as by `expert_resp`."""
        self.update_experts(y, pred, resp, weight, experts)
        self._update_share(weight @ resp.sum(axis=1), weight.sum())

    def update_experts(self, y, pred, resp, weight, experts=None):
        """Update the variances only, for some of the experts."""
        super().update(y, pred, resp, weight, experts)

    def update_sums(self, squares, totals, whole=None):
        """Update variances from weighted sums, and the share if ``whole`` is given.

        Parameters
        ----------
        squares, totals : ndarray
            As of `Gaussian`.
        whole : float, default=None
            Weight of all rows.
        """
        super().update_sums(squares, totals)
        if whole is not None:
            self._update_share(totals.sum(), whole)

    def _update_share(self, kept, whole):
        noise = max(whole - kept, 0.0) + _PRIOR_ROWS * self.share
        self._noise_share = noise / (whole + _PRIOR_ROWS)

    def log_prior(self):
        """Logarithm of the priors of variances and share, up to a constant."""
        share = self._noise_share
        prior = self.share * np.log(share) + (1.0 - self.share) * np.log1p(-share)
        return super().log_prior() + _PRIOR_ROWS * prior

    # -- gradient: the last flat parameter is the logit of the share ----------------------

    def flat(self):
        """Return logarithms of the free variances, and the logit of the share, flat."""
        share = self._noise_share
        return np.append(super().flat(), np.log(share) - np.log1p(-share))

    def with_flat(self, values):
        """A copy with other parameters."""
        fresh = super().with_flat(values[:-1])
        fresh._noise_share = 1.0 / (1.0 + np.exp(-np.clip(values[-1], -_MAX_LOGIT, _MAX_LOGIT)))
        return fresh

    def flat_gradient(self, sums):
        """Gradient of log-likelihood and log-prior by the flat parameters."""
        share, whole = self._noise_share, sums.load.sum()
        by_share = whole - sums.weight.sum() - share * whole
        prior = _PRIOR_ROWS * (self.share - share)
        return np.append(super().flat_gradient(sums), by_share + prior)

    def flat_curvature(self, sums):
        """Diagonal of the expected negative Hessian by the flat parameters."""
        share = self._noise_share
        curvature = share * (1.0 - share) * (sums.load.sum() + _PRIOR_ROWS)
        return np.append(super().flat_curvature(sums), max(curvature, _PRIOR_ROWS))

    def n_parameters(self):
        """Number of free variances, and the share."""
        return super().n_parameters() + 1
