"""A GPU: what fits there, how it is sent there, and what is there already."""

import copy

import numpy as np

from ._fit import Parts
from ._ops import get_ops, is_on_device

# Rows of a block at most and at least, and the share of free memory that may be used.
_MOST_ROWS, _LEAST_ROWS, _SHARE = 2**18, 2**12, 0.8
# Bytes that are sent at a time.
_PIECE = 2**26


class Device:
    """A GPU, and the rows of one fit on it.

    Attributes
    ----------
    xp : module
        CuPy.
    ops : module
        Operations on its arrays.
    size : int
        Rows of a block.
    resident : bool
        Whether all rows stay there; otherwise each pass sends them anew.
    """

    def __init__(self):
        self.ops = get_ops("cuda")
        self.xp = self.ops.cp
        self.size, self.resident = _MOST_ROWS, True
        self._held = {}

    def plan(self, arrays, row_numbers):
        """Decide how many rows are there at a time.

        Parameters
        ----------
        arrays : list of ndarray
            Of as many rows each; all that a pass reads.
        row_numbers : int
            Numbers by row that a pass works with.

        Raises
        ------
        MemoryError
            Where there is not even room for a small block.
        """
        free = int(_SHARE * self._free())
        n_rows, n_bytes = len(arrays[0]), sum(array.nbytes for array in arrays)
        by_row = 8 * row_numbers
        stacked = 2 * 8 * self.ops._STACKED_NUMBERS  # what Grams take beside the rows
        least = stacked + min(_LEAST_ROWS, n_rows) * (by_row + n_bytes // max(n_rows, 1))
        self.resident = n_bytes + least <= free
        room = free - stacked - (n_bytes if self.resident else 0)
        fitting = room // (by_row + (0 if self.resident else n_bytes // max(n_rows, 1)))
        if least > free:
            raise MemoryError(
                f"device='cuda': a pass needs {least / 2**20:.0f} MiB of GPU memory at least, and "
                f"{free / 2**20:.0f} MiB may be used; free some (other processes, CuPy's memory "
                f"pool), lower n_experts, or use device='cpu'."
            )
        self.size = int(np.clip(fitting, 1, _MOST_ROWS))

    def _free(self):
        """Bytes that may be allocated: free ones, and those that CuPy's pool keeps for reuse."""
        pool = self.xp.get_default_memory_pool()
        free = self.xp.cuda.Device().mem_info[0] + pool.free_bytes()
        limit = pool.get_limit()
        return free if limit == 0 else min(free, limit - pool.used_bytes())

    def slices(self, n_rows):
        """Slices of rows in fixed order."""
        return [slice(i, min(i + self.size, n_rows)) for i in range(0, n_rows, self.size)]

    def rows(self, array, rows):
        """Some rows of a host array, on the device."""
        if not self.resident:
            return self.send(array[rows])
        return self.once("rows", array, array)[rows]

    def once(self, name, source, array):
        """An array on the device; sent the first time that it is asked for what it comes from."""
        key = name, id(source)
        if key not in self._held:
            self._held[key] = source, self.send(array)  # the source keeps its id
        return self._held[key][1]

    def send(self, array):
        """A host array on the device, in C order.

        Large ones are sent in pieces: CuPy copies what it sends to page-locked memory, which it
        keeps.
        """
        n_pieces = -(-array.nbytes // _PIECE)
        if n_pieces <= 1:
            return self.xp.asarray(np.ascontiguousarray(array))
        out, size = self.xp.empty(array.shape, dtype=array.dtype), -(-len(array) // n_pieces)
        for start in range(0, len(array), size):
            piece = np.ascontiguousarray(array[start : start + size])
            out[start : start + size] = self.xp.asarray(piece)
        return out

    def moved(self, part):
        """A copy of a part whose arrays, and lists of arrays, are on the device."""
        return _changed(part, lambda value: isinstance(value, np.ndarray), self.send)

    def moved_parts(self, parts):
        """Copies of all parts whose arrays are on the device."""
        return Parts(*map(self.moved, vars(parts).values()))

    def brought_parts(self, parts):
        """Copies of all parts whose arrays are on the host: the inverse of `moved_parts`."""

        def bring(value):
            return self.xp.asnumpy(value)[()]  # numbers as numbers

        return Parts(*(_changed(part, is_on_device, bring) for part in vars(parts).values()))


def _changed(part, is_meant, change):
    """A copy of an object with other arrays in the place of those that are meant."""
    twin = copy.copy(part)
    for name, value in vars(part).items():
        if is_meant(value):
            vars(twin)[name] = change(value)
        elif isinstance(value, list) and value and all(map(is_meant, value)):
            vars(twin)[name] = list(map(change, value))
    return twin
