"""A fit to rows on disk: time of a pass against reading and arithmetic alone, and memory.

Rows are made in a temporary folder and removed. ``--rows 50_000_000`` takes 8.4 GB of disk as a
memory map.
"""

import argparse
import os
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import common
import numpy as np

from skmoe import MoERegressor
from skmoe._fit import FitData
from skmoe._rows import LocalRows
from skmoe._survey import Numbers
from skmoe._sweep import Sweeper
from skmoe.blocks import ArrayBlocks, ParquetBlocks

CHUNK = 500_000


def chunks(n_rows, n_columns, n_experts, seed=0):
    """Rows of a mixture: softmax gate, linear experts, noise 0.3."""
    rng = np.random.default_rng(seed)
    gate = rng.normal(size=(n_columns, n_experts))
    experts = rng.normal(size=(n_columns, n_experts))
    offset = rng.normal(size=n_experts)
    for start in range(0, n_rows, CHUNK):
        m = min(CHUNK, n_rows - start)
        X = rng.standard_normal((m, n_columns))
        scores = X @ gate + rng.gumbel(size=(m, n_experts))
        top = scores.argmax(axis=1)
        mean = (X @ experts + offset)[np.arange(m), top]
        yield start, X, mean + 0.3 * rng.standard_normal(m)


def write_memmap(folder, n_rows, n_columns, n_experts):
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float64, (n_rows, n_columns))
    y = np.lib.format.open_memmap(folder / "y.npy", "w+", np.float64, (n_rows,))
    for start, block, target in chunks(n_rows, n_columns, n_experts):
        X[start : start + len(block)], y[start : start + len(block)] = block, target
    X.flush(), y.flush()
    del X, y
    return ArrayBlocks(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in "Xy"))


def write_parquet(folder, n_rows, n_columns, n_experts):
    import pandas as pd

    names = [f"x{j}" for j in range(n_columns)]
    for start, block, target in chunks(n_rows, n_columns, n_experts):
        frame = pd.DataFrame(block, columns=names).assign(y=target)
        frame.to_parquet(folder / f"part{start:012d}.parquet", index=False)
    return ParquetBlocks(folder, "y")


def resident():
    """Bytes in memory that are no copy of a file: what the page cache cannot give back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024


class Peak:
    """The most resident memory while it is watched."""

    def __enter__(self):
        self.most, self._done = resident(), threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def _watch(self):
        while not self._done.wait(0.01):
            self.most = max(self.most, resident())

    def __exit__(self, *error):
        self._done.set()
        self._watcher.join()


@dataclass(frozen=True)
class Nothing:
    """What reading alone costs."""

    def __call__(self, block):
        return 1


def report(name, **values):
    line = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
    print(f"{name:<28}{line}   load {os.getloadavg()[0]:.1f}", flush=True)


def run(blocks, args):
    settings = {"n_experts": args.experts, "n_jobs": args.threads, "random_state": 0}
    few = [parts for parts, _ in zip(blocks.read(2**20), range(2))]
    MoERegressor(**settings).fit_blocks(few)  # compiles
    before = resident()
    rows = LocalRows(blocks, 2**26).mapped(Numbers())
    cpu, wall, _ = common.clocks(lambda: rows.sum(Nothing()))
    report("reading alone", cpu=cpu, wall=wall)
    with Peak() as peak, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MoERegressor(**settings, max_iter=args.iterations)
        cpu, wall, _ = common.clocks(
            lambda: model.fit_blocks(blocks, memory_limit=args.memory_limit)
        )
    history = model.history_
    passes = sum(history["passes"])
    report("fit", cpu=cpu, wall=wall, iterations=model.n_iter_, passes=passes)
    seconds = history["seconds"][-1] - history["seconds"][0]
    later = sum(history["passes"][1:])
    report("a pass of the fit", wall=seconds / later, cpu_of_fit_over_passes=cpu / (passes + 2))
    report("memory MiB", before=before / 2**20, peak=peak.most / 2**20)
    report("objective", value=model.objective_, converged=model.converged_)
    print("noise", np.round(model.likelihood_.scale_, 4), "load", np.round(model.load_, 4))
    whole = [np.concatenate(part) for part in zip(*((b[0], b[1]) for b in few))]
    pass_in_memory(blocks, model, args, whole)


def pass_in_memory(blocks, model, args, whole):
    """CPU time of a pass over rows in memory, of as many rows."""
    X = np.tile(np.asarray(whole[0]), (max(1, 1_000_000 // len(whole[0])), 1))
    y = np.tile(whole[1], max(1, 1_000_000 // len(whole[1])))[:, None]
    weight = np.ones(len(y))
    view = model._parts.gate.view(X, weight)
    data = FitData(view, view, y, weight, y_scale=model._units[0], n_threads=args.threads)
    sweeper = Sweeper(data)
    sweeper(model._parts, grams=True)
    for grams in (True, False):
        one = partial(sweeper, model._parts, grams=grams)
        times = [common.clocks(one)[:2] for _ in range(5)]
        cpu, wall = np.median(times, axis=0) * (args.rows / len(y))
        report(f"in memory, grams {grams}", cpu=cpu, wall=wall)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--experts", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--kind", choices=["memmap", "parquet"], default="memmap")
    parser.add_argument("--folder", default=None, help="where the temporary folder is made")
    args = parser.parse_args()
    write = {"memmap": write_memmap, "parquet": write_parquet}[args.kind]
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        began = time.perf_counter()
        blocks = write(Path(folder), args.rows, args.columns, args.experts)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        print(
            f"{args.kind}: {args.rows} x {args.columns}, {size / 1e9:.2f} GB, written in "
            f"{time.perf_counter() - began:.0f} s"
        )
        run(blocks, args)


if __name__ == "__main__":
    main()
