"""Standard errors: against flexmix, textbook formulas and repeated rows; and the report."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import load_credit, load_diamonds, load_patent
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inference import standard_errors
from skmoe.likelihoods import Gaussian

FREE = {"experts": LinearExpert(alpha=0.0), "gate": SoftmaxGate(alpha=0.0)}
TIGHT = {"tol": 1e-10, "max_iter": 3000, "random_state": 0}


def npreg():
    """200 rows in the manner of flexmix's NPreg: a line and a parabola, gate on x."""
    rng = np.random.RandomState(2602)
    x = rng.uniform(0, 10, size=200)
    first = rng.uniform(size=200) < 1 / (1 + np.exp(-(0.4 * (x - 5))))
    y = np.where(first, 5 * x, 15 + 10 * x - x**2) + 3 * rng.normal(size=200)
    return pd.DataFrame({"x": x, "square": x**2}), y


def fit_npreg(**options):
    X, y = npreg()
    model = MoERegressor(
        n_experts=2, likelihood=Gaussian(floor=0.0), gate_features=["x"], **FREE, **TIGHT, **options
    )
    return X, y, model.fit(X, y)


def numbers_of(table, part, term):
    """Pairs of estimate and standard error, smallest estimate first."""
    rows = table[(table["part"] == part) & (table["term"] == term)]
    return rows[["estimate", "std_error"]].sort_values("estimate").to_numpy()


def test_golden_npreg():
    """Refit of flexmix 2.3-18 (R 4.2.2) to these rows, concomitant ~ x, method "optim".

    flexmix was started at the true classes, tolerance 1e-14; its log-likelihood is -564.522
    (its scale is corrected for degrees of freedom).
    """
    X, y, model = fit_npreg()
    assert_allclose(model.log_likelihood(X, y).sum(), -564.509, atol=1e-3)
    table = standard_errors(model, X, y).table()
    golden = {
        ("expert", "x"): [[4.592526, 0.500069], [9.569276, 0.456931]],
        ("expert", "square"): [[-0.937951, 0.0492640], [0.0420792, 0.0417824]],
        ("expert", "(intercept)"): [[0.768170, 1.365693], [15.415022, 0.845248]],
        ("noise", "log(scale)"): [[0.914933, 0.0768251], [1.046345, 0.0752500]],
    }
    for (part, term), expected in golden.items():
        assert_allclose(numbers_of(table, part, term), expected, rtol=2e-3, atol=1e-3)
    # The gate in flexmix has the other expert as its reference, or not: signs may differ.
    gate = table[table["part"] == "gate"].set_index("term")
    assert_allclose(
        np.abs(gate.loc["x", ["estimate", "std_error"]].astype(float)),
        [0.5085624, 0.0820319],
        rtol=2e-3,
    )
    assert_allclose(
        np.abs(gate.loc["(intercept)", ["estimate", "std_error"]].astype(float)),
        [2.4240718, 0.4022162],
        rtol=2e-3,
    )


@pytest.mark.slow
def test_golden_npreg_of_flexmix(shared_data):
    """Refit of flexmix 2.3-18 (R 4.2.2) to its own NPreg, concomitant ~ x, method "optim".

    flexmix was started at the true classes, tolerance 1e-14; log-likelihoods are -642.077
    (Gaussian, scale corrected for degrees of freedom) and -440.5513 (Poisson).
    """
    rows = shared_data("npreg")
    start = (rows["class"] == 2).to_numpy().astype(int)
    options = {"n_experts": 2, "n_init": 1, "init": start, **FREE, **TIGHT}
    X = pd.DataFrame({"x": rows["x"], "square": rows["x"] ** 2})
    law = Gaussian(floor=0.0)
    model = MoERegressor(likelihood=law, gate_features=["x"], **options).fit(X, rows["yn"])
    assert_allclose(model.log_likelihood(X, rows["yn"]).sum(), -642.0639, atol=1e-3)
    table = standard_errors(model, X, rows["yn"]).table()
    golden = {
        ("expert", "x"): [[4.792870, 0.511736], [9.820462, 0.595206]],
        ("expert", "square"): [[-0.965813, 0.0555585], [0.0388068, 0.0498696]],
        ("expert", "(intercept)"): [[-0.173360, 1.014381], [14.766074, 1.336800]],
        ("noise", "log(scale)"): [[1.234809, 0.0823545], [1.240217, 0.0783491]],
        ("gate", "x"): [[0.0514331, 0.0533081]],
        ("gate", "(intercept)"): [[-0.2139575, 0.2935202]],
    }
    for (part, term), expected in golden.items():
        assert_allclose(numbers_of(table, part, term), expected, rtol=1e-3)
    X = rows[["x"]]
    model = MoERegressor(likelihood="poisson", **options).fit(X, rows["yp"])
    assert_allclose(model.log_likelihood(X, rows["yp"]).sum(), -440.5513, atol=1e-4)
    table = standard_errors(model, X, rows["yp"]).table()
    golden = {
        ("expert", "x"): [[-0.1718710, 0.0466440], [0.0641064, 0.0258564]],
        ("expert", "(intercept)"): [[1.243276, 0.159751], [1.917794, 0.223488]],
        ("gate", "x"): [[-0.0523831, 0.118918]],
        ("gate", "(intercept)"): [[0.2691407, 1.022184]],
    }
    for (part, term), expected in golden.items():
        assert_allclose(numbers_of(table, part, term), expected, rtol=1e-3)


