"""EM by descents of experts and gates on a GPU: on the stand-in for CuPy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import log_softmax
from sklearn.base import clone
from test_gpu_joint import DEEP, FACTORS, LABELS, SMALL, TREE, WEIGHT, X, Y

from skmoe import MoEClassifier, MoERegressor, _block_passes
from skmoe._device_descent import ExpertLoss, NetworkData
from skmoe._device_experts import DeviceTurns, GateDesign
from skmoe.experts import LinearExpert, _descent, multinomial
from skmoe.gates import GaussianGate, MLPGate, mlp
from skmoe.solvers import EM

SINGLE = X.astype(np.float32)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Short descents on either side: each iteration makes rounding ten times as large."""
    for module in (_descent, multinomial, mlp):
        for name in ("_FIRST_ITER", "_INNER_ITER"):
            monkeypatch.setattr(module, name, 3)


@pytest.fixture
def losses(monkeypatch):
    """Losses on the device: which, and how far value and gradient are from those of the host."""
    found, plain_loss = [], GateDesign.network_loss
    plain_init, plain_call = ExpertLoss.__init__, ExpertLoss.__call__

    def compare(name, own, wanted):
        apart = [np.abs(a - b).max() / (1.0 + np.abs(b).max()) for a, b in zip(own, wanted)]
        found.append((name, max(apart)))
        return own

    def begin(self, data, experts, resp, dispersion):
        plain_init(self, data, experts, resp, dispersion)
        self.host = experts._loss(data.on_host(), resp, dispersion)

    def network_loss(self, resp, weight):
        own = plain_loss(self, resp, weight)

        def loss(gate):
            host = mlp._Descent(gate, self.on_host(), resp, weight, None)
            value, gradient = host.loss(gate.flat())
            return compare(
                "gate", own(gate), (value - gate.penalty(), gradient - gate.penalty_gradient())
            )

        return loss

    monkeypatch.setattr(ExpertLoss, "__init__", begin)
    monkeypatch.setattr(
        ExpertLoss,
        "__call__",
        lambda self, flat: compare("experts", plain_call(self, flat), self.host(flat)),
    )

    def linear_sums(self, experts, resp):
        own, wanted = plain_sums(self, experts, resp), experts._sum_up(self.on_host(), resp)
        compare("linear experts", vars(own).values(), vars(wanted).values())
        return own

    def logit_loss(self, resp, weight, net, branches=None):
        own = plain_logits(self, resp, weight, net, branches)
        groups = branches or [(k, k + 1) for k in range(resp.shape[1])]
        targets = np.stack([resp[:, a:b].sum(axis=1) for a, b in groups], axis=1)
        targets *= (weight / weight.sum())[:, None]

        def loss(flat):
            coef = flat.reshape(self.shape[1], -1)
            log_proba = log_softmax(self.on_host().dot(coef), axis=1)
            value = net.value(coef) - np.sum(targets * log_proba)
            error = targets.sum(axis=1, keepdims=True) * np.exp(log_proba) - targets
            gradient = self.on_host().transposed_dot(error) + net.smooth_gradient(coef)
            name = "logits" if branches is None else "branches"
            return compare(name, own(flat), (value, gradient.ravel()))

        return loss

    plain_sums, plain_logits = NetworkData.linear_sums, GateDesign.logit_loss
    monkeypatch.setattr(NetworkData, "linear_sums", linear_sums)
    monkeypatch.setattr(GateDesign, "logit_loss", logit_loss)
    monkeypatch.setattr(GateDesign, "network_loss", network_loss)
    return found


@pytest.fixture
def turns(monkeypatch):
    """Iterations of EM on the device."""
    found, plain = [], DeviceTurns.__call__

    def counted(self, *arguments):
        found.append(1)
        return plain(self, *arguments)

    monkeypatch.setattr(DeviceTurns, "__call__", counted)
    return found


