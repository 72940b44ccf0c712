"""Checks at the door: parameters become parts, and errors name the cure."""

import copy
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.utils import get_tags
from sklearn.utils.validation import _num_samples

from .experts.linear import LinearExpert
from .gates import GaussianGate, HierarchicalGate, MLPGate, SoftmaxGate
from .likelihoods import BY_NAME as LIKELIHOODS
from .routing import ExpertRouting, TokenRouting
from .selection import Grow
from .solvers import EM, Boosting, Gradient, Minibatch, Pool, Stages

DEFAULT_N_EXPERTS = 4

GATES = {
    "gaussian": GaussianGate,
    "hierarchical": HierarchicalGate,
    "mlp": MLPGate,
    "softmax": SoftmaxGate,
}
SOLVERS = {
    "boosting": Boosting,
    "em": EM,
    "gradient": Gradient,
    "minibatch": Minibatch,
    "pool": Pool,
    "stages": Stages,
}
ROUTINGS = {"token": TokenRouting, "expert": ExpertRouting}
_NAMED = {
    "gate": GATES,
    "likelihood": LIKELIHOODS,
    "routing": ROUTINGS,
    "solver": SOLVERS,
}


@dataclass(frozen=True)
class ExpertPlan:
    """What ``experts`` and ``n_experts`` mean.

    Attributes
    ----------
    linear : LinearExpert, MLPExpert, FactorExpert or None
        Template of built-in experts, linear or not; None for foreign ones.
    templates : list of estimators
        One per foreign expert.
    names : list of str
        One per expert.
    growth : Grow or None
        How to choose the number of experts; there is one as long as none is chosen.
    classes : ndarray or None
        Labels, where additive experts are about to be trained for classes.
    """

    linear: object | None
    templates: list = field(default_factory=list)
    names: list = field(default_factory=list)
    growth: Grow | None = None
    classes: np.ndarray | None = None

    @property
    def additive(self):
        """Whether experts are trained in function space."""
        return any(getattr(t, "is_additive", False) for t in self.templates[:1])

    @property
    def n_experts(self):
        """Number of experts."""
        return len(self.names)

    def seeded(self, rng):
        """The plan with a seed for built-in experts that begin at random and have none."""
        if getattr(self.linear, "random_state", 0) is not None:
            return self
        linear = copy.copy(self.linear)
        return replace(self, linear=linear.set_params(random_state=_draw_seed(rng)))

    def sized(self, n_experts):
        """The plan with another number of experts of its template."""
        names = [f"expert_{k}" for k in range(n_experts)]
        return replace(self, templates=self.templates[:1] * n_experts, names=names)


def _draw_seed(rng):
    return int(rng.randint(np.iinfo(np.int32).max))


def plan_experts(experts, n_experts, classify, gate=None):
    """Turn the parameters ``experts`` and ``n_experts`` into a plan.

    Parameters
    ----------
    experts : None, estimator or list of (name, estimator)
    n_experts : int, "auto", Grow or None
    classify : bool
    gate : gate, default=None
        Its ``count_experts()``, where it has that, decides the number of experts.

    Returns
    -------
    ExpertPlan
    """
    growth = Grow() if n_experts == "auto" else n_experts if isinstance(n_experts, Grow) else None
    if growth is not None:
        growth._validate_params()
        n_experts = None
        if isinstance(experts, list):
            raise ValueError(
                "n_experts='auto' chooses how often to clone a template, but experts is a list; "
                "leave n_experts out, or give one estimator as experts."
            )
    if isinstance(experts, tuple):
        raise TypeError("experts is a tuple; give a list of (name, estimator) pairs.")
    if hasattr(gate, "count_experts"):
        if growth is not None:
            raise ValueError(
                f"n_experts='auto' contradicts gate={gate!r}, which is made for "
                f"{gate.count_experts()} experts; leave n_experts out, or change the gate."
            )
        n_experts = _count_by_gate(gate, experts, n_experts)
    if isinstance(experts, list):
        return _plan_list(experts, n_experts, classify)
    n_experts = DEFAULT_N_EXPERTS if n_experts is None else int(n_experts)
    n_experts = n_experts if growth is None else 1
    names = [f"expert_{k}" for k in range(n_experts)]
    if experts is None or is_own(experts):
        linear = LinearExpert() if experts is None else experts
        linear.check()
        return ExpertPlan(linear, [], names, growth)
    if getattr(experts, "is_additive", False) and not isinstance(experts, type):
        experts.check()
        for name in ("learner", "base"):
            part = getattr(experts, name)
            if hasattr(part, "fit"):
                check_expert(part, f"{name} of AdditiveExpert", classify and name == "base")
    else:
        check_expert(experts, "experts", classify)
    return ExpertPlan(None, [experts] * n_experts, names, growth)


def _count_by_gate(gate, experts, n_experts):
    """The number of experts that the gate is made for; an error where another is given."""
    count = gate.count_experts()
    if n_experts not in (None, count):
        raise ValueError(
            f"n_experts={n_experts} contradicts gate={gate!r}, which is made for {count} "
            f"experts; leave n_experts out, or change the gate."
        )
    if isinstance(experts, list) and len(experts) not in (0, count):
        raise ValueError(
            f"experts is a list of length {len(experts)}, which contradicts gate={gate!r}, made "
            f"for {count} experts; change one of them."
        )
    return count


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
        if is_own(template) or getattr(template, "is_additive", False):
            raise ValueError(
                f"experts: {name!r} is a {type(template).__name__}, which is a template for all "
                f"experts; in a list use Ridge or LogisticRegression, or scikit-learn's MLPs."
            )
        check_expert(template, f"experts: {name!r}", classify)
    return ExpertPlan(None, [template for _, template in experts], [name for name, _ in experts])


