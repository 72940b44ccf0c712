"""What ``routing`` and ``load_balance`` mean, and errors that name the cure."""

from dataclasses import dataclass

import numpy as np

from ._em import load
from ._gate_step import improve_gate
from ._routed import fit_routed
from ._routed_joint import fit_routed_joint
from ._validation import ROUTINGS, resolve_part
from .balance import BalanceBias, BalancePenalty
from .solvers import EM, Gradient

_LARGEST_SEED = np.iinfo(np.int32).max


def resolve_balance(estimator):
    """Copies of the load balancing as (BalancePenalty or None, BalanceBias or None)."""
    given = estimator.load_balance
    if given is None:
        return None, None
    if isinstance(given, type) or not isinstance(given, (BalancePenalty, BalanceBias)):
        raise TypeError(
            f"load_balance={given!r} must be None, BalancePenalty(...) or BalanceBias(...)."
        )
    given._validate_params()
    balance = resolve_part(given, {}, "load_balance", ())
    if isinstance(balance, BalancePenalty):
        return balance, None
    if estimator.top_k is None:
        raise ValueError(
            "load_balance=BalanceBias() changes which experts are chosen, and top_k=None "
            "chooses all; set top_k, or use BalancePenalty()."
        )
    return None, balance


def resolve_routing(estimator):
    """A copy of the routing object; None for dense training."""
    if estimator.routing is None:
        return None
    if estimator.top_k is None:
        raise ValueError(
            f"routing={estimator.routing!r} trains each row with top_k experts, and top_k is "
            f"None; set top_k, such as top_k=2, or leave routing out."
        )
    return resolve_part(estimator.routing, ROUTINGS, "routing", ("candidates",))


@dataclass(frozen=True)
class RoutedTrainer:
    """What training on candidate sets needs to know, in the place of a solver."""

    solver: object
    routing: object
    top_k: int
    balance: BalanceBias | None
    seed: int

    @property
    def patience(self):
        """That of the solver."""
        return self.solver.patience

    def prepare(self, data, parts, resp):
        """Fit the gate (in place) to responsibilities, for trials that start from there."""
        improve_gate(parts.gate, data, resp)

    def fit(self, data, parts, monitor, resp):
        """Train the parts of a mixture; arguments as of a solver."""
        train, options = fit_routed, {}
        if isinstance(self.solver, Gradient):
            names = ("warm_up", "renew_every", "memory")
            train, options = fit_routed_joint, {name: getattr(self.solver, name) for name in names}
        return train(
            data,
            parts,
            monitor,
            resp,
            routing=self.routing,
            top_k=self.top_k,
            balance=self.balance,
            seed=self.seed,
            **options,
        )


def make_trainer(estimator, solver, routing, bias, rng):
    """The solver, or what trains in its place if there is routing.

    Parameters
    ----------
    estimator : BaseMoE
    solver : solver
    routing : TokenRouting, ExpertRouting or None
    bias : BalanceBias or None
    rng : numpy.random.RandomState
        Drawn from only if there is routing.
    """
    if routing is None:
        return solver
    seed = rng.randint(_LARGEST_SEED)
    return RoutedTrainer(solver, routing, int(estimator.top_k), bias, seed)


def check_solver(estimator, solver, plan, gate):
    """Raise for a solver that cannot train with routing or a penalty on the load."""
    for name in ("routing", "load_balance"):
        value = getattr(estimator, name)
        if value is not None and not isinstance(solver, (EM, Gradient)):
            raise ValueError(
                f"solver={estimator.solver!r} does not train with {name}={value!r}; use "
                f"solver='em', 'gradient' or 'auto'."
            )
    if estimator.routing is None:
        return
    _refuse_moves(estimator, solver)
    if isinstance(solver, EM):
        return
    if getattr(plan.linear, "l1_ratio", 0.0) > 0.0 or getattr(gate, "has_l1", False):
        raise ValueError(
            f"solver={estimator.solver!r} does not train with an L1 penalty and "
            f"routing={estimator.routing!r}; set l1_ratio=0, or routing to None."
        )


def _refuse_moves(estimator, solver):
    """Raise for options of solvers that routed training does not have."""
    options = ("e_step", "temperature", "revive", "polish")
    plain = EM()
    for name in options:
        value = getattr(solver, name, getattr(plain, name))
        if value != getattr(plain, name):
            raise ValueError(
                f"solver={solver!r} does not train with routing={estimator.routing!r}; leave "
                f"{name} at {getattr(plain, name)!r}, or routing at None."
            )


def routing_facts(data, result, log_gate, balance, top_k):
    """What is published of a fit: its routing bias (K,) or None, and its load (K,).

    Parameters
    ----------
    data : FitData
    result : FitResult
    log_gate : ndarray of shape (n, K)
    balance : BalanceBias or None
        Of training without routing, too: there the bias serves prediction only.
    top_k : int or None
    """
    bias = result.routing_bias
    if balance is not None and bias is None:
        top_k = min(top_k, log_gate.shape[1])
        bias = balance.moved(None, log_gate, top_k, data.weight)
    return bias, load(log_gate if bias is None else log_gate + bias, data.weight)
