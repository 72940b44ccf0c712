"""Predictions of regressors that are more than a number: distributions and intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from .independent import independent_mixtures
from .mixture import MixtureDistribution


class DistributionPredictions:
    """What a regressor answers when it is asked for more than the mean."""

    def predict_dist(self, X, exposure=None) -> Any:
        """Predict the whole distribution of the target.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        exposure : array-like of shape (n_samples,), default=None
            Of counts, as in `fit`; ones by default.

        Returns
        -------
        MixtureDistribution or IndependentMixtures
            Its moments, density, probabilities, quantiles, intervals, samples and scores;
            see `skmoe.mixture.MixtureDistribution`. With ``top_k`` it is the mixture of the
            chosen experts. The latter with ``gate_per_output``: one mixture per output.
        """
        log_weights, pred, indices = self._mixture(self._rows(X), self._top_k)
        if log_weights.ndim == 3:
            return independent_mixtures(self.likelihood_, log_weights, pred)
        law = self.likelihood_.law(self._exposed(pred, exposure), indices)
        if hasattr(self.likelihood_, "add_noise"):
            log_weights, law = self.likelihood_.add_noise(log_weights, law)
        return MixtureDistribution(log_weights, law, not self._many_outputs)

    def noise_proba(self, X, y) -> np.ndarray:
        """Probability that an observed target is noise, and not from any expert.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.

        Returns
        -------
        ndarray of shape (n_samples,)
            Zeros for a likelihood without a noise expert; see
            `skmoe.likelihoods.GaussianWithNoise` for one that has it.
        """
        loglik = self.log_likelihood(X, y)
        if not hasattr(self.likelihood_, "log_noise"):
            return np.zeros(len(loglik))
        return np.exp(self.likelihood_.log_noise(self._decode_target(y)) - loglik)

    def predict_interval(
        self,
        X,
        alpha: float = 0.1,
        *,
        kind: str = "central",
        exposure=None,
    ) -> np.ndarray:
        """Predict intervals that hold the target with probability ``1 - alpha``.

        They are as right as the model is, and know nothing of the error in its parameters;
        the page of predictive distributions has their coverage on real data.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        alpha : float, default=0.1
            Probability of a target outside, between 0 and 1.
        kind : {"central", "shortest"}, default="central"
            As in `skmoe.mixture.MixtureDistribution.interval`.
        exposure : array-like of shape (n_samples,), default=None
            Of counts, as in `fit`; ones by default.

        Returns
        -------
        ndarray of shape (n_samples, 2) or (n_samples, 2, n_outputs)
            Lower and upper ends, in units of the target.

        Examples
        --------
        >>> from skmoe import MoERegressor
        >>> from skmoe.datasets import make_moe_regression
        >>> X, y = make_moe_regression(n_samples=300, n_experts=2, random_state=0)
        >>> ends = MoERegressor(n_experts=2, random_state=0).fit(X, y).predict_interval(X)
        >>> bool(0.85 < ((ends[:, 0] <= y) & (y <= ends[:, 1])).mean() < 0.95)
        True
        """
        if not 0.0 < alpha < 1.0:
            raise ValueError(f"alpha={alpha!r} must be a probability between 0 and 1.")
        dist = self.predict_dist(X, exposure)
        return np.stack(dist.interval(1.0 - alpha, kind=kind), axis=1)

    def _quantiles(self, X, quantiles, return_std, exposure):
        if return_std:
            raise ValueError("return_std goes with the mean; leave it out, or quantiles.")
        return self.predict_dist(X, exposure).quantile(quantiles)
