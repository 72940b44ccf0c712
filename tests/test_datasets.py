"""Shipped data sets against their descriptions, and samples against their truth."""

import gzip
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import norm

import skmoe.datasets as datasets
from skmoe.datasets import make_moe_classification, make_moe_regression, read_dataset

SHIPPED = Path(datasets.__file__).parent / "data"

# name: (rows, features, first target, sum of the targets), counted in the files
NUMERIC = {
    "mcycle": (133, 1, 0.0, -3397.6),
    "nodata": (88, 1, 0.907, 81.53),
    "patent": (70, 2, 42, 1642),
    "tonedata": (150, 1, 1.461, 310.832),
    "co2data": (28, 1, 14.7, 254.3),
    "concrete": (1030, 8, 79.99, 36892.5),
}
MIXED = {"diamonds": (53940, 9), "credit": (4454, 13)}


def load(name, **options):
    return getattr(datasets, f"load_{name}")(**options)


# --- shipped sets ---------------------------------------------------------------


def test_exactly_these_sets_are_shipped():
    files = {path.name.removesuffix(".csv.gz") for path in SHIPPED.glob("*.csv.gz")}
    described = json.loads((SHIPPED / "meta.json").read_text(encoding="utf-8"))
    assert files == set(described) == set(NUMERIC) | set(MIXED)


@pytest.mark.parametrize("name", NUMERIC)
def test_numeric_set_as_arrays(name):
    rows, columns, first, total = NUMERIC[name]
    bunch = load(name)
    assert bunch.data.shape == (rows, columns)
    assert bunch.data.dtype == np.float64
    assert np.isfinite(bunch.data).all()
    assert bunch.target.shape == (rows,)
    assert bunch.target[0] == first
    assert bunch.target.sum() == pytest.approx(total, rel=1e-9)
    assert bunch.frame is None
    assert len(bunch.feature_names) == columns
    assert "target_names" not in bunch


@pytest.mark.parametrize("name", NUMERIC)
def test_frame_and_arrays_agree(name):
    frame = load(name, as_frame=True)
    X, y = load(name, return_X_y=True)
    assert list(frame.data) == frame.feature_names
    assert list(frame.frame)[-1] == frame.target.name
    np.testing.assert_array_equal(frame.data.to_numpy(), X)
    np.testing.assert_array_equal(frame.frame[frame.target.name], y)
    np.testing.assert_array_equal(frame.target, y)


@pytest.mark.parametrize("name", MIXED)
def test_mixed_set_is_a_frame_by_default(name):
    bunch = load(name)
    assert bunch.data.shape == MIXED[name]
    X, y = load(name, return_X_y=True)
    pd.testing.assert_frame_equal(X, bunch.data)
    pd.testing.assert_series_equal(y, bunch.target)


@pytest.mark.parametrize("name", MIXED)
def test_mixed_set_has_no_array_form(name):
    with pytest.raises(ValueError, match="as_frame=False needs numeric columns"):
        load(name, as_frame=False)


def test_diamonds_categories_are_ordered():
    data = datasets.load_diamonds().data
    assert list(data["clarity"].cat.categories) == (
        ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"]
    )
    assert all(data[column].cat.ordered for column in ("cut", "color", "clarity"))
    assert data["cut"].value_counts()["Ideal"] == 21551


def test_credit_keeps_missing_cells_and_codes_its_classes():
    bunch = datasets.load_credit()
    assert bunch.data.isna().sum().sum() == 455
    assert bunch.target_names.tolist() == ["bad", "good"]
    assert np.bincount(bunch.target).tolist() == [1254, 3200]
    assert not bunch.data["Home"].cat.ordered
    assert bunch.target.dtype == np.int64
    assert bunch.target.name == list(bunch.frame)[-1] == "Status"


def test_counts_are_integers():
    assert datasets.load_patent().target.dtype == np.int64


def test_row_labels_are_no_features():
    patent = datasets.load_patent()
    assert patent.feature_names == ["RDS", "lgRD"]
    assert patent.other_columns["Company"].is_unique
    co2 = datasets.load_co2data(as_frame=True)
    assert list(co2.data) == ["GNP"]
    assert list(co2.other_columns) == ["country"]


@pytest.mark.parametrize("name", [*NUMERIC, *MIXED])
def test_description_is_complete_and_true(name):
    bunch = load(name)
    text = bunch.DESCR
    rows = int(re.search(r"^:Rows: ([\d,]+)", text, re.MULTILINE).group(1).replace(",", ""))
    assert rows == len(bunch.data)
    for part in ("**Citation.**", "**Copy.**", "**Licence.**", ":Target:", ":Task:"):
        assert part in text
    for column in [*bunch.feature_names, *bunch.other_columns]:
        assert f"``{column}``" in text
    assert Path(bunch.filename).is_file()


