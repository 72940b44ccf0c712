"""Coefficients in units of the user: their names, and where they come from.

The parts keep coefficients of standardised features, and logits and class scores of which
all may move together. What is reported are coefficients of the features as given, and
contrasts to a reference expert (gate) and to the first class (classification).
"""

import numpy as np
import pandas as pd
import scipy.linalg

from ..experts._coefficients import CoefficientExperts
from ..gates.softmax import SoftmaxGate
from ..likelihoods import Categorical, Gaussian, GaussianWithNoise, LinkedLikelihood, Mixed


def check_linear(model, what):
    """Raise unless a mixture has coefficients: a softmax gate and linear experts.

    Parameters
    ----------
    model : fitted mixture
    what : str
        What is asked for, to begin the message with.
    """
    parts = model._parts
    if not isinstance(parts.experts, CoefficientExperts):
        kinds = ", ".join(sorted({type(expert).__name__ for expert in model.experts_}))
        raise TypeError(
            f"{what} needs coefficients, and experts of {kinds} have none; use linear experts "
            f"(LinearExpert), or look at the model by explain, gate_importance, SHAP, or "
            f"bootstrap with a statistic."
        )
    if type(parts.gate) is not SoftmaxGate:
        raise TypeError(
            f"{what} needs a gate with coefficients, gate='softmax', not "
            f"{type(parts.gate).__name__}."
        )
    if isinstance(parts.likelihood, Mixed):
        raise TypeError(f"{what} needs one likelihood for all experts, not a list of them.")


def check_coefficients(model, what):
    """Raise unless a mixture has coefficients whose likelihood has two derivatives.

    Parameters
    ----------
    model : fitted mixture
    what : str
        What is asked for, to begin the message with.
    """
    check_linear(model, what)
    parts = model._parts
    law = parts.likelihood
    plain = type(law) in (Gaussian, Categorical) or isinstance(law, LinkedLikelihood)
    if not plain or not getattr(law, "is_smooth", True):
        raise TypeError(
            f"{what} needs a law with two derivatives, not {type(law).__name__}; use "
            f"skmoe.inference.bootstrap instead."
        )
    if parts.gate.has_l1 or parts.experts.has_l1:
        raise ValueError(
            f"{what} does not go with l1_ratio: coefficients at zero have no standard error. "
            f"Refit on the chosen columns with l1_ratio=0, on other rows."
        )


class Layout:
    """Linear maps between the parameters of the parts and those that are reported.

    Parameters
    ----------
    model : fitted mixture
        That passed `check_coefficients`.
    reference : int
        Expert whose gate coefficients are zero.

    Attributes
    ----------
    names : DataFrame
        ``part``, ``expert``, ``outcome`` and ``term`` of each reported coefficient.
    spread : ndarray of shape (p_full, p)
        Full parameters, as in `ObservedInformation`, from free ones.
    reported : ndarray of shape (p, p)
        Reported coefficients from free ones.
    """

    def __init__(self, model, reference):
        parts = model._parts
        n_experts, n_outputs = parts.experts.coef.shape[1:]
        classes = getattr(model, "classes_", None)
        gate_contrast = contrasts(n_experts, reference)
        contrast = np.eye(n_outputs) if classes is None else contrasts(n_outputs, 0)
        own = np.kron(np.eye(n_experts), contrast)
        n_theta = parts.likelihood.flat().size
        gate_raw = raw_transform(parts.gate.mean_, parts.gate.scale_)
        raw = raw_transform(parts.experts._center, parts.experts._scale)
        self.spread = scipy.linalg.block_diag(
            np.kron(np.eye(len(gate_raw)), np.linalg.pinv(gate_contrast)),
            np.kron(np.eye(len(raw)), np.linalg.pinv(own)),
            np.eye(n_theta),
        )
        halves = np.full(n_theta, 0.5 if isinstance(parts.likelihood, Gaussian) else 1.0)
        if isinstance(parts.likelihood, GaussianWithNoise):
            halves[-1] = 1.0  # the share of the noise
        self.reported = scipy.linalg.block_diag(
            np.kron(gate_raw, np.eye(n_experts - 1)),
            np.kron(raw, np.eye(len(own))),
            np.diag(halves),
        )
        self._contrasts = gate_contrast, own
        rows = _gate_names(model, reference) + _expert_names(model, classes, n_outputs)
        columns = ["part", "expert", "outcome", "term"]
        self.names = pd.DataFrame(rows + _law_names(model, n_theta), columns=columns)

    def free(self, parts):
        """Free parameters (p,) of parts: contrasts, of standardised features."""
        gate, own = self._contrasts
        experts = parts.experts.block_coef() @ own.T
        return np.concatenate(
            [(parts.gate.block_coef() @ gate.T).ravel(), experts.ravel(), parts.likelihood.flat()]
        )

    def estimates(self, parts):
        """Reported coefficients (p,) of parts with the same standardisation."""
        return self.reported @ self.free(parts)


