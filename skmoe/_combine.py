"""How the outputs of a row's experts become one prediction.

Rules work on what `likelihood.combine` says of one expert alone, its mean or its class
probabilities, so that they hold for any law; only the logarithmic pool asks the
likelihood, since it multiplies densities.
"""

import numpy as np

RULES = ("mean", "top1", "median", "log_pool", "vote")

# Weights are sums of exponentials: so far from one half is still one half.
_TIE = 1e-12


def check_combine(how, likelihood, classify):
    """Raise unless the experts of this likelihood can be combined so."""
    if how not in RULES:
        raise ValueError(f"combine={how!r} is unknown; use one of {', '.join(map(repr, RULES))}.")
    if how == "vote" and not classify:
        raise ValueError(
            "combine='vote' counts class labels, and a regressor has none; use "
            "combine='median', which resists a minority of experts as a vote does."
        )
    if how == "log_pool" and not hasattr(likelihood, "log_pool"):
        raise ValueError(
            f"combine='log_pool' multiplies densities, and {type(likelihood).__name__} has no "
            f"method 'log_pool'; add it, or use combine='mean' or 'median'."
        )


def combined(how, likelihood, log_weights, pred, experts=None, classify=False):
    """Combine the outputs of experts into one prediction per row.

    Parameters
    ----------
    how : {"mean", "median", "log_pool", "vote"}
        "top1" is "mean" of one expert: the caller routes to it, and the others do not run.
    likelihood : likelihood
    log_weights : ndarray of shape (n, k)
    pred : ndarray of shape (n, k, P)
    experts : ndarray of shape (n, k) of int, default=None
        Which expert each column is from; in order by default.
    classify : bool, default=False
        Whether the results are class probabilities.

    Returns
    -------
    ndarray of shape (n, m) or (n, C)
    """
    if how in ("mean", "top1"):
        return likelihood.combine(log_weights, pred, experts)
    if how == "log_pool":
        return likelihood.log_pool(log_weights, pred, experts)
    outputs, weights = one_by_one(likelihood, pred, experts), np.exp(log_weights)
    if how == "vote":
        return vote_shares(weights, outputs)
    middle = weighted_median(weights, outputs)
    if not classify:
        return middle
    # Where experts are sure of different classes, the median of every class may be 0.
    total = middle.sum(axis=1, keepdims=True)
    mean = likelihood.combine(log_weights, pred, experts)
    return np.where(total > 0.0, middle / np.where(total > 0.0, total, 1.0), mean)


def combined_variance(how, likelihood, log_weights, pred, experts=None):
    """Variance (n, m) of what is predicted: of the pool, or else of the mixture."""
    if how == "log_pool":
        return likelihood.pooled_variance(log_weights, experts)
    return likelihood.total_variance(log_weights, pred, experts)


def one_by_one(likelihood, pred, experts=None):
    """Mean or class probabilities of each expert alone: (n, k, P) -> (n, k, m)."""
    if hasattr(likelihood, "means"):
        return likelihood.means(pred, experts)
    alone = np.zeros((len(pred), 1))
    columns = (pred[:, slot : slot + 1] for slot in range(pred.shape[1]))
    return np.stack([likelihood.combine(alone, column) for column in columns], axis=1)


def weighted_median(weights, values):
    """Weighted median over experts: (n, k), (n, k, m) -> (n, m).

    The value at which the sorted weights pass one half; the middle of two values where they
    meet it exactly.
    """
    order = np.argsort(values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    weights = np.broadcast_to(weights[:, :, None], values.shape)
    below = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    half = 0.5 * below[:, -1:]
    lower = np.argmax(below >= half * (1.0 - _TIE), axis=1)[:, None]
    upper = np.argmax(below > half * (1.0 + _TIE), axis=1)[:, None]
    ends = [np.take_along_axis(values, place, axis=1)[:, 0] for place in (lower, upper)]
    return 0.5 * (ends[0] + ends[1])


def vote_shares(weights, proba):
    """Weight of the experts that find a class most probable: (n, k), (n, k, C) -> (n, C)."""
    votes = np.eye(proba.shape[2])[proba.argmax(axis=2)]
    return np.einsum("nk,nkc->nc", weights, votes)