# --- sets in a folder -----------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder with one small set that has a category spelled "None"."""
    (tmp_path / "small.csv.gz").write_bytes(
        gzip.compress(b"id,size,kind,label\n1,S,None,b\n2,L,,a\n3,,NA,b\n")
    )
    meta = {
        "file": "small.csv.gz",
        "target": "label",
        "task": "binary",
        "categorical": ["size", "kind"],
        "category_order": {"size": ["S", "M", "L"]},
        "not_features": ["id"],
    }
    (tmp_path / "meta.json").write_text(json.dumps({"small": meta}), encoding="utf-8")
    return tmp_path


def test_read_dataset_roles_of_columns(folder):
    bunch = read_dataset("small", folder)
    assert bunch.feature_names == ["size", "kind"]
    assert list(bunch.data["size"].cat.categories) == ["S", "M", "L"]
    assert sorted(bunch.data["kind"].cat.categories) == ["NA", "None"]
    assert bunch.data["kind"].isna().tolist() == [False, True, False]
    assert bunch.target.tolist() == [1, 0, 1]
    assert bunch.target_names.tolist() == ["a", "b"]
    assert bunch.other_columns["id"].tolist() == [1, 2, 3]
    assert "small" in bunch.DESCR


def test_read_dataset_uses_the_environment(folder, monkeypatch):
    monkeypatch.setenv("SKMOE_DATA", str(folder))
    X, y = read_dataset("small", return_X_y=True)
    assert len(X) == len(y) == 3


