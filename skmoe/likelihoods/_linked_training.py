"""How laws behind links are trained: sums over rows, dispersions, gradients."""

import copy

import numpy as np

from .._ops import numpy_of, ops_of

# Newton steps of dispersions in one M-step, the longest of them, and when they are done.
_MAX_NEWTON, _LONGEST, _SETTLED = 10, 2.0, 1e-6
# Weight of the prior of a dispersion, in rows.
_PRIOR_ROWS = 1.0


class LinkedTraining:
    """What trainers ask of a `LinkedLikelihood`, in terms of what the law says."""

    # -- arrays (K, m, n) ------------------------------------------------------------------

    def _targets(self, y):
        """Columns of an encoded target as arrays (m, n), and the offset (n,) or None."""
        columns = tuple(column.T for column in self.columns(y))
        if isinstance(y, np.ndarray):  # not on a device
            columns = tuple(map(np.ascontiguousarray, columns))
        return columns, (y[:, -1] if self.takes_exposure else None)

    def _split(self, scores, offset):
        """Predictors as a list of arrays from scores (K, P * m, n)."""
        n_experts, _, n_rows = scores.shape
        stacked = scores.reshape(n_experts, self.n_predictors, -1, n_rows)
        eta = [stacked[:, p] for p in range(self.n_predictors)]
        if offset is not None:
            eta[0] = eta[0] + offset
        return eta

    def _thetas(self, experts=None):
        """Dispersions as a list of arrays (K, m, 1), or (k, m, n) of chosen experts."""
        if experts is None:
            return [self.theta_[:, j, :, None] for j in range(self.n_thetas)]
        return [self.theta_[:, j][experts].transpose(1, 2, 0) for j in range(self.n_thetas)]

    def arrays(self, y, pred, experts=None):
        """What densities are functions of: columns, predictors and dispersions, (K, m, n)."""
        columns, offset = self._targets(y)
        scores = numpy_of(pred).ascontiguousarray(pred.transpose(1, 2, 0))
        return columns, self._split(scores, offset), self._thetas(experts)

    def _moved_last(self, pred, experts=None):
        """Predictors and dispersions as lists of arrays (n, K, m)."""
        size = pred.shape[2] // self.n_predictors
        eta = [pred[:, :, p * size : (p + 1) * size] for p in range(self.n_predictors)]
        if experts is None:
            theta = [self.theta_[None, :, j] for j in range(self.n_thetas)]
        else:
            theta = [self.theta_[:, j][experts] for j in range(self.n_thetas)]
        return eta, theta

    # -- what trainers ask -----------------------------------------------------------------

    def log_lik(self, y, pred, experts=None):
        """Log density of an encoded target under each expert: (n, K)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = self.log_density(*self.arrays(y, pred, experts)).sum(axis=1)
        found = np.nan_to_num(found, nan=-np.inf, neginf=-np.inf)
        return numpy_of(found).ascontiguousarray(found.T)

    def n_sums(self, n_pred):
        """Number of sums by expert that `e_block` adds to."""
        return n_pred + 2 * self.n_thetas * (n_pred // self.n_predictors) + 3

    def e_block(self, y, weight, given, gate, scores, joint, sums, curvature=None):
        """E-step of a block of rows; arguments as in ``skmoe._ops.blocks``.

        ``curvature`` (K * P * m, rows), where given, gets what weighs the rows of Grams.
        """
        n_experts, n_rows = gate.shape
        columns, offset = self._targets(y)
        stacked = scores.reshape(n_experts, -1, n_rows)
        eta, theta = self._split(stacked, offset), self._thetas()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            log_lik = self.log_density(columns, eta, theta).sum(axis=1)
            np.add(gate, np.nan_to_num(log_lik, nan=-np.inf, neginf=-np.inf), out=joint)
            load, spread = np.zeros_like(gate, shape=(2, n_experts))
            work = np.empty_like(gate, shape=(4, n_rows))
            total, missed = ops_of(gate).mix(gate, joint, weight, given, work, load, spread)
            own = self._weighted(columns, eta, theta, joint)
        stacked[:], curvatures, thetas = own
        n_pred = stacked.shape[1]
        sums[:, :n_pred] += curvatures.sum(axis=2)
        sums[:, n_pred:-3] += thetas
        sums[:, -3] += spread
        sums[:, -2] += joint.sum(axis=1)
        sums[:, -1] += load
        if curvature is not None:
            curvature[:] = curvatures.reshape(curvature.shape)
        return total, missed

    def _weighted(self, columns, eta, theta, joint):
        """Weighted scores and curvatures (K, P * m, n), and sums (K, 2 * q * m) of dispersions."""
        shape = (len(joint), eta[0].shape[1], joint.shape[1])
        scores, curvatures, by_theta, bent = self.derivatives(columns, eta, theta)
        use, joint = joint[:, None] > 0, joint[:, None]

        def weigh(values):
            # Rows that no expert explains overflow, and say nothing.
            found = np.broadcast_to(joint * values, shape)
            return np.where(use & np.isfinite(found), found, 0.0)

        stacked = np.concatenate([weigh(part) for part in scores], axis=1)
        curved = np.concatenate([weigh(part) for part in curvatures], axis=1)
        if not by_theta:
            return stacked, curved, np.zeros_like(joint, shape=(len(joint), 0))
        sums = [weigh(part).sum(axis=2) for part in (*by_theta, *bent)]
        return stacked, curved, np.concatenate(sums, axis=1)

    def residual_sums(self, y, pred, weights):
        """Weighted scores (n, K, P * m), and sums (K, :) as `e_block` adds up."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = self._weighted(*self.arrays(y, pred, None), np.ascontiguousarray(weights.T))
        scores, curvatures, thetas = found
        sums = np.concatenate([curvatures.sum(axis=2), thetas], axis=1)
        return np.ascontiguousarray(scores.transpose(2, 0, 1)), sums

    def gram_weights(self, y, pred, weights):
        """What weighs rows in Grams: (n, K) of weights give (n, K * P * m)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = self._weighted(*self.arrays(y, pred, None), np.ascontiguousarray(weights.T))
        return np.ascontiguousarray(found[1].reshape(-1, len(y)).T)

    def standard_residual(self, y, pred):
        """Return scores (n, K, P * m) in units of their standard deviations."""
        ones = np.ones((pred.shape[1], len(y)))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scores, curved, _ = self._weighted(*self.arrays(y, pred, None), ones)
        found = scores / np.sqrt(np.maximum(curved, 1e-12))
        return np.clip(np.nan_to_num(found), -30.0, 30.0).transpose(2, 0, 1)

    def curved(self, grams):
        """Return curvatures (K, P * m, D, D) of experts from Grams of `gram_weights`."""
        return grams.reshape(len(self.theta_), -1, *grams.shape[1:])

    # -- dispersions -----------------------------------------------------------------------

    def moved(self, sums, length=1.0):
        """A copy after a Newton step of the dispersions, from sums of `e_block`."""
        if self.n_thetas == 0:
            return self
        fresh = copy.copy(self)
        step = self.flat_gradient(sums) / self.flat_curvature(sums)
        step = np.clip(step, -_LONGEST, _LONGEST).reshape(self.theta_.shape)
        fresh.theta_ = self.theta_ + length * step
        return fresh

    def update(self, y, pred, resp, weight, experts=None):
        """Newton steps of the dispersions, none of which lowers the weighted log-likelihood."""
        if self.n_thetas == 0:
            return
        columns, eta, _ = self.arrays(y, pred, experts)
        weights = (resp * weight[:, None]).T[:, None]
        add = self.adder(weights, experts, eta[0].shape)

        def density(law):
            return add(law.log_density(columns, eta, law._thetas(experts)))

        def slopes(law):
            _, _, scores, bent = law.derivatives(columns, eta, law._thetas(experts))
            return [add(part) for part in scores], [add(part) for part in bent]

        self.climb(density, slopes)

    def climb(self, density, slopes):
        """Newton steps of the dispersions, from sums over rows.

        Parameters
        ----------
        density : callable
            ``density(law)``: weighted log densities (K, m).
        slopes : callable
            ``slopes(law)``: lists of q arrays (K, m), their slopes and curvatures.
        """
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value = density(self) + self._prior(self.theta_)
            for _ in range(_MAX_NEWTON):
                step = self._newton(*slopes(self))
                value, change = self._climbed(density, value, step)
                if change < _SETTLED:
                    break

    def _climbed(self, density, value, step):
        """Take a step for those experts and outputs whose value it raises, halved if need be."""
        before, change = self.theta_, 0.0
        for _ in range(4):
            trial = copy.copy(self)
            trial.theta_ = before + step
            found = density(trial) + self._prior(trial.theta_)
            better = found >= value
            self.theta_ = np.where(better[:, None], trial.theta_, self.theta_)
            change = max(change, float(np.abs(step * better[:, None]).max(initial=0.0)))
            value = np.where(better, found, value)
            if better.all():
                break
            step = np.where(better[:, None], 0.0, 0.25 * step)
        return value, change

    def adder(self, weights, experts, shape):
        """A function that sums weighted values (K, m, n) by expert: (K, m)."""
        if experts is None:
            return lambda values: np.where(weights > 0, weights * values, 0.0).sum(axis=2)
        n_experts, each = len(self.theta_), experts.T.ravel()

        def add(values):
            values = np.where(weights > 0, weights * np.broadcast_to(values, shape), 0.0)
            rows = values.transpose(1, 0, 2).reshape(shape[1], -1)
            return np.stack([np.bincount(each, row, n_experts) for row in rows], axis=1)

        return add

    def _newton(self, gradients, curvatures):
        gradient = np.stack(gradients, axis=1) + self._prior_slope()
        curvature = np.stack(curvatures, axis=1) + self._prior_curvature()
        return np.clip(gradient / np.maximum(curvature, 1e-8), -_LONGEST, _LONGEST)

    def _prior_mask(self):
        mask = [float(name in self.floored) for name in range(self.n_thetas)]
        return numpy_of(self.theta_).asarray(mask)

    def _prior(self, theta):
        """Logarithm of the prior by expert and output: (K, m)."""
        if self.floor <= 0.0 or not self.floored:
            return np.zeros((len(theta), theta.shape[2]))
        relative = theta - np.log(self._base)
        each = self.floor * np.exp(-np.clip(relative, -500, 500)) + relative
        return -0.5 * _PRIOR_ROWS * np.einsum("q,kqm->km", self._prior_mask(), each)

    def _prior_slope(self):
        if self.floor <= 0.0 or not self.floored:
            return 0.0
        relative = np.clip(self.theta_ - np.log(self._base), -500, 500)
        slope = 0.5 * _PRIOR_ROWS * (self.floor * np.exp(-relative) - 1.0)
        return slope * self._prior_mask()[:, None]

    def _prior_curvature(self):
        if self.floor <= 0.0 or not self.floored:
            return 0.0
        return 0.5 * _PRIOR_ROWS * self._prior_mask()[:, None]

    def log_prior(self):
        """Logarithm of the prior of the dispersions, up to a constant."""
        return float(self._prior(self.theta_).sum()) if self.n_thetas else 0.0

    # -- gradient --------------------------------------------------------------------------

    def flat(self):
        """Return dispersions on their unbounded scale, flat."""
        return self.theta_.ravel()

    def with_flat(self, values):
        """A copy with other dispersions."""
        fresh = copy.copy(self)
        fresh.theta_ = np.clip(values, -300.0, 300.0).reshape(self.theta_.shape)
        return fresh

    def _theta_sums(self, sums):
        n_pred = self.n_predictors * self.n_outputs_
        return np.split(sums.squares[:, n_pred:], 2, axis=1)

    def flat_gradient(self, sums):
        """Gradient of log-likelihood and log-prior by the flat parameters."""
        gradient = self._theta_sums(sums)[0].reshape(self.theta_.shape)
        return (gradient + self._prior_slope()).ravel()

    def flat_curvature(self, sums):
        """Diagonal of the expected negative Hessian by the flat parameters."""
        curvature = self._theta_sums(sums)[1].reshape(self.theta_.shape)
        curvature = curvature + self._prior_curvature()
        return np.maximum(curvature, 1e-6 * sums.weight.sum() + 1e-8).ravel()

    def pred_gradient(self, residual):
        """Gradient of the log-likelihood by predictors: the weighted scores (n, K, P * m)."""
        return residual

    def expert_gradient(self, sums):
        """Gradient of the log-likelihood by the coefficients of experts: (D, K, P * m)."""
        return sums.experts

    def pred_curvature(self, sums):
        """Sum over rows of the expected curvature by the predictors: (K, P * m)."""
        return sums.squares[:, : self.n_predictors * self.n_outputs_]

    def n_parameters(self):
        """Number of dispersions."""
        return self.theta_.size
