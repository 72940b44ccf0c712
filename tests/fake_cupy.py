"""A stand-in for CuPy on the host, as strict as CuPy is about what lies where.

Arrays wrap NumPy's. As in CuPy, they mix with numbers but not with NumPy arrays, do not turn
into these by themselves, and take those NumPy functions only that CuPy has. Raw kernels are
the CUDA source itself, compiled as C++ and run thread by thread.
"""

import contextlib
import ctypes
import functools
import os
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import scipy.special
from numpy.lib.mixins import NDArrayOperatorsMixin

SHIM = """
#include <cmath>
#define __global__
#define __device__
struct place { unsigned x; };
static place blockIdx, threadIdx, blockDim, gridDim;
extern "C" int backwards; /* whether the last thread comes first */
int backwards = 0;
"""
DTYPES = {"double": np.float64, "float": np.float32, "index": np.int64, "int": np.int32}
SIGNATURE = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)\s*\{')

# What of NumPy has the same meaning in CuPy and is used here; the names are checked against
# CuPy itself where it is installed.
FUNCTIONS = """
    abs absolute add all any append arange bitwise_and broadcast_to clip concatenate cosh
    divide empty empty_like equal exp expm1 flatnonzero full_like greater greater_equal
    isfinite less less_equal log log1p logaddexp logical_not matmul maximum minimum multiply
    nan_to_num negative ones ones_like power reshape sinh split sqrt square stack subtract sum
    take_along_axis tanh tile transpose where zeros zeros_like
""".split()


class ndarray(NDArrayOperatorsMixin):
    """An array "on a device"."""

    def __init__(self, held):
        self.held = held

    shape = property(lambda self: self.held.shape)
    dtype = property(lambda self: self.held.dtype)
    ndim = property(lambda self: self.held.ndim)
    size = property(lambda self: self.held.size)
    flags = property(lambda self: self.held.flags)
    nbytes = property(lambda self: self.held.nbytes)
    T = property(lambda self: ndarray(self.held.T))
    __cuda_array_interface__ = property(lambda self: {})

    def __len__(self):
        return len(self.held)

    def __getitem__(self, index):
        return wrapped(self.held[bare(index)])

    def __setitem__(self, index, value):
        self.held[bare(index)] = bare(value)

    def __matmul__(self, other):
        return lifted(np.matmul)(self, other)

    def __bool__(self):
        return bool(self.held)

    def __float__(self):
        return float(self.held)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __array__(self, *arguments, **more):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **more):
        if method != "__call__" or ufunc.signature or ufunc.__name__ not in FUNCTIONS:
            return NotImplemented
        if out is not None:
            more["out"] = tuple(map(bare, out))
        found = getattr(ufunc, method)(*map(bare, inputs), **more)
        return out[0] if out is not None else wrapped(found)

    def __array_function__(self, function, kinds, arguments, more):
        if function.__name__ not in FUNCTIONS:
            return NotImplemented
        if function is np.where:
            return where(*arguments)
        return lifted(function)(*arguments, **more)

    def get(self):
        return self.held.copy()


def _method(name):
    def call(self, *arguments, **more):
        more = {key: bare(value) for key, value in more.items()}
        return wrapped(getattr(self.held, name)(*map(bare, arguments), **more))

    return call


METHODS = "all argmax astype copy max min ravel reshape sum transpose mean"
for _name in METHODS.split():
    setattr(ndarray, _name, _method(_name))


def wrapped(value):
    """Arrays, lists of them, and numbers that NumPy makes of arrays, on the device."""
    if isinstance(value, list):
        return list(map(wrapped, value))
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    return value


def bare(value):
    """What is inside; TypeError for a host array."""
    if isinstance(value, ndarray):
        return value.held
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (tuple, list)):
        return type(value)(map(bare, value))
    return value


def lifted(function):
    """A NumPy function of device arrays."""

    def call(*arguments, **more):
        more = {name: bare(value) for name, value in more.items()}
        return wrapped(function(*map(bare, arguments), **more))

    return call


def where(condition, *values):
    """As NumPy's, for conditions that are arrays on the device; CuPy takes no others."""
    return lifted(np.where)(condition.astype(bool), *values)


