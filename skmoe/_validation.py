"""Checks at the door: parameters become parts, and errors name the cure."""

from dataclasses import dataclass, field

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.utils.validation import _check_sample_weight

from .experts.linear import LinearExpert
from .gates.softmax import SoftmaxGate
from .likelihoods import Gaussian

DEFAULT_N_EXPERTS = 4

GATES = {"softmax": SoftmaxGate}
LIKELIHOODS = {"gaussian": Gaussian}


@dataclass(frozen=True)
class ExpertPlan:
    """What ``experts`` and ``n_experts`` mean.

    Attributes
    ----------
    linear : LinearExpert or None
        Template of built-in experts; None for foreign ones.
    templates : list of estimators
        One per foreign expert.
    names : list of str
        One per expert.
    """

    linear: LinearExpert | None
    templates: list = field(default_factory=list)
    names: list = field(default_factory=list)

    @property
    def n_experts(self):
        """Number of experts."""
        return len(self.names)


def plan_experts(experts, n_experts, classify):
    """Turn the parameters ``experts`` and ``n_experts`` into a plan.

    Parameters
    ----------
    experts : None, estimator or list of (name, estimator)
    n_experts : int or None
    classify : bool

    Returns
    -------
    ExpertPlan
    """
    if isinstance(experts, (list, tuple)):
        return _plan_list(experts, n_experts, classify)
    n_experts = DEFAULT_N_EXPERTS if n_experts is None else int(n_experts)
    names = [f"expert_{k}" for k in range(n_experts)]
    if experts is None or isinstance(experts, LinearExpert):
        linear = LinearExpert() if experts is None else experts
        linear._validate_params()
        return ExpertPlan(linear, [], names)
    _check_expert(experts, "experts", classify)
    return ExpertPlan(None, [experts] * n_experts, names)


def _plan_list(experts, n_experts, classify):
    if not experts:
        raise ValueError("experts is an empty list; give at least one (name, estimator) pair.")
    for item in experts:
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)):
            raise ValueError(f"experts must be a list of (name, estimator) pairs, got {item!r}.")
    if n_experts is not None and n_experts != len(experts):
        raise ValueError(
            f"n_experts={n_experts} contradicts the list experts of length {len(experts)}; "
            f"leave n_experts out."
        )
    for name, template in experts:
        if isinstance(template, LinearExpert):
            raise ValueError(
                f"experts: {name!r} is a LinearExpert, which is a template for all experts; "
                f"in a list use Ridge or LogisticRegression."
            )
        _check_expert(template, f"experts: {name!r}", classify)
    return ExpertPlan(None, [template for _, template in experts], [name for name, _ in experts])


def _check_expert(template, where, classify):
    if isinstance(template, type):
        raise TypeError(f"{where} is the class {template.__name__}; give an instance of it.")
    missing = [m for m in ("fit", "predict", "get_params") if not hasattr(template, m)]
    if missing:
        raise TypeError(
            f"{where} is {template!r}, which has no {' and no '.join(missing)}; an expert is a "
            f"scikit-learn estimator."
        )
    if classify and is_regressor(template):
        raise ValueError(f"{where} is a regressor; MoEClassifier needs classifiers.")
    if not classify and is_classifier(template):
        raise ValueError(f"{where} is a classifier; MoERegressor needs regressors.")


def templates_of(experts):
    """Templates of foreign experts, whether or not the parameter is valid."""
    if experts is None or isinstance(experts, LinearExpert):
        return []
    if isinstance(experts, (list, tuple)):
        pairs = [item for item in experts if isinstance(item, tuple) and len(item) == 2]
        return [template for _, template in pairs]
    return [experts]


def resolve_part(value, known, name, methods):
    """A fresh part from a name or an object.

    Parameters
    ----------
    value : str or object
    known : dict of str to class
    name : str
        Parameter to name in errors.
    methods : tuple of str
        What an object must have.
    """
    if isinstance(value, str):
        if value not in known:
            raise ValueError(f"{name}={value!r} is unknown; valid names are {sorted(known)}.")
        return known[value]()
    missing = [m for m in methods if not callable(getattr(value, m, None))]
    if isinstance(value, type) or missing:
        raise TypeError(
            f"{name}={value!r} must be one of {sorted(known)} or an object with the methods "
            f"{', '.join(methods)}."
        )
    if hasattr(value, "_parameter_constraints"):
        value._validate_params()
    return clone(value, safe=False)


def check_weight(sample_weight, X):
    """Weights (n,) of float64: non-negative, not all zero."""
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weight.sum() > 0:
        raise ValueError("sample_weight: all weights are zero; at least one must be positive.")
    return weight


def given_start(init, n_rows, kept, n_experts):
    """Responsibilities (n_kept, K) from labels (n,) or responsibilities (n, K).

    Parameters
    ----------
    init : array-like
    n_rows : int
        Rows given to fit.
    kept : ndarray of bool of shape (n_rows,)
        Rows with a positive weight.
    n_experts : int
    """
    init = np.asarray(init)
    if init.ndim not in (1, 2) or len(init) != n_rows:
        raise ValueError(
            f"init has shape {init.shape}; it must be ({n_rows},) for labels or "
            f"({n_rows}, {n_experts}) for responsibilities, with as many rows as X."
        )
    init = init[kept]
    if init.ndim == 1:
        if init.dtype.kind not in "iub" or init.min() < 0 or init.max() >= n_experts:
            raise ValueError(f"init: labels must be integers from 0 to {n_experts - 1}.")
        resp = np.full((len(init), n_experts), 1e-3 / n_experts)
        resp[np.arange(len(init)), init.astype(np.intp)] += 1.0 - 1e-3
        return resp
    if init.shape[1] != n_experts:
        raise ValueError(f"init has {init.shape[1]} columns; n_experts is {n_experts}.")
    resp = init.astype(np.float64)
    if not np.isfinite(resp).all() or resp.min() < 0 or not (resp.sum(axis=1) > 0).all():
        raise ValueError("init: responsibilities must be finite, non-negative, no row all zero.")
    return resp / resp.sum(axis=1, keepdims=True)
