"""What gates and experts compute of a block of rows on a device, forward and backward.

Made for one pass over the rows. Arrays are (q, m), rows contiguous, as kernels take them: K
experts with P outputs are K * P rows of scores. Parameters are on the device already, and
gradients stay there; a reader is a `DeviceReader`, whose block is what `forward` looks at.
"""

from contextlib import contextmanager

import numpy as np

from ._network import activated, multiply_slope

# Rows of a piece of a long product.
_PIECE = 4096


def long_product(left, right):
    """``left @ right``, a sum over many rows: (..., q, m), (..., m, w) -> (..., q, w).

    Products of pieces of the rows are a batch: one of all rows would be so small a matrix that
    few threads work on it. Pieces are added up in float64.
    """
    n_pieces = left.shape[-1] // _PIECE
    if n_pieces < 2:
        return left @ right
    whole, axes = n_pieces * _PIECE, range(left.ndim - 2)
    pieces = left[..., :whole].reshape(*left.shape[:-1], n_pieces, _PIECE)
    pieces = pieces.transpose(*axes, left.ndim - 1, left.ndim - 2, left.ndim)
    others = right[..., :whole, :].reshape(*right.shape[:-2], n_pieces, _PIECE, right.shape[-1])
    total = (pieces @ others).sum(axis=-3, dtype=np.float64)
    return total + left[..., whole:] @ right[..., whole:, :]


def pass_of(part, reader):
    """The computations of a gate, or of experts: their own, or linear ones.

    Parameters
    ----------
    part : gate or experts
        With ``block_pass(reader)`` or ``block_coef()``; arrays on the device.
    reader : DeviceReader

    Returns
    -------
    object
        ``forward()`` gives the scores (q, m) of the present block; ``backward(error)``
        adds up what ``sum error * scores`` gives, where error is (q, m); ``finish()`` returns
        the gradient by the flat parameters.
    """
    if hasattr(part, "block_pass"):
        return part.block_pass(reader)
    return LinearPass(reader, part.block_coef())


class LinearPass:
    """Scores that are linear in the columns.

    Parameters
    ----------
    reader : DeviceReader
    coef : array of shape (D, q)
    """

    def __init__(self, reader, coef):
        self.reader = reader
        self.packed, self.gradient = reader.pack(coef), reader.new_gradient(coef.shape[1])

    def forward(self):
        """Scores (q, m)."""
        return self.reader.forward(self.packed)

    def backward(self, error):
        """Add up a block."""
        self.reader.add_gradient(error, self.gradient)

    def finish(self):
        """Gradient by the coefficients (D, q), flat."""
        return _by_column(self.reader, self.gradient).ravel()


class NetworkPass:
    """Scores that are the outputs of one network.

    Parameters
    ----------
    reader : DeviceReader
    layers : list of array of shape (inputs + 1, outputs)
    activation : str
    """

    def __init__(self, reader, layers, activation):
        self.first = LinearPass(reader, layers[0])
        self.rest, self.activation = layers[1:], activation
        self.gradients = [np.zeros_like(layer) for layer in self.rest]

    def forward(self):
        """Outputs (q, m)."""
        self.hidden, scores = [], self.first.forward()
        for layer in self.rest:
            units = activated(scores, self.activation)
            self.hidden.append(units)
            scores = layer[:-1].T @ units
            scores += layer[-1][:, None]
        return scores

    def backward(self, error):
        """Add up a block."""
        each = zip(self.rest[::-1], self.hidden[::-1], self.gradients[::-1])
        for layer, units, gradient in each:
            gradient[:-1] += long_product(units, error.T)
            gradient[-1] += error.sum(axis=1)
            error = layer[:-1] @ error
            multiply_slope(error, units, self.activation)
        self.first.backward(error)

    def finish(self):
        """Gradient by all layers, flat."""
        return np.concatenate([self.first.finish(), *(part.ravel() for part in self.gradients)])


class NetworksPass:
    """Scores that are the outputs of K networks with the same layers.

    Parameters
    ----------
    reader : DeviceReader
    layers : list of array
        The first (D, K, h), the others (K, inputs + 1, outputs).
    activation : str
    shift, unit : array of shape (P,)
        What outputs of zero and one mean.
    """

    def __init__(self, reader, layers, activation, shift, unit):
        self.n_experts = layers[1].shape[0]
        self.first = LinearPass(reader, layers[0].reshape(len(layers[0]), -1))
        self.rest, self.activation = layers[1:], activation
        self.shift, self.unit = shift[:, None], unit[:, None]
        self.gradients = [np.zeros_like(layer) for layer in self.rest]

    def forward(self):
        """Predictions (K * P, m)."""
        self.hidden, scores = [], self.first.forward()
        scores = scores.reshape(self.n_experts, -1, scores.shape[1])
        for layer in self.rest:
            units = activated(scores, self.activation)
            self.hidden.append(units)
            scores = layer[:, :-1].transpose(0, 2, 1) @ units
            scores += layer[:, -1][:, :, None]
        scores *= self.unit
        scores += self.shift
        return scores.reshape(-1, scores.shape[2])

    def backward(self, error):
        """Add up a block."""
        n_rows = error.shape[1]
        error = error.reshape(self.n_experts, -1, n_rows) * self.unit
        each = zip(self.rest[::-1], self.hidden[::-1], self.gradients[::-1])
        for layer, units, gradient in each:
            gradient[:, :-1] += long_product(units, error.transpose(0, 2, 1))
            gradient[:, -1] += error.sum(axis=2)
            error = layer[:, :-1] @ error
            multiply_slope(error, units, self.activation)
        self.first.backward(error.reshape(-1, n_rows))

    def finish(self):
        """Gradient by all layers, flat."""
        return np.concatenate([self.first.finish(), *(part.ravel() for part in self.gradients)])


