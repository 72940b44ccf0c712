"""The parameter ``device``: when rows go to a GPU, and what comes back as what."""

import functools

import scipy.sparse as sp

from ._device_descent import networks_on_device
from ._device_experts import beside_experts, linear_on_device
from ._device_memory import Device
from ._device_predict import device_answer
from ._ops import get_ops, is_on_device, on_host
from .solvers import EM, Gradient, Minibatch

_CURE = "use device='cpu' (or None, with NumPy arrays)"


def find_device(estimator, X, plan, gate, likelihood, solver):
    """The device that a fit uses; None for the CPU. Raises where it cannot be used.

    Parameters
    ----------
    estimator : BaseMoE
    X : object
        As given to `fit`.
    plan : ExpertPlan
    gate, likelihood, solver : parts

    Returns
    -------
    Device or None
    """
    wanted = estimator.device
    if wanted == "cpu" or (wanted is None and not is_on_device(X)):
        return None
    who = "device='cuda'" if wanted else "X on a GPU"
    refused = _refused(estimator, X, plan, gate, likelihood, solver)
    if refused:
        raise ValueError(
            f"{who} does not go with {refused}, which has no passes on a GPU; {_CURE}."
        )
    try:
        device = Device()
    except ImportError as error:
        raise ImportError(
            f"{who} needs CuPy, which cannot be imported ({error}); install it by "
            f"pip install skmoe[gpu], or {_CURE}."
        ) from error
    if not device.xp.cuda.is_available():
        raise RuntimeError(
            f"{who}: CuPy finds no GPU; check the driver by nvidia-smi and the variable "
            f"CUDA_VISIBLE_DEVICES, or {_CURE}."
        )
    return device


def _refused(estimator, X, plan, gate, likelihood, solver):
    """What of a fit has no passes on a device; None if nothing."""
    if sp.issparse(X):
        return "a sparse X"
    foreign = plan.linear is None and not plan.additive
    experts = None if plan.linear is None else plan.linear.collection(1)
    if not (foreign or hasattr(experts, "block_coef") or hasattr(experts, "block_pass")):
        return f"experts={estimator.experts!r}"
    if not any(hasattr(gate, name) for name in ("block_coef", "block_scorer", "block_pass")):
        return f"gate={estimator.gate!r}"
    if not getattr(likelihood, "on_device", False):
        return f"likelihood={type(likelihood).__name__}"
    if not isinstance(solver, (EM, Gradient, Minibatch)):
        return f"solver={solver!r}"
    if isinstance(solver, Minibatch) and not getattr(likelihood, "steps_on_device", True):
        return f"likelihood={type(likelihood).__name__} and solver={solver!r}"
    plain = type(solver)()
    if getattr(solver, "e_step", None) != getattr(plain, "e_step", None):
        return f"e_step={solver.e_step!r}"
    for name, default in (
        ("routing", None),
        ("load_balance", None),
        ("gate_per_output", False),
        ("missing_outputs", "raise"),
    ):
        if getattr(estimator, name, default) != default:
            return f"{name}={getattr(estimator, name)!r}"
    return None


def placed(data, device, n_experts, plan, gate, solver):
    """The rows of a fit on a device, where there is one."""
    if device is None:
        return data
    if plan.templates:
        return beside_experts(data, device, n_experts, plan.templates)
    n_hidden = n_experts * sum(getattr(plan.linear, "hidden_layer_sizes", ()))
    n_outputs = data.n_classes or data.y.shape[1]
    n_hidden += n_experts * n_outputs * getattr(plan.linear, "n_factors", 0)
    n_hidden += sum(getattr(gate, "hidden_layer_sizes", ()))
    descents = any(hasattr(part, "block_pass") for part in (plan.linear.collection(1), gate))
    descents |= data.n_classes is not None and isinstance(solver, EM)
    there = networks_on_device if descents else linear_on_device
    return there(data, device, n_experts, n_hidden)


def answers_in_kind(method):
    """Decorate a method of X: CuPy arrays in, CuPy arrays out.

    The work is the device's where it can do it, for ``device="cuda"`` also on NumPy arrays, and
    else the host's.
    """

    @functools.wraps(method)
    def answered(self, X, *others, **named):
        there = is_on_device(X) and self.device != "cpu"
        if there or self.device == "cuda":
            found = device_answer(self, method.__name__, X, others, named)
            if found is not None:
                return found
        if not is_on_device(X):
            return method(self, X, *others, **named)
        named = {name: on_host(value) for name, value in named.items()}
        found = method(self, on_host(X), *map(on_host, others), **named)
        asarray = get_ops("cuda").cp.asarray
        if isinstance(found, tuple):
            return tuple(map(asarray, found))
        return asarray(found) if hasattr(found, "dtype") and found.dtype.kind in "biuf" else found

    return answered
