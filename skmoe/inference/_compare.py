"""Comparison of fitted mixtures on the same rows."""

import numpy as np
from scipy.stats import chi2


def compare_fits(fits, X, y, sample_weight=None, *, exposure=None):
    """Table of log-likelihood, criteria and likelihood-ratio tests of several fits.

    Each fit is tested against the one before it. The p-value assumes that the smaller of
    the two is nested in the larger, which is not checked, and that both are maximum
    likelihood fits to these rows. It is missing where the numbers of experts differ: the
    statistic then has no chi-squared law. The criteria decide, or `bootstrap_lr_test`,
    which simulates that law.

    Parameters
    ----------
    fits : dict of str to estimator
        Fitted mixtures by name, from the smallest to the largest.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        The features that all were fitted to.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The targets that all were fitted to.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative; ones by default. A row of weight 2 counts as two rows.
    exposure : array-like of shape (n_samples,), default=None
        What counts are counted in, as given to fit.

    Returns
    -------
    DataFrame
        A row per fit: ``n_experts``, ``n_parameters``, ``log_likelihood``, ``aic``, ``bic``,
        ``icl``; then against the fit before it ``statistic`` (twice the gain in
        log-likelihood), ``df`` and ``p_value``.

    Raises
    ------
    ValueError
        If ``fits`` is empty.
    TypeError
        If the parameters of a part cannot be counted.

    References
    ----------
    McLachlan, G. and Peel, D. (2000). Finite Mixture Models, chapter 6. Wiley.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.inference import compare_fits
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> y = np.abs(X[:, 0]) + 0.05 * np.sin(50 * X[:, 0])
    >>> fits = {f"K={k}": MoERegressor(n_experts=k, random_state=0).fit(X, y) for k in (1, 2)}
    >>> compare_fits(fits, X, y)["bic"].idxmin()
    'K=2'
    """
    import pandas as pd

    if not fits:
        raise ValueError("fits is empty: pass a dict of names to fitted mixtures.")
    rows = []
    for model in fits.values():
        given = X, y, sample_weight, exposure
        found = {name: getattr(model, name)(*given) for name in ("aic", "bic", "icl")}
        n_parameters = model.n_parameters_
        total = n_parameters - found["aic"] / 2.0
        row = {"n_experts": len(model.experts_), "n_parameters": n_parameters}
        rows.append({**row, "log_likelihood": total, **found})
    table = pd.DataFrame(rows, index=list(fits))
    table["statistic"] = 2.0 * table["log_likelihood"].diff()
    table["df"] = table["n_parameters"].diff()
    regular = (table["n_experts"].diff() == 0) & (table["df"] > 0)
    tail = chi2.sf(table["statistic"], table["df"].where(regular, np.nan))
    table["p_value"] = np.where(regular, tail, np.nan)
    return table
