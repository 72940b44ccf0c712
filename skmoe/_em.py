"""Expectation maximisation: one pass per iteration where parts are additive."""

from dataclasses import dataclass

import numpy as np

from ._cells import e_step, log_lik_of, resp_of_outputs, seen
from ._failures import ExpertsFailed, keep_survivors
from ._fit import left_to_experts, make_result, objective_value
from ._gate_step import gate_step, improve_gate, objective_of_rows
from ._ops import on_host
from ._sweep import can_sweep, sweeper_of, weighs_grams

# Halvings of a gate step that lowers the objective, before it is dropped.
_MAX_HALVINGS = 4
# Steps of experts on the first responsibilities where one is not exact, and the rise per
# row that is promised when they may end.
_MAX_FIRST, _FIRST_RISE = 8, 1e-3


def require(part, *methods):
    """Raise if a part lacks a method that a trainer needs."""
    for method in methods:
        if not callable(getattr(part, method, None)):
            raise TypeError(
                f"{type(part).__name__} has no method {method!r}, which the solver needs; "
                f"add it, or use another part or solver."
            )


def fit_em(data, parts, monitor, resp, *, accelerate=True, until=None, assign=None):
    """Fit a mixture of experts by EM.

    Parameters
    ----------
    data : FitData
    parts : Parts
        Started parts; they are copied, not changed. A gate that is fitted already
        is improved from where it stands.
    monitor : Monitor
    resp : ndarray of shape (n, K) or None
        Responsibilities to start from; None: start from the parts as they stand, which
        only additive ones can.
    accelerate : bool, default=True
        Whether to extrapolate pairs of steps (SQUAREM) where parts are additive.
    until : callable, default=None
        ``until(monitor)``; a true value after an iteration ends the fit.
    assign : callable, default=None
        ``assign(resp) -> resp``, what is fitted in the place of responsibilities; one
        expert is then fitted after the other, also where parts are additive.

    Returns
    -------
    FitResult
        With the parts of the best iterate.
    """
    require(parts.gate, "fit", "log_proba")
    require(parts.experts, "fit_predict", "predict", "penalty")
    require(parts.likelihood, "log_lik", "update", "log_prior")
    until = until or _never
    if assign is None and is_additive(data, parts):
        return _fit_additive(data, parts.keep(), monitor, resp, accelerate, until)
    return _fit_general(data, parts.keep(), monitor, resp, until, assign)


def _never(monitor):
    return False


def is_additive(data, parts):
    """Whether one sweep over the rows gives all that an iteration needs."""
    return (
        can_sweep(data, parts)
        and (hasattr(parts.gate, "block_step") or hasattr(parts.gate, "updated"))
        and (weighs_grams(parts) or hasattr(parts.likelihood, "update_sums"))
        and parts.experts.additive(data)
        and not getattr(parts.gate, "has_l1", False)
    )


# -- general: any experts, any gate ---------------------------------------------------


def _fit_general(data, parts, monitor, resp, until=_never, assign=None):
    log_gate, best, unexplained = None, None, 0
    resp = np.array(resp_of_outputs(parts.gate, resp, data.y.shape[-1]), dtype=np.float64)
    own, turn = seen(resp, data.observed), _turns_of(data, assign)
    saved = monitor.resume("em")
    if saved is not None:
        parts, resp, own, log_gate, best, unexplained = saved["loop"]
        own = resp if own is None else own
        if best is not None:
            monitor.keep(best[0], unexplained, *best[1:])
    while True:
        try:
            pred = parts.experts.fit_predict(data, own, parts.likelihood.dispersion)
        except ExpertsFailed as failure:
            parts, resp = keep_survivors(parts, resp, failure, refit=True)
            own, best, log_gate = resp, None, None
            monitor.restart()
            continue
        found = turn(parts, pred, resp, own, log_gate)
        if monitor.update(found.value, found.load):
            kept = (parts.keep(), resp, None if own is resp else own)
            best, unexplained = kept, found.missed
            monitor.keep(kept[0], unexplained, *kept[1:])
        if monitor.stop or until(monitor):
            break
        resp, log_gate = found.resp, found.log_gate
        own = turn.left(parts, pred, resp)
        loop = (parts, resp, None if own is resp else own, log_gate, best, unexplained)
        monitor.save("em", lambda loop=loop: {"loop": loop})
    kept, resp, own = best if best is not None else (parts.keep(), resp, None)
    return make_result(kept, monitor, resp, unexplained, own)


