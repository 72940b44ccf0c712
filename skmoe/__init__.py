"""Classical mixtures of experts as scikit-learn estimators."""

from .classifier import MoEClassifier
from .regressor import MoERegressor

__all__ = ["MoEClassifier", "MoERegressor"]

__version__ = "0.1.0.dev0"
