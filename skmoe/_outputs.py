"""Which parts and options go with gates by output and with missing targets."""

from ._gating import resolve_gate
from .gates.per_output import OutputGates
from .solvers import EM, Gradient, Minibatch

# Options that a gate per output leaves at their defaults, and what these are.
_PLAIN = {"top_k": None, "routing": None, "load_balance": None}


def resolve_gating(estimator):
    """The gate that is trained: one for each output if that is wanted."""
    gating = resolve_gate(estimator.gate)
    if not getattr(estimator, "gate_per_output", False):
        return gating
    check_gate_per_output(estimator)
    gate = gating.gate
    able = hasattr(gate, "resp_gradient") and not hasattr(gate, "updated")
    if not able or getattr(gate, "early_stopping", False) or getattr(gate, "has_l1", False):
        raise ValueError(
            f"gate_per_output=True needs a gate with a gradient and without held-out rows or an "
            f"L1 penalty, but gate={estimator.gate!r}; use 'softmax', 'hierarchical' or 'mlp'."
        )
    gating.gate = OutputGates(gate)
    return gating


def check_gate_per_output(estimator):
    """Raise for options that send a row to few experts, whatever the output."""
    if not getattr(estimator, "gate_per_output", False):
        return
    for name, plain in _PLAIN.items():
        if getattr(estimator, name) != plain:
            raise ValueError(
                f"{name}={getattr(estimator, name)!r} chooses experts by row, and with "
                f"gate_per_output=True each output has gate probabilities of its own; leave "
                f"{name} at {plain!r}."
            )
    if estimator.combine == "top1":
        raise ValueError(
            "combine='top1' runs one expert for each row, and with gate_per_output=True each "
            "output has its own; use combine='mean' or 'median'."
        )


def check_outputs(estimator, plan, likelihood, solver, missing):
    """Raise where parts cannot train outputs by themselves; before any training.

    Parameters
    ----------
    estimator : BaseMoE
    plan : ExpertPlan
    likelihood : likelihood
    solver : solver
    missing : bool
        Whether some targets of rows are missing.
    """
    name = None
    if getattr(estimator, "gate_per_output", False):
        name = "gate_per_output=True"
    elif missing:
        name = "missing_outputs='mask'"
    if name is None:
        return
    if plan.linear is None:
        kinds = ", ".join(sorted({type(template).__name__ for template in plan.templates}))
        raise ValueError(
            f"{name} weighs the rows of an expert by output, and {kinds} takes one weight for "
            f"each row; use linear or neural experts (LinearExpert, MLPExpert), or fit one model "
            f"per output."
        )
    if getattr(plan.linear, "l1_ratio", 0.0) > 0.0:
        raise ValueError(f"{name} does not go with l1_ratio; set it to 0.")
    if not hasattr(likelihood, "of_outputs") or hasattr(likelihood, "expert_resp"):
        raise ValueError(
            f"{name} takes a likelihood of independent outputs, but likelihood is "
            f"{type(likelihood).__name__}; use 'gaussian'."
        )
    if not isinstance(solver, (EM, Gradient, Minibatch)):
        raise ValueError(f"{name} does not go with solver={estimator.solver!r}; use 'em'.")
    if getattr(solver, "revive", False) or getattr(solver, "polish", 0):
        raise ValueError(f"{name} does not go with revive or polish of the solver.")
    if getattr(solver, "e_step", "soft") != "soft" or getattr(solver, "temperature", 1.0) > 1.0:
        raise ValueError(f"{name} takes soft E-steps at temperature 1, but solver={solver!r}.")
    if plan.growth is not None:
        raise ValueError(f"{name} needs a number of experts; n_experts='auto' has none.")
    for option in ("routing", "load_balance"):
        if getattr(estimator, option) is not None:
            raise ValueError(f"{name} does not go with {option}; leave it at None.")


def refuse_by_output(estimator, what):
    """Raise for a method that looks at one gate and at whole targets."""
    for name, plain in (("gate_per_output", False), ("missing_outputs", "raise")):
        if getattr(estimator, name, plain) != plain:
            raise ValueError(
                f"{what} looks at rows as a whole, and does not go with "
                f"{name}={getattr(estimator, name)!r}."
            )
