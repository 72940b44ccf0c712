"""Small random problems in the form that trainers take."""

import naive
import numpy as np
import scipy.sparse as sp

from skmoe._design import Design
from skmoe._fit import FitData, Parts
from skmoe._monitor import Monitor
from skmoe._starts import one_expert_variance
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Categorical, Gaussian


def regression(seed, n=120, d=3, n_outputs=1, n_experts=3, noise=0.3):
    """Features (n, d) and targets (n, m) of a mixture of linear experts."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n, d))
    regime = (X @ rng.normal(size=(d, n_experts))).argmax(axis=1)
    slopes = 2.0 * rng.normal(size=(n_experts, d, n_outputs))
    y = np.einsum("nd,ndm->nm", X, slopes[regime]) + 2.0 * regime[:, None]
    return X, y + noise * rng.normal(size=y.shape)


def classification(seed, n=120, d=3, n_classes=3, n_experts=3):
    """Features (n, d) and class codes (n,) of a mixture of linear classifiers."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n, d))
    regime = (X @ rng.normal(size=(d, n_experts))).argmax(axis=1)
    slopes = 2.0 * rng.normal(size=(n_experts, d, n_classes))
    scores = np.einsum("nd,ndc->nc", X, slopes[regime]) + rng.gumbel(size=(n, n_classes))
    codes = scores.argmax(axis=1)
    codes[:n_classes] = np.arange(n_classes)
    return X, codes


def sparsened(X, seed=0, share=0.5):
    """CSR with a share of the entries put to zero."""
    rng = np.random.RandomState(seed)
    return sp.csr_matrix(np.where(rng.uniform(size=X.shape) < share, 0.0, X))


def weights(n, seed=0):
    """Positive weights (n,), neither equal nor integer."""
    return np.random.RandomState(seed).uniform(0.2, 3.0, size=n)


def responsibilities(n, n_experts, seed=0):
    """Random responsibilities (n, K); rows sum to one."""
    return np.random.RandomState(seed).dirichlet(np.ones(n_experts), size=n)


def regression_data(X, y, weight=None, gate_X=None):
    """`FitData` with standardised views, as the estimators make it."""
    weight = np.ones(X.shape[0]) if weight is None else weight
    view = Design.standardised(X, weight)
    gate_view = view if gate_X is None else Design.standardised(gate_X, weight)
    y = np.asarray(y, dtype=np.float64).reshape(X.shape[0], -1)
    mean = weight @ y / weight.sum()
    y_scale = np.sqrt(weight @ np.square(y - mean) / weight.sum())
    plain = FitData(gate_view, view, y, weight, y_scale=y_scale)
    base = one_expert_variance(plain)
    return FitData(gate_view, view, y, weight, y_scale=y_scale, base_variance=base)


def classification_data(X, codes, weight=None, gate_X=None):
    """`FitData` with standardised views and class codes."""
    weight = np.ones(X.shape[0]) if weight is None else weight
    view = Design.standardised(X, weight)
    gate_view = view if gate_X is None else Design.standardised(gate_X, weight)
    return FitData(gate_view, view, codes, weight, n_classes=int(codes.max()) + 1)


def linear_parts(data, n_experts, *, alpha=1.0, gate_alpha=1e-4, likelihood=None):
    """Started parts with linear experts, for either task."""
    if data.n_classes is not None:
        likelihood = Categorical()
    likelihood = Gaussian() if likelihood is None else likelihood
    experts = LinearExpert(alpha).collection(n_experts, data.n_classes).start(data)
    return Parts(SoftmaxGate(gate_alpha), experts, likelihood.start(data, n_experts))


def make_data(task, seed, weighted, sparse, n=100, **sizes):
    """`FitData` of a random problem of either task."""
    X, y = (regression if task == "regression" else classification)(seed, n=n, **sizes)
    X = sparsened(X, seed) if sparse else X
    weight = weights(n, seed) if weighted else None
    return (regression_data if task == "regression" else classification_data)(X, y, weight)


def naive_objective(data, result, gate_alpha=1e-4, alpha=1.0, floor=0.1):
    """The objective of a result from its formula."""
    X = data.X.X.toarray() if data.X.is_sparse else data.X.X
    Z = naive.columns(X, data.X.center, data.X.scale)
    gate_coef, coef = result.gate.block_coef(), result.experts.coef
    if data.n_classes is not None:
        return naive.classification_objective(
            Z, data.y, data.weight, gate_coef, coef, gate_alpha=gate_alpha, alpha=alpha
        )
    return naive.regression_objective(
        Z,
        data.y,
        data.weight,
        gate_coef,
        coef,
        result.likelihood.dispersion,
        gate_alpha=gate_alpha,
        alpha=alpha,
        floor=floor,
        base=data.base_variance,
    )


class StrictMonitor(Monitor):
    """Raises where the objective drops."""

    def update(self, objective, load, passes=1):
        if self.n_iter:
            previous = self.history["objective"][-1]
            least = previous - 1e-10 * max(1.0, abs(previous))
            assert objective >= least, f"{previous} fell by {previous - objective}"
        assert np.isfinite(objective)
        return super().update(objective, load, passes)
