"""Training in stages: experts alone on groups of rows, the gate alone, all together."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, StrOptions

from ._design import Design
from ._em import load
from ._failures import ExpertsFailed, keep_survivors
from ._fit import FitResult, Parts, joined_history, update_experts
from ._gate_step import gate_step, objective_of_rows
from ._monitor import Monitor
from ._ops import get_ops
from ._pool import descend, has_strength, log_loss

STAGES = ("experts", "gate", "joint")


class Stages(BaseEstimator):
    """Experts alone on given groups, then the gate alone, then all of them together.

    For groups of rows that one knows: give them to the estimator as ``init``, labels
    (n_samples,) or responsibilities (n_samples, n_experts); a named start makes groups from
    the features or from a mixture of linear experts. The objective after every stage is in
    ``history_``, whose list ``stage`` names that of each entry. No stage ends lower than
    the one before: where it would, its parts are not taken.

    Parameters
    ----------
    stages : sequence of {"experts", "gate", "joint"}, default=("experts", "gate", "joint")
        What to run, in this order. "experts": each expert and its noise on its group, under
        a constant gate, the shares of the groups. "gate": the gate on the likelihood of the
        mixture, while experts and noise stay as they are (out-of-fold predictions with
        ``cross_fit``). "joint": all parts, by ``solver``, from where they stand. A list that
        does not begin with "experts" goes on from the last fit and needs
        ``warm_start=True``; entries are then appended to its ``history_``.
    solver : {"auto", "em", "gradient"} or solver, default="auto"
        Of the joint stage.

    References
    ----------
    Jordan, M. I. and Xu, L. (1995). Convergence results for the EM approach to mixtures of
    experts architectures. Neural Networks 8, 1409-1431.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.solvers import Stages
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> y, groups = np.abs(X[:, 0]), (X[:, 0] > 0.2).astype(int)
    >>> model = MoERegressor(n_experts=2, init=groups, n_init=1, solver=Stages()).fit(X, y)
    >>> last = dict(zip(model.history_["stage"], model.history_["objective"]))
    >>> list(last)
    ['experts', 'gate', 'joint']
    >>> last["experts"] < last["gate"] < last["joint"]
    True
    """

    _parameter_constraints = {
        "stages": ["array-like"],
        "solver": [StrOptions({"auto", "em", "gradient"}), HasMethods("fit")],
    }

    def __init__(self, stages=STAGES, *, solver="auto"):
        self.stages = stages
        self.solver = solver

    @property
    def patience(self):
        """Iterations in a row without a rise that count as convergence."""
        return getattr(self.solver, "patience", 2)

    @property
    def resumes(self):
        """Whether training goes on from fitted parts."""
        return self.stages[0] != "experts"

    def fit(self, data, parts, monitor, resp):
        """Train the parts of a mixture.

        Parameters
        ----------
        data : FitData
            Rows, targets and weights.
        parts : Parts
            Started gate, experts and likelihood, or fitted ones if the first stage is not
            "experts"; copied, not changed.
        monitor : Monitor
            What it allows, each stage is allowed; it gets the history of all of them.
        resp : ndarray of shape (n, K)
            The groups; of fitted parts, their responsibilities.

        Returns
        -------
        FitResult
            Parts of the best iterate, objective, history. ``resp`` is None where the experts
            are those that were given.
        """
        state = _fitted(data, parts, resp) if self.resumes else None
        history = {"objective": [], "seconds": []}
        for stage in self.stages:
            progress = monitor.progress.labelled(f"{stage}  ")
            watch = Monitor(monitor.tol, monitor.max_iter, monitor.patience, progress)
            if stage == "experts":
                state = _experts_alone(data, parts, watch, resp)
            elif stage == "gate":
                state = _gate_alone(data, state, watch)
            else:
                state = _all_together(data, state, watch, self.solver)
            watch.close()
            history = joined_history(history, stage, watch.history)
        return FitResult(
            **vars(state.parts),
            resp=state.resp,
            objective=state.value,
            n_iter=len(history["objective"]),
            converged=watch.converged,
            history=history,
            unexplained=state.unexplained,
            gate_resp=state.gate_resp,
        )


@dataclass(frozen=True)
class _State:
    """Where training stands after a stage.

    Attributes
    ----------
    parts : Parts
    value : float
        Objective.
    log_gate, log_lik : ndarray of shape (n, K)
        Of the training rows, out of fold where parts are trained so; None after the last
        stage that there can be.
    unexplained : int
    resp : ndarray of shape (n, K) or None
        What the experts were fitted to; None for those that were there before.
    gate_resp : ndarray of shape (n, K) or None
        What the gate was fitted to, if that was something else.
    """

    parts: Parts
    value: float
    log_gate: np.ndarray | None = None
    log_lik: np.ndarray | None = None
    unexplained: int = 0
    resp: np.ndarray | None = None
    gate_resp: np.ndarray | None = None


def _judged(data, parts, log_gate, log_lik, **fitted_to):
    """The state of parts, and their responsibilities (n, K)."""
    resp, loglik = np.empty(log_lik.shape), np.empty(len(log_lik))
    missed = get_ops().e_step(log_gate, log_lik, resp, loglik)
    value = objective_of_rows(data, parts, loglik, log_gate)
    return _State(parts, value, log_gate, log_lik, missed, **fitted_to), resp


def _fitted(data, parts, resp):
    """The state of parts that were fitted before."""
    parts, gate_resp = parts.keep(), None
    pred = _honest_predictions(data, parts, resp)
    if hasattr(parts.gate, "fit_log_proba"):
        log_gate = parts.gate.fit_log_proba(data.gate_X, resp, data.weight)
        gate_resp = resp
    else:
        log_gate = parts.gate.log_proba(data.gate_X)
    log_lik = parts.likelihood.log_lik(data.y, pred)
    return _judged(data, parts, log_gate, log_lik, gate_resp=gate_resp)[0]


def _honest_predictions(data, parts, resp):
    """Predictions (n, K, P) of experts as they are; out of fold, of others like them."""
    if data.folds is None:
        return parts.experts.predict(data.X)
    try:
        return parts.experts.fit_predict(data, resp, parts.likelihood.dispersion)
    except ExpertsFailed as failure:
        # Only some of the rows were too few for it: it cannot be left out of a fitted model.
        raise next(iter(failure.errors.values())) from failure


def _experts_alone(data, parts, watch, groups):
    """Experts and noise on the groups, and the constant gate of their shares."""
    parts, before, n_rounds = parts.keep(), -np.inf, 0
    while True:
        try:
            pred = parts.experts.fit_predict(data, groups, parts.likelihood.dispersion)
        except ExpertsFailed as failure:
            kept = [k for k in range(parts.experts.n_experts) if k not in failure.errors]
            parts, _ = keep_survivors(parts, groups, failure, refit=True)
            groups, before = np.ascontiguousarray(groups[:, kept]), -np.inf
            continue
        update_experts(parts.likelihood)(data.y, pred, groups, data.weight)
        log_lik = parts.likelihood.log_lik(data.y, pred)
        value, n_rounds = _value_of_groups(data, parts, groups, log_lik), n_rounds + 1
        # The noise has a say in the ridge of linear experts; other ones have a fit each.
        settled = not hasattr(parts.experts, "coef") or value <= before + watch.tol
        if settled or n_rounds >= watch.max_iter:
            break
        before = value
    shares = data.weight @ groups
    constant = np.tile(shares / shares.sum(), (len(groups), 1))
    parts.gate, log_gate = gate_step(parts.gate, data, constant)
    state, _ = _judged(data, parts, log_gate, log_lik, resp=groups, gate_resp=constant)
    watch.update(state.value, load(log_gate, data.weight), n_rounds)
    watch.converged = settled
    return state


def _value_of_groups(data, parts, groups, log_lik):
    """What experts that are alone on their groups climb, per row."""
    inside = data.weight @ np.where(groups > 0, groups * log_lik, 0.0).sum(axis=1)
    inside += parts.likelihood.log_prior() - parts.experts.penalty()
    return inside / data.total_weight


def _gate_alone(data, state, watch):
    """The gate on the likelihood of a mixture whose experts and noise stay as they are."""
    best, parts, log_lik = state, state.parts.keep(), state.log_lik
    smooth = has_strength(parts.gate) and isinstance(data.gate_X, Design)
    log_gate, resp = state.log_gate, _judged(data, parts, state.log_gate, log_lik)[1]
    while True:
        if smooth:
            parts.gate = descend(data, parts.gate, log_loss(data, log_lik))
            log_gate = parts.gate.log_proba(data.gate_X)
        else:
            parts.gate, log_gate = gate_step(parts.gate, data, resp, log_gate)
        found, after = _judged(
            data, parts.keep(), log_gate, log_lik, resp=state.resp, gate_resp=resp
        )
        watch.update(found.value, load(log_gate, data.weight))
        best = found if found.value > best.value else best
        if smooth or watch.stop:
            break
        resp = after
    watch.converged |= smooth
    return best


def _all_together(data, state, watch, solver):
    """All parts by the solver; those of the state if they end no higher."""
    resp = _judged(data, state.parts, state.log_gate, state.log_lik)[1]
    found = solver.fit(data, state.parts, watch, resp)
    same = found.experts.n_experts == state.parts.experts.n_experts
    if same and not found.objective > state.value:
        return state
    parts = Parts(found.gate, found.experts, found.likelihood)
    return _State(parts, found.objective, None, None, found.unexplained, found.resp)
