"""Which solver trains the parts at hand."""

import copy
from dataclasses import replace

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.frozen import FrozenEstimator

from ._em import require
from ._stages import STAGES
from ._validation import SOLVERS, resolve_part
from .experts._adopted import adopted
from .experts.additive import AdditiveExpert
from .solvers import EM, Boosting, Gradient, Minibatch, Pool, Stages

_LARGEST_SEED = np.iinfo(np.int32).max


def adopt_experts(value, plan):
    """The plan; with experts of skmoe where gradients are to train a template they can be.

    `Boosting` trains any regressor as the learner of an `AdditiveExpert`, the gradient solvers
    those that have a built-in twin.

    Parameters
    ----------
    value : str or solver
        The parameter ``solver``.
    plan : ExpertPlan

    Returns
    -------
    ExpertPlan
    """
    gradients = isinstance(value, (Gradient, Minibatch)) or value in ("gradient", "minibatch")
    first = plan.templates[0] if plan.templates else None
    alike = first is not None and all(template is first for template in plan.templates)
    if not alike or plan.additive:
        return plan
    if (value == "boosting" or isinstance(value, Boosting)) and is_regressor(first):
        return replace(plan, templates=[AdditiveExpert(first)] * len(plan.templates))
    if not gradients:
        return plan
    own = adopted(first)
    if own is None:
        return plan
    own.check()
    return replace(plan, linear=own, templates=[])


def resolve_solver(value, plan, gate, cross_fit, dense=True, smooth=True):
    """The solver; "auto" takes gradients where all parts have them.

    Parameters
    ----------
    value : str or solver
        The parameter ``solver``.
    plan : ExpertPlan
    gate : gate
    cross_fit : object
        The parameter of that name.
    dense : bool, default=True
        Whether every row trains every expert, and loads are left alone.
    smooth : bool, default=True
        Whether the density has a derivative everywhere.

    Returns
    -------
    solver
    """
    if plan.additive and value in ("auto", "gradient"):
        return Boosting()
    if value == "auto":
        smooth = smooth and plan.linear is not None and hasattr(gate, "penalty_gradient") and dense
        smooth = smooth and not getattr(gate, "early_stopping", False)
        if not dense and plan.linear is not None:
            _check_ridge(value, plan.linear)
        return SOLVERS["gradient" if smooth else "em"]()
    solver = resolve_part(value, SOLVERS, "solver", ("fit",))
    if not hasattr(solver, "patience"):
        raise TypeError(f"solver={solver!r} is no solver; try EM() or Gradient().")
    if plan.additive or isinstance(solver, Boosting):
        _check_boosting(value, solver, plan)
        return solver
    if isinstance(solver, Stages):
        _check_stages(solver, plan)
        inner = resolve_solver(solver.solver, plan, gate, cross_fit, dense, smooth)
        if isinstance(inner, (Minibatch, Pool, Stages)):
            raise ValueError(
                f"Stages(solver={solver.solver!r}) cannot train the joint stage; use 'auto', "
                f"'em' or 'gradient'."
            )
        return solver.set_params(solver=inner)
    if isinstance(solver, (Gradient, Minibatch)):
        _check_gradient(value, plan, gate)
    if isinstance(solver, Minibatch):
        _check_minibatch(solver, plan, gate, dense)
    if isinstance(solver, EM) and plan.linear is not None:
        _check_ridge(value, plan.linear)
    if isinstance(solver, Pool):
        _check_pool(value, plan, cross_fit)
    return solver


def check_objective(estimator, solver, plan):
    """Raise for what does not go with the error of the blended output as the objective."""
    if isinstance(solver, Stages):
        if getattr(solver.solver, "objective", "likelihood") != "likelihood":
            raise ValueError(
                f"Stages(solver={solver.solver!r}) climbs the likelihood in every stage; leave "
                f"objective at 'likelihood'."
            )
        return
    if getattr(solver, "objective", "likelihood") == "likelihood" or is_classifier(estimator):
        return
    for name in ("routing", "load_balance"):
        if getattr(estimator, name) is not None:
            raise ValueError(
                f"objective='prediction' blends all experts, and does not go with {name}; leave "
                f"{name} at None."
            )
    if plan.growth is not None:
        raise ValueError(
            "n_experts='auto' compares likelihoods, and objective='prediction' does not climb "
            "them; give the number of experts."
        )
    if getattr(solver, "revive", False) or getattr(solver, "polish", 0):
        raise ValueError("objective='prediction' does not go with revive or polish.")


def seeded(solver, rng):
    """The solver; a copy with a seed that is drawn, where it draws numbers and has none.

    Parameters
    ----------
    solver : solver
    rng : numpy.random.RandomState
        Drawn from only if there is need.

    Returns
    -------
    solver
    """
    if isinstance(solver, Stages):
        inner = seeded(solver.solver, rng)
        return solver if inner is solver.solver else copy.copy(solver).set_params(solver=inner)
    if not getattr(solver, "draws", False) or solver.random_state is not None:
        return solver
    return copy.copy(solver).set_params(random_state=int(rng.randint(_LARGEST_SEED)))


