"""Which columns the gate and the experts see, and in what form."""

import numpy as np
import scipy.sparse as sp
from sklearn.utils import _safe_indexing
from sklearn.utils._indexing import _get_column_indices
from sklearn.utils.validation import check_array


def is_frame(X):
    """Whether X is a pandas DataFrame."""
    return hasattr(X, "iloc") and hasattr(X, "dtypes") and hasattr(X, "columns")


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


def take_columns(X, columns):
    """Columns of X by position; all if ``columns`` is None."""
    return X if columns is None else _safe_indexing(X, columns, axis=1)


def as_numbers(X, *, allow_nan, estimator, dtype=(np.float64, np.float32)):
    """A numeric array or CSR matrix from rows that passed the door.

    Raises
    ------
    ValueError
        For NaN (unless allowed) and infinity; names the column of a DataFrame.
    """
    if is_frame(X):
        values = X.to_numpy(dtype=np.float64, na_value=np.nan)
        _name_bad_column(values, X.columns, allow_nan)
        return values
    if isinstance(X, np.ndarray) and X.dtype in dtype or sp.issparse(X):
        return X
    return check_array(
        X,
        accept_sparse="csr",
        dtype=list(dtype),
        ensure_all_finite="allow-nan" if allow_nan else True,
        input_name="X",
        estimator=estimator,
    )


def _name_bad_column(values, names, allow_nan):
    bad = np.isinf(values) if allow_nan else ~np.isfinite(values)
    if bad.any():
        column = names[int(np.flatnonzero(bad.any(axis=0))[0])]
        raise ValueError(
            f"Input X contains {'infinity' if allow_nan else 'NaN or infinity'} in column "
            f"{column!r}; impute or drop it, or leave the column out by gate_features or "
            f"expert_features."
        )


def nonnumeric_names(X):
    """Names of the columns of a DataFrame that are not numeric."""
    numeric = set(numeric_columns(X))
    return [name for i, name in enumerate(X.columns) if i not in numeric]
