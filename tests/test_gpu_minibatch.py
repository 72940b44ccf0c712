"""Training by Adam on batches on a GPU: on the stand-in for CuPy."""

import fake_cupy
import numpy as np
import pytest
from conftest import require
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skmoe import MoEClassifier, MoERegressor, _checkpoint, _starts
from skmoe._device_steps import DeviceSteps
from skmoe._ops import is_on_device
from skmoe.datasets import make_moe_regression
from skmoe.experts import FactorExpert, LinearExpert, MLPExpert
from skmoe.gates import HierarchicalGate, MLPGate, SoftmaxGate
from skmoe.likelihoods import Gaussian, TruncatedGaussian
from skmoe.solvers import Minibatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_moe_regression(n_samples=300, n_experts=3, random_state=0)
LABELS = np.digitize(Y, np.quantile(Y, [0.4, 0.7]))
COUNTS = np.round(np.exp(np.clip(Y / Y.std(), -2, 2)))
SHIFTED = np.abs(Y / Y.std()) + 0.1
WEIGHT = np.random.RandomState(1).uniform(0.5, 2.0, size=len(Y))
GROUPS = np.eye(3)[np.digitize(X[:, 0], np.quantile(X[:, 0], [1 / 3, 2 / 3]))]
SMALL = MLPExpert((5,), activation="tanh")


@pytest.fixture
def steps(monkeypatch):
    """Steps on the device; within one, nothing may come back to the host."""
    found, plain = [], DeviceSteps.step

    def refuse(self):
        raise AssertionError("the host waits for the device")

    def counted(self, rows, *arguments):
        found.append(len(rows))
        with monkeypatch.context() as inner:
            for name in ("get", "__float__", "__bool__"):
                inner.setattr(fake_cupy.ndarray, name, refuse)
            inner.setattr(self.device.xp, "asnumpy", refuse)
            return plain(self, rows, *arguments)

    monkeypatch.setattr(DeviceSteps, "step", counted)
    return found


def solver(**settings):
    return Minibatch(**{"batch_size": 50, "n_epochs": 4, "random_state": 0} | settings)


def regressor(*experts, **settings):
    return MoERegressor(*experts, **{"solver": solver()} | settings)


FITS = {
    "linear": (regressor(), X, Y),
    "single": (regressor(), X.astype(np.float32), Y),
    "penalised": (regressor(LinearExpert(3.0), gate=SoftmaxGate(0.01)), X, Y),
    "outputs": (regressor(), X, np.column_stack([Y, X[:, 0] ** 2])),
    "columns": (regressor(gate_features=[0, 1], expert_features=[1, 2, 3]), X, Y),
    "units": (regressor(gate=SoftmaxGate(standardize=False)), X, Y),
    "classes": (MoEClassifier(solver=solver()), X, LABELS),
    "network": (regressor(SMALL), X, Y),
    "factors": (regressor(FactorExpert(3)), X, Y),
    "network of classes": (MoEClassifier(SMALL, solver=solver()), X, LABELS),
    "gate": (regressor(gate=MLPGate((6, 4), activation="relu")), X, Y),
    "all networks": (regressor(MLPExpert((5, 4)), gate=MLPGate((6,))), X, Y),
    "tree": (regressor(SMALL, gate=HierarchicalGate(((2,), 1))), X, Y),
    "constant": (regressor(solver=solver(schedule="constant", decay=0.1)), X, Y),
    "clipped": (regressor(SMALL, solver=solver(clip=0.05)), X, Y),
    "dropout": (regressor(solver=solver(expert_dropout=0.4)), X, Y),
    "stopped": (regressor(solver=solver(early_stopping=True, n_iter_no_change=2)), X, Y),
    "stopped network": (regressor(SMALL, solver=solver(early_stopping=True)), X, Y),
    "blend": (regressor(solver=solver(objective="prediction")), X, Y),
    "blend of networks": (
        regressor(SMALL, solver=solver(objective="prediction", early_stopping=True)),
        X,
        np.column_stack([Y, X[:, 0] ** 2]),
    ),
    "shared noise": (regressor(likelihood=Gaussian(shared=True)), X, Y),
    "student": (regressor(likelihood="student_t"), X, Y),
    "two predictors": (regressor(likelihood="heteroscedastic_gaussian"), X, Y),
    "gamma": (regressor(likelihood="gamma", gate=MLPGate((4,))), X, SHIFTED),
    "counts": (regressor(likelihood="negative_binomial"), X, COUNTS),
    "poisson": (regressor(likelihood="poisson"), X, COUNTS),
    "zeros": (regressor(likelihood="zero_inflated_poisson"), X, COUNTS),
    "noise expert": (regressor(likelihood="gaussian_with_noise"), X, Y),
    "noise and networks": (regressor(SMALL, likelihood="gaussian_with_noise"), X, Y),
    "tweedie": (regressor(likelihood="tweedie"), X, COUNTS),
    "censored": (regressor(likelihood="censored_gaussian"), X, np.maximum(Y, np.median(Y) - 1.0)),
    "truncated": (regressor(likelihood=TruncatedGaussian(lower=0.0)), X, SHIFTED),
}