def check_names(names, parameters):
    """Raise for names of experts that nested parameters could not tell apart.

    Parameters
    ----------
    names : list of str
    parameters : iterable of str
        Constructor parameters of the estimator.
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"experts: the name {name!r} is given twice; names must be unique.")
        if name in parameters:
            raise ValueError(f"experts: the name {name!r} is also a parameter; choose another.")
        if "__" in name or not name:
            raise ValueError(
                f"experts: the name {name!r} is empty or contains '__', which separates the "
                f"names of nested parameters; choose another."
            )


def is_own(template):
    """Whether an estimator is a template of built-in experts."""
    return callable(getattr(template, "collection", None)) and not isinstance(template, type)


def check_expert(template, where, classify):
    if isinstance(template, type):
        raise TypeError(f"{where} is the class {template.__name__}; give an instance of it.")
    missing = [m for m in ("fit", "predict", "get_params") if not hasattr(template, m)]
    if missing:
        raise TypeError(
            f"{where} is {template!r}, which has no {' and no '.join(missing)}; an expert is a "
            f"scikit-learn estimator."
        )
    kind = _kind(template)
    wanted = "classifier" if classify else "regressor"
    if kind not in (None, wanted):
        owner = "MoEClassifier" if classify else "MoERegressor"
        other = "MoERegressor" if classify else "MoEClassifier"
        cure = f" or use {other}" if kind in ("classifier", "regressor") else ""
        raise ValueError(
            f"{where} is {template!r}, a {kind}; {owner} needs {wanted}s: choose one{cure}."
        )


def _kind(template):
    """The declared type of an estimator; None where it declares none."""
    try:
        return get_tags(template).estimator_type
    except (AttributeError, TypeError, ValueError):  # no tags: not an estimator
        return None


def templates_of(experts):
    """Templates of foreign experts, whether or not the parameter is valid."""
    return [template for _, template in _described(experts)]


def _described(experts):
    """Pairs (description, template) of foreign experts."""
    if experts is None or is_own(experts):
        return []
    if not isinstance(experts, list):
        return [(f"the expert {type(experts).__name__}", experts)]
    pairs = [item for item in experts if isinstance(item, tuple) and len(item) == 2]
    return [(f"expert {name!r} ({type(part).__name__})", part) for name, part in pairs]


def who_refuses(experts, accepts):
    """Describe the first expert that does not accept something; None if all do.

    Parameters
    ----------
    experts : None, estimator or list of (name, estimator)
        The parameter of that name.
    accepts : callable
        ``accepts(template) -> bool``.

    Returns
    -------
    str or None
    """
    return next((what for what, part in _described(experts) if not accepts(part)), None)


def check_top_k(top_k, n_experts):
    """Raise unless there are as many experts as ``top_k`` asks for."""
    if top_k is not None and not 1 <= top_k <= n_experts:
        raise ValueError(
            f"top_k={top_k} is more than the number of experts, {n_experts}; lower it, or "
            f"leave it out to use all."
        )


def resolve_nested(estimator, params):
    """Parameters about to be set, with objects for names of parts that get parameters too.

    So that ``gate__alpha`` can be searched although ``gate`` is "softmax", or among names.

    Parameters
    ----------
    estimator : BaseMoE
    params : dict

    Returns
    -------
    dict
    """
    resolved = dict(params)
    for key in params:
        prefix, nested, _ = key.partition("__")
        if not nested or prefix not in estimator._get_param_names():
            continue
        value = resolved.get(prefix, getattr(estimator, prefix))
        part = _named_part(prefix, value)
        if not hasattr(part, "set_params"):
            raise ValueError(
                f"{key}: {prefix}={value!r} has no parameters of its own; set {prefix} to an "
                f"object that has."
            )
        if part is not value:
            resolved[prefix] = part
    return resolved


def _named_part(parameter, value):
    """The object that a value of a parameter stands for; the value itself if it is none."""
    if parameter == "experts" and value is None:
        return LinearExpert()
    if parameter == "n_experts" and value == "auto":
        return Grow()
    known = _NAMED.get(parameter, {})
    return known[value]() if isinstance(value, str) and value in known else value


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
    if sample_weight is None:
        return np.ones(_num_samples(X))
    try:
        weight = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sample_weight does not hold numbers: {error}") from error
    if weight.shape != (_num_samples(X),):
        raise ValueError(
            f"sample_weight.shape == {weight.shape}, expected {(_num_samples(X),)}; give one "
            f"weight per row."
        )
    if not np.isfinite(weight).all():
        found = "NaN" if np.isnan(weight).any() else "infinity"
        raise ValueError(f"Input sample_weight contains {found}; give finite weights.")
    if weight.min() < 0:
        raise ValueError(
            "Negative values in data passed to `sample_weight`; weights must be zero (the row "
            "is left out) or positive."
        )
    if not weight.max() > 0:
        raise ValueError("sample_weight: all weights are zero; at least one must be positive.")
    return weight


def refuse_sparse(y):
    """Raise for a sparse target."""
    if sp.issparse(y):
        raise TypeError("y is sparse; give a dense array, such as y.toarray().")
