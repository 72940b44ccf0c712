"""Experts: collections of K models behind one interface."""

from .linear import LinearExpert
from .mlp import MLPExpert

__all__ = ["LinearExpert", "MLPExpert"]
