"""The bootstrap: labels of experts, samples by hand, and agreement with asymptotic errors."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inference import bootstrap, standard_errors
from skmoe.inference._bootstrap import matched
from skmoe.inference._resampling import Resampler, Simulator
from skmoe.likelihoods import Gaussian

FREE = {"experts": LinearExpert(alpha=0.0), "gate": SoftmaxGate(alpha=0.0)}


def lines(n=300, seed=0):
    """Two lines far apart: slopes of 3 and -3."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.uniform(-1, 1, size=n), "b": rng.normal(size=n)})
    y = np.where(X["a"] + 0.3 * rng.logistic(size=n) > 0, 3.0 * X["a"], 4.0 - 3.0 * X["a"])
    return X, y + 0.3 * rng.normal(size=n)


def fit_lines(**options):
    X, y = lines()
    options = {"n_experts": 2, "tol": 1e-6, "max_iter": 500, "random_state": 0, **options}
    return X, y, MoERegressor(**options).fit(X, y)


def test_labels_are_aligned_where_refits_start_afresh():
    X, y, model = fit_lines(init="random", n_init=1)
    found = bootstrap(model, X, y, n_replicates=12, start="fresh", random_state=0)
    swapped = found.orders[:, 0] == 1
    assert 2 <= swapped.sum() <= 10  # random starts give the experts either order
    slope = ((found.names["part"] == "expert") & (found.names["term"] == "a")).to_numpy()
    gate = ((found.names["part"] == "gate") & (found.names["term"] == "a")).to_numpy()
    assert found.std_error[slope].max() < 0.2
    # As the refits numbered their experts, slopes of 3 and -3 are mixed, and so are logits.
    raw = found.replicates[:, slope].copy()
    raw[swapped] = raw[swapped, ::-1]
    assert raw.std(axis=0).min() > 1.5
    logit = np.where(swapped, -1.0, 1.0) * found.replicates[:, gate].ravel()
    assert logit.std() > 5 * found.std_error[gate][0]
    assert (np.sign(found.replicates[:, gate]) == np.sign(found.estimates[gate])).all()


def test_matched_has_the_largest_overlap_of_all_orders():
    rng = np.random.default_rng(0)
    for _ in range(5):
        found, resp = rng.dirichlet(np.ones(4), size=(2, 30))
        weight = rng.uniform(size=30)
        best = max(
            permutations(range(4)),
            key=lambda order: sum(
                weight[i] * resp[i, k] * found[i, order[k]] for i in range(30) for k in range(4)
            ),
        )
        assert tuple(matched(found, resp, weight)) == best


def test_result_depends_on_the_seed():
    X, y, model = fit_lines()
    before = model.objective_, str(model.get_params())
    one, same, other = (
        bootstrap(model, X, y, n_replicates=2, random_state=seed).replicates for seed in (0, 0, 1)
    )
    assert_array_equal(one, same)
    assert not np.allclose(one, other)
    assert (model.objective_, str(model.get_params())) == before


@pytest.mark.slow
def test_result_does_not_depend_on_processes():
    X, y, model = fit_lines()
    one, two = (
        bootstrap(model, X, y, n_replicates=4, n_jobs=n_jobs, random_state=0).replicates
        for n_jobs in (None, 2)
    )
    assert_array_equal(one, two)


