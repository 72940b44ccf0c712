"""What a fitted mixture does with rows: who decides, why, and how much it matters."""

from ._additive import additive_importance
from ._importance import gate_importance
from ._rows import explain
from ._rules import RoutingRules, routing_rules

__all__ = ["RoutingRules", "additive_importance", "explain", "gate_importance", "routing_rules"]
