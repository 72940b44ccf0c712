"""Kernels of one pass over the rows, on blocks whose rows are contiguous.

Shapes: m rows of a block, K experts, P numbers per expert and row, D columns. Scores
are (K, m): the inner loops run over rows, so that they vectorise.
"""

import math

import numpy as np

from ._jit import kernel
from ._lanes import HAS_TILE
from ._tiles import ROWS, gram_tile_1, gram_tile_2, gram_tile_3
from ._vector import floored_exp, vector_log
from .rows import PADDING, TILE_BYTES

LOG_2PI = math.log(2.0 * math.pi)


@kernel
def row_maximum(scores, work):
    """Write the largest score of each row: scores (K, m), work (m,)."""
    n_experts, n_rows = scores.shape
    for i in range(n_rows):
        work[i] = scores[0, i]
    for k in range(1, n_experts):
        for i in range(n_rows):
            work[i] = max(work[i], scores[k, i])


@kernel
def _count_load(gate, weight, top, first, load):
    """Write the largest logit of each row and which expert's it is, the first one's of equals.

    Adds each row's weight to the load (K,) of that expert.
    """
    n_experts, n_rows = gate.shape
    for i in range(n_rows):
        top[i] = gate[0, i]
        first[i] = 0.0
    for k in range(1, n_experts):
        for i in range(n_rows):
            first[i] = k if gate[k, i] > top[i] else first[i]
            top[i] = max(top[i], gate[k, i])
    for i in range(n_rows):
        load[int(first[i])] += weight[i]


@kernel
def mix(gate, joint, weight, given, work, load, spread):
    """Turn log-scores into weighted responsibilities.

    On entry ``gate`` holds gating logits and ``joint`` their sum with the log-likelihood
    of each expert, both (K, m). On return ``joint`` is ``weight * resp`` and ``gate`` is
    ``weight * (resp - gate_proba)``. ``given`` (m, K), unless empty, takes the place of
    the responsibilities. ``work`` is (4, m). Adds to ``load`` (K,) the weight of rows
    whose most probable expert is k, and to ``spread`` (K,) the sum of
    ``weight * gate_proba * (1 - gate_proba)``. Returns the weighted sum of the row's
    log-likelihoods and the number of rows that no expert explains.
    """
    n_experts, n_rows = gate.shape
    top_gate, top_joint, sum_gate, sum_joint = work[0], work[1], work[2], work[3]
    _count_load(gate, weight, top_gate, sum_gate, load)
    row_maximum(joint, top_joint)
    for i in range(n_rows):
        sum_gate[i] = 0.0
        sum_joint[i] = 0.0
    for k in range(n_experts):
        for i in range(n_rows):
            gate[k, i] = floored_exp(gate[k, i] - top_gate[i])
            sum_gate[i] += gate[k, i]
            joint[k, i] = floored_exp(joint[k, i] - top_joint[i])
            sum_joint[i] += joint[k, i]
    unexplained = 0
    for i in range(n_rows):
        unexplained += top_joint[i] == -np.inf
    if unexplained > 0:
        for i in range(n_rows):
            if top_joint[i] == -np.inf:
                sum_joint[i] = sum_gate[i]
                for k in range(n_experts):
                    joint[k, i] = gate[k, i]
    total = 0.0
    for i in range(n_rows):
        ratio = vector_log(sum_joint[i] / sum_gate[i])
        total += weight[i] * (top_joint[i] - top_gate[i] + ratio)
        sum_gate[i] = 1.0 / sum_gate[i]
        sum_joint[i] = weight[i] / sum_joint[i]
    has_given = given.shape[0] > 0
    for k in range(n_experts):
        if has_given:
            for i in range(n_rows):
                joint[k, i] = weight[i] * given[i, k]
        else:
            for i in range(n_rows):
                joint[k, i] *= sum_joint[i]
        variance = 0.0
        for i in range(n_rows):
            proba = gate[k, i] * sum_gate[i]
            weighted = weight[i] * proba
            variance += weighted * (1.0 - proba)
            gate[k, i] = joint[k, i] - weighted
        spread[k] += variance
    return total, unexplained


