"""Experts: collections of K models behind one interface."""

from .additive import AdditiveExpert
from .factor import FactorClassifier, FactorExpert, FactorRegressor
from .linear import LinearExpert
from .mlp import MLPExpert

__all__ = [
    "AdditiveExpert",
    "FactorClassifier",
    "FactorExpert",
    "FactorRegressor",
    "LinearExpert",
    "MLPExpert",
]
