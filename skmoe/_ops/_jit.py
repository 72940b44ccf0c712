"""The one place where options of the Numba compiler are written."""

import numba

# Sums may be reordered and products fused, so that loops vectorise; NaN and
# infinities keep their meaning (no "nnan", no "ninf"), since log space needs them.
# Division by zero gives an infinity, as in NumPy: a check for it keeps loops from
# vectorising.
_FASTMATH = {"contract", "nsz", "reassoc"}


def kernel(function):
    """Compile a kernel at its first call: cached on disk, without the GIL.

    A kernel takes arrays and scalars and writes into the arrays named last. It
    allocates nothing that depends on threads, shares no sums and checks nothing.
    """
    return numba.njit(cache=True, nogil=True, fastmath=_FASTMATH, error_model="numpy")(function)


def inlined(function):
    """Compile a function of scalars that kernels call; LLVM puts it into their loops.

    Its sums stay in the order in which they are written, whatever the caller allows:
    the parts of a constant in two pieces must not be added up.
    """
    return numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy")(function)


def spliced(function):
    """The same, however long it is: a call that stays keeps a loop from vectorising."""
    options = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}
    return numba.njit(forceinline=True, **options)(function)
