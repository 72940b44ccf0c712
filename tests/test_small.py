"""Kernels of many small problems against their plain forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmoe._design import solve_each, solve_spd
from skmoe._ops.blocks import soft_target_block
from skmoe._ops.small import solve_blocks, split_sums


def positive_matrices(n_systems, size, seed=0):
    factors = np.random.RandomState(seed).normal(size=(n_systems, size + 3, size))
    return np.einsum("sni,snj->sij", factors, factors)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_small_systems_are_solved(size):
    rng = np.random.RandomState(1)
    matrices, diagonal = positive_matrices(4, size), rng.uniform(size=(4, size))
    right = rng.normal(size=(4, size, 2))
    out, solved = np.empty(right.shape), np.zeros(4, dtype=bool)
    solve_blocks(matrices, diagonal, right, out, solved)
    whole = matrices + diagonal[:, :, None] * np.eye(size)
    assert solved.all()
    assert_allclose(out, np.linalg.solve(whole, right), rtol=1e-9)


@pytest.mark.parametrize("size", [3, 70], ids=["kernel", "one by one"])
def test_systems_that_are_singular_get_the_minimum_norm(size):
    matrices = positive_matrices(3, size)
    matrices[1] = np.outer(np.arange(size), np.arange(size))
    right = np.random.RandomState(0).normal(size=(3, size))
    found = solve_each(matrices, np.zeros((3, size)), right)
    for s in (0, 2):
        assert_allclose(matrices[s] @ found[s], right[s], atol=1e-6)
    assert_array_equal(found[1], solve_spd(matrices[1], right[1][:, None])[:, 0])


@pytest.mark.parametrize("ties", [False, True])
def test_sums_left_of_quartiles_equal_their_definition(ties):
    rng = np.random.RandomState(0)
    columns = rng.randint(4, size=(40, 2)).astype(float) if ties else rng.normal(size=(40, 2))
    values, weight = rng.normal(size=(40, 3)), rng.uniform(0.1, 1.0, size=40)
    order = np.argsort(columns, axis=0, kind="stable").T
    n_cuts, thresholds, out = np.zeros(2, dtype=int), np.zeros((2, 3)), np.zeros((2, 4, 4, 3))
    split_sums(columns, order, weight, values, n_cuts, thresholds, out)
    for c in range(2):
        cumulated = np.cumsum(weight[order[c]])
        at = np.searchsorted(cumulated, np.array([0.25, 0.5, 0.75]) * cumulated[-1])
        cuts = np.unique(columns[order[c], c][at])
        assert_array_equal(thresholds[c, : n_cuts[c]], cuts)
        for cut, sums in zip([*cuts, np.inf], [*out[c, : len(cuts)], out[c, 3]]):
            left = columns[:, c] <= cut
            gram = (values[left] * weight[left, None]).T @ values[left]
            assert_allclose(sums[:-1], np.tril(gram), atol=1e-12)
            assert_allclose(sums[-1, 0], weight[left].sum())


def test_cross_entropy_of_soft_targets_equals_its_definition():
    rng = np.random.RandomState(0)
    logits, targets = 3.0 * rng.normal(size=(3, 20)), rng.uniform(size=(3, 20))
    share, gate = targets.sum(axis=0), logits.copy()
    value = soft_target_block(targets, share, gate)
    log_proba = logits - np.log(np.exp(logits).sum(axis=0))
    assert_allclose(value, -np.sum(targets * log_proba), rtol=1e-12)
    assert_allclose(gate, share * np.exp(log_proba) - targets, atol=1e-12)
