"""The examples run to their end on few rows and draw their pictures."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_demo_runs_and_draws_the_picture(tmp_path, require):
    require("matplotlib")
    picture = tmp_path / "new" / "gate.png"
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "examples/demo.py", "--quick", "--jobs=1", f"--picture={picture}"],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = [line for line in done.stdout.splitlines() if line.startswith("MoE, ")]
    assert len(rows) == 6
    assert all(len(line.split()) > 4 and "nan" not in line for line in rows)


@pytest.mark.slow
def test_every_display_is_drawn(tmp_path, require):
    require("matplotlib")
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "examples/pictures.py", str(tmp_path / "new")],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    pictures = sorted((tmp_path / "new").iterdir())
    assert len(pictures) == 5
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def has_ratings():
    folder = os.environ.get("SKMOE_DATA")
    return folder is not None and (Path(folder) / "movielens_small.csv.gz").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not has_ratings(), reason="the ratings may not be shipped")
def test_recommender_beats_ridge_on_a_quarter_of_the_users(tmp_path, require):
    require("matplotlib")
    picture = tmp_path / "new" / "recommender.png"
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "examples/recommender.py", "--quick", f"--picture={picture}"],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    table = done.stdout.partition("test rows")[2].splitlines()[1:7]
    errors = {line[:22].strip(): float(line[22:].split()[0]) for line in table}
    assert errors["gated factorised"] < 0.99 * errors["Ridge"]
    assert all(np.isfinite(error) for error in errors.values())


def test_recommender_reads_the_layout_of_movielens(tmp_path):
    spec = importlib.util.spec_from_file_location("rec", CHECKOUT / "examples/recommender.py")
    recommender = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recommender)
    movies = "movieId,title,genres\n7,A Film (1999),Action|Sci-Fi\n9,Another,(no genres listed)\n"
    (tmp_path / "movies.csv").write_text(movies)
    ratings = "userId,movieId,rating,timestamp\n2,9,4.0,30\n2,7,3.5,20\n1,7,1.0,10\n"
    (tmp_path / "ratings.csv").write_text(ratings)
    with zipfile.ZipFile(tmp_path / "small.zip", "w") as archive:
        for name in ("movies.csv", "ratings.csv"):
            archive.write(tmp_path / name, f"ml-latest-small/{name}")
    for path in (tmp_path, tmp_path / "small.zip"):
        table = recommender.read_ratings(path)
        assert table["movieId"].tolist() == [7, 7, 9]
        assert table["rating"].tolist() == [1.0, 3.5, 4.0]
        assert table["genre_sci_fi"].tolist() == [1, 1, 0]
        assert table["year"].tolist()[:2] == [1999.0, 1999.0] and np.isnan(table["year"][2])


def test_matrix_factorisation_of_the_recommender_finds_its_own_kind():
    spec = importlib.util.spec_from_file_location("rec", CHECKOUT / "examples/recommender.py")
    recommender = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recommender)
    rng = np.random.RandomState(0)
    codes = np.column_stack([rng.randint(20, size=2000), rng.randint(30, size=2000)])
    users, films = rng.normal(size=(20, 2)), rng.normal(size=(30, 2))
    rating = 3.0 + np.einsum("nf,nf->n", users[codes[:, 0]], films[codes[:, 1]])
    model = recommender.MatrixFactorisation(2, alpha=0.01, bias_alpha=0.01, n_iter=30)
    error = rating[1500:] - model.fit(codes[:1500], rating[:1500]).predict(codes[1500:])
    assert np.sqrt(np.mean(error**2)) < 0.05
    assert model.predict(np.array([[20, 30]])) == model.mean  # neither was seen


@pytest.mark.slow
def test_gallery_runs_on_few_rows(require):
    require("matplotlib")
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    gallery = CHECKOUT / "examples" / "gallery"
    scripts = sorted(map(str, [*gallery.glob("plot_*.py"), *gallery.glob("recorded_*.py")]))
    assert len(scripts) > 14
    # What an example needs beside skmoe and its data.
    here = {
        "plot_messages": find_spec("sphinx"),
        "recorded_vowels": has_ratings(),
        "recorded_claims": has_ratings(),
        "recorded_ratings": has_ratings(),
        "recorded_sentiment": "SKMOE_SENTIMENT" in os.environ,
        "recorded_devices": find_spec("distributed"),
    }
    scripts = [script for script in scripts if here.get(Path(script).stem, True)]
    # One process, so that kernels are loaded once.
    code = "import runpy, sys\nfor script in sys.argv[1:]: print(script); runpy.run_path(script)"
    done = subprocess.run(
        [sys.executable, "-c", code, *scripts],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": path, "SKMOE_QUICK": "1", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("examples/gallery/") == len(scripts)
    assert "nan" not in done.stdout


def test_recorded_examples_have_their_output_and_picture():
    docs = CHECKOUT / "docs"
    for script in (CHECKOUT / "examples" / "gallery").glob("recorded_*.py"):
        text = script.read_text(encoding="utf-8")
        name = script.stem.removeprefix("recorded_")
        assert f"../recorded/{name}.txt" in text and f"../images/{script.stem}.png" in text
        assert (docs / "recorded" / f"{name}.txt").read_text(encoding="utf-8").strip()
        assert (docs / "images" / f"{script.stem}.png").exists()
