"""R's flexmix: EM with lm.wfit and nnet; no penalties, so skmoe has none either."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from race import Trajectory

_SCRIPT = """
suppressMessages(library(flexmix))
arg <- commandArgs(TRUE)
read <- function(name, columns) {
  path <- file.path(arg[1], name)
  matrix(readBin(path, "double", file.size(path) / 8), ncol = columns, byrow = TRUE)
}
frame <- data.frame(y = read("y", 1)[, 1])
frame$X <- read("X", as.integer(arg[2]))
resp <- read("resp", as.integer(arg[3]))
began <- proc.time()
fit <- flexmix(y ~ X, data = frame, k = ncol(resp), cluster = resp,
               concomitant = FLXPmultinom(~ X),
               control = list(iter.max = as.integer(arg[4]), minprior = 0,
                              tolerance = 1e-12, verbose = 1))
cat("seconds", sum((proc.time() - began)[1:2]), "\\n")
"""


def has_r_package(package):
    """None, or why an R package cannot run."""
    if shutil.which("Rscript") is None:
        return "R is not installed"
    command = ["Rscript", "-e", f"quit(status = !requireNamespace('{package}', quietly = TRUE))"]
    done = subprocess.run(command, capture_output=True)
    return f"the R package {package} is not installed" if done.returncode else None


def available():
    """None, or why flexmix cannot run."""
    return has_r_package("flexmix")


def run_r(script, arrays, *args, timeout=600):
    """Output of an R script that finds the arrays (float64, C order) in its first argument."""
    with tempfile.TemporaryDirectory() as folder:
        for name, array in arrays.items():
            np.ascontiguousarray(array, dtype=np.float64).tofile(Path(folder) / name)
        path = Path(folder) / "script.R"
        path.write_text(script)
        command = ["Rscript", "--vanilla", str(path), folder, *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-300:])
    return done.stdout


def race(start, max_iter=300):
    """EM from the responsibilities of the start.

    R reports the CPU seconds of the whole run; each iteration counts for its share.
    """
    data = start.data
    n, d = data.X.shape[0], data.X.shape[1] - 1
    arrays = {
        "X": data.X.block(slice(0, n))[:, :-1],
        "y": (data.y - data.y.mean(axis=0)) / data.y_scale,
        "resp": start.posterior(),
    }
    text = run_r(_SCRIPT, arrays, d, arrays["resp"].shape[1], max_iter)
    found = re.findall(r"^\s*\d+ Log-likelihood\s*:\s*(\S+)", text, re.MULTILINE)
    objective = np.array(found, dtype=np.float64) / n
    total = float(re.search(r"^seconds (\S+)", text, re.MULTILINE).group(1))
    seconds = total * np.arange(1, len(objective) + 1) / len(objective)
    return Trajectory(seconds, objective, passes=len(objective), begun=0.0)
