"""Fits, steps and predictions on rows that are read block by block."""

import warnings
from functools import partial

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import _fit_context, is_classifier
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from ._blockable import bytes_of, bytes_of_block, check_parts, check_steps_of_blocks, shares
from ._blockwise import prepare
from ._combine import check_combine
from ._door import Door
from ._fit import Parts
from ._joint import fit_joint
from ._monitor import Interrupted, Monitor
from ._outputs import resolve_gating
from ._rows import LocalRows, ahead
from ._solving import resolve_solver, seeded
from ._starts import brief, fit_from_starts, linear_parts, run, start_kinds
from ._stream import Seen
from ._survey import Codes, Labels, Numbers, Survey
from ._sweep import single_blas
from ._validation import check_top_k, plan_experts
from .blocks import as_blocks

# Rows of one call of partial_fit.
_BATCH_ROWS = 20_000
# Methods that predict_blocks can call, and whether they look at the target.
_ANSWERS = {
    "predict": False,
    "predict_proba": False,
    "predict_log_proba": False,
    "predict_experts": False,
    "gate_proba": False,
    "log_likelihood": True,
    "responsibilities": True,
}


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
        open_rows = partial(self._open, blocks, memory_limit)
        return self._guarded(self._fit_blocks, open_rows)

    def partial_fit_blocks(self, blocks, *, classes=None, memory_limit="1GB"):
        """Learn from rows that are read block by block, once: `partial_fit` on each.

        Parameters
        ----------
        blocks : Blocks, tuple of arrays, callable or iterable
            As in `fit_blocks`; an iterator that can be read only once will do.
        classes : array-like of shape (n_classes,), default=None
            Of a classifier: all labels that will come.
        memory_limit : int or str, default="1GB"
            Bytes, or text such as "500MB", that blocks may take.

        Returns
        -------
        self : estimator
            As `partial_fit` leaves it after the last block.

        Raises
        ------
        ValueError, TypeError
            As of `partial_fit`; blocks before the bad one have been learned.
        """
        more = {"classes": classes} if is_classifier(self) else {}
        blocks = as_blocks(blocks)
        n_bytes = bytes_of_block(bytes_of(memory_limit), blocks)
        for parts in ahead(blocks.read(n_bytes)):
            if parts[1] is None:
                raise ValueError("blocks has no targets; give (X, y) or (X, y, sample_weight).")
            for start in range(0, len(parts[1]), _BATCH_ROWS):
                rows = slice(start, start + _BATCH_ROWS)
                some = (part if part is None else _safe_indexing(part, rows) for part in parts)
                self.partial_fit(*some, **more)
        return self

    def predict_blocks(self, blocks, method="predict", *, out=None, memory_limit="1GB"):
        """Predict rows that are read block by block.

        Parameters
        ----------
        blocks : Blocks, tuple of arrays, array, callable or iterable
            As in `fit_blocks`, or X alone. Targets and weights are not needed.
        method : str, default="predict"
            "predict", "predict_proba", "predict_log_proba", "predict_experts",
            "gate_proba", or "log_likelihood" and "responsibilities", which need targets.
        out : array of shape (n_samples, ...), default=None
            Answers are written to it, such as a `numpy.memmap`.
        memory_limit : int or str, default="1GB"
            Bytes, or text such as "500MB", that blocks and answers may take.

        Returns
        -------
        iterator of ndarray, or array
            Answers block by block, made as they are asked for; ``out`` where it is given.

        Raises
        ------
        ValueError
            If the method is another, or ``out`` has another number of rows.
        """
        check_is_fitted(self)
        if method not in _ANSWERS or not hasattr(self, method):
            known = [name for name in _ANSWERS if hasattr(self, name)]
            raise ValueError(f"method={method!r} is unknown; use one of {known}.")
        n_outputs = len(getattr(self, "classes_", ())) or np.size(self._units[0])
        # Of every row there are a few numbers by expert and output at a time.
        width = self.n_features_in_ + 4 * self.n_experts_ * (1 + n_outputs)
        blocks = as_blocks(blocks)
        n_bytes = bytes_of_block(bytes_of(memory_limit), blocks) * self.n_features_in_ // width
        answers = self._answers(blocks, method, n_bytes)
        if out is None:
            return answers
        start = 0
        for answer in answers:
            stop = start + len(answer)
            if stop > len(out):
                raise ValueError(f"out has {len(out)} rows, and blocks have more.")
            out[start:stop], start = answer, stop
        if start < len(out):
            raise ValueError(f"out has {len(out)} rows, and blocks have {start}.")
        return out

    def _answers(self, blocks, method, n_bytes):
        answer = getattr(self, method)
        for X, y, _ in ahead(blocks.read(n_bytes)):
            yield answer(X, y) if _ANSWERS[method] else answer(X)

    def _fit_blocks(self, open_rows):
        """Fit; ``open_rows(plan)`` gives the rows, and how many of them make a sample."""
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
        rows, most = open_rows(plan)
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
        monitor = Monitor(self._tolerance(False), self.max_iter, solver.patience, self._progress())
        stop = None
        with single_blas:
            try:
                result = run(solver.fit, data, parts, monitor, None)
            except Interrupted as found:
                if not self.warm_start:
                    raise
                stop, result = found, found.result
        self.solver_, self._gating, self._fitted_form = solver, gating, form
        kept = result.history["load"][int(np.argmax(result.history["objective"]))]
        mean = None if n_classes else facts.y.mean
        door = Door(None, None, None, None, None, None, False, None, None)
        self._publish(door, data, plan, result)
        self._seen, self._fingerprint = Seen(data.total_weight, mean, False), None
        self.routing_bias_, self.load_ = None, kept
        if stop is not None:
            raise stop
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

    def _open(self, blocks, memory_limit, plan):
        """The rows of blocks, and how many of them make a sample."""
        limit = bytes_of(memory_limit)
        blocks = as_blocks(blocks)
        if blocks.once:
            raise ValueError(
                "blocks is an iterator, which can be read only once, and fit_blocks passes over "
                "the rows many times; give a function that returns a new one for every pass, "
                "or use partial_fit_blocks."
            )
        first = LocalRows(blocks, 2**18).first
        n_bytes, most = shares(limit, first, plan, is_classifier(self), blocks.overhead)
        self._note_columns(first)
        return LocalRows(blocks, n_bytes), most

    def _note_columns(self, first):
        """Publish what a block tells of the columns."""
        vars(self).pop("feature_names_in_", None)
        self.n_features_in_ = first.X.shape[1]
        if first.names is not None:
            self.feature_names_in_ = np.asarray(first.names, dtype=object)
        self._many_outputs = first.several

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
