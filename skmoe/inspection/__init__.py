"""Pictures of fitted mixtures; each display keeps the arrays that it draws."""

from ._bars import LoadDisplay
from ._experts import ExpertsDisplay
from ._gate import GateDisplay
from ._training import ConvergenceDisplay, ExpertCountDisplay

__all__ = [
    "ConvergenceDisplay",
    "ExpertCountDisplay",
    "ExpertsDisplay",
    "GateDisplay",
    "LoadDisplay",
]