def test_golden_patent():
    """Refit of flexmix 2.3-18 (R 4.2.2): three Poisson experts on lgRD, concomitant ~ RDS.

    flexmix was started at the responsibilities of this fit, tolerance 1e-10; its
    log-likelihood is -197.675.
    """
    frame = load_patent(as_frame=True).frame
    X, y = frame[["lgRD", "RDS"]], frame["Patents"]
    options = {"gate_features": ["RDS"], "expert_features": ["lgRD"], "n_init": 4}
    model = MoERegressor(n_experts=3, likelihood="poisson", **options, **FREE, **TIGHT).fit(X, y)
    slopes = np.array([expert.coef_[0] for expert in model.experts_])
    middle = int(np.argsort(slopes)[1])  # the first component of flexmix
    table = standard_errors(model, X, y, reference=middle).table()
    golden = {
        ("expert", "lgRD"): [[0.671926, 0.0456066], [0.880073, 0.0402276], [1.588543, 0.134658]],
        ("expert", "(intercept)"): [
            [-2.646384, 0.630555],
            [0.506458, 0.160805],
            [1.961968, 0.176347],
        ],
        ("gate", "RDS"): [[40.222365, 16.137470], [40.965682, 16.091958]],
        ("gate", "(intercept)"): [[-3.106677, 0.875304], [-2.897241, 0.986056]],
    }
    for (part, term), expected in golden.items():
        assert_allclose(numbers_of(table, part, term), expected, rtol=4e-3)


