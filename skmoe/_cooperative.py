"""Training for the prediction that experts make together, in the place of the likelihood."""

import numpy as np

from ._cells import by_output, e_step, log_lik_of, seen
from ._fit import Parts
from ._monitor import Monitor
from ._ops import numpy_of, ops_of

# Iterations that estimate the noise of trained experts, and the rise per row that ends them.
_NOISE_ITER, _NOISE_RISE = 50, 1e-6


class SquaredLoss:
    """What stands in for the likelihood: half the squared error of the blended output.

    It has no parameters. Errors are in units of the residuals of one linear expert, so that
    penalties weigh about as much as they do against the likelihood.

    Parameters
    ----------
    data : FitData
    n_experts : int
    """

    def __init__(self, data, n_experts):
        self._variance = data.base_variance
        self.dispersion = np.tile(self._variance, (n_experts, 1))

    def blend(self, data, log_gate, pred):
        """Minus the loss of rows, and its derivatives.

        Parameters
        ----------
        data : FitData
        log_gate : ndarray of shape (n, K) or (n, K, m)
        pred : ndarray of shape (n, K, m)

        Returns
        -------
        value : ndarray of shape (n,)
        by_log_gate : ndarray of the shape of ``log_gate``
        by_pred : ndarray of shape (n, K, m)
        """
        gate = by_output(np.exp(log_gate))
        error = (data.y - np.sum(gate * pred, axis=1))[:, None, :]
        if data.observed is not None:
            error = error * data.observed[:, None, :]
        by_pred = gate * error / self._variance
        by_log_gate = by_pred * pred
        value = -0.5 * np.sum(np.square(error[:, 0]) / self._variance, axis=1)
        return value, by_log_gate if log_gate.ndim == 3 else by_log_gate.sum(axis=2), by_pred

    def n_sums(self, n_outputs):
        """Number of sums by expert that `blend_block` adds to."""
        return n_outputs + 3

    def blend_block(self, y, weight, gate, scores, joint, sums):
        """`blend` of a block on a device; arguments as of ``e_block``, in the same layout.

        On return ``gate`` and ``scores`` are the derivatives by logits and predictions,
        times the weights of rows, and ``joint`` is ``weight * gate_proba``.
        """
        n_experts, n_rows = gate.shape
        joint[:] = gate
        load, spread = np.zeros_like(gate, shape=(2, n_experts))
        work, nothing = np.empty_like(gate, shape=(4, n_rows)), numpy_of(gate).empty((0, 0))
        ops_of(gate).mix(gate, joint, weight, nothing, work, load, spread)
        pred, proba = scores.reshape(n_experts, -1, n_rows), joint / weight
        error = y.T - (proba[:, None] * pred).sum(axis=0)
        slope = error / self._variance[:, None]
        value = -0.5 * (weight * error * slope).sum()
        by_pred = joint[:, None] * slope
        by_log_gate = (by_pred * pred).sum(axis=1)
        gate[:] = by_log_gate - by_log_gate.sum(axis=0) * proba
        pred[:] = by_pred
        sums[:, -3] += spread
        sums[:, -2] += joint.sum(axis=1)
        sums[:, -1] += load
        return value, 0.0

    def pred_gradient(self, residual):
        """What `blend` gives is the gradient by predictions already."""
        return residual

    def pred_curvature(self, sums):
        """Sum over rows of the rough curvature by the prediction: (K, m)."""
        return sums.weight[:, None] / self._variance

    def expert_gradient(self, sums):
        """Gradient by the coefficients of experts: (D, K, m)."""
        return sums.experts

    def log_prior(self):
        """Of no parameters: zero."""
        return 0.0

    def flat(self):
        """No parameters."""
        return np.empty(0)

    def with_flat(self, values):
        """Itself."""
        return self

    def flat_gradient(self, sums):
        """Of no parameters."""
        return np.empty(0)

    def flat_curvature(self, sums):
        """Of no parameters."""
        return np.empty(0)


def check_cooperative(data, parts):
    """Raise where the loss of the blended output cannot train these parts."""
    cure = "use objective='likelihood'."
    likelihood = parts.likelihood
    if not hasattr(likelihood, "of_outputs") or hasattr(likelihood, "expert_resp"):
        raise ValueError(
            f"objective='prediction' is the squared error of the mean, for likelihood='gaussian', "
            f"but likelihood is {type(likelihood).__name__}; {cure}"
        )
    if data.balance is not None or data.candidates is not None:
        raise ValueError(f"objective='prediction' does not go with load_balance or routing; {cure}")
    if getattr(parts.gate, "has_l1", False) or parts.experts.has_l1:
        raise ValueError(f"objective='prediction' does not go with an L1 penalty; {cure}")


def started(data, parts, resp, fit_em):
    """Parts to descend from: those given, or after one EM iteration if the gate is not fitted."""
    fitted = getattr(parts.gate, "__sklearn_is_fitted__", None)
    if fitted is not None and fitted():
        return parts.keep()
    result = fit_em(data, parts, Monitor(0.0, 1), resp, accelerate=False)
    return Parts(result.gate, result.experts, result.likelihood)


def cooperative(data, parts):
    """Parts that share gate and experts, with the squared loss as their likelihood."""
    return Parts(parts.gate, parts.experts, SquaredLoss(data, parts.experts.n_experts))


def with_noise(data, parts, likelihood):
    """Trained parts with dispersions that maximise the likelihood, all else being fixed."""
    likelihood = likelihood.resumed(data)
    log_gate = parts.gate.log_proba(data.gate_X)
    pred = parts.experts.predict(data.X)
    total = -np.inf
    for _ in range(_NOISE_ITER):
        log_lik = log_lik_of(likelihood, data.y, pred, data.observed, log_gate.ndim == 3)
        resp, loglik = np.empty(log_lik.shape), np.empty(len(log_lik))
        e_step(log_gate, log_lik, resp, loglik)
        likelihood.update(data.y, pred, seen(resp, data.observed), data.weight)
        before, total = total, data.weight @ loglik
        if total - before <= _NOISE_RISE * data.total_weight:
            break
    return Parts(parts.gate, parts.experts, likelihood)
