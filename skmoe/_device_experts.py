"""EM of experts with the interface of scikit-learn, with all the rest on a GPU.

An iteration sends predictions up and brings responsibilities down; the gate's fit, the noise
and the E-step are passes over rows that are there already. Experts that take arrays on a GPU
are given the rows, targets and weights that lie there, and their predictions stay.
"""

from dataclasses import dataclass, replace

import numpy as np

from ._block_passes import pass_of
from ._device import DeviceData, DeviceDesign, DeviceReader, on_device
from ._em import Turn
from ._fit import left_to_experts, objective_value
from ._gate_step import improve_gate
from ._ops import is_on_device
from .experts._on_device import takes_device_arrays


class Shares:
    """``weight * resp`` on a device, as blocks (K, m), of responsibilities (n, K) on the host.

    The last ones are kept where all rows are: what the gate is fitted to, and experts.

    Parameters
    ----------
    device : Device
    weight : ndarray of shape (n,)
    n_kept : int, default=2
    """

    def __init__(self, device, weight, n_kept=2):
        self.device, self.weight, self.n_kept = device, weight, n_kept
        self._kept = []

    @property
    def slices(self):
        """Slices of the rows of blocks."""
        return self.device.slices(len(self.weight))

    def of(self, resp):
        """Blocks in the order of `slices`."""
        for known, blocks in self._kept:
            if known is resp:
                return blocks
        blocks = (self._sent(resp, rows) for rows in self.slices)
        return self.keep(resp, list(blocks)) if self.device.resident else blocks

    def keep(self, resp, blocks):
        """Remember blocks, where there is room for them."""
        if self.device.resident:
            self._kept = [*self._kept, (resp, blocks)][-self.n_kept :]
        return blocks

    def of_expert(self, resp, k):
        """``weight * resp[:, k]``: (n,), on the device."""
        return self.device.xp.concatenate([block[k] for block in self.of(resp)])

    def _sent(self, resp, rows):
        shares = np.ascontiguousarray((resp[rows] * self.weight[rows, None]).T)
        return self.device.send(shares)


class GateDesign(DeviceDesign):
    """What a gate sees, for fits of it on the device.

    Parameters
    ----------
    design : Design
        Of dense rows.
    device : Device
    shares : Shares
    """

    def __init__(self, design, device, shares):
        super().__init__(design, device)
        self.shares = shares

    def logit_loss(self, resp, weight, net, branches=None):
        """Penalised cross-entropy of soft targets, a function of flat coefficients.

        Parameters
        ----------
        resp : ndarray of shape (n, K)
        weight : ndarray of shape (n,)
        net : ElasticNet
        branches : list of (int, int), default=None
            First expert and one past the last of each class, where these are not the experts.

        Returns
        -------
        callable
            ``loss(flat) -> (value, gradient)``.
        """
        shares, reader = self._shares(weight), DeviceReader(self, exact=True)
        xp, ops, whole = self.device.xp, self.device.ops, weight.sum()

        def loss(flat):
            coef = flat.reshape(self.shape[1], -1)
            packed, gradient = reader.pack(coef), reader.new_gradient(coef.shape[1])
            total = xp.zeros(())
            for rows, block in zip(shares.slices, shares.of(resp), strict=True):
                reader.read(rows)
                scores = xp.ascontiguousarray(reader.forward(packed))
                target = block / whole
                if branches is not None:
                    target = xp.stack([target[start:stop].sum(axis=0) for start, stop in branches])
                total = total + ops.soft_target_block(target, target.sum(axis=0), scores)
                reader.add_gradient(scores, gradient)
            gradient = reader.finish_gradient(gradient) + net.smooth_gradient(coef)
            return net.value(coef) + float(total), gradient.ravel()

        return loss

    def network_loss(self, resp, weight):
        """Cross-entropy of soft targets, a function of a gate with ``block_pass``.

        Parameters
        ----------
        resp : ndarray of shape (n, K)
        weight : ndarray of shape (n,)

        Returns
        -------
        callable
            ``loss(gate) -> (value, gradient)``, without the penalty.
        """
        shares, reader = self._shares(weight), DeviceReader(self, exact=True)
        xp, ops, whole = self.device.xp, self.device.ops, weight.sum()

        def loss(gate):
            forward, total = pass_of(self.device.moved(gate), reader), xp.zeros(())
            for rows, block in zip(shares.slices, shares.of(resp), strict=True):
                reader.read(rows)
                scores = xp.ascontiguousarray(forward.forward())
                target = block / whole
                total += ops.soft_target_block(target, target.sum(axis=0), scores)
                forward.backward(scores)
            return float(total), xp.asnumpy(forward.finish())

        return loss

    def _shares(self, weight):
        return self.shares if weight is self.shares.weight else Shares(self.device, weight)

    def column_squares(self, weights):
        """Diagonals of `grams`: (n, K) -> (D, K)."""
        reader = DeviceReader(self, exact=True)
        total = reader.new_gradient(weights.shape[1])
        for rows in self.device.slices(self.shape[0]):
            reader.read(rows)
            sent = self.device.send(weights[rows].T)
            total += self.device.xp.matmul(sent, self.device.xp.square(reader.block))
        return reader.finish_gradient(total)


