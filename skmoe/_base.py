"""The shell of both estimators: parameters, orchestration of a fit, publishing."""

import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import _BaseComposition

from ._combine import RULES, check_combine
from ._comparison import InformationCriteria
from ._criteria import count_parameters
from ._devices import find_device, placed
from ._door import enter
from ._explaining import Explanations
from ._fit import Parts, joined_history
from ._function_space import TrainsInFunctionSpace, additive_gating
from ._gating import gate_accepts
from ._growth import ChoosesExperts
from ._health import fingerprint
from ._life import ExpertLife
from ._monitor import Interrupted
from ._online import OnlineLearning
from ._ops import on_host
from ._outofcore import OutOfCore
from ._outputs import check_outputs, resolve_gating
from ._picture import visual_block
from ._predict import MixturePredictions
from ._progress import Progress, check_callbacks
from ._resuming import check_checkpoint, open_record
from ._solving import (
    adopt_experts,
    check_groups,
    check_objective,
    check_resumed,
    resolve_solver,
    seeded,
)
from ._sparse import check_solver, make_trainer, resolve_balance, resolve_routing, routing_facts
from ._stream import seen
from ._targets import check_law, some_missing
from ._training import Training
from ._validation import (
    GATES,
    ROUTINGS,
    SOLVERS,
    check_names,
    check_top_k,
    plan_experts,
    resolve_nested,
    templates_of,
)
from .balance import BalanceBias, BalancePenalty
from .experts.estimators import (
    accepts_many_outputs,
    accepts_nan,
    accepts_sparse,
)
from .gates.additive import AdditiveGate
from .selection import Grow
from .solvers import Stages

# What Ctrl-C leaves behind.
_KEPT = (
    "the best of them is kept as the fit, not converged, and the next call of fit goes on from "
    "there (warm_start=True)"
)
_AS_BEFORE = (
    "the estimator is as it was before fit; warm_start=True would keep the best iterate, once "
    "there is one"
)


