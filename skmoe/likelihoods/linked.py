"""What all laws share whose parameters are linear predictors behind links."""

import copy

import numpy as np
from sklearn.base import BaseEstimator

from ._linked_training import LinkedTraining

# Predictions behind an exponential are cut here.
_MOST_LOG = 200.0


class LinkedLikelihood(LinkedTraining, BaseEstimator):
    r"""Base of laws whose parameters are linear predictors, behind links.

    An expert gives P predictors :math:`\eta` per row (usually one), and the law turns them
    into its parameters: the mean of counts, say, is :math:`e^\eta`. Beside them each
    expert has dispersions :math:`\theta` on an unbounded scale, usually logarithms. A
    subclass says what the logarithm of the density is and its derivatives; training by
    expectation maximisation and by gradients, routing, predictions and scores follow.

    Arrays have the shape (K, m, n) of experts, outputs and rows, or one that broadcasts
    against it: ``y`` is a tuple of arrays (m, n), one for each column that the law makes of
    a target (`encode`); ``eta`` a list of P arrays, ``theta`` a list of q arrays.

    Attributes
    ----------
    theta_ : ndarray of shape (n_experts, q, n_outputs)
        Dispersions on their unbounded scale.

    Examples
    --------
    Logistic noise of scale 1, whose density is that of the derivative of the logistic curve:

    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.likelihoods import LinkedLikelihood
    >>> class Logistic(LinkedLikelihood):
    ...     in_units = True
    ...     def log_density(self, y, eta, theta):
    ...         z = y[0] - eta[0]
    ...         return -z - 2.0 * np.log1p(np.exp(-z))
    ...     def derivatives(self, y, eta, theta):
    ...         return [np.tanh(0.5 * (y[0] - eta[0]))], [1.0 / 3.0], [], []
    ...     def mean(self, eta, theta):
    ...         return eta[0]
    ...     def variance(self, eta, theta):
    ...         return np.full_like(eta[0], np.pi**2 / 3.0)
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 2.0, 5.0, 6.0]
    >>> model = MoERegressor(n_experts=1, likelihood=Logistic()).fit(X, y)
    >>> model.predict([[1.5]]).round(1)
    array([3.2])
    """

    _parameter_constraints = {}

    # Grams of experts are weighted by curvatures, which differ from row to row.
    weighs_grams = True
    # What a subclass may change.
    n_predictors, n_thetas, n_columns = 1, 0, 1
    discrete = False
    takes_exposure = False
    # Whether targets may be infinite, and whether scikit-learn regressors cannot be experts.
    takes_infinite, only_linear = False, False
    # Whether gradients tell all: without, ``solver="auto"`` is EM.
    is_smooth = True
    # Whether the density and its derivatives, mean and link take arrays that are on a GPU:
    # NumPy functions do, and those of `special_of`.
    on_device = True
    # Predictors are in units of the target, or else have none.
    in_units = False
    # Longest step of a predictor (root mean square over rows) in one iteration.
    longest = 2.0
    # Which of the dispersions are logarithms of variances, with a smooth floor.
    floored = ()
    floor = 0.0
    information_block = True

    # -- what a subclass says ----------------------------------------------------------

    def log_density(self, y, eta, theta):
        """Logarithm of the density: (K, m, n)."""
        raise NotImplementedError

    def derivatives(self, y, eta, theta):
        """Return derivatives of `log_density` and (expected) curvatures.

        Returns
        -------
        scores, curvatures : lists of P arrays
            By the predictors; curvatures are positive.
        theta_scores, theta_curvatures : lists of q arrays
        """
        raise NotImplementedError

    def mean(self, eta, theta):
        """Mean of the target."""
        raise NotImplementedError

    def variance(self, eta, theta):
        """Variance of the target."""
        raise NotImplementedError

    def link(self, mean):
        """First predictor of a law with this mean, brought inside the support."""
        return mean

    def supported(self, y):
        """Which targets the law can give; (n, m) of bool, or None for all."""
        return None

    support = "finite numbers"
    cure = ""

    def rough(self, y):
        """Return targets on the scale of the first predictor, roughly: (n, m)."""
        return y[0]

    def start_eta(self, y, weight):
        """Return predictors (P, m) of one law for all rows, roughly; ``y`` as for `rough`."""
        return (weight @ self.rough(y) / weight.sum())[None]

    def start_theta(self, y, weight, base):
        """Return dispersions (q, m) to start from; ``base`` (m,) are variances of `rough`."""
        return np.zeros((self.n_thetas, len(base)))

    def training_target(self, y):
        """What regressors of the mean are trained on, from an encoded target.

        Returns
        -------
        target : ndarray of shape (n, m)
        factor : ndarray of shape (n,) or None
            Of the weights.
        """
        return self.columns(y)[0], None

    def regressor(self):
        """Unfitted scikit-learn regressor with the same mean as a linear expert, or None."""
        return None

    def law(self, pred, experts=None):
        """Return laws of the target under each expert; arguments as in `log_lik`."""
        eta, theta = self._moved_last(pred, experts)
        return self.make_law(eta, [np.broadcast_to(part, eta[0].shape) for part in theta])

    def make_law(self, eta, theta):
        """Return laws from predictors and dispersions, all of shape (n, K, m)."""
        raise NotImplementedError(f"{type(self).__name__} has no make_law")

    # -- targets -----------------------------------------------------------------------

    def encode(self, y, exposure=None):
        """Turn a checked numeric target into what the other methods take.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, m)
        exposure : ndarray of shape (n,), default=None

        Returns
        -------
        ndarray of shape (n, columns)
        """
        self.refuse_exposure(exposure)
        y = self.columns_of(y.reshape(len(y), -1))
        supported = self.supported(y)
        if supported is not None and not supported.all():
            self._refuse(y, supported)
        if self.takes_exposure:
            log_exposure = np.zeros(len(y)) if exposure is None else np.log(exposure)
            y = np.column_stack([y, log_exposure])
        return y

    def _refuse(self, y, supported):
        row = int(np.flatnonzero(~supported.reshape(len(y), -1).all(axis=1))[0])
        raise ValueError(
            f"y[{row}] is {y[row].item() if y[row].size == 1 else y[row].tolist()}, and "
            f"likelihood={type(self).__name__} is a law of {self.support}{self.cure}."
        )

    def refuse_exposure(self, exposure):
        """Raise for an exposure where the law has no use for it."""
        if exposure is not None and not self.takes_exposure:
            raise ValueError(
                f"exposure is for counts, and likelihood={type(self).__name__} has no use for "
                f"it; leave it out, or use 'poisson' or 'negative_binomial'."
            )

    def columns_of(self, y):
        """The columns (n, n_columns * m) that the law makes of a target (n, anything)."""
        return y

    def columns(self, y):
        """Split an encoded target into arrays (n, m)."""
        y = y[:, :-1] if self.takes_exposure else y
        n_outputs = y.shape[1] // self.n_columns
        return tuple(y[:, j * n_outputs : (j + 1) * n_outputs] for j in range(self.n_columns))

    def observed(self, y):
        """The target (n, m) of an encoded one, to compare with means."""
        return self.columns(y)[0]

    def width(self, y):
        """Number of outputs of an encoded target."""
        return (y.shape[1] - self.takes_exposure) // self.n_columns

    def target_scale(self, y, weight):
        """Scale (m,) of an encoded target, None for one without units."""
        if self.discrete:
            return None
        return spread_of(self.observed(y), weight)

    def exposed(self, pred, exposure):
        """Return predictions (n, K, P * m) for other exposures than one."""
        if exposure is None:
            return pred
        self.refuse_exposure(exposure)
        pred = pred.copy()
        n_outputs = pred.shape[2] // self.n_predictors
        pred[:, :, :n_outputs] += np.log(exposure)[:, None, None]
        return pred

    # -- start and copies ------------------------------------------------------------------

    def start(self, data, n_experts):
        """A fresh copy with the dispersions of one expert for all.

        Parameters
        ----------
        data : FitData
        n_experts : int

        Returns
        -------
        LinkedLikelihood
        """
        fresh = type(self)(**self.get_params(deep=False))
        y, weight = self.columns(data.y), data.weight
        fresh.n_outputs_ = self.width(data.y)
        base = data.base_variance
        theta = np.asarray(fresh.start_theta(y, weight, base), dtype=np.float64)
        fresh.theta_ = np.tile(theta, (n_experts, 1, 1))
        fresh._base = np.exp(theta)
        fresh._first = self._exposed_start(y, weight, data.y)
        units = np.ones((self.n_predictors, len(base)))
        if self.in_units:
            units[0] = spread_of(self.rough(y), weight)
        fresh._unit = units.ravel()
        return fresh

    def _exposed_start(self, y, weight, encoded):
        if not self.takes_exposure:
            return np.asarray(self.start_eta(y, weight)).ravel()
        exposure = np.exp(encoded[:, -1])
        first = np.asarray(self.start_eta(y, weight))
        first[0] -= np.log(weight @ exposure / weight.sum())
        return first.ravel()

    def first_pred(self):
        """Return predictors (P * m,) that a fit starts from."""
        return self._first

    def unit(self):
        """Return units (K, P * m) of predictors."""
        return np.tile(self._unit, (len(self.theta_), 1))

    def longest_step(self):
        """Return the longest steps (K, P * m) of predictors in one iteration."""
        return self.longest * self.unit()

    def resumed(self, data):
        """A copy with the same dispersions for another fit."""
        return copy.copy(self)

    def selected(self, experts):
        """A copy with the dispersions of some experts, by index."""
        fresh = copy.copy(self)
        fresh.theta_ = self.theta_[experts]
        return fresh

    def replaced(self, where, others):
        """A copy in which dispersions of experts, by index, are those of another."""
        fresh = copy.copy(self)
        fresh.theta_ = self.theta_.copy()
        fresh.theta_[where] = others.theta_
        return fresh

    @property
    def dispersion(self):
        """What an M-step of experts is told of the noise: the law itself."""
        return self

    # -- predictions -----------------------------------------------------------------------

    def means(self, pred, experts=None):
        """Mean of the target under each expert: (n, K, m)."""
        return np.broadcast_to(self.mean(*self._moved_last(pred, experts)), self._shape(pred))

    def variances(self, pred, experts=None):
        """Variance of the target under each expert: (n, K, m)."""
        return np.broadcast_to(self.variance(*self._moved_last(pred, experts)), self._shape(pred))

    def _shape(self, pred):
        return (*pred.shape[:2], pred.shape[2] // self.n_predictors)

    def from_mean(self, mean):
        """Return predictors (n, P * m) for means (n, m) that other experts predict."""
        return self.link(mean)

    def combine(self, log_weights, pred, experts=None):
        """Mean of the mixture: (n, K), (n, K, P * m) -> (n, m)."""
        return np.einsum("nk,nkm->nm", np.exp(log_weights), self.means(pred, experts))

    def total_variance(self, log_weights, pred, experts=None):
        """Variance of the mixture, within plus between experts: (n, m)."""
        weights, means = np.exp(log_weights), self.means(pred, experts)
        mean = np.einsum("nk,nkm->nm", weights, means)
        spread = self.variances(pred, experts) + np.square(means - mean[:, None])
        return np.einsum("nk,nkm->nm", weights, spread)


def bounded(eta):
    """Predictors behind an exponential, cut where a power of it would overflow."""
    return np.minimum(eta, _MOST_LOG)


def spread_of(values, weight):
    """Standard deviations (m,) of columns; 1 for constant ones."""
    mean = weight @ values / weight.sum()
    spread = np.sqrt(weight @ np.square(values - mean) / weight.sum())
    tiny = 1e-12 * np.maximum(np.abs(mean), 1e-300)
    return np.where(spread > tiny, spread, 1.0)
