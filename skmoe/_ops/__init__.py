"""Array operations, one module for each kind of device."""

import importlib

import numpy as np
import scipy.special

from . import cpu

_MODULES = {"cpu": ".cpu", "cuda": ".gpu"}


def get_ops(device=None):
    """Return the module of operations for a device.

    Parameters
    ----------
    device : {None, "cpu", "cuda"}, default=None
        Name of the device; None means the CPU.

    Returns
    -------
    module
        A module with functions of ``skmoe._ops.cpu``; that of "cuda" has those that trainers
        use on a device.
    """
    if device is None or device == "cpu":
        return cpu
    return importlib.import_module(_MODULES[device], __name__)


def ops_of(array):
    """Return the operations for the device that an array is on."""
    return get_ops("cuda") if is_on_device(array) else cpu


def special_of(array):
    """Return what stands for ``scipy.special`` on the device that an array is on."""
    if is_on_device(array):
        return importlib.import_module("cupyx.scipy.special")
    return scipy.special


def numpy_of(array):
    """Return what stands for ``numpy`` on the device that an array is on."""
    return get_ops("cuda").cp if is_on_device(array) else np


def is_on_device(array):
    """Whether an array is on a GPU."""
    return not isinstance(array, np.ndarray) and hasattr(array, "__cuda_array_interface__")


def on_host(values):
    """An array on the host; what is no array on a GPU as it is."""
    return get_ops("cuda").cp.asnumpy(values) if is_on_device(values) else values
