"""EM on candidate sets: an expert is fitted to its own rows, and asked about these only."""

from dataclasses import replace

import numpy as np

from ._em import load, require
from ._failures import ExpertsFailed, keep_survivors
from ._fit import left_to_experts, make_result
from ._gate_step import gate_step, objective_of_rows
from ._ops import get_ops
from .routing import Candidates

# A renewal that changes no larger share of the candidates leaves the objective as it is.
SETTLED = 0.01
# Renewals in a row that raise nothing, after which a fit has converged, and iterations that
# sets are given to raise something.
MAX_FRUITLESS, _TRIAL = 2, 3
# The choice is noisy so many times; then sets are the gate's own.
_NOISY_CHOICES = 3


def fit_routed(data, parts, monitor, resp, *, routing, top_k, balance=None, seed=0):
    r"""Fit a mixture of experts by EM on candidate sets.

    On fixed sets :math:`C_i` it climbs the truncated bound :math:`\sum_i w_i \log
    \sum_{k \in C_i} g_k(x_i) p_k(y_i \mid x_i)` of the log-likelihood, with the whole
    softmax in :math:`g`: so any gate can be trained, on responsibilities that are zero
    outside of the sets, and it learns to put its probability on experts that saw the row.

    Parameters
    ----------
    data : FitData
    parts : Parts
        Started; copied, not changed. The experts have ``fit_predict_rows``.
    monitor : Monitor
        Its history gets ``rows_fitted`` and ``rows_predicted`` (pairs of a row and an
        expert, over all folds) and ``renewed``.
    resp : ndarray of shape (n, K)
        Responsibilities to start from; the first gate is fitted to them.
    routing : TokenRouting or ExpertRouting
    top_k : int
    balance : BalanceBias, default=None
    seed : int, default=0
        Of the noise in the choice of candidates.

    Returns
    -------
    FitResult
        With the parts of the best iterate.

    References
    ----------
    Lücke, J. and Eggert, J. (2010). Expectation truncation and the benefits of preselection
    in training generative models. JMLR 11, 2855-2900.
    """
    require(parts.gate, "fit", "log_proba")
    require(parts.experts, "fit_predict_rows", "predict", "penalty")
    require(parts.likelihood, "log_lik", "update", "log_prior")
    chooser = Chooser(routing, top_k, balance, seed, data.weight)
    return _Routed(data, parts.keep(), monitor, chooser).fit(resp)


class Chooser:
    """Chooses candidate sets, with noise that halves from one choice to the next.

    Attributes
    ----------
    noisy : bool
        Whether there was noise in the last choice.
    """

    def __init__(self, routing, top_k, balance, seed, weight):
        self.routing, self.top_k, self.balance = routing, top_k, balance
        self.weight = weight
        self.rng = np.random.default_rng(seed)
        self.n_choices, self.noisy = 0, False
        self.bias = None

    def __call__(self, log_gate):
        self.bias = self.balanced(log_gate)
        scores = log_gate if self.bias is None else log_gate + self.bias
        size = self.routing.noise * 0.5**self.n_choices
        self.noisy = size > 0.0 and self.n_choices < _NOISY_CHOICES
        noise = size * self.rng.standard_normal(scores.shape) if self.noisy else None
        self.n_choices += 1
        # Experts that fail and are left out may leave fewer than top_k.
        return self.routing.candidates(scores, min(self.top_k, scores.shape[1]), noise)

    def balanced(self, log_gate):
        """The bias (K,) that evens the load of a gate; None without load balancing."""
        if self.balance is None:
            return None
        top_k = min(self.top_k, log_gate.shape[1])
        return self.balance.moved(self.bias, log_gate, top_k, self.weight)