def contrasts(n, reference):
    """Matrix (n - 1, n) of differences to a reference."""
    return np.delete(np.eye(n) - np.eye(n)[reference], reference, axis=0)


def raw_transform(center, scale):
    """Matrix (D, D) that turns coefficients of standardised features into raw ones."""
    transform = np.diag(np.append(1.0 / scale, 1.0))
    transform[-1, :-1] = -center / scale
    return transform


def penalty_curvature(parts, total_weight):
    """Diagonal (p_full,) of the second derivatives of penalties and priors, on the sum."""
    gate = np.full(parts.gate.block_coef().shape, total_weight * parts.gate.ridge)
    experts = np.broadcast_to(parts.experts.ridge(), parts.experts.coef.shape).copy()
    gate[-1], experts[-1] = 0.0, 0.0
    return np.concatenate([gate.ravel(), experts.ravel(), _prior_curvature(parts.likelihood)])


def penalty_slope(parts, total_weight):
    """Gradient (p_full,) of penalties and priors, on the sum."""
    gate, experts = total_weight * parts.gate.penalty_gradient(), parts.experts.penalty_gradient()
    return np.concatenate([gate.ravel(), experts.ravel(), -_prior_differences(parts.likelihood)[0]])


def _prior_curvature(likelihood):
    return -_prior_differences(likelihood)[1]


def _prior_differences(likelihood, step=1e-3):
    """First and second derivatives (q,) of the prior of the dispersions, each by itself."""
    flat, middle = likelihood.flat(), likelihood.log_prior()
    ends = np.array(
        [
            [likelihood.with_flat(flat + sign * step * unit).log_prior() for sign in (1, -1)]
            for unit in np.eye(flat.size)
        ]
    ).reshape(-1, 2)
    first = (ends[:, 0] - ends[:, 1]) / (2.0 * step)
    return first, (ends.sum(axis=1) - 2.0 * middle) / step**2


def feature_names(model):
    """Names of the columns that the gate sees, and of those that the experts see."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        names = np.array([f"x{j}" for j in range(model.n_features_in_)], dtype=object)
    gate, experts = (
        names if columns is None else names[columns]
        for columns in (model._gate_columns, model._expert_columns)
    )
    n_gate = len(model._parts.gate.mean_)
    if model.gate_ is not model._parts.gate and len(getattr(model.gate_, "steps", [])) > 1:
        gate = _passed_names(model.gate_[:-1], gate, n_gate)
    return list(gate), list(experts)


def _passed_names(head, names, n_columns):
    """Names after the transformers of a gate's pipeline; numbers where they do not tell."""
    try:
        return head.get_feature_names_out(names)
    except (AttributeError, ValueError):  # a transformer without names
        return [f"z{j}" for j in range(n_columns)]


def _gate_names(model, reference):
    terms, experts = [*feature_names(model)[0], "(intercept)"], list(model.expert_names_)
    del experts[reference]
    return [("gate", expert, "", term) for term in terms for expert in experts]


def _expert_names(model, classes, n_outputs):
    if classes is not None:
        outcomes = [str(label) for label in classes[1:]]
    else:
        outcomes = _outcomes(model._parts.likelihood, n_outputs)
    terms = [*feature_names(model)[1], "(intercept)"]
    each = [(expert, outcome) for expert in model.expert_names_ for outcome in outcomes]
    return [("expert", *pair, term) for term in terms for pair in each]


def _outcomes(law, n_outputs):
    """Labels of predictors, empty where there is one."""
    n_kinds = getattr(law, "n_predictors", 1)
    width = n_outputs // n_kinds
    kinds = [f"predictor {p}" if n_kinds > 1 else "" for p in range(n_kinds)]
    outputs = [f"y{j}" if width > 1 else "" for j in range(width)]
    return [" ".join(filter(None, (kind, output))) for kind in kinds for output in outputs]


def _law_names(model, n_theta):
    """Names of dispersions in the order of ``flat()``."""
    law = model._parts.likelihood
    share = [("noise", "all", "", "logit(share)")] if isinstance(law, GaussianWithNoise) else []
    n_theta -= len(share)
    shared = getattr(law, "shared", False)
    experts = ["all"] if shared else list(model.expert_names_)
    each = n_theta // len(experts)
    n_kinds = max(getattr(law, "n_thetas", 1), 1)
    width = max(each // n_kinds, 1)
    if isinstance(law, Gaussian):
        kinds = ["log(scale)"]
    else:
        kinds = ["dispersion"] if n_kinds == 1 else [f"dispersion {j}" for j in range(n_kinds)]
    outputs = [f"y{j}" if width > 1 else "" for j in range(width)]
    cells = [(output, kind) for kind in kinds for output in outputs]
    return [("noise", expert, *cell) for expert in experts for cell in cells[:each]] + share
