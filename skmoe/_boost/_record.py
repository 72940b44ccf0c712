"""What changes from round to round besides the trees, and a mixture after each of them."""

import copy

import numpy as np

from ..gates.additive import normalised

# Larger slopes of a gate are not kept for every round.
_MOST_SLOPES = 5000


class Record:
    """Slopes of the gate, factors of the base and scales, after each round.

    Attributes
    ----------
    slopes : list of ndarray of shape (1 + q, K), or None
        None: the gate has too many.
    slants : list of ndarray of shape (K,)
    likelihoods : list of likelihood
    """

    def __init__(self, gate):
        self.slopes = [] if gate.coef_.size <= _MOST_SLOPES or not gate.linear else None
        self.slants, self.likelihoods = [], []

    def note(self, gate, experts, likelihood):
        """Keep what is there; none of it is changed in place."""
        if self.slopes is not None:
            self.slopes.append(gate.coef_)
        self.slants.append(experts.slant)
        self.likelihoods.append(copy.copy(likelihood))


def stages(gate, experts, gate_X, X):
    """A boosted mixture after each round, from round 0, which is the base.

    Parameters
    ----------
    gate : AdditiveGate
    experts : AdditiveExperts
        With a record that has slopes.
    gate_X, X : ndarray or DataFrame of shape (n, d)
        What gate and experts see.

    Yields
    ------
    log_gate : ndarray of shape (n, K)
    pred : ndarray of shape (n, K, P)
    likelihood : likelihood
    """
    record = experts.record
    codes, base = experts.ground.see(X)
    shared = gate.ground is experts.ground
    gate_codes, gate_base = (codes, base) if shared else gate.ground.see(gate_X)
    design = gate.seen_design(gate_X, gate_base)
    table = experts.ground.table(X, base) if experts.learned else None
    # What trees add, apart from slopes and base, whose factors change.
    scores = np.zeros((experts.n_experts * experts.n_scores, codes.shape[1]))
    logits = np.zeros((experts.n_experts, codes.shape[1]))
    for number, likelihood in enumerate(record.likelihoods):
        if number:
            experts.forest.add_to(scores, codes, number - 1, number)
            gate.forest.add_to(logits, gate_codes, number - 1, number)
            experts.add_learned(scores, table, number - 1, number)
        begun = np.concatenate([slant * base for slant in record.slants[number]])
        log_gate = normalised(logits + (design @ record.slopes[number]).T)
        yield log_gate, experts.as_pred(begun + scores), likelihood
