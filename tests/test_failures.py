"""Experts that fail are left out, and the output is exactly that of the rest."""

import copy
import os
import signal
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._em import fit_em
from skmoe._failures import SelectedGate, predict_surviving
from skmoe._fit import FitData, Parts
from skmoe._monitor import Monitor
from skmoe.experts.estimators import EstimatorExperts
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.routing import top_k_route

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 120
rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(N, 2))
Y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=N)
LABELS = np.array(["a", "b", "c"])[np.digitize(X.sum(axis=1), [-0.4, 0.4])]
RESP = rng.dirichlet(np.ones(3), size=N)
FITS = Counter()


@pytest.fixture(autouse=True)
def no_fits_yet():
    FITS.clear()


class FailsInFit(Ridge):
    """Ridge whose fits succeed `good` times."""

    def __init__(self, good=0, alpha=1.0):
        super().__init__(alpha=alpha)
        self.good = good

    def fit(self, X, y, sample_weight=None):
        FITS["fails"] += 1
        if FITS["fails"] > self.good:
            raise FloatingPointError("no solution")
        return super().fit(X, y, sample_weight)


class FailsOnFar(Ridge):
    """Ridge that cannot predict rows with a first feature above 5."""

    def __init__(self, how="raise", alpha=1.0):
        super().__init__(alpha=alpha)
        self.how = how

    def predict(self, X):
        mean = super().predict(X)
        far = np.asarray(X)[:, 0] > 5
        if far.any() and self.how == "raise":
            raise RuntimeError("out of range")
        mean[far] = {"raise": 0.0, "nan": np.nan, "inf": np.inf}[self.how]
        return mean


class FailsOnFarClassifier(LogisticRegression):
    def predict_proba(self, X):
        if (np.asarray(X)[:, 0] > 5).any():
            raise RuntimeError("out of range")
        return super().predict_proba(X)