def test_read_dataset_names_the_variable_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("SKMOE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="SKMOE_DATA is not set"):
        read_dataset("small")
    with pytest.raises(FileNotFoundError, match=r"No meta\.json .* SKMOE_DATA"):
        read_dataset("small", tmp_path)


def test_read_dataset_lists_the_known_names(folder):
    with pytest.raises(ValueError, match=r"'absent' is not in .*small"):
        read_dataset("absent", folder)


def test_read_dataset_refuses_categories_outside_the_order(folder):
    path = folder / "meta.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"L"', '"XL"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"category_order of 'size' .* lacks \['L'\]"):
        read_dataset("small", folder)


@pytest.mark.parametrize("name", ["vowel", "motor_insurance", "doctor_visits", "nox"])
def test_sets_that_are_not_shipped(name, shared_data):
    table = shared_data(name)
    bunch = read_dataset(name)
    assert len(bunch.data) == len(table)
    assert len(bunch.feature_names) + len(bunch.other_columns.columns) + 1 == table.shape[1]
    if "target_names" in bunch:
        labels = bunch.target_names[bunch.target]
        np.testing.assert_array_equal(labels, table[bunch.target.name].to_numpy(dtype=str))


# --- samples --------------------------------------------------------------------

MAKERS = [make_moe_regression, make_moe_classification]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("n_experts", "n_features"), [(1, 1), (2, 1), (3, 5), (6, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_every_expert_has_its_share(make, n_experts, n_features, seed):
    _, _, truth = make(1000, n_features, n_experts=n_experts, random_state=seed, return_truth=True)
    share = np.bincount(truth.experts, minlength=n_experts) / 1000
    assert share.min() > 0.6 / n_experts


@pytest.mark.parametrize("make", MAKERS)
def test_gate_follows_its_formula_and_is_visible(make):
    X, _, truth = make(2000, 4, random_state=0, return_truth=True)
    proba = truth.gate_proba(X)
    np.testing.assert_allclose(proba, softmax(X @ truth.gate_coef.T + truth.gate_intercept, 1))
    assert proba.max(axis=1).mean() > 0.75
    np.testing.assert_allclose(truth.gate_coef.sum(axis=0), 0, atol=1e-12)
    # Labels are drawn from the gate: their calibration holds in every bin.
    chance = proba[np.arange(2000), truth.experts]
    assert chance.mean() == pytest.approx((proba**2).sum(axis=1).mean(), abs=0.02)


@pytest.mark.parametrize("make", MAKERS)
def test_seed_fixes_the_sample_and_size_leaves_the_mixture(make):
    one = make(50, 3, random_state=7, return_truth=True)
    two = make(50, 3, random_state=7, return_truth=True)
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    longer = make(80, 3, random_state=7, return_truth=True)
    np.testing.assert_array_equal(one[2].expert_coef, longer[2].expert_coef)
    assert len(make(50, 3)) == 2


@pytest.mark.parametrize("make", MAKERS)
def test_uninformative_columns_have_no_coefficients(make):
    _, _, first = make(10, 6, n_informative=2, shuffle=False, random_state=1, return_truth=True)
    for coef in (first.gate_coef, first.expert_coef):
        assert np.all(coef[..., 2:] == 0)
        assert np.all(np.abs(coef[..., :2]).sum(axis=-1) > 0)
    used = set()
    for seed in range(30):
        _, _, truth = make(10, 6, n_informative=2, random_state=seed, return_truth=True)
        columns = np.flatnonzero(np.any(truth.gate_coef != 0, axis=0))
        assert len(columns) == 2
        used.update(columns)
    assert used == set(range(6))


@pytest.mark.parametrize("make", MAKERS)
def test_truth_can_be_pickled(make):
    X, y, truth = make(20, 2, random_state=0, return_truth=True)
    copy = pickle.loads(pickle.dumps(truth))
    np.testing.assert_array_equal(copy.log_likelihood(X, y), truth.log_likelihood(X, y))


def test_regression_density_against_scipy():
    X, y, truth = make_moe_regression(
        30, 2, n_experts=3, noise=[0.1, 0.5, 2.0], random_state=0, return_truth=True
    )
    density = np.zeros(30)
    for k in range(3):
        mean = X @ truth.expert_coef[k] + truth.expert_intercept[k]
        density += truth.gate_proba(X)[:, k] * norm.pdf(y, mean, truth.scale[k])
    np.testing.assert_allclose(truth.log_likelihood(X, y), np.log(density), rtol=1e-10)


def test_regression_noise_of_each_expert():
    X, y, truth = make_moe_regression(
        20000, 3, n_experts=2, noise=[0.2, 1.0], random_state=0, return_truth=True
    )
    residual = y - truth.predict_experts(X)[np.arange(len(y)), truth.experts]
    for k, scale in enumerate([0.2, 1.0]):
        assert residual[truth.experts == k].std() == pytest.approx(scale, rel=0.03)
    np.testing.assert_allclose(
        truth.predict(X), (truth.gate_proba(X) * truth.predict_experts(X)).sum(axis=1)
    )


def test_regression_without_separation_is_one_linear_model():
    _, _, truth = make_moe_regression(10, 3, separation=0, random_state=0, return_truth=True)
    assert np.ptp(truth.expert_coef, axis=0).max() == 0
    assert np.ptp(truth.expert_intercept) == 0


def test_class_probabilities_against_a_loop():
    X, y, truth = make_moe_classification(
        25, 3, n_experts=2, n_classes=4, random_state=0, return_truth=True
    )
    expected = np.zeros((25, 4))
    for i in range(25):
        for k in range(2):
            scores = truth.expert_coef[k] @ X[i] + truth.expert_intercept[k]
            expected[i] += truth.gate_proba(X)[i, k] * softmax(scores)
    np.testing.assert_allclose(truth.predict_proba(X), expected, rtol=1e-10)
    np.testing.assert_allclose(truth.log_likelihood(X, y), np.log(expected[np.arange(25), y]))
    np.testing.assert_array_equal(truth.predict(X), expected.argmax(axis=1))


def test_classes_are_drawn_from_their_probabilities():
    X, y, truth = make_moe_classification(
        20000, 2, n_experts=3, n_classes=3, random_state=0, return_truth=True
    )
    drawn = np.eye(3)[y]
    for k in range(3):
        mine = truth.experts == k
        assert np.bincount(y[mine], minlength=3).min() > 0.25 * mine.sum()
    top = truth.predict_proba(X).max(axis=1)
    correct = drawn[np.arange(len(y)), truth.predict(X)]
    assert correct.mean() == pytest.approx(top.mean(), abs=0.01)


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (make_moe_regression, {"n_samples": 0}, ValueError, "n_samples"),
        (make_moe_regression, {"n_experts": 2.5}, TypeError, "n_experts"),
        (make_moe_regression, {"n_features": 3, "n_informative": 4}, ValueError, "n_informative"),
        (make_moe_regression, {"noise": 0.0}, ValueError, "noise must be positive"),
        (make_moe_regression, {"noise": [1.0, 1.0]}, ValueError, "noise has shape"),
        (make_moe_regression, {"gate_sharpness": -1.0}, ValueError, "gate_sharpness"),
        (make_moe_classification, {"n_classes": 1}, ValueError, "n_classes"),
        (make_moe_classification, {"separation": 2.0}, ValueError, "separation"),
    ],
)
def test_errors_name_the_parameter(make, options, error, message):
    with pytest.raises(error, match=message):
        make(**options)
