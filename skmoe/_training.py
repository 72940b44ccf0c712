"""How both estimators train: from what came through the door to fitted parts."""

from dataclasses import replace

import numpy as np
from joblib import effective_n_jobs

from ._design import Design
from ._em import fit_em
from ._fit import FitData, Parts
from ._health import target_sum
from ._init import given_start
from ._monitor import Interrupted, Monitor
from ._path import posterior
from ._per_output import filled, outputs_start
from ._solving import all_frozen
from ._starts import (
    can_grow,
    fit_from_starts,
    groups_start,
    linear_parts,
    minibatch_start,
    one_expert_variance,
    optimism,
    refit_experts,
    run,
    start_kinds,
    surrogate_start,
)
from ._sweep import single_blas
from .experts.estimators import EstimatorExperts, make_folds
from .likelihoods.linked import spread_of
from .solvers import Minibatch, Pool, Stages

# Optimism per row above which responsibilities are computed out of fold.
_MAX_OPTIMISM = 0.05
AUTO_FOLDS, _POOL_FOLDS = 3, 5
_LARGEST_SEED = np.iinfo(np.int32).max


class Training:
    """Methods that train; a part of `BaseMoE`."""

    def _fit_data(self, door, gating, plan, likelihood):
        """The arrays of a fit; features of built-in parts become views."""
        weight, gate = door.weight, gating.gate
        seen = gating.fit_rows(door.gate_X)
        gate_X = gate.view(seen, weight) if hasattr(gate, "view") else seen
        start_X = gate_X if isinstance(gate_X, Design) else door.numeric_view()
        expert_X = door.expert_X
        if plan.linear is not None:
            alike = plan.linear.standardize == getattr(gate, "standardize", True)
            shared = hasattr(gate_X, "same_columns") and door.expert_X is seen and alike
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
        numeric = replace(data, X=expert_X if plan.linear is not None else start_X)
        if hasattr(likelihood, "rough"):  # what a law makes of y is not one number per output
            rough = likelihood.rough(likelihood.columns(data.y))
            numeric = replace(numeric, y=rough, y_scale=spread_of(rough, weight))
            data = replace(data, y_scale=likelihood.target_scale(data.y, weight))
        elif np.isnan(data.y).any():
            return filled(data, numeric)
        else:
            data = replace(data, y_scale=spread_of(data.y, weight))
            numeric = replace(numeric, y_scale=data.y_scale)
        return replace(data, base_variance=one_expert_variance(numeric))

    def _given_start(self, door, X, y, n_experts, rng, exact=False):
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
        doubt = {"doubt": 0.0} if exact else {}
        return given_start(init, len(door.kept), door.kept, n_experts, **doubt)

    def _form(self, data, plan, gate, likelihood):
        """What must be the same for ``warm_start`` to go on from the last fit."""
        n_outputs = None if data.n_classes else data.y.shape[1]
        classes = self.classes_.tolist() if data.n_classes else None
        widths = data.gate_X.shape[1], data.X.shape[1]
        experts = None if plan.linear is None else plan.linear.form()
        kinds = type(gate).__qualname__, type(likelihood).__qualname__, experts
        growth = plan.growth and (str(plan.growth), self.max_experts)
        return growth or plan.n_experts, widths, n_outputs, classes, kinds

    def _resumed(self, data, plan, gate, likelihood):
        """The last fit's parts and responsibilities, in terms of the present fit."""
        parts = self._resumed_parts(data, plan, gate, likelihood)
        return parts, posterior(data, parts)[0]

    def _resumed_parts(self, data, plan, gate, likelihood):
        """The last fit's parts, in terms of the present data and settings."""
        parts = self._parts.keep()
        for name, view in (("gate", data.gate_X), ("experts", data.X)):
            part = getattr(parts, name)
            if hasattr(part, "resumed"):
                setattr(parts, name, part.resumed(data if name == "experts" else view))
        parts.likelihood = parts.likelihood.resumed(data)
        for part, present in ((parts.gate, gate), (parts.likelihood, likelihood)):
            if hasattr(present, "get_params"):
                part.set_params(**present.get_params(deep=False))
        if plan.linear is not None:
            for name in {"alpha", "factor_alpha", "l1_ratio", "standardize"} & set(
                vars(plan.linear)
            ):
                setattr(parts.experts, name, getattr(plan.linear, name))
        return parts

    def _known_groups(self, data, resp):
        """What the experts were fitted to, for stages on the same rows; else ``resp``."""
        checksum, groups = getattr(self, "_fitted_to", (None, None))
        return groups if checksum == target_sum(data.y) else resp

    def _remember_groups(self, data, result, staged):
        """Keep what experts were fitted to, where stages to come need others like them."""
        if staged and result.resp is None:
            return  # the experts are those of before
        vars(self).pop("_fitted_to", None)
        if staged and data.folds is not None:
            self._fitted_to = target_sum(data.y), result.resp

    def _fit_linear(self, data, plan, gate, likelihood, solver, last, given, rng, grown):
        n_experts = plan.n_experts

        def make_parts(n, data=data):
            return linear_parts(data, plan.linear, gate, likelihood, n)

        def new_monitor(label):
            # Out-of-fold probabilities of a gate rise and fall, as those of experts do.
            crossed = hasattr(gate, "fit_log_proba")
            tol = self._tolerance(crossed or isinstance(solver, Minibatch))
            patience = 5 if crossed else solver.patience
            return Monitor(tol, self.max_iter, patience, self._progress(label))

        with single_blas:
            kinds = start_kinds(self.init, self.n_init) if given is None else []
            if kinds and getattr(gate, "per_output", False):
                given = outputs_start(data, gate, likelihood, n_experts, kinds, rng)
            if isinstance(solver, Minibatch):
                parts = last
                if last is None:
                    parts, given = minibatch_start(data, make_parts, n_experts, kinds, given, rng)
                return data, run(solver.fit, data, parts, new_monitor(""), given)
            taken = isinstance(solver, Stages) or self.routing is not None
            if given is None:
                if can_grow(data, gate, plan.linear) and not taken:
                    how = (kinds, new_monitor, rng, solver.fit)
                    more = {"grown": grown, "begin": getattr(solver, "begin", None)}
                    return data, fit_from_starts(data, make_parts, n_experts, *how, **more)
                # Starts are looked for with a softmax gate, and handed over.
                start = groups_start if taken else surrogate_start
                given = start(data, gate, likelihood, n_experts, kinds, rng)
            parts = make_parts(n_experts) if last is None else last
            return data, run(solver.fit, data, parts, new_monitor(""), given)

    def _fit_foreign(self, data, plan, gate, likelihood, solver, last, given, rng, grown):
        n_experts = plan.n_experts
        experts = self._foreign_experts(data, plan, rng.randint(_LARGEST_SEED))
        pooled = isinstance(solver, Pool)
        folds = self._folds(data, plan, rng.randint(_LARGEST_SEED), pooled)
        parts, resp = Parts(gate, experts, likelihood.start(data, n_experts)), given
        staged = isinstance(solver, Stages)
        if last is not None:
            parts = replace(last, experts=experts)
            if staged:
                experts.estimators_ = last.experts.estimators_
        elif resp is None and not pooled:
            kinds = start_kinds(self.init, self.n_init)
            start = groups_start if staged else surrogate_start
            resp = start(data, gate, likelihood, n_experts, kinds, rng)
        if hasattr(solver, "prepare"):
            solver.prepare(data, parts, resp)
        if folds is not None:
            folded = replace(data, folds=folds)
            trial = fit_em if staged else solver.fit
            data = folded if pooled else self._honest(data, folded, parts, resp, trial)
        crossed = data.folds is not None
        tol = self._tolerance(not pooled and (crossed or hasattr(gate, "fit_log_proba")))
        patience = solver.patience if pooled else 5
        monitor = Monitor(tol, self.max_iter, patience, self._progress())
        try:
            result = run(solver.fit, data, parts, monitor, resp)
        except Interrupted as stop:
            if crossed and self.warm_start:  # what is kept must be able to predict
                stop.result = refit_experts(replace(data, folds=None), stop.result)
            raise
        if pooled:
            result = replace(result, resp=np.ones_like(result.resp))
        if crossed and result.resp is not None:
            result = refit_experts(replace(data, folds=None), result)
        return data, result

    def _foreign_experts(self, data, plan, seed):
        likelihood = None if data.n_classes else self._resolve_likelihood()
        linked = hasattr(likelihood, "from_mean")
        return EstimatorExperts(
            plan.templates,
            plan.names,
            classes=getattr(self, "classes_", None) if data.n_classes else None,
            single_output=data.y.ndim == 1
            or (not self._many_outputs and linked)
            or data.y.shape[1] == 1,
            link=likelihood if linked else None,
            random_state=seed,
            n_jobs=self.n_jobs,
            on_error=self.on_expert_error,
        )

    def _tolerance(self, crossed):
        return self.tol if self.tol is not None else (1e-3 if crossed else 1e-5)

    def _folds(self, data, plan, seed, pooled=False):
        """Folds that ``cross_fit`` asks for or may want; None if there are none."""
        automatic, n_rows = self.cross_fit == "auto", len(data.weight)
        few = automatic and n_rows < 2 * AUTO_FOLDS
        if self.cross_fit is None or all_frozen(plan.templates) or few:
            return None
        wanted = (_POOL_FOLDS if pooled else AUTO_FOLDS) if automatic else self.cross_fit
        return make_folds(data.y, n_rows, wanted, seed, data.n_classes)

    def _honest(self, data, folded, parts, resp, fit):
        """Data with folds; without, where "auto" finds in-sample predictions honest."""
        if self.cross_fit == "auto" and optimism(folded, parts, resp, fit) <= _MAX_OPTIMISM:
            return data
        return folded
