"""What goes with additive experts, and how they are trained."""

from dataclasses import replace

import numpy as np
from scipy.special import logsumexp
from sklearn.base import is_classifier
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._boost._record import stages
from ._door import check_lengths
from ._fit import Parts
from ._gating import Gating
from ._monitor import Monitor
from ._starts import run
from .experts.estimators import make_folds
from .gates.additive import AdditiveGate
from .gates.softmax import SoftmaxGate

# Folds of the base, and for numbers of which there are few: out of fold a model of few rows is
# the worse, the more of them it lacks, and intervals become too wide.
_BASE_FOLDS, _FEW_FOLDS, _FEW_ROWS = 5, 10, 2000
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


def _where_boosted(estimator):
    """Whether an estimator is, or will be, a boosted mixture."""
    additive = getattr(estimator.experts, "is_additive", False)
    return additive or isinstance(getattr(estimator, "gate_", None), AdditiveGate)


def _where_boosted_classes(estimator):
    return is_classifier(estimator) and _where_boosted(estimator)


class TrainsInFunctionSpace:
    """How an estimator trains additive experts, and what they say on the way."""

    @available_if(_where_boosted)
    def staged_predict(self, X):
        """Predict after each round of `skmoe.solvers.Boosting`, from round 0, the base.

        Of the dense mixture and its mean, whatever ``top_k`` and ``combine`` are.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.

        Yields
        ------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            ``n_iter_ + 1`` of them. Mean of the mixture, or the most probable class.
        """
        for combined in self._staged_means(X):
            classify = is_classifier(self)
            yield self.classes_[combined.argmax(axis=1)] if classify else self._shaped(combined)

    @available_if(_where_boosted_classes)
    def staged_predict_proba(self, X):
        """Predict class probabilities after each round, as `staged_predict` does.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.

        Yields
        ------
        ndarray of shape (n_samples, n_classes)
            ``n_iter_ + 1`` of them, in the order of ``classes_``.
        """
        yield from self._staged_means(X)

    @available_if(_where_boosted)
    def staged_log_likelihood(self, X, y):
        """Log density (or log probability) of each target after each round.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.

        Yields
        ------
        ndarray of shape (n_samples,)
            ``n_iter_ + 1`` of them.
        """
        check_is_fitted(self)
        check_lengths(X, y)
        target = self._decode_target(y)
        for log_gate, pred, likelihood in self._stages(X):
            yield logsumexp(log_gate + likelihood.log_lik(target, pred), axis=1)

    def _staged_means(self, X):
        for log_gate, pred, likelihood in self._stages(X):
            yield likelihood.combine(log_gate, pred)

    def _stages(self, X):
        """Log gate, predictions and likelihood after each round."""
        rows, parts = self._rows(X), self._parts
        if parts.experts.record.slopes is None:
            raise ValueError(
                "Slopes of a gate with so many columns are kept for the last round only, and "
                "there are no staged predictions; use Boosting(gate='trees')."
            )
        return stages(parts.gate, parts.experts, self._gate_rows(rows), self._expert_rows(rows))

    def _fit_additive(self, data, plan, gate, likelihood, solver, last, given, rng, grown):
        """Train; arguments as of ``_fit_foreign``."""
        seed, n_rows = int(rng.randint(_LARGEST_SEED)), len(data.weight)
        few = n_rows < _FEW_ROWS and data.n_classes is None
        wanted = _FEW_FOLDS if few else _BASE_FOLDS
        wanted = wanted if self.cross_fit == "auto" else self.cross_fit
        if self.cross_fit == "auto" and n_rows < 2 * _BASE_FOLDS:
            wanted = None
        if wanted is not None:
            data = replace(data, folds=make_folds(data.y, n_rows, wanted, seed, data.n_classes))
        plan = replace(plan, classes=getattr(self, "classes_", None) if data.n_classes else None)
        parts = Parts(gate, plan, likelihood.start(data, plan.n_experts))
        monitor = Monitor(0.0, plan.templates[0].max_rounds + 1, 1, self._progress())
        return data, run(solver.fit, data, parts, monitor, None)
