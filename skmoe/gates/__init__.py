"""Gates: models of the prior probability of each expert given the features."""

from .classifier import ClassifierGate
from .gaussian import GaussianGate
from .hierarchical import HierarchicalGate
from .softmax import SoftmaxGate

__all__ = ["ClassifierGate", "GaussianGate", "HierarchicalGate", "SoftmaxGate"]
