"""Steps of Adam on batches of rows, with parameters and moments that stay on a device.

A step sends the numbers of its rows and brings nothing back, so that the host never waits
within an epoch.
"""

import copy

import numpy as np

from ._adam import DROPPED, Adam, Steps, decaying, scaled
from ._device_joint import JointPass, PickedRows, readers_of
from ._fit import Parts
from ._joint import log_lik_gradient


class DeviceSteps(Steps):
    """As `FlatSteps`, on a device.

    Parameters
    ----------
    data : DeviceData
    parts : Parts
        With gradients; on the host.

    Attributes
    ----------
    parts : Parts
        As they are after the last step, on the device.
    """

    averages = True

    def __init__(self, data, parts):
        self.data, self.device = data, data.device
        self.parts = self.device.moved_parts(parts)
        self._ends = np.cumsum([parts.gate.flat().size, parts.experts.flat().size]).tolist()
        self._readers = readers_of(data)
        self._ridge = self.device.send(_ridges(parts, data.total_weight))
        self._decaying = self.device.send(decaying(parts))
        self._state = Adam(parts.flat().size, self.device.xp)

    def step(self, rows, rate, options, dropped, resp=None):
        """One step; arguments as of `FlatSteps.step`, sums on the device."""
        sweep = JointPass(self.data, self._without(dropped), readers=self._readers)
        sweep.add(PickedRows(self.device, rows), resp)
        sums, weight = sweep.sums(), self.data.weight[rows].sum()
        flat = self._flat()
        gradient = self._gradient(scaled(sums, self.data.total_weight / weight), flat)
        if options.clip is not None:
            norm = np.sqrt(np.square(gradient).sum())
            gradient *= np.minimum(options.clip / np.maximum(norm, 1e-300), 1.0)
        self._state.step(gradient, rate, options.decay * self._decaying, flat)
        self.parts = self._at(flat)
        return sums, weight

    def settle(self):
        """The parts, on the host."""
        return self.device.brought_parts(self.parts)

    def state(self):
        """As of `FlatSteps`: a fit may go on where there is no device."""
        moments = copy.copy(self._state)
        for name in ("mean", "square"):
            setattr(moments, name, self.device.xp.asnumpy(getattr(moments, name)))
        return {"parts": self.settle(), "_state": moments}

    def restore(self, state):
        """As of `FlatSteps`."""
        self.parts, self._state = self.device.moved_parts(state["parts"]), state["_state"]
        for name in ("mean", "square"):
            setattr(self._state, name, self.device.send(getattr(self._state, name)))

    def _flat(self):
        return _joined(part.flat() for part in vars(self.parts).values())

    def _at(self, flat):
        """The parts with other parameters, on the device."""
        (one, two), parts = self._ends, self.parts
        return Parts(
            parts.gate.with_flat(flat[:one]),
            parts.experts.with_flat(flat[one:two]),
            parts.likelihood.with_flat(flat[two:]),
        )

    def _gradient(self, sums, flat):
        """Gradient of the objective, from sums as if they were of all rows."""
        parts, total = self.parts, self.data.total_weight
        experts = log_lik_gradient(parts, sums)
        found = _joined([sums.gate, experts, parts.likelihood.flat_gradient(sums)])
        found /= total
        found -= self._ridge * flat
        return found

    def _without(self, dropped):
        """Parts whose gate leaves out some experts (never all)."""
        parts = self.parts
        if not dropped.any() or dropped.all():
            return parts
        coef = parts.gate.block_coef().copy()
        coef[-1] += self.device.send(np.where(dropped, DROPPED, 0.0))
        return Parts(parts.gate.with_flat(coef.ravel()), parts.experts, parts.likelihood)


def _joined(values):
    """All numbers as one vector; laws without parameters have nothing on the device."""
    return np.concatenate([value.ravel() for value in values if value.size])


def _ridges(parts, total_weight):
    """Factors (p,) of parameters in the gradient of what the objective loses to penalties.

    These are quadratic (but for L1 parts, which no step follows), with no mixed terms: factors
    are their gradients where all parameters are one.
    """
    gate = parts.gate.with_flat(np.ones(parts.gate.flat().size))
    experts = parts.experts.with_flat(np.ones(parts.experts.flat().size))
    slope = experts.penalty_gradient() * experts.unit() / total_weight
    rest = np.zeros(parts.likelihood.flat().size)
    return np.concatenate([gate.penalty_gradient().ravel(), slope.ravel(), rest])
