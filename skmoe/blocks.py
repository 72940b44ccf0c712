"""Rows that are read block by block: arrays on disk, iterators, Parquet files."""

from pathlib import Path

import numpy as np

__all__ = ["ArrayBlocks", "Blocks", "ParquetBlocks", "StreamBlocks", "as_blocks"]


# What Arrow keeps of each column while it decodes it: measured 2.8 MiB, of 21 columns of
# different numbers in row groups of 500,000.
_COLUMN_BYTES = 2**22


class Blocks:
    """Rows that can be read block by block, as often as they are asked for.

    A subclass has the method `read`, and may set the attributes.

    Attributes
    ----------
    once : bool
        Whether rows can be read only once: enough for `predict_blocks` and
        `partial_fit_blocks`, too little for `fit_blocks`.
    overhead : int
        Bytes that reading takes beside the blocks themselves.

    See Also
    --------
    ArrayBlocks : Arrays, such as `numpy.memmap`.
    StreamBlocks : Whatever iterates over blocks.
    ParquetBlocks : A folder of Parquet files.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.blocks import Blocks
    >>> class Lines(Blocks):
    ...     def read(self, n_bytes):
    ...         for shift in (-1.0, 0.0):
    ...             X = np.linspace(shift, shift + 1.0, 100).reshape(-1, 1)
    ...             yield X, np.abs(X[:, 0]), None
    >>> model = MoERegressor(n_experts=2).fit_blocks(Lines())
    >>> model.predict([[-0.5], [0.5]]).round(2)
    array([0.5, 0.5])
    """

    once = False
    overhead = 0

    def read(self, n_bytes):
        """Iterate over the blocks, from the first one.

        Parameters
        ----------
        n_bytes : int
            A block should take no more memory than this.

        Yields
        ------
        X : array-like or DataFrame of shape (rows, n_features)
            Numbers.
        y : array-like of shape (rows,) or (rows, n_outputs), or None
            Targets; None where rows are for prediction only.
        sample_weight : array-like of shape (rows,) or None
            Non-negative; ones if None.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method 'read'; write one.")


class ArrayBlocks(Blocks):
    """Blocks of rows of arrays, such as `numpy.memmap`.

    Rows are copied block by block, so that files stay where they are.

    Parameters
    ----------
    X : array or DataFrame of shape (n_samples, n_features)
        Anything that can be sliced by rows.
    y : array of shape (n_samples,) or (n_samples, n_outputs), default=None
        Targets.
    sample_weight : array of shape (n_samples,), default=None
        Non-negative; ones by default.

    Raises
    ------
    ValueError
        If the arrays differ in length.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.blocks import ArrayBlocks
    >>> X = np.arange(12.0).reshape(6, 2)
    >>> [block.shape for block, _, _ in ArrayBlocks(X).read(n_bytes=4 * 8 * 2)]
    [(4, 2), (2, 2)]
    """

    def __init__(self, X, y=None, sample_weight=None):
        for name, values in (("y", y), ("sample_weight", sample_weight)):
            if values is not None and len(values) != len(X):
                raise ValueError(
                    f"X has {len(X)} rows, and {name} has {len(values)}; give one for each row."
                )
        self.X, self.y, self.sample_weight = X, y, sample_weight

    def read(self, n_bytes):
        """Iterate over the blocks; see `Blocks.read`.

        Parameters
        ----------
        n_bytes : int
            Of one block.

        Yields
        ------
        X, y, sample_weight : arrays
            Copies of rows.
        """
        by_row = sum(_row_bytes(part) for part in (self.X, self.y, self.sample_weight))
        size = max(1, n_bytes // max(by_row, 1))
        for start in range(0, len(self.X), size):
            rows = slice(start, start + size)
            yield tuple(_rows(part, rows) for part in (self.X, self.y, self.sample_weight))


def _row_bytes(part):
    if part is None:
        return 0
    width = int(np.prod(np.shape(part)[1:]))
    return width * getattr(getattr(part, "dtype", None), "itemsize", 8)


def _rows(part, rows):
    """A copy of some rows."""
    if part is None:
        return None
    return part.iloc[rows] if hasattr(part, "iloc") else np.array(part[rows])


class StreamBlocks(Blocks):
    """Blocks of whatever iterates over (X, y) or (X, y, sample_weight).

    Parameters
    ----------
    source : callable or iterable
        A callable without arguments is called for every pass over the rows and returns an
        iterator; an iterable is iterated over anew. An iterator itself can be
        read only once. X alone will do in the place of a tuple where rows are for
        prediction.

    Notes
    -----
    Blocks are as large as they come: memory is bounded if they are small.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.blocks import StreamBlocks
    >>> def months():
    ...     for month in range(12):
    ...         X = np.random.default_rng(month).uniform(-1, 1, size=(100, 2))
    ...         yield X, np.abs(X[:, 0])
    >>> model = MoERegressor(n_experts=2).fit_blocks(StreamBlocks(months))
    >>> model.predict([[-0.5, 0.0], [0.5, 0.0]]).round(2)
    array([0.5, 0.5])
    """

    def __init__(self, source):
        self.source = source
        self.once = hasattr(source, "__next__")

    def read(self, n_bytes):
        """Iterate over the blocks; see `Blocks.read`.

        Parameters
        ----------
        n_bytes : int
            Not heeded.

        Yields
        ------
        X, y, sample_weight : arrays
            As they come.
        """
        for block in self.source() if callable(self.source) else self.source:
            parts = block if isinstance(block, (tuple, list)) else (block,)
            if not 1 <= len(parts) <= 3:
                raise ValueError(
                    f"a block is a tuple of {len(parts)}; give (X, y) or (X, y, sample_weight)."
                )
            yield (*parts, *(None,) * (3 - len(parts)))


class ParquetBlocks(Blocks):
    """Blocks of rows of Parquet files; needs the package pyarrow.

    Files are read one after the other, in the order of their names, a batch of rows at a
    time.

    Parameters
    ----------
    path : str or path
        A file, or a folder with files ``*.parquet``, also in folders below.
    target : str or list of str, default=None
        Column(s) of the target; None where rows are for prediction.
    features : list of str, default=None
        Columns of numbers; all others by default.
    sample_weight : str, default=None
        Column of the weights; ones by default.

    Raises
    ------
    ImportError
        Without pyarrow.
    ValueError
        If there are no such files or columns, or a feature is no number.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.blocks import ParquetBlocks
    >>> trips = ParquetBlocks("trips", target="seconds")  # doctest: +SKIP
    >>> model = MoERegressor(n_experts=4).fit_blocks(trips)  # doctest: +SKIP
    """

    def __init__(self, path, target=None, *, features=None, sample_weight=None):
        self.path, self.target = path, target
        self.features, self.sample_weight = features, sample_weight
        self.files = _parquet_files(path)
        self.columns = self._columns()
        self.overhead = _COLUMN_BYTES * sum(map(len, self.columns))

    def _columns(self):
        """Names of features, targets and weights."""
        schema = _parquet().ParquetFile(self.files[0]).schema_arrow
        targets = [self.target] if isinstance(self.target, str) else list(self.target or [])
        weights = [] if self.sample_weight is None else [self.sample_weight]
        features = self.features
        if features is None:
            features = [name for name in schema.names if name not in targets + weights]
        missing = [name for name in [*features, *targets, *weights] if name not in schema.names]
        if missing:
            raise ValueError(
                f"{self.files[0]} has no columns {missing}; it has {list(schema.names)}."
            )
        return list(features), targets, weights

    def read(self, n_bytes):
        """Iterate over the blocks; see `Blocks.read`.

        Parameters
        ----------
        n_bytes : int
            Of one block.

        Yields
        ------
        X, y, sample_weight : DataFrame and arrays
            The features keep their names.
        """
        import pandas as pd

        features, targets, weights = self.columns
        names = [*features, *targets, *weights]
        # Arrow's copy of a batch stands beside the arrays.
        size = max(1, n_bytes // (16 * len(names)))
        for path in self.files:
            with _parquet().ParquetFile(path, pre_buffer=False, buffer_size=2**16) as file:
                for batch in file.iter_batches(size, columns=names, use_threads=False):
                    X = pd.DataFrame(_matrix(batch, features, path), columns=features, copy=False)
                    y = _target(batch, targets)
                    weight = batch.column(weights[0]).to_numpy(False) if weights else None
                    yield X, y, weight


def _parquet():
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "ParquetBlocks needs the package pyarrow: pip install skmoe[parquet]"
        ) from error
    return pyarrow.parquet


def _parquet_files(path):
    path = Path(path)
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise ValueError(f"path={str(path)!r} is no Parquet file, nor a folder with such files.")
    return [str(file) for file in files]


def _matrix(batch, names, path):
    """Columns of a batch as an array (rows, d); missing values are NaN."""
    columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
    words = [name for name, column in zip(names, columns) if column.dtype.kind not in "fiub"]
    if words:
        raise ValueError(
            f"columns {words} of {path} are not numeric; encode them before, or name the "
            f"numeric ones by features."
        )
    single = all(column.dtype == np.float32 for column in columns)
    out = np.empty((batch.num_rows, len(names)), dtype=np.float32 if single else np.float64)
    for j, column in enumerate(columns):
        out[:, j] = column
    return out


def _target(batch, names):
    if not names:
        return None
    columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
    return columns[0] if len(columns) == 1 else np.column_stack(columns)


def as_blocks(source):
    """Whatever holds blocks of rows, as `Blocks`.

    Parameters
    ----------
    source : Blocks, tuple of arrays, array, callable or iterable
        A tuple (X, y) or (X, y, sample_weight) of arrays, or X alone, is meant as
        `ArrayBlocks`; callables and iterables as `StreamBlocks`.

    Returns
    -------
    Blocks
        The source itself where it is one.

    Raises
    ------
    TypeError
        For anything else; the message says what is taken.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.blocks import as_blocks
    >>> type(as_blocks((np.zeros((3, 1)), np.zeros(3)))).__name__
    'ArrayBlocks'
    """
    if isinstance(source, Blocks):
        return source
    if isinstance(source, tuple) and 1 <= len(source) <= 3 and _is_table(source[0]):
        return ArrayBlocks(*source)
    if _is_table(source):
        return ArrayBlocks(source)
    if isinstance(source, (str, bytes, Path)):
        raise TypeError(
            f"blocks={source!r} is a path; give ParquetBlocks(path, target=...), or a "
            f"numpy.memmap of a file of numbers."
        )
    if callable(source) or hasattr(source, "__iter__"):
        return StreamBlocks(source)
    raise TypeError(
        f"blocks={source!r} has no rows; give Blocks such as ParquetBlocks, arrays (X, y), or a "
        f"callable that returns an iterator of (X, y)."
    )


def _is_table(thing):
    return hasattr(thing, "shape") and len(thing.shape) == 2
