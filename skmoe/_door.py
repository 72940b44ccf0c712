"""The door: data are checked here, once, before any work is done."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _num_samples,
    validate_data,
)

from ._design import Design
from ._features import (
    as_numbers,
    as_pandas,
    check_finite,
    check_frame,
    is_frame,
    nonnumeric_names,
    resolve_columns,
    start_numbers,
    take_columns,
)
from ._validation import check_weight, who_refuses
from .experts.estimators import accepts_nan, accepts_sparse


@dataclass
class Door:
    """What came through the door.

    Attributes
    ----------
    gate_X : ndarray, CSR matrix or DataFrame of shape (n, d)
        Numbers, unless the gate takes columns as they are; rows of weight zero are gone.
    numbers : ndarray or CSR matrix of shape (n, d)
        The gate's columns as numbers, for starts.
    expert_X : ndarray, CSR matrix or DataFrame of shape (n, d)
        ``gate_X`` itself where both parts see the same numbers.
    target : ndarray
        (n, m) of float, or class codes (n,).
    weight : ndarray of shape (n,)
    kept : ndarray of bool
        One per row given; False where the weight is zero.
    as_frame : bool
        Whether a DataFrame is passed on as it is.
    gate_columns, expert_columns : ndarray of int or None
    """

    gate_X: object
    numbers: object
    expert_X: object
    target: np.ndarray
    weight: np.ndarray
    kept: np.ndarray
    as_frame: bool
    gate_columns: np.ndarray | None
    expert_columns: np.ndarray | None

    def numeric_view(self):
        """Standardised numbers, for linear surrogates of other parts."""
        return Design.standardised(self.numbers, self.weight)


def enter(estimator, plan, gating, X, y, sample_weight, classes_known=False, exposure=None):
    """Check everything that `fit` is given.

    Parameters
    ----------
    estimator : BaseMoE
        Gets ``n_features_in_``, ``feature_names_in_`` and what its target needs.
    plan : ExpertPlan
    gating : Gating
    X, y, sample_weight :
        As given to ``fit``.
    classes_known : bool, default=False
        Whether the classes are known, so that ``y`` may lack some.
    exposure : array-like of shape (n,), default=None
        Of counts.

    Returns
    -------
    Door
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the "
            f"target y is None."
        )
    linear = plan.linear is not None
    selects = estimator.gate_features is not None or estimator.expert_features is not None
    X = as_pandas(X)
    as_frame = is_frame(X) and (not linear or selects or gating.foreign)
    X = check_rows(estimator, X, as_frame, linear, reset=True)
    _check_sparse(X, gating)
    check_lengths(X, y)
    encode = estimator._decode_target if classes_known else estimator._encode_target
    target = encode(y) if exposure is None else encode(y, exposure)
    weight = estimator._target_weight(target, check_weight(sample_weight, X))
    kept = (weight > 0) & ~_without_target(estimator, target)
    if kept.sum() < plan.n_experts:
        raise ValueError(
            f"n_experts={plan.n_experts} is more than the number of rows with a positive "
            f"weight, n_samples={int(kept.sum())}; choose fewer experts."
        )
    gate_columns = resolve_columns(
        X, estimator.gate_features, "gate_features", numeric=not gating.foreign
    )
    expert_columns = resolve_columns(
        X, estimator.expert_features, "expert_features", numeric=linear
    )
    if not kept.all():
        X, target, weight = _safe_indexing(X, kept), target[kept], weight[kept]
    gate_X = rows_for_gate(estimator, gating, X, gate_columns)
    numbers = start_numbers(gate_X) if gating.foreign else gate_X
    if linear and not gating.foreign and same_columns(gate_columns, expert_columns):
        expert_X = gate_X
        check_finite(gate_X, _names(estimator, gate_columns), "a built-in expert")
    else:
        expert_X = rows_for_experts(estimator, X, expert_columns, linear)
    if linear and is_frame(X) and np.array_equal(numbers, expert_X, equal_nan=True):
        numbers = expert_X  # one object, so that starts sweep over it once
    return Door(
        gate_X, numbers, expert_X, target, weight, kept, as_frame, gate_columns, expert_columns
    )