def test_one_expert_has_the_errors_of_least_squares():
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(80, 2)) * [1.0, 50.0] + [0.0, 7.0], rng.integers(1, 4, size=80)
    y = X @ [1.0, -0.1] + rng.normal(size=80)
    options = {"n_experts": 1, "likelihood": Gaussian(floor=0.0), **FREE}
    model = MoERegressor(**options).fit(X, y, sample_weight=weight)
    found = standard_errors(model, X, y, weight)
    Z = np.column_stack([X, np.ones(80)])
    error = y - model.predict(X)
    variance = weight @ error**2 / weight.sum()
    bread = np.linalg.inv(Z.T @ (weight[:, None] * Z))
    assert_allclose(found.covariance[:3, :3], variance * bread, rtol=1e-6, atol=1e-12)
    assert found.names["term"].tolist() == ["x0", "x1", "(intercept)", "log(scale)"]
    assert_allclose(found.std_error[3], np.sqrt(0.5 / weight.sum()), rtol=1e-6)
    # The sandwich of White (1980), and its form for groups.
    robust = standard_errors(model, X, y, weight, covariance="robust").covariance
    meat = Z.T @ ((weight * error**2)[:, None] * Z) * weight.sum() / (weight.sum() - 1)
    assert_allclose(robust[:3, :3], bread @ meat @ bread, rtol=1e-5, atol=1e-12)
    groups = np.arange(80) // 4
    found = standard_errors(model, X, y, weight, groups=[f"g{g}" for g in groups]).covariance
    sums = np.array([(weight * error)[groups == g] @ Z[groups == g] for g in range(20)])
    assert_allclose(found[:3, :3], bread @ (sums.T @ sums) @ bread * 20 / 19, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_one_expert_has_the_errors_of_logistic_regression(n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2))
    y = (X @ rng.normal(size=(2, n_classes)) + rng.gumbel(size=(150, n_classes))).argmax(axis=1)
    X += [0.0, 3.0]
    model = MoEClassifier(n_experts=1, tol=1e-12, max_iter=500, **FREE).fit(X, y)
    found = standard_errors(model, X, y)
    own = LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000).fit(X, y)
    coef = np.column_stack([own.coef_, own.intercept_])
    coef = coef if n_classes == 2 else coef[1:] - coef[0]
    assert_allclose(found.estimates, coef.T.ravel(), rtol=1e-3, atol=1e-4)
    Z, proba = np.column_stack([X, np.ones(150)]), own.predict_proba(X)[:, 1:]
    size = n_classes - 1
    hessian = np.zeros((3, size, 3, size))
    for row, p in zip(Z, proba, strict=True):
        hessian += np.einsum("a,b,ij->aibj", row, row, np.diag(p) - np.outer(p, p))
    expected = np.linalg.inv(hessian.reshape(3 * size, -1))
    assert_allclose(found.covariance, expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("n_classes", [None, 3])
def test_penalties_are_counted_in_like_prior_rows(n_classes):
    """One expert with a ridge has the covariance of the penalised normal equations."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2)) * [1.0, 5.0]
    if n_classes is None:
        y = X[:, 0] + rng.normal(size=100)
        options = {"n_experts": 1, "likelihood": Gaussian(floor=0.0), "tol": 1e-12}
        model = MoERegressor(LinearExpert(alpha=30.0), **options).fit(X, y)
        Z = np.column_stack([X, np.ones(100)])
        error, variance = y - model.predict(X), model.likelihood_.scale_[0] ** 2
        ridge = np.diag([*30.0 * X.var(axis=0) / y.var(), 0.0])
        across = (Z.T @ error / variance)[:, None]
        hessian = np.block([[Z.T @ Z / variance + ridge, across], [across.T, np.array([[50.0]])]])
        expected = np.linalg.inv(hessian)[:3, :3]
        assert_allclose(standard_errors(model, X, y).covariance[:3, :3], expected, rtol=1e-4)
        return
    y = rng.integers(3, size=100)
    model = MoEClassifier(LinearExpert(alpha=1e6), n_experts=1, tol=1e-12).fit(X, y)
    found = standard_errors(model, X, y).covariance
    # Nothing but the penalty of the three classes: contrasts of independent slopes.
    prior = np.array([[2.0, 1.0], [1.0, 2.0]]) / 1e6
    assert_allclose(found[:2, :2] * X[:, 0].var(), prior, rtol=1e-3)
    assert_allclose(found[2:4, 2:4] * X[:, 1].var(), prior, rtol=1e-3)


def test_reference_and_order_change_what_is_compared_only():
    X, y, model = fit_npreg()
    one, other = (standard_errors(model, X, y, reference=r) for r in (0, model.expert_names_[1]))
    assert one.reference == model.expert_names_[0] and other.reference == model.expert_names_[1]
    gate = (one.names["part"] == "gate").to_numpy()
    assert_allclose(one.estimates[gate], -other.estimates[gate], rtol=1e-9)
    assert_allclose(one.std_error, other.std_error, rtol=1e-9)
    array = MoERegressor(**{**model.get_params(deep=False), "gate_features": [0]})
    found = standard_errors(array.fit(X.to_numpy(), y), X.to_numpy(), y)
    assert_allclose(found.std_error, one.std_error, rtol=1e-6)
    assert found.names["term"].unique().tolist() == ["x0", "(intercept)", "x1", "log(scale)"]


def test_coefficients_are_those_of_the_published_parts():
    X, y, model = fit_npreg()
    table = standard_errors(model, X, y).table().set_index(["part", "expert", "term"])["estimate"]
    for name, expert in zip(model.expert_names_, model.experts_, strict=True):
        assert_allclose(table["expert", name, "square"], expert.coef_[1], rtol=1e-9)
        assert_allclose(table["expert", name, "(intercept)"], expert.intercept_, rtol=1e-9)
    gate = model.gate_.coef_[1, 0] - model.gate_.coef_[0, 0]
    assert_allclose(table["gate", model.expert_names_[1], "x"], gate, rtol=1e-9)


def test_units_of_features_and_target():
    X, y, model = fit_npreg()
    found = standard_errors(model, X, y)
    scaled = X * [10.0, 0.1] + [3.0, -2.0]
    again = MoERegressor(**model.get_params(deep=False)).fit(scaled, 1000.0 * y)
    other = standard_errors(again, scaled, 1000.0 * y)
    factor = {"x": 10.0, "square": 0.1}
    for i, row in found.names.iterrows():
        if row["term"] in factor:
            unit = (1000.0 if row["part"] == "expert" else 1.0) / factor[row["term"]]
            assert_allclose(other.std_error[i], unit * found.std_error[i], rtol=1e-4)


def test_wald_tests_and_intervals():
    X, y, model = fit_npreg()
    found = standard_errors(model, X, y)
    table = found.table(level=0.9)
    one = table[(table["part"] == "gate") & (table["term"] == "x")].iloc[0]
    test = found.wald_test("x", part="gate")
    assert_allclose(test["statistic"], one["z"] ** 2)
    assert_allclose(test["p_value"], one["p_value"], rtol=1e-9)
    assert_allclose(one["upper"] - one["lower"], 2 * 1.6448536 * one["std_error"])
    square = ((table["part"] == "expert") & (table["term"] == "square")).to_numpy()
    value, matrix = found.estimates[square], found.covariance[np.ix_(square, square)]
    both = found.wald_test("square", part="expert")
    assert_allclose(both["statistic"], value @ np.linalg.inv(matrix) @ value)
    assert both["df"] == 2
    equal = found.wald_test("square", part="expert", equal=True)
    spread = matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1]
    assert_allclose(equal["statistic"], (value[0] - value[1]) ** 2 / spread)
    assert_allclose(equal["p_value"], chi2.sf(equal["statistic"], 1))
    with pytest.raises(ValueError, match="no coefficient"):
        found.wald_test("z")
    with pytest.raises(ValueError, match="part='expert'"):
        found.wald_test("x", equal=True)
    with pytest.raises(ValueError, match="level=95"):
        found.table(95)


def test_a_constant_column_has_no_error():
    X, y, model = fit_npreg()
    X = X.assign(one=1.0)
    model = MoERegressor(**{**model.get_params(deep=False), "gate_features": ["x"]}).fit(X, y)
    with pytest.warns(UserWarning, match="not determined.*one"):
        table = standard_errors(model, X, y).table()
    lost = table[table["std_error"].isna()]
    assert set(lost["term"]) == {"one", "(intercept)"} and set(lost["part"]) == {"expert"}


def test_rows_at_which_the_fit_is_no_optimum_are_named():
    X, y, model = fit_npreg()
    with pytest.warns(UserWarning, match="before its optimum"):
        standard_errors(model, X, y + 2.0)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"experts": DecisionTreeRegressor(max_depth=2)}, TypeError, "DecisionTreeRegressor"),
        ({"gate": "gaussian"}, TypeError, "gate='softmax'"),
        ({"likelihood": "laplace"}, TypeError, "Laplace"),
        ({"likelihood": "gaussian_with_noise"}, TypeError, "GaussianWithNoise"),
        ({"top_k": 1}, ValueError, "top_k"),
        (
            {"experts": LinearExpert(1.0, l1_ratio=1.0), "solver": "gradient"},
            ValueError,
            "l1_ratio",
        ),
    ],
)
def test_what_has_no_standard_errors_says_why(options, error, says):
    X, y = npreg()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MoERegressor(n_experts=2, max_iter=5, n_init=1, random_state=0)
        model.set_params(**options).fit(X, y)
    with pytest.raises(error, match=says):
        model.report(X, y)


@pytest.mark.parametrize("option", [{"covariance": "hc3"}, {"reference": 2}, {"groups": [1, 2]}])
def test_wrong_options_are_named(option):
    X, y, model = fit_npreg()
    with pytest.raises(ValueError, match=next(iter(option))):
        standard_errors(model, X, y, **option)


def test_report_of_three_experts_fits_a_terminal(capsys):
    X, y = npreg()
    model = MoERegressor(n_experts=3, random_state=0, **{"tol": 1e-8, "max_iter": 2000}).fit(X, y)
    table = model.report(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("square") for line in lines) == 2  # of experts, and of the gate
    row = next(line for line in lines if line.startswith("(intercept)"))
    own = table[(table["part"] == "expert") & (table["term"] == "(intercept)")]
    for value in own["std_error"]:
        assert f"({value:.{max(0, 2 - int(np.floor(np.log10(value))))}f})" in row
    total = model.log_likelihood(X, y).sum()
    assert any(f"{total:.2f}" in line for line in lines)
    assert any(f"{model.bic(X, y):.2f}" in line for line in lines)


def test_report_on_diamonds_fits_a_terminal(capsys):
    X, y = load_diamonds(return_X_y=True, as_frame=True)
    rows = np.random.default_rng(0).choice(len(X), 2000, replace=False)
    X, y = X.iloc[rows][["carat", "depth", "table", "x"]], np.log(y.iloc[rows])
    model = MoERegressor(n_experts=3, n_init=1, random_state=0).fit(X, y)
    table = model.report(X, y)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100 and len(lines) < 50
    for name in X.columns:  # of experts, and of the gate
        assert sum(line.split()[:1] == [name] for line in lines) == 2
    assert all(name in out for name in model.expert_names_) and "***" in out
    assert len(table) == 3 * 5 + 2 * 5 + 3


def test_report_of_classes_and_of_many_experts(capsys):
    X, y = load_credit(return_X_y=True, as_frame=True)
    X = (
        X[["Seniority", "Age", "Amount", "Price"]]
        .iloc[:600]
        .rename(columns={"Price": "price of what is bought on credit"})
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MoEClassifier(n_experts=5, n_init=1, random_state=0).fit(X, y.iloc[:600])
        table = model.report(X, y.iloc[:600], groups=np.arange(600) // 2)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("EXPERTS: log odds of" in line for line in lines) == 2  # 3 and 2 experts
    assert sum("0 (reference)" in line for line in lines) == 5
    assert any("robust, by group" in line for line in lines)
    assert (table["part"] == "expert").sum() == 5 * 5
