"""Numbers as people write them."""

import numpy as np
import pandas as pd

_TINY = 1e-4


def plain(value):
    """Four figures without an exponent, unless the number is tiny."""
    if pd.isna(value):
        return ""
    size = abs(value)
    if size >= 1e15 or 0.0 < size < _TINY:
        return f"{value:.3g}"
    return f"{value:,.0f}" if size >= 1000.0 else f"{value:.4g}"


def plain_column(values):
    """A column of them; beside larger numbers a tiny one is only said to be below 0.0001."""
    values = pd.Series(values, dtype=float)
    if not np.nanmax(np.abs(values), initial=0.0) > 100.0 * _TINY:
        return values.map(plain)
    tiny = (values != 0.0) & (values.abs() < _TINY)
    shown = values.map(plain)
    return shown.mask(tiny & (values > 0.0), "< 0.0001").mask(tiny & (values < 0.0), "> −0.0001")


def percent(share):
    """A share, never rounded to none or all."""
    if 0.0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1.0 else f"{100.0 * share:.0f} %"
