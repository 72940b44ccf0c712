"""Laws of one expert: what a predictive mixture asks of each of its parts."""

from .base import Law
from .counts import BinomialLaw, NegativeBinomialLaw, PoissonLaw, ZeroInflatedLaw
from .gamma import GammaLaw, InverseGaussianLaw
from .laplace import AsymmetricLaplaceLaw, LaplaceLaw
from .mixed import MixedLaw
from .normal import LogNormalLaw, NormalLaw
from .student_t import StudentTLaw
from .truncated import TruncatedLogNormalLaw, TruncatedNormalLaw
from .tweedie import TweedieLaw

__all__ = [
    "AsymmetricLaplaceLaw",
    "BinomialLaw",
    "GammaLaw",
    "InverseGaussianLaw",
    "LaplaceLaw",
    "Law",
    "LogNormalLaw",
    "MixedLaw",
    "NegativeBinomialLaw",
    "NormalLaw",
    "PoissonLaw",
    "StudentTLaw",
    "TruncatedLogNormalLaw",
    "TruncatedNormalLaw",
    "TweedieLaw",
    "ZeroInflatedLaw",
]
