"""All rows at once: what a sweep sums up, where it cannot go block by block."""

import numpy as np

from ._cells import e_step, log_lik_of, resp_of_outputs, seen, weighted
from ._em import load, require
from ._fit import left_to_experts
from ._sweep import Sums, is_linear, weighs_grams


def evaluator_of(data):
    """What gives the sums of all rows of a fit, wherever these are."""
    return data.evaluator() if hasattr(data, "evaluator") else WholeEvaluator(data)


class WholeEvaluator:
    """Gives the sums of a `Sweeper` from arrays (n, K) and the parts' own gradients.

    It asks of the gate ``log_proba(X)`` and ``resp_gradient(X, resp, weight)``, the
    gradient of ``sum_i weight_i sum_k resp_ik log g_k(x_i)`` by the gate's flat
    parameters; of the experts ``predict_with_gradient``; of the likelihood ``log_lik``,
    ``residual_sums`` and, for experts without coefficients of columns, ``pred_gradient``.
    It knows of a penalty on uneven experts and of candidate sets, which a sweep does not.

    Parameters
    ----------
    data : FitData
        With a view for the experts.

    Attributes
    ----------
    n_passes : int
        Passes made so far.
    """

    def __init__(self, data):
        self.data = data
        self.n_passes = 0

    def state(self):
        """As of `Sweeper`."""
        return {"n_passes": self.n_passes}

    def restore(self, state):
        """As of `Sweeper`."""
        self.n_passes = state["n_passes"]

    def __call__(self, parts, *, resp=None, grams=False):
        """One pass; arguments and result as of `Sweeper`.

        ``gate`` of the result is flat, in the order of the gate's parameters, and Grams
        are those of the experts only. For experts without coefficients of columns
        ``experts`` is the gradient of the log-likelihood by their flat parameters.
        """
        self.n_passes += 1
        data, experts = self.data, parts.experts
        log_gate = parts.gate.log_proba(data.gate_X)
        pred, pull_back = experts.predict_with_gradient(data.X)
        if hasattr(parts.likelihood, "blend"):
            return self._blended(parts, log_gate, pred, pull_back)
        found, loglik, unexplained = self._e_step(parts, log_gate, pred)
        own = resp
        if resp is None:
            resp, own = found, left_to_experts(parts.likelihood, data.y, pred, found)
        resp, own = (resp_of_outputs(parts.gate, one, pred.shape[2]) for one in (resp, own))
        weights = weighted(seen(own, data.observed), data.weight)
        residual, squares = parts.likelihood.residual_sums(data.y, pred, weights)
        if not is_linear(experts):
            residual = parts.likelihood.pred_gradient(residual)
        targets, uneven = resp, 0.0
        if data.balance is not None:
            targets = resp + data.balance.correction(log_gate, data.weight)
            uneven = data.balance.value(log_gate, data.weight)
        return Sums(
            float(data.weight @ loglik),
            unexplained,
            parts.gate.resp_gradient(data.gate_X, targets, data.weight).ravel(),
            pull_back(residual),
            self._by_expert(log_gate, weights, squares),
            data.X.grams(_gram_weights(data, parts, pred, weights)) if grams else None,
            self._gate_grams(parts, weights) if grams else None,
            uneven=uneven,
            by_output=weights.sum(axis=0) if weights.ndim == 3 else None,
        )

    def _blended(self, parts, log_gate, pred, pull_back):
        """The sums where the loss is that of the output of all experts together."""
        data = self.data
        value, by_log_gate, by_pred = parts.likelihood.blend(data, log_gate, pred)
        gate = np.exp(log_gate if log_gate.ndim == 2 else log_gate.mean(axis=2))
        weights = weighted(gate, data.weight)
        squares = np.zeros((pred.shape[1], pred.shape[2]))
        return Sums(
            float(data.weight @ value),
            0,
            parts.gate.resp_gradient(data.gate_X, by_log_gate, data.weight).ravel(),
            pull_back(weighted(by_pred, data.weight)),
            self._by_expert(log_gate, weights, squares),
            None,
            None,
        )

    def _gate_grams(self, parts, weights):
        """Grams of a gate with coefficients, where they are not those of the experts."""
        design = self.data.gate_X
        if not hasattr(parts.gate, "block_coef"):
            return None
        if design.same_columns(self.data.X) and not weighs_grams(parts):
            return None
        return design.grams(weights)

    def _e_step(self, parts, log_gate, pred):
        """Responsibilities (n, K), log-likelihood (n,) and the number of unexplained rows."""
        data, several = self.data, log_gate.ndim == 3
        log_lik = data.within(log_lik_of(parts.likelihood, data.y, pred, data.observed, several))
        resp, loglik = np.empty(log_lik.shape), np.empty(len(log_lik))
        return resp, loglik, e_step(log_gate, log_lik, resp, loglik)

    def _by_expert(self, log_gate, weights, squares):
        weight, gate = self.data.weight, np.exp(log_gate)
        spread = _mean_by_expert(np.tensordot(weight, gate * (1.0 - gate), 1))
        top = load(log_gate, weight) * weight.sum()
        totals = _mean_by_expert(weights.sum(axis=0))
        return np.column_stack([squares, spread, totals, top])


def _mean_by_expert(sums):
    """Sums (K,) as they are; the mean over outputs of (K, m)."""
    return sums if sums.ndim == 1 else sums.mean(axis=1)


def _gram_weights(data, parts, pred, weights):
    """What weighs rows in the experts' Grams."""
    if not weighs_grams(parts):
        return weights
    return parts.likelihood.gram_weights(data.y, pred, weights)


def responsibilities(data, parts):
    """Responsibilities (n, K) of the candidates."""
    log_gate, pred = parts.gate.log_proba(data.gate_X), parts.experts.predict(data.X)
    return WholeEvaluator(data)._e_step(parts, log_gate, pred)[0]


def require_gradients(parts):
    """Raise if a part lacks what an evaluation of all rows asks of it."""
    require(parts.gate, "resp_gradient", "penalty_gradient")
    require(parts.experts, "predict_with_gradient", "penalty_gradient")
    if hasattr(parts.likelihood, "blend"):
        return
    require(parts.likelihood, "residual_sums")
    if not is_linear(parts.experts):
        require(parts.likelihood, "pred_gradient")
