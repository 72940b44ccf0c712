"""Array operations, one module for each kind of device."""

from . import cpu

_MODULES = {"cpu": cpu}


def get_ops(device=None):
    """Return the module of operations for a device.

    Parameters
    ----------
    device : {None, "cpu"}, default=None
        Name of the device; None means the CPU.

    Returns
    -------
    module
        A module with the functions of ``skmoe._ops.cpu``.
    """
    return _MODULES["cpu" if device is None else device]
