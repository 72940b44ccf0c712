"""The shell of both estimators: parameters, orchestration of a fit, publishing."""

import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import _BaseComposition

from ._combine import RULES, check_combine
from ._design import Design
from ._door import enter
from ._em import load
from ._fit import FitData, Monitor, Parts
from ._gating import resolve_gate
from ._path import posterior
from ._picture import visual_block
from ._predict import MixturePredictions
from ._starts import (
    fit_from_starts,
    one_expert_variance,
    optimism,
    refit_experts,
    run,
    start_kinds,
    surrogate_start,
)
from ._sweep import single_blas
from ._validation import (
    GATES,
    SOLVERS,
    check_names,
    check_top_k,
    given_start,
    plan_experts,
    resolve_nested,
    resolve_part,
    templates_of,
)
from .experts.estimators import (
    EstimatorExperts,
    accepts_many_outputs,
    accepts_nan,
    accepts_sparse,
    make_folds,
)
from .solvers import EM, Gradient

# Optimism per row above which responsibilities are computed out of fold.
_MAX_OPTIMISM = 0.05
_AUTO_FOLDS = 3
_LARGEST_SEED = np.iinfo(np.int32).max


class BaseMoE(MixturePredictions, _BaseComposition):
    """What `MoERegressor` and `MoEClassifier` share."""

    _parameter_constraints = {
        "experts": [None, list, object],
        "n_experts": [Interval(Integral, 1, None, closed="left"), None],
        "gate": [
            StrOptions(set(GATES)),
            HasMethods(["fit", "log_proba"]),
            HasMethods(["fit", "predict_proba"]),
            Pipeline,
        ],
        "solver": [StrOptions({"auto", *SOLVERS}), HasMethods("fit")],
        "top_k": [Interval(Integral, 1, None, closed="left"), None],
        "combine": [StrOptions(set(RULES))],
        "cross_fit": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
            HasMethods(["split", "get_n_splits"]),
            None,
        ],
        "init": [StrOptions({"auto", "grown", "kmeans", "random"}), callable, "array-like"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "warm_start": ["boolean"],
        "on_expert_error": [StrOptions({"raise", "drop"})],
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
            Whether to include those of experts, gate and other parts.

        Returns
        -------
        dict
            Values by name.
        """
        if isinstance(self.experts, list):
            return self._get_params("experts", deep=deep)
        return BaseEstimator.get_params(self, deep=deep)

    def set_params(self, **params):
        """Set parameters, those of named experts included.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : estimator
            Itself.
        """
        resolve_nested(self, params)
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
        before = dict(vars(self))
        try:
            return self._fit(X, y, sample_weight)
        except BaseException:
            # Nothing half-fitted is left behind, and an earlier fit stays as it was.
            vars(self).clear()
            vars(self).update(before)
            raise

    def _fit(self, X, y, sample_weight):
        gating = resolve_gate(self.gate)
        gate = gating.gate
        plan = plan_experts(self.experts, self.n_experts, is_classifier(self), gate)
        if isinstance(self.experts, list):
            check_names(plan.names, self._get_param_names())
        check_top_k(self.top_k, plan.n_experts)
        likelihood = self._resolve_likelihood()
        check_combine(self.combine, likelihood, is_classifier(self))
        solver = self._resolve_solver(plan, gate)
        door = enter(self, plan, gating, X, y, sample_weight)
        rng = check_random_state(self.random_state)
        gating.seed(rng)
        given = self._given_start(door, X, y, plan.n_experts, rng)
        data = self._fit_data(door, gating, plan)
        form, last = self._form(data, plan, gate, likelihood), None
        if self.warm_start and getattr(self, "_fitted_form", None) == form:
            last, given = self._resumed(data, plan, gate, likelihood)
        train = self._fit_foreign if plan.linear is None else self._fit_linear
        data, result = train(data, plan, gate, likelihood, solver, last, given, rng)
        self.solver_, self._gating = solver, gating
        self._fitted_form = form if result.experts.n_experts == plan.n_experts else None
        self._publish(door, data, plan, result)
        return self

    def _fit_data(self, door, gating, plan):
        """The arrays of a fit; features of built-in parts become views."""
        weight, gate = door.weight, gating.gate
        seen = gating.fit_rows(door.gate_X)
        gate_X = gate.view(seen, weight) if hasattr(gate, "view") else seen
        start_X = gate_X if isinstance(gate_X, Design) else door.numeric_view()
        expert_X = door.expert_X
        if plan.linear is not None:
            shared = hasattr(gate_X, "same_columns") and door.expert_X is seen
            expert_X = gate_X if shared else plan.linear.collection(1).view(expert_X, weight)
        data = FitData(
            gate_X,
            expert_X,
            door.target,
            weight,
            n_classes=self._n_classes(),
            n_threads=effective_n_jobs(self.n_jobs),
            start_X=start_X,
        )
        if data.n_classes is not None:
            return data
        mean = weight @ data.y / weight.sum()
        spread = np.sqrt(weight @ np.square(data.y - mean) / weight.sum())
        tiny = 1e-12 * np.maximum(np.abs(mean), 1e-300)
        data = replace(data, y_scale=np.where(spread > tiny, spread, 1.0))
        numeric = expert_X if plan.linear is not None else start_X
        return replace(data, base_variance=one_expert_variance(replace(data, X=numeric)))

    def _given_start(self, door, X, y, n_experts, rng):
        """Responsibilities from a callable or array ``init``; None for a named start."""
        init = self.init
        if isinstance(init, str):
            return None
        if callable(init):
            init = init(X, y, n_experts, rng)
        elif self.n_init != 1:
            raise ValueError(
                f"init is an array, so every start would be the same; set n_init=1 in the "
                f"place of n_init={self.n_init}."
            )
        return given_start(init, len(door.kept), door.kept, n_experts)

    def _form(self, data, plan, gate, likelihood):
        """What must be the same for ``warm_start`` to go on from the last fit."""
        n_outputs = None if data.n_classes else data.y.shape[1]
        classes = self.classes_.tolist() if data.n_classes else None
        widths = data.gate_X.shape[1], data.X.shape[1]
        kinds = type(gate), type(likelihood), plan.linear is None
        return plan.n_experts, widths, n_outputs, classes, kinds

    def _resumed(self, data, plan, gate, likelihood):
        """The last fit's parts, in terms of the present data and settings."""
        parts = self._parts.keep()
        for name, view in (("gate", data.gate_X), ("experts", data.X)):
            part = getattr(parts, name)
            if hasattr(part, "resumed"):
                setattr(parts, name, part.resumed(data if name == "experts" else view))
        parts.likelihood = parts.likelihood.resumed(data)
        resp = posterior(data, parts)[0]
        for part, present in ((parts.gate, gate), (parts.likelihood, likelihood)):
            if hasattr(present, "get_params"):
                part.set_params(**present.get_params(deep=False))
        if plan.linear is not None:
            parts.experts.alpha = plan.linear.alpha
            parts.experts.l1_ratio = plan.linear.l1_ratio
        return parts, resp

    def _resolve_solver(self, plan, gate):
        """The solver; "auto" takes gradients where all parts have them."""
        if self.solver != "auto":
            solver = resolve_part(self.solver, SOLVERS, "solver", ("fit",))
            if not hasattr(solver, "patience"):
                raise TypeError(f"solver={solver!r} is no solver; try EM() or Gradient().")
        else:
            smooth = plan.linear is not None and hasattr(gate, "flat")
            solver = SOLVERS["gradient" if smooth else "em"]()
        if isinstance(solver, Gradient) and plan.linear is None:
            raise ValueError(
                f"solver={self.solver!r} trains linear experts only, but experts are "
                f"{', '.join(type(t).__name__ for t in plan.templates)}; use solver='em'."
            )
        if (
            isinstance(solver, EM)
            and plan.linear is not None
            and plan.linear.alpha * plan.linear.l1_ratio > 0.0
        ):
            raise ValueError(
                f"solver={self.solver!r} cannot train LinearExpert(l1_ratio="
                f"{plan.linear.l1_ratio}); use solver='gradient' or l1_ratio=0."
            )
        return solver

    def _fit_linear(self, data, plan, gate, likelihood, solver, last, given, rng):
        n_experts = plan.n_experts

        def make_parts(n):
            experts = plan.linear.collection(n, data.n_classes).start(data)
            return Parts(gate, experts, likelihood.start(data, n))

        def new_monitor(label):
            # Out-of-fold probabilities of a gate rise and fall, as those of experts do.
            crossed = hasattr(gate, "fit_log_proba")
            tol = self._tolerance(crossed)
            patience = 5 if crossed else solver.patience
            return Monitor(tol, self.max_iter, patience, self.verbose, label)

        with single_blas:
            if given is None:
                kinds = start_kinds(self.init, self.n_init)
                if isinstance(data.gate_X, Design) and hasattr(gate, "block_coef"):
                    return data, fit_from_starts(
                        data, make_parts, n_experts, kinds, new_monitor, rng, solver.fit
                    )
                # Starts are looked for with a softmax gate, and handed over.
                given = surrogate_start(data, gate, likelihood, n_experts, kinds, rng)
            parts = make_parts(n_experts) if last is None else last
            return data, run(solver.fit, data, parts, new_monitor(""), given)

    def _fit_foreign(self, data, plan, gate, likelihood, solver, last, given, rng):
        n_experts = plan.n_experts
        experts = EstimatorExperts(
            plan.templates,
            plan.names,
            classes=getattr(self, "classes_", None) if data.n_classes else None,
            single_output=data.y.ndim == 1 or data.y.shape[1] == 1,
            random_state=rng.randint(_LARGEST_SEED),
            n_jobs=self.n_jobs,
            on_error=self.on_expert_error,
        )
        fold_seed = rng.randint(_LARGEST_SEED)
        folds = self._folds(data, plan, fold_seed)
        parts, resp = Parts(gate, experts, likelihood.start(data, n_experts)), given
        if last is not None:
            parts = replace(last, experts=experts)
        elif resp is None:
            kinds = start_kinds(self.init, self.n_init)
            resp = surrogate_start(data, gate, likelihood, n_experts, kinds, rng)
        if folds is not None:
            data = self._with_folds(data, folds, parts, resp)
        crossed = data.folds is not None
        tol = self._tolerance(crossed or hasattr(gate, "fit_log_proba"))
        monitor = Monitor(tol, self.max_iter, patience=5, verbose=self.verbose)
        result = run(solver.fit, data, parts, monitor, resp)
        if crossed:
            result = refit_experts(replace(data, folds=None), result)
        return data, result

    def _tolerance(self, crossed):
        return self.tol if self.tol is not None else (1e-3 if crossed else 1e-5)

    def _folds(self, data, plan, seed):
        """Folds that ``cross_fit`` asks for or may want; None if there are none."""
        frozen = all(isinstance(template, FrozenEstimator) for template in plan.templates)
        automatic, n_rows = self.cross_fit == "auto", len(data.weight)
        if self.cross_fit is None or frozen or (automatic and n_rows < 2 * _AUTO_FOLDS):
            return None
        wanted = _AUTO_FOLDS if automatic else self.cross_fit
        return make_folds(data.y, n_rows, wanted, seed, data.n_classes)

    def _with_folds(self, data, folds, parts, resp):
        """Data with folds; without, where "auto" finds in-sample predictions honest."""
        folded = replace(data, folds=folds)
        if self.cross_fit == "auto" and optimism(folded, parts, resp) <= _MAX_OPTIMISM:
            return data
        return folded

    def _publish(self, door, data, plan, result):
        self._parts = Parts(result.gate, result.experts, result.likelihood)
        self._gate_columns, self._expert_columns = door.gate_columns, door.expert_columns
        self._fitted_foreign, self._as_frame = plan.linear is None, door.as_frame
        self.gate_, self.likelihood_ = self._gating.published(result.gate), result.likelihood
        self.experts_ = result.experts.published(getattr(self, "classes_", None))
        if plan.linear is not None and hasattr(self, "feature_names_in_"):
            names = self.feature_names_in_
            for expert in self.experts_:
                expert.feature_names_in_ = (
                    names if door.expert_columns is None else names[door.expert_columns]
                )
        self.expert_names_ = list(getattr(result.experts, "names", plan.names))
        self.n_experts_, self._n_planned = result.experts.n_experts, plan.n_experts
        self.dropped_experts_ = getattr(result.experts, "dropped", {})
        self.objective_ = result.objective
        self.n_iter_, self.converged_ = result.n_iter, result.converged
        self.history_ = result.history
        self.cross_fit_ = None if data.folds is None else len(data.folds)
        self.load_ = load(result.gate.log_proba(data.gate_X), data.weight)
        for error in self.dropped_experts_.values():
            warnings.warn(f"{error}; it was left out.", UserWarning, stacklevel=5)
        if result.unexplained:
            warnings.warn(
                f"{result.unexplained} rows are explained by no expert; their responsibilities "
                f"are the gate's probabilities.",
                UserWarning,
                stacklevel=5,
            )
        if not result.converged:
            warnings.warn(
                f"The fit did not converge in {result.n_iter} iterations (max_iter="
                f"{self.max_iter}); raise max_iter or tol.",
                ConvergenceWarning,
                stacklevel=5,
            )

    # -- what scikit-learn asks -----------------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        templates = templates_of(self.experts)
        tags.input_tags.sparse = all(accepts_sparse(template) for template in templates)
        tags.input_tags.allow_nan = bool(templates) and all(map(accepts_nan, templates))
        # The mixin that sets estimator_type comes after this.
        several = isinstance(self, RegressorMixin) and all(map(accepts_many_outputs, templates))
        tags.target_tags.multi_output = several
        return tags

    def _sk_visual_block_(self):
        return visual_block(self)
