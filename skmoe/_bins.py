"""Features as bins: numbers by quantiles, categories by their codes, NaN by a bin of its own."""

import numpy as np

from ._ops.trees import MISSING

_MOST_BINS = 255


class Binner:
    """Maps rows to codes (d, n) of uint8.

    Columns of a DataFrame that are not numeric are categorical: the 255 heaviest values get
    a bin each, all other ones and missing values share one.

    Parameters
    ----------
    X : ndarray or DataFrame of shape (n, d)
    weight : ndarray of shape (n,)
        Of the rows; a row of weight two counts as two rows.
    max_bins : int, default=255
        At most that.
    """

    def __init__(self, X, weight, max_bins=_MOST_BINS):
        columns = _columns(X)
        self.edges = [_edges(column, weight, max_bins) for column in columns]
        self.categorical = np.array([isinstance(e, dict) for e in self.edges], dtype=bool)
        self.n_bins = np.array(
            [len(e) + (0 if isinstance(e, dict) else 1) for e in self.edges], dtype=np.int64
        )

    def transform(self, X):
        """Codes (d, n) of rows."""
        columns = _columns(X)
        codes = np.empty((len(columns), X.shape[0]), dtype=np.uint8)
        for out, column, edges in zip(codes, columns, self.edges, strict=True):
            if isinstance(edges, dict):
                out[:] = [edges.get(value, MISSING) for value in column]
                continue
            out[:] = np.searchsorted(edges, column, side="left")
            out[np.isnan(column)] = MISSING
        return codes


def is_frame(X):
    """Whether X is a pandas DataFrame."""
    return hasattr(X, "iloc") and hasattr(X, "dtypes")


def _is_numeric(dtype):
    return getattr(dtype, "kind", "O") in "iufb" or getattr(dtype, "_is_numeric", False)


def _columns(X):
    """Columns as float arrays, or as lists of values where they are not numbers."""
    if not is_frame(X):
        return list(np.asarray(X, dtype=np.float64).T)
    columns = []
    for i in range(X.shape[1]):
        column = X.iloc[:, i]
        if _is_numeric(column.dtype):
            columns.append(column.to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            columns.append(column.astype(object).tolist())
    return columns


def _edges(column, weight, max_bins):
    """Upper edges of all bins but the last; of categories, the bin of each value."""
    if isinstance(column, list):
        totals = {}
        for value, mass in zip(column, weight, strict=True):
            if value is not None and value == value:  # not NaN
                totals[value] = totals.get(value, 0.0) + mass
        ranked = sorted(totals, key=lambda value: (-totals[value], str(value)))
        return {value: code for code, value in enumerate(ranked[:max_bins])}
    known = ~np.isnan(column)
    values, place = np.unique(column[known], return_inverse=True)
    if len(values) > max_bins:
        mass = np.cumsum(np.bincount(place, weight[known]))
        levels = mass[-1] * np.arange(1, max_bins) / max_bins
        cuts = np.unique(np.searchsorted(mass, levels * (1.0 + 1e-12)))
        cuts = cuts[cuts < len(values) - 1]
    else:
        cuts = np.arange(len(values) - 1)
    # Midpoints by halves: sums of large numbers overflow.
    return 0.5 * values[cuts] + 0.5 * values[cuts + 1] if len(values) else np.empty(0)


def numeric_matrix(X):
    """The numeric columns (n, q) of a DataFrame; there may be none."""
    columns = [column for column in _columns(X) if not isinstance(column, list)]
    return np.column_stack(columns) if columns else np.empty((X.shape[0], 0))
