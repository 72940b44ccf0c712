"""Record the examples of the gallery that ``make docs`` does not run, in full.

What they need is not everywhere: data that may not be shipped (``SKMOE_DATA``), or dask. Their
output goes to docs/recorded and their last picture to docs/images:

    python docs/figures/record.py [name ...]
"""

import contextlib
import io
import os
import runpy
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[1]
GALLERY = DOCS.parent / "examples" / "gallery"


def record(name):
    """Run examples/gallery/recorded_NAME.py and keep what it prints and draws."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(GALLERY / f"recorded_{name}.py"), run_name="__main__")
    (DOCS / "recorded" / f"{name}.txt").write_text(printed.getvalue(), encoding="utf-8")
    plt.savefig(DOCS / "images" / f"recorded_{name}.png", dpi=110)
    plt.close("all")
    print(printed.getvalue())


if __name__ == "__main__":
    os.environ.pop("SKMOE_QUICK", None)
    every = sorted(path.stem.removeprefix("recorded_") for path in GALLERY.glob("recorded_*.py"))
    for name in sys.argv[1:] or every:
        record(name)
