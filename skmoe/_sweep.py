"""One pass over the rows: the E-step and all sums that a trainer needs."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import ThreadpoolController

from ._design import BlockReader, Design
from ._ops import get_ops
from .experts.linear import LinearStatistics

# Blocks are summed in this many groups, whatever the number of threads, so that
# results do not depend on it; fewer where the sums are large.
_MAX_GROUPS = 16
_GROUP_NUMBERS = 2**23


@dataclass
class Sums:
    """Sums over rows at fixed parameters.

    Attributes
    ----------
    loglik : float
        Weighted sum of the log-likelihoods of rows.
    unexplained : int
        Rows that no expert explains.
    gate : ndarray of shape (D, K) or None
        ``Z' (weight * (resp - gate_proba))`` for a gate of linear logits.
    experts : ndarray of shape (D, K, P)
        ``Z' (weight * resp * residual)``; the residual is the target minus the
        prediction, for classes in terms of probabilities. For other than linear experts
        the gradient of the log-likelihood by their flat parameters (p,).
        ``resp`` here and below is without what is noise, where the likelihood has noise.
    by_expert : ndarray of shape (K, P + 3) or (K, 3)
        ``weight * resp * residual ** 2`` by output (not for classes), ``weight *
        gate_proba * (1 - gate_proba)``, ``weight * resp``, and the weight of rows whose
        most probable expert is k.
    gram : ndarray of shape (K, D, D) or None
        ``Z' diag(weight * resp_k) Z`` of the experts' columns; (K * P, D, D), with weights
        times curvatures, for a likelihood whose curvature varies from row to row.
    gate_gram : ndarray of shape (K, D, D) or None
        The first of the gate's columns, where it is not the same as ``gram``.
    evidence : float
        Weighted sum of the log evidence of a gate that is a density; else 0.
    uneven : float
        What the objective loses to uneven importance of the experts.
    by_output : ndarray of shape (K, P) or None
        ``weight * resp`` where it differs by output.
    """

    loglik: float
    unexplained: int
    gate: np.ndarray | None
    experts: np.ndarray
    by_expert: np.ndarray
    gram: np.ndarray | None
    gate_gram: np.ndarray | None
    evidence: float = 0.0
    uneven: float = 0.0
    by_output: np.ndarray | None = None

    def __add__(self, other):
        pairs = zip(vars(self).values(), vars(other).values())
        return Sums(*(None if one is None else one + two for one, two in pairs))

    @property
    def load(self):
        """Weight of the rows whose most probable expert is k: (K,)."""
        return self.by_expert[:, -1]

    @property
    def weight(self):
        """``sum weight * resp_k``: (K,), or (K, P) where it differs by output."""
        return self.by_expert[:, -2] if self.by_output is None else self.by_output

    @property
    def gate_curvature(self):
        """Factors (K,) that make the weighted Grams the gate's curvature.

        The Hessian of the gate has blocks weighted by ``g_k (1 - g_k)``; K / (K - 1)
        allows for those off the diagonal (exactly so for two experts), and 1 is a bound.
        """
        n_experts = len(self.by_expert)
        scale = n_experts / max(n_experts - 1, 1)
        spread = scale * self.by_expert[:, -3] / np.maximum(self.weight, 1e-300)
        return np.clip(spread, 1e-3, 1.0)

    @property
    def squares(self):
        """``sum weight * resp_k * residual_k ** 2``: (K, P)."""
        return self.by_expert[:, :-3]

    def linear(self):
        """The statistics of linear experts."""
        return LinearStatistics(self.gram, self.experts, self.weight, self.squares)


def is_linear(experts):
    """Whether experts are one array of coefficients of columns."""
    return hasattr(experts, "block_coef")


def weighs_grams(parts):
    """Whether rows of the experts' Grams are weighted by curvatures of the likelihood."""
    return getattr(parts.likelihood, "weighs_grams", False)


def can_sweep(data, parts):
    """Whether all parts have what a sweep asks of them, and rows stand for themselves."""
    return (
        data.balance is None
        and data.candidates is None
        and data.observed is None
        and isinstance(data.gate_X, Design)
        and isinstance(data.X, Design)
        and is_linear(parts.experts)
        and (hasattr(parts.gate, "block_coef") or hasattr(parts.gate, "block_scorer"))
        and hasattr(parts.likelihood, "e_block")
    )


def sweeper_of(data):
    """What makes passes over the rows of a fit, wherever these are."""
    return data.sweeper() if hasattr(data, "sweeper") else Sweeper(data)


