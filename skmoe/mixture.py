"""The predictive mixture: the whole distribution of the target, row by row."""

import numpy as np
import scipy.special
from sklearn.utils import check_random_state

_MODE_STEPS = 200
# Starts of the shortest interval: shares of the probability left below it.
_N_LOWER, _GOLDEN_STEPS = 33, 40
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


class MixtureDistribution:
    r"""Predictive distribution of the target for each of n rows.

    .. math:: p(y \mid x) = \sum_k g_k(x) \, p_k(y \mid x)

    It is what ``MoERegressor.predict_dist(X)`` returns. Rows can be selected as in an
    array: ``dist[:10]``. With several outputs, density and samples are joint; moments,
    probabilities, quantiles and scores are those of each output by itself, and arrays
    have a last axis for it.

    Parameters
    ----------
    log_weights : ndarray of shape (n_samples, k)
        Logarithms of the weights of the experts in use; rows sum to one.
    law : law
        Laws of the experts, such as `skmoe.likelihoods.laws.NormalLaw`, with arrays of
        shape (n_samples, k, n_outputs).
    single_output : bool, default=True
        Whether arrays are without an axis for outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> y = np.abs(X[:, 0]) + 0.1 * np.sin(40 * X[:, 0])
    >>> dist = MoERegressor(n_experts=2).fit(X, y).predict_dist([[-0.5], [0.5]])
    >>> dist.mean().round(1)
    array([0.5, 0.5])
    >>> lower, upper = dist.interval(0.9)
    >>> bool(((lower < 0.5) & (0.5 < upper)).all())
    True
    """

    def __init__(self, log_weights, law, single_output=True):
        self.log_weights = law.weighed(log_weights)
        self.law = law
        self.single_output = single_output

    def __len__(self):
        return len(self.log_weights)

    def __getitem__(self, rows):
        rows = [rows] if np.ndim(rows) == 0 and not isinstance(rows, slice) else rows
        return MixtureDistribution(self.log_weights[rows], self.law.on(rows), self.single_output)

    def __repr__(self):
        name = type(self.law).__name__
        return f"<mixtures of {self.weights.shape[1]} {name}s for {len(self)} rows>"

    @property
    def weights(self):
        """Weights of the experts in use, (n_samples, k); rows sum to one."""
        return np.exp(self.log_weights)

    # -- moments --------------------------------------------------------------------

    def mean(self) -> np.ndarray:
        """Mean of each row.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In units of the target.
        """
        return self._shaped(self._mean())

    def var(self, split=False):
        """Variance of each row.

        Parameters
        ----------
        split : bool, default=False
            Also return its two parts.

        Returns
        -------
        total : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In squared units of the target.
        within, between : ndarray of the same shape
            Only with ``split``: mean noise of the experts, and variance of their means.
        """
        spread = np.square(self.law.mean() - self._mean()[:, None, :])
        between = self._averaged(spread)
        within = self._averaged(self.law.variance())
        total = self._shaped(within + between)
        return (total, self._shaped(within), self._shaped(between)) if split else total

    def std(self) -> np.ndarray:
        """Standard deviation of each row.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In units of the target.
        """
        return np.sqrt(self.var())

    def mode(self) -> np.ndarray:
        """Most probable value of each row.

        For normal laws each expert's mean is moved uphill to a peak, of which the highest is
        returned; otherwise the highest of a grid between the experts' modes, refined.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In units of the target.

        References
        ----------
        Carreira-Perpinan, M. A. (2000). Mode-finding for mixtures of Gaussian
        distributions. IEEE TPAMI 22, 1318-1323.
        """
        if not hasattr(self.law, "uphill"):
            return self._shaped(self.law.mixture_mode(self.weights))
        peaks = np.array(self.law.mean())
        for k in range(peaks.shape[1]):
            peaks[:, k] = self._uphill(peaks[:, k])
        heights = np.stack([self._log_density(peaks[:, k]) for k in range(peaks.shape[1])], axis=1)
        best = np.argmax(heights, axis=1)
        return self._shaped(np.take_along_axis(peaks, best[:, None, :], axis=1)[:, 0])

    # -- density and probabilities ----------------------------------------------------

    def logpdf(self, y) -> np.ndarray:
        """Logarithm of the density, joint over the outputs.

        Parameters
        ----------
        y : float or array-like of shape (n_samples,) or (n_samples, n_outputs)
            One value for each row.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        parts = self.law.log_density(self._values(y)[:, None, :]).sum(axis=2)
        return scipy.special.logsumexp(self.log_weights + parts, axis=1)

    def pdf(self, y) -> np.ndarray:
        """Density, joint over the outputs; see `logpdf`.

        Parameters
        ----------
        y : float or array-like of shape (n_samples,) or (n_samples, n_outputs)
            One value for each row.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return np.exp(self.logpdf(y))

    def cdf(self, y) -> np.ndarray:
        """Probability of a value up to y.

        Parameters
        ----------
        y : float or array-like of shape (n_samples,) or (n_samples, n_outputs)
            One value for each row.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._shaped(self._averaged(self.law.cdf(self._values(y)[:, None, :])))

    def sf(self, y) -> np.ndarray:
        """Probability of a value above y; exact to the last digits in the upper tail.

        Parameters
        ----------
        y : float or array-like of shape (n_samples,) or (n_samples, n_outputs)
            One value for each row.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._shaped(self._averaged(self.law.sf(self._values(y)[:, None, :])))

    # -- quantiles --------------------------------------------------------------------

    def quantile(self, levels) -> np.ndarray:
        """Values below which given shares of the probability lie.

        Parameters
        ----------
        levels : float or array-like of shape (q,)
            From 0 to 1.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            For one level. For several there is an axis for them after the first:
            (n_samples, q) or (n_samples, q, n_outputs).
        """
        wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
        if wanted.ndim > 1 or not ((wanted >= 0.0) & (wanted <= 1.0)).all():
            raise ValueError(f"levels={levels!r} must be numbers from 0 to 1, one or a list.")
        inside = np.unique(wanted[(wanted > 0.0) & (wanted < 1.0)])
        found = self.law.mixture_quantile(self.weights, inside)
        ends = np.full((len(self), 1, found.shape[2]), np.inf)
        table = np.concatenate([-ends, found, ends], axis=1)
        values = table[:, np.searchsorted(inside, wanted) + (wanted > 0.0)]
        values = values[:, 0] if np.ndim(levels) == 0 else values
        return values[..., 0] if self.single_output else values

    ppf = quantile

    def interval(self, level=0.9, *, kind="central") -> tuple[np.ndarray, np.ndarray]:
        """Interval that holds the target with a given probability.

        Parameters
        ----------
        level : float, default=0.9
            Probability, between 0 and 1.
        kind : {"central", "shortest"}, default="central"
            "central" leaves out equal probability on both sides. "shortest" is the one
            with the least width (the highest density interval of a law with one peak).

        Returns
        -------
        lower, upper : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In units of the target.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level={level!r} must be a probability between 0 and 1.")
        if kind == "central":
            both = self.quantile([0.5 - 0.5 * level, 0.5 + 0.5 * level])
            return both[:, 0], both[:, 1]
        if kind != "shortest":
            raise ValueError(f"kind={kind!r} is unknown; valid are 'central' and 'shortest'.")
        return self._shortest(level)

    def expected_shortfall(self, level=0.95, *, tail="upper"):
        """Mean of the values beyond a quantile (tail mean, conditional value at risk).

        Parameters
        ----------
        level : float, default=0.95
            Level of the quantile, between 0 and 1.
        tail : {"upper", "lower"}, default="upper"
            Values above the quantile, or below it.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In units of the target.

        References
        ----------
        Rockafellar, R. T. and Uryasev, S. (2002). Conditional value-at-risk for general
        loss distributions. Journal of Banking and Finance 26, 1443-1471.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level={level!r} must be a probability between 0 and 1.")
        if tail not in ("upper", "lower"):
            raise ValueError(f"tail={tail!r} is unknown; valid are 'upper' and 'lower'.")
        at = self.law.mixture_quantile(self.weights, np.array([level]))[:, 0]
        above = self._averaged(self.law.upper_mean(at[:, None, :]))
        # Of a value that has a probability itself, a part may belong to the tail.
        above = above + at * (self._averaged(self.law.cdf(at[:, None, :])) - level)
        if tail == "lower":
            return self._shaped((self._mean() - above) / level)
        return self._shaped(above / (1.0 - level))

    # -- samples and scores -------------------------------------------------------------

    def sample(self, n_draws=None, random_state=None):
        """Draw from the distribution of each row, jointly over the outputs.

        Parameters
        ----------
        n_draws : int, default=None
            Draws by row. None is one, without an axis for it.
        random_state : int, RandomState instance or None, default=None
            Source of randomness.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_draws, n_samples)
            With a last axis of n_outputs where there are several outputs.
        """
        rng = check_random_state(random_state)
        bounds = np.cumsum(self.weights, axis=1)
        draws = []
        for _ in range(1 if n_draws is None else n_draws):
            u = rng.uniform(size=(len(self), 1)) * bounds[:, -1:]
            experts = np.minimum((u > bounds).sum(axis=1), bounds.shape[1] - 1)
            draws.append(self._shaped(self.law.sample(experts, rng)))
        return draws[0] if n_draws is None else np.array(draws)

    def crps(self, y) -> np.ndarray:
        r"""Continuous ranked probability score; lower is better.

        .. math:: \int (F(z) - 1[z \ge y])^2 \, dz

        Parameters
        ----------
        y : float or array-like of shape (n_samples,) or (n_samples, n_outputs)
            What was observed.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In units of the target.

        References
        ----------
        Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction,
        and estimation. JASA 102, 359-378.
        """
        return self._shaped(self.law.mixture_crps(self.weights, self._values(y)))

    def pit(self, y, random_state=None):
        """Probability integral transform: uniform where the distributions are right.

        For values with a probability, such as counts, it is drawn between those of less
        than y and of up to y.

        Parameters
        ----------
        y : float or array-like of shape (n_samples,) or (n_samples, n_outputs)
            What was observed.
        random_state : int, RandomState instance or None, default=None
            Source of randomness, for values that have a probability.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)

        References
        ----------
        Dawid, A. P. (1984). Statistical theory: the prequential approach. JRSS A 147,
        278-292.

        Czado, C., Gneiting, T. and Held, L. (2009). Predictive model assessment for count
        data. Biometrics 65, 1254-1261.
        """
        found = self.cdf(y)
        if not (self.law.discrete or self.law.has_mass):
            return found
        mass = self._shaped(self._averaged(self.law.mass(self._values(y)[:, None, :])))
        return found - check_random_state(random_state).uniform(size=mass.shape) * mass

    # -- private ------------------------------------------------------------------------

    def _averaged(self, values):
        """Weighted mean over the experts: (n, k, m) -> (n, m)."""
        return np.einsum("nk,nkm->nm", self.weights, values)

    def _mean(self):
        return self._averaged(self.law.mean())

    def _shaped(self, values):
        return values[..., 0] if self.single_output else values

    def _values(self, y):
        """One value for each row and output: (n, m)."""
        n_outputs = self.law.mean().shape[2]
        y = np.asarray(y, dtype=np.float64)
        y = y[:, None] if self.single_output and y.ndim == 1 else y
        try:
            return np.broadcast_to(y, (len(self), n_outputs))
        except ValueError as error:
            raise ValueError(
                f"y has shape {y.shape}; give one value for each of the {len(self)} rows"
                f"{'' if n_outputs == 1 else f' and {n_outputs} outputs'}, or a number."
            ) from error

    def _log_density(self, y):
        """Logarithm of the marginal densities: (n, m) -> (n, m)."""
        parts = self.law.log_density(y[:, None, :])
        return scipy.special.logsumexp(self.log_weights[:, :, None] + parts, axis=1)

    def _uphill(self, y):
        """Move values (n, m) to peaks, by steps of EM for the place of a peak."""
        for _ in range(_MODE_STEPS):
            parts = self.log_weights[:, :, None] + self.law.log_density(y[:, None, :])
            last, y = y, self.law.uphill(y, scipy.special.softmax(parts, axis=1))
            step = y - last
            if np.all(np.abs(step) <= 1e-10 * self.std().reshape(step.shape)):
                break
        return y

    def _shortest(self, level):
        """Shortest intervals: a grid of lower levels, then golden sections."""
        lower = np.linspace(0.0, 1.0 - level, _N_LOWER + 2)[1:-1]
        grid = self.law.mixture_quantile(self.weights, np.concatenate([lower, lower + level]))
        best = np.argmin(grid[:, len(lower) :] - grid[:, : len(lower)], axis=1)
        step = lower[0]
        low, high = lower[best] - 0.999 * step, lower[best] + 0.999 * step
        for _ in range(_GOLDEN_STEPS):
            first, second = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
            left = (
                np.diff(self._between(first, level), axis=1)[:, 0]
                <= (np.diff(self._between(second, level), axis=1)[:, 0])
            )
            low, high = np.where(left, low, first), np.where(left, second, high)
        both = self._between(0.5 * (low + high), level)
        return self._shaped(both[:, 0]), self._shaped(both[:, 1])

    def _between(self, lower, level):
        """Quantiles (n, 2, m) at levels (n, m) and ``level`` above them."""
        levels = np.stack([lower, lower + level], axis=1)
        return self.law.mixture_quantile(self.weights, levels)
