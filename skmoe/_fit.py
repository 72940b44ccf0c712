"""What a fit is given, and what it returns."""

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from sklearn.utils import _safe_indexing

from ._design import Design


@dataclass(frozen=True)
class FitData:
    """What never changes during a fit.

    Attributes
    ----------
    gate_X : view, ndarray, CSR matrix or DataFrame of shape (n, d)
        What the gate sees.
    X : view, ndarray, CSR matrix or DataFrame of shape (n, d)
        What the experts see.
    y : ndarray
        Targets (n, m) of float, or class codes (n,) of int.
    weight : ndarray of shape (n,)
        Positive.
    n_classes : int or None
        None for regression.
    y_scale : ndarray of shape (m,) or None
        Weighted standard deviation of the targets; the objective is in its units.
    base_variance : ndarray of shape (m,) or None
        Residual variance of one linear expert.
    folds : tuple of (train, test) or None
        Rows for predictions out of fold.
    n_threads : int
        Threads that share the blocks of a sweep.
    start_X : view of shape (n, d) or None
        Numbers from which starts are looked for; None where ``gate_X`` is such a view.
    balance : BalancePenalty or None
        What the objective loses to uneven importance of the experts.
    all_weight : float or None
        Weight of all rows of a stream, of which these are the present ones.
    candidates : ndarray of shape (n, K) of bool or None
        Experts that may explain each row; all if None.
    observed : ndarray of shape (n, m) of bool or None
        Which targets are known; all if None.
    """

    gate_X: object
    X: object
    y: np.ndarray
    weight: np.ndarray
    n_classes: int | None = None
    y_scale: np.ndarray | None = None
    base_variance: np.ndarray | None = None
    folds: tuple | None = None
    n_threads: int = 1
    start_X: object = None
    balance: object = None
    all_weight: float | None = None
    candidates: np.ndarray | None = None
    observed: np.ndarray | None = None

    def on(self, rows, *, gather=False):
        """The same fit on some rows, without folds; scales stay those of all rows.

        Parameters
        ----------
        rows : ndarray of int
        gather : bool, default=False
            Whether sweeps gather the rows of dense views as they read them; otherwise
            they are copied.

        Returns
        -------
        FitData
        """
        taken = {id(None): None}
        for X in (self.gate_X, self.X, self.start_X):
            if id(X) not in taken:
                taken[id(X)] = _take(X, rows, gather)
        return replace(
            self,
            gate_X=taken[id(self.gate_X)],
            X=taken[id(self.X)],
            start_X=taken[id(self.start_X)],
            y=self.y.take(rows, axis=0),  # a good deal faster than indexing
            weight=self._weight_of(rows),
            folds=None,
            all_weight=None,
            candidates=None if self.candidates is None else self.candidates[rows],
            observed=None if self.observed is None else self.observed[rows],
        )

    def _weight_of(self, rows):
        if self._equal_weight is None:
            return self.weight.take(rows)
        return np.full(len(rows), self._equal_weight)  # random reads take longer than sums do

    @cached_property
    def _equal_weight(self):
        """The weight that all rows have, if so; of arrays on the host."""
        known = isinstance(self.weight, np.ndarray) and len(self.weight) > 0
        return self.weight[0] if known and (self.weight == self.weight[0]).all() else None

    def apart(self, rows):
        """Some rows whose log-likelihood is asked for again and again; as `on`."""
        return self.on(rows)

    def within(self, log_lik):
        """Log-likelihoods (n, K), minus infinity for experts that are no candidates."""
        if self.candidates is None:
            return log_lik
        return np.where(self.candidates, log_lik, -np.inf)

    @cached_property
    def total_weight(self):
        """Sum of the weights; of a stream, those of all its rows."""
        return self.weight.sum() if self.all_weight is None else self.all_weight

    @property
    def log_unit(self):
        """What measuring y in units of its scale adds to the log-likelihood of a row."""
        if self.y_scale is None:
            return 0.0
        if self.observed is None:
            return float(np.log(self.y_scale).sum())
        return float(self.weight @ self.observed @ np.log(self.y_scale) / self.weight.sum())


def _take(X, rows, gather):
    if not isinstance(X, Design):
        return _safe_indexing(X, rows)
    return X.picked(rows) if gather else X.on(X.X[rows])


