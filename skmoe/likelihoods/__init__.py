"""Likelihoods: the law of the target given an expert's prediction."""

from .categorical import Categorical
from .gaussian import Gaussian
from .noise import GaussianWithNoise

__all__ = ["Categorical", "Gaussian", "GaussianWithNoise"]
