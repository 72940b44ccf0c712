"""Responsibilities to start from."""

import numpy as np
from sklearn.cluster import KMeans

from ._design import FAR

# Rows that centres are searched on; all rows are then assigned to them.
_MAX_ROWS = 20_000
# Columns above which clusters in X say little.
_MAX_COLUMNS = 500
# Share of the responsibility that labels leave to the other experts.
_DOUBT = 0.1


def from_labels(labels, n_experts, doubt=_DOUBT):
    """Responsibilities (n, K) from labels (n,) in 0..K-1."""
    resp = np.full((len(labels), n_experts), doubt / n_experts)
    resp[np.arange(len(labels)), labels] += 1.0 - doubt
    return resp


def random_start(design, weight, n_experts, rng):
    """Softmax of random logits that are linear in the features.

    Parameters
    ----------
    design : Design of shape (n, D)
    weight : ndarray of shape (n,)
    n_experts : int
    rng : numpy.random.RandomState

    Returns
    -------
    ndarray of shape (n, n_experts)
    """
    coef = rng.normal(size=(design.shape[1], n_experts))
    logits = design.dot(coef)
    contrast = np.square(logits - logits.mean(axis=1, keepdims=True)).mean(axis=1)
    spread = np.sqrt(weight @ contrast / weight.sum())
    logits *= 3.0 / max(spread, 1e-300)  # clear regions, still soft
    logits -= weight @ logits / weight.sum()
    logits -= logits.max(axis=1, keepdims=True)
    resp = np.exp(logits)
    return resp / resp.sum(axis=1, keepdims=True)


def kmeans_start(design, weight, n_experts, rng):
    """Clusters of the standardised features, by k-means from principal splits.

    The start of k-means has no chance in it: the cluster with the largest sum of
    squares is cut at its mean along its first principal axis, until there are K.
    So weights act as repeated rows do. Sparse or very wide features, and fewer
    distinct rows than experts, get a random start.

    Parameters
    ----------
    design : Design of shape (n, D)
    weight : ndarray of shape (n,)
    n_experts : int
    rng : numpy.random.RandomState

    Returns
    -------
    ndarray of shape (n, n_experts)

    References
    ----------
    Su, T. and Dy, J. G. (2007). In search of deterministic methods for initializing
    K-means and Gaussian mixture clustering. Intelligent Data Analysis 11, 319-338.
    """
    if design.is_sparse or design.shape[1] > _MAX_COLUMNS:
        return random_start(design, weight, n_experts, rng)
    rows = thinned(design.shape[0], _MAX_ROWS)
    Z, some = _clipped(design, rows), weight[rows]
    centers = principal_splits(Z, some, n_experts)
    if len(centers) < n_experts:
        return random_start(design, weight, n_experts, rng)
    # The seed only matters for a cluster that runs empty.
    kmeans = KMeans(n_experts, init=centers, n_init=1, max_iter=50, random_state=0)
    kmeans.fit(Z, sample_weight=some)
    labels = [kmeans.predict(_clipped(design, part)) for part in design.slices()]
    return from_labels(np.concatenate(labels), n_experts)


def _clipped(design, rows):
    """Standardised features of some rows; those far beyond the rest make no cluster."""
    Z = design.block(rows)[:, :-1]
    return np.clip(Z, -FAR, FAR) if design.is_scaled else Z


def thinned(n_rows, most):
    """Indices of at most about ``most`` rows, evenly spaced."""
    return np.arange(0, n_rows, max(1, -(-n_rows // most)))


def principal_splits(Z, weight, n_clusters):
    """Centres (k, d) of clusters cut at the mean along the first principal axis.

    Returns fewer than ``n_clusters`` where no cluster can be cut any more.
    """
    clusters = [_cluster(Z, weight, np.arange(len(Z)))]
    while len(clusters) < n_clusters:
        widest = max(range(len(clusters)), key=lambda c: clusters[c][0])
        spread, mean, rows = clusters[widest]
        if not spread > 1e-12 * max(1.0, float(weight.sum())):
            break
        centred = Z[rows] - mean
        axis = np.linalg.eigh((centred * weight[rows, None]).T @ centred)[1][:, -1]
        # The first of nearly equal entries: rounding must not decide the sign.
        axis *= np.sign(axis[np.argmax(np.abs(axis) > 0.999 * np.abs(axis).max())])
        right = centred @ axis > 0
        clusters[widest : widest + 1] = [
            _cluster(Z, weight, rows[~right]),
            _cluster(Z, weight, rows[right]),
        ]
    return np.array([mean for _, mean, _ in clusters])


def _cluster(Z, weight, rows):
    mean = weight[rows] @ Z[rows] / weight[rows].sum()
    spread = weight[rows] @ np.square(Z[rows] - mean).sum(axis=1)
    return spread, mean, rows


def given_start(init, n_rows, kept, n_experts, doubt=1e-3):
    """Responsibilities (n_kept, K) from labels (n,) or responsibilities (n, K).

    Parameters
    ----------
    init : array-like
    n_rows : int
        Rows given to fit.
    kept : ndarray of bool of shape (n_rows,)
        Rows with a positive weight.
    n_experts : int
    doubt : float, default=1e-3
        Share of a row that labels leave to all experts alike.
    """
    try:
        init = np.asarray(init)
    except ValueError as error:
        raise ValueError(f"init is not an array: {error}") from error
    if init.ndim not in (1, 2) or len(init) != n_rows:
        raise ValueError(
            f"init has shape {init.shape}; it must be ({n_rows},) for labels or "
            f"({n_rows}, {n_experts}) for responsibilities, with as many rows as X."
        )
    init = init[kept]
    if init.ndim == 1:
        if init.dtype.kind not in "iub" or init.min() < 0 or init.max() >= n_experts:
            raise ValueError(
                f"init: labels must be integers from 0 to {n_experts - 1}, the number of "
                f"experts less one; got {np.unique(init).tolist()[:10]}."
            )
        resp = np.full((len(init), n_experts), doubt / n_experts)
        resp[np.arange(len(init)), init.astype(np.intp)] += 1.0 - doubt
        return resp
    if init.shape[1] != n_experts:
        raise ValueError(
            f"init has {init.shape[1]} columns and there are {n_experts} experts; give one "
            f"column of responsibilities per expert."
        )
    if init.dtype.kind not in "iubf":
        raise ValueError(f"init: responsibilities must be numbers, not {init.dtype}.")
    resp = init.astype(np.float64)
    if not np.isfinite(resp).all() or resp.min() < 0 or not (resp.sum(axis=1) > 0).all():
        raise ValueError("init: responsibilities must be finite, non-negative, no row all zero.")
    return resp / resp.sum(axis=1, keepdims=True)
