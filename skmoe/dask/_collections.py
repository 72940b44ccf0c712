"""Dask collections as partitions of rows, and back."""

import numpy as np


def is_collection(thing):
    """Whether something is a dask array or DataFrame (or Series)."""
    return hasattr(thing, "__dask_graph__") and hasattr(thing, "to_delayed")


def require_dask():
    """The module of dask, with a client; errors name the cure.

    Returns
    -------
    dask : module
    client : distributed.Client
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise ImportError(
            "skmoe.dask needs the package dask[distributed]: pip install skmoe[dask]"
        ) from error
    try:
        return dask, distributed.get_client()
    except ValueError as error:
        raise ValueError(
            "skmoe.dask trains on the workers of a cluster, and there is no client; make one "
            "before, such as client = distributed.Client()."
        ) from error


def partitions(X):
    """Delayed partitions of rows of a collection, with all columns each."""
    if hasattr(X, "rechunk"):
        if X.ndim == 2 and X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        return list(X.to_delayed().ravel())
    return list(X.to_delayed())


def aligned(X, others):
    """Delayed partitions of X and of what goes with its rows.

    Parameters
    ----------
    X : dask array or DataFrame
    others : dict of str to collection, array or None

    Returns
    -------
    list of tuple
        One per partition of X.
    """
    columns = [partitions(X)]
    for name, values in others.items():
        columns.append(_partitions_like(X, values, name, len(columns[0])))
    return list(zip(*columns))


def _partitions_like(X, values, name, n_parts):
    if values is None:
        return [None] * n_parts
    if not is_collection(values):
        raise TypeError(
            f"X is a dask collection, and {name} is a {type(values).__name__}; give a dask "
            f"array or Series with the same partitions."
        )
    chunks = getattr(X, "chunks", None)
    if hasattr(values, "rechunk") and chunks is not None:
        own = values.chunks[0]
        known = not (np.isnan(own).any() or np.isnan(chunks[0]).any())
        if known and sum(own) != sum(chunks[0]):
            raise ValueError(
                f"X has {sum(chunks[0])} rows, and {name} has {sum(own)}; give one for each row."
            )
        if known and own != chunks[0]:
            values = values.rechunk({0: chunks[0]})
    parts = partitions(values)
    if len(parts) != n_parts:
        raise ValueError(
            f"X has {n_parts} partitions, and {name} has {len(parts)}; repartition {name} like X."
        )
    return parts


def lazily(answer, X, shape, dtype, others=None):
    """A dask array of what a function makes of each partition.

    Parameters
    ----------
    answer : callable
        ``answer(X, *others) -> ndarray`` of rows, can be pickled.
    X : dask array or DataFrame
    shape : tuple of int
        Of the answer to one row.
    dtype : dtype
    others : dict of str to collection, default=None
        What goes with the rows.

    Returns
    -------
    dask array
    """
    import dask
    import dask.array

    lengths = getattr(X, "chunks", None)
    parts = aligned(X, others or {})
    lengths = [np.nan] * len(parts) if lengths is None else lengths[0]
    call = dask.delayed(answer)
    arrays = [
        dask.array.from_delayed(call(*part), shape=(length, *shape), dtype=dtype)
        for part, length in zip(parts, lengths)
    ]
    return dask.array.concatenate(arrays, allow_unknown_chunksizes=True)


def gathered(*collections):
    """Collections as arrays or frames in memory; None stays None."""
    # One at a time: arrays and frames in one call would be a warning.
    return [None if one is None else one.compute() for one in collections]
