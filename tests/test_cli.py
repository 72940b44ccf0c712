"""The command line: what it writes, and what it says of wrong input."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import require

from skmoe._cli import main

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
