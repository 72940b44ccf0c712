"""Scorers of predictive distributions, for ``scoring=`` of scikit-learn's tools.

A scorer is called with a fitted estimator, features and targets; higher is better.
"""

from __future__ import annotations

import numpy as np

__all__ = ["log_likelihood", "neg_crps", "neg_pinball"]


def log_likelihood(estimator, X, y) -> float:
    """Mean log-likelihood of held-out targets.

    Parameters
    ----------
    estimator : MoERegressor or MoEClassifier
        Fitted.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        Features, in the form that fit had.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.

    Returns
    -------
    float
        Higher is better.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_moe_regression
    >>> from skmoe.metrics import log_likelihood
    >>> X, y = make_moe_regression(n_samples=300, n_experts=2, random_state=0)
    >>> model = MoERegressor(n_experts=2)
    >>> cross_val_score(model, X, y, scoring=log_likelihood, cv=3).shape
    (3,)
    """
    return float(np.mean(estimator.log_likelihood(X, y)))


def neg_crps(estimator, X, y) -> float:
    """Return minus the mean continuous ranked probability score.

    Parameters
    ----------
    estimator : MoERegressor
        Fitted.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        Features, in the form that fit had.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.

    Returns
    -------
    float
        In units of the target; higher is better.

    See Also
    --------
    skmoe.mixture.MixtureDistribution.crps : The score of each row.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_moe_regression
    >>> from skmoe.metrics import neg_crps
    >>> X, y = make_moe_regression(n_samples=300, n_experts=2, random_state=0)
    >>> neg_crps(MoERegressor(n_experts=2).fit(X, y), X, y) < 0
    True
    """
    return -float(np.mean(estimator.predict_dist(X).crps(y)))


class neg_pinball:
    """Minus the mean pinball loss of a quantile.

    Parameters
    ----------
    level : float, default=0.5
        Level of the quantile, between 0 and 1.

    Raises
    ------
    ValueError
        If ``level`` is not between 0 and 1.

    References
    ----------
    Koenker, R. and Bassett, G. (1978). Regression quantiles. Econometrica 46, 33-50.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_moe_regression
    >>> from skmoe.metrics import neg_pinball
    >>> X, y = make_moe_regression(n_samples=300, n_experts=2, random_state=0)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> neg_pinball(0.9)(model, X, y) < 0
    True
    """

    def __init__(self, level=0.5):
        if not 0.0 < level < 1.0:
            raise ValueError(f"level={level!r} must be a probability between 0 and 1.")
        self.level = level

    def __call__(self, estimator, X, y):
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : MoERegressor
            Fitted.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.

        Returns
        -------
        float
            In units of the target; higher is better.
        """
        quantile = estimator.predict_dist(X).quantile(self.level)
        # A column of targets is no matrix of differences.
        error = np.reshape(y, quantile.shape) - quantile
        return -float(np.mean(np.maximum(self.level * error, (self.level - 1.0) * error)))

    def __repr__(self):
        return f"neg_pinball({self.level})"
