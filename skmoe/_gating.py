"""From the parameter ``gate`` to the gate that is trained and what it sees."""

from functools import cache

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ._features import as_numbers, check_finite, is_frame, nonnumeric_names
from ._validation import GATES, resolve_part
from .experts._folds import accepts_sparse
from .experts._outputs import blame
from .experts._slots import set_seeds
from .gates.classifier import ClassifierGate

_LARGEST_SEED = np.iinfo(np.int32).max


class Gating:
    """The gate that is trained, and the transformers before it.

    Parameters
    ----------
    gate : gate
        Unfitted, the fit's own.
    pipeline : Pipeline, default=None
        That ends in ``gate``.
    """

    def __init__(self, gate, pipeline=None):
        self.gate = gate
        self._pipeline = pipeline
        self._head = None if pipeline is None or len(pipeline.steps) == 1 else pipeline[:-1]

    @property
    def foreign(self):
        """Whether columns are passed on as they are: words, categories, missing values."""
        return self._head is not None or self._takes_frames

    @property
    def _takes_frames(self):
        return getattr(self.gate, "takes_frames", False)

    def who_refuses(self, accepts):
        """Describe who does not accept something; None if nobody.

        Parameters
        ----------
        accepts : callable
            ``accepts(estimator) -> bool``, such as `accepts_nan`.
        """
        if not self.foreign or accepts(self.gate if self._head is None else self._head):
            return None
        if self._head is not None:
            return f"the gate's {type(self._head.steps[0][1]).__name__}"
        return f"the gate {type(getattr(self.gate, 'estimator', self.gate)).__name__}"

    def seed(self, rng):
        """Set the seeds that are None; draws a number only if there are any."""
        part = self.gate if self._pipeline is None else self._pipeline
        params = part.get_params(deep=True) if hasattr(part, "get_params") else {}
        names = [name for name in params if name.rpartition("__")[2] == "random_state"]
        if any(params[name] is None for name in names):
            set_seeds(part, np.random.default_rng(rng.randint(_LARGEST_SEED)))

    def fit_rows(self, X):
        """Fit the transformers, and give what the gate sees.

        Parameters
        ----------
        X : ndarray, CSR matrix or DataFrame of shape (n, d)
            The gate's columns.

        Returns
        -------
        ndarray, CSR matrix or DataFrame of shape (n, q)
        """
        if self._head is None:
            return X
        with blame("the gate's pipeline", "fit"):
            return self._passed(self._head.fit_transform(X))

    def rows(self, X):
        """What the gate sees of other rows."""
        if self._head is None:
            return X
        with blame("the gate's pipeline", "transform"):
            return self._passed(self._head.transform(X))

    def published(self, gate):
        """The fitted gate, at the end of its fitted pipeline if it has one."""
        if self._pipeline is None:
            return gate
        steps = [] if self._head is None else self._head.steps
        return Pipeline([*steps, (self._pipeline.steps[-1][0], gate)])

    def _passed(self, X):
        """Transformed rows in the form that the gate takes."""
        if self._takes_frames:
            return X
        if is_frame(X) and nonnumeric_names(X):
            raise ValueError(
                f"its columns {nonnumeric_names(X)} are not numeric; encode them, or leave them "
                f"out by gate_features"
            )
        if sp.issparse(X):
            X = X.tocsr()
            X = X if X.dtype.kind == "f" else X.astype(np.float64)
        numbers = as_numbers(X, estimator=self.gate)
        check_finite(numbers, None, "a gate on sparse features" if sp.issparse(X) else None)
        return numbers


def gate_accepts(value, accepts):
    """Whether the parameter ``gate`` accepts something; what is no gate has no say.

    Parameters
    ----------
    value : str, gate, classifier or Pipeline
    accepts : callable
        ``accepts(estimator) -> bool``.
    """
    # Asked at every validation of rows; the answer for a name never changes.
    return (_named if isinstance(value, str) else _asked)(value, accepts)


def _asked(value, accepts):
    """What the gate itself says."""
    try:
        gating = resolve_gate(value)
    except (TypeError, ValueError):  # what `fit` will complain about
        return True
    dense_only = not gating.foreign and getattr(gating.gate, "dense_only", False)
    return gating.who_refuses(accepts) is None and not (accepts is accepts_sparse and dense_only)


_named = cache(_asked)


def resolve_gate(value):
    """A fresh gate from the parameter ``gate``.

    Parameters
    ----------
    value : str, gate, classifier or Pipeline that ends in one of them
        A classifier becomes a `ClassifierGate`.

    Returns
    -------
    Gating
    """
    if isinstance(value, type) or isinstance(value, str) or hasattr(value, "log_proba"):
        return Gating(resolve_part(value, GATES, "gate", ("fit", "log_proba")))
    if isinstance(value, Pipeline) and hasattr(value.steps[-1][1], "log_proba"):
        pipeline = clone(value)
        gate = pipeline.steps[-1][1]
        if hasattr(gate, "_parameter_constraints"):
            gate._validate_params()
        return Gating(gate, pipeline)
    if hasattr(value, "predict_proba"):
        if hasattr(value, "_parameter_constraints"):
            value._validate_params()
        return Gating(ClassifierGate(clone(value)))
    ends = f", which ends in {type(value.steps[-1][1]).__name__}" * isinstance(value, Pipeline)
    raise TypeError(
        f"gate={value!r}{ends}; a gate is one of {sorted(GATES)}, an object with the methods fit "
        f"and log_proba, a classifier with predict_proba, or a Pipeline that ends in one of these."
    )
