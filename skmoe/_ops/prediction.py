"""Kernels of prediction, on blocks whose rows are contiguous.

Shapes as in `skmoe._ops.blocks`: m rows, K experts, P numbers per expert and row.
"""

import numpy as np

from ._jit import kernel
from ._vector import floored_exp
from .blocks import row_maximum


@kernel
def gate_weights(gate):
    """Turn gating logits (K, m) into probabilities, in place."""
    n_experts, n_rows = gate.shape
    work = np.empty((2, n_rows))
    top, total = work[0], work[1]
    row_maximum(gate, top)
    for i in range(n_rows):
        total[i] = 0.0
    for k in range(n_experts):
        for i in range(n_rows):
            gate[k, i] = floored_exp(gate[k, i] - top[i])
            total[i] += gate[k, i]
    for i in range(n_rows):
        total[i] = 1.0 / total[i]
    for k in range(n_experts):
        for i in range(n_rows):
            gate[k, i] *= total[i]


@kernel
def mean_block(weights, scores, out):
    """Write the weighted mean of experts: weights (K, m), scores (K * P, m), out (m, P)."""
    n_experts, n_rows = weights.shape
    n_outputs = out.shape[1]
    for j in range(n_outputs):
        for i in range(n_rows):
            out[i, j] = weights[0, i] * scores[j, i]
        for k in range(1, n_experts):
            row = k * n_outputs + j
            for i in range(n_rows):
                out[i, j] += weights[k, i] * scores[row, i]


@kernel
def class_probabilities(scores, n_experts):
    """Turn class scores (K * C, m) into probabilities of each expert, in place."""
    n_classes = scores.shape[0] // n_experts
    for k in range(n_experts):
        gate_weights(scores[k * n_classes : (k + 1) * n_classes])


@kernel
def top_one(gate, out):
    """Write the first of the largest logits of each row: gate (K, m), out (m, 1) of int."""
    n_experts, n_rows = gate.shape
    best = np.empty(n_rows)
    for i in range(n_rows):
        best[i] = gate[0, i]
        out[i, 0] = 0
    for k in range(1, n_experts):
        for i in range(n_rows):
            better = gate[k, i] > best[i]
            best[i] = gate[k, i] if better else best[i]
            out[i, 0] = k if better else out[i, 0]


@kernel
def routed_linear(X, indices, slopes, intercept, out):
    """Write the scores of the chosen experts only.

    X (m, d), indices (m, k), slopes (K, P, d), intercept (K, P), out (m, k, P).
    """
    n_outputs, n_columns = slopes.shape[1], slopes.shape[2]
    for i in range(X.shape[0]):
        for slot in range(indices.shape[1]):
            expert = indices[i, slot]
            for j in range(n_outputs):
                total = 0.0
                for column in range(n_columns):
                    total += X[i, column] * slopes[expert, j, column]
                out[i, slot, j] = total + intercept[expert, j]
