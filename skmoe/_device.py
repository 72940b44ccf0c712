"""Passes over rows that are on a GPU, or are sent there block by block.

Parameters of all parts stay on the host: a pass sends coefficients and brings back sums, some
kilobytes each way. Starts, M-steps and optimisers are those of the CPU.
"""

from dataclasses import dataclass

import numpy as np

from ._block_passes import long_product, pass_of
from ._design import Design
from ._device_joint import DeviceEvaluator, RowsApart
from ._device_steps import DeviceSteps
from ._fit import FitData
from ._ops import is_on_device, numpy_of
from ._sweep import Sums, Sweeper, weighs_grams
from ._whole import WholeEvaluator


class DeviceDesign(Design):
    """Standardised columns of rows on a device, for whole products; results are on the host.

    Parameters
    ----------
    design : Design
        Of dense rows.
    device : Device
    """

    def __init__(self, design, device):
        super().__init__(design.X, design.center, design.scale)
        self.device, self._host = device, design

    def on_host(self):
        """The same without a device."""
        return self._host

    def reader(self, exact=False):
        """What reads blocks of it."""
        return DeviceReader(self, exact)

    def predictions(self, experts):
        """What experts predict: (n, K, P), on the host."""
        reader, found = self.reader(exact=True), []
        forward = pass_of(self.device.moved(experts), reader)
        for rows in self.device.slices(self.shape[0]):
            reader.read(rows)
            found.append(self.device.xp.asnumpy(forward.forward()).T)
        found = np.concatenate(found)
        return found.reshape(len(found), experts.n_experts, -1)

    def reach(self):
        """How far rows (n,) are from the centre in their furthest column; on the host."""
        if not self.is_scaled:
            return self._host.reach()
        if self._reach is None:
            xp, reader, found = self.device.xp, self.reader(), []
            for rows in self.device.slices(self.shape[0]):
                reader.read(rows)
                columns = xp.abs(reader.block[:, : self.shape[1] - 1])
                found.append(xp.asnumpy(columns.max(axis=1)))
            self._reach = np.concatenate(found).astype(np.float64)
        return self._reach

    def dot(self, coef):
        """``[X, 1] @ coef`` in standardised columns: (D, q) -> (n, q)."""
        out, reader = np.empty((self.shape[0], coef.shape[1])), self.reader(exact=True)
        packed = reader.pack(coef)
        for rows in self.device.slices(self.shape[0]):
            reader.read(rows)
            out[rows] = self.device.xp.asnumpy(reader.forward(packed)).T
        return out

    def transposed_dot(self, values):
        """``[X, 1]' @ values`` in standardised columns: (n, q) -> (D, q)."""
        reader = self.reader(exact=True)
        total = reader.new_gradient(values.shape[1])
        for rows in self.device.slices(self.shape[0]):
            reader.read(rows)
            reader.add_gradient(self.device.send(values[rows].T), total)
        return reader.finish_gradient(total)

    def grams(self, weights):
        """``Z' diag(weights[:, k]) Z`` for every k: (n, K) -> (K, D, D)."""
        reader = DeviceReader(self)
        total = reader.new_grams(weights.shape[1])
        for rows in self.device.slices(self.shape[0]):
            reader.read(rows)
            reader.add_grams(self.device.send(weights[rows].T), -1, total)
        return reader.finish_grams(total)