def linear_on_device(data, device, n_experts, n_hidden=0, n_kept=0):
    """The same fit of linear experts with its rows, and first fits of the gate, on a device.

    Arguments and result as of `on_device`.
    """
    # What the gate is fitted to is kept for every row.
    there = on_device(data, device, n_experts, n_hidden, max(n_kept, n_experts))
    gate_X = GateDesign(data.gate_X, device, Shares(device, data.weight, n_kept=1))
    views = {name: getattr(there, name) for name in ("X", "start_X")}
    moved = {name: gate_X for name, view in views.items() if view is there.gate_X}
    return replace(there, gate_X=gate_X, **moved)


@dataclass(frozen=True)
class ForeignData(DeviceData):
    """What never changes during a fit of foreign experts beside a device.

    Attributes
    ----------
    shares : Shares
    rows_there : bool
        Whether experts may be given rows that lie on the device.
    """

    shares: object = None
    rows_there: bool = False

    def turns(self):
        """What does all of an iteration but the fits of experts; None: the host."""
        whole = isinstance(self.gate_X, GateDesign)
        plain = self.balance is None and self.candidates is None and self.observed is None
        return DeviceTurns(self) if whole and plain else None

    def expert_rows(self, resp):
        """Rows, weights and those of each expert on the device; None where they are not.

        Parameters
        ----------
        resp : ndarray of shape (n, K)

        Returns
        -------
        X : CuPy array of shape (n, d)
        weight : CuPy array of shape (n,)
        shares : callable
            ``shares(k)``: (n,).
        once : callable
            As of `Device`.
        """
        if not self.rows_there or not self.device.resident:
            return None
        every = slice(None)
        X, weight = self.device.rows(self.X, every), self.device.rows(self.weight, every)
        return X, weight, lambda k: self.shares.of_expert(resp, k), self.device.once


def beside_experts(data, device, n_experts, templates):
    """The same fit of foreign experts with what the gate sees on a device.

    Parameters
    ----------
    data : FitData
        With a dense view for the gate.
    device : Device
    n_experts : int
    templates : list of estimators
        Of the experts; where one takes arrays on the device, so are the experts' rows.

    Returns
    -------
    ForeignData
    """
    given = isinstance(data.X, np.ndarray) and any(map(takes_device_arrays, templates))
    sources = {id(data.gate_X.X): data.gate_X.X}
    if given:
        sources[id(data.X)] = data.X
    n_scores = data.n_classes or data.y.shape[1]
    # What is there beside the rows: shares, predictions, and the rows that an expert is shown.
    width = n_experts * (n_scores + 1) + (data.X.shape[1] if given else 0)
    more = np.broadcast_to(0.0, (len(data.y), width))
    numbers = data.gate_X.shape[1] + 8 + n_experts * (4 * n_scores + 6) + 4
    device.plan([*sources.values(), data.y, data.weight, more], numbers)
    shares = Shares(device, data.weight)
    fields = dict(vars(data))
    fields["gate_X"] = GateDesign(data.gate_X, device, shares)
    if data.start_X is data.gate_X:
        fields["start_X"] = fields["gate_X"]
    fields = {name: fields[name] for name in data.__dataclass_fields__}
    return ForeignData(**fields, device=device, shares=shares, rows_there=given)


