"""Likelihoods: the law of the target given an expert's prediction."""

from .categorical import Categorical
from .gaussian import Gaussian
from .linked import LinkedLikelihood
from .noise import GaussianWithNoise
from .poisson import Poisson

__all__ = ["Categorical", "Gaussian", "GaussianWithNoise", "LinkedLikelihood", "Poisson"]

# Those of regression, by what `MoERegressor` calls them.
BY_NAME = {
    "gaussian": Gaussian,
    "gaussian_with_noise": GaussianWithNoise,
    "poisson": Poisson,
}
