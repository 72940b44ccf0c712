"""Learning batch by batch: what `partial_fit` of both estimators has in common."""

import time
from dataclasses import dataclass
from functools import update_wrapper
from types import MethodType

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import _check_partial_fit_first_call

from ._em import load
from ._features import is_frame
from ._gating import resolve_gate
from ._health import fingerprint
from ._solving import resolve_solver, seeded
from ._stream import Stream, check_steps, stream_options
from ._sweep import single_blas
from ._validation import check_weight, plan_experts
from .experts.linear import LinearExpert
from .gates import GaussianGate
from .solvers import EM, Stages

# Rows to start from: for each parameter, at least and at most.
_START_ROWS, _LEAST_START, _MOST_START = 10, 1000, 5000
# A start is made anew when its rows are so many times those of the last one.
_GROWTH = 1.25


@dataclass(frozen=True)
class Beginning:
    """The first rows of a stream, as long as they are too few for steps.

    Attributes
    ----------
    X, y, sample_weight : rows as they came
    n_fitted : int
        Rows of the last fit.
    parts : Parts
        Of that fit.
    """

    X: object
    y: np.ndarray
    sample_weight: np.ndarray
    n_fitted: int = 0
    parts: object = None

    def then(self, other):
        """These rows and others."""
        return Beginning(
            _stacked(self.X, other.X),
            np.concatenate([self.y, other.y]),
            np.concatenate([self.sample_weight, other.sample_weight]),
            self.n_fitted,
            self.parts,
        )


class where_batches_do:
    """A method that is there only where gate and experts can learn from batches."""

    def __init__(self, method):
        self._method = method
        update_wrapper(self, method)

    def __get__(self, estimator, owner=None):
        """The method; `AttributeError` with the reason where there is none."""
        if estimator is None:
            return self._method
        reason = _who_cannot(estimator)
        if reason is not None:
            raise AttributeError(
                f"This {owner.__name__!r} has no attribute 'partial_fit': {reason}, which "
                f"cannot learn from batches; use linear experts with a built-in gate, and neither "
                f"routing nor load_balance."
            )
        return MethodType(self._method, estimator)


def _who_cannot(estimator):
    """What cannot learn from batches, in words; None for what `fit` will complain about."""
    for name, plain in (("gate_per_output", False), ("missing_outputs", "raise")):
        if getattr(estimator, name, plain) != plain:
            return f"{name} is {getattr(estimator, name)!r}"
    for name in ("routing", "load_balance"):
        if getattr(estimator, name) is not None:
            return f"{name} is {getattr(estimator, name)!r}"
    try:
        gating = resolve_gate(estimator.gate)
        plan = plan_experts(
            estimator.experts, estimator.n_experts, is_classifier(estimator), gating.gate
        )
    except (TypeError, ValueError):
        return None
    if plan.linear is not None and not isinstance(plan.linear, LinearExpert):
        return f"experts are {type(plan.linear).__name__}"
    likelihood = getattr(estimator, "likelihood", None)
    if not is_classifier(estimator) and hasattr(estimator._resolve_likelihood(), "first_pred"):
        return f"likelihood is {likelihood!r}"
    if plan.linear is None:
        names = sorted({type(template).__name__ for template in plan.templates})
        return f"experts are {', '.join(names)}"
    if gating.foreign or not hasattr(gating.gate, "flat") or not hasattr(gating.gate, "resumed"):
        return f"gate is {estimator.gate!r}"
    if is_classifier(estimator) and isinstance(gating.gate, GaussianGate):
        return "gate is a GaussianGate and experts are classifiers"
    return None


