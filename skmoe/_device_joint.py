"""Sums for joint descent on a device, of parts that are not all linear in the columns.

As `WholeEvaluator` on the host, but block by block: a pass sends the parameters of all parts
and brings their gradient back.
"""

import numpy as np

from ._block_passes import pass_of
from ._sweep import Sums, is_linear, weighs_grams
from ._whole import WholeEvaluator


class DeviceEvaluator(WholeEvaluator):
    """Gives the sums of a `WholeEvaluator` from rows on a device.

    Parameters
    ----------
    data : DeviceData
    """

    def __call__(self, parts, *, resp=None, grams=False):
        """One pass; arguments and result as of `WholeEvaluator`, on the host."""
        self.n_passes += 1
        device = self.data.device
        sweep = JointPass(self.data, device.moved_parts(parts), grams)
        for rows in device.slices(len(self.data.weight)):
            sweep.add(SliceOfRows(device, rows), None if resp is None else resp[rows])
        return sweep.on_host()


class SliceOfRows:
    """Neighbouring rows: what a pass over all of them goes through.

    Parameters
    ----------
    device : Device
    rows : slice
    """

    def __init__(self, device, rows):
        self.device, self.rows = device, rows

    def read(self, reader):
        """Make these rows the block of a reader."""
        reader.read(self.rows)

    def of(self, array):
        """These rows of a host array, on the device."""
        return self.device.rows(array, self.rows)


class PickedRows:
    """Any rows, which are gathered on the device where all of them are there.

    Parameters
    ----------
    device : Device
    rows : ndarray of int
    """

    def __init__(self, device, rows):
        self.device = device
        self.rows = device.send(rows) if device.resident else rows

    def read(self, reader):
        """As of `SliceOfRows`."""
        reader.read(self.rows)

    def of(self, array):
        """As of `SliceOfRows`."""
        return self.device.rows(array, self.rows)


class RowsApart:
    """Some rows of a fit, for their log-likelihood.

    Parameters
    ----------
    data : DeviceData
    rows : ndarray of int
    """

    def __init__(self, data, rows):
        self.data, self.rows = data, rows

    def mean_loglik(self, parts):
        """Mean log-likelihood of the rows."""
        device, size = self.data.device, self.data.device.size
        sweep = JointPass(self.data, device.moved_parts(parts))
        for start in range(0, len(self.rows), size):
            sweep.look(PickedRows(device, self.rows[start : start + size]))
        return float(sweep.totals[0]) / self.data.weight[self.rows].sum()


def readers_of(data):
    """Readers of the experts' rows and of the gate's; the same one where these are the same."""
    reader = data.X.reader()
    return reader, (reader if data.gate_X.same_columns(data.X) else data.gate_X.reader())


class JointPass:
    """Forward, E-step and backward by blocks, and what is added up.

    Parameters
    ----------
    data : DeviceData
    parts : Parts
        With their arrays on the device.
    grams : bool, default=False
        Whether to add up Grams of the experts.
    readers : tuple of DeviceReader, default=None
        Of `readers_of`, where they are there already.
    """

    def __init__(self, data, parts, grams=False, readers=None):
        self.data, self.parts, self.device = data, parts, data.device
        self.reader, gate_reader = readers or readers_of(data)
        self.readers = {id(one): one for one in (self.reader, gate_reader)}.values()
        self.experts = pass_of(parts.experts, self.reader)
        self.gate = pass_of(parts.gate, gate_reader)
        self.curved, self.gram = grams and weighs_grams(parts), None
        self.with_grams, self.by_expert = grams, None
        self.totals = self.device.xp.zeros(2)

    def look(self, rows, resp=None):
        """Forward and E-step of a block; arguments as of `add`.

        Returns
        -------
        gate, scores, joint, curvature
            As `e_block` leaves them; no curvature where Grams do not ask for one.
        """
        xp, parts = self.device.xp, self.parts
        for reader in self.readers:
            rows.read(reader)
        found = self.gate.forward(), self.experts.forward()
        gate, scores = map(xp.ascontiguousarray, found)
        self._begin(len(gate), len(scores) // len(gate))
        joint, law = xp.empty_like(gate), parts.likelihood
        target, weight = rows.of(self.data.y), rows.of(self.data.weight)
        arrays = gate, scores, joint, self.by_expert
        more = [xp.empty_like(scores)] if self.curved else []
        if hasattr(law, "blend_block"):
            value, missed = law.blend_block(target, weight, *arrays)
        else:
            given = xp.empty((0, 0)) if resp is None else self.device.send(resp)
            value, missed = law.e_block(target, weight, given, *arrays, *more)
        self.totals[0] += value
        self.totals[1] += missed
        return gate, scores, joint, (more[0] if more else None)

    def add(self, rows, resp=None):
        """Add a block of rows.

        Parameters
        ----------
        rows : SliceOfRows or PickedRows
        resp : ndarray of shape (m, K), default=None
            Stand in for the responsibilities of the E-step.
        """
        gate, scores, joint, curvature = self.look(rows, resp)
        if self.gram is not None:
            self.reader.add_grams(joint if curvature is None else curvature, -1, self.gram)
        if self.slope is not None:
            scores *= self.slope
        self.experts.backward(scores)
        self.gate.backward(gate)

    def _begin(self, n_experts, n_scores):
        """Zeros to add to, once the first block has told how many scores there are."""
        if self.by_expert is not None:
            return
        xp, likelihood = self.device.xp, self.parts.likelihood
        self.by_expert = xp.zeros((n_experts, likelihood.n_sums(n_scores)))
        if self.with_grams:
            self.gram = self.reader.new_grams(n_experts * (n_scores if self.curved else 1))
        # The law turns residuals into slopes by factors of experts and outputs, not of rows.
        self.slope = None
        if not is_linear(self.parts.experts):
            ones = xp.ones((1, n_experts, n_scores))
            self.slope = likelihood.pred_gradient(ones).reshape(-1, 1)

    def sums(self):
        """What was added up, on the device; gradients are flat."""
        gate, experts = self.gate.finish(), self.experts.finish()
        if is_linear(self.parts.experts):
            experts = experts.reshape(self.parts.experts.coef.shape)
        return Sums(self.totals[0], self.totals[1], gate, experts, self.by_expert, None, None)

    def on_host(self):
        """What was added up, on the host."""
        found, asnumpy = self.sums(), self.device.xp.asnumpy
        loglik, unexplained = asnumpy(self.totals).tolist()
        return Sums(
            loglik,
            int(unexplained),
            asnumpy(found.gate),
            np.ascontiguousarray(asnumpy(found.experts)),
            asnumpy(found.by_expert),
            None if self.gram is None else self.reader.finish_grams(self.gram),
            None,
        )