def test_one_expert_is_least_squares_of_the_drawn_rows():
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(60, 2)), rng.integers(0, 3, size=60)
    y = X @ [1.0, -2.0] + rng.normal(size=60)
    model = MoERegressor(n_experts=1, likelihood=Gaussian(floor=0.0), **FREE)
    model.fit(X, y, sample_weight=weight)
    found = bootstrap(model, X, y, weight, n_replicates=5, random_state=0)
    Z = np.column_stack([X, np.ones(60)])
    seeds = np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=5)
    for seed, values in zip(seeds, found.replicates, strict=True):
        counts = np.random.RandomState(seed).multinomial(weight.sum(), weight / weight.sum())
        rows = np.repeat(np.arange(60), counts)
        coef, rest = np.linalg.lstsq(Z[rows], y[rows], rcond=None)[:2]
        assert_allclose(values[:3], coef, rtol=1e-6)
        assert_allclose(values[3], 0.5 * np.log(rest[0] / len(rows)), rtol=1e-5)
    assert_allclose(found.std_error, found.replicates.std(axis=0, ddof=1))
    assert_allclose(found.bias, found.replicates.mean(axis=0) - found.estimates)
    table = {kind: found.table(0.5, kind) for kind in ("percentile", "basic", "normal")}
    ends = np.quantile(found.replicates, [0.25, 0.75], axis=0)
    assert_allclose(table["percentile"][["lower", "upper"]].T, ends)
    assert_allclose(table["basic"]["lower"], 2 * found.estimates - ends[1])
    assert_allclose(table["normal"]["upper"], found.estimates + 0.6744898 * found.std_error)


def test_groups_are_drawn_whole():
    groups = np.repeat(["u", "v", "w", "x"], 5)
    weight = np.arange(20.0)
    sampler = Resampler(None, np.zeros((20, 1)), np.zeros(20), weight, groups)
    sample = sampler.draw(np.random.RandomState(1))
    times = np.zeros(20)
    times[sample.rows] = sample.weight / weight[sample.rows]
    times[0] = times[1]  # weight zero: never there
    by_group = times.reshape(4, 5)
    assert (by_group == by_group[:, :1]).all() and by_group[:, 0].sum() == 4
    assert set(by_group[:, 0]) != {1.0}


def test_groups_widen_the_errors_of_repeated_rows():
    X, y, model = fit_lines()
    X, y = pd.concat([X] * 4, ignore_index=True), np.tile(y, 4)
    options = {"n_replicates": 40, "random_state": 0}
    alone = bootstrap(model, X, y, **options).std_error
    grouped = bootstrap(model, X, y, groups=np.tile(np.arange(300), 4), **options).std_error
    assert 1.5 < np.median(grouped / alone) < 2.7  # 2: a quarter as many rows are independent


def test_parametric_samples_come_from_the_mixture():
    X, y, model = fit_lines()
    seen = []

    def spread(fitted):
        seen.append(fitted)
        return fitted.predict(X.iloc[:5])

    found = bootstrap(model, X, y, kind="parametric", n_replicates=4, statistic=spread)
    assert found.replicates.shape == (4, 5) and len(seen) == 5
    assert found.names["part"].unique().tolist() == ["statistic"]
    assert_allclose(found.estimates, model.predict(X.iloc[:5]))
    # Counts with exposure, and repeated rows.
    rng = np.random.default_rng(0)
    rows, exposure = rng.uniform(size=(200, 1)), rng.uniform(1, 9, size=200)
    counts = rng.poisson(exposure * np.exp(rows[:, 0]))
    model = MoERegressor(n_experts=1, likelihood="poisson", **FREE)
    model.fit(rows, counts, exposure=exposure)
    options = {"kind": "parametric", "n_replicates": 60, "random_state": 0, "exposure": exposure}
    found = bootstrap(model, rows, counts, **options)
    expected = standard_errors(model, rows, counts, exposure=exposure).std_error
    assert_allclose(found.std_error, expected, rtol=0.3)
    sample = Simulator(model, rows[:3], counts[:3], [2, 0, 1]).draw(np.random.RandomState(0))
    assert_array_equal(sample.X, rows[[0, 0, 2]])
    assert sample.y.shape == (3,) and sample.weight is None


