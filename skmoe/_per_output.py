"""What training does where outputs have gates of their own, or targets are missing."""

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from ._joint import fit_joint
from ._starts import brief, fit_from_starts, one_expert, resume, surrogate
from .likelihoods.linked import spread_of


def filled(data, numeric):
    """A fit with missing targets, as data that know what was observed.

    Missing targets become what one linear expert predicts, which serves starts only.

    Parameters
    ----------
    data : FitData
        Whose ``y`` has NaN.
    numeric : FitData
        The same with a view as ``X``.

    Returns
    -------
    FitData
        With scales of the target and of the residuals of one expert.
    """
    observed = ~np.isnan(data.y)
    y = data.y.copy()
    scale, variance = np.ones(y.shape[1]), np.ones(y.shape[1])
    for j in range(y.shape[1]):
        rows = np.flatnonzero(observed[:, j])
        if len(rows) == 0:
            raise ValueError(f"Output {j} of y has no observed value; leave it out.")
        some = replace(numeric.on(rows), y=y[rows][:, [j]])
        scale[j] = spread_of(some.y, some.weight)[0]
        some = replace(some, y_scale=scale[[j]])
        experts, spread = one_expert(some)
        variance[j] = spread[0]
        gaps = np.flatnonzero(~observed[:, j])
        y[gaps, j] = experts.predict(numeric.X.on(numeric.X.X[gaps]))[:, 0, 0]
    return replace(data, y=y, observed=observed, y_scale=scale, base_variance=variance)


def outputs_start(data, gate, likelihood, n_experts, kinds, rng):
    """Responsibilities (n, K, m) from a mixture of linear experts for each output.

    Experts are numbered so that those that predict alike for different outputs are one.
    Arguments as of `surrogate_start`.
    """
    found, first = [], None
    for j in range(data.y.shape[1]):
        one = replace(
            data, y=data.y[:, [j]], y_scale=data.y_scale[[j]], base_variance=data.base_variance[[j]]
        )
        linear, make_parts = surrogate(one, likelihood)
        result = fit_from_starts(linear, make_parts, n_experts, kinds, brief, rng, fit_joint)
        resp = resume(linear, result)[1]
        slopes = result.experts.coef[:-1, :, 0]
        first = slopes if first is None else first
        order = linear_sum_assignment(-np.abs(_cosines(first, slopes)))[1]
        found.append(resp[:, order])
    return np.stack(found, axis=2)


def _cosines(one, other):
    """Cosines (K, K) between columns."""
    norms = [np.maximum(np.linalg.norm(columns, axis=0), 1e-300) for columns in (one, other)]
    return (one / norms[0]).T @ (other / norms[1])
