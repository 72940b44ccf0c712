"""Sums of trees on binned features."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from ._ops.trees import FEATURE, LEFT, MASK, add_trees, grow_tree


class TreeGrower:
    """How trees are grown on given rows.

    Parameters
    ----------
    codes : ndarray of shape (d, n) of uint8
    n_bins, categorical : ndarray of shape (d,)
    max_leaves : int
    min_curvature : float
        Least sum of curvatures in a leaf.
    l2 : float
        Ridge on the value of a leaf.
    n_threads : int, default=1
        Threads that share the trees of `grow_all`.
    """

    def __init__(self, codes, n_bins, categorical, max_leaves, min_curvature, l2, n_threads=1):
        self.codes, self.n_bins, self.categorical = codes, n_bins, categorical
        self.limits = np.array([max_leaves, min_curvature, l2], dtype=np.float64)
        self._pool = ThreadPoolExecutor(n_threads) if n_threads > 1 else None

    def grow_all(self, rows, gradients, curvatures):
        """A tree for each row of gradients and curvatures (P, n), in order."""
        over = map if self._pool is None else self._pool.map
        return list(over(partial(self.grow, rows), gradients, curvatures))

    def grow(self, rows, gradient, curvature):
        """A tree (nodes, values, gains, masks) on some rows; slopes (n,) of all rows."""
        n_leaves = int(self.limits[0])
        nodes = np.empty((2 * n_leaves - 1, 6), dtype=np.int32)
        values, gains = np.zeros(2 * n_leaves - 1), np.zeros(2 * n_leaves - 1)
        masks = np.zeros((n_leaves, 256), dtype=np.uint8)
        slopes = np.column_stack([gradient[rows], curvature[rows]])
        n_nodes, n_masks = grow_tree(
            self.codes,
            self.n_bins,
            self.categorical,
            rows.astype(np.int64),
            slopes,
            self.limits,
            nodes,
            values,
            gains,
            masks,
        )
        return nodes[:n_nodes], values[:n_nodes], gains[:n_nodes], masks[:n_masks]


class Forest:
    """Sums of trees for P outputs, in rounds.

    Parameters
    ----------
    n_outputs : int
        P.
    n_features : int
        d.

    Attributes
    ----------
    rate : float
        Which the newest tree was multiplied by.
    """

    def __init__(self, n_outputs, n_features):
        self.n_outputs, self.n_features, self.rate = n_outputs, n_features, 1.0
        self._trees, self._flat, self.n_rounds = [], None, 0

    @classmethod
    def mean(cls, forests):
        """The forest whose sums are the means of those of forests with as many rounds."""
        if len(forests) == 1:
            return forests[0]
        first, share = forests[0], 1.0 / len(forests)
        mean = cls(first.n_outputs, first.n_features)
        mean.rate, mean.n_rounds = share * first.rate, first.n_rounds
        mean._trees = [
            (number, output, nodes, share * values, share * gains, masks)
            for forest in forests
            for number, output, nodes, values, gains, masks in forest._trees
        ]
        mean._trees.sort(key=lambda tree: tree[0])
        return mean

    def add(self, tree, output, rate, scores, codes):
        """Take a tree in, and add it to scores (P, n) of rows with codes (d, n)."""
        nodes, values, gains, masks = tree
        self.rate = rate
        values = rate * values
        self._trees.append((self.n_rounds, output, nodes, values, gains, masks))
        self._flat = None
        starts, outputs = np.array([0, len(nodes)]), np.array([output])
        add_trees(codes, starts, outputs, nodes, values, masks, scores)

    def close_round(self):
        """Count a round."""
        self.n_rounds += 1

    def cut(self, n_rounds):
        """Forget all rounds after the first ones."""
        self._trees = [tree for tree in self._trees if tree[0] < n_rounds]
        self.n_rounds, self._flat = min(self.n_rounds, n_rounds), None

    def add_to(self, scores, codes, first=0, last=None):
        """Add the trees of some rounds to scores (P, n)."""
        rounds, starts, outputs, nodes, values, masks = self._arrays()
        begin = np.searchsorted(rounds, first)
        end = len(rounds) if last is None else np.searchsorted(rounds, last)
        if begin < end:
            add_trees(
                codes, starts[begin : end + 1], outputs[begin:end], nodes, values, masks, scores
            )
        return scores

    def importance(self, outputs=None):
        """Gains (d,) of the splits, by feature; of the trees of some outputs, or of all."""
        total = np.zeros(self.n_features)
        for _, output, nodes, _, gains, _ in self._trees:
            if outputs is not None and output not in outputs:
                continue
            inner = nodes[:, FEATURE] >= 0
            total += np.bincount(nodes[inner, FEATURE], gains[inner], self.n_features)
        return total

    def _arrays(self):
        if self._flat is None:
            rounds = np.array([tree[0] for tree in self._trees], dtype=np.int64)
            outputs = np.array([tree[1] for tree in self._trees], dtype=np.int64)
            sizes = [len(tree[2]) for tree in self._trees]
            starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            nodes = [tree[2].copy() for tree in self._trees]
            n_masks = 0
            for table, tree in zip(nodes, self._trees, strict=True):
                table[table[:, MASK] >= 0, MASK] += n_masks
                n_masks += len(tree[5])
            empty = np.empty((0, LEFT + 3), dtype=np.int32)
            self._flat = (
                rounds,
                starts,
                outputs,
                np.concatenate([empty, *nodes]),
                np.concatenate([np.empty(0), *(tree[3] for tree in self._trees)]),
                np.concatenate([np.empty((0, 256), np.uint8), *(t[5] for t in self._trees)]),
            )
        return self._flat