class RawModule:
    """Kernels compiled as C++."""

    library = None

    def __init__(self, code, options):
        assert options == ("--std=c++14",)
        self.parameters = {
            name: [" ".join(one.split()) for one in parameters.split(",")]
            for name, parameters in SIGNATURE.findall(as_cpp(code))
        }

    def get_function(self, name):
        launch = getattr(self.library, f"launch_{name}")

        def call(grid, block, arguments):
            parameters = self.parameters[name]
            assert len(parameters) == len(arguments), name
            for place, (parameter, value) in enumerate(zip(parameters, arguments)):
                if not self._is_unused(arguments, place):
                    self._check(parameter, value)
            launch(grid[0], block[0], *map(self._argument, arguments))

        return call

    @staticmethod
    def _is_unused(arguments, place):
        """Whether a pointer is followed by a flag that says that nothing is read from it."""
        following = arguments[place + 1] if place + 1 < len(arguments) else None
        flag = isinstance(following, np.int32) and following == 0
        return flag and isinstance(arguments[place], ndarray)

    @staticmethod
    def _check(parameter, value):
        """Types are those of the source; CuPy passes bits on without a look at them."""
        kind = next(word for word in parameter.split() if word != "const")
        found = value.dtype if isinstance(value, ndarray) else np.dtype(type(value))
        assert isinstance(value, ndarray) == ("*" in parameter), parameter
        assert found == DTYPES[kind], (parameter, found)

    @staticmethod
    def _argument(value):
        if isinstance(value, ndarray):
            assert value.held.flags.c_contiguous
            return ctypes.c_void_p(value.held.ctypes.data)
        kinds = {np.int32: ctypes.c_int, np.int64: ctypes.c_longlong, np.float64: ctypes.c_double}
        return kinds[type(value)](value.item())


@functools.cache
def as_cpp(source):
    """The CUDA source with a loop over threads for each kernel."""
    name = re.search(r"#define STANDARDISE\(name, real\)(.*?)\n    \}\n", source, re.DOTALL)
    body = name.group(0).partition("real)")[2].replace("\\\n", "\n")
    source = source.replace(name.group(0), "").split("STANDARDISE(standardise_double")[0]
    for kernel, real in (("standardise_double", "double"), ("standardise_single", "float")):
        source += re.sub(r"\bname\b", kernel, re.sub(r"\breal\b", real, body))
    launchers = ""
    for kernel, parameters in SIGNATURE.findall(source):
        parameters = " ".join(parameters.split())
        names = ", ".join(re.search(r"(\w+)$", one).group(1) for one in parameters.split(","))
        launchers += (
            f'extern "C" void launch_{kernel}(unsigned g, unsigned b, {parameters}) {{\n'
            f"gridDim.x = g; blockDim.x = b;\n"
            f"for (unsigned n = 0; n < g * b; ++n) {{\n"
            f"unsigned thread = backwards ? g * b - 1 - n : n;\n"
            f"blockIdx.x = thread / b; threadIdx.x = thread % b; {kernel}({names});\n}}\n}}\n"
        )
    return SHIM + source + launchers


def compiled(source, folder):
    """A library of the kernels; skips where there is no compiler.

    With ``SKMOE_SANITIZE=1`` an access outside of an array ends the tests. The library of the
    sanitizer has to be there first: ``LD_PRELOAD="$(gcc -print-file-name=libasan.so)"`` and
    ``ASAN_OPTIONS=detect_leaks=0:handle_segv=0``.
    """
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("needs a C++ compiler (g++ or clang++)")
    path = folder / "kernels.cpp"
    path.write_text(as_cpp(source))
    command = [compiler, "-std=c++14", "-O1", "-shared", "-fPIC", str(path)]
    if os.environ.get("SKMOE_SANITIZE") == "1":
        command += ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    subprocess.run([*command, "-o", str(folder / "kernels.so")], check=True)
    return ctypes.CDLL(str(folder / "kernels.so"))


class _Device:
    """A device with so many free bytes."""

    free = 2**40

    @property
    def mem_info(self):
        return self.free, 2**40


def make_module(library):
    """The stand-ins for the modules ``cupy`` and ``cupyx.scipy.special``."""
    module = types.ModuleType("cupy")
    for name in FUNCTIONS:
        setattr(module, name, lifted(getattr(np, name)))
    module.where = where
    module.ndarray = ndarray
    none = types.SimpleNamespace(free_bytes=int, get_limit=int, used_bytes=int)
    module.get_default_memory_pool = lambda: none
    module.int32, module.float64 = np.int32, np.float64
    module.asarray = lambda value, dtype=None: ndarray(
        np.array(value.held if isinstance(value, ndarray) else value, dtype=dtype)
    )
    module.ascontiguousarray = lambda value, dtype=None: ndarray(
        np.ascontiguousarray(value.held, dtype=dtype)
    )
    module.asnumpy = lambda value: value.held.copy()
    module.RawModule = type("RawModule", (RawModule,), {"library": library})
    module.cuda = types.SimpleNamespace(Device=_Device, is_available=lambda: True)
    special = types.ModuleType("cupyx.scipy.special")
    for name in ("gammaln", "digamma", "zeta", "expit", "logit", "log_ndtr"):
        setattr(special, name, lifted(getattr(scipy.special, name)))
    return module, special


@contextlib.contextmanager
def in_place_of_cupy(library):
    """Put the stand-ins where imports look, and take them out again."""
    module, special = make_module(library)
    names = {"cupy": module, "cupyx.scipy.special": special}
    names |= {name: types.ModuleType(name) for name in ("cupyx", "cupyx.scipy")}
    names["skmoe._ops.gpu"] = None
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.modules.update({name: value for name, value in names.items() if value is not None})
    try:
        yield module
    finally:
        for name, value in before.items():
            sys.modules.pop(name, None)
            if value is not None:
                sys.modules[name] = value
