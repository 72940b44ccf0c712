"""The demo runs to its end on few rows and draws its picture."""

import os
import subprocess
import sys
from pathlib import Path

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
