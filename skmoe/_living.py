"""What changes of a fitted mixture have in common: rows, training, publishing."""

from dataclasses import replace
from numbers import Integral

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import check_is_fitted

from ._criteria import count_parameters
from ._design import Design
from ._door import check_lengths, same_columns
from ._em import load
from ._failures import SelectedGate, own_gate, select_gate
from ._features import start_numbers
from ._fit import FitData, Parts, joined_history, objective_value
from ._health import fingerprint
from ._monitor import Monitor
from ._outputs import refuse_by_output
from ._path import posterior
from ._solving import all_frozen
from ._some import best_start, fit_some, linear_stand_in
from ._starts import refit_experts, run
from ._sweep import single_blas
from ._validation import ExpertPlan, check_expert, check_names, check_weight
from .experts.linear import LinearExpert
from .solvers import EM, Pool, Stages

_LARGEST_SEED = np.iinfo(np.int32).max


class Living:
    """Private part of `ExpertLife`."""

    def _number(self, which):
        """Number of an expert that is given by number or name."""
        check_is_fitted(self)
        names = self.expert_names_
        if isinstance(which, str):
            if which not in names:
                raise ValueError(f"there is no expert {which!r}; there are {names}.")
            return names.index(which)
        if not isinstance(which, Integral) or not -len(names) <= which < len(names):
            raise ValueError(
                f"{which!r} is no expert: give a number below {len(names)} or one of {names}."
            )
        return int(which) % len(names)

    def _new_names(self, names, otherwise, gone=()):
        """Names of new experts: those given, or others that are not in use."""
        taken = [old for k, old in enumerate(self.expert_names_) if k not in gone]
        chosen = []
        for name, default in zip(names, otherwise):
            while name is None:
                name, default = (default if default not in taken else None), f"{default}_new"
            if not isinstance(name, str):
                raise ValueError(f"name={name!r} must be a str.")
            chosen.append(name)
            taken.append(name)
        check_names(taken, self._get_param_names())
        return chosen

    def _own_template(self, k):
        """What another expert like number k is made of; None for linear ones."""
        if not self._fitted_foreign:
            return None
        template = self._parts.experts.template(k)
        if isinstance(template, FrozenEstimator):
            raise ValueError(
                f"expert {self.expert_names_[k]!r} is frozen and cannot be trained; remove it "
                f"and add another expert."
            )
        return template

    def _unfitted(self, template, names):
        """New experts to be trained."""
        experts = self._parts.experts
        if not self._fitted_foreign:
            own = LinearExpert() if self.experts is None else self.experts
            if template is not None and not isinstance(template, type(own)):
                raise ValueError(
                    f"the model's experts are all made from one {type(own).__name__} and share "
                    f"arrays, which {template!r} cannot join; fit with a list of estimators as "
                    f"experts."
                )
            return experts.selected([0] * len(names))
        if template is None:
            if isinstance(self.experts, list):
                raise ValueError("experts is a list of different ones; say which expert to add.")
            template = self.experts
        check_expert(template, "expert", self._n_classes() is not None)
        seed = check_random_state(self.random_state).randint(_LARGEST_SEED)
        return experts.anew([template] * len(names), names, seed + self.n_experts_)

    def _life_data(self, X, y, sample_weight):
        """Rows in terms of the fitted parts."""
        refuse_by_output(self, "a change of experts")
        X = self._rows(X)
        check_lengths(X, y)
        target = self._decode_target(y)
        weight = self._target_weight(target, check_weight(sample_weight, X))
        kept = np.flatnonzero(weight > 0)
        if len(kept) < len(weight):
            X, target, weight = _safe_indexing(X, kept), target[kept], weight[kept]
        gate, numbers = own_gate(self._parts.gate), self._gate_rows(X)
        gate_X = Design(numbers, gate.mean_, gate.scale_) if hasattr(gate, "view") else numbers
        # A gate may see words, which new experts cannot be started from.
        start_X = start_numbers(numbers) if self._gating.foreign else numbers
        start_X = gate_X if isinstance(gate_X, Design) else Design.standardised(start_X, weight)
        rows = self._expert_rows(X)
        if not self._fitted_foreign:
            same = same_columns(self._gate_columns, self._expert_columns)
            rows = self._parts.experts.on(rows)
            if same and isinstance(gate_X, Design) and np.array_equal(gate_X.scale, rows.scale):
                rows = gate_X  # the same numbers: one pass reads both
        y_scale, base_variance = self._units
        return FitData(
            gate_X,
            rows,
            target,
            weight,
            self._n_classes(),
            y_scale,
            base_variance,
            n_threads=effective_n_jobs(self.n_jobs),
            start_X=start_X,
        )

    def _log_lik(self, data):
        """Log-likelihoods (n, K) of the experts as they are."""
        pred = self._parts.experts.predict(data.X)
        return self._parts.likelihood.log_lik(data.y, pred)

    def _room(self, order, new, data):
        """Parts to train: the gate of experts in this order, and new experts by themselves."""
        gate = own_gate(self._parts.gate)
        if hasattr(gate, "fit_rows"):
            gate = gate.selected(order)
        elif hasattr(gate, "count_experts"):
            if len(order) > self.n_experts_:
                raise ValueError(
                    f"{type(gate).__name__} is made for its number of experts and takes no "
                    f"more; fit with another gate."
                )
            gate = SelectedGate(gate, order)
        else:
            gate = clone(gate, safe=False)
        old = self._parts.likelihood
        fresh = old.start(data, new.n_experts)
        if getattr(old, "shared", False):
            fresh = old.selected([0] * new.n_experts)
        if not self._fitted_foreign:
            new = new.start(data)
        return Parts(gate, new, fresh)

    def _train_some(self, data, parts, fixed, free, starts):
        """Train new experts from the best start; the result, and the data with its folds."""
        foreign = self._fitted_foreign
        templates = [parts.experts.template(k) for k in range(len(free))] if foreign else []
        folds = self._life_folds(data, templates)
        if len(starts) == 1:
            resp = starts[0]
        elif foreign:
            linear, other = linear_stand_in(data, parts.likelihood, len(free))
            other.gate, other.likelihood = parts.gate, parts.likelihood
            _, resp = best_start(linear, other, fixed, free, starts)
        else:
            parts, resp = best_start(data, parts, fixed, free, starts)
        data = replace(data, folds=folds)
        tol = self.tol if self.tol is not None else (1e-3 if folds else 1e-5)
        patience = 5 if foreign else 2
        monitor = Monitor(tol, self.max_iter, patience, self._progress())
        with single_blas:
            result = run(
                lambda *args: fit_some(args[0], args[1], fixed, free, *args[2:]),
                data,
                parts,
                monitor,
                resp,
            )
        if folds is not None:
            result.experts.fit(replace(data, folds=None), result.resp[:, free])
        return result, data

    def _retrained(self, k, template, data, resp):
        """One expert and its part of the gate, trained as new ones are in its place."""
        order = list(range(self.n_experts_))
        parts = self._room(order, self._unfitted(template, [self.expert_names_[k]]), data)
        return self._train_some(data, parts, self._log_lik(data), [k], [resp])[0]

    def _life_folds(self, data, templates):
        if all_frozen(templates):
            return None
        seed = check_random_state(self.random_state).randint(_LARGEST_SEED)
        return self._folds(data, ExpertPlan(None, templates), seed)

    def _settle(self, data, result, free, order, stage, names, polish):
        """Put new experts among the old ones, and publish."""
        old = self._parts
        experts = old.experts.selected(order).replaced(free, result.experts)
        likelihood = old.likelihood.selected(order).replaced(free, result.likelihood)
        parts = Parts(result.gate, experts, likelihood)
        all_names = [self.expert_names_[k] for k in order]
        for k, name in names.items():
            all_names[k] = name
        stages, in_all = [(stage, result)], result.resp
        if polish:
            polished = self._polished(data, parts, in_all)
            stages.append(("polish", polished))
            parts = Parts(polished.gate, polished.experts, polished.likelihood)
        else:
            loglik = posterior(data, parts)[1]
            objective = objective_value(data, data.weight @ loglik, parts)
            result = replace(result, objective=objective)
            stages = [(stage, result)]
        history = self.history_
        for label, part in stages:
            history = joined_history(history, label, part.history)
        self._show_parts(parts, all_names)
        if self.routing_bias_ is not None:
            self.routing_bias_ = self.routing_bias_[order]
            self.routing_bias_[free] = 0.0
        log_gate = parts.gate.log_proba(data.gate_X)
        self.load_ = load(self._preference(log_gate), data.weight)
        self._fingerprint = fingerprint(data.y, np.exp(log_gate))
        self.history_ = history
        last = stages[-1][1]
        self.objective_, self.n_iter_, self.converged_ = last.objective, last.n_iter, last.converged

    def _polished(self, data, parts, resp):
        """All experts and the gate trained from where they stand."""
        solver = EM() if isinstance(self.solver_, Pool) else self.solver_
        solver = solver.solver if isinstance(solver, Stages) else solver
        tol = self.tol if self.tol is not None else (1e-3 if data.folds else 1e-5)
        patience = 5 if self._fitted_foreign else solver.patience
        monitor = Monitor(tol, self.max_iter, patience, self._progress())
        with single_blas:
            result = run(solver.fit, data, parts, monitor, resp)
        if data.folds is not None:
            result = refit_experts(replace(data, folds=None), result)
        return result

    def _preference(self, log_gate):
        """What the order of a row's experts is decided by: (n, K)."""
        return log_gate if self.routing_bias_ is None else log_gate + self.routing_bias_

    def _keep_only(self, kept):
        refuse_by_output(self, "a change of experts")
        old = self._parts
        gate = select_gate(old.gate, kept, refit=False)
        parts = Parts(gate, old.experts.selected(kept), old.likelihood.selected(kept))
        self._show_parts(parts, [self.expert_names_[k] for k in kept])
        if self.routing_bias_ is not None:
            self.routing_bias_ = self.routing_bias_[kept]

    def _show_parts(self, parts, names):
        """Publish parts and what follows from them alone."""
        experts = parts.experts.published(getattr(self, "classes_", None))
        if not self._fitted_foreign and hasattr(self, "feature_names_in_"):
            columns = slice(None) if self._expert_columns is None else self._expert_columns
            for expert in experts:
                expert.feature_names_in_ = self.feature_names_in_[columns]
        self._parts, self.experts_ = parts, experts
        self.gate_, self.likelihood_ = self._gating.published(parts.gate), parts.likelihood
        self.expert_names_, self.n_experts_ = list(names), len(names)
        self.n_parameters_, self._fingerprint = count_parameters(parts), None
        self._fitted_form = None  # what `fit` would go on from is another model
