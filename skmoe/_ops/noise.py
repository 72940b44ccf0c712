"""Kernels of experts beside which a law of its own explains far rows; shapes as in `blocks`."""

import numpy as np

from ._jit import kernel
from ._vector import floored_exp, vector_log
from .blocks import gaussian_sums, gaussian_terms, mix


@kernel
def noisy_gaussian_block(y, rows, variance, given, gate, scores, joint, sums):
    """E-step of a block with Gaussian experts and noise.

    The law of expert k is ``N_k + exp(log_odds)``; the second term is that of noise, and
    rows weigh for an expert by the share of the first.

    Parameters
    ----------
    y : (m, P)
    rows : (2, m)
        Weight, and ``log_odds``.
    variance : (K, P)
    given : (m, K) or empty
        Responsibilities to use in the place of the posterior; none of it is noise.
    gate : (K, m), gating logits on entry
        On return ``weight * (resp - gate_proba)``.
    scores : (K * P, m), predictions on entry
        On return ``weight * resp * share * residual``.
    joint : (K, m), written
        ``weight * resp * share``.
    sums : (K, P + 3), added to
        As of `gaussian_block`, with ``resp * share`` in the place of ``resp``.

    Returns
    -------
    float, int
        Weighted sum of log-likelihoods; rows that no expert explains.
    """
    n_experts, n_rows = gate.shape
    work, share = np.empty((4, n_rows)), np.empty((n_experts, n_rows))
    share[:] = 0.0
    gaussian_terms(y, variance, share, scores, joint)
    for k in range(n_experts):
        for i in range(n_rows):
            top = max(joint[k, i], rows[1, i])
            own = floored_exp(joint[k, i] - top)
            both = own + floored_exp(rows[1, i] - top)
            share[k, i] = own / both
            joint[k, i] = gate[k, i] + top + vector_log(both)
    load, spread = np.zeros(n_experts), np.zeros(n_experts)
    total, unexplained = mix(gate, joint, rows[0], given, work, load, spread)
    if given.shape[0] == 0:
        for k in range(n_experts):
            for i in range(n_rows):
                joint[k, i] *= share[k, i]
    gaussian_sums(load, spread, scores, joint, sums)
    return total, unexplained
