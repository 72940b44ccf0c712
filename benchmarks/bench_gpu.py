"""Passes, fits and predictions on a GPU beside the CPU, and how near passes are to the roofline.

    python benchmarks/bench_gpu.py --rows 2000000

Without CuPy or without a device it says so and measures nothing. The roofline of a pass is
the larger of two times: that of reading the rows once at the rate of a copy on the device, and
that of the arithmetic of the Gram matrices at the rate of a large matrix product.
"""

import argparse
import os
import time
import warnings
from dataclasses import replace

import common
import numpy as np
import problems
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.tree import DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from skmoe import MoERegressor
from skmoe._sweep import Sweeper
from skmoe.experts import MLPExpert
from skmoe.gates import MLPGate
from skmoe.solvers import Minibatch


def find_cupy():
    """CuPy with a device; None, and a line that says why, where there is none."""
    try:
        import cupy
    except ImportError as error:
        print(f"nothing measured: CuPy cannot be imported ({error}); pip install skmoe[gpu]")
        return None
    if not cupy.cuda.is_available():
        print("nothing measured: CuPy finds no GPU (see nvidia-smi and CUDA_VISIBLE_DEVICES)")
        return None
    return cupy


def seconds_of(function, wait, repeats=7):
    """Median wall-clock seconds of a call, the device's work included."""
    function()
    times = []
    for _ in range(repeats):
        wait()
        began = time.perf_counter()
        function()
        wait()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def rates(cupy, dtype, wait):
    """Bytes a second of a copy, and operations a second of a matrix product."""
    source = cupy.ones(2**27, dtype=dtype)
    target = cupy.empty_like(source)
    copying = seconds_of(lambda: cupy.copyto(target, source), wait)
    a = cupy.ones((8192, 8192), dtype=dtype)
    product = seconds_of(lambda: cupy.matmul(a, a), wait)
    return 2 * source.nbytes / copying, 2.0 * len(a) ** 3 / product


def passes(data, parts, threads):
    """Seconds of an EM pass on the CPU with so many threads."""
    sweep = Sweeper(replace(data, n_threads=threads))
    with threadpool_limits(1):
        return seconds_of(lambda: sweep(parts, grams=True), lambda: None, 3)


def measure(cupy, X, y, n_experts):
    """One row of the table."""
    from skmoe._device import on_device
    from skmoe._device_memory import Device

    def wait():
        cupy.cuda.Device().synchronize()

    data = problems.fit_data(X, y)
    parts = problems.new_parts(data, n_experts)
    coef = np.random.default_rng(0).normal(size=(data.gate_X.shape[1], n_experts))
    parts.gate._set(data.gate_X, 0.1 * coef)
    cores = os.cpu_count()
    one, all_cores = (passes(data, parts, threads) for threads in (1, cores))
    began = time.perf_counter()
    there = on_device(data, Device(), n_experts)
    sweep = there.sweeper()
    first = sweep(parts, grams=True)
    moved = time.perf_counter() - began
    plain = Sweeper(data)(parts, grams=True)
    device = seconds_of(lambda: sweep(parts, grams=True), wait)
    bandwidth, flops = rates(cupy, X.dtype, wait)
    n_columns = X.shape[1] + 1
    reading = (X.nbytes + 2 * y.nbytes) / bandwidth
    arithmetic = 2.0 * len(X) * n_columns**2 * (n_experts - 1) / flops
    roof = max(reading, arithmetic)
    return {
        "rows": len(X),
        "columns": X.shape[1],
        "K": n_experts,
        "dtype": str(X.dtype),
        "pass CPU, 1 core": one,
        f"pass CPU, {cores} cores": all_cores,
        "first pass and transfer": moved,
        "pass GPU": device,
        "times 1 core": one / device,
        "times all cores": all_cores / device,
        "share of the roofline": roof / device,
        "error of loglik": abs(first.loglik - plain.loglik) / abs(plain.loglik),
    }


KINDS = {
    "linear": MoERegressor(),
    "networks": MoERegressor(MLPExpert((16,)), gate=MLPGate((32,)), max_iter=100),
    "minibatch": MoERegressor(solver=Minibatch(random_state=0)),
    "minibatch of networks": MoERegressor(MLPExpert((16,)), solver=Minibatch(random_state=0)),
    "trees": MoERegressor(DecisionTreeRegressor(max_depth=8), cross_fit=None, max_iter=20),
}


def fits(kind, X, y, n_experts):
    """Seconds and results of a whole fit with and without the device."""
    found = {}
    for device in ("cpu", "cuda"):
        model = clone(KINDS[kind]).set_params(n_experts=n_experts, device=device, n_jobs=-1)
        model.set_params(init="kmeans", n_init=1, random_state=0)
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)
        found[device] = time.perf_counter() - began, model
    cpu, gpu = found["cpu"][1], found["cuda"][1]
    some = X[:10_000]
    return {
        "kind": kind,
        "rows": len(X),
        "fit CPU": found["cpu"][0],
        "fit GPU": found["cuda"][0],
        "iterations CPU": cpu.n_iter_,
        "iterations GPU": gpu.n_iter_,
        "difference of objectives": gpu.objective_ - cpu.objective_,
        "difference of predictions": float(np.abs(gpu.predict(some) - cpu.predict(some)).max()),
    }


def predictions(cupy, X, y, n_experts, top_k):
    """Seconds of a prediction by linear experts: on the CPU, and of rows on both sides."""

    def wait():
        cupy.cuda.Device().synchronize()

    model = MoERegressor(n_experts=n_experts, init="kmeans", n_init=1, random_state=0)
    model.fit(X[:20_000], y[:20_000]).set_params(top_k=top_k)
    there, plain = cupy.asarray(X), model.predict(X)
    found = {
        "rows": len(X),
        "top_k": top_k,
        "CPU": seconds_of(lambda: model.predict(X), lambda: None, 3),
        "GPU, rows there": seconds_of(lambda: model.predict(there), wait),
    }
    difference = np.abs(cupy.asnumpy(model.predict(there)) - plain).max()
    model.set_params(device="cuda")
    found["GPU, rows sent"] = seconds_of(lambda: model.predict(X), wait)
    return {**found, "difference": float(difference)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--experts", type=int, default=8)
    options = parser.parse_args()
    cupy = find_cupy()
    if cupy is None:
        return
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    print(properties["name"].decode(), "CuPy", cupy.__version__, common.machine(), sep="; ")
    problem = problems.regression(options.rows, options.columns, options.experts)
    kinds = (np.float64, np.float32)
    rows = [measure(cupy, problem.X.astype(kind), problem.y, options.experts) for kind in kinds]
    common.save("gpu_passes", rows)
    rows = [fits(kind, problem.X, problem.y, options.experts) for kind in KINDS]
    common.save("gpu_fits", rows)
    data = problem.X, problem.y, options.experts
    common.save("gpu_predictions", [predictions(cupy, *data, top_k) for top_k in (None, 2, 1)])


if __name__ == "__main__":
    main()
