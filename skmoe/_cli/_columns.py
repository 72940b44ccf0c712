"""What the columns of a table hold: numbers, words, dates, names of rows."""

import difflib
import re

import numpy as np
import pandas as pd
from pandas.api import types

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?|\d{1,2}\.\d{1,2}\.\d{4}")
_DAYS = 365.2425


def is_numeric(values):
    """Whether a column holds numbers (truth values are words)."""
    return types.is_numeric_dtype(values) and not types.is_bool_dtype(values)


def has_infinite(values):
    """Whether a column holds infinite numbers."""
    return types.is_float_dtype(values) and bool(
        np.isinf(values.to_numpy(float, na_value=0.0)).any()
    )


def as_text(X):
    """Columns of words as plain strings; NaN where a value is missing, or infinite."""
    X = X.copy()
    for name in X.columns:
        if has_infinite(X[name]):
            X[name] = X[name].replace([np.inf, -np.inf], np.nan)
        if not is_numeric(X[name]):
            words = X[name].astype(object)
            X[name] = words.where(words.isna(), words.astype(str)).where(words.notna(), np.nan)
    return X


def is_date(values):
    """Whether all values that are there are dates, like 2024-03-31 or 31.3.2024."""
    if is_numeric(values) or types.is_bool_dtype(values):
        return False
    known = pd.Series(values.dropna().unique()).astype(str)
    return bool(len(known)) and all(map(_DATE.fullmatch, known)) and _parsed(known).notna().all()


def _parsed(words):
    """Times of strings, NaT where there is none."""
    iso = pd.to_datetime(words, format="ISO8601", errors="coerce", utc=True)
    return iso.fillna(pd.to_datetime(words, format="%d.%m.%Y", errors="coerce", utc=True))


def years(X):
    """Columns of dates as years with fractions, NaN where there is no date."""
    start = pd.Timestamp("1970-01-01", tz="UTC")
    return X.apply(lambda v: 1970.0 + (_parsed(v) - start) / pd.Timedelta(days=1) / _DAYS)


def is_name(values):
    """Whether a column looks like the names or numbers of rows."""
    if not is_numeric(values):
        return values.nunique() > max(20, 0.5 * len(values))
    if not types.is_integer_dtype(values) or values.nunique() < len(values):
        return False
    called = re.search(r"(^|[^a-z])id$", str(values.name), re.IGNORECASE)
    return bool(called) or int(values.max()) - int(values.min()) == len(values) - 1


def is_constant(values):
    """Whether a column tells nothing, since all its values are the same or missing."""
    return values.nunique(dropna=is_numeric(values)) < 2


def suggestion(name, names):
    """A question for somebody who has misspelt the name of a column, or nothing."""
    lower = {str(one).lower(): one for one in reversed(list(names))}
    near = difflib.get_close_matches(name.lower(), lower, 1)
    return f" Did you mean {lower[near[0]]!r}?" if near else ""