class _Routed:
    """Where a fit stands: parts, candidate sets and responsibilities (n, c) in them."""

    def __init__(self, data, parts, monitor, chooser):
        self.data, self.parts, self.monitor, self.chooser = data, parts, monitor, chooser
        self.log = {"rows_fitted": [], "rows_predicted": [], "renewed": []}
        monitor.history.update(self.log)
        self.best = None
        self.warming = chooser.routing.warm_up > 0
        self.last_choice = 0
        self.fruitless, self.level = 0, -np.inf

    def fit(self, resp):
        """Iterate to the end from responsibilities (n, K)."""
        data, monitor = self.data, self.monitor
        fresh = self._begin(resp)
        while True:
            try:
                log_gate = self._iterate(fresh)
            except ExpertsFailed as failure:
                self.parts, resp = keep_survivors(self.parts, self._spread(), failure, refit=True)
                self.best, self.chooser.bias = None, None
                monitor.restart()
                fresh = self._begin(resp)
                continue
            if monitor.n_iter >= monitor.max_iter:
                break
            fresh = self._next_sets(log_gate)
            if fresh is None:
                break
        kept, fitted_to, unexplained = self.best or (self.parts.keep(), self.fitted_to, 0)
        result = make_result(kept, monitor, fitted_to[0], unexplained, fitted_to[1])
        log_gate = kept.gate.log_proba(data.gate_X)
        return replace(result, routing_bias=self.chooser.balanced(log_gate))

    def _begin(self, resp):
        """The first candidate sets, and responsibilities (n, K) restricted to them."""
        self.parts.gate, log_gate = gate_step(self.parts.gate, self.data, resp)
        n_rows, n_experts = resp.shape
        if self.warming:
            every = np.tile(np.arange(n_experts), (n_rows, 1))
            self.sets = Candidates(every, n_experts)
        else:
            self.sets = self.chooser(log_gate)
        self.resp, self.log_gate = _restricted(self.sets, resp, log_gate), log_gate
        self.own = self.resp
        return self.sets

    def _spread(self):
        return self.sets.spread(self.resp)

    def _iterate(self, fresh):
        """M-steps on the present sets, E-step on fresh ones; returns log_gate (n, K)."""
        data, parts, sets = self.data, self.parts, self.sets
        resp, renewed = self._spread(), fresh is not sets
        mine = resp if self.own is self.resp else sets.spread(self.own)
        parts.gate, log_gate = gate_step(parts.gate, data, resp, self.log_gate)
        self.log_gate = log_gate
        asked = sets.rows
        if renewed:
            asked = [np.union1d(*pair) for pair in zip(sets.rows, fresh.rows, strict=True)]
        dispersion = parts.likelihood.dispersion
        pred, n_fitted = parts.experts.fit_predict_rows(data, mine, dispersion, asked)
        placed = _placed(sets, asked, pred)
        parts.likelihood.update(data.y, placed, self.own, data.weight, sets.indices)
        placed = _placed(fresh, asked, pred) if renewed else placed
        log_lik = parts.likelihood.log_lik(data.y, placed, fresh.indices)
        self.sets, self.resp, self.fitted_to = fresh, np.empty(log_lik.shape), (resp, mine)
        loglik = np.empty(len(log_lik))
        unexplained = _e_step(fresh.take(log_gate), log_lik, self.resp, loglik)
        self.own = left_to_experts(parts.likelihood, data.y, placed, self.resp, fresh.indices)
        self._report(log_gate, loglik, unexplained, n_fitted, sum(map(len, asked)), renewed)
        return log_gate

    def _report(self, log_gate, loglik, unexplained, n_fitted, n_predicted, renewed):
        data = self.data
        for name, value in zip(self.log, (n_fitted, n_predicted, renewed), strict=True):
            self.log[name].append(value)
        value = objective_of_rows(data, self.parts, loglik, log_gate)
        bias = self.chooser.bias
        scores = log_gate if bias is None else log_gate + bias
        if self.monitor.update(value, load(scores, data.weight)):
            self.best = self.parts.keep(), self.fitted_to, unexplained

    def _next_sets(self, log_gate):
        """Candidate sets of the next iteration; None where the fit has converged."""
        monitor, options = self.monitor, self.chooser.routing
        length = options.warm_up if self.warming else options.renew_every
        length = min(length, _TRIAL) if monitor.converged else length
        if monitor.n_iter - self.last_choice < length:
            return self.sets
        noisy = self.chooser.noisy and not self.warming
        fresh = self.chooser(log_gate)
        self.last_choice = monitor.n_iter
        if self.warming:
            # The objective of all experts is above any on fewer: it does not count.
            self.warming, self.best = False, None
            monitor.restart()
            return fresh
        if noisy or self.chooser.noisy:
            monitor.restart(forget=False)
            return fresh
        # From here on renewals do not restart the judgement of what still rises.
        self.fruitless = self.fruitless + 1 if monitor.reference <= self.level else 0
        self.level = monitor.reference
        settled = share_changed(self.sets, fresh) <= SETTLED
        # A patient monitor has waited for longer than a renewal already.
        most = 1 if monitor.patience > _TRIAL else MAX_FRUITLESS
        if monitor.converged and (settled or self.fruitless >= most):
            return None
        return fresh


def _restricted(sets, resp, log_gate):
    """Responsibilities (n, K) on candidates (n, c); the gate's where nothing is left."""
    own = sets.take(resp, fill=0.0)
    total = own.sum(axis=1, keepdims=True)
    gate = np.exp(sets.take(log_gate))
    own = np.where(total > 1e-6, own, gate)
    return own / np.maximum(own.sum(axis=1, keepdims=True), 1e-300)


def _placed(sets, asked, pred):
    """Predictions (n, c, P) of candidates among those of the rows that were asked for."""
    pairs = zip(sets.rows, asked, pred, strict=True)
    return sets.place([part[np.searchsorted(all_, rows)] for rows, all_, part in pairs])


def _e_step(log_gate, log_lik, resp, loglik):
    missed = get_ops().e_step(log_gate, log_lik, resp, loglik)
    if missed:
        # Such rows got the gate's probabilities, which do not sum to one in a set.
        resp /= np.maximum(resp.sum(axis=1, keepdims=True), 1e-300)
    return missed


def share_changed(old, new):
    """Share of the new candidates that are not among the old ones."""
    return np.count_nonzero(new.mask() & ~old.mask()) / new.n_pairs