@kernel
def soft_target_block(targets, share, gate):
    """Cross-entropy of soft targets, and its derivative by the logits.

    Parameters
    ----------
    targets : (K, m)
    share : (m,)
        Their sums.
    gate : (K, m), logits on entry
        On return ``share * gate_proba - targets``.

    Returns
    -------
    float
        Minus the sum of targets times the logarithms of probabilities.
    """
    n_experts, n_rows = gate.shape
    work = np.empty((2, n_rows))
    top, sum_exp = work[0], work[1]
    row_maximum(gate, top)
    total = 0.0
    for i in range(n_rows):
        sum_exp[i] = 0.0
    for k in range(n_experts):
        for i in range(n_rows):
            logit = gate[k, i] - top[i]
            total -= targets[k, i] * logit
            gate[k, i] = floored_exp(logit)
            sum_exp[i] += gate[k, i]
    for i in range(n_rows):
        total += share[i] * vector_log(sum_exp[i])
        sum_exp[i] = share[i] / sum_exp[i]
    for k in range(n_experts):
        for i in range(n_rows):
            gate[k, i] = gate[k, i] * sum_exp[i] - targets[k, i]
    return total


@kernel
def gaussian_terms(y, variance, gate, scores, joint):
    """Write ``gate`` plus the log-likelihood of experts to ``joint``, residuals to ``scores``."""
    n_experts, n_rows = gate.shape
    n_outputs = y.shape[1]
    for k in range(n_experts):
        constant = 0.0
        for j in range(n_outputs):
            constant -= 0.5 * (math.log(variance[k, j]) + LOG_2PI)
        for i in range(n_rows):
            joint[k, i] = gate[k, i] + constant
        for j in range(n_outputs):
            row, half = k * n_outputs + j, 0.5 / variance[k, j]
            for i in range(n_rows):
                error = y[i, j] - scores[row, i]
                scores[row, i] = error
                joint[k, i] -= half * error * error


@kernel
def gaussian_sums(load, spread, scores, joint, sums):
    """Weight residuals by ``joint``, and add to the sums of `gaussian_block`."""
    n_experts, n_rows = joint.shape
    n_outputs = scores.shape[0] // n_experts
    for k in range(n_experts):
        for j in range(n_outputs):
            row, squares = k * n_outputs + j, 0.0
            for i in range(n_rows):
                error = scores[row, i]
                weighted = joint[k, i] * error
                squares += weighted * error
                scores[row, i] = weighted
            sums[k, j] += squares
        share = 0.0
        for i in range(n_rows):
            share += joint[k, i]
        sums[k, n_outputs] += spread[k]
        sums[k, n_outputs + 1] += share
        sums[k, n_outputs + 2] += load[k]


@kernel
def gaussian_block(y, weight, variance, given, gate, scores, joint, sums):
    """E-step of a block with Gaussian experts, and what the M-step needs of it.

    Parameters
    ----------
    y : (m, P)
    weight : (m,)
    variance : (K, P)
    given : (m, K) or empty
        Responsibilities to use in the place of the posterior.
    gate : (K, m), gating logits on entry
        On return ``weight * (resp - gate_proba)``.
    scores : (K * P, m), predictions on entry
        On return ``weight * resp * residual``.
    joint : (K, m), written
        ``weight * resp``.
    sums : (K, P + 3), added to
        ``weight * resp * residual ** 2`` by output, spread of the gate,
        ``weight * resp``, load.

    Returns
    -------
    float, int
        Weighted sum of log-likelihoods; rows that no expert explains.
    """
    n_experts, n_rows = gate.shape
    work = np.empty((4, n_rows))
    gaussian_terms(y, variance, gate, scores, joint)
    load, spread = np.zeros(n_experts), np.zeros(n_experts)
    total, unexplained = mix(gate, joint, weight, given, work, load, spread)
    gaussian_sums(load, spread, scores, joint, sums)
    return total, unexplained


