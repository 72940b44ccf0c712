"""Samples from a mixture of experts whose parameters are known."""

from numbers import Integral, Real

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.utils import check_random_state, check_scalar

from ._truth import ClassificationTruth, RegressionTruth

N_REFERENCE = 4000  # rows on which intercepts are balanced


def make_moe_regression(
    n_samples=1000,
    n_features=5,
    *,
    n_experts=3,
    noise=0.1,
    gate_sharpness=4.0,
    separation=1.0,
    n_informative=None,
    shuffle=True,
    random_state=None,
    return_truth=False,
):
    """Draw a sample from a mixture of Gaussian linear experts.

    A softmax gate divides the space of the features into regions of about equal
    probability, one for each expert, and every expert is a linear regression.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_features : int, default=5
        Number of columns.
    n_experts : int, default=3
        Number of experts, K.
    noise : float or array-like of shape (n_experts,), default=0.1
        Standard deviation of the noise, in units of y, of all experts or of each.
    gate_sharpness : float, default=4.0
        Scale of the gate's coefficients. 0 makes the gate ignore X; a large
        value makes the regions' borders hard.
    separation : float, default=1.0
        How far the experts' coefficients and intercepts differ. 0 makes all
        experts equal.
    n_informative : int, default=None
        Number of columns that gate and experts use; the others have coefficients
        of zero. None means all.
    shuffle : bool, default=True
        Put the informative columns at random places. If False, they come first.
    random_state : int, RandomState instance or None, default=None
        Seed. The parameters of the mixture do not depend on `n_samples`.
    return_truth : bool, default=False
        Return the mixture, too.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Features, standard normal and independent.
    y : ndarray of shape (n_samples,)
        Target.
    truth : Bunch
        Only if `return_truth`. Parameters ``gate_coef`` (n_experts, n_features),
        ``gate_intercept`` (n_experts,), ``expert_coef`` (n_experts, n_features),
        ``expert_intercept`` and ``scale`` (n_experts,); ``experts`` (n_samples,),
        the expert that was drawn for each row; and functions
        ``gate_proba(X)`` and ``predict_experts(X)`` (n_samples, n_experts),
        ``predict(X)``, the mean of the mixture, and ``log_likelihood(X, y)``
        (n_samples,).

    Raises
    ------
    TypeError, ValueError
        If a parameter has the wrong type or is out of its range.

    See Also
    --------
    make_moe_classification : The same with classes.

    Notes
    -----
    For a row x the label k of an expert and the target are drawn from ::

        P(k | x) = exp(v_k . x + c_k) / sum_j exp(v_j . x + c_j)
        y | x, k ~ Normal(b_k . x + a_k, s_k ** 2)

    where v and c are ``gate_coef`` and ``gate_intercept``, b and a are
    ``expert_coef`` and ``expert_intercept``, and s is ``scale``. The directions
    of v and of the experts' parts of b are spread over the sphere, and c makes
    the mean of P(k | x) equal 1 / K. v and c have mean zero over the experts.

    Examples
    --------
    >>> from skmoe.datasets import make_moe_regression
    >>> X, y, truth = make_moe_regression(
    ...     500, 2, n_experts=2, random_state=0, return_truth=True
    ... )
    >>> X.shape, truth.gate_proba(X).shape
    ((500, 2), (500, 2))
    >>> residual = y - truth.predict_experts(X)[range(500), truth.experts]
    >>> bool(abs(residual.std() - 0.1) < 0.01)
    True
    """
    n_informative = _check_sizes(n_samples, n_features, n_experts, n_informative)
    check_scalar(gate_sharpness, "gate_sharpness", Real, min_val=0)
    check_scalar(separation, "separation", Real, min_val=0)
    scale = _check_noise(noise, n_experts)
    rng = check_random_state(random_state)

    reference = rng.standard_normal((N_REFERENCE, n_informative))
    gate_coef, gate_intercept = _draw_gate(n_experts, gate_sharpness, reference, rng)
    common = _spread_directions(1, n_informative, rng)
    own = _spread_directions(n_experts, n_informative, rng)
    levels = rng.permutation(np.linspace(-1, 1, n_experts)) if n_experts > 1 else np.zeros(1)
    columns = _place_columns(n_features, n_informative, shuffle, rng)
    truth = RegressionTruth(
        gate_coef=_widen(gate_coef, columns, n_features),
        gate_intercept=gate_intercept,
        expert_coef=_widen(common + separation * own, columns, n_features),
        expert_intercept=separation * levels,
        scale=scale,
    )

    X = rng.standard_normal((n_samples, n_features))
    truth.experts = _draw_labels(truth.gate_proba(X), rng)
    mean = truth.predict_experts(X)[np.arange(n_samples), truth.experts]
    y = mean + scale[truth.experts] * rng.standard_normal(n_samples)
    return (X, y, truth) if return_truth else (X, y)


