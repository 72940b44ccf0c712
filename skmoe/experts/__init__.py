"""Experts: collections of K models behind one interface."""

from .factor import FactorClassifier, FactorExpert, FactorRegressor
from .linear import LinearExpert
from .mlp import MLPExpert

__all__ = ["FactorClassifier", "FactorExpert", "FactorRegressor", "LinearExpert", "MLPExpert"]
