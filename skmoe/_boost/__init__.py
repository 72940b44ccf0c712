"""Training in function space: a shared base, gated corrections and their gate."""

from ._solver import Boosting

__all__ = ["Boosting"]
