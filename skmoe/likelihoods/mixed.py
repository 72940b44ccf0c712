"""Different laws for different experts."""

from dataclasses import replace

import numpy as np
from sklearn.base import clone

from .laws import MixedLaw
from .linked import LinkedLikelihood, spread_of


class Mixed(LinkedLikelihood):
    """A law for each expert: what a list of likelihoods stands for.

    For linear experts, and for laws that are all of numbers or all of counts, with as many
    predictors. A target outside the support of an expert's law has no density under it; only
    one that no law can give is an error. Which expert a part of the data falls to depends on
    the start, so give several (``n_init``).

    Parameters
    ----------
    likelihoods : list of likelihoods
        One per expert.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]], [1, 2, 1, 9, 0, 17]
    >>> laws = ["poisson", "negative_binomial"]
    >>> model = MoERegressor(n_experts=2, likelihood=laws).fit(X, y)
    >>> [type(law).__name__ for law in model.likelihood_.likelihoods]
    ['Poisson', 'NegativeBinomial']
    """

    only_linear = True
    steps_on_device = False  # dispersions are those of each law, one after the other

    def __init__(self, likelihoods):
        self.likelihoods = likelihoods

    def check(self):
        """Raise for laws that do not go together."""
        kinds = {(law.discrete, law.n_predictors) for law in self.likelihoods}
        if len(kinds) > 1:
            names = [type(law).__name__ for law in self.likelihoods]
            raise ValueError(
                f"likelihood: {names} do not go together; laws of counts and of numbers have no "
                f"densities in common, and all need as many predictors per expert."
            )

    # -- what all have in common -------------------------------------------------------

    @property
    def discrete(self):
        """Whether the laws are of counts."""
        return self.likelihoods[0].discrete

    @property
    def n_predictors(self):
        """Number of predictors of an expert."""
        return self.likelihoods[0].n_predictors

    @property
    def n_thetas(self):
        """Largest number of dispersions of an expert."""
        return max(law.n_thetas for law in self._kinds())

    @property
    def on_device(self):
        """Whether all densities take arrays that are on a GPU."""
        return all(law.on_device for law in self.likelihoods)

    @property
    def is_smooth(self):
        """Whether all densities have derivatives everywhere."""
        return all(law.is_smooth for law in self.likelihoods)

    def _kinds(self):
        """The laws that differ."""
        if hasattr(self, "_started"):
            return self._started
        return list({repr(law): law for law in self.likelihoods}.values())

    # -- targets -----------------------------------------------------------------------

    def encode(self, y, exposure=None):
        """Turn a target into columns of all laws, each with a last one of what it can give."""
        if exposure is not None and not any(law.takes_exposure for law in self._kinds()):
            self._kinds()[0].refuse_exposure(exposure)
        rows, found, known = y.reshape(len(y), -1), [], []
        for law in self._kinds():
            supported = law.supported(law.columns_of(rows))
            able = np.ones(len(y), dtype=bool)
            if supported is not None:
                able = supported.reshape(len(y), -1).all(axis=1)
            safe = rows.copy()
            if able.any():
                safe[~able] = rows[np.argmax(able)]
            own = law.encode(safe, exposure if law.takes_exposure else None)
            found += [own, able[:, None].astype(float)]
            known.append(able)
        none = ~np.any(known, axis=0)
        if none.any():
            self._kinds()[0]._refuse(rows, ~none)
        return np.hstack(found)

    def _pieces(self, y):
        """Encoded targets of each law, and what it can give (n,)."""
        kinds = self._kinds()
        fixed = sum(law.takes_exposure + 1 for law in kinds)
        n_outputs = (y.shape[1] - fixed) // sum(law.n_columns for law in kinds)
        start, found = 0, []
        for law in kinds:
            end = start + law.n_columns * n_outputs + law.takes_exposure
            found.append((y[:, start:end], y[:, end] > 0))
            start = end + 1
        return found

    def columns(self, y):
        """Return the columns of the first law."""
        return self._kinds()[0].columns(self._pieces(y)[0][0])

    def width(self, y):
        """Number of outputs of an encoded target."""
        return self._kinds()[0].width(self._pieces(y)[0][0])

    def observed(self, y):
        """Return the targets (n, m) as the laws that can give them see them."""
        pieces = self._pieces(y)
        found = self._kinds()[0].observed(pieces[0][0])
        for law, (own, able) in zip(self._kinds(), pieces, strict=True):
            found = np.where(able[:, None], law.observed(own), found)
        return found

    def target_scale(self, y, weight):
        """Scale (m,) of an encoded target, None for one without units."""
        return None if self.discrete else spread_of(self.observed(y), weight)

    def rough(self, y):
        """Return targets on the scale of the first law's predictor, roughly."""
        return self._kinds()[0].rough(y)

    # -- start and copies ----------------------------------------------------------------

    def start(self, data, n_experts):
        """A fresh copy with dispersions of one expert of each law; the first laws if few."""
        laws = [clone(law) for law in self.likelihoods]
        fresh = Mixed(laws)
        kinds, pieces = fresh._kinds(), self._pieces(data.y)
        names = [repr(law) for law in kinds]
        which = [names.index(repr(law)) for law in laws]
        fresh._which = np.resize(which, n_experts)
        started = []
        first_rough = np.square(spread_of(self.rough(self.columns(data.y)), data.weight))
        for law, (own, _) in zip(kinds, pieces, strict=True):
            rough = np.square(spread_of(law.rough(law.columns(own)), data.weight))
            some = replace(data, y=own, base_variance=data.base_variance / first_rough * rough)
            started.append(law.start(some, 1))
        fresh._started = started
        fresh.n_outputs_ = started[0].n_outputs_
        fresh.theta_ = np.zeros((n_experts, fresh.n_thetas, fresh.n_outputs_))
        for k, j in enumerate(fresh._which):
            fresh.theta_[k, : started[j].n_thetas] = started[j].theta_[0]
        fresh._first = np.stack([started[j].first_pred() for j in fresh._which])
        return fresh

    def unit(self):
        """Return units (K, P * m) of predictors."""
        return np.concatenate([self._started[j].unit() for j in self._which])

    def longest_step(self):
        """Return the longest steps (K, P * m) of predictors in one iteration."""
        return np.concatenate([self._started[j].longest_step() for j in self._which])

    def selected(self, experts):
        """A copy with the laws of some experts, by index."""
        fresh = super().selected(experts)
        fresh._which, fresh._first = self._which[experts], self._first[experts]
        return fresh

    def replaced(self, where, others):
        """A copy in which laws of experts, by index, are those of another."""
        fresh = super().replaced(where, others)
        fresh._which = self._which.copy()
        fresh._which[where] = others._which
        return fresh

    def n_parameters(self):
        """Number of dispersions."""
        return sum(self._started[j].n_thetas for j in self._which) * self.n_outputs_

    # -- arrays: the number of the law goes with the dispersions -----------------------------

    def _targets(self, y):
        found = []
        for law, (own, able) in zip(self._kinds(), self._pieces(y), strict=True):
            found.append((*law._targets(own), able))
        return tuple(found), None

    def _thetas(self, experts=None):
        which = self._which[:, None, None] if experts is None else self._which[experts].T[:, None]
        return [*super()._thetas(experts), which]

    def _moved_last(self, pred, experts=None):
        eta, theta = super()._moved_last(pred, experts)
        which = self._which[None, :] if experts is None else self._which[experts]
        return eta, [*theta, which[:, :, None]]

    def log_density(self, y, eta, theta):
        """Logarithm of the density under each expert's law."""
        found = np.full_like(eta[0], -np.inf)
        for j, (law, (columns, offset, able)) in enumerate(zip(self._started, y, strict=True)):
            own = law.log_density(columns, _moved(eta, offset), theta[: law.n_thetas])
            found = np.where((theta[-1] == j) & able, own, found)
        return found

    def derivatives(self, y, eta, theta):
        """Do as `LinkedLikelihood` says."""
        sizes = (self.n_predictors, self.n_predictors, self.n_thetas, self.n_thetas)
        found = [[np.zeros_like(eta[0]) for _ in range(size)] for size in sizes]
        for j, (law, (columns, offset, able)) in enumerate(zip(self._started, y, strict=True)):
            own = law.derivatives(columns, _moved(eta, offset), theta[: law.n_thetas])
            mine = (theta[-1] == j) & able
            for arrays, parts in zip(found, own, strict=True):
                for place, part in enumerate(parts):
                    arrays[place] = np.where(mine, part, arrays[place])
        return tuple(found)

    def mean(self, eta, theta):
        """Mean under each expert's law."""
        return self._chosen("mean", eta, theta)

    def variance(self, eta, theta):
        """Variance under each expert's law."""
        return self._chosen("variance", eta, theta)

    def _chosen(self, what, eta, theta):
        found = np.zeros_like(eta[0])
        with np.errstate(over="ignore", invalid="ignore"):
            for j, law in enumerate(self._started):
                own = getattr(law, what)(eta, theta[: law.n_thetas])
                found = np.where(theta[-1] == j, own, found)
        return found

    def exposed(self, pred, exposure):
        """Return predictions (n, K, P * m) for other exposures than one; of dense mixtures only."""
        if exposure is None:
            return pred
        takes = np.array([self._started[j].takes_exposure for j in self._which])
        if not takes.all():
            raise ValueError("exposure needs laws of counts for all experts.")
        return pred + np.log(exposure)[:, None, None]

    def law(self, pred, experts=None):
        """Return the laws of the target under each expert; arguments as in `log_lik`."""
        if experts is not None:
            raise ValueError(
                "a list of likelihoods has no predict_dist with top_k; set top_k=None."
            )
        found = []
        for k, j in enumerate(self._which):
            law = self._started[j]
            eta, theta = self.selected([k])._moved_last(pred[:, [k]])
            theta = [np.broadcast_to(part, eta[0].shape) for part in theta[: law.n_thetas]]
            found.append(law.make_law(eta, theta))
        return MixedLaw(found)

    # -- priors: each law has its own ---------------------------------------------------------

    def _own(self, theta):
        """Pairs of the number of an expert and its law with its dispersions."""
        for k, j in enumerate(self._which):
            law = self._started[j].selected([0])
            law.theta_ = theta[[k], : law.n_thetas]
            yield k, law

    def _prior(self, theta):
        found = np.zeros((len(theta), theta.shape[2]))
        for k, law in self._own(theta):
            found[k] = law._prior(law.theta_)[0]
        return found

    def _prior_slope(self):
        return self._by_expert("_prior_slope")

    def _prior_curvature(self):
        return self._by_expert("_prior_curvature")

    def _by_expert(self, what):
        found = np.zeros(self.theta_.shape)
        for k, law in self._own(self.theta_):
            found[k, : law.n_thetas] = getattr(law, what)()
        return found


def _moved(eta, offset):
    return eta if offset is None else [eta[0] + offset, *eta[1:]]
