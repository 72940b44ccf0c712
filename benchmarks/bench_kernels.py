"""One pass over the rows against what the machine can do, in the same run.

Roofline: reading the rows (stream), products at the DGEMM rate, K Grams at the DGEMM
rate, exponentials. Then kernels by themselves, whole passes, sparse passes, threads.
``--full`` adds the large problems.
"""

import argparse
from functools import partial
from unittest import mock

import common
import numpy as np
import problems
import scipy.sparse as sp

from skmoe._design import BlockReader, get_ops
from skmoe._ops import cpu
from skmoe._ops.blocks import stacked_grams
from skmoe._sweep import Sweeper

SMALL = [(5000, 10, 4), (50000, 20, 8)]
LARGE = [(200000, 10, 4), (200000, 50, 2), (20000, 200, 4), (200000, 50, 8)]


def prepared(n, d, n_experts, n_threads=1, dtype=np.float64):
    """Data and parts after one M-step of a regression problem."""
    problem = problems.regression(n, d, n_experts)
    start = problems.make_start(problem, "noisy")
    data = problems.fit_data(problem.X.astype(dtype), problem.y, n_threads=n_threads)
    return data, start.parts


def blocks(data):
    """The blocks of a fit as standardised arrays (m, padded width)."""
    reader, found = BlockReader(data.X), []
    for rows in data.X.slices():
        reader.read(rows)
        found.append((rows, reader.block.copy()))
    return found


def gram_functions(data, n_experts):
    """All K weighted Grams of all blocks: by the vector tile and by stacked BLAS."""
    ops, read = get_ops(), blocks(data)
    weights = np.random.default_rng(0).dirichlet(np.ones(n_experts), size=data.X.shape[0])
    by_block = [np.ascontiguousarray(weights[rows].T) for rows, _ in read]
    out = np.zeros((n_experts, read[0][1].shape[1], read[0][1].shape[1]))

    def run(kernel):
        for (_, Z), r in zip(read, by_block):
            kernel(Z, r.astype(Z.dtype), -1, out)

    return {"tile": lambda: run(ops.tiled_grams), "stacked BLAS": lambda: run(stacked_grams)}


def product_functions(data, parts):
    """Scores and gradient of all blocks by BLAS, at the widths of a pass; exponentials."""
    read = blocks(data)
    n_scores = 2 * parts.experts.n_experts
    coef = np.random.default_rng(0).normal(size=(n_scores, read[0][1].shape[1]))
    scores = [np.empty((n_scores, len(Z))) for _, Z in read]
    logs = [np.minimum(-np.abs(coef[:, :1] + Z[:, 0]), 0.0) for _, Z in read]

    def products():
        for (_, Z), values in zip(read, scores):
            np.matmul(coef, Z.T, out=values)
            values @ Z

    def exponentials():
        for values, out in zip(logs, scores):
            np.exp(values, out=out)

    return {"two products, BLAS": products, "exp, NumPy": exponentials}


def kernels(shape, repeats):
    """Rows of a table: each kernel and pass against its roof."""
    n, d, n_experts = shape
    data, parts = prepared(*shape)
    single, _ = prepared(*shape, dtype=np.float32)
    rate, rate32 = common.dgemm_rate(), common.dgemm_rate(dtype=np.float32)
    stream = common.stream_rate(data.X.X)
    gram_flops = float(n) * (d + 1) ** 2 * n_experts  # one triangle
    product_flops = 8.0 * n * (d + 1) * n_experts  # two products of 2 K columns
    sweeps, sweeps32 = Sweeper(data), Sweeper(single)
    functions = {f"Grams, {k}": f for k, f in gram_functions(data, n_experts).items()}
    functions["Grams, tile, float32"] = gram_functions(single, n_experts)["tile"]
    functions |= product_functions(data, parts)
    functions |= {
        "pass without Grams": lambda: sweeps(parts),
        "EM pass": lambda: sweeps(parts, grams=True),
        "EM pass, float32": lambda: sweeps32(parts, grams=True),
        "EM pass, BLAS Grams": lambda: _blas_pass(sweeps, parts),
    }
    times = common.median_cpu(common.interleaved(functions, repeats))
    roofs = {"two products, BLAS": product_flops / rate, "pass without Grams": product_flops / rate}
    rows = []
    for name, seconds in times.items():
        peak = rate32 if "float32" in name else rate
        roof = roofs.get(name, gram_flops / peak)
        roof = np.nan if name.startswith("exp") else roof
        rows.append(
            {
                "n": n,
                "d": d,
                "K": n_experts,
                "what": name,
                "ms": 1e3 * seconds,
                "roof ms": 1e3 * roof,
                "times roof": seconds / roof,
                "DGEMM GF/s": peak / 1e9,
                "read X ms": 1e3 * data.X.X.nbytes / stream,
            }
        )
    return rows


