"""Fitted mixtures for other places: ONNX, NumPy alone, JSON; their size, and a card."""

from ._card import model_card
from ._numpy import to_json, to_numpy
from ._onnx import register, to_onnx
from ._runtime import ExportedMixture, from_json
from ._size import model_size

__all__ = [
    "ExportedMixture",
    "from_json",
    "model_card",
    "model_size",
    "register",
    "to_json",
    "to_numpy",
    "to_onnx",
]
