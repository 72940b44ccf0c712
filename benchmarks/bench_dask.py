"""A pass on one and on two workers of a cluster against a pass in memory.

Workers are processes of one thread on this machine, and passes are taken in turn. Seconds of
workers are CPU seconds of all of them together.
"""

import argparse
import logging
import os
import time

import common  # noqa: F401 (sets the number of BLAS threads before NumPy is imported)
import dask.array as da
import numpy as np
from bench_out_of_core import chunks
from distributed import Client, LocalCluster

import skmoe.dask
from skmoe._blockwise import prepare
from skmoe._fit import FitData
from skmoe._survey import Numbers, Survey
from skmoe._sweep import Sweeper, sweeper_of
from skmoe.dask._rows import DaskRows
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate


def on_cluster(n_workers, X, y, chunk):
    """A client, and a sweeper over rows on its workers."""
    cluster = LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    client = Client(cluster, set_as_default=False)
    with client.as_current():
        dX = da.from_array(X, chunks=(chunk, X.shape[1]))
        rows = DaskRows.of(dX, da.from_array(y, chunks=chunk), None).mapped(Numbers())
        data, _ = prepare(rows, rows.sum(Survey(1000, 0)), SoftmaxGate(), LinearExpert(), None, 1)
    return client, sweeper_of(data)


def timed(sweep, parts, client=None):
    """Wall seconds of a pass, and CPU seconds of this process or of the workers."""

    def cpu():
        return (
            time.process_time() if client is None else sum(client.run(time.process_time).values())
        )

    before, began = cpu(), time.perf_counter()
    sums = sweep(parts, grams=True)
    wall = time.perf_counter() - began
    return wall, cpu() - before, sums.loglik


def only_warnings(dask_worker=None):
    """No lines about the life of workers."""
    logging.getLogger("distributed").setLevel(logging.ERROR)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--experts", type=int, default=4)
    parser.add_argument("--chunk", type=int, default=125_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    only_warnings()
    made = list(chunks(args.rows, args.columns, args.experts))
    X, y = (np.concatenate([part[i] for part in made]) for i in (1, 2))
    few = slice(0, 20_000)
    model = skmoe.MoERegressor(n_experts=args.experts, random_state=0).fit(X[few], y[few])
    parts = model._parts
    weight = np.ones(len(y))
    view = parts.gate.view(X[few], weight[few]).on(X)
    data = FitData(view, view, y[:, None], weight, y_scale=model._units[0])
    sweeps = {"in memory": (Sweeper(data), None)}
    for n_workers in (1, 2):
        client, sweep = on_cluster(n_workers, X, y, args.chunk)
        for view in {id(sweep.data.X): sweep.data.X}.values():
            view.center, view.scale = data.X.center, data.X.scale
        sweeps[f"{n_workers} workers"] = sweep, client
    found = {name: [] for name in sweeps}
    for turn in range(args.repeats + 1):
        for name, (sweep, client) in sweeps.items():
            measured = timed(sweep, parts, client)
            if turn:  # the first one compiles
                found[name].append(measured)
    print(
        f"{args.rows} x {args.columns}, K={args.experts}, partitions of {args.chunk} rows, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for name, measured in found.items():
        wall, cpu, loglik = np.median(measured, axis=0)
        print(
            f"{name:<12} wall {wall:.3f}  best wall {min(m[0] for m in measured):.3f}  "
            f"cpu {cpu:.3f}  loglik {loglik:.6f}"
        )
    for _, client in sweeps.values():
        if client is not None:
            client.cluster.close()
            client.close()


if __name__ == "__main__":
    main()