def _blas_pass(sweeps, parts):
    with mock.patch.object(cpu, "tiled_grams", stacked_grams):
        sweeps(parts, grams=True)


def sparse(n, d, n_stored, n_experts, repeats):
    """A gradient pass on CSR features against its two products by SciPy."""
    rng = np.random.default_rng(0)
    indices = rng.integers(0, d, size=(n, n_stored)).ravel()
    indptr = np.arange(0, n * n_stored + 1, n_stored)
    X = sp.csr_matrix((rng.normal(size=n * n_stored), indices, indptr), shape=(n, d))
    X.sum_duplicates()
    y = X @ rng.normal(size=d) + rng.normal(size=n)
    data = problems.fit_data(X, y)
    parts = problems.new_parts(data, n_experts)
    parts.gate._set(data.gate_X, rng.normal(size=(d + 1, n_experts)))
    coef, values = rng.normal(size=(d, 2 * n_experts)), rng.normal(size=(n, 2 * n_experts))
    sweeps, transposed = Sweeper(data), X.T.tocsr()
    functions = {
        "products, SciPy": lambda: (X @ coef, X.T @ values),
        "products, X' stored": lambda: (X @ coef, transposed @ values),
        "gradient pass": lambda: sweeps(parts),
    }
    times = common.median_cpu(common.interleaved(functions, repeats))
    products = times["products, SciPy"]
    return [
        {"n": n, "d": d, "nnz": X.nnz, "K": n_experts, "what": name}
        | {"ms": 1e3 * seconds, "times products": seconds / products}
        for name, seconds in times.items()
    ]


def threads(shape, repeats):
    """Wall-clock time of passes with one and two threads; whether the sums are equal."""
    rows = []
    data = {number: prepared(*shape, n_threads=number)[0] for number in (1, 2)}
    parts = prepared(*shape)[1]
    sweeps = {number: Sweeper(data[number]) for number in data}
    for grams in (True, False):
        functions = {k: partial(sweeps[k], parts, grams=grams) for k in sweeps}
        times = common.interleaved(functions, repeats)
        sums = {number: function() for number, function in functions.items()}
        equal = all(
            np.array_equal(one, two)
            for one, two in zip(vars(sums[1]).values(), vars(sums[2]).values())
        )
        cpu, wall = ({k: np.median(pairs[:, i]) for k, pairs in times.items()} for i in (0, 1))
        row = dict(zip(("n", "d", "K"), shape)) | {"Grams": grams}
        row |= {f"wall ms, {number} threads": 1e3 * value for number, value in wall.items()}
        row |= {"speed-up": wall[1] / wall[2], "speed-up were both cores free": 2 * cpu[1] / cpu[2]}
        rows.append(row | {"bitwise equal": equal})
    return rows


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the large problems, too")
    full = parser.parse_args().full
    print(common.machine(), "\n")
    suffix = "" if full else "_short"
    found = []
    for shape in SMALL + LARGE if full else SMALL:
        found += kernels(shape, 5)
    common.save("kernels" + suffix, found)
    size = (100_000, 50_000) if full else (20_000, 10_000)
    common.save("sparse" + suffix, sparse(*size, 20, 4, 5))
    shape = (200_000, 50, 8) if full else (50_000, 20, 8)
    common.save("threads" + suffix, threads(shape, 7))


if __name__ == "__main__":
    main()