def ready(name):
    """A fit from given groups: starts that are looked for end where rounding tells."""
    model, rows, target = FITS[name]
    settings = {"n_experts": 3, "init": GROUPS, "n_init": 1, "random_state": 0, "max_iter": 20}
    return clone(model).set_params(**settings), rows, target


@pytest.mark.parametrize("name", FITS)
def test_fits_are_those_of_the_cpu(cupy, few, steps, name):
    model, rows, target = ready(name)
    here = clone(model).fit(rows, target, sample_weight=WEIGHT)
    assert not steps
    there = clone(model).set_params(device="cuda").fit(rows, target, sample_weight=WEIGHT)
    assert sum(steps) == there.n_iter_ * (270 if here.solver_.early_stopping else 300)
    tolerance = 1e-4 if name == "single" else 1e-9
    for key in {"objective", "validation"} & set(here.history_):
        expected = here.history_[key]
        assert_allclose(there.history_[key], expected, rtol=tolerance, atol=tolerance)
    assert_allclose(there.objective_, here.objective_, rtol=tolerance, atol=tolerance)
    assert_allclose(there.history_["load"], here.history_["load"], atol=1e-12)
    loose = 1e-3 if name == "single" else 1e-7
    assert_allclose(there.predict_experts(X), here.predict_experts(X), rtol=loose, atol=loose)
    assert_allclose(there.gate_proba(X), here.gate_proba(X), atol=loose)
    for own, other in zip(vars(there._parts).values(), vars(here._parts).values(), strict=True):
        kinds = [{key: type(value) for key, value in vars(part).items()} for part in (own, other)]
        assert kinds[0] == kinds[1]
        assert not any(map(is_on_device, getattr(own, "layers", getattr(own, "_layers", []))))


def test_the_first_epoch_may_be_given_responsibilities(cupy, steps, monkeypatch):
    monkeypatch.setattr(_starts, "fits_gram", lambda design, n_grams: False)  # as of wide rows
    model, rows, target = ready("linear")
    here = clone(model).fit(rows, target)
    there = clone(model).set_params(device="cuda").fit(rows, target)
    assert steps
    assert_allclose(there.history_["objective"], here.history_["objective"], rtol=1e-9)


def test_a_fit_that_was_killed_goes_on_to_the_same_numbers(cupy, steps, tmp_path, monkeypatch):
    class Killed(BaseException):
        """Stands in for a signal."""

    def write_and_die(self):
        plain(self)
        if len(steps) == n_steps + 3 * n_steps // 4:
            raise Killed

    monkeypatch.setattr(_checkpoint, "_LEAST_ITER", 1)
    monkeypatch.setattr(_checkpoint, "_LEAST_SHARE", 0.0)
    model, rows, target = ready("network")
    model.set_params(device="cuda")
    whole, path = clone(model).fit(rows, target), tmp_path / "fit"
    plain, n_steps = _checkpoint.Record.write, len(steps)
    with monkeypatch.context() as inner, pytest.raises(Killed):
        inner.setattr(_checkpoint.Record, "write", write_and_die)
        clone(model).fit(rows, target, checkpoint=path)
    assert len(steps) - n_steps == 3 * n_steps // 4
    again = clone(model).fit(rows, target, checkpoint=path)
    assert len(steps) == 2 * n_steps
    assert again.history_["objective"] == whole.history_["objective"]
    assert_array_equal(again.predict(X), whole.predict(X))


def test_mixed_laws_are_refused():
    model = regressor(n_experts=2, likelihood=["laplace", "student_t"], device="cuda")
    with pytest.raises(ValueError, match=r"not go with likelihood=Mixed and solver=Minibatch\("):
        model.fit(X, Y)


# -- a device, where there is one ------------------------------------------------------------------


@pytest.mark.parametrize("name", FITS)
def test_fits_on_a_device_are_those_of_the_cpu(name):
    module = require("cupy")
    if not module.cuda.is_available():
        pytest.skip("needs a GPU")
    model, rows, target = ready(name)
    here = clone(model).fit(rows, target, sample_weight=WEIGHT)
    there = clone(model).set_params(device="cuda").fit(rows, target, sample_weight=WEIGHT)
    tolerance = 1e-3 if name == "single" else 1e-8
    values, expected = there.history_["objective"], here.history_["objective"]
    assert_allclose(values, expected, rtol=tolerance, atol=tolerance)
