"""Kernels of the observed information: second derivatives, row by row.

Shapes as in `skmoe._ops.blocks`. The row's coordinates are K gating logits, then K * P
outputs of experts. Pairs of coordinates (a, b) with a <= b stand in the order of rows of an
upper triangle.
"""

import numpy as np

from ._jit import kernel


@kernel
def pair_products(Z, out):
    """Write the products of all pairs of columns: Z (m, D), out (m, D * (D + 1) / 2)."""
    n_rows, n_columns = Z.shape
    for i in range(n_rows):
        start = 0
        for j in range(n_columns):
            left = Z[i, j]
            for k in range(n_columns - j):
                out[i, start + k] = left * Z[i, j + k]
            start += n_columns - j


@kernel
def categorical_information(codes, joint, scores, out):
    """Write the curvature of class scores by pairs of classes.

    codes (m,), joint (K, m) ``weight * resp``, scores (K * C, m) ``weight * resp *
    (onehot - probability)``, out (K * C * (C + 1) / 2, m) ``weight * resp * (diag(p) - pp')``.
    """
    n_experts, n_rows = joint.shape
    n_classes = scores.shape[0] // n_experts
    proba, inverse = np.empty((n_classes, n_rows)), np.empty(n_rows)
    pair = 0
    for k in range(n_experts):
        for i in range(n_rows):
            inverse[i] = 1.0 / max(joint[k, i], 1e-300)
        for c in range(n_classes):
            for i in range(n_rows):
                hit = joint[k, i] if codes[i] == c else 0.0
                proba[c, i] = hit - scores[k * n_classes + c, i]
        for c in range(n_classes):
            for i in range(n_rows):
                out[pair, i] = proba[c, i] - proba[c, i] * proba[c, i] * inverse[i]
            pair += 1
            for other in range(c + 1, n_classes):
                for i in range(n_rows):
                    out[pair, i] = -proba[c, i] * proba[other, i] * inverse[i]
                pair += 1


@kernel
def information_weights(weight, gate, joint, scores, complete, observed):
    """Turn the sums of an E-step into second derivatives of minus the log-likelihood.

    Parameters
    ----------
    weight : (m,)
    gate : (K, m), ``weight * (resp - gate_proba)``
    joint : (K, m), ``weight * resp``
    scores : (K * P, m)
        ``weight * resp`` times the derivative of an expert's log-likelihood.
    complete : (K * (K + 1) / 2 + K * P * (P + 1) / 2, m)
        What they would be were the experts of rows known, by pairs of logits (written
        here), then by pairs of outputs of each expert (given).
    observed : (M * (M + 1) / 2, m) with M = K + K * P, written
        By pairs of all coordinates.
    """
    n_experts, n_rows = gate.shape
    n_outputs = scores.shape[0] // n_experts
    inverse = 1.0 / weight
    pair, first = 0, 0
    for j in range(n_experts):
        for k in range(j, n_experts):
            same = 1.0 if j == k else 0.0
            for i in range(n_rows):
                left, right = joint[j, i] - gate[j, i], joint[k, i] - gate[k, i]
                product = left * right * inverse[i]
                complete[first, i] = same * left - product
                both = joint[j, i] * joint[k, i] * inverse[i]
                observed[pair, i] = same * (left - joint[j, i]) - product + both
            pair, first = pair + 1, first + 1
        for q in range(n_experts * n_outputs):
            same = 1.0 if q // n_outputs == j else 0.0
            for i in range(n_rows):
                observed[pair, i] = scores[q, i] * (joint[j, i] * inverse[i] - same)
            pair += 1
    own = np.empty(n_rows)
    for a in range(n_experts * n_outputs):
        k = a // n_outputs
        for i in range(n_rows):
            own[i] = inverse[i] - 1.0 / max(joint[k, i], 1e-300)
        for b in range(a, n_experts * n_outputs):
            if b // n_outputs == k:
                for i in range(n_rows):
                    observed[pair, i] = scores[a, i] * scores[b, i] * own[i] + complete[first, i]
                first += 1
            else:
                for i in range(n_rows):
                    observed[pair, i] = scores[a, i] * scores[b, i] * inverse[i]
            pair += 1
