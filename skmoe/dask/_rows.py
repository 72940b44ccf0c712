"""Rows that lie on the workers of a cluster."""

import functools
import operator
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .._rows import Rows, as_block
from ._collections import aligned, require_dask

# Sums that one task adds up.
_FAN_IN = 8


class DaskRows(Rows):
    """Rows in partitions on workers, which stay there.

    Sums are made where the rows are, and added in the order of the partitions, eight at a
    time, so that a result does not depend on who works when. A partition that is lost with
    its worker is computed again from its collection.

    Parameters
    ----------
    client : distributed.Client
    futures : list of Future of Block
    everyone : WeakSet of DaskRows
        All that came from the same collection.
    """

    def __init__(self, client, futures, everyone=None):
        self.client, self.futures = client, futures
        self.everyone = weakref.WeakSet() if everyone is None else everyone
        self.everyone.add(self)

    @classmethod
    def of(cls, X, y, sample_weight):
        """Of collections."""
        dask, client = require_dask()
        _count_bytes()
        make = dask.delayed(_block, pure=False)
        parts = aligned(X, {"y": y, "sample_weight": sample_weight})
        blocks = [make(number, *part) for number, part in enumerate(parts)]
        rows = cls(client, client.compute(blocks))
        try:
            return rows._placed()
        except BaseException:
            rows.release()
            raise

    def _placed(self):
        """Partitions that have rows, which know the number of their first one."""
        lengths = self._mapped(len)
        with forgotten(lengths):
            lengths = self.client.gather(lengths)
        if not sum(lengths):
            raise ValueError("X has no rows; give one at least that has a positive weight.")
        starts = [sum(lengths[:number]) for number in range(len(lengths))]
        placed = self.client.map(_Placed(), self.futures, starts, pure=False)
        kept = [future for future, length in zip(placed, lengths) if length]
        return DaskRows(self.client, kept, self.everyone)

    @property
    def first(self):
        """A few rows of the first partition."""
        head = self.client.submit(_head, self.futures[0], pure=False)
        with forgotten([head]):
            return head.result()

    def mapped(self, change):
        """Rows after a change of each partition, on its worker."""
        return DaskRows(self.client, self._mapped(change), self.everyone)

    def sum(self, task):
        """Sum of ``task(block)``, made on the workers."""
        parts = self._mapped(task)
        made = list(parts)
        with forgotten(made):
            while len(parts) > 1:
                groups = [parts[i : i + _FAN_IN] for i in range(0, len(parts), _FAN_IN)]
                parts = [self.client.submit(_added, group, pure=False) for group in groups]
                made += parts
            return parts[0].result()

    def _mapped(self, function):
        return self.client.map(_Task(function), self.futures, pure=False)

    def release(self):
        """Let the workers forget these rows, and all that they came from."""
        for rows in list(self.everyone):
            for future in rows.futures:
                future.release()
            rows.futures = []


@contextmanager
def forgotten(futures):
    """Afterwards workers forget the results, also where an error keeps the futures alive."""
    try:
        yield
    finally:
        for future in futures:
            future.release()


@dataclass(frozen=True)
class _Task:
    """A function of a block, under a name that tells tasks apart on a dashboard."""

    function: object

    def __call__(self, block):
        """The function's answer."""
        return self.function(block)

    @property
    def __name__(self):
        return f"skmoe-{getattr(self.function, '__name__', type(self.function).__name__)}"


class _Placed:
    """A block that knows the number of its first row."""

    __name__ = "skmoe-place"

    def __call__(self, block, start):
        """The block with its number."""
        return replace(block, start=start)


def _block(number, X, y, weight):
    return as_block((X, y, weight), number)


def _head(block):
    few = slice(0, 100)
    return replace(block, X=block.X[few], y=block.y[few], weight=block.weight[few])


def _added(parts):
    return functools.reduce(operator.add, parts)


@functools.cache
def _count_bytes():
    """Tell dask how much memory a block takes, for its own accounts."""
    from dask.sizeof import sizeof

    from .._rows import Block

    @sizeof.register(Block)
    def size_of(block):
        return 200 + sum(getattr(part, "nbytes", 0) for part in (block.X, block.y, block.weight))
