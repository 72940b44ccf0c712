"""Rows for pictures over one or two features: names, grids, rows that differ in them only."""

from numbers import Integral

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._features import is_frame, numeric_columns


def expert_names(model):
    """Names of the experts as one would write them, a list of K."""
    check_is_fitted(model)
    return [name.replace("_", " ") for name in model.expert_names_]


def as_rows(X, name):
    """X as a frame or dense array; features of sparse rows cannot be varied one by one."""
    if is_frame(X):
        return X
    if sp.issparse(X):
        raise TypeError(
            f"{name} varies single features and needs dense rows; pass X.toarray() of some rows."
        )
    return check_array(X, ensure_all_finite="allow-nan", dtype=None)


def column_of(X, feature):
    """Position and name of a feature given by name or position.

    Raises
    ------
    ValueError
        If there is no such feature.
    """
    names = [str(n) for n in X.columns] if is_frame(X) else [f"x{i}" for i in range(X.shape[1])]
    if isinstance(feature, Integral) and not isinstance(feature, bool):
        if -len(names) <= feature < len(names):
            return int(feature) % len(names), names[feature]
    elif isinstance(feature, str) and feature in names:
        return names.index(feature), feature
    raise ValueError(
        f"features has {feature!r}, which is no column of X: name one of {names[:10]}"
        f"{' ...' if len(names) > 10 else ''}, or give its position."
    )


def values_of(X, column):
    """The values (n,) of one column."""
    return X.iloc[:, column].to_numpy() if is_frame(X) else X[:, column]


def is_numeric(X, column):
    """Whether a column holds numbers."""
    if is_frame(X):
        return column in numeric_columns(X)
    return np.issubdtype(X.dtype, np.number)


def grid_of(X, column, resolution):
    """Values to put in the place of a column: even steps, or the levels of a column of words.

    Returns
    -------
    ndarray of shape (g,)
    """
    values = values_of(X, column)
    if not is_numeric(X, column):
        levels = np.unique(values[~_missing(values)].astype(str))
        return levels
    values = np.asarray(values, dtype=np.float64)
    values = np.unique(values[np.isfinite(values)])
    if len(values) <= min(resolution, 12):
        return values
    return np.linspace(values[0], values[-1], resolution)


def _missing(values):
    return np.array([v is None or v != v for v in values], dtype=bool)


def sample_rows(X, n_rows, random_state):
    """Positions of at most ``n_rows`` rows, drawn without replacement, in their order."""
    n = X.shape[0]
    if n_rows is None or n <= n_rows:
        return np.arange(n)
    return np.sort(check_random_state(random_state).permutation(n)[:n_rows])


def typical_row(X):
    """One row: the median of each column of numbers, the most frequent of other values."""
    if not is_frame(X):
        return np.nanmedian(np.asarray(X, dtype=np.float64), axis=0)[None, :].astype(X.dtype)
    row, numeric = X.iloc[[0]].copy(), set(numeric_columns(X))
    for column in range(X.shape[1]):
        values = X.iloc[:, column]
        if column not in numeric:
            value = values.mode().iloc[0]
        elif values.dtype.kind == "b":
            value = bool(values.median() >= 0.5)
        else:
            value = values.median()
        if column in numeric and values.dtype.kind in "iu":
            value = int(value)
        row.isetitem(column, type(values)([value], index=row.index, dtype=values.dtype))
    return row


def with_values(X, columns, values):
    """Rows that are those of X once for every point, with the point's values in their place.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (m, d)
    columns : list of int
    values : list of ndarray of shape (g,)
        For each column.

    Returns
    -------
    DataFrame or ndarray of shape (g * m, d)
        All rows of the first point, then of the second, and so on.
    """
    m, g = X.shape[0], len(values[0])
    order = np.tile(np.arange(m), g)
    if not is_frame(X):
        whole = all(np.issubdtype(v.dtype, np.integer) for v in values)
        kind = X.dtype if X.dtype.kind == "f" or whole else np.float64
        out = X[order].astype(kind)
        for column, value in zip(columns, values):
            out[:, column] = np.repeat(value, m)
        return out
    out = X.iloc[order].reset_index(drop=True)
    for column, value in zip(columns, values):
        old = X.iloc[:, column]
        new = type(old)(np.repeat(value, m), index=out.index)
        exact = old.dtype.kind not in "iub"
        out.isetitem(column, new.astype(old.dtype) if exact else new)
    return out
