"""Loaders of the data sets that are shipped, one function per set.

Each set has its table in ``data/``, the roles of its columns in ``data/meta.json``,
and its units, source, citation and licence in ``descr/``.
"""

from __future__ import annotations

from typing import Any

from ._reading import load_shipped


def load_mcycle(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the motorcycle crash data (regression, 133 x 1).

    Head acceleration (in g) of a dummy against the time after an impact (in
    milliseconds): flat, then a dip, then ringing, with noise that differs
    between these parts.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return only ``(data, target)``.
    as_frame : bool, default=False
        Give a DataFrame and a Series instead of arrays.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The tuple ``(data, target)`` if `return_X_y`, else a
        :class:`~sklearn.utils.Bunch` with ``data`` of shape (133, 1),
        ``target`` of shape (133,), ``frame`` (both together if `as_frame`,
        else None), ``other_columns`` (empty here),
        ``feature_names``, ``DESCR`` (units, source, citation and licence) and
        ``filename``.

    Examples
    --------
    >>> from skmoe.datasets import load_mcycle
    >>> X, y = load_mcycle(return_X_y=True)
    >>> X.shape, float(y.min())
    ((133, 1), -134.0)
    """
    return load_shipped("mcycle", return_X_y=return_X_y, as_frame=as_frame)


def load_nodata(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the ethanol engine data (regression, 88 x 1).

    Equivalence ratio of an engine against its emission of nitrogen oxide: two
    branches that cross, which no single curve fits.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return only ``(data, target)``.
    as_frame : bool, default=False
        Give a DataFrame and a Series instead of arrays.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The tuple ``(data, target)`` if `return_X_y`, else a
        :class:`~sklearn.utils.Bunch` with ``data`` of shape (88, 1),
        ``target`` of shape (88,), ``frame`` (both together if `as_frame`,
        else None), ``other_columns`` (empty here),
        ``feature_names``, ``DESCR`` (units, source, citation and licence) and
        ``filename``.

    Examples
    --------
    >>> from skmoe.datasets import load_nodata
    >>> bunch = load_nodata()
    >>> bunch.data.shape, bunch.feature_names
    ((88, 1), ['NO'])
    """
    return load_shipped("nodata", return_X_y=return_X_y, as_frame=as_frame)


def load_patent(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the patents of 70 companies (counts, 70 x 2).

    Number of patents in 1976 against the logarithm of research spending
    (millions of dollars, ``lgRD``) and spending over sales (``RDS``).

    Parameters
    ----------
    return_X_y : bool, default=False
        Return only ``(data, target)``.
    as_frame : bool, default=False
        Give a DataFrame and a Series instead of arrays.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The tuple ``(data, target)`` if `return_X_y`, else a
        :class:`~sklearn.utils.Bunch` with ``data`` of shape (70, 2),
        ``target`` of shape (70,), ``frame`` (both together if `as_frame`,
        else None), ``other_columns`` (DataFrame with ``Company``),
        ``feature_names``, ``DESCR`` (units, source, citation and licence) and
        ``filename``.

    Examples
    --------
    >>> from skmoe.datasets import load_patent
    >>> bunch = load_patent()
    >>> bunch.feature_names, int(bunch.target.max())
    (['RDS', 'lgRD'], 173)
    >>> bunch.other_columns["Company"][2]
    'ALBERTO-CULVER CO'
    """
    return load_shipped("patent", return_X_y=return_X_y, as_frame=as_frame)


def load_tonedata(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the tone perception data (regression, 150 x 1).

    Ratio at which a musician tuned a tone against the stretching ratio of its
    overtones: some trials follow one line, the rest another.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return only ``(data, target)``.
    as_frame : bool, default=False
        Give a DataFrame and a Series instead of arrays.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The tuple ``(data, target)`` if `return_X_y`, else a
        :class:`~sklearn.utils.Bunch` with ``data`` of shape (150, 1),
        ``target`` of shape (150,), ``frame`` (both together if `as_frame`,
        else None), ``other_columns`` (empty here),
        ``feature_names``, ``DESCR`` (units, source, citation and licence) and
        ``filename``.

    Examples
    --------
    >>> from skmoe.datasets import load_tonedata
    >>> X, y = load_tonedata(return_X_y=True)
    >>> X.shape, float(X.min()), float(X.max())
    ((150, 1), 1.35, 3.0)
    """
    return load_shipped("tonedata", return_X_y=return_X_y, as_frame=as_frame)


def load_co2data(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load national product and carbon dioxide (regression, 28 x 1).

    Carbon dioxide emission against gross national product, per head, of 28
    countries in 1996.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return only ``(data, target)``.
    as_frame : bool, default=False
        Give a DataFrame and a Series instead of arrays.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The tuple ``(data, target)`` if `return_X_y`, else a
        :class:`~sklearn.utils.Bunch` with ``data`` of shape (28, 1),
        ``target`` of shape (28,), ``frame`` (both together if `as_frame`,
        else None), ``other_columns`` (DataFrame with ``country``),
        ``feature_names``, ``DESCR`` (units, source, citation and licence) and
        ``filename``.

    Examples
    --------
    >>> from skmoe.datasets import load_co2data
    >>> bunch = load_co2data()
    >>> bunch.data.shape, bunch.other_columns["country"][0]
    ((28, 1), 'CAN')
    """
    return load_shipped("co2data", return_X_y=return_X_y, as_frame=as_frame)


def load_concrete(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the strength of concrete mixtures (regression, 1030 x 8).

    Compressive strength (megapascals) against seven ingredients (kilograms in
    a cubic metre) and the age (days).

    Parameters
    ----------
    return_X_y : bool, default=False
        Return only ``(data, target)``.
    as_frame : bool, default=False
        Give a DataFrame and a Series instead of arrays.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The tuple ``(data, target)`` if `return_X_y`, else a
        :class:`~sklearn.utils.Bunch` with ``data`` of shape (1030, 8),
        ``target`` of shape (1030,), ``frame`` (both together if `as_frame`,
        else None), ``other_columns`` (empty here),
        ``feature_names``, ``DESCR`` (units, source, citation and licence) and
        ``filename``.

    Examples
    --------
    >>> from skmoe.datasets import load_concrete
    >>> bunch = load_concrete(as_frame=True)
    >>> bunch.data.shape, bunch.target.name
    ((1030, 8), 'compressive_strength')
    """
    return load_shipped("concrete", return_X_y=return_X_y, as_frame=as_frame)


def load_diamonds(*, return_X_y: bool = False, as_frame: bool = True) -> Any:
    """Load the prices of diamonds (regression, 53940 x 9, mixed types).

    Price (US dollars) against weight, size and three ordered categories. Rows
    are ordered in blocks by price: shuffle before a split.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return only ``(data, target)``.
    as_frame : bool, default=True
        Must be True, since an array has no categorical columns.

    Returns
    -------
    data : Bunch or tuple of (DataFrame, Series)
        The tuple ``(data, target)`` if `return_X_y`, else a
        :class:`~sklearn.utils.Bunch` with ``data`` (DataFrame of shape
        (53940, 9)), ``target`` (Series of shape (53940,)), ``frame`` (both
        together), ``other_columns`` (empty here), ``feature_names``,
        ``DESCR`` (units, source, citation and licence) and ``filename``.

    Raises
    ------
    ValueError
        If `as_frame` is False.

    Examples
    --------
    >>> from skmoe.datasets import load_diamonds
    >>> X, y = load_diamonds(return_X_y=True)
    >>> X.shape, list(X["cut"].cat.categories)
    ((53940, 9), ['Fair', 'Good', 'Very Good', 'Premium', 'Ideal'])
    """
    return load_shipped("diamonds", return_X_y=return_X_y, as_frame=as_frame)


def load_credit(*, return_X_y: bool = False, as_frame: bool = True) -> Any:
    """Load the credit scoring data (two classes, 4454 x 13, mixed types).

    Whether a loan is a bad (0) or a good (1) risk against four categorical and
    nine numeric columns, with 455 missing cells.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return only ``(data, target)``.
    as_frame : bool, default=True
        Must be True, since an array has no categorical columns.

    Returns
    -------
    data : Bunch or tuple of (DataFrame, Series)
        The tuple ``(data, target)`` if `return_X_y`, else a
        :class:`~sklearn.utils.Bunch` with ``data`` (DataFrame of shape
        (4454, 13)), ``target`` (Series of shape (4454,)), ``frame`` (both
        together), ``other_columns`` (empty here), ``feature_names``, ``target_names``,
        ``DESCR`` (units, source, citation and licence) and ``filename``.

    Raises
    ------
    ValueError
        If `as_frame` is False.

    Examples
    --------
    >>> from skmoe.datasets import load_credit
    >>> bunch = load_credit()
    >>> bunch.data.shape, bunch.target_names.tolist()
    ((4454, 13), ['bad', 'good'])
    >>> int(bunch.data["Income"].isna().sum())
    381
    """
    return load_shipped("credit", return_X_y=return_X_y, as_frame=as_frame)