def _without_target(estimator, target):
    """Rows (n,) of which no target was observed, where that is allowed."""
    if getattr(estimator, "missing_outputs", "raise") == "raise" or target.dtype.kind != "f":
        return np.zeros(len(target), dtype=bool)
    return np.isnan(target).all(axis=1)


def check_rows(estimator, X, as_frame, linear, *, reset):
    """Check X: a DataFrame that is passed on keeps its form, all else becomes numbers.

    Infinity and NaN are looked for where the columns of a part are known.
    """
    X = as_pandas(X)
    if as_frame and is_frame(X):
        _check_feature_names(estimator, X, reset=reset)
        _check_n_features(estimator, X, reset=reset)
        if _num_samples(X) < 1:
            raise ValueError(
                f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is "
                f"required by {type(estimator).__name__}."
            )
        return X
    if is_frame(X) and linear and nonnumeric_names(X):
        raise ValueError(
            f"Built-in experts need numbers, but columns {nonnumeric_names(X)} of X are not "
            f"numeric; encode them (for instance by a ColumnTransformer in a pipeline) or "
            f"select numeric ones by gate_features and expert_features. "
            f"(could not convert string to float)"
        )
    X = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
    )
    refuses = who_refuses(estimator.experts, accepts_sparse) if sp.issparse(X) else None
    if refuses:
        raise TypeError(
            f"Sparse data was passed, but {refuses} takes dense data only; use X.toarray() or "
            f"other experts."
        )
    return X


def _check_sparse(X, gating):
    refuses = gating.who_refuses(accepts_sparse) if sp.issparse(X) else None
    if refuses:
        raise TypeError(
            f"Sparse data was passed, but {refuses} takes dense data only; use X.toarray() or "
            f"another gate."
        )


def check_lengths(X, y):
    """Raise unless X and y have as many rows."""
    try:
        n_rows, n_targets = _num_samples(X), _num_samples(y)
    except TypeError as error:
        raise TypeError(f"y must be an array with one target per row: {error}") from error
    if n_rows != n_targets:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_rows} rows "
            f"and y has {n_targets}; give one target per row."
        )


def rows_for_gate(estimator, gating, X, columns):
    """The gate's columns, as they are for a gate that takes them so, else as numbers."""
    if not gating.foreign:
        return numbers_for_gate(estimator, X, columns)
    refuses = gating.who_refuses(accepts_nan)
    if is_frame(X):
        check_frame(X, columns, refuses, "gate")
        return take_columns(X, columns)
    X = as_numbers(take_columns(X, columns), estimator=estimator)
    check_finite(X, _names(estimator, columns), refuses, "gate")
    return X


def numbers_for_gate(estimator, X, columns):
    """The gate's columns as numbers; NaN are allowed in dense ones and count as the average."""
    numbers = as_numbers(take_columns(X, columns), estimator=estimator)
    refuses = "a gate on sparse features" if sp.issparse(numbers) else None
    check_finite(numbers, _names(estimator, columns), refuses, "gate")
    return numbers


def rows_for_experts(estimator, X, columns, linear):
    """The experts' columns, as numbers for linear ones, and free of what they cannot take."""
    refuses = "a built-in expert" if linear else who_refuses(estimator.experts, accepts_nan)
    if is_frame(X) and not linear:
        check_frame(X, columns, refuses)
        return take_columns(X, columns)
    X = as_numbers(take_columns(X, columns), estimator=estimator)
    check_finite(X, _names(estimator, columns), refuses)
    return X


def _names(estimator, columns):
    """Names of the columns that a part sees; their positions where X has no names."""
    names = getattr(estimator, "feature_names_in_", np.arange(estimator.n_features_in_))
    return (names if columns is None else names[columns]).tolist()


def same_columns(one, other):
    """Whether two selections of columns are the same."""
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
