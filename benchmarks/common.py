"""What every benchmark shares: one thread, clocks, the machine, tables and files."""
# ruff: noqa: E402

import os

# Before NumPy is imported: its BLAS reads these once. Numbers are for one thread
# unless a benchmark says otherwise.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import csv
import importlib.metadata
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
IMAGES = HERE.parent / "docs" / "images"
_PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "llvmlite", "torch")


def clocks(function):
    """CPU and wall-clock seconds of one call, and what it returned."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = function()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def interleaved(functions, repeats=5, warm=True):
    """Time functions in turn: A B A B.

    Parameters
    ----------
    functions : dict of callable
    repeats : int, default=5
    warm : bool, default=True
        Whether to call each once before.

    Returns
    -------
    dict of ndarray of shape (repeats, 2)
        CPU and wall-clock seconds.
    """
    if warm:
        for function in functions.values():
            function()
    found = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            found[name].append(clocks(function)[:2])
    return {name: np.array(times) for name, times in found.items()}


def median_cpu(times):
    """Median CPU seconds of what `interleaved` returns, by name."""
    return {name: float(np.median(pairs[:, 0])) for name, pairs in times.items()}


def memory_of(function):
    """What a call returns, and the most memory it held above what was held before, in MiB.

    Where the system cannot forget an earlier peak (only Linux can), the figure counts from
    that peak.
    """
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not forget.exists():
        unit = 2**20 if sys.platform == "darwin" else 2**10
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        result = function()
        return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit - before

    def kibibytes(name):
        lines = status.read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(name))

    forget.write_text("5")
    before = kibibytes("VmRSS")
    result = function()
    return result, (kibibytes("VmHWM") - before) / 2**10


def in_fresh_process(script, *args, timeout=600):
    """Standard output of a Python script run in a process of its own."""
    command = [sys.executable, str(script), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-500:])
    return done.stdout


def dgemm_rate(size=1024, dtype=np.float64, repeats=7):
    """Best rate of a square matrix product on one thread, in flops a CPU second."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(size, size)).astype(dtype) for _ in range(2))
    a @ b
    return 2.0 * size**3 / min(clocks(lambda: a @ b)[0] for _ in range(repeats))


def stream_rate(X, repeats=5):
    """Best rate at which the numbers of an array are read, in bytes a CPU second."""
    flat = X.ravel()
    return X.nbytes / min(clocks(lambda: flat @ flat)[0] for _ in range(repeats))


def cpu_name():
    """Model of the processor, with the widest vector instructions it has."""
    name, wide = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
        flags = next((x.split() for x in lines if x.startswith("flags")), [])
        wide = next((f" ({w})" for w in ("avx512f", "avx2") if w in flags), "")
    return name + wide


def machine():
    """One line: processor, cores, threads, versions."""
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} absent")
    threads = os.environ["OPENBLAS_NUM_THREADS"]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{cpu_name()}, {os.cpu_count()} cores, BLAS threads {threads}{load}; "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def save(name, rows):
    """Print rows (dicts with the same keys) as a table; write them to results/NAME.csv."""
    show(rows)
    RESULTS.mkdir(exist_ok=True)
    with open(RESULTS / f"{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _text(value) for key, value in row.items()} for row in rows)
    (RESULTS / f"{name}.machine.txt").write_text(machine() + "\n")


def show(rows):
    """Print rows (dicts with the same keys) as a table."""
    lines = [list(rows[0])] + [[_text(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print(flush=True)


def _text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)
