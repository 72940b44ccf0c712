"""The evaluation of all rows at once is the slow twin of the sweep."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import StrictMonitor, linear_parts, make_data, responsibilities

from skmoe._em import fit_em
from skmoe._fit import Parts
from skmoe._joint import fit_joint
from skmoe._monitor import Monitor
from skmoe._sweep import Sweeper
from skmoe._whole import WholeEvaluator
from skmoe.gates import SoftmaxGate

CASES = [
    ("regression", False, {}),
    ("regression", True, {}),
    ("regression", False, {"n_outputs": 2}),
    ("classification", False, {}),
    ("classification", True, {}),
]
IDS = ["regression", "regression-csr", "outputs", "classification", "classification-csr"]
cases = pytest.mark.parametrize(("task", "sparse", "sizes"), CASES, ids=IDS)


class UnsweptGate(SoftmaxGate):
    """A softmax gate that a sweep cannot use: it hides its coefficients."""

    block_coef = property()


def unswept(parts):
    return Parts(UnsweptGate(parts.gate.alpha), parts.experts, parts.likelihood)


@cases
@pytest.mark.parametrize("given", [False, True])
def test_sums_equal_those_of_a_sweep(task, sparse, sizes, given):
    data = make_data(task, 0, True, sparse, **sizes)
    begun = fit_em(data, linear_parts(data, 3), Monitor(0.0, 3), responsibilities(100, 3))
    parts = Parts(begun.gate, begun.experts, begun.likelihood)
    resp = responsibilities(100, 3, 5) if given else None
    fast, slow = Sweeper(data), WholeEvaluator(data)
    one, other = (look(parts, resp=resp, grams=True) for look in (fast, slow))
    assert one.unexplained == other.unexplained
    for name in ("loglik", "experts", "by_expert", "gram"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-9)
    assert_allclose(one.gate.ravel(), other.gate, atol=1e-9)
    assert slow.n_passes == fast.n_passes == 1


@cases
def test_training_reaches_the_optimum_that_sweeps_reach(task, sparse, sizes):
    data = make_data(task, 1, True, sparse, **sizes)
    parts, resp = linear_parts(data, 2), responsibilities(100, 2, 1)
    swept = fit_joint(data, parts, Monitor(1e-6, 200, patience=5), resp)
    start = swept.gate.log_proba(data.gate_X)
    gate = UnsweptGate(parts.gate.alpha).fit(data.gate_X, np.exp(start), data.weight)
    near = Parts(gate, swept.experts, swept.likelihood)
    monitor = StrictMonitor(1e-13, 400, patience=10)
    whole = fit_joint(data, near, monitor, np.exp(start), warm_up=1)
    swept = fit_joint(
        data,
        Parts(swept.gate, swept.experts, swept.likelihood),
        Monitor(1e-13, 400, patience=10),
        np.exp(start),
    )
    assert_allclose(whole.objective, swept.objective, atol=1e-6)


@cases
def test_training_climbs(task, sparse, sizes):
    data = make_data(task, 0, True, sparse, **sizes)
    monitor = StrictMonitor(0.0, 25, patience=1000)
    parts = unswept(linear_parts(data, 3))
    result = fit_joint(data, parts, monitor, responsibilities(100, 3), warm_up=4)
    assert result.objective > result.history["objective"][0]


def test_training_names_the_method_that_a_gate_lacks():
    class Gate(UnsweptGate):
        resp_gradient = property()

    data = make_data("regression", 0, False, False)
    parts = linear_parts(data, 2)
    parts.gate = Gate()
    with pytest.raises(TypeError, match="Gate has no method 'resp_gradient'"):
        fit_joint(data, parts, Monitor(0.0, 3), responsibilities(100, 2))