class Killed(RegressorMixin, BaseEstimator):
    """A mean whose fit kills its process: always, or until a file is there."""

    def __init__(self, parent, marker=None):
        self.parent = parent
        self.marker = marker

    def fit(self, X, y, sample_weight=None):
        done = self.marker is not None and os.path.exists(self.marker)
        if os.getpid() != self.parent and not done:
            if self.marker is not None:
                open(self.marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        self.mean_ = np.average(y, weights=sample_weight)
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


def make(experts, init=None, **settings):
    settings = {"max_iter": 4, "n_init": 1, "random_state": 0, "cross_fit": None, **settings}
    init = RESP if init is None else init
    return MoERegressor(experts, init=init, **settings)


def assert_same_model(model, reference):
    assert model.expert_names_ == reference.expert_names_
    assert model.n_experts_ == len(model.experts_) == reference.n_experts_
    np.testing.assert_allclose(model.predict(X), reference.predict(X), rtol=1e-9)
    np.testing.assert_allclose(model.gate_proba(X), reference.gate_proba(X), rtol=1e-9)
    np.testing.assert_allclose(model.load_, reference.load_, rtol=1e-9)
    np.testing.assert_allclose(model.likelihood_.scale_, reference.likelihood_.scale_, rtol=1e-9)
    np.testing.assert_allclose(model.objective_, reference.objective_, rtol=1e-9)


# -- training ---------------------------------------------------------------------------


@pytest.mark.parametrize("cross_fit", [None, 2, "auto"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_expert_that_raises_in_fit(place, cross_fit):
    good = [("tree", DecisionTreeRegressor(max_depth=2, random_state=0)), ("ridge", Ridge())]
    experts = [*good[:place], ("bad", FailsInFit()), *good[place:]]
    model = make(experts, on_expert_error="drop", cross_fit=cross_fit)
    with pytest.warns(UserWarning, match="expert 'bad' failed in fit: no solution; it was left"):
        model.fit(X, Y)
    rest = np.delete(RESP, place, axis=1)
    reference = make(good, rest / rest.sum(axis=1, keepdims=True), cross_fit=cross_fit).fit(X, Y)
    assert_same_model(model, reference)
    assert model.dropped_experts_ == {"bad": "expert 'bad' failed in fit: no solution"}
    assert reference.dropped_experts_ == {}
    assert model.experts == experts and model.cross_fit_ == reference.cross_fit_


def test_the_rest_of_a_parallel_fit_goes_on():
    good = [("ridge", Ridge()), ("line", LinearRegression())]
    model = make([*good, ("bad", FailsInFit())], on_expert_error="drop", n_jobs=2)
    with pytest.warns(UserWarning, match="expert 'bad' failed in fit"):
        model.fit(X, Y)
    rest = RESP[:, :2] / RESP[:, :2].sum(axis=1, keepdims=True)
    assert_same_model(model, make(good, rest).fit(X, Y))


def test_raise_is_the_default():
    with pytest.raises(RuntimeError, match="expert 'bad' failed in fit: no solution"):
        make([("ridge", Ridge()), ("bad", FailsInFit())], RESP[:, :2]).fit(X, Y)


def test_no_expert_left():
    model = make([("bad", FailsInFit())], RESP[:, :1], on_expert_error="drop")
    with pytest.raises(RuntimeError, match="expert 'bad' failed in fit: no solution"):
        model.fit(X, Y)


def test_warnings_as_errors_are_not_failures_of_an_expert():
    class Warns(Ridge):
        def fit(self, X, y, sample_weight=None):
            warnings.warn("the user's filter", UserWarning, stacklevel=2)
            return super().fit(X, y, sample_weight)

    model = make([("ridge", Ridge()), ("w", Warns())], RESP[:, :2], on_expert_error="drop")
    with pytest.raises(UserWarning, match="the user's filter"):
        model.fit(X, Y)


def test_failure_in_the_middle_of_em_goes_on_from_there():
    data = FitData(X, X, Y[:, None], np.ones(N), y_scale=np.ones(1), base_variance=np.ones(1))
    templates = [Ridge(), FailsInFit(good=2), LinearRegression()]
    experts = EstimatorExperts(templates, ["a", "bad", "c"], on_error="drop")
    likelihood = Gaussian().start(data, 3)
    monitor = Monitor(0.0, 6)
    result = fit_em(data, Parts(SoftmaxGate(), experts, likelihood), monitor, RESP)
    assert result.experts.names == ["a", "c"] and result.n_iter == 6
    assert [len(load) for load in result.history["load"]] == [3, 3, 2, 2, 2, 2]
    assert result.objective == max(result.history["objective"][2:])

    # By hand: two iterations of three experts, the bad one out, four more of the rest.
    FITS.clear()
    experts = EstimatorExperts(templates, ["a", "bad", "c"])
    first = fit_em(data, Parts(SoftmaxGate(), experts, likelihood), Monitor(0.0, 2), RESP)
    assert first.history["objective"][1] == first.objective
    log_joint = first.gate.log_proba(X) + first.likelihood.log_lik(data.y, first.experts.predict(X))
    rest = log_joint[:, [0, 2]]
    resp = np.exp(rest - logsumexp(rest, axis=1, keepdims=True))
    experts = EstimatorExperts([templates[0], templates[2]], ["a", "c"])
    gate, likelihood = first.gate.selected([0, 2]), first.likelihood.selected([0, 2])
    second = fit_em(data, Parts(gate, experts, likelihood), Monitor(0.0, 4), resp)
    np.testing.assert_allclose(
        second.history["objective"], result.history["objective"][2:], rtol=1e-9
    )
    np.testing.assert_allclose(second.gate.coef_, result.gate.coef_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("gate", ["softmax", "plain"])
def test_failure_of_the_last_fit_on_all_rows(gate):
    class Plain:
        """A gate without features that cannot leave experts out by itself."""

        def fit(self, X, resp, sample_weight=None):
            self.log_share_ = np.log(np.average(resp, axis=0, weights=sample_weight))
            return self

        def log_proba(self, X):
            return np.tile(self.log_share_, (X.shape[0], 1))

    good = [("ridge", Ridge()), ("line", LinearRegression())]
    settings = {"cross_fit": 2, "gate": Plain() if gate == "plain" else gate}
    # Four iterations of two folds succeed.
    model = make([*good, ("bad", FailsInFit(good=8))], on_expert_error="drop", **settings)
    with pytest.warns(UserWarning, match="expert 'bad' failed in fit"):
        model.fit(X, Y)
    FITS.clear()
    whole = make([*good, ("bad", FailsInFit(good=99))], **settings).fit(X, Y)
    proba = whole.gate_proba(X)[:, :2]
    expected = proba / proba.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.gate_proba(X), expected, rtol=1e-12)
    np.testing.assert_array_equal(model.predict_experts(X), whole.predict_experts(X)[:, :2])
    np.testing.assert_array_equal(model.likelihood_.scale_, whole.likelihood_.scale_[:2])
    assert isinstance(model.gate_, SelectedGate) == (gate == "plain")


def test_names_of_features_and_top_k_stay_in_line():
    frame = pd.DataFrame(X, columns=["u", "v"])
    good = [("ridge", Ridge()), ("line", LinearRegression())]
    model = make([("bad", FailsInFit()), *good], on_expert_error="drop", top_k=3)
    with pytest.warns(UserWarning, match="expert 'bad' failed in fit"):
        model.fit(frame, Y)
    assert model.feature_names_in_.tolist() == ["u", "v"]
    for name, expert in zip(model.expert_names_, model.experts_):
        assert type(expert) is type(dict(good)[name])
        assert expert.feature_names_in_.tolist() == ["u", "v"]
    assert model.route(frame)[0].shape == (N, 2)  # three were asked for, two are left
    with pytest.raises(ValueError, match="top_k=4 is more than the number of experts"):
        model.set_params(top_k=4).predict(frame)


def test_warm_start_after_a_failure_starts_anew():
    experts = [("ridge", Ridge()), ("bad", FailsInFit()), ("line", LinearRegression())]
    model = make(experts, on_expert_error="drop", warm_start=True)
    with pytest.warns(UserWarning, match="expert 'bad' failed in fit"):
        first = model.fit(X, Y).predict(X)
    with pytest.warns(UserWarning, match="expert 'bad' failed in fit"):
        np.testing.assert_array_equal(model.fit(X, Y).predict(X), first)


def test_classifier():
    class Fails(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            raise ValueError("no solution")

    good = [("tree", DecisionTreeClassifier(max_depth=2, random_state=0)), ("nb", GaussianNB())]
    settings = {"n_init": 1, "max_iter": 3, "random_state": 0, "cross_fit": 2}
    model = MoEClassifier([*good, ("bad", Fails())], init=RESP, on_expert_error="drop", **settings)
    with pytest.warns(UserWarning, match="expert 'bad' failed in fit: no solution; it was left"):
        model.fit(X, LABELS)
    rest = RESP[:, :2] / RESP[:, :2].sum(axis=1, keepdims=True)
    reference = MoEClassifier(good, init=rest, **settings).fit(X, LABELS)
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(X), rtol=1e-9)
    assert model.expert_names_ == ["tree", "nb"]


# -- processes that die ---------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs were given:UserWarning")
class TestKilledWorker:
    good = [("ridge", Ridge()), ("line", LinearRegression())]

    @pytest.mark.slow
    def test_is_tried_again(self, tmp_path):
        experts = [*self.good, ("killed", Killed(os.getpid(), str(tmp_path / "killed")))]
        model = make(experts, n_jobs=2, max_iter=1).fit(X, Y)
        assert_same_model(model, make(experts, max_iter=1).fit(X, Y))
        assert (tmp_path / "killed").exists()

    @pytest.mark.slow
    def test_is_reported_by_name(self):
        message = "expert 'killed' failed in fit: the process that fitted it died, also when"
        with pytest.raises(RuntimeError, match=message):
            make([*self.good, ("killed", Killed(os.getpid()))], n_jobs=2, max_iter=1).fit(X, Y)

    def test_is_left_out(self):
        experts = [*self.good, ("killed", Killed(os.getpid()))]
        model = make(experts, n_jobs=2, max_iter=1, on_expert_error="drop")
        with pytest.warns(UserWarning, match="expert 'killed' failed in fit"):
            model.fit(X, Y)
        rest = RESP[:, :2] / RESP[:, :2].sum(axis=1, keepdims=True)
        assert_same_model(model, make(self.good, rest, max_iter=1).fit(X, Y))


# -- prediction -------------------------------------------------------------------------------

FAR = np.vstack([X[:40], [[6.0, 0.0], [7.0, 0.5]]])
FAR_Y = np.append(Y[:40], [6.0, 7.0])


def fitted(how, **settings):
    experts = [("ridge", Ridge()), ("far", FailsOnFar(how)), ("line", LinearRegression())]
    return make(experts, on_expert_error="drop", **settings).fit(X, Y)


@pytest.mark.parametrize("how", ["raise", "nan"])
def test_diagnosis_leaves_out_an_expert_that_fails(how):
    model = fitted(how)
    found = model.diagnose(FAR, FAR_Y, one_expert=None)
    assert found.experts["verdict"].tolist()[1] == "failing"
    assert found.verdict[0].startswith("far: failing, that is, it cannot predict these rows")
    assert found.experts.loc["far"].drop("verdict").isna().all()
    rest = copy.copy(model).remove_expert("far").diagnose(FAR, FAR_Y, one_expert=None)
    kept = ["ridge", "line"]
    np.testing.assert_array_equal(found.specialisation.loc[kept, kept], rest.specialisation)
    assert found.experts.loc[kept, "verdict"].tolist() == rest.experts["verdict"].tolist()
    assert model.n_experts_ == 3 and "far" in repr(found)
    compared = model.diagnose(FAR, FAR_Y)
    assert np.isfinite(compared.gain) and compared.experts.loc["far", "verdict"] == "failing"
    alone = make(FailsOnFar(how), RESP[:, :2], n_experts=2, on_expert_error="drop").fit(X, Y)
    with pytest.raises((RuntimeError, ValueError), match="expert 'expert_0'"):
        alone.diagnose(FAR, FAR_Y)
    model.set_params(on_expert_error="raise")
    with pytest.raises((RuntimeError, ValueError), match="expert 'far'"):
        model.diagnose(FAR, FAR_Y, one_expert=None)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "expert 'far' failed in predict: out of range"),
        ("nan", "expert 'far' predicted NaN"),
        ("inf", "expert 'far' predicted infinite values"),
    ],
)
def test_expert_that_fails_in_predict(how, message):
    model = fitted(how)
    proba = model.gate_proba(FAR)[:, [0, 2]]
    weights = proba / proba.sum(axis=1, keepdims=True)
    pred = np.column_stack([model.experts_[k].predict(FAR) for k in (0, 2)])
    scale = model.likelihood_.scale_[[0, 2]]
    mean = (weights * pred).sum(axis=1)
    variance = (weights * (scale**2 + (pred - mean[:, None]) ** 2)).sum(axis=1)
    log_lik = -0.5 * ((FAR_Y[:, None] - pred) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    with pytest.warns(UserWarning, match=f"{message}; it is left out here"):
        found = model.predict(FAR, return_std=True)
    np.testing.assert_allclose(found, [mean, np.sqrt(variance)], rtol=1e-12)
    with pytest.warns(UserWarning, match=message):
        loglik = model.log_likelihood(FAR, FAR_Y)
    joint = np.log(weights) + log_lik
    np.testing.assert_allclose(loglik, logsumexp(joint, axis=1), rtol=1e-10)
    with pytest.warns(UserWarning, match=message):
        resp = model.responsibilities(FAR, FAR_Y)
    expected = np.exp(joint - loglik[:, None])
    np.testing.assert_allclose(resp[:, [0, 2]], expected, rtol=1e-8, atol=1e-12)
    assert (resp[:, 1] == 0.0).all()
    with pytest.warns(UserWarning, match=message):
        every = model.predict_experts(FAR)
    np.testing.assert_array_equal(every[:, [0, 2]], pred)
    assert np.isnan(every[:, 1]).all()


def test_expert_that_can_predict_is_not_left_out():
    model = fitted("raise")
    plain = make(model.experts).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    with pytest.raises(RuntimeError, match="expert 'far' failed in predict: out of range"):
        plain.predict(FAR)
    with pytest.raises(RuntimeError, match="expert 'far' failed in predict: out of range"):
        model.set_params(on_expert_error="raise").predict(FAR)


@pytest.mark.parametrize("combine", ["median", "log_pool"])
def test_other_rules_of_combination(combine):
    model = fitted("nan", combine=combine)
    with pytest.warns(UserWarning, match="expert 'far' predicted NaN"):
        found = model.predict(FAR)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("top_k", [1, 2])
def test_routed_rows_keep_the_rest_or_fall_back(top_k):
    model = fitted("raise", top_k=top_k)
    # A gate that prefers the failing expert on the far rows and on some others.
    log_gate = np.log(model.gate_proba(FAR))
    log_gate[-12:, 1] += 20.0
    log_gate -= logsumexp(log_gate, axis=1, keepdims=True)
    experts = model._parts.experts
    log_weights, pred, indices, errors = predict_surviving(experts, FAR, log_gate, top_k)
    assert list(errors) == [1]
    np.testing.assert_allclose(np.exp(log_weights).sum(axis=1), 1.0)
    asked, _ = top_k_route(log_gate, top_k)
    mean = (np.exp(log_weights) * pred[:, :, 0]).sum(axis=1)
    outputs = {k: model.experts_[k].predict(FAR) for k in (0, 2)}
    for row in range(len(FAR)):
        left = [k for k in asked[row] if k != 1]
        if not left:
            left = sorted((0, 2), key=lambda k: -log_gate[row, k])[:top_k]
        weights = np.exp(log_gate[row, left])
        expected = sum(w * outputs[k][row] for w, k in zip(weights, left)) / weights.sum()
        np.testing.assert_allclose(mean[row], expected, rtol=1e-12)
        assert sorted(indices[row][np.exp(log_weights[row]) > 0]) == sorted(left)


def test_all_fail_in_predict():
    for top_k in (None, 1):
        model = make([("far", FailsOnFar())], RESP[:, :1], on_expert_error="drop", top_k=top_k)
        with pytest.raises(ValueError, match="no expert is left to predict: expert 'far' failed"):
            model.fit(X, Y).predict(FAR)


def test_every_routed_expert_fails_in_turn():
    class Far(FailsOnFar):
        pass

    experts = [("a", FailsOnFar()), ("b", Far()), ("line", LinearRegression())]
    model = make(experts, on_expert_error="drop", top_k=1).fit(X, Y)
    with pytest.warns(UserWarning, match="is left out here"):
        far = model.predict(FAR)[-2:]
    np.testing.assert_allclose(far, model.experts_[2].predict(FAR[-2:]), rtol=1e-12)


def test_classifier_that_fails_in_predict():
    experts = [("far", FailsOnFarClassifier()), ("tree", DecisionTreeClassifier(max_depth=2))]
    settings = {"n_init": 1, "max_iter": 3, "random_state": 0, "cross_fit": None}
    model = MoEClassifier(experts, init=RESP[:, :2], on_expert_error="drop", **settings)
    model.fit(X, LABELS)
    with pytest.warns(UserWarning, match="expert 'far' failed in predict_proba: out of range"):
        proba = model.predict_proba(FAR)
    smooth = 0.999 * model.experts_[1].predict_proba(FAR) + 0.001 / 3
    np.testing.assert_allclose(proba, smooth, rtol=1e-10)
    with pytest.warns(UserWarning, match="expert 'far' failed"):
        np.testing.assert_allclose(model.predict_log_proba(FAR), np.log(smooth), rtol=1e-8)
