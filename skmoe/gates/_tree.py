"""Trees of experts: what ``branching`` means, and which experts are siblings."""

from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

import numpy as np

from .._design import solve_spd
from .._ops import get_ops
from .._precondition import fits_gram, gram_preconditioner
from ._logits import fit_logits

# The search for groups of experts: rows that it looks at, principal directions that it
# starts from, and ways of grouping that are fitted, with their iterations.
_MAX_ROWS = 4000
_N_STARTS, _N_TRIALS, _TRIAL_ITER = 3, 10, 15


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


def arrange(nodes, design, resp, weight, net):
    """An order of experts (K,) in which those that are alike share a subtree.

    From the root down, the experts of a node are shared out among its branches such that
    the node can tell well which branch is responsible. All ways that a search by swaps
    comes across are ranked by a linear regression of the branches' responsibilities on
    the features (one of all experts gives those of all sums of them); the best of these
    are fitted, and the highest likelihood wins.

    Parameters
    ----------
    nodes : list of Node
    design : Design of shape (n, D)
    resp : ndarray of shape (n, K)
    weight : ndarray of shape (n,)
    net : ElasticNet
        Penalty of the fits.

    Returns
    -------
    ndarray of shape (K,)
        Column of ``resp`` for each leaf.
    """
    step = -(-len(resp) // _MAX_ROWS)
    design, resp, weight = design.on(design.X[::step]), resp[::step], weight[::step]
    order = np.arange(resp.shape[1])
    for node in nodes:
        experts = order[slice(*node.experts)]
        sizes = [stop - start for start, stop in node.branches]
        if max(sizes) == 1:
            continue  # nothing to choose: all are siblings
        explained, residual = _regress(design, resp[:, experts], weight)
        found = [experts[way] for way in _shares(explained, residual, sizes)]
        gains = [_node_loglik(node, design, resp, weight, way, net) for way in found]
        order[slice(*node.experts)] = found[int(np.argmax(gains))]
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
        slopes = solve_spd(design.grams(weight[:, None])[0] + 1e-6 * np.eye(len(cross)), cross)
    else:
        slopes = cross / (design.column_squares(weight[:, None]) + 1e-6)
    explained = cross.T @ slopes
    return explained, weighted.T @ shares - explained


def _node_loglik(node, design, resp, weight, experts, net):
    """Penalised log-likelihood of a node's softmax, after a few iterations of a fit."""
    share = weight / weight.sum()
    ordered = np.empty_like(resp)
    ordered[:, slice(*node.experts)] = resp[:, experts]
    targets = share[:, None] * below(node, ordered)
    start = np.zeros((design.shape[1], targets.shape[1]))
    curvature = max(targets.sum(), 1e-12) / targets.shape[1] / weight.sum()
    precondition = gram_preconditioner(design, weight, curvature, net.ridge, targets.shape[1])
    coef, _ = fit_logits(design, targets, start, net, precondition, max_iter=_TRIAL_ITER, tol=1e-8)
    log_branch = design.dot(coef)
    get_ops().log_softmax(log_branch, log_branch)
    return np.sum(targets * log_branch) - net.value(coef)


def _shares(explained, residual, sizes):
    """Orders of experts, cut into groups of given sizes: the best by their residual."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    seen = {}
    directions = np.linalg.eigh(explained)[1][:, ::-1][:, :_N_STARTS]
    for axis in directions.T:
        for sign in (1, -1):
            _swap(np.argsort(sign * axis, kind="stable"), residual, groups, seen)
    return [order for _, order in sorted(seen.values(), key=lambda pair: pair[0])[:_N_TRIALS]]


def _swap(order, residual, groups, seen):
    """Swap pairs of experts between groups while that lowers the residual; note all seen."""

    def loss(order):
        members = [order[groups == group] for group in range(groups[-1] + 1)]
        value = sum(residual[np.ix_(some, some)].sum() for some in members)
        seen.setdefault(frozenset(frozenset(some.tolist()) for some in members), (value, order))
        return value

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
