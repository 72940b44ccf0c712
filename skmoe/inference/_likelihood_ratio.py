"""The likelihood-ratio test for one more expert, by simulation."""

import warnings
from numbers import Integral

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._validation import check_weight
from ._bootstrap import template
from ._resampling import Simulator


def bootstrap_lr_test(
    smaller,
    larger,
    X,
    y,
    sample_weight=None,
    *,
    n_replicates=99,
    exposure=None,
    n_jobs=None,
    random_state=None,
):
    """Test a mixture against a larger one, such as one with one more expert, by simulation.

    Twice the gain in log-likelihood has no chi-squared law here: where an expert is not
    needed, its coefficients are undetermined and its probability is at the boundary. Its
    law is simulated instead: targets are drawn from the smaller mixture, and both are
    refitted to them, with the starts that the models have (McLachlan 1987).

    The p-value is only as good as the search for optima: a larger mixture that misses its
    optimum in the refits makes the test reject too often. Raise ``n_init`` of the models
    to be safe.

    Parameters
    ----------
    smaller, larger : MoERegressor or MoEClassifier
        Fitted to the same rows, with numbers of experts that stay as they are.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        The features that both were fitted to.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The targets that both were fitted to.
    sample_weight : array-like of shape (n_samples,), default=None
        The weights of the fits, whole numbers.
    n_replicates : int, default=99
        Simulated samples.
    exposure : array-like of shape (n_samples,), default=None
        Of counts, as in `fit`.
    n_jobs : int, default=None
        Processes, as in joblib; the result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Source of the samples, and of what is random in the refits.

    Returns
    -------
    Series
        ``statistic``; ``p_value``, the share of the simulated statistics, the observed one
        counted in, that are at least as large; and ``simulated``, an ndarray of shape
        (n_replicates,).

    Raises
    ------
    TypeError
        If targets cannot be simulated.
    ValueError
        If a parameter makes no sense.

    Warns
    -----
    UserWarning
        If refits did not converge.

    References
    ----------
    McLachlan, G. J. (1987). On bootstrapping the likelihood ratio test statistic for the
    number of components in a normal mixture. Applied Statistics 36, 318-324.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.inference import bootstrap_lr_test
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, size=(100, 1))
    >>> y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=100)
    >>> one, two = (MoERegressor(n_experts=k, random_state=0).fit(X, y) for k in (1, 2))
    >>> float(bootstrap_lr_test(one, two, X, y, n_replicates=9, random_state=0)["p_value"])
    0.1
    """
    for model in (smaller, larger):
        check_is_fitted(model)
    if not isinstance(n_replicates, Integral) or n_replicates < 1:
        raise ValueError(f"n_replicates={n_replicates!r} must be a whole number of at least 1.")
    simulator = Simulator(smaller, X, y, sample_weight, exposure)
    weight = check_weight(sample_weight, np.zeros(len(y)))
    statistic = 2.0 * (
        _total(larger, X, y, weight, exposure) - _total(smaller, X, y, weight, exposure)
    )
    refit = _Refits([template(model, n_jobs) for model in (smaller, larger)])
    seeds = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=n_replicates)
    every = Parallel(n_jobs=n_jobs)(delayed(refit)(simulator, seed) for seed in seeds)
    simulated, converged = map(np.array, zip(*every, strict=True))
    if not converged.all():
        warnings.warn(
            f"refits to {(~converged).sum()} of {n_replicates} samples did not converge; raise "
            f"max_iter of the models.",
            UserWarning,
            stacklevel=2,
        )
    p_value = (1 + np.sum(simulated >= statistic)) / (1 + n_replicates)
    return pd.Series(
        {"statistic": statistic, "p_value": float(p_value), "simulated": simulated}, dtype=object
    )


class _Refits:
    """Fits both models to a simulated sample; may go to another process."""

    def __init__(self, templates):
        self.templates = templates

    def __call__(self, simulator, seed):
        """Statistic, and whether both converged."""
        rng = np.random.RandomState(seed)
        sample, totals, converged = simulator.draw(rng), [], True
        weight = np.ones(len(sample.rows))
        for start in self.templates:
            model = clone(start).set_params(random_state=int(rng.randint(2**31 - 1)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # they are counted
                sample.fit(model)
            totals.append(_total(model, sample.X, sample.y, weight, sample.exposure))
            converged &= model.converged_
        return 2.0 * (totals[1] - totals[0]), converged


def _total(model, X, y, weight, exposure):
    """Log-likelihood of all rows that count."""
    loglik = model.log_likelihood(X, y, *(() if exposure is None else (exposure,)))
    return float(weight[weight > 0] @ loglik[weight > 0])
