"""A fitted mixture as plain arrays: what every form of export starts from."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model._base import LinearModel
from sklearn.utils.validation import check_is_fitted

from .. import likelihoods as laws
from ..experts.factor import FactorClassifier, FactorRegressor
from ..gates import ClassifierGate, GaussianGate, HierarchicalGate, MLPGate, SoftmaxGate
from ..gates._densities import half_log_det

_IDENTITY = (
    laws.Gaussian,
    laws.StudentT,
    laws.Laplace,
    laws.HeteroscedasticGaussian,
    laws.CensoredGaussian,
)
_EXP = (laws.Poisson, laws.NegativeBinomial, laws.Gamma, laws.InverseGaussian, laws.Tweedie)
_RULES = ("mean", "top1")


def check_exportable(model):
    """Raise for what no form of export can express; the message names it.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
    """
    check_is_fitted(model)
    if model.combine not in _RULES:
        raise TypeError(
            f"combine={model.combine!r} cannot be exported; set combine='mean' or 'top1'."
        )
    if getattr(model, "gate_per_output", False):
        raise TypeError("gate_per_output=True cannot be exported; one gate for all outputs can.")


def describe_head(model):
    """What is said of the mixture beside its gate and experts.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier

    Returns
    -------
    dict
    """
    _, top_k = model._rule
    classify = is_classifier(model)
    bias = model.routing_bias_
    head = {
        "task": "classification" if classify else "regression",
        "n_features": int(model.n_features_in_),
        "feature_names": [str(name) for name in getattr(model, "feature_names_in_", [])] or None,
        "expert_names": list(model.expert_names_),
        "top_k": top_k,
        "routing_bias": None if bias is None or top_k is None else np.asarray(bias),
    }
    if classify:
        head["classes"] = model.classes_.tolist()
    else:
        head["link"] = "identity" if model._fitted_foreign else _link(model.likelihood_)
        head["single_output"] = np.ndim(model.predict(_any_row(model))) == 1
        scale = getattr(model.likelihood_, "scale_", None)
        if type(model.likelihood_) is laws.Gaussian:
            head["scale"] = np.asarray(scale, dtype=np.float64).reshape(model.n_experts_, -1)
    return head


def _any_row(model):
    if model._as_frame:
        raise TypeError(
            "a mixture whose experts see the columns of a DataFrame as they are cannot be "
            "exported; put a ColumnTransformer before it that makes numbers."
        )
    return np.zeros((1, model.n_features_in_))


def _link(likelihood):
    if type(likelihood) in _IDENTITY:
        return "identity"
    if type(likelihood) in _EXP:
        return "exp"
    raise TypeError(
        f"likelihood {type(likelihood).__name__} cannot be exported; its mean is no simple "
        f"function of one predictor."
    )


# -- gates -------------------------------------------------------------------------------


def describe_gate(gate, columns):
    """A gate of numbers as arrays.

    Parameters
    ----------
    gate : fitted gate
    columns : ndarray of int or None
        Those of the features that it sees.

    Returns
    -------
    dict or None
        None for a gate that is not made of arrays.
    """
    kinds = {
        SoftmaxGate: _softmax,
        HierarchicalGate: _tree,
        GaussianGate: _gaussian,
        MLPGate: _network,
    }
    if type(gate) not in kinds:
        return None
    about = {"columns": columns, "center": gate.mean_, "scale": gate.scale_}
    return {**about, **kinds[type(gate)](gate)}


def _standardised(gate):
    """Weights (d, b) and biases (b,) for features shifted and scaled."""
    return (gate.coef_ * gate.scale_).T, gate.intercept_ + gate.coef_ @ gate.mean_


def _softmax(gate):
    return {"kind": "network", "activation": "identity", "layers": [_standardised(gate)]}


def _network(gate):
    layers = list(zip(gate.coefs_, gate.intercepts_, strict=True))
    return {"kind": "network", "activation": gate.activation, "layers": layers}


def _tree(gate):
    nodes = [
        {
            "columns": [node.columns.start, node.columns.stop],
            "branches": [list(branch) for branch in node.branches],
        }
        for node in gate.nodes_
    ]
    return {"kind": "tree", "layers": [_standardised(gate)], "nodes": nodes}


def _gaussian(gate):
    """The logarithm of each joint density as c - |z A + b|^2 / 2."""
    factor, mean = gate._factor, gate._mean
    if factor.ndim == 2:
        inverse = np.einsum("kq,qr->kqr", 1.0 / factor, np.eye(factor.shape[1]))
    else:
        inverse = np.broadcast_to(np.linalg.inv(factor), (len(mean), *factor.shape[1:]))
    return {
        "kind": "gaussian",
        "weights": gate._basis @ np.swapaxes(inverse, 1, 2),
        "biases": -np.einsum("kij,kj->ki", inverse, mean),
        "constants": gate._log_pi - half_log_det(factor),
    }


def is_classifier_gate(gate):
    """Whether a gate is a scikit-learn classifier underneath."""
    return isinstance(gate, ClassifierGate)


# -- experts -------------------------------------------------------------------------------


def describe_experts(model):
    """Experts of a mixture, in order.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier

    Returns
    -------
    list of (dict or None)
        None for an expert that is not made of layers.
    """
    classes = getattr(model, "classes_", None)
    columns, experts = model._expert_columns, model._parts.experts
    if hasattr(experts, "raw"):
        # Without the predictors of other things than the mean.
        slopes, intercepts = experts.raw()
        n_means = intercepts.shape[1] // getattr(model.likelihood_, "n_predictors", 1)
        found = [
            {"activation": "identity", "layers": [(slope[:n_means].T, intercept[:n_means])]}
            for slope, intercept in zip(slopes, intercepts, strict=True)
        ]
        if classes is not None:
            found = [{**one, "labels": np.arange(len(classes))} for one in found]
    else:
        found = [describe_expert(estimator, classes) for estimator in model.experts_]
    smoothing = getattr(experts, "smoothing", 0.0) if classes is not None else 0.0
    about = {"columns": columns, "smoothing": float(smoothing)}
    return [None if one is None else {**about, **one} for one in found]


def describe_expert(estimator, classes=None):
    """A fitted scikit-learn estimator as layers.

    Parameters
    ----------
    estimator : fitted estimator
    classes : ndarray of shape (C,), default=None
        All labels, where it is a classifier.

    Returns
    -------
    dict or None
        None for one that is not made of layers. Its last layer gives means, or the logits
        of ``classes``.
    """
    if classes is None:
        return _regressor(estimator)
    known = _classifier(estimator)
    if known is None:
        return None
    columns = np.searchsorted(classes, estimator.classes_)
    return {**known, "labels": columns}


def _regressor(estimator):
    if isinstance(estimator, (FactorRegressor, FactorClassifier)):
        return None
    if isinstance(estimator, LinearModel):
        coef = np.atleast_2d(estimator.coef_)
        layer = coef.T, np.broadcast_to(estimator.intercept_, len(coef))
        return {"activation": "identity", "layers": [layer]}
    return _perceptron(estimator, "MLPRegressor")


def _classifier(estimator):
    if isinstance(estimator, DummyClassifier) and estimator.strategy == "prior":
        with np.errstate(divide="ignore"):
            logits = np.log(np.atleast_1d(estimator.class_prior_))
        width = estimator.n_features_in_
        layer = np.zeros((width, len(logits))), np.maximum(logits, -1e3)
        return {"activation": "identity", "layers": [layer]}
    if isinstance(estimator, LogisticRegression):
        liblinear = estimator.solver == "liblinear" and len(estimator.classes_) > 2
        if liblinear or getattr(estimator, "multi_class", None) == "ovr":
            return None
        layer = estimator.coef_.T, estimator.intercept_
        return {"activation": "identity", "layers": [_two_scores(layer)]}
    return _perceptron(estimator, "MLPClassifier")


def _perceptron(estimator, name):
    if type(estimator).__name__ != name or not hasattr(estimator, "coefs_"):
        return None
    layers = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    if name == "MLPClassifier":
        layers[-1] = _two_scores(layers[-1])
    elif estimator.out_activation_ != "identity":
        return None
    return {"activation": estimator.activation, "layers": layers}


def _two_scores(layer):
    """A layer with a score for each class, where there was one for the second only."""
    weight, bias = layer
    if weight.shape[1] > 1:
        return weight, bias
    return np.hstack([np.zeros_like(weight), weight]), np.append(0.0, bias)
