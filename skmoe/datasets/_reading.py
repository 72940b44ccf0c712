"""Read data sets that are described by a meta.json, shipped or in a user's folder."""

import json
import os
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

SHIPPED = Path(__file__).parent / "data"
DESCRIPTIONS = Path(__file__).parent / "descr"
CLASSIFICATION = ("binary", "multiclass")


def read_dataset(name, data_home=None, *, return_X_y=False):
    """Read a data set that is not shipped with skmoe from a folder.

    The folder holds one gzip-compressed CSV file per set, with a header row and
    empty cells for missing values, and a file ``meta.json``. The latter has for
    each name the keys ``file``, ``target``, ``task`` ("regression", "count",
    "rating", "binary" or "multiclass"), ``categorical`` (names of columns),
    ``category_order`` (name of column to list of categories, lowest first) and
    ``not_features`` (columns that are labels or other targets).

    Parameters
    ----------
    name : str
        Name of the data set in ``meta.json``.
    data_home : str or path-like, default=None
        The folder. None means the folder that the environment variable
        ``SKMOE_DATA`` names.
    return_X_y : bool, default=False
        Return only ``(data, target)``.

    Returns
    -------
    data : Bunch or tuple of (DataFrame, Series)
        The tuple ``(data, target)`` if `return_X_y`, else a
        :class:`~sklearn.utils.Bunch` with

        - ``data``, DataFrame of shape (n_samples, n_features): the features;
          categorical columns have dtype "category", ordered where
          ``category_order`` says so;
        - ``target``, Series of shape (n_samples,): floats for a regression or
          a rating, integers for a count, codes ``0..n_classes-1`` for classes;
        - ``frame``, DataFrame: ``data`` and ``target`` side by side;
        - ``other_columns``, DataFrame: the columns ``not_features``;
        - ``feature_names``, list of str;
        - ``target_names``, ndarray of shape (n_classes,), for classes only:
          the label of each code;
        - ``DESCR``, str, and ``filename``, str.

    Raises
    ------
    FileNotFoundError
        If no folder is given or it has no ``meta.json``.
    ValueError
        If ``meta.json`` does not describe `name`.

    See Also
    --------
    load_concrete : A set that is shipped; the other loaders are named alike.

    Examples
    --------
    The sets that are shipped have the same layout.

    >>> from pathlib import Path
    >>> import skmoe.datasets
    >>> folder = Path(skmoe.datasets.__file__).parent / "data"
    >>> bunch = skmoe.datasets.read_dataset("patent", folder)
    >>> bunch.data.shape
    (70, 2)
    >>> list(bunch.other_columns)
    ['Company']
    """
    bunch = read_bunch(name, _find_folder(data_home))
    return (bunch.data, bunch.target) if return_X_y else bunch


def load_shipped(name, *, return_X_y, as_frame):
    """Return a shipped set in the form that the public loaders share.

    Parameters
    ----------
    name : str
    return_X_y, as_frame : bool

    Returns
    -------
    Bunch or tuple of (data, target)
    """
    bunch = read_bunch(name, SHIPPED)
    if not as_frame:
        _to_arrays(bunch, name)
    return (bunch.data, bunch.target) if return_X_y else bunch


def read_bunch(name, folder):
    """Return the Bunch of one set with DataFrames; see :func:`read_dataset`."""
    meta = _read_meta(folder, name)
    path = Path(folder) / meta["file"]
    table = _read_table(path, meta)
    labels = [column for column in meta["not_features"] if column in table]
    features = [c for c in table.columns if c != meta["target"] and c not in labels]
    target, target_names = _encode_target(table[meta["target"]], meta["task"])
    bunch = Bunch(
        data=table[features],
        target=target,
        frame=table[features].assign(**{meta["target"]: target}),
        other_columns=table[labels],
        feature_names=features,
        DESCR=_describe(name, path),
        filename=str(path),
    )
    if target_names is not None:
        bunch.target_names = target_names
    return bunch


def _find_folder(data_home):
    if data_home is not None:
        return Path(data_home)
    folder = os.environ.get("SKMOE_DATA")
    if not folder:
        raise FileNotFoundError(
            "data_home is None and the environment variable SKMOE_DATA is not set: "
            "pass data_home or set SKMOE_DATA to the folder that holds meta.json."
        )
    return Path(folder)


def _read_meta(folder, name):
    path = Path(folder) / "meta.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"No meta.json in {str(folder)!r}: pass data_home or set the environment "
            "variable SKMOE_DATA to the folder that holds the data sets."
        )
    every = json.loads(path.read_text(encoding="utf-8"))
    if name not in every:
        raise ValueError(f"name={name!r} is not in {str(path)!r}, which has {sorted(every)}.")
    return every[name]


def _read_table(path, meta):
    # Here, not above: pandas is slow to import and the samples do not need it.
    import pandas as pd

    # A category may be spelled "None" or "NA"; only an empty cell is missing.
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    for column in meta["categorical"]:
        order = meta["category_order"].get(column)
        if order is None:
            table[column] = table[column].astype("category")
            continue
        unknown = set(table[column].dropna()) - set(order)
        if unknown:
            raise ValueError(
                f"category_order of {column!r} in meta.json lacks {sorted(unknown)}: add them."
            )
        table[column] = table[column].astype(pd.CategoricalDtype(order, ordered=True))
    return table


def _encode_target(target, task):
    """Return the target as numbers and, for classes, the sorted labels (else None)."""
    if task in CLASSIFICATION:
        labels = target.astype("category").cat
        codes = labels.codes.astype(np.int64).rename(target.name)
        return codes, np.asarray(labels.categories.tolist())
    return target.astype(np.int64 if task == "count" else np.float64), None


def _describe(name, path):
    description = DESCRIPTIONS / f"{name}.rst"
    if path.parent == SHIPPED:
        return description.read_text(encoding="utf-8")
    return f"Data set {name!r}, read from {str(path)!r}."


def _to_arrays(bunch, name):
    """Replace the DataFrame and Series of `bunch` by numeric arrays, in place."""
    words = [c for c, dtype in bunch.data.dtypes.items() if dtype == "category"]
    if words:
        raise ValueError(
            f"as_frame=False needs numeric columns, but {name!r} has the categorical "
            f"columns {words}: use as_frame=True and encode them, for instance with "
            "sklearn.preprocessing.OneHotEncoder."
        )
    bunch.data = bunch.data.to_numpy(dtype=np.float64)
    bunch.target = bunch.target.to_numpy()
    bunch.frame = None
