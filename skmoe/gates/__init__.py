"""Gates: models of the prior probability of each expert given the features."""

from .softmax import SoftmaxGate

__all__ = ["SoftmaxGate"]
