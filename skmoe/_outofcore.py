"""Fits, steps and predictions on rows that are read block by block."""

import re
import warnings
from numbers import Integral

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import _fit_context, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight

from ._blockwise import prepare
from ._combine import check_combine
from ._door import Door
from ._fit import Parts
from ._joint import fit_joint
from ._monitor import Monitor
from ._outputs import resolve_gating
from ._rows import LocalRows
from ._solving import resolve_solver, seeded
from ._starts import brief, fit_from_starts, linear_parts, run, start_kinds
from ._stream import Seen
from ._survey import Codes, Labels, Numbers, Survey
from ._sweep import single_blas
from ._validation import check_top_k, plan_experts
from .blocks import as_blocks
from .experts.linear import LinearExpert
from .gates.softmax import SoftmaxGate
from .likelihoods.categorical import Categorical
from .likelihoods.gaussian import Gaussian
from .solvers import EM, Gradient

# Rows that starts are looked for on, at most and at least.
_SAMPLE_ROWS, _LEAST_SAMPLE = 20_000, 1000
_LEAST_ROWS = 256  # of a block
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


class OutOfCore:
    """Methods that take blocks of rows; a part of `BaseMoE`."""

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_blocks(self, blocks, *, memory_limit="1GB"):
        """Fit to rows that are read block by block, as often as there are passes.

        The passes are those of `fit`: the same sums over the same rows. Starts are looked
        for on a sample of up to 20,000 rows that depends on their order and number only,
        not on how they are cut into blocks. For a softmax gate over linear experts,
        Gaussian or of classes.

        Parameters
        ----------
        blocks : Blocks, tuple of arrays, callable or iterable
            `skmoe.blocks.ParquetBlocks` and others; arrays (X, y) or (X, y, sample_weight),
            such as `numpy.memmap`; a callable that returns an iterator of such tuples. Every
            pass must give the same rows.
        memory_limit : int or str, default="1GB"
            Bytes, or text such as "500MB", that blocks, sample and sums may take, on top of
            what Python takes by itself.

        Returns
        -------
        self : estimator
            Fitted.

        Raises
        ------
        ValueError, TypeError
            Before any training, where parts cannot be trained by blocks or rows cannot be
            read; the message names the cure.
        """
        return self._guarded(self._fit_blocks, blocks, memory_limit)

    def _fit_blocks(self, blocks, memory_limit):
        gating = resolve_gating(self)
        gate = gating.gate
        plan = plan_experts(self.experts, self.n_experts, is_classifier(self), gate)
        likelihood = self._resolve_likelihood()
        check_top_k(self.top_k, plan.n_experts)
        check_combine(self.combine, likelihood, is_classifier(self))
        check_parts(self, plan, gate, likelihood)
        solver = resolve_solver(self.solver, plan, gate, self.cross_fit)
        check_steps_of_blocks(self, solver)
        rng = check_random_state(self.random_state)
        solver = seeded(solver, rng)
        seed = int(rng.randint(2**31 - 1))
        rows, most = self._open(blocks, bytes_of(memory_limit), plan)
        rows = self._encoded(rows)
        facts = rows.sum(Survey(most, seed))
        if facts.n_rows < plan.n_experts:
            raise ValueError(
                f"n_experts={plan.n_experts} is more than the number of rows with a positive "
                f"weight, n_samples={facts.n_rows}; choose fewer experts."
            )
        n_threads = effective_n_jobs(self.n_jobs)
        n_classes = self._n_classes()
        data, sample = prepare(rows, facts, gate, plan.linear, n_classes, n_threads)
        form = self._form(sample, plan, gate, likelihood)
        if self.warm_start and getattr(self, "_fitted_form", None) == form:
            parts = self._resumed_parts(data, plan, gate, likelihood)
        else:
            parts = self._start_on(sample, plan, gate, likelihood, rng)
        monitor = Monitor(self._tolerance(False), self.max_iter, solver.patience, self.verbose)
        with single_blas:
            result = run(solver.fit, data, parts, monitor, None)
        self.solver_, self._gating, self._fitted_form = solver, gating, form
        kept = result.history["load"][int(np.argmax(result.history["objective"]))]
        mean = None if n_classes else facts.y.mean
        door = Door(None, None, None, None, None, None, False, None, None)
        self._publish(door, data, plan, result)
        self._seen, self._fingerprint = Seen(data.total_weight, mean, False), None
        self.routing_bias_, self.load_ = None, kept
        self._warn_of(result)
        return self

    def _start_on(self, sample, plan, gate, likelihood, rng):
        """Parts from the best start on a sample."""

        def make_parts(n, data=sample):
            return linear_parts(data, plan.linear, gate, likelihood, n)

        kinds = start_kinds(self.init, self.n_init)
        how = (plan.n_experts, kinds, brief, rng, fit_joint)
        with single_blas:
            result = fit_from_starts(sample, make_parts, *how)
        return Parts(result.gate, result.experts, result.likelihood)

    def _open(self, blocks, limit, plan):
        """The rows of blocks, and how many of them make a sample."""
        blocks = as_blocks(blocks)
        if blocks.once:
            raise ValueError(
                "blocks is an iterator, which can be read only once, and fit_blocks passes over "
                "the rows many times; give a function that returns a new one for every pass, "
                "or use partial_fit_blocks."
            )
        first = LocalRows(blocks, 2**18).first
        n_bytes, most = shares(limit, first, plan, is_classifier(self))
        vars(self).pop("feature_names_in_", None)
        self.n_features_in_ = first.X.shape[1]
        if first.names is not None:
            self.feature_names_in_ = np.asarray(first.names, dtype=object)
        self._many_outputs = first.several
        return LocalRows(blocks, n_bytes), most

    def _encoded(self, rows):
        """Rows with targets in terms of the parts."""
        if not is_classifier(self):
            return rows.mapped(Numbers())
        counts = rows.sum(Labels.of).counts
        try:
            labels = sorted(counts)
        except TypeError as error:
            raise TypeError(f"y mixes labels of different types; use one type: {error}") from error
        self.classes_ = np.array(labels)
        if len(labels) == 1:
            warnings.warn(
                f"y has one class only, {labels[0]!r}; it is all that can be predicted.",
                UserWarning,
                stacklevel=5,
            )
        factors = None
        if self.class_weight is not None:
            n_rows = np.array([counts[label] for label in labels])
            each = np.repeat(self.classes_, np.minimum(n_rows, 1))
            factors = compute_class_weight(self.class_weight, classes=self.classes_, y=each)
            if self.class_weight == "balanced":
                factors = n_rows.sum() / (len(labels) * n_rows)
        return rows.mapped(Codes(self.classes_, factors))


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
    for name, plain in (("gate_per_output", False), ("missing_outputs", "raise")):
        if wrong is None and getattr(estimator, name, plain) != plain:
            wrong = name, "it is for rows in memory", f"leave it at {plain!r}"
    if wrong is not None:
        name, reason, cure = wrong
        raise ValueError(
            f"{name}={getattr(estimator, name)!r} does not go with blocks of rows: {reason}; "
            f"{cure}, or use fit."
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


def shares(limit, first, plan, classify):
    """Bytes of a block and rows of the sample under a limit of memory.

    Parameters
    ----------
    limit : int
        Bytes in all.
    first : Block
    plan : ExpertPlan
    classify : bool

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
    fixed = 8 * (n_grams + min(8 * n_parameters**2, 2**23))
    row_bytes = first.X.itemsize * n_columns + 8 * (1 + n_outputs)
    sample_bytes = 8 * (2 * n_columns + 12 * n_experts * (1 + n_outputs))
    least = fixed + 8 * _LEAST_ROWS * row_bytes + 4 * _LEAST_SAMPLE * sample_bytes
    if limit < least:
        raise ValueError(
            f"memory_limit={limit} bytes is too little for {n_experts} experts on "
            f"{n_columns - 1} features; they take {least} at least."
        )
    free = limit - fixed
    most = int(np.clip(free // (4 * sample_bytes), _LEAST_SAMPLE, _SAMPLE_ROWS))
    return free // 8, most
