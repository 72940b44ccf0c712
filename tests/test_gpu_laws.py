"""Laws of censored, truncated, mixed and noisy targets on a GPU, on a stand-in for CuPy."""

import numpy as np
import pytest
from conftest import require
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.kernel_ridge import KernelRidge

from skmoe import MoERegressor
from skmoe._device import DeviceSweeper
from skmoe._ops import cpu, get_ops, is_on_device
from skmoe._sweep import Sweeper
from skmoe.datasets import make_moe_regression
from skmoe.experts import MLPExpert
from skmoe.likelihoods import (
    GaussianWithNoise,
    StudentT,
    TruncatedGaussian,
    TruncatedLogNormal,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_moe_regression(n_samples=300, n_experts=2, random_state=0)
Y = Y / Y.std()
WEIGHT = np.random.RandomState(1).uniform(0.5, 2.0, size=len(Y))
SIZES = np.abs(Y) + 0.1
CLAIMS = np.where(Y > 0.0, Y, 0.0)
COUNTS = np.round(np.exp(np.clip(Y, -2, 2)))
MOST = np.quantile(SIZES, 0.8)


def seen(values, most, least):
    """Values, some of which are only known to be above ``most``, in an interval, or below."""
    found = np.column_stack([np.minimum(values, most), np.where(values > most, np.inf, values)])
    found[:20] = found[:20, :1] + np.array([-0.05, 0.05])
    found[20:30] = np.column_stack([np.full(10, least), values[20:30] + 0.2])
    return found


def outliers():
    """Targets with some that belong to no expert."""
    target = Y.copy()
    target[::30] += 20.0
    return target


LAWS = {
    "censored gaussian": ("censored_gaussian", seen(Y, 0.8, -np.inf)),
    "censored lognormal": ("censored_lognormal", seen(SIZES, MOST, 0.0)),
    "truncated gaussian": (TruncatedGaussian(-3.0, 4.0), np.clip(Y, -2.5, 3.5)),
    "bounded below": (TruncatedGaussian(0.0), SIZES),
    "truncated lognormal": (TruncatedLogNormal(0.05, 9.0), SIZES),
    "tails": (StudentT("estimate"), Y),
    "tweedie": ("tweedie", CLAIMS),
    "noise": ("gaussian_with_noise", outliers()),
    "noise of outputs": (GaussianWithNoise(shared=True), np.column_stack([outliers(), Y**2])),
    "mixed": (["student_t", "lognormal"], SIZES),
    "mixed supports": (["gamma", "laplace"], Y),
    "mixed counts": (["poisson", "zero_inflated_negative_binomial"], COUNTS),
    "mixed with tweedie": (["tweedie", "censored_gaussian"], CLAIMS),
}
# What is trained on other experts than linear ones.
FOREIGN = ["truncated gaussian", "truncated lognormal", "tweedie", "noise"]


def model_of(law, **options):
    options = {"n_experts": 2, "init": "kmeans", "n_init": 1, "random_state": 0, **options}
    return MoERegressor(likelihood=law, **options)


# -- kernels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [1.1, 1.5, 1.9])
def test_the_series_of_tweedie_laws(cupy, power):
    rng = np.random.RandomState(0)
    y = np.concatenate([[0.0, 1e-6, 1e4], rng.gamma(1.0, 3.0, size=200)])
    log_phi = np.concatenate([[0.0, 1.0, -2.0], rng.normal(size=200)])
    here, there = np.empty((2, len(y))), cupy.empty((2, len(y)))
    cpu.tweedie_series(y, log_phi, power, here)
    get_ops("cuda").tweedie_series(cupy.asarray(y), cupy.asarray(log_phi), power, there)
    assert_allclose(there.get(), here, rtol=1e-11)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("with_given", [False, True])
def test_blocks_with_noise(cupy, n_outputs, with_given):
    rng, n_rows = np.random.RandomState(0), 200
    gate, scores = rng.normal(size=(3, n_rows)), rng.normal(size=(3 * n_outputs, n_rows))
    y, variance = 3 * rng.normal(size=(n_rows, n_outputs)), rng.uniform(0.1, 2.0, (3, n_outputs))
    rows = np.stack([rng.uniform(0.5, 2.0, size=n_rows), rng.normal(size=n_rows) - 6.0])
    given = rng.dirichlet(np.ones(3), size=n_rows) if with_given else np.empty((0, 0))
    arrays = [y, rows, variance, given, gate, scores, np.empty_like(gate)]
    arrays.append(np.ones((3, n_outputs + 3)))
    sent = list(map(cupy.asarray, arrays))
    value, missed = cpu.noisy_gaussian_block(*arrays)
    found, lost = get_ops("cuda").noisy_gaussian_block(*sent)
    assert_allclose(float(found), value, rtol=1e-11)
    assert float(lost) == missed
    for one, other in zip(sent[4:], arrays[4:], strict=True):
        assert_allclose(one.get(), other, rtol=1e-9, atol=1e-11)


# -- fits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
def test_one_pass_is_that_of_the_cpu(cupy, name, monkeypatch):
    law, target = LAWS[name]
    checked, plain = [], DeviceSweeper.add_up

    def both_ways(self, parts, resp, grams, skip):
        found = plain(self, parts, resp, grams, skip)
        wanted = Sweeper(self.data).add_up(parts, resp, grams, skip)
        for key, value in vars(wanted).items():
            if value is not None:
                size = np.abs(value).max() if np.size(value) else 1.0
                assert_allclose(getattr(found, key), value, atol=1e-9 * (1.0 + size))
        checked.append(grams)
        return found

    monkeypatch.setattr(DeviceSweeper, "add_up", both_ways)
    model_of(law, solver="em", max_iter=3, device="cuda").fit(X, target, sample_weight=WEIGHT)
    assert True in checked


@pytest.mark.parametrize("solver", ["em", "gradient"])
@pytest.mark.parametrize("name", LAWS)
def test_fits_are_those_of_the_cpu(cupy, name, solver):
    law, target = LAWS[name]
    model = model_of(law, solver=solver, max_iter=6)
    if not getattr(model._resolve_likelihood(), "is_smooth", True):
        model.set_params(solver="em")
    here = clone(model).fit(X, target)
    there = clone(model).set_params(device="cuda").fit(X, target)
    assert_allclose(there.history_["objective"], here.history_["objective"], rtol=1e-8)
    found = there.set_params(device=None).predict(X)
    assert_allclose(found, here.predict(X), rtol=1e-5, atol=1e-5)
    for part in vars(there._parts).values():
        assert not any(map(is_on_device, vars(part).values()))


@pytest.mark.parametrize("name", LAWS)
def test_predictions_are_those_of_the_cpu(cupy, name):
    law, target = LAWS[name]
    model = model_of(law, solver="em", max_iter=3).fit(X, target)
    for method in ("predict", "predict_experts"):
        wanted = getattr(model, method)(X)
        found = getattr(model, method)(cupy.asarray(X))
        assert_allclose(found.get(), wanted, rtol=1e-9, atol=1e-11)
    model.set_params(top_k=1)
    assert_allclose(model.predict(cupy.asarray(X)).get(), model.predict(X), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", FOREIGN)
def test_fits_of_other_experts_are_those_of_the_cpu(cupy, name):
    law, target = LAWS[name]
    smooth = KernelRidge(alpha=1.0, kernel="rbf", gamma=0.1)
    model = model_of(law, experts=smooth, max_iter=4, cross_fit=None)
    here = clone(model).fit(X, target, sample_weight=WEIGHT)
    there = clone(model).set_params(device="cuda").fit(X, target, sample_weight=WEIGHT)
    assert_allclose(there.history_["objective"], here.history_["objective"], rtol=1e-7)


def test_networks_beside_noise_are_those_of_the_cpu(cupy):
    start = np.random.RandomState(0).dirichlet(np.ones(2), size=len(Y))
    model = model_of("gaussian_with_noise", experts=MLPExpert((4,)), solver="gradient", init=start)
    here = clone(model).set_params(max_iter=5).fit(X, outliers())
    there = clone(model).set_params(max_iter=5, device="cuda").fit(X, outliers())
    assert_allclose(there.history_["objective"], here.history_["objective"], rtol=1e-8)


@pytest.mark.parametrize("name", LAWS)
def test_fits_on_a_real_device_are_those_of_the_cpu(name):
    if not require("cupy").cuda.is_available():
        pytest.skip("needs a GPU")
    law, target = LAWS[name]
    model = model_of(law, solver="em", max_iter=5)
    here = clone(model).fit(X, target)
    there = clone(model).set_params(device="cuda").fit(X, target)
    assert_allclose(there.history_["objective"], here.history_["objective"], rtol=1e-7)