@dataclass
class Turn:
    """What an iteration found: posteriors (n, K), log_gate where it is kept, and more.

    Attributes
    ----------
    resp : ndarray of shape (n, K)
    log_gate : ndarray of shape (n, K) or None
    missed : int
        Rows that no expert explains.
    value : float
        Of the objective.
    load : ndarray of shape (K,)
    """

    resp: np.ndarray
    log_gate: np.ndarray | None
    missed: int
    value: float
    load: np.ndarray


class HostTurns:
    """All of an EM iteration but the fits of experts.

    Parameters
    ----------
    data : FitData
    assign : callable, default=None
        As of `fit_em`.
    """

    def __init__(self, data, assign=None):
        self.data, self.assign = data, assign

    def __call__(self, parts, pred, resp, own, log_gate):
        """M-steps of gate and noise, in place, and the E-step.

        Parameters
        ----------
        parts : Parts
        pred : ndarray of shape (n, K, P)
        resp, own : ndarray of shape (n, K)
            What the gate is fitted to, and what experts were.
        log_gate : ndarray of shape (n, K) or None
            Of the gate as it stands.

        Returns
        -------
        Turn
        """
        data, pred = self.data, on_host(pred)
        parts.gate, log_gate = gate_step(parts.gate, data, resp, log_gate)
        parts.likelihood.update(data.y, pred, own, data.weight)
        several = log_gate.ndim == 3
        log_lik = log_lik_of(parts.likelihood, data.y, pred, data.observed, several)
        found, loglik = np.empty(resp.shape), np.empty(len(resp))
        missed = e_step(log_gate, data.within(log_lik), found, loglik)
        value = objective_of_rows(data, parts, loglik, log_gate)
        found = found if self.assign is None else self.assign(found)
        return Turn(found, log_gate, missed, value, load(log_gate, data.weight))

    def left(self, parts, pred, resp):
        """What experts are fitted to next: less than ``resp`` where rows may be noise."""
        own = left_to_experts(parts.likelihood, self.data.y, on_host(pred), resp)
        return seen(own, self.data.observed)


def _turns_of(data, assign):
    """What makes the turns of a fit, wherever its rows are."""
    elsewhere = data.turns() if assign is None and hasattr(data, "turns") else None
    return HostTurns(data, assign) if elsewhere is None else elsewhere


def load(log_gate, weight):
    """Share of the rows whose most probable expert is k: (n, K) -> (K,).

    With gates (n, K, m) of each output, its mean over outputs.
    """
    if log_gate.ndim == 3:
        return np.mean([load(log_gate[:, :, j], weight) for j in range(log_gate.shape[2])], axis=0)
    top = np.argmax(log_gate, axis=1)
    return np.bincount(top, weights=weight, minlength=log_gate.shape[1]) / weight.sum()


# -- additive: one sweep an iteration ----------------------------------------------------


def _fit_additive(data, parts, monitor, resp, accelerate, until):
    saved = monitor.resume("em")
    climb = _Climb(data, monitor)
    if saved is None:
        climb.begin(parts, resp)
    else:
        climb.go_on(saved)
    while not (monitor.stop or until(monitor)):
        monitor.save("em", climb.state)
        start = climb.parts.flat()
        if not climb.step():
            break
        if not accelerate:
            continue
        first = climb.parts.flat()
        second = climb.proposal().flat()
        climb.jump(_extrapolated(start, first, second))
    return make_result(climb.kept, monitor, None, climb.unexplained)


def _extrapolated(start, first, second):
    """SQUAREM, scheme S3 of Varadhan and Roland (2008)."""
    r = first - start
    v = second - first - r
    size = np.linalg.norm(v)
    length = max(1.0, np.linalg.norm(r) / size) if size > 0 else 1.0
    return start + 2.0 * length * r + length**2 * v