class DeviceReader:
    """Reads blocks of a `DeviceDesign` and multiplies them; as `BlockReader` on the host."""

    def __init__(self, design, exact=False):
        self.design, self.device = design, design.device
        self.xp, self.ops = self.device.xp, self.device.ops
        # Products keep the precision of the data; sums of blocks are in float64.
        single = design.X.dtype == np.float32 and not exact
        self.dtype = np.dtype(np.float32 if single else np.float64)
        padding = self.ops.PADDING // self.dtype.itemsize
        self.width = -(-design.shape[1] // padding) * padding
        self._units = [self.device.send(unit) for unit in (design.center, 1.0 / design.scale)]

    def read(self, rows):
        """Make the rows of a slice the present block (m, width)."""
        X = self.device.rows(self.design.X, rows).astype(self.dtype, copy=False)
        self.block = self.xp.empty((len(X), self.width), dtype=self.dtype)
        self.ops.standardise(X, *self._units, self.block)

    def pack(self, coef):
        """Coefficients (D, q), of host or device, in the form that `forward` takes."""
        packed = numpy_of(coef).zeros((coef.shape[1], self.width), dtype=self.dtype)
        packed[:, : len(coef)] = coef.T
        return packed if is_on_device(packed) else self.device.send(packed)

    def forward(self, packed):
        """Scores (q, m) of the block, in float64."""
        return self.xp.matmul(packed, self.block.T).astype(np.float64, copy=False)

    def new_gradient(self, n_scores):
        """Zeros that `add_gradient` adds to."""
        return self.xp.zeros((n_scores, self.width))

    def add_gradient(self, values, out):
        """Add the product of the transposed block with values (q, m)."""
        out += long_product(values.astype(self.dtype, copy=False), self.block)

    def finish_gradient(self, out):
        """The sum of `add_gradient` as (D, q), on the host."""
        return np.ascontiguousarray(self.xp.asnumpy(out)[:, : self.design.shape[1]].T)

    def new_grams(self, n_experts):
        """Zeros that `add_grams` adds to."""
        return self.xp.zeros((n_experts, self.width, self.width))

    def add_grams(self, weights, skip, out):
        """Add the Grams of the block with weights (K, m), but for one expert."""
        self.ops.tiled_grams(self.block, weights.astype(self.dtype, copy=False), skip, out)

    def finish_grams(self, out):
        """The sum of `add_grams` as (K, D, D), on the host."""
        width = self.design.shape[1]
        found = self.xp.asnumpy(out)[:, :width, :width]
        return 0.5 * (found + found.transpose(0, 2, 1))


@dataclass(frozen=True)
class DeviceData(FitData):
    """What never changes during a fit with a device.

    Attributes
    ----------
    device : Device
    """

    device: object = None

    def sweeper(self):
        """What makes passes: on the device, or on the host for some of the rows."""
        whole = isinstance(self.X, DeviceDesign)
        return DeviceSweeper(self) if whole else Sweeper(self)

    def evaluator(self):
        """What gives sums where no sweep does; on the device, or on the host for some rows."""
        whole = isinstance(self.X, DeviceDesign)
        return DeviceEvaluator(self) if whole else WholeEvaluator(self)

    def steps(self, parts):
        """Steps of Adam that stay on the device."""
        return DeviceSteps(self, parts)

    def apart(self, rows):
        """Some rows, by number, whose log-likelihood is asked for again and again."""
        return RowsApart(self, rows)

    def on_host(self):
        """The same fit without the device."""
        fields = {name: value for name, value in vars(self).items() if name in _FIELDS}
        for name in ("X", "gate_X", "start_X"):
            if isinstance(fields[name], DeviceDesign):
                fields[name] = fields[name].on_host()
        return FitData(**fields)


def on_device(data, device, n_experts, n_hidden=0, n_kept=0):
    """The same fit with its rows on a device.

    Parameters
    ----------
    data : FitData
        With dense views.
    device : Device
    n_experts : int
    n_hidden : int, default=0
        Hidden units of all networks, each of which keeps a number for every row of a block.
    n_kept : int, default=0
        Numbers that are kept for every row.

    Returns
    -------
    DeviceData
    """
    views = [data.X] if data.gate_X is data.X else [data.X, data.gate_X]
    sources = {id(view.X): view.X for view in views}
    n_scores = data.n_classes or data.y.shape[1]
    numbers = len(views) * (views[0].shape[1] + 8) + n_experts * (3 * n_scores + 6) + 4
    numbers += 3 * n_hidden
    kept = np.broadcast_to(0.0, (len(data.weight), n_kept))
    device.plan([*sources.values(), data.y, data.weight, kept], numbers)
    held = {id(view): DeviceDesign(view, device) for view in views}
    fields = {name: value for name, value in vars(data).items() if name in _FIELDS}
    fields |= {"X": held[id(data.X)], "gate_X": held[id(data.gate_X)], "device": device}
    if data.start_X is data.gate_X:
        fields["start_X"] = fields["gate_X"]
    return DeviceData(**fields)


_FIELDS = frozenset(FitData.__dataclass_fields__)


class DeviceSweeper(Sweeper):
    """Passes over rows on a device; arguments as of `Sweeper`."""

    def add_up(self, parts, resp, grams, skip):
        """The sums over all blocks, on the host."""
        sweep = _Pass(self.data, parts, grams, skip, self.shared)
        for rows in self.data.device.slices(len(self.data.weight)):
            sweep.add(rows, resp)
        return sweep.sums()


class _Pass:
    """One pass: what is sent before it, and what is added up."""

    def __init__(self, data, parts, grams, skip, shared):
        self.data, self.device, self.skip = data, data.device, skip
        self.n_experts = len(parts.experts.coef[0])
        self.likelihood = self.device.moved(parts.likelihood)
        self.reader = DeviceReader(data.X)
        self.gate_reader = self.reader if shared else DeviceReader(data.gate_X)
        self.shared = shared
        coef = parts.experts.block_coef()
        self.n_scores = coef.shape[1]
        self.coef = self.reader.pack(coef)
        self.gradient = self.reader.new_gradient(self.n_scores)
        self.scorer, self.gate_gradient = None, None
        if hasattr(parts.gate, "block_scorer"):
            self.scorer = self.device.moved(parts.gate.block_scorer(self.gate_reader.width))
        else:
            self.gate_coef = self.gate_reader.pack(parts.gate.block_coef())
            self.gate_gradient = self.gate_reader.new_gradient(self.n_experts)
        self.curved = grams and weighs_grams(parts)
        n_grams = self.n_scores if self.curved else self.n_experts
        self.gram = self.reader.new_grams(n_grams) if grams else None
        apart = grams and (self.curved or not shared)
        self.gate_gram = self.gate_reader.new_grams(self.n_experts) if apart else None
        n_sums = parts.likelihood.n_sums(parts.experts.coef.shape[2])
        self.by_expert = self.device.xp.zeros((self.n_experts, n_sums))
        self.totals = self.device.xp.zeros(3)

    def add(self, rows, resp):
        """Add a block of rows."""
        xp, device, data = self.device.xp, self.device, self.data
        self.reader.read(rows)
        if not self.shared:
            self.gate_reader.read(rows)
        scores = self.reader.forward(self.coef)
        y, weight = device.rows(data.y, rows), device.rows(data.weight, rows)
        gate = self._gate_scores(weight)
        joint = xp.empty_like(gate)
        given = xp.empty((0, 0)) if resp is None else device.send(resp[rows])
        arrays = (y, weight, given, gate, scores, joint, self.by_expert)
        if self.curved:
            curvature = xp.empty_like(scores)
            arrays += (curvature,)
        value, missed = self.likelihood.e_block(*arrays)
        self.totals[0] += value
        self.totals[1] += missed
        self.reader.add_gradient(scores, self.gradient)
        if self.scorer is None:
            self.gate_reader.add_gradient(gate, self.gate_gradient)
        if self.gram is not None:
            self.reader.add_grams(curvature if self.curved else joint, self.skip, self.gram)
        if self.gate_gram is not None:
            self.gate_reader.add_grams(joint, -1, self.gate_gram)

    def _gate_scores(self, weight):
        """Linear logits, or log densities of the block, whose evidence is added up: (K, m)."""
        if self.scorer is None:
            return self.gate_reader.forward(self.gate_coef)
        xp, block = self.device.xp, self.gate_reader.block
        gate = xp.empty((self.n_experts, len(block)))
        self.scorer(block, gate)
        self.totals[2] += self.device.ops.sum_log_evidence(gate, weight, None)
        return gate

    def sums(self):
        """What was added up, on the host."""
        loglik, unexplained, evidence = self.device.xp.asnumpy(self.totals).tolist()
        gradient = self.reader.finish_gradient(self.gradient)
        gram, gate_gram = self.gram, self.gate_gram
        gate = self.gate_gradient
        return Sums(
            loglik,
            int(unexplained),
            None if gate is None else self.gate_reader.finish_gradient(gate),
            gradient.reshape(len(gradient), self.n_experts, -1),
            self.device.xp.asnumpy(self.by_expert),
            None if gram is None else self.reader.finish_grams(gram),
            None if gate_gram is None else self.gate_reader.finish_grams(gate_gram),
            evidence,
        )
