"""The observed information of gate and linear experts, as a preconditioner."""

import numpy as np
from scipy.linalg import lapack

from ._ops import get_ops
from ._sweep import can_sweep, single_blas, weighs_grams

# Rows for each parameter: a sample tells the curvature well enough.
_MOST_ROWS, _LEAST_ROWS = 10, 3
# What it may cost: so many passes, or so many operations where passes are short.
_PASSES, _SMALL = 15, 2e7
# Operations that take as long as what is done with one score of a row, beside products.
_SCORE_COST = 60
_BLOCK_NUMBERS = 2**17
# Shares of the complete information that are tried until the mixture is positive definite.
_SHARES = (0.0, 0.1, 0.3, 0.6, 1.0)


class Information:
    r"""Second derivatives of minus the objective on some rows.

    With complete-data scores :math:`s_k` and curvatures :math:`C_k` of a row, they are
    :math:`\sum_k r_k C_k - \mathrm{Cov}_r(s)` (Louis 1982). Far from an optimum the matrix
    need not be positive definite; then some share of the covariance is left out.
    Coefficients are in units of the parts' flat parameters; noise stands apart.

    Parameters
    ----------
    data : FitData
        Whose gate and experts see the same dense columns.
    parts : Parts
    rows : ndarray of int

    References
    ----------
    Louis, T. A. (1982). Finding the observed information matrix when using the EM
    algorithm. Journal of the Royal Statistical Society B 44, 226-233.
    """

    def __init__(self, data, parts, rows):
        self.total_weight = data.total_weight
        some = data.on(rows)
        self.y, self.weight = some.y, some.weight
        self.design = some.X.on(np.ascontiguousarray(some.X.X))
        self.n_columns, self.n_experts, self.n_outputs = parts.experts.coef.shape
        n_rows = self.n_experts * (1 + self.n_outputs)
        self._pairs, self._products = _symmetric(n_rows), _symmetric(self.n_columns)
        blocks = _within(self.n_experts, self.n_outputs)
        self._complete_pairs = blocks[blocks >= 0].max() + 1
        n_gate = self.n_experts * (self.n_experts + 1) // 2
        self._diagonal = np.diag(blocks)[self.n_experts :] - n_gate
        self._index = self._flat_index(self._pairs)
        self._complete_index = self._flat_index(blocks)

    @classmethod
    def affordable(cls, data, parts):
        """An instance, or None where parts lack what it takes or it would not pay."""
        able = can_sweep(data, parts) and hasattr(parts.gate, "ridge")
        if not (able and getattr(parts.likelihood, "information_block", None)):
            return None
        if data.X.is_sparse or not data.gate_X.same_columns(data.X):
            return None
        n_columns, n_experts, n_outputs = parts.experts.coef.shape
        n_scores, n_rows = n_experts * (1 + n_outputs), data.X.shape[0]
        n_parameters = n_columns * n_scores
        by_row = n_columns * (n_columns + 1) * n_scores * (n_scores + 1) / 2
        a_pass = n_rows * n_scores * (4 * n_columns + _SCORE_COST)
        budget = max(_PASSES * a_pass, _SMALL) - n_parameters**3
        most = min(n_rows, _MOST_ROWS * n_parameters, budget / by_row)
        if most < min(n_rows, _LEAST_ROWS * n_parameters):
            return None
        return cls(data, parts, np.arange(0, n_rows, -(-n_rows // int(most))))

    def preconditioner(self, parts, likelihood_curvature):
        """A function that applies the inverse to flat vectors; None if there is none.

        Parameters
        ----------
        parts : Parts
        likelihood_curvature : ndarray
            Diagonal for the parameters of the likelihood.
        """
        observed, complete = self.matrices(parts)
        factor = _factor(observed, complete)
        if factor is None:
            return None
        size, noise = len(observed), 1.0 / likelihood_curvature

        def apply(vector):
            solved = lapack.dpotrs(factor, vector[:size], lower=1)[0]
            return np.concatenate([solved, noise * vector[size:]])

        return apply

    def matrices(self, parts):
        """Observed and complete information (p, p) of gate and experts by flat parameters."""
        with single_blas:
            observed, complete = self._sums(parts)
        complete = np.append(complete, 0.0)  # what pairs of different blocks have
        shape = (self.n_experts, self.n_outputs)
        unit = np.broadcast_to(parts.experts.unit(), shape).ravel()
        unit = np.concatenate([np.ones(self.n_experts), unit])
        scale = self._flat(np.tile(unit, (self.n_columns, 1)))
        ridge = np.broadcast_to(parts.experts.ridge() / self.total_weight, shape).ravel()
        penalty = np.tile(
            np.concatenate([np.full(self.n_experts, parts.gate.ridge), ridge]),
            (self.n_columns, 1),
        )
        penalty[-1] = 0.0
        found = []
        for sums, index in ((observed, self._index), (complete, self._complete_index)):
            matrix = sums.ravel()[index]
            matrix[np.diag_indices(len(matrix))] += self._flat(penalty)
            found.append(matrix * scale * scale[:, None])
        return found

    def _sums(self, parts):
        """Sums by pairs of coordinates and pairs of columns: observed, complete."""
        ops = get_ops()
        n_gate = self.n_experts
        n_pairs, n_products = self._pairs[-1, -1] + 1, self._products[-1, -1] + 1
        height = n_pairs + self._complete_pairs
        coef = np.hstack([parts.gate.block_coef(), parts.experts.block_coef()]).T
        total = np.zeros((height, n_products))
        size = int(np.clip(_BLOCK_NUMBERS // (height + n_products), 64, 1024))
        n_sums = parts.likelihood.n_sums(self.n_outputs)
        for start in range(0, len(self.y), size):
            rows = slice(start, min(start + size, len(self.y)))
            Z, y, weight = self.design.block(rows), self.y[rows], self.weight[rows]
            scores = coef @ Z.T
            gate, scores = scores[:n_gate], scores[n_gate:]
            joint, work = np.empty_like(gate), np.empty((height, len(y)))
            sums = np.zeros((self.n_experts, n_sums))
            arrays = (y, weight, np.empty((0, 0)), gate, scores, joint, sums)
            own = work[n_pairs + n_gate * (n_gate + 1) // 2 :]
            if weighs_grams(parts):  # predictors of one expert do not share curvature
                curvature = np.empty_like(scores)
                parts.likelihood.e_block(*arrays, curvature)
                own[:] = 0.0
                own[self._diagonal] = curvature
            else:
                parts.likelihood.e_block(*arrays)
                parts.likelihood.information_block(y, joint, scores, own)
            ops.information_weights(weight, gate, joint, scores, work[n_pairs:], work[:n_pairs])
            products = np.empty((len(y), n_products))
            ops.pair_products(Z, products)
            total += work @ products
        total /= self.weight.sum()
        return total[:n_pairs], total[n_pairs:]

    def _flat(self, values):
        """Values (D, K + K * P) in the order of flat parameters."""
        return np.concatenate(
            [values[:, : self.n_experts].ravel(), values[:, self.n_experts :].ravel()]
        )

    def _flat_index(self, pairs):
        """Places (p, p) of second derivatives in sums by pairs, from pairs of coordinates."""
        n_products = self._products[-1, -1] + 1
        columns = np.arange(self.n_columns)[:, None]
        rows = np.arange(len(pairs))[None, :]
        columns = self._flat(np.broadcast_to(columns, (self.n_columns, len(pairs))))
        rows = self._flat(np.broadcast_to(rows, (self.n_columns, len(pairs))))
        pair = pairs[rows[:, None], rows]
        place = pair * n_products + self._products[columns[:, None], columns]
        none = (self._complete_pairs if pairs is not self._pairs else 0) * n_products
        return np.where(pair >= 0, place, none)


def _symmetric(size):
    """Number of each pair in an upper triangle read by rows: (size, size)."""
    numbers = np.zeros((size, size), dtype=np.intp)
    upper = np.triu_indices(size)
    numbers[upper] = np.arange(len(upper[0]))
    return np.maximum(numbers, numbers.T)


def _within(n_experts, n_outputs):
    """The same for pairs of logits and pairs of outputs of one expert; -1 for others."""
    size = n_experts * (1 + n_outputs)
    numbers = np.full((size, size), -1, dtype=np.intp)
    gate, block = _symmetric(n_experts), _symmetric(n_outputs)
    numbers[:n_experts, :n_experts] = gate
    first = gate[-1, -1] + 1
    for k in range(n_experts):
        rows = slice(n_experts + k * n_outputs, n_experts + (k + 1) * n_outputs)
        numbers[rows, rows] = first + k * (block[-1, -1] + 1) + block
    return numbers


def _factor(observed, complete):
    """Cholesky factor of the first mixture that is positive definite, or None."""
    if not (np.isfinite(observed).all() and np.isfinite(complete).all()):
        return None
    small = 1e-8 * np.trace(complete) / len(complete)
    for share in _SHARES:
        matrix = observed + share * (complete - observed)
        matrix[np.diag_indices(len(matrix))] += small
        factor, failed = lapack.dpotrf(matrix, lower=1)
        if not failed:
            return factor
    return None
