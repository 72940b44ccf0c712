"""EM on a device where M-steps are descents of experts and gates: of networks, of classes.

The loops are those of the host; a loss is one pass over rows that are there already.
"""

from dataclasses import dataclass

import numpy as np

from ._block_passes import pass_of
from ._device import DeviceDesign
from ._device_experts import ForeignData, Shares, linear_on_device
from ._ops import numpy_of
from .experts.linear import LinearStatistics


@dataclass(frozen=True)
class NetworkData(ForeignData):
    """What never changes during a fit on a device where M-steps are descents."""

    def expert_loss(self, experts, resp, dispersion):
        """Minus the weighted log-likelihood of experts, penalised; None: the host's.

        Parameters
        ----------
        experts : DescentExperts or MultinomialExperts
        resp : ndarray of shape (n, K)
        dispersion : ndarray of shape (K, m) or None
            Noise variances.

        Returns
        -------
        callable or None
            ``loss(flat) -> (value, gradient)``, by row of weight one.
        """
        whole = isinstance(self.X, DeviceDesign)
        known = hasattr(experts, "block_pass") or self.n_classes is not None
        return ExpertLoss(self, experts, resp, dispersion) if whole and known else None

    def linear_sums(self, experts, resp):
        """Statistics of an M-step of linear experts; None: the host's.

        Parameters
        ----------
        experts : LinearExperts
        resp : ndarray of shape (n, K)

        Returns
        -------
        LinearStatistics or None
        """
        if not isinstance(self.X, DeviceDesign):
            return None
        xp, reader = self.device.xp, self.X.reader(exact=True)
        _, n_experts, n_outputs = experts.coef.shape
        packed = reader.pack(experts.block_coef())
        gram, gradient = reader.new_grams(n_experts), reader.new_gradient(n_experts * n_outputs)
        weight, squares = xp.zeros(n_experts), xp.zeros((n_experts, n_outputs))
        for rows, share in zip(self.shares.slices, self.shares.of(resp), strict=True):
            reader.read(rows)
            pred = reader.forward(packed).reshape(n_experts, n_outputs, -1)
            error = self.device.rows(self.y, rows).T - pred
            weighted = share[:, None] * error
            squares += (weighted * error).sum(axis=2)
            weight += share.sum(axis=1)
            reader.add_gradient(weighted.reshape(n_experts * n_outputs, -1), gradient)
            reader.add_grams(share, -1, gram)
        return LinearStatistics(
            reader.finish_grams(gram),
            reader.finish_gradient(gradient).reshape(experts.coef.shape),
            xp.asnumpy(weight),
            xp.asnumpy(squares),
        )


def networks_on_device(data, device, n_experts, n_hidden):
    """The same fit with its rows on a device; arguments as of `on_device`.

    Returns
    -------
    NetworkData
    """
    # Kept for every row: shares of two iterations, and predictions.
    n_kept = n_experts * (2 + (data.n_classes or data.y.shape[1]))
    there = linear_on_device(data, device, n_experts, n_hidden, n_kept)
    there.gate_X.shares = Shares(device, data.weight)
    fields = {name: getattr(there, name) for name in there.__dataclass_fields__}
    return NetworkData(**fields, shares=there.gate_X.shares)


class ExpertLoss:
    """Minus the weighted log-likelihood of experts whose responsibilities are given.

    Arguments as of `NetworkData.expert_loss`, which see for what a call returns.
    """

    def __init__(self, data, experts, resp, dispersion):
        self.data, self.experts, self.resp = data, experts, resp
        self.device, self.reader = data.device, data.X.reader(exact=True)
        self.precision = None
        if data.n_classes is None:
            self.precision = self.device.send(1.0 / dispersion)[:, :, None]

    def __call__(self, flat):
        data, device, experts = self.data, self.device, self.experts.with_flat(flat)
        shares, total = data.shares, data.total_weight
        forward, value = pass_of(device.moved(experts), self.reader), device.xp.zeros(())
        for rows, share in zip(shares.slices, shares.of(self.resp), strict=True):
            self.reader.read(rows)
            # A step too far overflows, as on the host.
            with np.errstate(over="ignore", invalid="ignore"):
                part, slope = self._block(device.rows(data.y, rows), share, forward.forward())
                value += part
                forward.backward(slope)
        gradient = device.xp.asnumpy(forward.finish()) - experts.penalty_gradient().ravel()
        return (float(value) + experts.penalty()) / total, -gradient / total

    def _block(self, y, share, scores):
        """Loss of a block, and slopes (K * P, m) of the log-likelihood by its scores."""
        shape = scores.shape
        scores, share = scores.reshape(len(share), -1, shape[1]), share[:, None]
        if self.precision is None:
            value, slope = _class_loss(y, share, scores)
        else:
            error = y.T - scores
            slope = share * self.precision * error
            value = 0.5 * (slope * error).sum()
        return value, slope.reshape(shape)


def _class_loss(codes, share, scores):
    """Minus the weighted log-likelihood of classes, and slopes by scores: (K, C, m)."""
    scores = scores - scores.max(axis=1, keepdims=True)
    proba = np.exp(scores)
    whole = proba.sum(axis=1, keepdims=True)
    proba /= whole
    own = np.equal(codes, numpy_of(codes).arange(scores.shape[1])[:, None])
    log_lik = np.where(own, scores, 0.0).sum(axis=1, keepdims=True) - np.log(whole)
    return -(share * log_lik).sum(), share * (own - proba)