@kernel
def categorical_block(codes, weight, given, gate, scores, joint, sums):
    """E-step of a block with categorical experts; arguments as in `gaussian_block`.

    ``codes`` (m,) are classes; ``scores`` (K * C, m) are class scores on entry and on
    return ``weight * resp * (onehot - probability)``. ``sums`` is (K, 3).
    """
    n_experts, n_rows = gate.shape
    n_classes = scores.shape[0] // n_experts
    work, inverse = np.empty((4, n_rows)), np.empty((n_experts, n_rows))
    for k in range(n_experts):
        first = k * n_classes
        top, sum_exp = work[0], inverse[k]
        row_maximum(scores[first : first + n_classes], top)
        for i in range(n_rows):
            joint[k, i] = gate[k, i] + scores[first + codes[i], i] - top[i]
            sum_exp[i] = 0.0
        for c in range(first, first + n_classes):
            for i in range(n_rows):
                scores[c, i] = floored_exp(scores[c, i] - top[i])
                sum_exp[i] += scores[c, i]
        for i in range(n_rows):
            joint[k, i] -= vector_log(sum_exp[i])
            sum_exp[i] = 1.0 / sum_exp[i]
    load, spread = np.zeros(n_experts), np.zeros(n_experts)
    total, unexplained = mix(gate, joint, weight, given, work, load, spread)
    for k in range(n_experts):
        first, share = k * n_classes, 0.0
        for i in range(n_rows):
            share += joint[k, i]
            inverse[k, i] *= joint[k, i]
        for c in range(first, first + n_classes):
            for i in range(n_rows):
                scores[c, i] *= -inverse[k, i]
        for i in range(n_rows):
            scores[first + codes[i], i] += joint[k, i]
        sums[k, 0] += spread[k]
        sums[k, 1] += share
        sums[k, 2] += load[k]
    return total, unexplained


@kernel
def _tiled_grams(Z, weights, skip, out):
    n_rows, width = Z.shape
    size, lanes = Z.itemsize, PADDING // Z.itemsize
    chunk = max(16, TILE_BYTES // (size * width))
    for start in range(0, n_rows, chunk):
        n = min(chunk, n_rows - start)
        rows = Z.ctypes.data + size * start * width
        for k in range(weights.shape[0]):
            if k == skip:
                continue
            r = weights.ctypes.data + size * (k * n_rows + start)
            gram = out.ctypes.data + 8 * k * width * width
            for i in range(0, width, ROWS):
                j = i - i % lanes
                while j < width:
                    left = (width - j) // lanes
                    if left >= 3:
                        gram_tile_3(Z, rows, width, r, n, i, j, gram, width)
                    elif left == 2:
                        gram_tile_2(Z, rows, width, r, n, i, j, gram, width)
                    else:
                        gram_tile_1(Z, rows, width, r, n, i, j, gram, width)
                    j += 3 * lanes


def stacked_grams(Z, weights, skip, out):
    """Plain form of `tiled_grams`: the K weighted copies of Z side by side, one product."""
    width, n_experts = Z.shape[1], len(weights)
    chosen = [k for k in range(n_experts) if k != skip]
    for start in range(0, len(Z), 256):
        rows = Z[start : start + 256]
        stacked = weights[chosen, start : start + 256].T[:, :, None] * rows[:, None, :]
        grams = rows.T @ stacked.reshape(len(rows), -1)
        out[chosen] += grams.reshape(width, len(chosen), width).transpose(1, 0, 2)


def tiled_grams(Z, weights, skip, out):
    """Add the weighted Grams of a block, at least their upper triangles.

    Parameters
    ----------
    Z : (m, width), C order, float64 or float32
        Width in bytes a multiple of `PADDING`.
    weights : (K, m), C order, of the same type
    skip : int
        Expert that is left out; -1 for none.
    out : (K, width, width), C order, float64, added to
    """
    if HAS_TILE:
        _tiled_grams(Z, weights, skip, out)
    else:
        stacked_grams(Z, weights, skip, out)


@kernel
def csr_forward(data, indices, indptr, coef, out):
    """Write ``X @ coef[:-1] + coef[-1]`` transposed: coef (d + 1, q), out (q, m)."""
    n_scores = coef.shape[1]
    row = np.empty(n_scores)
    for i in range(len(indptr) - 1):
        for q in range(n_scores):
            row[q] = coef[-1, q]
        for p in range(indptr[i], indptr[i + 1]):
            value, column = data[p], indices[p]
            for q in range(n_scores):
                row[q] += value * coef[column, q]
        for q in range(n_scores):
            out[q, i] = row[q]


@kernel
def csr_backward(data, indices, indptr, values, out):
    """Add ``[X, 1]' values'``: values (q, m), out (d + 1, q)."""
    n_scores = values.shape[0]
    row = np.empty(n_scores)
    for i in range(len(indptr) - 1):
        for q in range(n_scores):
            row[q] = values[q, i]
            out[-1, q] += row[q]
        for p in range(indptr[i], indptr[i + 1]):
            value, column = data[p], indices[p]
            for q in range(n_scores):
                out[column, q] += value * row[q]
