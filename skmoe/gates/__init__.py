"""Gates: models of the prior probability of each expert given the features."""

from .classifier import ClassifierGate
from .gaussian import GaussianGate
from .hierarchical import HierarchicalGate
from .mlp import MLPGate
from .softmax import SoftmaxGate

__all__ = ["ClassifierGate", "GaussianGate", "HierarchicalGate", "MLPGate", "SoftmaxGate"]
