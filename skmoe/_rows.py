"""Blocks of rows as training takes them, and sums over all of them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

_END = object()
# Larger blocks make nothing faster.
MOST_BYTES = 2**26


@dataclass(frozen=True)
class Block:
    """Rows of positive weight.

    Attributes
    ----------
    X : ndarray of shape (m, d), float64 or float32
    y : ndarray or None
        Targets (m, P) of float64, class codes (m,), or labels as they came.
    weight : ndarray of shape (m,)
    start : int
        Number of its first row among all.
    names : list of str or None
        Of the features.
    several : bool
        Whether the target came as a table.
    """

    X: np.ndarray
    y: np.ndarray | None
    weight: np.ndarray
    start: int = 0
    names: list | None = None
    several: bool = False

    def __len__(self):
        return len(self.weight)


def as_block(parts, number, needs_target=True):
    """A block from what a source gives: X, y and weights.

    Parameters
    ----------
    parts : tuple of (X, y or None, sample_weight or None)
    number : int
        Of the block, for errors.
    needs_target : bool, default=True

    Returns
    -------
    Block
    """
    X, y, weight = parts
    names = _names(X)
    X = _numbers(X, number)
    if needs_target and y is None:
        raise ValueError(f"block {number} has no target; give (X, y) or (X, y, sample_weight).")
    several = np.ndim(y) == 2
    if y is not None:
        y = np.asarray(y)
        if len(y) != len(X) or y.ndim not in (1, 2):
            raise ValueError(
                f"block {number} has {len(X)} rows of X and a target of shape {y.shape}; give "
                f"one target for each row."
            )
    if weight is None:
        return Block(X, y, np.ones(len(X)), names=names, several=several)
    weight = np.asarray(weight, dtype=np.float64)
    if weight.shape != (len(X),) or not (weight >= 0).all() or not np.isfinite(weight).all():
        raise ValueError(
            f"sample_weight of block {number} must be one finite number of at least 0 for each "
            f"of its {len(X)} rows."
        )
    if not weight.all():
        kept = weight > 0
        X, y, weight = X[kept], None if y is None else y[kept], weight[kept]
    return Block(X, y, weight, names=names, several=several)


def _names(X):
    """Names of columns, where all are strings."""
    names = getattr(X, "columns", None)
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return list(names)


def _numbers(X, number):
    """Features as a C-contiguous array of float64 or float32."""
    if sp.issparse(X):
        raise TypeError(
            f"block {number} is sparse, and blocks are of dense rows; use X.toarray(), or "
            f"fit sparse rows in memory."
        )
    if hasattr(X, "select_dtypes"):
        words = [name for name in X.columns if X[name].dtype.kind not in "fiub"]
        if words:
            raise ValueError(
                f"columns {words} of block {number} are not numeric; encode them before, "
                f"since experts of blocks need numbers. (could not convert string to float)"
            )
    X = np.asarray(X)
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    try:
        X = np.ascontiguousarray(X, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"X of block {number} does not hold numbers: {error}") from error
    if X.ndim != 2:
        raise ValueError(f"X of block {number} has shape {X.shape}; give rows and columns.")
    return X


class Rows:
    """All rows of a fit, block by block.

    A subclass has `sum`, and `mapped`, which gives the same rows after a change of each
    block.

    Attributes
    ----------
    first : Block
        The first block that is not empty.
    """

    def sum(self, task):
        """Sum of ``task(block)`` over all blocks, in their order; ``task`` can be pickled."""
        raise NotImplementedError

    def mapped(self, change):
        """Rows after ``change(block) -> Block``, with as many rows in each block."""
        raise NotImplementedError


class LocalRows(Rows):
    """Rows that are read in this process, one block ahead of the work.

    Parameters
    ----------
    blocks : Blocks
    n_bytes : int
        Of one block.
    changes : tuple of callables, default=()
        What is done to each block after it is read.
    """

    def __init__(self, blocks, n_bytes, changes=()):
        self.blocks, self.n_bytes, self.changes = blocks, min(n_bytes, MOST_BYTES), changes
        self._n_rows = None

    @property
    def first(self):
        """The first block that has rows, unchanged."""
        for block in _with_changes(self, ())._read():
            return block
        raise ValueError("blocks has no rows; give one at least that has a positive weight.")

    def mapped(self, change):
        """Rows after a change of each block, made as they are read."""
        return _with_changes(self, (*self.changes, change))

    def sum(self, task):
        """Sum of ``task(block)``."""
        total, n_rows = None, 0
        for block in ahead(self._read()):
            value = task(block)
            total = value if total is None else total + value
            n_rows += len(block)
        if total is None:
            raise ValueError("blocks has no rows; give one at least that has a positive weight.")
        if self._n_rows not in (None, n_rows):
            raise ValueError(
                f"blocks gave {self._n_rows} rows in one pass and {n_rows} in another; every pass "
                f"must give the same rows."
            )
        self._n_rows = n_rows
        return total

    def _read(self):
        start, width = 0, None
        for number, parts in enumerate(self.blocks.read(self.n_bytes)):
            block = as_block(parts, number)
            width = block.X.shape[1] if width is None else width
            if block.X.shape[1] != width:
                raise ValueError(
                    f"block {number} has {block.X.shape[1]} columns, and those before have {width}."
                )
            check_size(block.X, number, self.n_bytes)
            if len(block):
                block = replace(block, start=start)
                for change in self.changes:
                    block = change(block)
                start += len(block)
                yield block


def _with_changes(rows, changes):
    """The same rows with other changes."""
    fresh = LocalRows(rows.blocks, rows.n_bytes, changes)
    fresh._n_rows = rows._n_rows
    return fresh


def check_size(X, number, n_bytes):
    """Raise for a block that takes much more memory than was asked for."""
    if X.nbytes > 4 * max(n_bytes, 2**20):
        raise ValueError(
            f"block {number} takes {X.nbytes / 2**20:.0f} MiB, and memory_limit leaves "
            f"{n_bytes / 2**20:.0f} MiB for one; give smaller blocks, or raise memory_limit."
        )


def ahead(items):
    """The items of an iterator, each made in a thread while the one before is at work."""
    items = iter(items)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = pool.submit(next, items, _END)
            yield item
            del item
