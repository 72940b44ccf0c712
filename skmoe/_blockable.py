"""What can be trained by blocks of rows, and in how much memory."""

import re
from numbers import Integral

import numpy as np
from sklearn.base import is_classifier

from ._rows import MOST_BYTES
from .experts.linear import LinearExpert
from .gates.softmax import SoftmaxGate
from .likelihoods.categorical import Categorical
from .likelihoods.gaussian import Gaussian
from .solvers import EM, Gradient

# Rows that starts are looked for on, at most and at least.
SAMPLE_ROWS, _LEAST_SAMPLE = 20_000, 1000
_LEAST_ROWS = 256  # of a block
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def check_parts(estimator, plan, gate, likelihood):
    """Raise for parts and options that cannot be trained by blocks; names the pair."""
    linear = isinstance(plan.linear, LinearExpert) and not plan.linear.l1_ratio
    kind = type(likelihood).__name__
    wrong = None
    if plan.growth is not None:
        wrong = "n_experts", "the number is chosen by fits of many rows in memory", "give it"
    elif not linear:
        wrong = "experts", "they need all rows in memory", "use LinearExpert() without l1_ratio"
    elif type(gate) is not SoftmaxGate or gate.has_l1:
        wrong = "gate", "it needs all rows in memory", "use 'softmax' without l1_ratio"
    elif type(likelihood) not in (Gaussian, Categorical):
        wrong = "likelihood", f"{kind} is not trained by blocks", "use 'gaussian'"
    for name in ("routing", "load_balance", "gate_features", "expert_features"):
        if wrong is None and getattr(estimator, name) is not None:
            wrong = name, "it is for rows in memory", "leave it at None"
    if wrong is None and not isinstance(estimator.init, str):
        wrong = "init", "it gives responsibilities of rows in memory", "use a named start"
    if wrong is None and estimator.device == "cuda":
        wrong = "device", "blocks are summed on the CPU", "leave it at None"
    for name, plain in (("gate_per_output", False), ("missing_outputs", "raise")):
        if wrong is None and getattr(estimator, name, plain) != plain:
            wrong = name, "it is for rows in memory", f"leave it at {plain!r}"
    if wrong is not None:
        name, reason, cure = wrong
        raise ValueError(
            f"{name}={getattr(estimator, name)!r} does not go with blocks of rows: {reason}; "
            f"{cure}, or fit rows in memory."
        )


def check_steps_of_blocks(estimator, solver):
    """Raise for a solver that has no passes by blocks."""
    plain = type(solver)() if isinstance(solver, (EM, Gradient)) else None
    options = ("e_step", "temperature", "revive", "polish", "objective")
    if plain is None or any(
        getattr(solver, name, None) != getattr(plain, name, None) for name in options
    ):
        raise ValueError(
            f"solver={estimator.solver!r} does not go with blocks of rows; use 'auto', 'em' or "
            f"'gradient' without moves of experts (or partial_fit_blocks for steps)."
        )
    if isinstance(solver, EM) and is_classifier(estimator):
        raise ValueError(
            f"solver={estimator.solver!r} does not go with blocks of rows of classes, whose "
            f"M-step has no closed form; use 'auto' or 'gradient'."
        )


def bytes_of(limit):
    """A number of bytes from a number, or text such as "500MB" or "2GiB"."""
    if isinstance(limit, Integral) and not isinstance(limit, bool) and limit > 0:
        return int(limit)
    if isinstance(limit, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?B?\s*", limit.upper())
        if found and float(found[1]) > 0:
            return int(float(found[1]) * _UNITS[found[2] or ""])
    raise ValueError(
        f"memory_limit={limit!r} must be a positive number of bytes, or text such as '500MB' or "
        f"'2GiB'."
    )


def bytes_of_block(limit, blocks):
    """Bytes of a block that is only passed on, under a limit of memory."""
    return min(max(limit - blocks.overhead, limit // 8) // 8, MOST_BYTES)


def shares(limit, first, plan, classify, overhead=0):
    """Bytes of a block and rows of the sample under a limit of memory.

    Parameters
    ----------
    limit : int
        Bytes in all.
    first : Block
    plan : ExpertPlan
    classify : bool
    overhead : int, default=0
        Bytes that reading takes.

    Returns
    -------
    n_bytes : int
    most : int
    """
    n_columns, n_experts = first.X.shape[1] + 1, plan.n_experts
    n_outputs = len(np.unique(first.y)) if classify else np.size(first.y) // len(first)
    # Grams of up to sixteen groups of a pass, and of the iterates that are kept; second
    # derivatives by all parameters, where they are few.
    n_grams = n_experts * n_columns**2 * (24 if n_experts * n_columns**2 < 2**19 else 9)
    n_parameters = n_columns * n_experts * (1 + n_outputs)
    fixed = overhead + 8 * (n_grams + min(8 * n_parameters**2, 2**23))
    row_bytes = first.X.itemsize * n_columns + 8 * (1 + n_outputs)
    sample_bytes = 8 * (2 * n_columns + 12 * n_experts * (1 + n_outputs))
    least = fixed + 8 * _LEAST_ROWS * row_bytes + 4 * _LEAST_SAMPLE * sample_bytes
    if limit < least:
        raise ValueError(
            f"memory_limit={limit} bytes is too little for {n_experts} experts on "
            f"{n_columns - 1} features; they take {least} at least."
        )
    free = limit - fixed
    most = int(np.clip(free // (4 * sample_bytes), _LEAST_SAMPLE, SAMPLE_ROWS))
    return free // 8, most