class OnlineLearning:
    """Methods that learn from batches; a part of `BaseMoE`."""

    def _learn(self, X, y, sample_weight, classes=None):
        self._check_online()
        before = dict(vars(self))
        try:
            if is_classifier(self):
                _check_partial_fit_first_call(self, classes)
            stream = getattr(self, "_stream", None)
            if isinstance(stream, Beginning) and stream.parts is not self._parts:
                stream = None  # the model was changed by other means
            if not hasattr(self, "_parts") or isinstance(stream, Beginning):
                self._begin(stream, X, y, sample_weight)
            else:
                self._go_on(stream, X, y, sample_weight)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _check_online(self):
        if not isinstance(self.init, str):
            raise ValueError(
                "init gives responsibilities of rows, and partial_fit has batches; use one of "
                "'auto', 'grown', 'kmeans' and 'random', or call fit first."
            )
        gate = resolve_gate(self.gate).gate
        if getattr(gate, "has_l1", False) or getattr(self.experts, "l1_ratio", 0.0) > 0.0:
            raise ValueError(
                "l1_ratio needs all rows at once, and partial_fit has batches; set it to 0."
            )
        if getattr(self.solver, "objective", "likelihood") != "likelihood":
            raise ValueError(
                "partial_fit climbs the likelihood; leave objective of the solver at 'likelihood'."
            )
        if isinstance(self.solver, Stages) or self.solver == "stages":
            raise ValueError(
                "solver='stages' trains on all rows, stage by stage, and partial_fit has batches; "
                "use solver='auto'."
            )
        if isinstance(self.solver, EM) or self.solver == "em":
            if is_classifier(self):
                raise ValueError(
                    f"solver={self.solver!r} has no steps on batches for classes; use "
                    f"solver='auto' or 'minibatch' with partial_fit."
                )

    def _begin(self, beginning, X, y, sample_weight):
        """Fit to all rows so far, if these are many more than those of the last fit."""
        if beginning is not None:
            X = self._rows(X)
            self._decode_target(y)
        rows = _kept_rows(X, y, sample_weight)
        rows = rows if beginning is None else beginning.then(rows)
        n_rows = len(rows.y)
        if n_rows >= _GROWTH * rows.n_fitted:
            self._fit(rows.X, rows.y, rows.sample_weight, is_classifier(self))
            rows = Beginning(rows.X, rows.y, rows.sample_weight, n_rows, self._parts)
            if n_rows >= np.clip(_START_ROWS * self.n_parameters_, _LEAST_START, _MOST_START):
                data = self._life_data(rows.X, rows.y, rows.sample_weight)
                self._stream = self._new_stream(data)
                return
        self._stream = rows

    def _new_stream(self, data, load=None):
        plan = plan_experts(self.experts, self.n_experts, is_classifier(self))
        solver = resolve_solver(self.solver, plan, self._parts.gate, self.cross_fit)
        check_steps(solver, self._parts, data)
        options = seeded(stream_options(solver), check_random_state(self.random_state))
        return Stream(data, self._parts, self._seen, solver, options, load)

    def _go_on(self, stream, X, y, sample_weight):
        """Steps on a batch, from where the model stands."""
        began = time.perf_counter()
        known = stream is not None and stream.parts is self._parts
        data = self._life_data(_as_sparse_as(self, X), y, sample_weight)
        stream = stream.twin() if known else self._new_stream(data, self.load_)
        with single_blas:
            data, value = stream.learn(data)
        form, names = self._fitted_form, self.expert_names_
        self._units = data.y_scale, data.base_variance
        self._show_parts(stream.parts, names)
        self._fitted_form, self._stream = form, stream
        log_gate = stream.parts.gate.log_proba(data.gate_X)
        self.load_ = load(log_gate, data.weight)
        self._fingerprint = fingerprint(data.y, np.exp(log_gate))
        history = self.history_
        seconds = history["seconds"][-1] + time.perf_counter() - began
        for name, entry in (("seconds", seconds), ("passes", 1), ("load", self.load_)):
            history[name].append(entry)
        history["objective"].append(value)
        self.objective_, self.n_iter_, self.converged_ = value, len(history["objective"]), False


def _as_sparse_as(model, X):
    """Rows as an array or a CSR matrix, as those were that the model was started on."""
    if is_frame(X) or not hasattr(X, "shape"):
        return X
    if sp.issparse(X):
        return X if model._seen.is_sparse else X.toarray()
    return sp.csr_matrix(X) if model._seen.is_sparse else X


def _kept_rows(X, y, sample_weight):
    """Copies of a batch's rows; a frame stays one."""
    if is_frame(X):
        X = X.copy()
    elif sp.issparse(X):
        X = X.tocsr().copy()
    else:
        X = np.array(X)
    return Beginning(X, np.array(y), check_weight(sample_weight, X))


def _stacked(one, other):
    if is_frame(one):
        import pandas as pd

        return pd.concat([one, other], ignore_index=True)
    return (
        sp.vstack([one, other], format="csr") if sp.issparse(one) else np.concatenate([one, other])
    )
