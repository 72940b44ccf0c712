"""What goes with additive experts, and how they are trained."""

from dataclasses import replace

import numpy as np

from ._fit import Parts
from ._gating import Gating
from ._monitor import Monitor
from ._starts import run
from .experts.estimators import make_folds
from .gates.additive import AdditiveGate
from .gates.softmax import SoftmaxGate

_BASE_FOLDS = 5
_LARGEST_SEED = np.iinfo(np.int32).max


def additive_gating(estimator, gating, plan, likelihood):
    """The gate that goes with additive experts; raises for what does not."""
    gate = gating.gate
    if type(gate) is not SoftmaxGate or gating.foreign or gate.l1_ratio > 0.0:
        raise ValueError(
            f"gate={estimator.gate!r} is not trained with AdditiveExpert; use gate='softmax' or "
            f"SoftmaxGate(alpha=...), and Boosting(gate=...) for its form."
        )
    if plan.growth is not None:
        raise ValueError("n_experts='auto' does not go with AdditiveExpert; give the number.")
    if getattr(estimator, "gate_per_output", False):
        raise ValueError("gate_per_output does not go with AdditiveExpert; leave it at False.")
    if estimator.warm_start:
        raise ValueError("warm_start does not go with AdditiveExpert; leave it at False.")
    if not (isinstance(estimator.init, str) and estimator.init == "auto"):
        raise ValueError(
            "init does not go with AdditiveExpert, whose experts begin alike but for their "
            "scales; leave it at 'auto'."
        )
    if getattr(estimator, "missing_outputs", "raise") != "raise":
        raise ValueError("missing_outputs='mask' does not go with AdditiveExpert.")
    if hasattr(estimator, "likelihood") and not hasattr(likelihood, "update_sums"):
        raise ValueError(
            f"likelihood={estimator.likelihood!r} is not trained with AdditiveExpert; use "
            f"'gaussian' or 'gaussian_with_noise'."
        )
    return Gating(AdditiveGate(gate.alpha))


class TrainsInFunctionSpace:
    """How an estimator trains additive experts."""

    def _fit_additive(self, data, plan, gate, likelihood, solver, last, given, rng, grown):
        """Train; arguments as of ``_fit_foreign``."""
        seed, n_rows = int(rng.randint(_LARGEST_SEED)), len(data.weight)
        wanted = _BASE_FOLDS if self.cross_fit == "auto" else self.cross_fit
        if self.cross_fit == "auto" and n_rows < 2 * _BASE_FOLDS:
            wanted = None
        if wanted is not None:
            data = replace(data, folds=make_folds(data.y, n_rows, wanted, seed, data.n_classes))
        plan = replace(plan, classes=getattr(self, "classes_", None) if data.n_classes else None)
        parts = Parts(gate, plan, likelihood.start(data, plan.n_experts))
        monitor = Monitor(0.0, plan.templates[0].max_rounds + 1, 1, self.verbose)
        return data, run(solver.fit, data, parts, monitor, None)