class DeviceTurns:
    """All of an EM iteration but the fits of experts, on a device; as `HostTurns`.

    Parameters
    ----------
    data : ForeignData
    """

    def __init__(self, data):
        self.data, self.device, self.shares = data, data.device, data.shares
        self.xp, self.ops = self.device.xp, self.device.ops

    def __call__(self, parts, pred, resp, own, log_gate):
        """M-steps of gate and noise, and the E-step; arguments and results as of `HostTurns`."""
        there = pred
        if self.device.resident and not is_on_device(pred):
            there = self.device.send(pred)
        if hasattr(parts.gate, "updated") and hasattr(parts.gate, "n_experts_"):
            parts.gate = parts.gate.updated(self._gate_grams(resp))
        else:
            improve_gate(parts.gate, self.data, resp)
        self._update(parts.likelihood, there, own)
        return self._e_step(parts, there)

    def left(self, parts, pred, resp):
        """What experts are fitted to next; as of `HostTurns`."""
        if not hasattr(parts.likelihood, "expert_resp"):
            return resp
        moved, found = self.device.moved(parts.likelihood), []
        for rows in self.shares.slices:
            y, block = self._block(self.data.y, pred, rows)
            own = left_to_experts(moved, y, block, self.device.send(resp[rows]))
            found.append(self.xp.asnumpy(own))
        return np.concatenate(found)

    def _block(self, y, pred, rows):
        """Targets and predictions of some rows, on the device."""
        block = pred[rows] if is_on_device(pred) else self.device.send(pred[rows])
        return self.device.rows(y, rows), block

    def _gate_grams(self, resp):
        """``Z' diag(weight * resp_k) Z`` of what the gate sees: (K, D, D)."""
        reader = DeviceReader(self.data.gate_X, exact=True)
        total = reader.new_grams(resp.shape[1])
        for rows, share in zip(self.shares.slices, self.shares.of(resp), strict=True):
            reader.read(rows)
            reader.add_grams(share, -1, total)
        return reader.finish_grams(total)

    # -- noise -----------------------------------------------------------------------------

    def _update(self, likelihood, pred, own):
        if hasattr(likelihood, "update_sums"):
            squares, totals = self._squares(likelihood, pred, own)
            likelihood.update_sums(squares, totals, self.data.weight.sum())
        elif getattr(likelihood, "n_thetas", 0):
            likelihood.climb(*self._slopes(pred, own))

    def _squares(self, likelihood, pred, own):
        """Weighted squared errors (K, m), and weights (K,), on the host."""
        squares, totals = self.xp.zeros(pred.shape[1:]), self.xp.zeros(pred.shape[1])
        for rows, share in zip(self.shares.slices, self.shares.of(own), strict=True):
            y, block = self._block(self.data.y, pred, rows)
            error = self.xp.square(y[:, None, :] - block)
            squares += (share.T[:, :, None] * error).sum(axis=0)
            totals += share.sum(axis=1)
        return self.xp.asnumpy(squares), self.xp.asnumpy(totals)

    def _slopes(self, pred, own):
        """What ``climb`` of a `LinkedLikelihood` asks, as sums over blocks, on the host."""

        def add_up(law, values):
            law, total = self.device.moved(law), None
            for rows, share in zip(self.shares.slices, self.shares.of(own), strict=True):
                columns, eta, theta = law.arrays(*self._block(self.data.y, pred, rows))
                add = law.adder(share[:, None], None, eta[0].shape)
                found = [add(part) for part in values(law, columns, eta, theta)]
                total = found if total is None else [a + b for a, b in zip(total, found)]
            return list(map(self.xp.asnumpy, total))

        def density(law):
            return add_up(law, lambda law, *arrays: [law.log_density(*arrays)])[0]

        def slopes(law):
            found = add_up(law, _theta_slopes)
            return found[: law.n_thetas], found[law.n_thetas :]

        return density, slopes

    # -- E-step ----------------------------------------------------------------------------

    def _e_step(self, parts, pred):
        xp, data, scores = self.xp, self.data, GateScores(parts.gate, self.data.gate_X)
        likelihood, n_experts = self.device.moved(parts.likelihood), pred.shape[1]
        totals, load = xp.zeros(3), xp.zeros(n_experts)
        nothing, spread = xp.empty((0, 0)), xp.zeros(n_experts)
        found, blocks = [], []
        for rows in self.shares.slices:
            y, block = self._block(data.y, pred, rows)
            weight = self.device.rows(data.weight, rows)
            gate, evidence = scores(rows, weight)
            joint = xp.empty_like(gate)
            xp.add(gate, likelihood.log_lik(y, block).T, out=joint)
            value, missed = self.ops.mix(gate, joint, weight, nothing, None, load, spread)
            totals[0] += value
            totals[1] += missed
            totals[2] += evidence
            found.append(xp.asnumpy((joint / weight).T))
            blocks.append(joint)
        resp = np.concatenate(found)
        self.shares.keep(resp, blocks)
        loglik, missed, evidence = xp.asnumpy(totals).tolist()
        value = objective_value(data, loglik, parts, evidence)
        return Turn(resp, None, int(missed), value, xp.asnumpy(load) / data.weight.sum())


def _theta_slopes(law, *arrays):
    """Slopes and curvatures of dispersions."""
    _, _, slopes, bent = law.derivatives(*arrays)
    return [*slopes, *bent]


class GateScores:
    """Scores (K, m) of a gate on blocks of a device, normalised or not.

    Parameters
    ----------
    gate : fitted gate
        With ``block_coef``, ``block_pass`` or ``block_scorer``.
    design : DeviceDesign
    """

    def __init__(self, gate, design):
        self.device, self.reader = design.device, DeviceReader(design, exact=True)
        self.scorer = None
        if hasattr(gate, "block_scorer"):
            self.scorer, self.n_experts = gate.block_scorer(self.reader.width), gate.n_experts_
            self.scorer = self.device.moved(self.scorer)
        else:
            self.forward = pass_of(self.device.moved(gate), self.reader).forward

    def __call__(self, rows, weight):
        """Scores of some rows, and their weighted log evidence."""
        self.reader.read(rows)
        if self.scorer is None:
            return self.device.xp.ascontiguousarray(self.forward()), 0.0
        scores = self.device.xp.empty((self.n_experts, len(self.reader.block)))
        self.scorer(self.reader.block, scores)
        return scores, self.device.ops.sum_log_evidence(scores, weight, None)