def all_frozen(templates):
    """Whether all experts are models that are used as they are."""
    return all(isinstance(template, FrozenEstimator) for template in templates)


def _check_boosting(value, solver, plan):
    """Raise where solver and experts are not both of function space."""
    if plan.additive and not isinstance(solver, Boosting):
        raise ValueError(
            f"solver={value!r} does not train AdditiveExpert; use solver='auto' or Boosting()."
        )
    if isinstance(solver, Boosting) and not plan.additive:
        raise ValueError(
            f"solver={value!r} trains AdditiveExpert experts, all from one template; use "
            f"AdditiveExpert(learner=...), or another solver."
        )


def _check_gradient(value, plan, gate):
    if plan.linear is None:
        raise ValueError(
            f"solver={value!r} trains linear, neural and factorised experts only, all from one "
            f"template (LinearExpert, MLPExpert, FactorExpert, Ridge ...), but experts are "
            f"{', '.join(type(t).__name__ for t in plan.templates)}; use solver='em'."
        )
    if getattr(gate, "early_stopping", False):
        raise ValueError(
            f"solver={value!r} trains on all rows, but gate={gate!r} holds some out; "
            f"use solver='em' or early_stopping=False."
        )
    if hasattr(gate, "updated"):
        raise ValueError(
            f"solver={value!r} trains gates by their gradients, but the M-step of "
            f"{type(gate).__name__} is in closed form; use solver='em'."
        )
    require(gate, "flat", "with_flat")


def _check_stages(solver, plan):
    stages = [solver.stages] if isinstance(solver.stages, str) else list(solver.stages)
    if not stages or stages != [stage for stage in STAGES if stage in stages]:
        raise ValueError(
            f"stages={solver.stages!r} must be some of {STAGES}, each once and in this order."
        )
    solver.stages = stages
    if plan.growth is not None and not solver.resumes:
        raise ValueError(
            "n_experts='auto' chooses experts by fits of its own, and stage 'experts' trains "
            "those of given groups; give the number of groups as n_experts."
        )


def check_resumed(estimator, solver, form):
    """Whether to go on from the last fit; raises if the first stage cannot do otherwise."""
    known = getattr(estimator, "_fitted_form", None) == form
    if not isinstance(solver, Stages):
        return estimator.warm_start and known
    if solver.resumes and not (estimator.warm_start and known):
        raise ValueError(
            f"stages={solver.stages!r} goes on from a fitted model of as many experts and "
            f"features, with the same kinds of gate, experts and noise, and "
            f"{'there is none' if estimator.warm_start else 'warm_start is False'}; begin with "
            f"'experts', or fit that stage first and set warm_start=True."
        )
    return solver.resumes


def check_groups(solver, groups, weight):
    """Raise for a group (a column of (n, K)) that has no rows, where experts train on them."""
    if not isinstance(solver, Stages) or solver.resumes or groups is None:
        return
    empty = (weight @ groups <= 0).nonzero()[0].tolist()
    if empty:
        raise ValueError(
            f"init gives no rows to experts {empty}, and stage 'experts' trains each on its "
            f"own; give every expert some, or lower n_experts."
        )


def _check_minibatch(solver, plan, gate, dense):
    if plan.growth is not None:
        raise ValueError(
            "n_experts='auto' compares fits by passes over all rows; give the number of "
            "experts with solver='minibatch', or use another solver."
        )
    if not dense:
        raise ValueError(
            f"solver={solver!r} trains every expert on every row and leaves loads alone; use "
            f"another solver, or set routing and load_balance to None."
        )
    if solver.expert_dropout > 0 and not hasattr(gate, "block_coef"):
        raise ValueError(
            f"expert_dropout={solver.expert_dropout} needs a SoftmaxGate, but gate is a "
            f"{type(gate).__name__}; set expert_dropout=0."
        )


def _check_ridge(value, linear):
    if getattr(linear, "l1_ratio", 0.0) * linear.alpha > 0.0:
        raise ValueError(
            f"solver={value!r} cannot train LinearExpert(l1_ratio={linear.l1_ratio}); use "
            f"solver='gradient' or l1_ratio=0."
        )


def _check_pool(value, plan, cross_fit):
    if plan.linear is not None:
        raise ValueError(
            f"solver={value!r} gates experts that are trained alone, and linear experts would "
            f"all be the same; give a list of estimators as experts."
        )
    if plan.growth is not None:
        raise ValueError(
            f"n_experts='auto' clones one template, and clones that are trained alone would all "
            f"be the same; give a list of estimators as experts with solver={value!r}."
        )
    if cross_fit is None and not all_frozen(plan.templates):
        raise ValueError(
            f"solver={value!r} needs predictions of rows that experts have not seen: use "
            f"cross_fit='auto', or FrozenEstimator experts and held-out rows."
        )