@pytest.mark.parametrize("kind", ["nonparametric", "parametric"])
def test_classes(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = np.where(X[:, 0] * X[:, 1] + 0.5 * rng.logistic(size=200) > 0, "yes", "no")
    y[:3] = "rare"  # often missing in a sample, which is then drawn again
    model = MoEClassifier(n_experts=2, n_init=1, tol=1e-3, random_state=0).fit(X, y)
    found = bootstrap(model, X, y, kind=kind, n_replicates=4, random_state=0)
    expected = standard_errors_names(model, X, y)
    pd.testing.assert_frame_equal(found.names, expected)
    assert np.isfinite(found.replicates).all() and (found.std_error > 0).all()


def standard_errors_names(model, X, y):
    return standard_errors(model.set_params(max_iter=1000, tol=1e-9).fit(X, y), X, y).names


def test_any_experts_with_a_statistic_and_laws_without_derivatives_without_one():
    X, y = lines(120)
    trees = MoERegressor(DecisionTreeRegressor(max_depth=2), n_experts=2, tol=10.0)
    trees.set_params(cross_fit=None, random_state=0).fit(X, y)
    found = bootstrap(
        trees, X, y, n_replicates=3, statistic=lambda model: model.predict(X), random_state=0
    )
    assert (found.std_error > 0).mean() > 0.9
    for law in ("laplace", "gaussian_with_noise"):
        model = MoERegressor(n_experts=2, likelihood=law, n_init=1, max_iter=1000, random_state=0)
        found = bootstrap(model.fit(X, y), X, y, n_replicates=3, random_state=0)
        coef = found.names.assign(value=found.estimates).set_index(["part", "expert", "term"])
        for name, expert in zip(model.expert_names_, model.experts_, strict=True):
            assert_allclose(coef.loc[("expert", name, "a"), "value"], expert.coef_[0], rtol=1e-9)
    share = coef.loc[("noise", "all", "logit(share)"), "value"]
    assert_allclose(1 / (1 + np.exp(-share)), model.likelihood_.noise_share_, rtol=1e-6)
    scales = found.estimates[(found.names["term"] == "log(scale)").to_numpy()]
    assert_allclose(np.exp(scales), model.likelihood_.scale_, rtol=1e-6)


def test_refits_that_do_not_converge_are_counted():
    X, y, model = fit_lines()
    model.set_params(max_iter=1)
    with pytest.warns(UserWarning, match="3 of 3 refits did not converge"):
        found = bootstrap(model, X, y, n_replicates=3, random_state=0)
    assert not found.converged.any()


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"kind": "wild"}, "kind='wild'"),
        ({"start": "there"}, "start='there'"),
        ({"n_replicates": 1}, "n_replicates=1"),
        ({"statistic": "mean"}, "statistic='mean'"),
        ({"kind": "parametric", "groups": np.arange(300)}, "groups"),
        ({"kind": "parametric", "sample_weight": np.full(300, 0.5)}, "whole numbers"),
        ({"groups": [1, 2]}, "groups has 2 labels"),
        ({"reference": 5}, "reference=5"),
    ],
)
def test_wrong_options_are_named(option, says):
    X, y, model = fit_lines()
    with pytest.raises(ValueError, match=says):
        bootstrap(model, X, y, **option)


def test_what_cannot_be_done_says_why():
    X, y, model = fit_lines()
    trees = MoERegressor(DecisionTreeRegressor(max_depth=1), n_experts=2, cross_fit=None, tol=10.0)
    with pytest.raises(TypeError, match="without a statistic needs coefficients"):
        bootstrap(trees.fit(X, y), X, y)
    with pytest.raises(ValueError, match="interval='bca'"):
        bootstrap(model, X, y, n_replicates=2).table(interval="bca")
    trials = np.column_stack([np.random.default_rng(0).binomial(4, 0.5, size=300), np.full(300, 4)])
    model = MoERegressor(n_experts=1, likelihood="binomial").fit(X, trials)
    with pytest.raises(TypeError, match="Binomial have columns that cannot be simulated"):
        bootstrap(model, X, trials, kind="parametric")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nonparametric", "parametric"])
def test_agrees_with_the_observed_information_where_it_holds(kind):
    """Clean: the model is true, regimes are far apart, and there are 800 rows."""
    X, y = lines(800, seed=1)
    model = MoERegressor(n_experts=2, likelihood=Gaussian(floor=0.0), **FREE)
    model.set_params(tol=1e-8, max_iter=1000, random_state=0).fit(X, y)
    found = bootstrap(model, X, y, kind=kind, n_replicates=300, random_state=0)
    assert_allclose(found.std_error, standard_errors(model, X, y).std_error, rtol=0.15)
