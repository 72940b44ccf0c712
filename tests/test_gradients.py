"""Gradients of the objective against finite differences: gate x experts x law x weights.

A law behind a link joins by its line in the table of ``test_linked``, any other one by a line
in ``LAWS``: the settings of its mixture, and its targets.
"""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_linked import ETA, N, X
from test_linked import LAWS as LINKED

from skmoe import MoEClassifier, MoERegressor
from skmoe._cooperative import cooperative
from skmoe._design import Design
from skmoe._fit import Parts, objective_value
from skmoe._joint import objective_gradient
from skmoe._sweep import Sweeper, can_sweep
from skmoe._whole import WholeEvaluator
from skmoe.experts import FactorExpert, LinearExpert, MLPExpert
from skmoe.gates import HierarchicalGate, MLPGate, SoftmaxGate
from skmoe.solvers import Gradient

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.RandomState(0)
NUMBERS = ETA + 0.3 * rng.normal(size=N)
OUTPUTS = np.column_stack([NUMBERS, ETA**2 + 0.3 * rng.normal(size=N)])
GAPS = np.where(rng.uniform(size=OUTPUTS.shape) < 0.3, np.nan, OUTPUTS)
CLASSES = np.digitize(NUMBERS, [0.3, 1.0])
WEIGHT = rng.uniform(0.3, 2.0, size=N)

GATES = {
    "softmax": SoftmaxGate(alpha=0.01),
    "hierarchical": HierarchicalGate((2, 2), alpha=0.01),
    "mlp": MLPGate((3,), activation="tanh", random_state=0),
}
EXPERTS = {
    "linear": LinearExpert(alpha=0.7),
    "mlp": MLPExpert((3,), alpha=0.7, activation="tanh", random_state=0),
    "mlp-2": MLPExpert((3, 2), alpha=0.7, activation="tanh", random_state=0),
    "factor": FactorExpert(2, random_state=0),
}
LAWS = {
    "gaussian": ({}, NUMBERS),
    "outputs": ({}, OUTPUTS),
    "gate-per-output": ({"gate_per_output": True}, OUTPUTS),
    "missing": ({"missing_outputs": "mask"}, GAPS),
    "missing-per-output": ({"missing_outputs": "mask", "gate_per_output": True}, GAPS),
    "noise": ({"likelihood": "gaussian_with_noise"}, NUMBERS),
    "categorical": ({}, CLASSES),
    **{name: ({"likelihood": law}, y) for name, (law, y) in LINKED.items()},
}


class Kept(Gradient):
    """Keeps what it was given and where it ended."""

    def fit(self, data, parts, monitor, resp):
        result = self.begin(data, parts, monitor, resp)
        Kept.found = data, Parts(result.gate, result.experts, result.likelihood)
        return result


def problem(gate, experts, law, weighted):
    """Data and parts at a point that is no optimum."""
    settings, y = LAWS[law]
    kind = MoEClassifier if law == "categorical" else MoERegressor
    n_experts = 4 if gate == "hierarchical" else 3
    start = np.random.RandomState(1).dirichlet(np.ones(n_experts), size=N)
    model = kind(
        EXPERTS[experts],
        n_experts,
        gate=GATES[gate],
        solver=Kept(),
        max_iter=2,
        init=start,
        n_init=1,
        random_state=0,
        **settings,
    )
    model.fit(X, y, WEIGHT if weighted else None)
    data, parts = Kept.found
    flat = parts.flat()
    return data, parts.with_flat(flat + 0.1 * np.random.RandomState(2).normal(size=flat.size))


def sums_of(data, parts):
    return (Sweeper if can_sweep(data, parts) else WholeEvaluator)(data)(parts)


def check(data, parts):
    """The gradient, once it has been compared with central differences."""

    def value(flat):
        moved = parts.with_flat(flat)
        return objective_value(data, sums_of(data, moved).loglik, moved)

    gradient = objective_gradient(data, parts, sums_of(data, parts))
    flat, step = parts.flat(), 1e-5
    differences = np.array(
        [value(flat + move) - value(flat - move) for move in step * np.eye(len(flat))]
    )
    differences /= 2 * step
    scale = max(1.0, np.abs(gradient).max())
    assert_allclose(gradient / scale, differences / scale, atol=1e-6)
    assert np.abs(gradient).max() > 1e-3
    return gradient


CASES = [
    (gate, experts, law)
    for gate in GATES
    for experts in EXPERTS
    for law in LAWS
    if (experts == "linear" or law not in LINKED) and not (gate == "hierarchical" and "two" in law)
]


@pytest.mark.parametrize("weighted", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("gate", "experts", "law"), CASES)
def test_gradient_agrees_with_differences(gate, experts, law, weighted):
    check(*problem(gate, experts, law, weighted))


@pytest.mark.parametrize("law", ["outputs", "gate-per-output", "missing", "missing-per-output"])
@pytest.mark.parametrize("experts", ["linear", "mlp", "factor"])
@pytest.mark.parametrize("gate", GATES)
def test_gradient_of_the_blended_error(gate, experts, law):
    data, parts = problem(gate, experts, law, True)
    check(data, cooperative(data, parts))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("experts", ["linear", "mlp"])
def test_single_precision_agrees(experts, law):
    if experts != "linear" and law in LINKED:
        return
    data, parts = problem("softmax", experts, law, True)
    single = Design(data.X.X.astype(np.float32), data.X.center, data.X.scale)
    rough = replace(data, X=single, gate_X=single)
    one, other = (objective_gradient(d, parts, sums_of(d, parts)) for d in (data, rough))
    assert_allclose(one, other, atol=1e-4 * np.abs(one).max())
    values = [objective_value(d, sums_of(d, parts).loglik, parts) for d in (data, rough)]
    assert_allclose(*values, atol=1e-4)
