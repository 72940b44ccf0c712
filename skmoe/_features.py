"""Which columns the gate and the experts see, and in what form."""

import numpy as np
import scipy.sparse as sp
from sklearn.utils import _safe_indexing
from sklearn.utils._indexing import _get_column_indices
from sklearn.utils.validation import check_array

# Values of a column of words that starts tell apart.
_MOST_LEVELS = 20


def is_frame(X):
    """Whether X is a pandas DataFrame."""
    return hasattr(X, "iloc") and hasattr(X, "dtypes") and hasattr(X, "columns")


def as_pandas(X):
    """Tables of other libraries (polars, pyarrow) as a pandas DataFrame; all else as it is."""
    return X.to_pandas() if hasattr(X, "to_pandas") and not is_frame(X) else X


def numeric_columns(X):
    """Positions of the numeric and boolean columns of a DataFrame."""
    return [i for i, dtype in enumerate(X.dtypes) if _is_numeric(dtype)]


def _is_numeric(dtype):
    return getattr(dtype, "kind", "O") in "iufb" or getattr(dtype, "_is_numeric", False)


def resolve_columns(X, selector, name, *, numeric):
    """Positions of the columns that a part sees.

    Parameters
    ----------
    X : ndarray, CSR matrix or DataFrame of shape (n, d)
    selector : None, str, int, list, slice, boolean mask or callable
        As in ``ColumnTransformer``; a callable gets X. None means all columns, or all
        numeric ones of a frame where the part is ``numeric``.
    name : str
        Parameter to name in errors.
    numeric : bool
        Whether the part needs numbers.

    Returns
    -------
    ndarray of int or None
        None stands for all columns.
    """
    if callable(selector):
        selector = selector(X)
    if selector is None:
        if not (numeric and is_frame(X)):
            return None
        found = numeric_columns(X)
        if not found:
            raise ValueError(
                f"X has no numeric column; encode some (for instance in a ColumnTransformer) "
                f"and name them by {name}."
            )
        return None if len(found) == X.shape[1] else np.array(found)
    selector = [selector] if isinstance(selector, (str, int, np.integer)) else selector
    try:
        found = np.array(_get_column_indices(X, selector), dtype=np.intp)
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{name}={selector!r} does not select columns of X: {error}") from error
    if not len(found):
        raise ValueError(f"{name} selects no column of X.")
    if numeric and is_frame(X):
        wrong = [X.columns[i] for i in found if i not in set(numeric_columns(X))]
        if wrong:
            raise ValueError(
                f"{name} selects columns that are not numeric: {wrong}; encode them or leave "
                f"them out."
            )
    return found


def start_numbers(X):
    """Numbers from which starts of a gate are looked for that takes columns as they are.

    Parameters
    ----------
    X : ndarray, CSR matrix or DataFrame of shape (n, d)

    Returns
    -------
    ndarray or CSR matrix of shape (n, q)
        The numeric columns of a frame; where there are none, indicators of the most
        frequent values of each column.
    """
    if not is_frame(X):
        return X
    found = numeric_columns(X)
    if found:
        numbers = X.iloc[:, found].to_numpy(dtype=np.float64, na_value=np.nan)
        return np.ascontiguousarray(numbers)
    blocks = []
    for column in range(X.shape[1]):
        values = X.iloc[:, column]
        frequent = values.value_counts().index[:_MOST_LEVELS]
        blocks += [(values == level).to_numpy(dtype=np.float64) for level in frequent]
    if not blocks:
        raise ValueError(
            "the gate's columns hold missing values only; choose others by gate_features."
        )
    return np.column_stack(blocks)


def take_columns(X, columns):
    """Columns of X by position; all if ``columns`` is None."""
    return X if columns is None else _safe_indexing(X, columns, axis=1)


def as_numbers(X, *, estimator, dtype=(np.float64, np.float32)):
    """A numeric array or CSR matrix from rows that passed the door; NaN stays NaN.

    Parameters
    ----------
    X : ndarray, CSR matrix or DataFrame of shape (n, d)
    estimator : estimator
        For errors.
    dtype : tuple of dtypes
        Kept as they are.
    """
    if is_frame(X):
        # Rows together, so that a frame rounds as the same numbers in an array do.
        return np.ascontiguousarray(X.to_numpy(dtype=np.float64, na_value=np.nan))
    if (isinstance(X, np.ndarray) and X.dtype in dtype) or sp.issparse(X):
        return X
    return check_array(
        X,
        accept_sparse="csr",
        dtype=list(dtype),
        ensure_all_finite="allow-nan",
        input_name="X",
        estimator=estimator,
    )


def check_finite(X, names, refuses, part="expert"):
    """Raise for infinity, and for NaN where something refuses it.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d) of float
    names : sequence of d column names, or None
    refuses : str or None
        Who cannot take NaN.
    part : {"expert", "gate"}
        Whose columns they are.

    Raises
    ------
    ValueError
        Names the first bad column and the cure.
    """
    values = X.data if sp.issparse(X) else X
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(values, dtype=np.float64)):
            return
    infinite = np.isinf(values)
    if infinite.any():
        raise ValueError(
            f"Input X contains infinity or a value too large for {X.dtype} in "
            f"{_first_column(X, infinite, names)}; replace it or leave the rows out."
        )
    missing = np.isnan(values)
    if refuses and missing.any():
        raise ValueError(
            f"Input X contains NaN in {_first_column(X, missing, names)}, which {refuses} "
            f"cannot take; impute it (SimpleImputer in a pipeline), leave the column out by "
            f"{part}_features, or use {_THAT_TAKE[part]} NaN (HistGradientBoosting)."
        )


_THAT_TAKE = {"expert": "experts that take", "gate": "a gate that takes"}


def _first_column(X, bad, names):
    """The first column with a bad value, in words."""
    columns = X.indices[bad] if sp.issparse(X) else np.flatnonzero(bad.any(axis=0))
    column = int(columns.min())
    return f"column {column if names is None else names[column]!r}"


def check_frame(X, columns, refuses, part="expert"):
    """Check the columns of a DataFrame that a part sees as they are.

    Parameters
    ----------
    X : DataFrame of shape (n, d)
    columns : ndarray of int or None
        None for all.
    refuses : str or None
        Who cannot take missing values.
    part : {"expert", "gate"}
        Whose columns they are.
    """
    for column in range(X.shape[1]) if columns is None else columns:
        values = X.iloc[:, column]
        if _is_numeric(values.dtype):
            numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)[:, None]
            check_finite(numbers, [X.columns[column]], refuses, part)
        elif refuses and values.isna().any():
            raise ValueError(
                f"Input X contains NaN in column {X.columns[column]!r}, which {refuses} cannot "
                f"take; fill it, or leave the column out by {part}_features."
            )


def nonnumeric_names(X):
    """Names of the columns of a DataFrame that are not numeric."""
    numeric = set(numeric_columns(X))
    return [name for i, name in enumerate(X.columns) if i not in numeric]
