"""Classical mixtures of experts as scikit-learn estimators."""

from .classifier import MoEClassifier
from .path import penalty_path
from .regressor import MoERegressor

__all__ = ["MoEClassifier", "MoERegressor", "penalty_path"]

__version__ = "0.1.0.dev0"
