"""Likelihoods: the law of the target given an expert's prediction."""

from .binomial import Binomial
from .categorical import Categorical
from .censored import CensoredGaussian, CensoredLogNormal
from .gamma import Gamma
from .gaussian import Gaussian
from .heteroscedastic import HeteroscedasticGaussian
from .inverse_gaussian import InverseGaussian
from .laplace import AsymmetricLaplace, Laplace
from .linked import LinkedLikelihood
from .lognormal import LogNormal
from .mixed import Mixed
from .negative_binomial import NegativeBinomial
from .noise import GaussianWithNoise
from .poisson import Poisson
from .student_t import StudentT
from .truncated import TruncatedGaussian, TruncatedLogNormal
from .tweedie import Tweedie
from .zero_inflated import ZeroInflatedNegativeBinomial, ZeroInflatedPoisson

__all__ = [
    "AsymmetricLaplace",
    "Binomial",
    "Categorical",
    "CensoredGaussian",
    "CensoredLogNormal",
    "Gamma",
    "Gaussian",
    "GaussianWithNoise",
    "HeteroscedasticGaussian",
    "InverseGaussian",
    "Laplace",
    "LinkedLikelihood",
    "LogNormal",
    "Mixed",
    "NegativeBinomial",
    "Poisson",
    "StudentT",
    "TruncatedGaussian",
    "TruncatedLogNormal",
    "Tweedie",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
]

# Those of regression, by what `MoERegressor` calls them.
BY_NAME = {
    "asymmetric_laplace": AsymmetricLaplace,
    "binomial": Binomial,
    "censored_gaussian": CensoredGaussian,
    "censored_lognormal": CensoredLogNormal,
    "gamma": Gamma,
    "gaussian": Gaussian,
    "gaussian_with_noise": GaussianWithNoise,
    "heteroscedastic_gaussian": HeteroscedasticGaussian,
    "inverse_gaussian": InverseGaussian,
    "laplace": Laplace,
    "lognormal": LogNormal,
    "negative_binomial": NegativeBinomial,
    "poisson": Poisson,
    "student_t": StudentT,
    "truncated_gaussian": TruncatedGaussian,
    "truncated_lognormal": TruncatedLogNormal,
    "tweedie": Tweedie,
    "zero_inflated_negative_binomial": ZeroInflatedNegativeBinomial,
    "zero_inflated_poisson": ZeroInflatedPoisson,
}
