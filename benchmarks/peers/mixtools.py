"""R's mixtools: hmeEM, a mixture of two linear experts with one feature."""

import re

import numpy as np
from race import Trajectory

from .flexmix import has_r_package, run_r

_SCRIPT = """
suppressMessages(library(mixtools))
arg <- commandArgs(TRUE)
read <- function(name) {
  path <- file.path(arg[1], name)
  readBin(path, "double", file.size(path) / 8)
}
began <- proc.time()
fit <- hmeEM(read("y"), matrix(read("X"), ncol = 1), w = read("gate"),
             beta = matrix(read("experts"), ncol = 2, byrow = TRUE), sigma = read("scale"),
             epsilon = 1e-8, maxit = as.integer(arg[2]))
cat("seconds", sum((proc.time() - began)[1:2]), "\\n")
cat("objective", format(fit$loglik, digits = 17), "iterations", length(fit$all.loglik), "\\n")
"""


def available():
    """None, or why mixtools cannot run."""
    return has_r_package("mixtools")


def race(start, max_iter=50):
    """EM from the parameters of the start; only the end is known."""
    data, parts = start.data, start.parts
    n = data.X.shape[0]
    scale, mean = data.y_scale[0], data.y.mean()
    experts = parts.experts.block_coef()[::-1] / scale  # intercepts first
    experts[0] -= mean / scale
    gate = parts.gate._coef[::-1]
    arrays = {
        "X": data.X.block(slice(0, n))[:, 0],
        "y": (data.y - mean) / scale,
        "gate": gate[:, 0] - gate[:, 1],
        "experts": experts,
        "scale": np.sqrt(parts.likelihood.dispersion) / scale,
    }
    text = run_r(_SCRIPT, arrays, max_iter)
    seconds, objective, iterations = (
        float(re.search(rf"{name} (\S+)", text).group(1))
        for name in ("seconds", "objective", "iterations")
    )
    return Trajectory(np.array([seconds]), np.array([objective / n]), iterations, 0.0)
