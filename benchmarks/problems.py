"""Synthetic problems, their starts, and the data and parts of a fit made from them."""

from dataclasses import dataclass, replace

import common  # noqa: F401  (first: it sets the number of threads)
import numpy as np

from skmoe._design import Design
from skmoe._em import fit_em
from skmoe._fit import FitData, Parts
from skmoe._init import kmeans_start
from skmoe._monitor import Monitor
from skmoe._path import posterior
from skmoe._starts import one_expert_variance
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Categorical, Gaussian

NOISE = 0.3


@dataclass
class Problem:
    """Rows, targets and the probability of each true regime (n, K)."""

    name: str
    X: np.ndarray
    y: np.ndarray
    truth: np.ndarray
    n_classes: int | None = None

    @property
    def n_experts(self):
        """Number of experts."""
        return self.truth.shape[1]


def _softmax(logits):
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def _draw(proba, rng):
    """One index per row from probabilities (n, K)."""
    picked = (proba.cumsum(axis=1) < rng.random((len(proba), 1))).sum(axis=1)
    return np.minimum(picked, proba.shape[1] - 1)


def _features(n, d, rng, correlated):
    X = rng.normal(size=(n, d))
    # Any two columns of correlated features have correlation .9.
    return X + 3.0 * rng.normal(size=(n, 1)) if correlated else X


def regression(n, d, n_experts, seed=0):
    """Coefficients of gate and experts are N(0, 1), noise has deviation .3."""
    rng = np.random.default_rng(seed)
    X = _features(n, d, rng, False)
    gate = _softmax(X @ rng.normal(size=(d, n_experts)) + rng.normal(size=n_experts))
    means = X @ rng.normal(size=(d, n_experts)) + rng.normal(size=n_experts)
    regime = _draw(gate, rng)
    y = means[np.arange(n), regime] + NOISE * rng.normal(size=n)
    return Problem(f"{n} x {d}, K={n_experts}", X, y, np.eye(n_experts)[regime])


def classification(n, d, n_experts, n_classes, seed=0, correlated=False):
    """Coefficients of gate and experts are N(0, 1)."""
    rng = np.random.default_rng(seed)
    X = _features(n, d, rng, correlated)
    gate = _softmax(X @ rng.normal(size=(d, n_experts)) + rng.normal(size=n_experts))
    regime = _draw(gate, rng)
    scores = np.einsum("nd,dkc->nkc", X, rng.normal(size=(d, n_experts, n_classes)))
    codes = _draw(_softmax(scores[np.arange(n), regime]), rng)
    name = f"{n} x {d}, K={n_experts}, C={n_classes}" + (", correlated" if correlated else "")
    return Problem(name, X, codes, np.eye(n_experts)[regime], n_classes)


def fit_data(X, y, n_classes=None, n_threads=1):
    """What the estimators hand to a solver: views, scales, base variance."""
    weight = np.ones(len(y))
    design = Design.standardised(X, weight)
    if n_classes is not None:
        return FitData(design, design, y, weight, n_classes=n_classes, n_threads=n_threads)
    y = y[:, None]
    data = FitData(design, design, y, weight, y_scale=y.std(axis=0), n_threads=n_threads)
    return replace(data, base_variance=one_expert_variance(data))


def new_parts(data, n_experts, penalised=True):
    """Unfitted parts with default settings; without any penalty on request."""
    expert = LinearExpert() if penalised else LinearExpert(alpha=0.0)
    gate = SoftmaxGate() if penalised else SoftmaxGate(alpha=0.0)
    gaussian = Gaussian() if penalised else Gaussian(floor=0.0)
    likelihood = gaussian if data.n_classes is None else Categorical()
    experts = expert.collection(n_experts, data.n_classes).start(data)
    return Parts(gate, experts, likelihood.start(data, n_experts))


def start_resp(problem, data, kind, seed=1):
    """Responsibilities (n, K): the truth blurred by noise, or clusters of the features."""
    rng = np.random.RandomState(seed)
    if kind == "kmeans":
        return kmeans_start(data.gate_X, data.weight, problem.n_experts, rng)
    noise = rng.dirichlet(np.ones(problem.n_experts), size=len(problem.y))
    return 0.5 * problem.truth + 0.5 * noise


@dataclass
class Start:
    """Where every method of a race begins: the parameters of one M-step."""

    problem: Problem
    data: FitData
    parts: Parts
    resp: np.ndarray
    penalised: bool = True

    def posterior(self):
        """Responsibilities (n, K) at the start."""
        return posterior(self.data, self.parts)[0]


def make_start(problem, kind, penalised=True):
    """The start of a race, by one M-step from responsibilities."""
    data = fit_data(problem.X, problem.y, problem.n_classes)
    resp = start_resp(problem, data, kind)
    parts = new_parts(data, problem.n_experts, penalised)
    result = fit_em(data, parts, Monitor(0.0, 1), resp)
    parts = Parts(result.gate, result.experts, result.likelihood)
    return Start(problem, data, parts, resp, penalised)
