"""Starts: without chance where they promise it, and the best is kept."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import (
    classification,
    classification_data,
    linear_parts,
    regression,
    regression_data,
    sparsened,
    weights,
)

from skmoe._design import Design
from skmoe._em import fit_em
from skmoe._init import from_labels, kmeans_start, principal_splits, random_start, thinned
from skmoe._monitor import Monitor
from skmoe._path import grow, posterior
from skmoe._progress import Progress
from skmoe._starts import fit_from_starts, one_expert_variance, start_kinds, surrogate_start
from skmoe.gates import SoftmaxGate


def clustered(n=90, seed=0):
    """Four clouds in the plane, (n, 2)."""
    rng = np.random.RandomState(seed)
    centers = np.array([[0, 0], [8, 0], [0, 9], [7, 8.0]])
    return centers[rng.randint(4, size=n)] + rng.normal(size=(n, 2))


def kmeans(X, weight, n_experts=4, seed=0):
    design = Design.standardised(X, weight)
    return kmeans_start(design, weight, n_experts, np.random.RandomState(seed))


def test_labels_leave_some_doubt():
    resp = from_labels(np.array([2, 0]), 3, doubt=0.3)
    assert_allclose(resp, [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])
    assert_allclose(from_labels(np.array([2, 0]), 3).sum(axis=1), 1.0)


def test_thinned_rows_are_even_and_few():
    assert_array_equal(thinned(5, 10), np.arange(5))
    rows = thinned(1000, 300)
    assert len(rows) <= 300
    assert_array_equal(np.unique(np.diff(rows)), [4])


def test_kmeans_start_finds_the_clouds():
    X = clustered()
    labels = kmeans(X, np.ones(90)).argmax(axis=1)
    corner = 2 * (X[:, 0] > 4) + (X[:, 1] > 4)
    pairs = np.unique(np.column_stack([labels, corner]), axis=0)
    assert len(pairs) == 4


def test_kmeans_start_has_no_chance_in_it():
    X, weight = clustered(), weights(90)
    assert_array_equal(kmeans(X, weight, seed=0), kmeans(X, weight, seed=1))


def test_kmeans_start_takes_weights_for_repetition():
    X, counts = clustered(), np.random.RandomState(0).randint(1, 4, size=90)
    weighted = kmeans(X, counts.astype(float))
    repeated = kmeans(np.repeat(X, counts, axis=0), np.ones(counts.sum()))
    assert_allclose(np.repeat(weighted, counts, axis=0), repeated)


def test_kmeans_start_does_not_depend_on_the_order_of_rows():
    X, weight = clustered(), weights(90)
    order = np.random.RandomState(0).permutation(90)
    assert_allclose(kmeans(X[order], weight[order]), kmeans(X, weight)[order])


def test_kmeans_start_does_not_depend_on_the_scale_of_features():
    X, weight = clustered(), weights(90)
    assert_allclose(kmeans(X * [1000.0, 0.01] + 5.0, weight), kmeans(X, weight))


@pytest.mark.parametrize("case", ["sparse", "wide", "few distinct rows"])
def test_kmeans_start_falls_back_to_random_regions(case):
    X = {
        "sparse": sparsened(clustered()),
        "wide": np.random.RandomState(0).normal(size=(90, 600)),
        "few distinct rows": np.tile([[0.0, 1.0], [1.0, 0.0]], (45, 1)),
    }[case]
    design = Design.standardised(X, np.ones(90))
    expected = random_start(design, np.ones(90), 4, np.random.RandomState(3))
    assert_array_equal(kmeans(X, np.ones(90), seed=3), expected)


def test_principal_splits_cut_as_long_as_there_is_something_to_cut():
    assert len(principal_splits(np.zeros((20, 2)), np.ones(20), 4)) == 1
    assert len(principal_splits(np.repeat(np.eye(3), 5, axis=0), np.ones(15), 4)) == 3


@pytest.mark.parametrize("sparse", [False, True])
def test_random_start_is_seeded_and_soft(sparse):
    X = sparsened(clustered()) if sparse else clustered()
    design = Design.standardised(X, np.ones(90))
    one, same, other = (
        random_start(design, np.ones(90), 3, np.random.RandomState(seed)) for seed in (0, 0, 1)
    )
    assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1
    assert_allclose(one.sum(axis=1), 1.0)
    assert 0.5 < one.max(axis=1).mean() < 0.99


def test_random_start_of_constant_features_is_even():
    design = Design.standardised(np.ones((10, 2)), np.ones(10))
    resp = random_start(design, np.ones(10), 2, np.random.RandomState(0))
    assert np.isfinite(resp).all()
    assert_allclose(resp, 0.5)


def test_names_of_starts():
    assert start_kinds("auto", 1) == ["grown"]
    assert start_kinds("auto", 2) == ["grown", "kmeans"]
    assert start_kinds("auto", 4) == ["grown", "kmeans", "random", "random"]
    assert start_kinds("kmeans", 2) == ["kmeans", "random"]
    assert start_kinds("random", 3) == ["random"] * 3


def problem(task, seed=0, n=150):
    if task == "regression":
        data = regression_data(*regression(seed, n=n))
    else:
        data = classification_data(*classification(seed, n=n))
    return data, lambda n_experts: linear_parts(data, n_experts)


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("seed", range(2))
def test_grown_start_gains_with_every_expert(task, seed):
    data, make_parts = problem(task, seed)
    objectives = [grow(data, make_parts, k, fit_em).objective for k in (1, 2, 3)]
    assert objectives[1] > objectives[0]
    assert objectives[2] > objectives[1]


def test_grown_start_splits_where_the_slope_changes():
    X = np.linspace(-1, 1, 200)[:, None]
    data = regression_data(X, np.abs(X))
    result = grow(data, lambda k: linear_parts(data, k), 2, fit_em)
    resp, _ = posterior(data, result)
    left = X[:, 0] < 0
    assert abs(resp[left].mean(axis=0) - resp[~left].mean(axis=0)).min() > 0.9


def test_grown_start_of_constant_features_still_gives_all_experts():
    rng = np.random.RandomState(0)
    data = regression_data(np.ones((40, 2)), rng.normal(size=(40, 1)))
    result = grow(data, lambda k: linear_parts(data, k), 3, fit_em)
    assert posterior(data, result)[0].shape == (40, 3)
    assert np.isfinite(result.objective)


def test_posterior_equals_the_mixture_of_the_parts():
    data, make_parts = problem("regression")
    result = grow(data, make_parts, 2, fit_em)
    resp, loglik = posterior(data, result)
    log_gate = result.gate.log_proba(data.gate_X)
    log_lik = result.likelihood.log_lik(data.y, result.experts.predict(data.X))
    assert_allclose(loglik, np.logaddexp.reduce(log_gate + log_lik, axis=1))
    assert_allclose(resp, np.exp(log_gate + log_lik - loglik[:, None]))


def recorded(results):
    """`fit_em` that notes what it returns."""

    def fit(data, parts, monitor, resp):
        results.append((monitor, fit_em(data, parts, monitor, resp)))
        return results[-1][1]

    return fit


def new_monitor(label):
    return Monitor(1e-6, 60, progress=Progress(label=label))


@pytest.mark.parametrize("n_init", [1, 2, 3])
def test_best_of_few_starts_is_kept(n_init):
    data, make_parts = problem("regression", 3)
    results, rng = [], np.random.RandomState(0)
    kinds = ["random"] * n_init
    best = fit_from_starts(data, make_parts, 3, kinds, new_monitor, rng, recorded(results))
    assert len(results) == n_init
    assert best.objective == max(result.objective for _, result in results)


def test_race_runs_the_best_three_to_the_end():
    data, make_parts = problem("regression", 3)
    results, rng = [], np.random.RandomState(0)
    kinds = ["random"] * 6
    best = fit_from_starts(data, make_parts, 3, kinds, new_monitor, rng, recorded(results))
    heats, finals = results[:6], results[6:]
    assert [monitor.max_iter for monitor, _ in heats] == [30] * 6
    assert [monitor.progress.label for monitor, _ in finals] == [
        f"start {i}/3  " for i in (1, 2, 3)
    ]
    assert best.objective >= max(result.objective for _, result in results) - 1e-9
    leaders = sorted((result.objective for _, result in heats), reverse=True)[:3]
    for leader, (_, final) in zip(leaders, finals):
        assert final.history["objective"][0] >= leader - 1e-9


def test_one_expert_needs_no_start():
    data, make_parts = problem("regression")
    results, rng = [], np.random.RandomState(0)
    fit_from_starts(data, make_parts, 1, ["random"] * 5, new_monitor, rng, recorded(results))
    assert len(results) == 1


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_surrogate_start_gives_responsibilities(task):
    data, _ = problem(task)
    likelihood = linear_parts(data, 3).likelihood
    rng = np.random.RandomState(0)
    resp = surrogate_start(data, SoftmaxGate(), likelihood, 3, ["grown", "kmeans"], rng)
    assert resp.shape == (150, 3)
    assert_allclose(resp.sum(axis=1), 1.0)


def test_variance_of_one_expert_is_positive_even_for_an_exact_line():
    X = np.arange(10.0)[:, None]
    data = regression_data(X, 2 * X)
    assert one_expert_variance(data) > 0
