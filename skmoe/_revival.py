"""Moves between optima: dead experts are re-seeded, the lightest one may be planted anew."""

import copy
from dataclasses import replace

import numpy as np

from ._design import Design
from ._failures import share
from ._fit import Parts
from ._monitor import Monitor
from ._path import posterior, splits_by_gain

# An expert is dead below this fraction of an equal share, for so many iterations.
_DEAD, _DEAD_ITER = 0.1, 5
# Iterations after which a move is judged, and splits that are tried.
_TRIAL_ITER, _MAX_TRIES = 40, 8


def fit_with_moves(fit, data, parts, monitor, resp, *, revive, polish):
    """Fit, and move experts to where they are needed more.

    A move empties an expert and lets it share the rows of the one that gains most from a
    split. It is made if the objective is higher after some iterations, else undone.

    Parameters
    ----------
    fit : callable
        ``fit(data, parts, monitor, resp, until=None) -> FitResult``. One that does not heed
        ``until`` has its experts moved once it has come to an end.
    data, parts, monitor, resp :
        As in `fit_em`.
    revive : bool
        Whether to move dead experts, as soon as they are found.
    polish : int
        Most moves of the lightest expert of a converged fit; the first in vain is the last.

    Returns
    -------
    FitResult
    """
    start, best = parts, None
    watch = _Deaths(monitor, parts, revive)
    while True:
        watch.began, watch.paused = monitor.n_iter, False
        found = fit(data, parts, monitor, resp, until=watch)
        best = found if best is None or found.objective > best.objective else best
        dropped = found.experts.n_experts != start.experts.n_experts
        if dropped or monitor.n_iter >= monitor.max_iter:
            break
        parts, resp = _state(data, found)
        expert = watch.dead(data, resp)
        if expert is None and not watch.paused:
            if polish == 0:
                break
            expert, polish = int(np.argmin(data.weight @ resp)), polish - 1
            watch.hopeless.add(expert)
        if expert is not None:
            trial = _trial(fit, data, start, monitor, _moves(data, parts, resp, expert))
            if trial is not None and trial.objective > found.objective + monitor.tol:
                parts, resp = _state(data, trial)
                watch.hopeless.clear()
            elif not watch.paused and not watch.any_dead(data, resp):
                break
        monitor.restart()
    return replace(
        best, n_iter=monitor.n_iter, converged=monitor.converged, history=monitor.history
    )


class _Deaths:
    """Tells a fit to pause where an expert is dead.

    Attributes
    ----------
    hopeless : set of int
        Experts whose move was in vain.
    began : int
        Iteration from which on loads are looked at.
    paused : bool
        Whether the fit was told to pause, and so has not come to an end.
    """

    def __init__(self, monitor, parts, revive):
        self.monitor, self.revive = monitor, revive
        self.limit = _DEAD / parts.experts.n_experts
        self.hopeless, self.began, self.paused = set(), 0, False

    def __call__(self, monitor):
        loads = monitor.history["load"][self.began :][-_DEAD_ITER:]
        if not self.revive or len(loads) < _DEAD_ITER:
            return False
        idle = np.max(loads, axis=0) < self.limit
        self.paused = any(idle[k] for k in range(len(idle)) if k not in self.hopeless)
        return self.paused

    def any_dead(self, data, resp):
        """Whether one that is not hopeless is dead."""
        return self.dead(data, resp, mark=False) is not None

    def dead(self, data, resp, mark=True):
        """The emptiest dead expert that is worth a move, or None; it counts as tried."""
        if not self.revive:
            return None
        load = self.monitor.history["load"][-1]
        held = data.weight @ resp / data.total_weight
        if mark:  # idle in the gate, but responsible for rows: alive
            self.hopeless |= {k for k in range(len(held)) if load[k] < self.limit <= held[k]}
        dead = [k for k in np.argsort(held) if max(load[k], held[k]) < self.limit]
        dead = [int(k) for k in dead if k not in self.hopeless]
        if not dead:
            return None
        if mark:
            self.hopeless.add(dead[0])
        return dead[0]


def _state(data, result):
    """Parts and responsibilities to go on from."""
    parts = Parts(result.gate, result.experts, result.likelihood)
    crossed = data.folds is not None or hasattr(result.gate, "fit_log_proba")
    return parts, result.resp if crossed else posterior(data, parts)[0]


def _trial(fit, data, start, monitor, moves):
    """The best result of a few iterations from each of some responsibilities, or None."""
    best = None
    for resp in moves:
        judge = Monitor(monitor.tol, _TRIAL_ITER, monitor.patience)
        result = fit(data, start, judge, resp)
        monitor.history["passes"][-1] += sum(judge.history["passes"])
        if best is None or result.objective > best.objective:
            best = result
    return best


def _moves(data, parts, resp, expert):
    """Responsibilities in which an expert shares the rows of another: a list of (n, K)."""
    emptied = resp.copy()
    emptied[:, expert] = 0.0
    if emptied.shape[1] == 1:
        return []
    emptied = share(emptied)
    emptied[:, expert] = 0.0
    pred = None
    if data.folds is not None:  # the experts of folds predict what they have not seen
        pred = copy.copy(parts.experts).fit_predict(data, resp, parts.likelihood.dispersion)
    moves = []
    for other, rows in _splits(data, parts, emptied, pred):
        moved = emptied.copy()
        moved[:, expert] = moved[:, other] * np.where(rows, 0.95, 0.05)
        moved[:, other] -= moved[:, expert]
        moves.append(moved)
    return moves


def _splits(data, parts, resp, pred):
    """Pairs (expert, rows (n,) of bool) that are worth a split."""
    if pred is None and not isinstance(data.X, Design):
        pred = parts.experts.predict(data.X)
    if isinstance(data.gate_X, Design):
        found = splits_by_gain(data, parts, resp, pred)[:_MAX_TRIES]
        return [(k, data.gate_X.dot(d[:, None])[:, 0] > at) for k, d, at in found]
    # Without columns to cut: the rows that the expert with the largest loss explains worst.
    pred = parts.experts.predict(data.X) if pred is None else pred
    log_lik = parts.likelihood.log_lik(data.y, pred)
    loss = np.where(resp > 0, -resp * log_lik, 0.0)
    worst = int(np.argmax(data.weight @ loss))
    own = resp[:, worst] > 0.5
    if not own.any():
        return []
    return [(worst, -log_lik[:, worst] > np.median(-log_lik[own, worst]))]