class BaseMoE(
    Training,
    TrainsInFunctionSpace,
    ExpertLife,
    OnlineLearning,
    OutOfCore,
    ChoosesExperts,
    Explanations,
    InformationCriteria,
    MixturePredictions,
    _BaseComposition,
):
    """What `MoERegressor` and `MoEClassifier` share."""

    _parameter_constraints = {
        "experts": [None, list, object],
        "n_experts": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), Grow, None],
        "max_experts": [Interval(Integral, 1, None, closed="left")],
        "gate": [
            StrOptions(set(GATES)),
            HasMethods(["fit", "log_proba"]),
            HasMethods(["fit", "predict_proba"]),
            Pipeline,
        ],
        "solver": [StrOptions({"auto", *SOLVERS}), HasMethods("fit")],
        "top_k": [Interval(Integral, 1, None, closed="left"), None],
        "routing": [StrOptions(set(ROUTINGS)), HasMethods("candidates"), None],
        "load_balance": [BalancePenalty, BalanceBias, None],
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
        "device": [StrOptions({"cpu", "cuda"}), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, tuple, None],
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
        params = resolve_nested(self, params)
        if isinstance(params.get("experts", self.experts), list):
            return self._set_params("experts", **params)
        return BaseEstimator.set_params(self, **params)

    # -- fit ------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, checkpoint=None):
        """Fit gate and experts.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            A DataFrame reaches experts as it is, unless they are linear.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, or class labels (n_samples,).
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default. Rows of weight zero are left out.
        checkpoint : str or path, default=None
            File that the state of the fit is written to every few iterations. Where it is
            there already, a fit of the same data and parameters goes on from it. For linear,
            neural and factorised experts.

        Returns
        -------
        self : estimator
            Fitted.

        Raises
        ------
        ValueError, TypeError
            Before any training; the message names the parameter or column and the cure.
        """
        return self._guarded(self._fit, X, y, sample_weight, checkpoint=checkpoint)

    def _guarded(self, fit, *arguments, **more):
        """Fit, and leave everything as it was where that fails."""
        before = dict(vars(self))
        vars(self).pop("_stream", None)
        try:
            return fit(*arguments, **more)
        except Interrupted as stop:
            if self.warm_start:
                raise KeyboardInterrupt(f"{stop}; {_KEPT}") from stop
            self._back_to(before)
            raise KeyboardInterrupt(f"{stop}; {_AS_BEFORE}") from stop
        except KeyboardInterrupt as stop:
            self._back_to(before)
            raise KeyboardInterrupt(
                f"interrupted while looking for a start; {_AS_BEFORE}"
            ) from stop
        except BaseException:
            self._back_to(before)
            raise

    def _back_to(self, before):
        """Nothing half-fitted is left behind, and an earlier fit stays as it was."""
        vars(self).clear()
        vars(self).update(before)

    def _fit(self, X, y, sample_weight, classes_known=False, exposure=None, checkpoint=None):
        gating = resolve_gating(self)
        gate = gating.gate
        plan = plan_experts(self.experts, self.n_experts, is_classifier(self), gate)
        if isinstance(self.experts, list):
            check_names(plan.names, self._get_param_names())
        check_callbacks(self.callbacks)
        check_top_k(self.top_k, plan.n_experts if plan.growth is None else self.max_experts)
        likelihood = self._resolve_likelihood()
        check_combine(self.combine, likelihood, is_classifier(self))
        routing, (penalty, bias) = resolve_routing(self), resolve_balance(self)
        dense = self.routing is None and self.load_balance is None
        plan = adopt_experts(self.solver, plan)
        if plan.additive:
            gating = additive_gating(self, gating, plan, likelihood)
            gate = gating.gate
        check_law(likelihood, plan, self.solver)
        smooth = getattr(likelihood, "is_smooth", True)
        solver = resolve_solver(self.solver, plan, gate, self.cross_fit, dense, smooth)
        check_solver(self, solver, plan, gate)
        check_objective(self, solver, plan)
        criterion = self._check_growth(plan, gate, likelihood)
        checkpoint = check_checkpoint(self, checkpoint, plan, gating, solver)
        device = find_device(self, X, plan, gate, likelihood, solver)
        X, y, sample_weight = map(on_host, (X, y, sample_weight))
        door = enter(self, plan, gating, X, y, sample_weight, classes_known, exposure)
        check_outputs(self, plan, likelihood, solver, some_missing(door.target))
        rng = check_random_state(self.random_state)
        record, rng = open_record(self, checkpoint, door, rng)
        gating.seed(rng)
        plan, solver = plan.seeded(rng), seeded(solver, rng)
        staged = isinstance(solver, Stages)
        given = self._given_start(door, X, y, plan.n_experts, rng, exact=staged)
        check_groups(solver, given, door.weight)
        data = replace(self._fit_data(door, gating, plan, likelihood), balance=penalty)
        most = plan.n_experts if plan.growth is None else self.max_experts
        data = placed(data, device, most, plan, gate, solver)
        training = solver if record is None else record.recording(solver)
        form, last, grown = self._form(data, plan, gate, likelihood), None, None
        if check_resumed(self, solver, form):
            plan = plan if plan.growth is None else plan.sized(self.n_experts_)
            last, given = self._resumed(data, plan, gate, likelihood)
            given = self._known_groups(data, given) if staged else given
        elif plan.growth is not None:
            plan, last, given, grown = self._choose_experts(
                data, plan, gate, likelihood, training, criterion, rng
            )
        train = self._fit_foreign if plan.linear is None else self._fit_linear
        train = self._fit_additive if plan.additive else train
        trainer = make_trainer(self, training, routing, bias, rng)
        try:
            data, result = train(data, plan, gate, likelihood, trainer, last, given, rng, grown)
            stop = None
        except Interrupted as found:
            if not self.warm_start:
                raise
            stop, data, result = found, found.data, found.result
        if staged and last is not None:
            result = replace(result, history=joined_history(self.history_, "", result.history))
        self._remember_groups(data, result, staged)
        self.solver_, self._gating = solver, gating
        self._fitted_form = form if result.experts.n_experts == plan.n_experts else None
        self._publish(door, data, plan, result)
        self._seen = seen(data)
        log_gate = result.gate.log_proba(data.gate_X)
        facts = routing_facts(data, result, log_gate, bias, self.top_k)
        self.routing_bias_, self.load_ = facts
        self._fingerprint = fingerprint(data.y, np.exp(log_gate))
        if stop is not None:
            raise stop
        self._warn_of(result)
        return self

    def _publish(self, door, data, plan, result):
        self._parts = Parts(result.gate, result.experts, result.likelihood)
        self._gate_columns, self._expert_columns = door.gate_columns, door.expert_columns
        self._fitted_foreign, self._as_frame = plan.linear is None, door.as_frame
        self.gate_, self.likelihood_ = self._gating.published(result.gate), result.likelihood
        self._units = data.y_scale, data.base_variance
        self.experts_ = result.experts.published(getattr(self, "classes_", None))
        if plan.linear is not None and hasattr(self, "feature_names_in_"):
            names = self.feature_names_in_
            for expert in self.experts_:
                expert.feature_names_in_ = (
                    names if door.expert_columns is None else names[door.expert_columns]
                )
        self.expert_names_ = list(getattr(result.experts, "names", plan.names))
        self.n_experts_, self._n_planned = result.experts.n_experts, plan.n_experts
        self.n_parameters_ = count_parameters(self._parts)
        self.dropped_experts_ = getattr(result.experts, "dropped", {})
        if plan.growth is None:
            vars(self).pop("path_", None)
        self.objective_ = result.objective
        self.n_iter_, self.converged_ = result.n_iter, result.converged
        self.history_ = result.history
        self.cross_fit_ = None if data.folds is None else len(data.folds)

    def _warn_of(self, result):
        """Say what went wrong in a fit that came to its end."""
        for error in self.dropped_experts_.values():
            warnings.warn(f"{error}; it was left out.", UserWarning, stacklevel=6)
        if result.unexplained:
            warnings.warn(
                f"{result.unexplained} rows are explained by no expert; their responsibilities "
                f"are the gate's probabilities.",
                UserWarning,
                stacklevel=6,
            )
        if not result.converged:
            warnings.warn(
                f"The fit did not converge in {result.n_iter} iterations (max_iter="
                f"{self.max_iter}); raise {self._limits()} or tol.",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _progress(self, label=""):
        return Progress(self.verbose, label, self.callbacks)

    def _limits(self):
        """What ends a fit too early, for a warning."""
        if isinstance(self.gate_, AdditiveGate):
            return "max_rounds of AdditiveExpert"
        n_epochs = getattr(self.solver_, "n_epochs", None)
        return "max_iter" if n_epochs is None else f"n_epochs={n_epochs} of the solver"

    # -- what scikit-learn asks -----------------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        templates = templates_of(self.experts)
        tags.input_tags.sparse = all(map(accepts_sparse, templates)) and gate_accepts(
            self.gate, accepts_sparse
        )
        nan = bool(templates) and all(map(accepts_nan, templates))
        tags.input_tags.allow_nan = nan and gate_accepts(self.gate, accepts_nan)
        # The mixin that sets estimator_type comes after this.
        several = isinstance(self, RegressorMixin) and all(map(accepts_many_outputs, templates))
        tags.target_tags.multi_output = several
        return tags

    def _sk_visual_block_(self):
        return visual_block(self)
