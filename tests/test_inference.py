"""Comparison of fits: against numbers computed by hand."""

import numpy as np
import pytest
from scipy.stats import chi2
from sklearn.base import clone

from skmoe import MoEClassifier, MoERegressor
from skmoe.inference import bootstrap_lr_test, compare_fits

pytest.importorskip("pandas")


def _fits():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=120)
    return X, y, {k: MoERegressor(n_experts=k, random_state=0).fit(X, y) for k in (1, 2)}


def test_a_row_holds_what_the_fit_says():
    X, y, fits = _fits()
    table = compare_fits({f"K={k}": fit for k, fit in fits.items()}, X, y)
    for k, fit in fits.items():
        row = table.loc[f"K={k}"]
        np.testing.assert_allclose(row["log_likelihood"], fit.log_likelihood(X, y).sum())
        assert row["bic"] == fit.bic(X, y) and row["n_experts"] == k
    assert np.isnan(table["p_value"]).all()  # different numbers of experts: no chi-squared law


def test_nested_fits_have_the_chi_squared_tail():
    X, y, fits = _fits()

    class Smaller:
        """The same mixture with a coefficient fewer and 2 less log-likelihood."""

        n_parameters_, experts_ = fits[2].n_parameters_ - 1, fits[2].experts_

        def aic(self, X, y, sample_weight=None, exposure=None):
            return fits[2].aic(X, y) + 4.0 - 2.0

        bic = icl = aic

    row = compare_fits({"less": Smaller(), "more": fits[2]}, X, y).loc["more"]
    np.testing.assert_allclose([row["statistic"], row["df"]], [4.0, 1.0])
    np.testing.assert_allclose(row["p_value"], chi2.sf(4.0, 1))


def test_criteria_of_rates_know_the_exposure():
    """Of counts with exposures they are those of the counts, whatever unit these are in."""
    rng = np.random.default_rng(0)
    X, exposure = rng.normal(size=(300, 2)), rng.uniform(0.2, 5.0, size=300)
    y = rng.poisson(exposure * np.exp(np.abs(X[:, 0])))
    fits = {
        k: MoERegressor(n_experts=k, likelihood="poisson", random_state=0).fit(
            X, y, exposure=exposure
        )
        for k in (1, 2)
    }
    total = fits[2].log_likelihood(X, y, exposure=exposure).sum()
    n_parameters = fits[2].n_parameters_
    found = fits[2].bic(X, y, exposure=exposure)
    np.testing.assert_allclose(found, n_parameters * np.log(300) - 2.0 * total)
    assert fits[2].aic(X, y) > fits[2].aic(X, y, exposure=exposure) + 100.0
    table = compare_fits(fits, X, y, exposure=exposure)
    assert table["bic"].idxmin() == 2 and table.loc[2, "bic"] == found
    np.testing.assert_allclose(table.loc[2, "log_likelihood"], total)
    assert table.loc[2, "icl"] == fits[2].icl(X, y, exposure=exposure) > found


def test_classes_have_no_exposure():
    X = np.linspace(-1, 1, 40)[:, None]
    model = MoEClassifier(n_experts=2, random_state=0).fit(X, X[:, 0] > 0.1)
    with pytest.raises(ValueError, match="exposure is for counts"):
        model.bic(X, X[:, 0] > 0.1, exposure=np.ones(40))


def test_no_fits():
    with pytest.raises(ValueError, match="fits is empty"):
        compare_fits({}, np.zeros((3, 1)), np.zeros(3))


def test_one_more_expert_is_tested_by_simulation():
    """On kinked data the second expert is found; on a line it gains no more than by chance."""
    X, y, fits = _fits()
    found = bootstrap_lr_test(fits[1], fits[2], X, y, n_replicates=9, random_state=0)
    gain = fits[2].log_likelihood(X, y).sum() - fits[1].log_likelihood(X, y).sum()
    np.testing.assert_allclose(found["statistic"], 2.0 * gain)
    assert found["p_value"] == 0.1 and found["simulated"].shape == (9,)
    assert found["simulated"].max() < 0.5 * found["statistic"]
    line = X[:, 0] + 0.1 * np.random.default_rng(2).normal(size=120)
    one, two = (MoERegressor(n_experts=k, random_state=0).fit(X, line) for k in (1, 2))
    assert bootstrap_lr_test(one, two, X, line, n_replicates=9, random_state=0)["p_value"] > 0.1


def test_simulated_statistics_are_those_of_refits_by_hand():
    X, y, fits = _fits()
    found = bootstrap_lr_test(fits[1], fits[2], X, y, n_replicates=2, random_state=3)
    seeds = np.random.RandomState(3).randint(np.iinfo(np.int32).max, size=2)
    for seed, statistic in zip(seeds, found["simulated"], strict=True):
        rng = np.random.RandomState(seed)
        drawn = fits[1].predict_dist(X).sample(random_state=rng)
        totals = [
            clone(fits[k]).set_params(random_state=rng.randint(2**31 - 1)).fit(X, drawn)
            for k in (1, 2)
        ]
        less, more = (model.log_likelihood(X, drawn).sum() for model in totals)
        np.testing.assert_allclose(statistic, 2.0 * (more - less))
    with pytest.raises(ValueError, match="n_replicates=0"):
        bootstrap_lr_test(fits[1], fits[2], X, y, n_replicates=0)
