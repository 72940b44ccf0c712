"""The shell of both estimators: parameters, orchestration of a fit, publishing."""

import copy
import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import _BaseComposition

from ._door import enter
from ._em import Parts, fit_em, load
from ._fit import FitData, Monitor
from ._path import posterior
from ._predict import MixturePredictions
from ._starts import (
    fit_from_starts,
    one_expert_variance,
    optimism,
    start_kinds,
    surrogate_start,
)
from ._validation import GATES, given_start, plan_experts, resolve_part, templates_of
from .experts.estimators import EstimatorExperts, accepts_nan, accepts_sparse, make_folds

# Optimism per row above which responsibilities are computed out of fold.
_MAX_OPTIMISM = 0.05
_AUTO_FOLDS = 3
_LARGEST_SEED = np.iinfo(np.int32).max


class BaseMoE(MixturePredictions, _BaseComposition):
    """What `MoERegressor` and `MoEClassifier` share."""

    _parameter_constraints = {
        "experts": [None, list, tuple, HasMethods("get_params"), object],
        "n_experts": [Interval(Integral, 1, None, closed="left"), None],
        "gate": [StrOptions(set(GATES)), HasMethods(["fit", "log_proba"])],
        "top_k": [Interval(Integral, 1, None, closed="left"), None],
        "cross_fit": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
            HasMethods("split"),
            None,
        ],
        "init": [StrOptions({"auto", "grown", "kmeans", "random"}), callable, "array-like"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "warm_start": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # -- parameters ---------------------------------------------------------------

    def get_params(self, deep=True):
        """Get parameters, those of named experts included.

        Parameters
        ----------
        deep : bool, default=True

        Returns
        -------
        dict
        """
        if isinstance(self.experts, list):
            return self._get_params("experts", deep=deep)
        return BaseEstimator.get_params(self, deep=deep)

    def set_params(self, **params):
        """Set parameters, those of named experts included.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self : estimator
        """
        if isinstance(params.get("experts", self.experts), list):
            return self._set_params("experts", **params)
        return BaseEstimator.set_params(self, **params)

    # -- fit ------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit gate and experts.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            A DataFrame reaches experts as it is, unless they are linear.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, or class labels (n_samples,).
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default. Rows of weight zero are left out.

        Returns
        -------
        self : estimator
            Fitted.

        Raises
        ------
        ValueError, TypeError
            Before any training; the message names the parameter or column and the cure.
        """
        plan = plan_experts(self.experts, self.n_experts, is_classifier(self))
        if isinstance(self.experts, (list, tuple)):
            self._validate_names(plan.names)
        if self.top_k is not None and self.top_k > plan.n_experts:
            raise ValueError(f"top_k={self.top_k} is more than n_experts={plan.n_experts}.")
        gate = resolve_part(self.gate, GATES, "gate", ("fit", "log_proba"))
        likelihood = self._resolve_likelihood()
        door = enter(self, plan, X, y, sample_weight)
        rng = check_random_state(self.random_state)
        given = self._given_start(door, X, y, plan.n_experts, rng)
        data = self._fit_data(door, gate, plan)
        if plan.linear is not None:
            result = self._fit_linear(data, plan, gate, likelihood, given, rng)
        else:
            data, result = self._fit_foreign(data, plan, gate, likelihood, given, rng)
        self._publish(door, data, plan, result)
        return self

    def _fit_data(self, door, gate, plan):
        """The arrays of a fit; features of built-in parts become views."""
        weight = door.weight
        gate_X = gate.view(door.gate_X, weight) if hasattr(gate, "view") else door.gate_X
        expert_X = door.expert_X
        if plan.linear is not None:
            shared = hasattr(gate_X, "same_columns") and door.expert_X is door.gate_X
            expert_X = gate_X if shared else plan.linear.collection(1).view(expert_X, weight)
        data = FitData(gate_X, expert_X, door.target, weight, n_classes=self._n_classes())
        if data.n_classes is not None:
            return data
        mean = weight @ data.y / weight.sum()
        spread = np.sqrt(weight @ np.square(data.y - mean) / weight.sum())
        tiny = 1e-12 * np.maximum(np.abs(mean), 1e-300)
        data = replace(data, y_scale=np.where(spread > tiny, spread, 1.0))
        numeric = expert_X if plan.linear is not None else door.numeric_view()
        return replace(data, base_variance=one_expert_variance(replace(data, X=numeric)))

    def _given_start(self, door, X, y, n_experts, rng):
        """Responsibilities from a callable or array ``init``; None for a named start."""
        init = self.init
        if isinstance(init, str):
            return None
        if callable(init):
            init = init(X, y, n_experts, rng)
        elif self.n_init != 1:
            raise ValueError(f"init is an array, so every start is the same; n_init={self.n_init} must be 1.")
        return given_start(init, len(door.kept), door.kept, n_experts)

    def _resumable(self, plan):
        """Whether ``warm_start`` finds a fit of the same shape."""
        return (
            self.warm_start
            and hasattr(self, "_parts")
            and self.n_experts_ == plan.n_experts
            and self._fitted_foreign == (plan.linear is None)
            and self._fitted_n_features == self.n_features_in_
        )

    def _resumed(self, data):
        """The last fit's parts, in terms of the present data."""
        parts = self._parts.keep()
        for name, view in (("gate", data.gate_X), ("experts", data.X)):
            part = getattr(parts, name)
            if hasattr(part, "resumed"):
                setattr(parts, name, part.resumed(data if name == "experts" else view))
        parts.likelihood = parts.likelihood.resumed(data)
        return parts, posterior(data, parts)[0]

    def _fit_linear(self, data, plan, gate, likelihood, given, rng):
        n_experts = plan.n_experts

        def make_parts(n):
            experts = plan.linear.collection(n, data.n_classes).start(data)
            return Parts(gate, experts, likelihood.start(data, n))

        def new_monitor(label):
            tol = 1e-5 if self.tol is None else self.tol
            return Monitor(tol, self.max_iter, verbose=self.verbose, label=label)

        if self._resumable(plan):
            return fit_em(data, *self._resumed_args(data, new_monitor))
        if given is not None:
            return fit_em(data, make_parts(n_experts), new_monitor(""), given)
        kinds = start_kinds(self.init, self.n_init)
        return fit_from_starts(data, make_parts, n_experts, kinds, new_monitor, rng)

    def _resumed_args(self, data, new_monitor):
        parts, resp = self._resumed(data)
        return parts, new_monitor(""), resp

    def _fit_foreign(self, data, plan, gate, likelihood, given, rng):
        n_experts = plan.n_experts
        experts = EstimatorExperts(
            plan.templates,
            plan.names,
            classes=getattr(self, "classes_", None) if data.n_classes else None,
            single_output=data.y.ndim == 1 or data.y.shape[1] == 1,
            random_state=rng.randint(_LARGEST_SEED),
            n_jobs=self.n_jobs,
        )
        fold_seed = rng.randint(_LARGEST_SEED)
        parts, resp = Parts(gate, experts, likelihood.start(data, n_experts)), given
        if self._resumable(plan):
            resumed, resp = self._resumed(data)
            parts = replace(resumed, experts=experts)
        elif resp is None:
            kinds = start_kinds(self.init, self.n_init)
            resp = surrogate_start(data, likelihood, n_experts, kinds, rng)
        data = self._with_folds(data, plan, parts, resp, fold_seed)
        crossed = data.folds is not None
        tol = self.tol if self.tol is not None else (1e-3 if crossed else 1e-5)
        monitor = Monitor(tol, self.max_iter, patience=5, verbose=self.verbose)
        result = fit_em(data, parts, monitor, resp)
        if crossed:
            result.experts.fit(replace(data, folds=None), result.resp)
        return data, result

    def _with_folds(self, data, plan, parts, resp, seed):
        """Folds as ``cross_fit`` says; "auto" measures the optimism first."""
        frozen = all(isinstance(template, FrozenEstimator) for template in plan.templates)
        n_rows = len(data.weight)
        if self.cross_fit is None or frozen or (self.cross_fit == "auto" and n_rows < 2 * _AUTO_FOLDS):
            return data
        wanted = _AUTO_FOLDS if self.cross_fit == "auto" else self.cross_fit
        folds = make_folds(data.y, n_rows, wanted, seed, data.n_classes)
        folded = replace(data, folds=folds)
        if self.cross_fit == "auto" and optimism(folded, parts, resp) <= _MAX_OPTIMISM:
            return data
        return folded

    def _publish(self, door, data, plan, result):
        self._parts = Parts(result.gate, result.experts, result.likelihood)
        self._gate_columns, self._expert_columns = door.gate_columns, door.expert_columns
        self._fitted_foreign, self._as_frame = plan.linear is None, door.as_frame
        self._fitted_n_features = self.n_features_in_
        self.gate_, self.likelihood_ = result.gate, result.likelihood
        self.experts_ = result.experts.published(getattr(self, "classes_", None))
        self.expert_names_ = list(plan.names)
        self.n_experts_ = plan.n_experts
        self.objective_ = result.objective
        self.n_iter_, self.converged_ = result.n_iter, result.converged
        self.history_ = result.history
        self.cross_fit_ = None if data.folds is None else len(data.folds)
        self.load_ = load(result.gate.log_proba(data.gate_X), data.weight)
        if result.unexplained:
            warnings.warn(
                f"{result.unexplained} rows are explained by no expert; their responsibilities "
                f"are the gate's probabilities.",
                UserWarning,
                stacklevel=3,
            )
        if not result.converged and self.max_iter > 1:
            warnings.warn(
                f"EM did not converge in max_iter={self.max_iter} iterations; raise max_iter or "
                f"tol, or scale the target.",
                ConvergenceWarning,
                stacklevel=3,
            )

    # -- what scikit-learn asks -----------------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        templates = templates_of(self.experts)
        tags.input_tags.sparse = all(accepts_sparse(template) for template in templates)
        tags.input_tags.allow_nan = bool(templates) and all(map(accepts_nan, templates))
        several = [get_tags(template).target_tags.multi_output for template in templates]
        tags.target_tags.multi_output = tags.estimator_type == "regressor" and all(several)
        return tags

    def _sk_visual_block_(self):
        try:
            from sklearn.utils._repr_html.estimator import _VisualBlock
        except ImportError:  # scikit-learn before 1.7
            from sklearn.utils._estimator_html_repr import _VisualBlock
        fitted = hasattr(self, "experts_")
        gate = self.gate_ if fitted else resolve_part(self.gate, GATES, "gate", ())
        if fitted:
            experts = list(zip(self.expert_names_, self.experts_))
        else:
            plan = plan_experts(self.experts, self.n_experts, is_classifier(self))
            experts = list(zip(plan.names, plan.templates or [plan.linear] * plan.n_experts))
        names, estimators = zip(("gate", gate), *experts)
        return _VisualBlock("parallel", list(estimators), names=list(names), dash_wrapped=False)