def make_moe_classification(
    n_samples=1000,
    n_features=5,
    *,
    n_experts=3,
    n_classes=2,
    class_sharpness=4.0,
    gate_sharpness=4.0,
    separation=1.0,
    n_informative=None,
    shuffle=True,
    random_state=None,
    return_truth=False,
):
    """Draw a sample from a mixture of multinomial logistic experts.

    A softmax gate divides the space of the features into regions of about equal
    probability, one for each expert, and every expert is a logistic regression.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_features : int, default=5
        Number of columns.
    n_experts : int, default=3
        Number of experts, K.
    n_classes : int, default=2
        Number of classes, C.
    class_sharpness : float, default=4.0
        Scale of the experts' coefficients. 0 makes all classes equally probable;
        a large value leaves little noise in y.
    gate_sharpness : float, default=4.0
        Scale of the gate's coefficients. 0 makes the gate ignore X; a large
        value makes the regions' borders hard.
    separation : float, default=1.0
        From 0, all experts have the same coefficients, to 1, each has its own.
    n_informative : int, default=None
        Number of columns that gate and experts use; the others have coefficients
        of zero. None means all.
    shuffle : bool, default=True
        Put the informative columns at random places. If False, they come first.
    random_state : int, RandomState instance or None, default=None
        Seed. The parameters of the mixture do not depend on `n_samples`.
    return_truth : bool, default=False
        Return the mixture, too.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Features, standard normal and independent.
    y : ndarray of shape (n_samples,)
        Classes, integers from 0 to ``n_classes - 1``.
    truth : Bunch
        Only if `return_truth`. Parameters ``gate_coef`` (n_experts, n_features),
        ``gate_intercept`` (n_experts,), ``expert_coef`` (n_experts, n_classes,
        n_features) and ``expert_intercept`` (n_experts, n_classes); ``experts``
        (n_samples,), the expert that was drawn for each row; and functions
        ``gate_proba(X)`` (n_samples, n_experts), ``predict_proba(X)`` and
        ``predict_log_proba(X)`` (n_samples, n_classes), ``predict(X)``, the most
        probable class, and ``log_likelihood(X, y)`` (n_samples,).

    Raises
    ------
    TypeError, ValueError
        If a parameter has the wrong type or is out of its range.

    See Also
    --------
    make_moe_regression : The same with a real target.

    Notes
    -----
    For a row x the label k of an expert and the class are drawn from ::

        P(k | x) = exp(v_k . x + c_k) / sum_j exp(v_j . x + c_j)
        P(y | x, k) = exp(b_ky . x + a_ky) / sum_l exp(b_kl . x + a_kl)

    where v and c are ``gate_coef`` and ``gate_intercept``, b and a are
    ``expert_coef`` and ``expert_intercept``. c makes the mean of P(k | x) equal
    1 / K, and a makes the classes equally frequent in the region of each expert,
    so that the a_k differ even where `separation` is 0.

    Examples
    --------
    >>> from skmoe.datasets import make_moe_classification
    >>> X, y, truth = make_moe_classification(
    ...     500, 2, n_experts=2, n_classes=3, random_state=0, return_truth=True
    ... )
    >>> truth.predict_proba(X).shape
    (500, 3)
    >>> bool((truth.predict(X) == y).mean() > 0.7)
    True
    """
    n_informative = _check_sizes(n_samples, n_features, n_experts, n_informative)
    check_scalar(n_classes, "n_classes", Integral, min_val=2)
    check_scalar(class_sharpness, "class_sharpness", Real, min_val=0)
    check_scalar(gate_sharpness, "gate_sharpness", Real, min_val=0)
    check_scalar(separation, "separation", Real, min_val=0, max_val=1)
    rng = check_random_state(random_state)

    reference = rng.standard_normal((N_REFERENCE, n_informative))
    gate_coef, gate_intercept = _draw_gate(n_experts, gate_sharpness, reference, rng)
    common = _spread_directions(n_classes, n_informative, rng)
    own = _class_directions(n_experts, n_classes, n_informative, rng)
    coef = class_sharpness * ((1 - separation) * common + separation * own)
    gate = softmax(reference @ gate_coef.T + gate_intercept, axis=1)
    intercept = [_balance(reference @ coef[k].T, gate[:, k]) for k in range(n_experts)]
    columns = _place_columns(n_features, n_informative, shuffle, rng)
    truth = ClassificationTruth(
        gate_coef=_widen(gate_coef, columns, n_features),
        gate_intercept=gate_intercept,
        expert_coef=_widen(coef, columns, n_features),
        expert_intercept=np.array(intercept),
    )

    X = rng.standard_normal((n_samples, n_features))
    truth.experts = _draw_labels(truth.gate_proba(X), rng)
    log_proba = truth.log_proba_experts(X)[np.arange(n_samples), truth.experts]
    y = _draw_labels(np.exp(log_proba), rng)
    return (X, y, truth) if return_truth else (X, y)


