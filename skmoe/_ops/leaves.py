"""Leaves of binary trees on numbers: the order of their nodes, and sums over many trees.

Shapes: n rows, d features, T trees of N nodes together, P outputs. A node is four words of 32
bits, so that a step loads one line of cache: the code of its feature, its left child, and the
threshold in the type of X in what is left. Its right child comes after the left one.
"""

import numpy as np

from ._jit import kernel

CODE, LEFT = 0, 1
# Rows whose place in a tree stays in the nearest cache.
_BLOCK = 512


@kernel
def lay_out(lefts, rights, codes, starts, words, order):
    """Put nodes level by level, children of a node side by side.

    Parameters
    ----------
    lefts, rights : ndarray of shape (N,) of int64
        Children, relative to the first node of the tree; -1 in leaves.
    codes : ndarray of shape (N,) of int64
        Twice the feature, and one more where missing values go right.
    starts : ndarray of shape (T + 1,) of int64
        First node of each tree, its root.
    words : ndarray of shape (N, 4) of int32
        Written but for thresholds. A leaf has the code -1.
    order : ndarray of shape (N,) of int64
        Which node comes here.
    """
    for tree in range(len(starts) - 1):
        start, free = starts[tree], starts[tree] + 1
        order[start] = start
        for place in range(start, starts[tree + 1]):
            node = order[place]
            if lefts[node] < 0:
                words[place, CODE], words[place, LEFT] = -1, place
                continue
            words[place, CODE], words[place, LEFT] = codes[node], free
            order[free], order[free + 1] = start + lefts[node], start + rights[node]
            free += 2


@kernel
def add_leaves(X, words, thresholds, values, roots, columns, out):
    """Add the leaf of each row in each tree to the outputs, tree after tree.

    Rows of a block go down one level at a time, and only those that have not arrived: their
    loads overlap, and no branch depends on which way they go.

    Parameters
    ----------
    X : ndarray of shape (n, d) of float32 or float64
        May have NaN; no infinities in float32.
    words : ndarray of shape (N, 4) of int32
        From `lay_out`.
    thresholds : ndarray of shape (N,)
        Of the type of X; rows at most so large go left.
    values : ndarray of shape (N, P)
    roots : ndarray of shape (T,) of int64
    columns : ndarray of shape (T,) of int64
        First column of ``out`` that a tree adds to.
    out : ndarray of shape (n, Q)
    """
    # Without a sign there is no index from the end to look out for.
    at, active = np.empty(_BLOCK, dtype=np.uint64), np.empty(_BLOCK, dtype=np.uint64)
    for first in range(0, len(X), _BLOCK):
        block, sums = X[first : first + _BLOCK], out[first : first + _BLOCK]
        for tree in range(len(roots)):
            root, column = np.uint64(roots[tree]), columns[tree]
            for i in range(len(block)):
                at[i], active[i] = root, i
            n_active = len(block) if words[root, CODE] >= 0 else 0
            while n_active > 0:
                kept = 0
                for a in range(n_active):
                    i = active[a]
                    j = at[i]
                    code = words[j, CODE]
                    x = block[i, np.uint64(code >> 1)]
                    right = (x > thresholds[j]) | ((x != x) & ((code & 1) == 1))
                    j = np.uint64(words[j, LEFT] + right)
                    # Written always and kept if the row goes on.
                    at[i], active[kept] = j, i
                    kept += words[j, CODE] >= 0
                n_active = kept
            for i in range(len(block)):
                for p in range(values.shape[1]):
                    sums[i, column + p] += values[at[i], p]
