"""scikit-learn templates that gradient solvers train as built-in experts."""

import math
from numbers import Real

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from .linear import LinearExpert
from .mlp import MLPExpert

# Values of parameters that gradient training allows for, of linear ones.
_ALLOWED = {
    LinearRegression: {"fit_intercept": (True,), "positive": (False,)},
    Ridge: {"fit_intercept": (True,), "positive": (False,)},
    LogisticRegression: {
        "fit_intercept": (True,),
        "class_weight": (None,),
        "penalty": ("l2", None, "deprecated"),
        "l1_ratio": (0, None),
        "dual": (False,),
    },
}


def adopted(template):
    """The built-in template with the functions of a scikit-learn estimator.

    Its experts are published as estimators of the class that they come from. Only the
    very classes are known: one that inherits from them may predict otherwise.

    Parameters
    ----------
    template : estimator

    Returns
    -------
    LinearExpert, MLPExpert or None
        None for an estimator that is none of these.

    Raises
    ------
    ValueError
        For one of these with an option that gradient training does not have.
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor  # slow to import

    allowed = {**_ALLOWED, MLPRegressor: {"loss": ("squared_error",)}, MLPClassifier: {}}
    kind = type(template)
    if kind not in allowed:
        return None
    template._validate_params()
    params = template.get_params(deep=False)
    for name, values in allowed[kind].items():
        if name in params and params[name] not in values:
            raise ValueError(
                f"experts: gradient solvers cannot train {kind.__name__}({name}="
                f"{params[name]!r}); use solver='em', or leave {name} out."
            )
    own = _network(params) if "hidden_layer_sizes" in params else LinearExpert(_ridge(params))
    own.origin = template
    return own


def _ridge(params):
    """Strength of the ridge on standardised features, on the sum of the log-likelihood."""
    if "C" in params:
        free = params["penalty"] is None or math.isinf(params["C"])
        return 0.0 if free else 1.0 / params["C"]
    alpha = params.get("alpha", 0.0)
    if not isinstance(alpha, Real):
        raise ValueError(
            f"experts: gradient solvers train Ridge with one alpha for all outputs, not "
            f"{alpha!r}; use solver='em'."
        )
    return float(alpha)


def _network(params):
    sizes = tuple(np.atleast_1d(params["hidden_layer_sizes"]).tolist())
    settings = {name: params[name] for name in ("alpha", "activation", "random_state")}
    return MLPExpert(sizes, **settings)
