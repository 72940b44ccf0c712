"""Joint gradient training on candidate sets that are fixed in stages."""

from dataclasses import replace

import numpy as np

from ._fit import Parts, make_result
from ._gate_step import gate_step
from ._joint import fit_joint
from ._monitor import Monitor
from ._routed import MAX_FRUITLESS, SETTLED, Chooser, share_changed
from ._whole import responsibilities


def fit_routed_joint(
    data, parts, monitor, resp, *, routing, top_k, balance=None, seed=0, warm_up=50, **options
):
    """Fit a mixture of linear experts by L-BFGS on candidate sets.

    The objective is that of `fit_routed`. Sets are fixed within a stage. While their choice
    is noisy, a stage has ``routing.renew_every`` iterations; afterwards it ends where it has
    converged, and the fit ends where that leaves the sets as they are. Experts outside of a
    set are masked, so that a pass costs as much as a dense one.

    Parameters
    ----------
    data : FitData
    parts : Parts
        Started; copied, not changed.
    monitor : Monitor
        Its history gets ``renewed``.
    resp : ndarray of shape (n, K)
        Responsibilities to start from; the first gate is fitted to them.
    routing : TokenRouting or ExpertRouting
    top_k : int
    balance : BalanceBias, default=None
    seed : int, default=0
        Of the noise in the choice of candidates.
    warm_up : int, default=50
        Most EM iterations in the first stage.
    **options
        Further ones of `fit_joint`.

    Returns
    -------
    FitResult
        Of the stage that ended highest.
    """
    chooser = Chooser(routing, top_k, balance, seed, data.weight)
    parts = parts.keep()
    parts.gate, log_gate = gate_step(parts.gate, data, resp)
    fit = _Stages(data, monitor, options)
    if routing.warm_up:
        # The objective of all experts is above any on fewer: it does not count.
        parts, resp, _ = fit.stage(None, parts, resp, routing.warm_up, warm_up)
        fit.forget()
        log_gate = parts.gate.log_proba(data.gate_X)
    sets = chooser(log_gate)
    while True:
        left = monitor.max_iter - monitor.n_iter
        if left <= 0:
            break
        most = min(left, routing.renew_every) if chooser.noisy else left
        parts, resp, arrived = fit.stage(sets, parts, resp, most, warm_up)
        warm_up = 1
        fresh = chooser(parts.gate.log_proba(data.gate_X))
        same = not chooser.noisy and share_changed(sets, fresh) <= SETTLED
        if arrived and (same or fit.fruitless >= MAX_FRUITLESS):
            monitor.converged = True
            break
        sets = fresh
    result = fit.result()
    return replace(result, routing_bias=chooser.balanced(result.gate.log_proba(data.gate_X)))


class _Stages:
    """Runs stages of one fit and keeps the best."""

    def __init__(self, data, monitor, options):
        self.data, self.monitor, self.options = data, monitor, options
        self.renewed = monitor.history.setdefault("renewed", [])
        self.forget()

    def forget(self):
        """Keep nothing of what has been so far."""
        self.best, self.fruitless = None, 0

    def stage(self, sets, parts, resp, most, warm_up):
        """Train on fixed sets (None for all experts).

        Returns parts, their responsibilities (n, K) on the sets, and whether they converged.
        """
        monitor = self.monitor
        data = self.data if sets is None else replace(self.data, candidates=sets.mask())
        stage = Monitor(monitor.tol, most, monitor.patience)
        if sets is not None:
            resp = _restricted(data.candidates, resp, parts.gate.log_proba(data.gate_X))
        result = fit_joint(data, parts, stage, resp, warm_up=warm_up, **self.options)
        self.renewed += [monitor.n_iter > 0] + [False] * (stage.n_iter - 1)
        for record in zip(*stage.history.values(), strict=True):
            monitor.record(*record)
        risen = self.best is None or result.objective > self.best.objective + monitor.tol
        self.fruitless = 0 if risen else self.fruitless + 1
        if self.best is None or result.objective > self.best.objective:
            self.best = result
        parts = Parts(result.gate, result.experts, result.likelihood)
        return parts, responsibilities(data, parts), stage.converged

    def result(self):
        """The best stage as the result of the fit."""
        best = self.best
        self.monitor.best = best.objective
        parts = Parts(best.gate, best.experts, best.likelihood)
        return make_result(parts, self.monitor, None, best.unexplained)


def _restricted(candidates, resp, log_gate):
    """Responsibilities (n, K) on the candidates; the gate's where nothing is left."""
    own = np.where(candidates, resp, 0.0)
    gate = np.where(candidates, np.exp(log_gate), 0.0)
    own = np.where(own.sum(axis=1, keepdims=True) > 1e-6, own, gate)
    return own / np.maximum(own.sum(axis=1, keepdims=True), 1e-300)
