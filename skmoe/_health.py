"""What rows say of the experts of a fitted mixture: numbers, without a judgement."""

import zlib

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from ._combine import one_by_one
from ._ops import get_ops

# An expert takes part in a row where it has more than this share of it.
_PART = 0.01
# It contradicts the mixture where it is two standard deviations of its noise away, and a
# share of the variance of the target that matters.
_FAR, _MATERIAL = 4.0, 0.05


def fingerprint(target, gate):
    """What tells the rows of the fit from others: of targets and gate (n, K)."""
    mean = np.round(np.mean(gate, axis=0), 3)
    return target_sum(target), mean.tolist()


def target_sum(target):
    """A checksum of targets."""
    return zlib.crc32(np.ascontiguousarray(target).tobytes())


class Facts:
    """What the rows say of K experts.

    Attributes
    ----------
    gate, used, resp : (n, K) gate probabilities before and after routing, responsibilities
    noise, distance, loss : (n, K) variance of an expert, its squared distance from the
        mixture and from the target, in units of the variance of the target
    loglik : (n,) of the mixture
    replacement : (K, K) log-likelihood lost when k speaks for j
    """

    def __init__(self, model, target, gate, pred, log_lik, weight):
        self.names = model.expert_names_
        self.weight = weight / weight.sum()
        classify = is_classifier(model)
        if classify:
            target = np.eye(len(model.classes_))[target]
        elif hasattr(model.likelihood_, "observed"):
            target = model.likelihood_.observed(target)
        self.scale = _spread(target, self.weight, classify)
        self.gate, log_used = gate
        self.used = np.exp(log_used)
        outputs = one_by_one(model.likelihood_, pred)
        variance = _variance(model.likelihood_, pred, outputs, classify)
        mixed = np.einsum("nk,nkm->nm", self.used, outputs)
        self.error = (target[:, None, :] - outputs) / np.sqrt(self.scale)
        self.loss = np.square(self.error).sum(axis=2)
        self.noise = (variance / self.scale).sum(axis=2)
        self.distance = (np.square(outputs - mixed[:, None]) / self.scale).sum(axis=2)
        self.resp, self.loglik = np.empty(log_lik.shape), np.empty(len(log_lik))
        get_ops().e_step(log_used, log_lik, self.resp, self.loglik)
        self.replacement = self._replacement(log_used, log_lik)

    def mean(self, values):
        """Weighted mean over rows: (n, ...) -> (...)."""
        return np.tensordot(self.weight, values, axes=1)

    def experts(self):
        """A DataFrame with a row per expert."""
        top = self.used.argmax(axis=1)
        load = np.bincount(top, weights=self.weight, minlength=len(self.names))
        used = np.maximum(self.mean(self.used), 1e-300)
        far = self.distance > np.maximum(_FAR * self.noise, _MATERIAL)
        others = self.replacement + np.diag(np.full(len(self.names), np.inf))
        return pd.DataFrame(
            {
                "load": load,
                "importance": self.mean(self.gate),
                "utilisation": self.mean(self.used > _PART),
                "responsibility": self.mean(self.resp),
                "loss": np.diag(self.specialisation()),
                "noise": self.mean(self.used * self.noise) / used,
                "distance": self.mean(self.used * self.distance) / used,
                "disagreement": self.mean(self.used * far) / used,
                "replaceable": others.min(axis=1),
            },
            index=self.names,
        )

    def specialisation(self):
        """Mean loss of expert k on the rows that j leads: (K, K)."""
        leads = np.eye(len(self.names))[self.used.argmax(axis=1)] * self.weight[:, None]
        total = leads.sum(axis=0)[:, None]
        sums = leads.T @ self.loss
        return np.where(total > 0, sums / np.where(total > 0, total, 1.0), np.nan)

    def error_correlation(self):
        """Weighted correlation of the experts' errors: (K, K)."""
        error = self.error - self.mean(self.error)
        covariance = np.einsum("n,njm,nkm->jk", self.weight, error, error)
        spread = np.sqrt(np.diag(covariance))
        known = np.outer(spread, spread)
        return np.where(known > 0, covariance / np.where(known > 0, known, 1.0), np.nan)

    def gate_entropy(self):
        """Mean entropy of the routed gate in nats."""
        safe = np.where(self.used > 0, self.used, 1.0)
        return float(self.mean(-np.sum(self.used * np.log(safe), axis=1)))

    def _replacement(self, log_used, log_lik):
        """Log-likelihood lost when k speaks for j, per row that j is responsible for."""
        n_experts = len(self.names)
        cost = np.zeros((n_experts, n_experts))
        joint = log_used + log_lik - self.loglik[:, None]
        for j in range(n_experts):
            # Of the density of a row, what the others give, and what k would give.
            others = np.logaddexp.reduce(np.delete(joint, j, axis=1), axis=1)[:, None]
            given = log_used[:, j : j + 1] + log_lik - self.loglik[:, None]
            lost = -self.mean(np.logaddexp(others, given))
            cost[j] = lost / max(self.mean(self.resp[:, j]), 1e-300)
            cost[j, j] = 0.0
        return cost


def _spread(target, weight, classify):
    """Divisors (m,) of squares, such that they sum to 1 around the mean."""
    variance = weight @ np.square(target - weight @ target)
    tiny = 1e-24 * np.maximum(weight @ np.square(target), 1e-300)
    if classify:
        return np.full(len(variance), variance.sum() or 1.0)
    return len(variance) * np.where(variance > tiny, variance, 1.0)


def _variance(likelihood, pred, outputs, classify):
    """Variance of the target under each expert: (n, K, m)."""
    if classify:
        return outputs * (1.0 - outputs)
    alone = np.zeros((len(pred), 1))
    found = [
        likelihood.total_variance(alone, pred[:, k : k + 1], np.full(alone.shape, k))
        for k in range(pred.shape[1])
    ]
    return np.stack(found, axis=1)


def entropy(shares):
    shares = shares[shares > 0]
    return float(-np.sum(shares * np.log(shares)))
