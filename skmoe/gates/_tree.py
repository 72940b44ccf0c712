"""Trees of experts: what ``branching`` means, and which experts are siblings."""

from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

import numpy as np

from .._design import solve_spd
from .._precondition import fits_gram

# Principal directions from which the search for groups of experts starts.
_N_STARTS = 3


@dataclass(frozen=True)
class Node:
    """An inner node of a tree whose leaves are experts 0, 1, ... from left to right.

    Attributes
    ----------
    path : tuple of int
        Numbers of the branches that lead here from the root, whose path is empty.
    branches : tuple of (int, int)
        First expert below each branch, and one past the last.
    columns : slice
        Where its branches stand in arrays with one column for each branch of the tree.
    """

    path: tuple
    branches: tuple
    columns: slice

    @property
    def experts(self):
        """First expert below the node, and one past the last."""
        return self.branches[0][0], self.branches[-1][1]


def plant(branching):
    """The inner nodes of a tree, each before those below it.

    Parameters
    ----------
    branching : int or tuple
        As `HierarchicalGate` takes it.

    Returns
    -------
    list of Node
    """
    nodes = []
    _grow_node(_subtrees(branching), (), 0, nodes)
    return nodes


def count_leaves(branching):
    """Number of experts of a tree."""
    subtrees = _subtrees(branching)
    return sum(1 if tree == 1 else count_leaves(tree) for tree in subtrees)


def _subtrees(tree):
    """What hangs from the root of a tree: a list of trees, 1 for a single expert."""
    if isinstance(tree, Integral):
        tree = (tree,)
    tree = tuple(tree) if isinstance(tree, (tuple, list)) else ()
    if tree and all(isinstance(part, Integral) for part in tree):
        below = tree[1:] if len(tree) > 1 else 1
        subtrees = [below] * int(tree[0])
    else:
        subtrees = list(tree)
    allowed = all(isinstance(part, (Integral, tuple, list)) for part in subtrees)
    if len(subtrees) < 2 or not allowed:
        raise ValueError(
            f"branching: {tree!r} is no tree; give the number of branches of each level, each "
            f"at least 2, such as (2, 2), or the subtrees of the root, such as ((2, 2), 3)."
        )
    return subtrees


def _grow_node(subtrees, path, first, nodes):
    place = len(nodes)
    nodes.append(None)
    start = nodes[place - 1].columns.stop if place else 0
    columns = slice(start, start + len(subtrees))
    edges = np.cumsum([first] + [1 if tree == 1 else count_leaves(tree) for tree in subtrees])
    branches = tuple((int(a), int(b)) for a, b in pairwise(edges))
    nodes[place] = Node(path, branches, columns)
    for number, tree in enumerate(subtrees):
        if tree != 1:
            # Columns go on where the last node that was grown ends.
            _grow_node(_subtrees(tree), (*path, number), branches[number][0], nodes)


def below(node, resp):
    """Responsibility of the experts below each branch of a node: (n, K) -> (n, b)."""
    first, last = node.experts
    starts = [start - first for start, _ in node.branches]
    return np.add.reduceat(resp[:, first:last], starts, axis=1)


def arrange(nodes, design, resp, weight):
    """An order of experts (K,) in which those that are alike share a subtree.

    From the root down, the experts of a node are shared out among its branches such that
    linear functions of the features tell best which branch is responsible: the residual
    sum of squares of a linear regression of the branches' responsibilities is least. It
    is that of sums of columns, so one regression of all columns gives it for every way
    of sharing out.

    Parameters
    ----------
    nodes : list of Node
    design : Design of shape (n, D)
    resp : ndarray of shape (n, K)
    weight : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (K,)
        Column of ``resp`` for each leaf.
    """
    order = np.arange(resp.shape[1])
    for node in nodes:
        experts = order[slice(*node.experts)]
        sizes = [stop - start for start, stop in node.branches]
        if max(sizes) == 1:
            continue  # nothing to choose: all are siblings
        explained, residual = _regress(design, resp[:, experts], weight)
        order[slice(*node.experts)] = experts[_share_out(explained, residual, sizes)]
    return order


def _regress(design, resp, weight):
    """Explained and residual products (k, k) of columns regressed on the features."""
    reached = resp.sum(axis=1)
    shares = resp / np.where(reached > 0, reached, 1.0)[:, None]
    weight = weight * reached / max((weight * reached).sum(), 1e-300)
    shares = shares - weight @ shares
    weighted = weight[:, None] * shares
    cross = design.transposed_dot(weighted)
    if fits_gram(design, 1):
        step = solve_spd(design.grams(weight[:, None])[0] + 1e-6 * np.eye(len(cross)), cross)
    else:
        step = cross / (design.column_squares(weight[:, None]) + 1e-6)
    explained = cross.T @ step
    return explained, weighted.T @ shares - explained


def _share_out(explained, residual, sizes):
    """Order of experts, cut into groups of given sizes, with the least residual."""
    directions = np.linalg.eigh(explained)[1][:, ::-1][:, :_N_STARTS]
    starts = [np.argsort(sign * axis, kind="stable") for axis in directions.T for sign in (1, -1)]
    found = [_swapped(order, residual, sizes) for order in starts]
    return min(found, key=lambda pair: pair[0])[1]


def _swapped(order, residual, sizes):
    """Swap pairs of experts between groups for as long as that lowers the residual."""
    groups = np.repeat(np.arange(len(sizes)), sizes)

    def loss(order):
        return sum(
            residual[np.ix_(order[groups == g], order[groups == g])].sum()
            for g in range(len(sizes))
        )

    best, improved = loss(order), True
    while improved:
        improved = False
        for i in range(len(order)):
            for j in range(i + 1, len(order)):
                if groups[i] == groups[j]:
                    continue
                trial = order.copy()
                trial[[i, j]] = order[[j, i]]
                value = loss(trial)
                if value < best - 1e-12:
                    best, order, improved = value, trial, True
    return best, order
