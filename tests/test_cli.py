"""The command line: what it writes, and what it says of wrong input."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import require

from skmoe._cli import main
from skmoe._cli._columns import as_text, is_constant, is_date, is_name, years
from skmoe._cli._conclusion import conclude
from skmoe._cli._table import read_table
from skmoe._numbers import percent, plain, plain_column

CHECKOUT = Path(__file__).resolve().parents[1]
rng = np.random.RandomState(0)
N = 160


@pytest.fixture
def table(tmp_path):
    size = rng.uniform(-1, 1, N)
    frame = pd.DataFrame(
        {
            "size": np.where(rng.uniform(size=N) < 0.05, np.nan, size),
            "city": np.where(rng.uniform(size=N) < 0.1, None, np.where(size > 0, "Rome", "Oslo")),
            "count": rng.randint(5, size=N),
            "price": np.abs(size) + 0.1 * rng.normal(size=N),
            "sold": np.where(size + 0.3 * rng.normal(size=N) > 0, "yes", "no"),
            "rows": rng.randint(1, 4, size=N),
        }
    )
    path = tmp_path / "sales.csv"
    frame.to_csv(path, index=False)
    return path


def fit(table, *more, target="price"):
    other = "sold" if target == "price" else "price"
    words = ["fit", str(table), "--target", target, "--drop", other, "rows", "--experts", "2"]
    return main([*words, "--folds", "2", *more])


def test_regression_from_table_to_predictions(table, tmp_path, capsys):
    model, out = tmp_path / "model.joblib", tmp_path / "out.csv"
    assert fit(table, "--out", str(model)) == 0
    said = capsys.readouterr().out
    assert "160 rows, 3 features (1 of words), regression of 'price'" in said
    assert all(name in said for name in ("constant", "one expert", "mixture", "RMSE"))
    assert main(["predict", str(model), str(table), "--out", str(out), "--interval", "0.5"]) == 0
    found, frame = pd.read_csv(out), pd.read_csv(table)
    assert list(found) == ["price", "lower", "upper", "expert"]
    assert (found["lower"] < found["upper"]).all()
    assert np.corrcoef(found["price"], frame["price"])[0, 1] > 0.5
    inside = (found["lower"] < frame["price"]) & (frame["price"] < found["upper"])
    assert 0.3 < inside.mean() < 0.75


def test_classification_to_the_screen(table, tmp_path, capsys):
    model = tmp_path / "model.joblib"
    assert fit(table, "--out", str(model), "--quiet", "--weight", "rows", target="sold") == 0
    assert capsys.readouterr().out == ""
    assert main(["predict", str(model), str(table)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sold,probability no,probability yes,expert" and len(lines) == N + 1


@pytest.mark.parametrize("target", ["price", "sold"])
def test_explanations_add_up(table, tmp_path, target):
    model, out = tmp_path / "model.joblib", tmp_path / "out.csv"
    assert fit(table, "--out", str(model), "--quiet", target=target) == 0
    assert main(["explain", str(model), str(table), "--out", str(out)]) == 0
    found = pd.read_csv(out)
    added = found.filter(like="contribution ")
    assert added.shape == ((N, 2) if target == "price" else (2 * N, 2))
    np.testing.assert_allclose(added.sum(axis=1), found["prediction"], rtol=1e-10)
    assert main(["predict", str(model), str(table), "--out", str(out)]) == 0
    column = "price" if target == "price" else "probability yes"
    wanted = (
        found["prediction"] if target == "price" else found["prediction"][found["class"] == "yes"]
    )
    np.testing.assert_allclose(pd.read_csv(out)[column], wanted, rtol=1e-10)


def test_weights_of_rows_matter(table, tmp_path):
    models = []
    for more in ([], ["--weight", "rows"]):
        path = tmp_path / f"model{len(more)}.joblib"
        assert fit(table, "--out", str(path), "--quiet", *more) == 0
        models.append(main(["predict", str(path), str(table), "--out", str(path) + ".csv"]))
    first, second = (pd.read_csv(tmp_path / f"model{k}.joblib.csv") for k in (0, 2))
    assert models == [0, 0] and not np.allclose(first["price"], second["price"])


@pytest.mark.parametrize("target", ["price", "sold"])
def test_report(table, tmp_path, target):
    require("matplotlib")
    path = tmp_path / "report.html"
    assert fit(table, "--report", str(path), "--quiet", target=target) == 0
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "http" not in page
    assert page.count("data:image/png;base64,") == (8 if target == "price" else 6)
    assert "one expert" in page and f"<h1>{target}</h1>" in page
    assert page.index("On held-out rows") < page.index("160 rows") < page.index("<table>")


def test_model_of_trusted_types(table, tmp_path):
    require("skops.io")
    model = tmp_path / "model.skops"
    assert fit(table, "--out", str(model), "--quiet") == 0
    assert main(["predict", str(model), str(table), "--out", str(tmp_path / "out.csv")]) == 0


WRONG = {
    "no column": (["--drop", "colour"], "there is no column 'colour'; the table has size, city"),
    "experts": (["--experts", "many"], "--experts many must be a positive number or auto"),
    "folds": (["--folds", "1"], "--folds 1 must be at least 2"),
    "few rows": (["--folds", "90"], "160 rows are too few for 90 folds"),
    "suffix": (["--out", "model.txt"], "must end in .joblib or .skops"),
    "folder": (["--out", "nowhere/model.joblib"], "there is no folder nowhere for model.joblib"),
    "weight": (["--weight", "city"], "--weight city does not hold numbers"),
    "nothing left": (["--drop", "size", "city", "count", "sold", "rows"], "no column is left"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_options_are_said(table, capsys, what):
    more, message = WRONG[what]
    assert fit(table, *more) == 2
    assert message in capsys.readouterr().err


def test_wrong_files_are_said(table, tmp_path, capsys):
    def error(*words):
        assert main(list(map(str, words))) == 2
        return capsys.readouterr().err

    assert "there is no file" in error("fit", tmp_path / "none.csv", "--target", "price")
    text = tmp_path / "text.joblib"
    text.write_text("no model")
    assert "is no model" in error("predict", text, table)
    model = tmp_path / "model.joblib"
    fit(table, "--out", str(model), "--quiet")
    part = tmp_path / "part.csv"
    pd.read_csv(table)[["size"]].to_csv(part, index=False)
    assert "lacks columns that the model was fitted to: city, count" in error(
        "predict", model, part
    )
    assert "must be between 0 and 1" in error("predict", model, table, "--interval", "2")
    empty = tmp_path / "empty.csv"
    empty.write_text("size,price\n")
    assert "holds no rows" in error("fit", empty, "--target", "price")
    constant = tmp_path / "constant.csv"
    pd.read_csv(table).assign(price=1.0).to_csv(constant, index=False)
    assert "has one value only" in error("fit", constant, "--target", "price")
    assert "does not hold numbers" in error(
        "fit", table, "--target", "sold", "--task", "regression"
    )


def test_module_is_run(tmp_path):
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "skmoe", "fit", "--help"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0 and "--target" in done.stdout


# -- tables as they come ----------------------------------------------------------------


@pytest.fixture
def european(table, tmp_path):
    """The same table with dates, a constant and row numbers, in two dialects of CSV."""
    frame = pd.read_csv(table)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N) * 5 % 600, unit="D")
    frame = frame.assign(**{"Eröffnet": days.strftime("%d.%m.%Y"), "Land": "DE", "id": 7})
    frame["id"] = 1000 + np.arange(N)
    frame[["size", "price"]] = frame[["size", "price"]].round(3)
    paths = tmp_path / "utf8.csv", tmp_path / "latin.csv"
    frame.to_csv(paths[0], index=False)
    frame.to_csv(paths[1], index=False, sep=";", decimal=",", encoding="latin-1")
    return paths


def test_dialects_of_csv_are_one_table(european, tmp_path):
    wanted, found = map(read_table, european)
    pd.testing.assert_frame_equal(found, wanted)
    for name, options in {
        "tabs.csv": {"sep": "\t"},
        "bars.csv": {"sep": "|", "encoding": "utf-16"},
        "mark.csv": {"sep": ",", "encoding": "utf-8-sig"},
        "packed.csv.gz": {"sep": ";"},
    }.items():
        wanted.to_csv(tmp_path / name, index=False, **options)
        pd.testing.assert_frame_equal(read_table(tmp_path / name), wanted)


def test_separator_in_quotes_and_words_with_commas(tmp_path):
    path = tmp_path / "quoted.csv"
    path.write_text('"a, b, c";d;e;f\n"1,5";x,y;2;1,5e-3\n3;1,2;4;inf\n')
    found = read_table(path)
    assert found["f"].tolist() == [0.0015, np.inf]
    assert list(found) == ["a, b, c", "d", "e", "f"]
    assert found["a, b, c"].tolist() == [1.5, 3.0] and found["d"].tolist() == ["x,y", "1,2"]


def test_what_columns_hold_is_said_and_used(european, tmp_path, capsys):
    model, out = tmp_path / "model.joblib", tmp_path / "out.csv"
    assert fit(european[1], "--out", str(model), "--max-iter", "2") == 0
    said = capsys.readouterr().out
    assert "160 rows, 5 features (1 of words, 1 of dates)" in said
    assert "columns of one value were left out: Land" in said
    assert "nearly every row has its own id; perhaps --drop it" in said
    assert "On held-out rows the mixture explains" in said and "Expert 1 leads" in said
    assert "stopped after 2 iterations" in said
    answers = []
    for path in european:
        assert main(["predict", str(model), str(path), "--out", str(out)]) == 0
        answers.append(pd.read_csv(out))
    pd.testing.assert_frame_equal(*answers)


def test_infinite_values_are_missing(table, tmp_path, capsys):
    frame, path = pd.read_csv(table), tmp_path / "infinite.csv"
    model, out = tmp_path / "model.joblib", tmp_path / "out.csv"
    frame.loc[frame["size"].isna(), "size"] = np.inf
    frame.to_csv(path, index=False)
    assert fit(path, "--out", str(model)) == 0
    assert "infinite values are taken for missing: size" in capsys.readouterr().out
    answers = []
    for rows in (path, table):
        assert main(["predict", str(model), str(rows), "--out", str(out)]) == 0
        answers.append(pd.read_csv(out))
    pd.testing.assert_frame_equal(*answers)


def test_dates_are_years():
    frame = pd.DataFrame(
        {"a": ["2024-01-01", None, "2025-01-01T12:00"], "b": ["1.7.2023", *2 * [None]]}
    )
    assert is_date(frame["a"]) and is_date(frame["b"]) and is_date(pd.to_datetime(frame["b"][:1]))
    found = years(as_text(frame))
    np.testing.assert_allclose(found["a"], [2024.0, np.nan, 2025.0], atol=0.004)
    np.testing.assert_allclose(found["b"], [2023.5, np.nan, np.nan], atol=0.01)
    for wrong in (["2024-13-01"], ["2024"], ["2024-01-01", "soon"], [None], [True], [20240101]):
        assert not is_date(pd.Series(wrong))


def test_names_of_rows_and_constants():
    numbers = pd.Series(np.arange(50), name="row")
    assert is_name(numbers) and is_name((3 * numbers).rename("client_ID"))
    assert not is_name((3 * numbers).rename("paid")) and not is_name(numbers / 7)
    assert is_name(numbers.astype(str)) and not is_name((numbers % 4).astype(str))
    assert is_constant(pd.Series([1.0, np.nan])) and is_constant(pd.Series([None, None]))
    assert not is_constant(pd.Series(["x", None]))


# -- what is said -----------------------------------------------------------------------


def test_numbers_without_exponents():
    shown = [plain(v) for v in (0.0, 1.23456, -12345.6, 0.00012345, 3e-7, np.nan)]
    assert shown == ["0", "1.235", "-12,346", "0.0001234", "3e-07", ""]
    assert plain_column([0.9, 3e-7, -3e-7]).tolist() == ["0.9", "< 0.0001", "> −0.0001"]
    assert plain_column([3e-7, 1e-6]).tolist() == ["3e-07", "1e-06"]
    assert [percent(v) for v in (0.0, 0.001, 0.5, 0.999, 1.0)] == [
        "0 %", "under 1 %", "50 %", "over 99 %", "100 %"
    ]  # fmt: skip


class Lead:
    """A mixture whose first expert leads where the first column is positive."""

    n_experts_, n_iter_, converged_ = 2, 3, True
    expert_names_ = ["expert_0", "expert_1"]

    def transform(self, X):
        return X

    def gate_proba(self, X):
        first = X["size"].to_numpy() > 0
        return np.column_stack([first, ~first]).astype(float)

    def __getitem__(self, key):
        return self


@pytest.mark.parametrize(
    "gain, words",
    [(0.5, "better than one expert"), (-0.5, "One expert is better"), (0.0, "as good as one")],
)
def test_conclusion(gain, words):
    size = np.linspace(-1, 1, 40)
    X = pd.DataFrame({"size": size, "city": np.where(size > 0, "Rome", "Oslo"), "x": size**2})
    X["cubed"] = size**3
    one = pd.DataFrame({"RMSE": [2.0, 2.2, 1.9], "R2": 0.5, "MAE": 1.5})
    folds = {"constant": one, "one expert": one}
    folds["mixture"] = one.assign(RMSE=one["RMSE"] - gain + [0.01, -0.01, 0.0], R2=0.625, MAE=1.0)
    trained = SimpleNamespace(
        model=Lead(), judged=Lead(), folds=folds, held_out=(X, size),
        scores=pd.DataFrame({name: table.mean() for name, table in folds.items()}).T,
    )  # fmt: skip
    found = conclude(SimpleNamespace(classify=False, target="price"), trained)
    assert "62 % of the variance of price and is wrong by 1 on average" in found[0]
    assert words in found[1]
    assert found[2] == (
        "Expert 0 leads 50 % of the rows: size around 0.5128 (0.1231 to 0.9026; others around "
        "-0.5128), 100 % have city Rome (other rows 0 %)."
    )
    assert len(found) == 4


def test_misspelt_columns_are_guessed(table, capsys):
    assert main(["fit", str(table), "--target", "Prise"]) == 2
    assert "Did you mean 'price'?" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough(monkeypatch, tmp_path):
    def closed(options):
        raise BrokenPipeError

    monkeypatch.setattr("skmoe._cli._predict", closed)
    with (tmp_path / "screen").open("w") as screen:
        monkeypatch.setattr(sys, "stdout", screen)
        assert main(["predict", "model", "table"]) == 0
        print("lost", flush=True)
    assert (tmp_path / "screen").read_text() == ""