def _check_sizes(n_samples, n_features, n_experts, n_informative):
    """Check the sizes and return the number of informative columns."""
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    check_scalar(n_features, "n_features", Integral, min_val=1)
    check_scalar(n_experts, "n_experts", Integral, min_val=1)
    if n_informative is None:
        return n_features
    return check_scalar(n_informative, "n_informative", Integral, min_val=1, max_val=n_features)


def _check_noise(noise, n_experts):
    """Return the standard deviation of each expert's noise, shape (n_experts,)."""
    scale = np.asarray(noise, dtype=np.float64)
    if scale.ndim and scale.shape != (n_experts,):
        raise ValueError(
            f"noise has shape {scale.shape}: pass one number or one for each of the "
            f"{n_experts} experts."
        )
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        raise ValueError(f"noise must be positive and finite, got {noise!r}.")
    return np.broadcast_to(scale, (n_experts,)).copy()


def _draw_gate(n_experts, sharpness, reference, rng):
    """Return coefficients (K, d) and intercepts (K,) that share the rows evenly."""
    directions = _spread_directions(n_experts, reference.shape[1], rng)
    if reference.shape[1] == 1:
        # Regions on a line get narrower with their number: steepen the gate.
        directions *= n_experts * (n_experts - 1) / 4
    coef = sharpness * (directions - directions.mean(axis=0))
    intercept = _balance(reference @ coef.T, np.ones(len(reference)))
    return coef, intercept


def _spread_directions(n_vectors, dim, rng):
    """Return vectors (n_vectors, dim) of length one, far from each other.

    On a line there are only two such vectors; there they are equally spaced
    numbers from -1 to 1.
    """
    if n_vectors <= dim:
        basis, _ = np.linalg.qr(rng.standard_normal((dim, n_vectors)))
        return basis.T
    if dim == 1:
        return rng.permutation(np.linspace(-1, 1, n_vectors))[:, None]
    candidates = rng.standard_normal((64 * n_vectors, dim))
    candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
    chosen = [0]
    nearest = np.full(len(candidates), np.inf)
    while len(chosen) < n_vectors:
        distance = np.linalg.norm(candidates - candidates[chosen[-1]], axis=1)
        nearest = np.minimum(nearest, distance)
        chosen.append(int(np.argmax(nearest)))
    return candidates[chosen]


def _class_directions(n_experts, n_classes, dim, rng):
    """Return directions (K, C, dim) such that the experts' class odds differ."""
    if dim == 1:
        # Signs alternate, since a slope near zero would leave a class to chance.
        k = np.arange(n_experts)
        slopes = (-1.0) ** k * (1 - (k // 2) / n_experts)
        return slopes[:, None, None] * _spread_directions(n_classes, 1, rng)
    return _spread_directions(n_experts * n_classes, dim, rng).reshape(n_experts, n_classes, dim)


def _balance(scores, weight):
    """Return intercepts (K,) that give every column of softmax(scores) equal mean.

    The mean of logsumexp(scores + c) - mean(c) is convex in c, and its gradient
    is the difference between the mean shares and 1 / K.
    """
    n_columns = scores.shape[1]
    weight = weight / weight.sum()
    unit = max(1.0, float(np.abs(scores).max()))  # intercepts grow with the scores

    def objective(c):
        shifted = scores + unit * c
        share = weight @ softmax(shifted, axis=1)
        value = weight @ logsumexp(shifted, axis=1) - unit * c.mean()
        return value, unit * (share - 1 / n_columns)

    c = minimize(objective, np.zeros(n_columns), jac=True, method="L-BFGS-B").x
    return unit * (c - c.mean())


def _place_columns(n_features, n_informative, shuffle, rng):
    """Return the indices of the informative columns."""
    order = rng.permutation(n_features) if shuffle else np.arange(n_features)
    return order[:n_informative]


def _widen(coef, columns, n_features):
    """Return coefficients for all features, zero outside `columns` (last axis)."""
    wide = np.zeros((*coef.shape[:-1], n_features))
    wide[..., columns] = coef
    return wide


def _draw_labels(proba, rng):
    """Return one label for each row of probabilities (n_samples, K)."""
    cumulative = np.cumsum(proba, axis=1)
    draw = rng.uniform(size=(len(proba), 1)) * cumulative[:, -1:]
    return np.sum(draw > cumulative[:, :-1], axis=1)
