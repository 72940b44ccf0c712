"""Steps of expectation maximisation on batches, by running means of additive statistics."""

import copy
from dataclasses import replace

import numpy as np

from ._sweep import Sums, Sweeper

# An expert without rows is taken to have this part of an equal share.
_LEAST_LOAD = 0.1
_ADDED = ("by_expert", "experts", "gram", "gate_gram")


class StepwiseSteps:
    r"""Stepwise EM: sums over all rows are running means, and M-steps are made from them.

    After a batch the statistics per unit of weight are
    :math:`s \leftarrow (1 - \gamma) s + \gamma s_{batch}`, with the share
    :math:`\gamma` of the batch. Experts, noise and a Gaussian gate take the closed M-step
    of these; a softmax gate moves by the share of a Newton step with their curvature.

    Parameters
    ----------
    data : FitData
        Whose ``total_weight`` is that of all rows so far.
    parts : Parts
        As `is_additive` asks for.
    load : ndarray of shape (K,), default=None
        Share of the rows so far that each expert has, where `begin` is not given them.

    Attributes
    ----------
    parts : Parts
        As they are after the last step.
    sums : Sums or None
        Running statistics, per unit of weight, in terms of the residuals of ``parts``.

    References
    ----------
    Cappe, O. and Moulines, E. (2009). On-line expectation-maximization algorithm for
    latent data models. Journal of the Royal Statistical Society B 71, 593-613.
    """

    averages = True

    def __init__(self, data, parts, load=None):
        self.data, self.parts, self.sums = data, parts, None
        self._load = load

    def begin(self, data):
        """Take the statistics of rows that the parts were fitted to."""
        sums = Sweeper(replace(data, all_weight=None))(self.parts, grams=True)
        self.sums = _times(sums, 1.0 / data.weight.sum())

    def turn(self, data):
        """Go on with other rows, or None."""
        self.data = data

    def twin(self):
        """Steps that go their own way from here."""
        return copy.copy(self)

    def step(self, rows, rate, options=None, dropped=None, resp=None):
        """One step; arguments and result as of `FlatSteps.step`.

        ``rate`` is the share of the batch in the statistics.
        """
        batch = self.data.on(rows)
        found = Sweeper(batch)(self.parts, resp=resp, grams=True)
        fresh = _times(found, 1.0 / batch.total_weight)
        past = self._as_if(fresh) if self.sums is None else self.sums
        mean = _mixed(past, fresh, rate)
        total = self.data.total_weight
        moved = self.parts.keep()
        moved.gate = self._gate(mean, fresh.gate, rate, total)
        whole = _times(mean, total)
        squares = moved.experts.update(whole.linear(), self.parts.likelihood.dispersion)
        moved.likelihood.update_sums(squares, whole.weight, whole.load.sum())
        self.sums = _at_residuals_of(
            mean, moved.experts.coef - self.parts.experts.coef, squares / total
        )
        self.parts = moved
        return found, batch.total_weight

    def settle(self):
        """Return the parts."""
        return self.parts

    def rescaled(self, parts, gate_change, change):
        """The same steps for columns in other units.

        Parameters
        ----------
        parts : Parts
            In the new units.
        gate_change, change : ndarray of shape (D, D)
            What turns a row of old columns into one of new columns, for gate and experts.
        """
        fresh = StepwiseSteps(self.data, parts, self._load)
        if self.sums is not None:
            gate_gram = self.sums.gate_gram
            fresh.sums = replace(
                self.sums,
                gram=change.T @ self.sums.gram @ change,
                gate_gram=None if gate_gram is None else gate_change.T @ gate_gram @ gate_change,
                experts=np.einsum("ij,ikm->jkm", change, self.sums.experts),
            )
        return fresh

    def _gate(self, mean, gradient, rate, total):
        gate = self.parts.gate
        grams = mean.gram if mean.gate_gram is None else mean.gate_gram
        if hasattr(gate, "updated"):  # its M-step is exact
            return gate.updated(total * grams)
        grams = total * mean.gate_curvature[:, None, None] * grams
        return gate.moved(rate * gate.block_step(total * gradient, grams, total))

    def _as_if(self, fresh):
        """What the rows of the fit would give, from a batch: its Grams, but no residual force.

        They are mixed with those of uncorrelated columns, as many rows as there are columns
        of experts, since a batch may have fewer.
        """
        variance = self.parts.likelihood.dispersion
        load = np.full(len(variance), 1.0) if self._load is None else self._load
        load = np.maximum(load / load.sum(), _LEAST_LOAD / len(load))
        batch_weight = self.data.weight.sum()
        share = batch_weight / (batch_weight + fresh.gram[0].size)
        by_expert = share * fresh.by_expert
        by_expert[:, -3:] += (1.0 - share) * load[:, None]
        by_expert[:, :-3] = variance * by_expert[:, [-2]]
        grams = [
            None
            if gram is None
            else share * gram + (1.0 - share) * load[:, None, None] * np.eye(gram.shape[1])
            for gram in (fresh.gram, fresh.gate_gram)
        ]
        return replace(
            fresh,
            by_expert=by_expert,
            experts=np.zeros_like(fresh.experts),
            gram=grams[0],
            gate_gram=grams[1],
        )


def _times(sums, factor):
    """All sums times a factor; counts stay."""
    names = ("loglik", "gate", "evidence", *_ADDED)
    values = {name: getattr(sums, name) for name in names}
    scaled = {name: None if value is None else factor * value for name, value in values.items()}
    return replace(sums, **scaled)


def _mixed(past, fresh, share):
    """Running means after a batch that counts by a share."""
    mixed = {}
    for name in _ADDED:
        new = getattr(fresh, name)
        mixed[name] = None if new is None else (1.0 - share) * getattr(past, name) + share * new
    return replace(fresh, gate=None, **mixed)


def _at_residuals_of(mean: Sums, step, squares):
    """The same statistics in terms of the residuals of coefficients moved by a step."""
    by_expert = mean.by_expert.copy()
    by_expert[:, : squares.shape[1]] = squares
    moved = np.einsum("kij,jkm->ikm", mean.gram, step)
    return replace(mean, by_expert=by_expert, experts=mean.experts - moved)