FITS = {
    "network": (MoERegressor(SMALL), X, Y, {"experts", "logits"}),
    "two layers": (MoERegressor(DEEP), X, Y, {"experts", "logits"}),
    "single": (MoERegressor(SMALL, gate=MLPGate((4,))), SINGLE, Y, {"experts", "gate"}),
    "outputs": (MoERegressor(SMALL), X, np.column_stack([Y, X[:, 0] ** 2]), {"experts", "logits"}),
    "columns": (
        MoERegressor(SMALL, gate_features=[0, 1], expert_features=[1, 2, 3]),
        X,
        Y,
        {"experts", "logits"},
    ),
    "classes": (MoEClassifier(SMALL), X, LABELS, {"experts", "logits"}),
    "factors": (MoERegressor(FACTORS), X, Y, {"experts", "logits"}),
    "factors of classes": (MoEClassifier(FACTORS), X, LABELS, {"experts", "logits"}),
    "linear classes": (MoEClassifier(), X, LABELS, {"experts", "logits"}),
    "penalised classes": (
        MoEClassifier(LinearExpert(3.0), gate=MLPGate((4,)), gate_features=[0, 1]),
        X,
        LABELS,
        {"experts", "gate"},
    ),
    "gate": (MoERegressor(gate=MLPGate((6, 4))), X, Y, {"linear experts", "gate"}),
    "gate of outputs": (
        MoERegressor(gate=MLPGate((6,))),
        SINGLE,
        np.column_stack([Y, X[:, 0] ** 2]),
        {"linear experts", "gate"},
    ),
    "all networks": (MoERegressor(SMALL, gate=MLPGate((6,))), X, Y, {"experts", "gate"}),
    "all of classes": (MoEClassifier(DEEP, gate=MLPGate((6,))), X, LABELS, {"experts", "gate"}),
    "tree": (MoERegressor(LinearExpert(1.0), gate=TREE), X, Y, {"linear experts", "branches"}),
    "tree of networks": (MoERegressor(SMALL, gate=TREE), X, Y, {"experts", "branches"}),
    "density": (MoERegressor(SMALL, gate=GaussianGate()), X, Y, {"experts"}),
    "noise": (MoERegressor(SMALL, likelihood="gaussian_with_noise"), X, Y, {"experts", "logits"}),
    "held out": (
        MoERegressor(SMALL, gate=MLPGate((4,), early_stopping=True, n_iter_no_change=3)),
        X,
        Y,
        {"experts"},
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_iterations_of_em_are_those_of_the_cpu(cupy, few, losses, turns, name):
    model, rows, target, on_device = FITS[name]
    n_experts = 5 if model.gate is TREE else 3
    groups = np.digitize(X[:, 0], np.quantile(X[:, 0], np.arange(1, n_experts) / n_experts))
    model = clone(model).set_params(n_experts=n_experts, init=np.eye(n_experts)[groups], n_init=1)
    model.set_params(random_state=0, solver=EM(), max_iter=4)
    here = clone(model).fit(rows, target, sample_weight=WEIGHT)
    assert not losses and not turns
    there = clone(model).set_params(device="cuda").fit(rows, target, sample_weight=WEIGHT)
    assert len(turns) == there.n_iter_
    assert {name for name, _ in losses} == on_device
    # Losses of the host are in float64 whatever the data are; so are these.
    assert [one for one in losses if not one[1] <= 1e-9] == []
    assert_allclose(there.history_["objective"], here.history_["objective"], rtol=1e-9, atol=1e-9)
    assert_allclose(there.history_["load"], here.history_["load"], atol=1e-12)
    assert_allclose(there.predict(X), here.predict(X), rtol=1e-6, atol=1e-6)


def test_annealed_iterations_begin_on_the_host(cupy, losses, turns):
    model = MoERegressor(SMALL, n_experts=2, device="cuda", solver=EM(temperature=1.5))
    model.set_params(init="kmeans", n_init=1, max_iter=3, random_state=0).fit(X, Y)
    assert turns
    assert {"experts", "logits"} == {name for name, _ in losses}
    assert [one for one in losses if not one[1] <= 1e-9] == []


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("n_rows", [3, 10, 35])
def test_long_products(monkeypatch, shape, n_rows):
    monkeypatch.setattr(_block_passes, "_PIECE", 5)
    rng = np.random.RandomState(0)
    left, right = rng.normal(size=(*shape, 4, n_rows)), rng.normal(size=(*shape, n_rows, 2))
    found = _block_passes.long_product(left, right)
    assert_allclose(found, left @ right, rtol=1e-12, atol=1e-12)
    turned = np.moveaxis(np.ascontiguousarray(np.moveaxis(right, -1, -2)), -1, -2)
    assert_allclose(_block_passes.long_product(left, turned), found, rtol=1e-12)
