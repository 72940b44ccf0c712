"""Rounds of joint boosting: where a fit stands, and one step of all its parts."""

import copy

import numpy as np
import scipy.special

from .._em import load
from .._fit import left_to_experts
from .._forest import TreeGrower
from .._ops import get_ops
from ..experts._outputs import MeanOutput
from ..experts._slots import make_slots
from ..experts.additive import AdditiveExperts
from ..gates.additive import normalised
from ._base import drawn
from ._record import Record

# Curvature of a gating logit of a row, g (1 - g), at an even chance of few experts.
_GATE_CURVATURE = 0.1
# EM of shares and scales alone, before the first round.
_START_STEPS = 20
_WIDEST = 2.0


class Rows:
    """What all rounds of a fit share.

    Parameters
    ----------
    data : FitData
    law : Means or Classes
    ground : Ground
    codes : ndarray of shape (d, n) of uint8
        Of the features.
    base : ndarray of shape (S, n)
        Out of fold.
    gate_ground : Ground
        ``ground``, or one of the gate's own columns.
    """

    def __init__(self, data, law, ground, codes, base, gate_ground):
        self.data, self.law, self.ground, self.base = data, law, ground, base
        self.codes = ground.joined(codes, base)
        self.gate_ground, self.gate_codes = gate_ground, self.codes
        if gate_ground is not ground:
            self.gate_codes = gate_ground.binner.transform(data.gate_X)
        self.table = ground.table(data.X, base)


