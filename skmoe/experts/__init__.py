"""Experts: collections of K models behind one interface."""

from .linear import LinearExpert

__all__ = ["LinearExpert"]