class _Climb:
    """EM steps by sweeps, none of which lowers the objective.

    ``parts`` are where the fit stands, ``sums`` and ``value`` what the sweep there gave.
    """

    def __init__(self, data, monitor):
        self.data, self.monitor = data, monitor
        self.sweeper = sweeper_of(data)

    def begin(self, parts, resp):
        """Fit parts to the first responsibilities; without, look where they stand."""
        if resp is None:
            self._report(parts, *self._look(parts), 1)
            return
        data = self.data
        improve_gate(parts.gate, data, resp)
        for _ in range(_MAX_FIRST if weighs_grams(parts) else 1):
            sums = self.sweeper(parts, resp=resp, grams=True)
            if _update_experts(parts, sums) < _FIRST_RISE * data.total_weight:
                break
        self._report(parts, *self._look(parts), self.sweeper.n_passes + 1)

    def state(self):
        """What `go_on` needs."""
        names = ("parts", "sums", "value", "kept", "unexplained")
        held = {name: vars(self)[name] for name in names}
        return {"climb": held, "sweeper": self.sweeper.state()}

    def go_on(self, state):
        """Stand where another fit stood."""
        vars(self).update(state["climb"])
        self.sweeper.restore(state["sweeper"])
        self.monitor.keep(self.kept, self.unexplained)

    def proposal(self):
        """Parts after an EM step that is not guarded."""
        moved = self.parts.keep()
        moved.gate = next(self._gates())
        _update_experts(moved, self.sums)
        return moved

    def step(self):
        """One guarded EM step; returns whether to go on."""
        passes = self.sweeper.n_passes
        for moved in self._candidates():
            sums, value = self._look(moved)
            if value >= self.value - 1e-12 * max(1.0, abs(self.value)):
                break
        self._report(moved, sums, value, self.sweeper.n_passes - passes)
        return not self.monitor.stop

    def jump(self, values):
        """Move to extrapolated parameters if they are no worse."""
        if not np.isfinite(values).all():
            return
        moved = self.parts.with_flat(values)
        sums, value = self._look(moved)
        if value >= self.value:
            self._report(moved, sums, value, 1)

    def _look(self, parts):
        sums = self.sweeper(parts, grams=True)
        return sums, objective_value(self.data, sums.loglik, parts, sums.evidence)

    def _candidates(self):
        """Parts after an M-step to try in turn, until one does not lower the objective.

        Where the M-step of experts is exact, that of the gate alone is shortened; else both.
        """
        moved, scored = self.parts.keep(), weighs_grams(self.parts)
        _update_experts(moved, self.sums)
        for halving, moved.gate in enumerate(self._gates()):
            if scored and halving > 0:
                moved.experts, moved.likelihood = self.parts.experts, self.parts.likelihood
                _update_experts(moved, self.sums, 0.5**halving)
            yield moved
        if not scored:
            return
        for halving in range(_MAX_HALVINGS, 2 * _MAX_HALVINGS):
            moved = self.parts.keep()
            _update_experts(moved, self.sums, 0.25**halving)
            yield moved
        yield self.parts

    def _gates(self):
        """Improved gates to try in turn, until one does not lower the objective."""
        gate = self.parts.gate
        grams = self.sums.gram if self.sums.gate_gram is None else self.sums.gate_gram
        if hasattr(gate, "updated"):  # its M-step is exact
            yield gate.updated(grams)
            return
        grams = self.sums.gate_curvature[:, None, None] * grams
        step = gate.block_step(self.sums.gate, grams, self.data.total_weight)
        for halving in range(_MAX_HALVINGS + 1):
            yield gate.moved(0.5**halving * step)
        yield gate

    def _report(self, parts, sums, value, passes):
        self.parts, self.sums, self.value = parts, sums, value
        if self.monitor.update(value, sums.load / self.data.total_weight, passes):
            self.kept, self.unexplained = parts, sums.unexplained
            self.monitor.keep(parts, sums.unexplained)


def _update_experts(parts, sums, length=1.0):
    """M-step of experts and likelihood; returns the rise that a step promises."""
    if weighs_grams(parts):
        parts.experts, rise = parts.experts.moved(sums.linear(), parts.likelihood, length)
        parts.likelihood = parts.likelihood.moved(sums, length)
        return rise
    squares = parts.experts.update(sums.linear(), parts.likelihood.dispersion)
    parts.likelihood.update_sums(squares, sums.weight, sums.load.sum())
    return 0.0