@dataclass
class Parts:
    """The three parts of a mixture; they replace arrays, so copies are cheap."""

    gate: object
    experts: object
    likelihood: object

    def keep(self):
        """Copies that later updates of the originals leave alone.

        Own parts replace their arrays, so shallow copies do; another gate may write into
        them.
        """
        return Parts(_kept(self.gate), copy.copy(self.experts), copy.copy(self.likelihood))

    def flat(self):
        """All parameters as one vector, unconstrained; for parts that have `flat`."""
        return np.concatenate([self.gate.flat(), self.experts.flat(), self.likelihood.flat()])

    def with_flat(self, values):
        """Copies with other parameters, in the order of `flat`."""
        first = self.gate.flat().size
        second = first + self.experts.flat().size
        return Parts(
            self.gate.with_flat(values[:first]),
            self.experts.with_flat(values[first:second]),
            self.likelihood.with_flat(values[second:]),
        )


def _kept(gate):
    if hasattr(gate, "keep"):
        return gate.keep()
    return copy.copy(gate) if hasattr(gate, "flat") else copy.deepcopy(gate)


@dataclass(frozen=True)
class FitResult:
    """What a trainer returns.

    Attributes
    ----------
    gate, experts, likelihood : fitted parts of the best iterate
    resp : ndarray of shape (n, K) or None
        Responsibilities that the parts were fitted to, where the trainer keeps them.
    objective : float
        Of the best iterate.
    n_iter : int
    converged : bool
    history : dict of list
    unexplained : int
        Rows that no expert of the best iterate explains.
    routing_bias : ndarray of shape (K,) or None
        What load balancing adds to ``log_gate`` in the choice of experts.
    gate_resp : ndarray of shape (n, K) or None
        Responsibilities that the gate was fitted to, if not ``resp``.
    expert_resp : ndarray of shape (n, K) or None
        What experts were fitted to, if not to all of ``resp``.
    """

    gate: object
    experts: object
    likelihood: object
    resp: np.ndarray | None
    objective: float
    n_iter: int
    converged: bool
    history: dict = field(default_factory=dict)
    unexplained: int = 0
    routing_bias: np.ndarray | None = None
    gate_resp: np.ndarray | None = None
    expert_resp: np.ndarray | None = None


def make_result(parts, monitor, resp=None, unexplained=0, expert_resp=None):
    """What a trainer returns, from what it kept."""
    return FitResult(
        parts.gate,
        parts.experts,
        parts.likelihood,
        resp,
        monitor.best,
        monitor.n_iter,
        monitor.converged,
        monitor.history,
        unexplained,
        expert_resp=expert_resp,
    )


def joined_history(history, stage, new):
    """The history with another one appended; ``stage`` names that of each entry.

    Parameters
    ----------
    history : dict of list
    stage : str
        Of the new entries, unless they say it themselves.
    new : dict of list

    Returns
    -------
    dict of list
    """
    n_old, n_new = len(history["objective"]), len(new["objective"])
    known = history.get("stage", ["fit"] * n_old)
    out = {"stage": known + new.get("stage", [stage] * n_new)}
    passed = history["seconds"][-1] if n_old else 0.0
    for key, values in new.items():
        if isinstance(values, list) and key != "stage":
            values = [passed + value for value in values] if key == "seconds" else values
            out[key] = history.get(key, []) + values
    return {**history, **out}


def objective_value(data, sum_loglik, parts, sum_evidence=0.0):
    """The penalised mean log-likelihood that is climbed and monitored.

    Parameters
    ----------
    data : FitData
    sum_loglik : float
        Weighted sum of the log-likelihoods of rows.
    parts : Parts
    sum_evidence : float, default=0.0
        Weighted sum of the gate's log evidence, where the gate is a density of the
        features: its updates climb the joint density of target and features.

    Returns
    -------
    float
    """
    inside = sum_loglik - parts.experts.penalty() + parts.likelihood.log_prior() + sum_evidence
    if hasattr(parts.gate, "log_prior"):
        inside += parts.gate.log_prior()
    gate_penalty = parts.gate.penalty() if hasattr(parts.gate, "penalty") else 0.0
    return inside / data.total_weight + unit_of(data, parts) - gate_penalty


def unit_of(data, parts):
    """What units of the target add to the objective: nothing to the loss of a blend."""
    return 0.0 if hasattr(parts.likelihood, "blend") else data.log_unit


def left_to_experts(likelihood, y, pred, resp, experts=None):
    """Responsibilities (n, K) that experts are fitted to: less where rows may be noise.

    Arguments as in ``likelihood.log_lik``.
    """
    if not hasattr(likelihood, "expert_resp"):
        return resp
    return likelihood.expert_resp(y, pred, resp, experts)


def update_experts(likelihood):
    """The method that updates dispersions of experts, and nothing that all of them share."""
    return getattr(likelihood, "update_experts", likelihood.update)