class State:
    """Parts in training and what they say of all rows, held out or not.

    Parameters
    ----------
    rows : Rows
    template : AdditiveExpert
    names : list of K str
    gate : AdditiveGate
        Not started.
    likelihood : likelihood
        Started.
    weight : ndarray of shape (n,)
        Zero for rows that are held out.
    seed : int
    corrections : bool
    """

    def __init__(self, rows, template, names, gate, likelihood, weight, seed, corrections):
        self.rows, self.template, self.weight = rows, template, weight
        self.corrections, self.rng = corrections, np.random.default_rng(seed)
        self.train = np.flatnonzero(weight > 0)
        law, data = rows.law, rows.data
        self.experts = AdditiveExperts(names, rows.ground, law.n_scores, data.n_classes)
        table = gate.numbers(data.gate_X, rows.base if rows.gate_ground.has_base else None)
        self.gate = gate.start(rows.gate_ground, table, weight, len(names))
        self.design = self.gate.design(table)
        self.factor = self.gate.factor(self.design, weight) if gate.linear else None
        self.likelihood = copy.copy(likelihood)
        self.slot = None
        if template.learner is not None:
            (self.slot,) = make_slots([template.learner], ["learner of AdditiveExpert"], seed)
        limits = template.max_leaves, template.min_weight * law.row_curvature, template.l2
        n_threads = data.n_threads
        self.grower = TreeGrower(rows.codes, *rows.ground.bins, *limits, n_threads)
        gate_limits = template.max_leaves, template.min_weight * _GATE_CURVATURE, template.l2
        bins = rows.gate_ground.bins
        self.gate_grower = TreeGrower(rows.gate_codes, *bins, *gate_limits, n_threads)
        self.logits = np.zeros((len(names), len(weight)))
        self._climb_ladder()
        self.n_rounds = 0
        self.experts.record = Record(self.gate)
        self._note()

    @property
    def n_experts(self):
        """K."""
        return self.experts.n_experts

    # -- the start: equal experts but for a ladder of scales --------------------------

    def _climb_ladder(self):
        K = self.n_experts
        ladder = _WIDEST ** np.linspace(-1.0, 1.0, K) if K > 1 else np.ones(1)
        self.scores = self.experts.begin(self.rows.base)
        if self.rows.data.n_classes is None:
            error = np.square(self.rows.data.y - self.rows.base.T)
            squares = np.square(ladder)[:, None] * (self.weight @ error)
            self.likelihood.update_sums(squares, np.full(K, self.weight.sum()))
        else:
            self.experts.slant = 1.0 / ladder
            self.scores = self.experts.begin(self.rows.base)
        self.evaluate()
        for _ in range(_START_STEPS if K > 1 else 1):
            shares = self.weight @ self.resp + 1e-3 * self.weight.sum()
            self.logits[:] = np.log(shares / shares.sum())[:, None]
            self._move_scales()
            self.evaluate()
        self.gate.coef_[0] = self.logits[:, 0]

    # -- where things stand --------------------------------------------------------------

    def evaluate(self):
        """Responsibilities (n, K) and log-likelihoods (n,) of all rows."""
        self.log_gate = normalised(self.logits)
        self.pred = self.experts.as_pred(self.scores)
        log_lik = self.likelihood.log_lik(self.rows.data.y, self.pred)
        self.resp, self.loglik = np.empty(log_lik.shape), np.empty(len(log_lik))
        get_ops().e_step(self.log_gate, log_lik, self.resp, self.loglik)

    def held_out(self):
        """Mean log-likelihood of the rows that are not trained on."""
        weight = np.where(self.weight > 0, 0.0, self.rows.data.weight)
        return float(weight @ self.loglik / weight.sum()) + self.rows.data.log_unit

    def objective(self):
        """Penalised mean log-likelihood of the rows that are trained on."""
        data, total = self.rows.data, self.weight.sum()
        inside = self.weight @ self.loglik
        if data.n_classes is None:
            inside += self.likelihood.log_prior()
        return float(inside / total + data.log_unit - self.gate.penalty())

    def load(self):
        """Share (K,) of the rows by their most probable expert."""
        return load(self.log_gate, self.rows.data.weight)

    # -- one round ------------------------------------------------------------------------

    def step(self):
        """Move experts, scales and gate uphill, from the same responsibilities."""
        resp = left_to_experts(self.likelihood, self.rows.data.y, self.pred, self.resp)
        joint = np.ascontiguousarray((self.weight[:, None] * resp).T)
        chosen = drawn(self.train, self.template.subsample, self.rng)
        if self.corrections:
            self._correct(joint, chosen)
        self.pred = self.experts.as_pred(self.scores)
        self._move_scales()
        if self.n_experts > 1:
            self._move_gate(chosen)
        self.experts.forest.close_round()
        self.gate.forest.close_round()
        self.n_rounds += 1
        self.evaluate()
        self._note()

    def _note(self):
        self.experts.record.note(self.gate, self.experts, self.likelihood)

    def _correct(self, joint, chosen):
        law, rate = self.rows.law, self.template.rate
        shaped = self.scores.reshape(self.n_experts, law.n_scores, -1)
        gradients, curvatures = (
            slope.reshape(self.scores.shape) for slope in law.slopes(shaped, joint)
        )
        if self.slot is not None:
            for which in range(len(self.scores)):
                self._learn(which, chosen, gradients[which], curvatures[which], rate)
            return
        for which, tree in enumerate(self.grower.grow_all(chosen, gradients, curvatures)):
            self.experts.forest.add(tree, which, rate, self.scores, self.rows.codes)

    def _learn(self, which, chosen, gradient, curvature, rate):
        """A correction by another learner: least squares on Newton's steps."""
        weight = curvature[chosen]
        rows = chosen[weight > 1e-8 * weight.max()]
        weight = curvature[rows]
        target = gradient[rows] / weight
        slot, output = self.slot, MeanOutput(1)
        fitted = slot.fit(self.rows.table, rows, target, weight, min(10, len(rows)), False)
        self.scores[which] += rate * output(slot.who, fitted, self.rows.table)[:, 0]
        self.experts.learned.append((self.n_rounds, which, slot, fitted, output, rate))

    def _move_scales(self):
        data = self.rows.data
        if data.n_classes is None:
            resp = left_to_experts(self.likelihood, data.y, self.pred, self.resp)
            self.likelihood.update(data.y, self.pred, resp, self.weight)
            return
        if not self.rows.ground.has_base or self.n_experts == 1:
            return
        joint = np.ascontiguousarray((self.weight[:, None] * self.resp).T)
        shaped = self.scores.reshape(self.n_experts, self.rows.law.n_scores, -1)
        gradient, curvature = self.rows.law.slant_slopes(shaped, self.rows.base, joint)
        # A prior that weighs as much as one row keeps factors near one.
        gradient -= self.experts.slant - 1.0
        move = np.clip(self.template.rate * gradient / (curvature + 1.0), -0.1, 0.1)
        self.experts.slant = self.experts.slant + move
        self.scores += np.concatenate([m * self.rows.base for m in move])

    def _move_gate(self, chosen):
        total = self.weight.sum()
        if self.gate.linear:
            slope = self.weight[:, None] * (self.resp - np.exp(self.log_gate))
            added = self.gate.step(self.design, slope, total, self.factor)
            self.logits += np.ascontiguousarray(added.T)
        if not self.gate.trees:
            return
        weights = scipy.special.softmax(self.logits, axis=0)
        gradient = self.weight * (self.resp.T - weights)
        curvature = self.weight * np.maximum(weights * (1.0 - weights), 1e-6)
        for k, tree in enumerate(self.gate_grower.grow_all(chosen, gradient, curvature)):
            self.gate.forest.add(tree, k, self.template.rate, self.logits, self.rows.gate_codes)
