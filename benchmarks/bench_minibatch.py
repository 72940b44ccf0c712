"""Minibatch training: an epoch against its two products and PyTorch, and wide sparse data.

Dense: rows x 50 columns, K = 8, in float64 and float32. The two products are those of a pass
without anything else: scores of all experts and gate, and the gradient by their coefficients,
batch by batch on rows in order. Sparse: 100,000 rows x 1,000,000 columns, 20 stored a row.
One thread, batches of 4096 rows; CPU seconds.
"""

import argparse
import warnings

import common
import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from skmoe import MoERegressor
from skmoe._adam import FlatSteps, LazySteps, mean_loglik, start_steps
from skmoe._design import Design
from skmoe._fit import FitData
from skmoe._joint import fit_joint
from skmoe._minibatch import _Course
from skmoe._monitor import Monitor
from skmoe._path import posterior
from skmoe._starts import linear_parts, minibatch_start
from skmoe._sweep import single_blas
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.solvers import Minibatch

K, BATCH = 8, 4096


def dense_data(n_rows, dtype, d=50):
    """Eight regimes: coefficients of gate and experts N(0, 1), noise 0.3."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, d), dtype=dtype)
    gate, slopes = rng.normal(size=(2, d, K))
    regime = np.argmax(X @ gate + rng.gumbel(size=(n_rows, K)), axis=1)
    y = np.empty(n_rows)
    for k in range(K):
        y[regime == k] = X[regime == k] @ slopes[:, k]
    return fit_data(X, y + 0.3 * rng.normal(size=n_rows))


def fit_data(X, y):
    """What the estimator hands to a solver."""
    weight, y = np.ones(len(y)), y.reshape(-1, 1)
    view, spread = Design.standardised(X, weight), y.std(axis=0)
    return FitData(view, view, y, weight, y_scale=spread, base_variance=np.square(spread))


def parts_of(data, n=K, rows=None):
    """Parts to start from."""
    return linear_parts(rows or data, LinearExpert(), SoftmaxGate(), Gaussian(), n)


def two_products(X):
    """CPU seconds of the scores and the gradient of an epoch."""
    rng = np.random.default_rng(1)
    coef = rng.normal(size=(2 * K, X.shape[1])).astype(X.dtype)
    values = rng.normal(size=(2 * K, BATCH)).astype(X.dtype)

    def products():
        gradient = np.zeros_like(coef)
        for start in range(0, len(X), BATCH):
            rows = X[start : start + BATCH]
            coef @ rows.T
            gradient += values[:, : len(rows)] @ rows

    return min(common.clocks(products)[0] for _ in range(5))


def epochs_of_skmoe(data, parts, n_epochs):
    """CPU seconds by epoch, and the parts."""
    options, rng = Minibatch(batch_size=BATCH, n_epochs=n_epochs), check_random_state(0)
    steps = start_steps(data, parts.keep())
    assert isinstance(steps, (FlatSteps, LazySteps))
    course = _Course(steps, options, np.arange(len(data.y)), n_epochs)
    with single_blas:  # as the estimator does
        times = [common.clocks(lambda: course.epoch(rng, None))[0] for _ in range(n_epochs)]
    return times, steps.settle()


def epochs_of_torch(data, n_epochs):
    """CPU seconds by epoch of the same model, batches and optimiser, on standardised rows."""
    import torch

    torch.set_num_threads(1)
    design = data.X
    X = torch.from_numpy(((design.X - design.center) / design.scale).astype(design.X.dtype))
    y = torch.from_numpy((data.y[:, 0] / data.y_scale).astype(design.X.dtype))
    gate, experts = (torch.nn.Linear(X.shape[1], K, dtype=X.dtype) for _ in range(2))
    log_scale = torch.zeros(K, dtype=X.dtype, requires_grad=True)
    parameters = [*gate.parameters(), *experts.parameters(), log_scale]
    optimiser = torch.optim.Adam(parameters, lr=0.02)

    def epoch():
        order = torch.randperm(len(X))
        for start in range(0, len(X), BATCH):
            rows = order[start : start + BATCH]
            batch = X[rows]
            error = (y[rows, None] - experts(batch)) * torch.exp(-log_scale)
            log_lik = -0.5 * error.square() - log_scale
            joint = torch.log_softmax(gate(batch), dim=1) + log_lik
            loss = -torch.logsumexp(joint, dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    epoch()
    return [common.clocks(epoch)[0] for _ in range(n_epochs)]


def dense(n_rows, dtype, with_torch):
    """One line of the table of dense data."""
    data = dense_data(n_rows, dtype)
    rng = check_random_state(0)
    make = lambda n, rows=None: parts_of(data, n, rows)  # noqa: E731
    start, (parts, _) = common.clocks(
        lambda: minibatch_start(data, make, K, ["grown", "kmeans"], None, rng)
    )[::2]
    epochs_of_skmoe(data, parts, 1)
    times, fitted = epochs_of_skmoe(data, parts, 10)
    resp = posterior(data, fitted)[0]
    monitor = Monitor(1e-9, 100, patience=3)
    best = fit_joint(data, fitted, monitor, resp)
    reached = mean_loglik(data, fitted)
    optimum = mean_loglik(data, type(fitted)(best.gate, best.experts, best.likelihood))
    products = two_products(data.X.X)
    line = {
        "rows": n_rows,
        "dtype": np.dtype(dtype).name,
        "start": start,
        "products": products,
        "epoch": float(np.median(times)),
        "gap after 10": optimum - reached,
    }
    line["times the products"] = line["epoch"] / products
    if with_torch:
        line["torch epoch"] = float(np.median(epochs_of_torch(data, 3)))
        line["torch times"] = line["torch epoch"] / line["epoch"]
    return line


def sparse_problem(n_rows, n_columns, n_stored=20):
    """One-hot like rows: a few frequent columns and many rare ones, two regimes."""
    rng = np.random.default_rng(0)
    frequent = rng.integers(0, 100, size=(n_rows, 4))
    rare = rng.integers(0, n_columns, size=(n_rows, n_stored - 4))
    indices = np.hstack([frequent, rare]).astype(np.int32)
    shape = (n_rows, n_columns)
    X = sp.csr_matrix(
        (np.ones(indices.size), indices.ravel(), np.arange(n_rows + 1) * n_stored), shape=shape
    )
    X.sum_duplicates()
    effects = rng.normal(size=(100, 2))
    regime = np.asarray(X[:, :20].sum(axis=1)).ravel() > 0
    y = np.where(regime, *(X[:, :100] @ effects).T) + 0.3 * rng.normal(size=n_rows)
    return X, y


def sparse_epochs(data):
    """CPU seconds of three epochs from random hyperplanes."""
    make = lambda n, rows=None: parts_of(data, n, rows)  # noqa: E731
    parts, _ = minibatch_start(data, make, K, ["random"], None, check_random_state(0))
    return epochs_of_skmoe(data, parts, 3)[0]


def sparse(n_rows, n_columns):
    """Seconds of an epoch and memory of a fit of wide sparse data."""
    X, y = sparse_problem(n_rows, n_columns)
    model = MoERegressor(n_experts=K, solver=Minibatch(n_epochs=2), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X[:1000], y[:1000])  # compiles
    times = sparse_epochs(fit_data(X, y))

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return common.clocks(lambda: model.fit(X, y))[0]

    seconds, memory = common.memory_of(fit)
    stored = (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes) / 2**20
    parameters = 2 * K * (n_columns + 1) * 8 / 2**20
    return {
        "rows": n_rows,
        "columns": n_columns,
        "epoch": float(np.median(times)),
        "fit of 2 epochs": seconds,
        "peak MiB": memory,
        "non-zeros MiB": stored,
        "parameters MiB": parameters,
    }


def main():
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--no-torch", action="store_true")
    given = parser.parse_args()
    n_rows = 100_000 if given.quick else 1_000_000
    lines = [dense(n_rows, dtype, not given.no_torch) for dtype in (np.float64, np.float32)]
    for line in lines:
        print(line, flush=True)
    sizes = [(10_000, 100_000)] if given.quick else [(100_000, 100_000), (100_000, 1_000_000)]
    for size in sizes:
        print(sparse(*size), flush=True)


if __name__ == "__main__":
    main()
