"""Pictures of fitted mixtures; each display keeps the arrays that it draws."""

from ._bars import LoadDisplay
from ._calibration import CoverageDisplay, PITDisplay
from ._coefficients import CoefficientsDisplay
from ._experts import ExpertsDisplay
from ._gate import GateDisplay
from ._matrix import SpecialisationDisplay
from ._responsibilities import ResponsibilitiesDisplay
from ._training import ConvergenceDisplay, ExpertCountDisplay
from ._tree import HierarchyDisplay

__all__ = [
    "CoefficientsDisplay",
    "ConvergenceDisplay",
    "CoverageDisplay",
    "ExpertCountDisplay",
    "ExpertsDisplay",
    "GateDisplay",
    "HierarchyDisplay",
    "LoadDisplay",
    "PITDisplay",
    "ResponsibilitiesDisplay",
    "SpecialisationDisplay",
]
