"""How notebooks show an estimator: its gate beside its experts."""

from sklearn.base import is_classifier

from ._validation import GATES, plan_experts, resolve_part


def visual_block(estimator):
    """What scikit-learn draws for a mixture.

    Parameters
    ----------
    estimator : BaseMoE
        Fitted or not, with valid parameters or not.

    Returns
    -------
    sklearn.utils._VisualBlock
    """
    try:
        from sklearn.utils._repr_html.estimator import _VisualBlock
    except ImportError:  # scikit-learn before 1.7
        from sklearn.utils._estimator_html_repr import _VisualBlock
    if hasattr(estimator, "experts_"):
        gate, experts = estimator.gate_, list(zip(estimator.expert_names_, estimator.experts_))
    else:
        try:
            gate = resolve_part(estimator.gate, GATES, "gate", ())
            classify = is_classifier(estimator)
            plan = plan_experts(estimator.experts, estimator.n_experts, classify, gate)
        except (TypeError, ValueError):  # what `fit` will complain about
            name = type(estimator).__name__
            return _VisualBlock("single", estimator, names=name, dash_wrapped=False)
        experts = list(zip(plan.names, plan.templates or [plan.linear] * plan.n_experts))
    names, estimators = zip(("gate", gate), *experts)
    return _VisualBlock("parallel", list(estimators), names=list(names), dash_wrapped=False)