class FactorPass:
    """Scores of K * P factorisation machines of second order.

    Parameters
    ----------
    reader : DeviceReader
    table : array of shape (D, K * P * (1 + F))
        Slopes of all outputs, then F factors of each, whose last row is zero.
    n_scores : int
        K * P.
    shift, unit : array of shape (P,)
        What outputs of zero and one mean.
    """

    def __init__(self, reader, table, n_scores, shift, unit):
        self.reader, self.shift, self.unit = reader, shift[:, None], unit[:, None]
        self.slopes = LinearPass(reader, table[:, :n_scores])
        self.factors = LinearPass(reader, table[:, n_scores:])
        self.table = table[:, n_scores:].reshape(len(table), n_scores, -1)
        self.squares = LinearPass(reader, np.square(self.table).sum(axis=2))

    def forward(self):
        """Predictions (K * P, m)."""
        scores, sums = self.slopes.forward(), self.factors.forward()
        n_scores, n_rows = scores.shape
        self.sums = sums.reshape(n_scores, -1, n_rows)
        scores += 0.5 * np.square(self.sums).sum(axis=1)
        with self._squared():
            scores -= 0.5 * self.squares.forward()
        by_output = scores.reshape(-1, len(self.unit), n_rows)
        return (self.unit * by_output + self.shift).reshape(n_scores, n_rows)

    def backward(self, error):
        """Add up a block."""
        n_scores, n_rows = error.shape
        error = (error.reshape(-1, len(self.unit), n_rows) * self.unit).reshape(n_scores, n_rows)
        self.slopes.backward(error)
        self.factors.backward((error[:, None] * self.sums).reshape(-1, n_rows))
        with self._squared():
            self.squares.backward(error)

    def finish(self):
        """Gradient by the table, flat."""
        n_columns, n_scores, _ = self.table.shape
        own = self.squares.finish().reshape(n_columns, n_scores, 1)
        factors = self.factors.finish().reshape(self.table.shape) - own * self.table
        factors[-1] = 0.0
        slopes = self.slopes.finish().reshape(n_columns, n_scores)
        return np.concatenate([slopes, factors.reshape(n_columns, -1)], axis=1).ravel()

    @contextmanager
    def _squared(self):
        """The reader with the squares of its block, for a moment."""
        block, self.reader.block = self.reader.block, np.square(self.reader.block)
        try:
            yield
        finally:
            self.reader.block = block


class TreePass:
    """Log probabilities of the leaves of a tree of softmax gates.

    Parameters
    ----------
    reader : DeviceReader
    coef : array of shape (D, n_branches)
    nodes : list of Node
    """

    def __init__(self, reader, coef, nodes):
        self.nodes, self.linear = nodes, LinearPass(reader, coef)

    def forward(self):
        """Log probabilities (K, m)."""
        logits = self.linear.forward()
        n_experts = self.nodes[0].experts[1]
        log_gate = np.zeros_like(logits, shape=(n_experts, logits.shape[1]))
        for node in self.nodes:
            own = logits[node.columns]
            own -= own.max(axis=0)
            own -= np.log(np.exp(own).sum(axis=0))
            for branch, (start, stop) in enumerate(node.branches):
                log_gate[start:stop] += own[branch]
        self.log_branch = logits
        return log_gate

    def backward(self, error):
        """Add up a block."""
        found = np.empty_like(self.log_branch)
        for node in self.nodes:
            own = found[node.columns]
            for branch, (start, stop) in enumerate(node.branches):
                own[branch] = error[start:stop].sum(axis=0)
            own -= own.sum(axis=0) * np.exp(self.log_branch[node.columns])
        self.linear.backward(found)

    def finish(self):
        """Gradient by the coefficients (D, n_branches), flat."""
        return self.linear.finish()


def _by_column(reader, gradient):
    """The sum of ``add_gradient`` (q, width) as (D, q), on the device."""
    return gradient[:, : reader.design.shape[1]].T