class Sweeper:
    """Makes passes over the rows of one fit.

    Parameters
    ----------
    data : FitData
        With views for gate and experts.
    max_groups : int, default=16
        Groups of blocks that are summed apart: what threads share.

    Attributes
    ----------
    n_passes : int
        Passes made so far.
    """

    def __init__(self, data, max_groups=_MAX_GROUPS):
        self.data, self.max_groups = data, max_groups
        self.shared = data.gate_X.same_columns(data.X)
        self.n_passes = 0
        self._total_gram = None

    def __call__(self, parts, *, resp=None, grams=False):
        """One pass.

        Parameters
        ----------
        parts : Parts
        resp : ndarray of shape (n, K), default=None
            Responsibilities to use in the place of those of the E-step.
        grams : bool, default=False
            Whether to sum up weighted Grams.

        Returns
        -------
        Sums
        """
        self.n_passes += 1
        n_experts = len(parts.experts.coef[0])
        skip = -1
        # Do the Grams sum up to that of all rows?
        whole = not hasattr(parts.likelihood, "expert_resp") and not weighs_grams(parts)
        if whole and grams and n_experts > 1 and not self.data.X.is_sparse and self.shared:
            skip = self._heaviest(parts)
        total = self.add_up(parts, resp, grams, skip)
        if skip >= 0:
            rest = self._whole_gram() - (total.gram.sum(axis=0) - total.gram[skip])
            total.gram[skip] = rest
        self._last = total.weight
        return total

    def add_up(self, parts, resp, grams, skip):
        """The sums over all blocks, without the Gram of the expert ``skip`` (-1: of none)."""
        n_experts = len(parts.experts.coef[0])
        job = _Job(self.data, parts, resp, grams, self.shared, skip)
        n_grams = parts.experts.coef[0].size if weighs_grams(parts) else n_experts
        groups = self._groups(n_experts, parts.experts.coef[0].size, n_grams)
        with single_blas:
            if self.data.n_threads > 1 and len(groups) > 1:
                with ThreadPoolExecutor(self.data.n_threads) as pool:
                    found = list(pool.map(job, groups))
            else:
                found = [job(group) for group in groups]
        total = found[0]
        for part in found[1:]:
            total = total + part
        return total

    def state(self):
        """What later passes remember of earlier ones."""
        return {"n_passes": self.n_passes, "_last": getattr(self, "_last", None)}

    def restore(self, state):
        """Remember the passes of another one, by its `state`."""
        vars(self).update(state)

    def _heaviest(self, parts):
        """The expert whose Gram is what the others leave of the constant total."""
        last = getattr(self, "_last", None)
        return 0 if last is None else int(np.argmax(last))

    def _whole_gram(self):
        return self.data.X.total_gram(self.data.weight)

    def _groups(self, n_experts, n_scores, n_grams):
        slices = self.data.X.slices(2 * n_experts + n_scores)
        numbers = n_grams * self.data.X.shape[1] ** 2
        n_groups = min(max(_GROUP_NUMBERS // numbers, 1), self.max_groups)
        size = -(-len(slices) // n_groups)
        return [slices[start : start + size] for start in range(0, len(slices), size)]


@dataclass
class _Job:
    """A sweep over a group of blocks, in one thread."""

    data: object
    parts: object
    resp: np.ndarray | None
    grams: bool
    shared: bool
    skip: int

    def __call__(self, slices):
        data, parts = self.data, self.parts
        expert_coef = parts.experts.block_coef()
        n_experts, n_scores = len(parts.experts.coef[0]), expert_coef.shape[1]
        most = max(rows.stop - rows.start for rows in slices)
        reader = BlockReader(data.X, most)
        gate_reader = reader if self.shared else BlockReader(data.gate_X, most)
        first = _gate_pass(parts.gate, gate_reader, self.shared)
        # Linear logits of the same columns come out of the experts' products.
        joined = first is None
        if joined:
            expert_coef = np.hstack([parts.gate.block_coef(), expert_coef])
        packed, gradient = reader.pack(expert_coef), reader.new_gradient(expert_coef.shape[1])
        curved = self.grams and weighs_grams(parts)
        gram = reader.new_grams(n_scores if curved else n_experts) if self.grams else None
        apart = self.grams and (curved or not self.shared)
        gate_gram = gate_reader.new_grams(n_experts) if apart else None
        sums = np.zeros((n_experts, parts.likelihood.n_sums(parts.experts.coef.shape[2])))
        loglik, unexplained = 0.0, 0
        height = 2 * n_experts + n_scores
        memory = np.empty(height * most)
        curvatures = np.empty(n_scores * most) if curved else None
        for rows in slices:
            n_rows, weight = rows.stop - rows.start, data.weight[rows]
            block = memory[: height * n_rows].reshape(height, n_rows)
            joint, gate = block[:n_experts], block[n_experts : 2 * n_experts]
            scores = block[2 * n_experts :]
            linear = block[n_experts:] if joined else scores
            reader.read(rows)
            reader.forward(packed, linear)
            if not joined:
                first.forward(rows, weight, gate)
            given = _NOTHING if self.resp is None else self.resp[rows]
            arrays = (data.y[rows], weight, given, gate, scores, joint, sums)
            if curved:
                curvature = curvatures[: n_scores * n_rows].reshape(n_scores, n_rows)
                arrays += (curvature,)
            value, missed = parts.likelihood.e_block(*arrays)
            loglik, unexplained = loglik + value, unexplained + missed
            reader.add_gradient(linear, gradient)
            if not joined:
                first.backward(gate)
            if self.grams:
                reader.add_grams(curvature if curved else joint, self.skip, gram)
            if gate_gram is not None:
                gate_reader.add_grams(joint, -1, gate_gram)
        gradient = reader.finish_gradient(gradient)
        if joined:
            evidence, gate_gradient = 0.0, np.ascontiguousarray(gradient[:, :n_experts])
            gradient = gradient[:, n_experts:]
        else:
            evidence, gate_gradient = first.finish()
        return Sums(
            loglik,
            unexplained,
            gate_gradient,
            gradient.reshape(len(gradient), n_experts, -1),
            sums,
            reader.finish_grams(gram) if gram is not None else None,
            gate_reader.finish_grams(gate_gram) if gate_gram is not None else None,
            evidence,
        )


def _gate_pass(gate, reader, shared):
    """Who fills in the gate's scores, block by block; None where the experts' products do."""
    if hasattr(gate, "block_scorer"):
        return _DensityPass(gate, reader, shared)
    return None if shared else _LinearPass(gate, reader)


class _LinearPass:
    """Linear logits of columns of the gate's own."""

    def __init__(self, gate, reader):
        self.reader = reader
        coef = gate.block_coef()
        self.packed, self.gradient = reader.pack(coef), reader.new_gradient(coef.shape[1])

    def forward(self, rows, weight, out):
        """Read a block and write its scores (K, m)."""
        self.reader.read(rows)
        self.reader.forward(self.packed, out)

    def backward(self, values):
        """Add what ``weight * (resp - gate_proba)`` of the block gives (K, m)."""
        self.reader.add_gradient(values, self.gradient)

    def finish(self):
        """Log evidence and gradient of all blocks."""
        return 0.0, np.ascontiguousarray(self.reader.finish_gradient(self.gradient))


class _DensityPass:
    """Log densities of a gate that says itself how probable features are."""

    def __init__(self, gate, reader, is_read):
        self.reader, self.is_read = reader, is_read
        self.scorer = gate.block_scorer(reader.width)
        self.evidence = 0.0

    def forward(self, rows, weight, out):
        """Read a block and write its scores (K, m)."""
        if not self.is_read:
            self.reader.read(rows)
        self.scorer(self.reader.block, out)
        self.evidence += get_ops().sum_log_evidence(out, weight, np.empty((2, len(weight))))

    def backward(self, values):
        """Nothing to add: the M-step is from Grams."""

    def finish(self):
        """Log evidence of all blocks; no gradient."""
        return self.evidence, None


_NOTHING = np.empty((0, 0))


class _SingleBlas:
    """One BLAS thread while any sweep runs; the former number after the last one.

    Products of blocks are small, and threads run whole blocks. The count is shared by
    all threads of the process, since the setting of BLAS is.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._entered = 0
        self._limits = None
        self._controller = None

    def __enter__(self):
        with self._lock:
            self._entered += 1
            if self._entered == 1:
                self._controller = self._controller or ThreadpoolController()
                self._limits = self._controller.limit(limits=1, user_api="blas")
                self._limits.__enter__()

    def __exit__(self, *error):
        with self._lock:
            self._entered -= 1
            if self._entered == 0:
                self._limits.__exit__(None, None, None)


single_blas = _SingleBlas()
