"""What a fitted mixture does with rows: who decides, why, and how much it matters."""

from ._importance import gate_importance
from ._rows import explain
from ._rules import RoutingRules, routing_rules

__all__ = ["RoutingRules", "explain", "gate_importance", "routing_rules"]
