"""Gates: models of the prior probability of each expert given the features."""

from .hierarchical import HierarchicalGate
from .softmax import SoftmaxGate

__all__ = ["HierarchicalGate", "SoftmaxGate"]
