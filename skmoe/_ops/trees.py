"""Regression trees on binned features: growing one leaf at a time, and adding many up.

Shapes: n rows, d features, m rows that a tree is grown on. Codes are (d, n) of uint8, so
that a feature's bins lie together; bin 255 is of missing values and unknown categories.
"""

import numpy as np

from ._jit import kernel

MISSING = 255

# Columns of the integer table of a tree's nodes. A leaf has no feature (-1); a node of a
# categorical feature has a row of `masks` in the place of a threshold (else -1).
FEATURE, THRESHOLD, MISSING_LEFT, LEFT, RIGHT, MASK = range(6)
# Categories are ordered by their gradient over this much more than their curvature.
_SMOOTH = 10.0
_LEAST = 1e-12
# Rows whose codes stay in cache while all trees are added up.
_BLOCK = 2048
# Rows from which tables of where codes go pay.
_MANY = 256


@kernel
def _fill(codes, rows, slopes, start, stop, hist):
    """Sums (d, 256, 2) of gradients and curvatures by bin."""
    for f in range(codes.shape[0]):
        column, sums = codes[f], hist[f]
        sums[:] = 0.0
        for i in range(start, stop):
            c = column[rows[i]]
            sums[c, 0] += slopes[i, 0]
            sums[c, 1] += slopes[i, 1]


@kernel
def _score(g, h, l2):
    return g * g / (h + l2 + _LEAST)


@kernel
def _scan(sums, order, n_used, totals, least, l2, missing_apart, best):
    """Best cut of ordered bins: writes (gain, position, missing left) where it beats `best`."""
    g_all, h_all = totals[0], totals[1]
    g_miss = sums[MISSING, 0] if missing_apart else 0.0
    h_miss = sums[MISSING, 1] if missing_apart else 0.0
    parent = _score(g_all, h_all, l2)
    g, h, found = 0.0, 0.0, False
    for position in range(n_used):
        g += sums[order[position], 0]
        h += sums[order[position], 1]
        # An empty bin cuts where the one before it did.
        if sums[order[position], 1] <= 1e-12 * h_all:
            continue
        for side in range(2 if h_miss > _LEAST else 1):
            g_left, h_left = g + side * g_miss, h + side * h_miss
            h_right = h_all - h_left
            if h_left < least or h_right < least:
                continue
            gain = _score(g_left, h_left, l2) + _score(g_all - g_left, h_right, l2) - parent
            if gain > best[0] + 1e-10 * (parent + gain):
                best[0], best[1], found = gain, position, True
                best[2] = side if h_miss > _LEAST else (1.0 if h_left >= h_right else 0.0)
    return found


@kernel
def _best_split(hist, n_bins, categorical, totals, least, l2, split, mask):
    """Write (gain, feature, threshold, missing left) and, of categories, who goes left."""
    split[0], split[1] = 0.0, -1.0
    best = np.zeros(3)
    order = np.arange(256)
    for f in range(hist.shape[0]):
        if not categorical[f]:
            if _scan(hist[f], order, n_bins[f], totals, least, l2, True, best):
                split[0], split[1], split[2], split[3] = best[0], f, best[1], best[2]
            continue
        keys, n_used = np.full(256, np.inf), 0
        for c in range(256):
            if hist[f, c, 1] > 1e-10 * totals[1]:
                keys[c] = hist[f, c, 0] / (hist[f, c, 1] + _SMOOTH)
                n_used += 1
        ranked = np.argsort(keys)
        if _scan(hist[f], ranked, n_used, totals, least, l2, False, best):
            split[0], split[1], split[2], split[3] = best[0], f, best[1], best[2]
            # Who was not seen goes with the heavier side.
            mask[:] = 1 if best[2] > 0.0 else 0
            for position in range(n_used):
                mask[ranked[position]] = 1 if position <= best[1] else 0


@kernel
def _goes_left(code, nodes, j, masks):
    if nodes[j, MASK] >= 0:
        return masks[nodes[j, MASK], code] == 1
    if code == MISSING:
        return nodes[j, MISSING_LEFT] == 1
    return code <= nodes[j, THRESHOLD]


@kernel
def _spread(nodes, j, masks, left, right, table):
    """Write for each code (256,) of a node's feature the one of two that it goes to."""
    # Not by `_goes_left`: so many calls cost more than what they save.
    mask, threshold = nodes[j, MASK], nodes[j, THRESHOLD]
    for c in range(256):
        goes = masks[mask, c] == 1 if mask >= 0 else c <= threshold
        table[c] = left if goes else right
    if mask < 0:
        table[MISSING] = left if nodes[j, MISSING_LEFT] == 1 else right


@kernel
def _partition(column, goes_left, rows, slopes, start, stop, spare, spare_slopes):
    """Put the rows that go left first, in their order; returns where the others begin."""
    left, n_right = start, 0
    for i in range(start, stop):
        row, g, h = rows[i], slopes[i, 0], slopes[i, 1]
        # Both are written and one is kept: a branch would be guessed wrong half the time.
        goes = goes_left[column[row]]
        rows[left], slopes[left, 0], slopes[left, 1] = row, g, h
        spare[n_right], spare_slopes[n_right, 0], spare_slopes[n_right, 1] = row, g, h
        left += goes
        n_right += 1 - goes
    for i in range(n_right):
        rows[left + i] = spare[i]
        slopes[left + i, 0], slopes[left + i, 1] = spare_slopes[i, 0], spare_slopes[i, 1]
    return left


@kernel
def grow_tree(codes, n_bins, categorical, rows, slopes, limits, nodes, values, gains, masks):
    """Grow a tree by Newton's method, always splitting the leaf that gains most.

    Parameters
    ----------
    codes : ndarray of shape (d, n) of uint8
    n_bins : ndarray of shape (d,) of int64
        Bins in use; those of missing values not counted.
    categorical : ndarray of shape (d,) of bool
    rows : ndarray of shape (m,) of int64
        Rows to grow on; permuted.
    slopes : ndarray of shape (m, 2)
        Gradient and curvature of the objective by the prediction of ``rows``; permuted.
    limits : ndarray of shape (3,)
        Leaves at most, least sum of curvatures of a leaf, ridge on its value.
    nodes : ndarray of shape (2 L - 1, 6) of int32
        Table of nodes; the root first.
    values, gains : ndarray of shape (2 L - 1,)
        Sum of gradients over that of curvatures plus ridge; gain of the split.
    masks : ndarray of shape (L, 256) of uint8
        Of categorical splits: which bins go left.

    Returns
    -------
    n_nodes, n_masks : int
    """
    n_leaves, least, l2 = int(limits[0]), limits[1], limits[2]
    hists = np.empty((n_leaves, codes.shape[0], 256, 2))
    slot_of = np.zeros(2 * n_leaves - 1, dtype=np.int64)
    spans = np.zeros((2 * n_leaves - 1, 2), dtype=np.int64)
    totals = np.zeros((2 * n_leaves - 1, 2))
    splits = np.zeros((2 * n_leaves - 1, 4))
    pending = np.zeros((2 * n_leaves - 1, 256), dtype=np.uint8)
    spare, spare_slopes = np.empty(len(rows), dtype=np.int64), np.empty((len(rows), 2))
    goes_left = np.zeros(256, dtype=np.int64)
    spans[0, 1] = len(rows)
    for i in range(len(rows)):
        totals[0, 0] += slopes[i, 0]
        totals[0, 1] += slopes[i, 1]
    _fill(codes, rows, slopes, 0, len(rows), hists[0])
    _best_split(hists[0], n_bins, categorical, totals[0], least, l2, splits[0], pending[0])
    nodes[0, :] = -1
    values[0] = totals[0, 0] / (totals[0, 1] + l2 + _LEAST)
    n_nodes, n_masks = 1, 0
    for leaf_count in range(1, n_leaves):
        chosen, most = -1, 0.0
        for j in range(n_nodes):
            if nodes[j, FEATURE] < 0 and splits[j, 1] >= 0.0 and splits[j, 0] > most:
                chosen, most = j, splits[j, 0]
        if chosen < 0:
            break
        node, f = nodes[chosen], int(splits[chosen, 1])
        node[FEATURE], node[THRESHOLD] = f, int(splits[chosen, 2])
        node[MISSING_LEFT] = int(splits[chosen, 3])
        if categorical[f]:
            node[MASK] = n_masks
            masks[n_masks] = pending[chosen]
            n_masks += 1
        gains[chosen] = most
        start, stop = spans[chosen]
        _spread(nodes, chosen, masks, 1, 0, goes_left)
        middle = _partition(codes[f], goes_left, rows, slopes, start, stop, spare, spare_slopes)
        left, right = n_nodes, n_nodes + 1
        node[LEFT], node[RIGHT] = left, right
        spans[left, 0], spans[left, 1] = start, middle
        spans[right, 0], spans[right, 1] = middle, stop
        n_nodes += 2
        # Sums of the smaller child are counted, those of the other are what is left.
        small = left if middle - start <= stop - middle else right
        other = right if small == left else left
        slot_of[small], slot_of[other] = leaf_count, slot_of[chosen]
        mine, rest = hists[slot_of[small]], hists[slot_of[other]]
        _fill(codes, rows, slopes, spans[small, 0], spans[small, 1], mine)
        for feature in range(len(mine)):
            for c in range(n_bins[feature]):
                rest[feature, c, 0] -= mine[feature, c, 0]
                rest[feature, c, 1] -= mine[feature, c, 1]
            rest[feature, MISSING, 0] -= mine[feature, MISSING, 0]
            rest[feature, MISSING, 1] -= mine[feature, MISSING, 1]
        for j in (left, right):
            nodes[j, :] = -1
            totals[j, :] = 0.0
            for i in range(spans[j, 0], spans[j, 1]):
                totals[j, 0] += slopes[i, 0]
                totals[j, 1] += slopes[i, 1]
            values[j] = totals[j, 0] / (totals[j, 1] + l2 + _LEAST)
            hist = hists[slot_of[j]]
            if leaf_count + 1 < n_leaves:
                _best_split(hist, n_bins, categorical, totals[j], least, l2, splits[j], pending[j])
            else:
                splits[j, 1] = -1.0
    return n_nodes, n_masks


@kernel
def add_trees(codes, starts, outputs, nodes, values, masks, out):
    """Add the values of trees to their outputs: codes (d, n), out (P, n).

    Parameters
    ----------
    codes : ndarray of shape (d, n) of uint8
    starts : ndarray of shape (T + 1,) of int64
        First node of each tree, to which its LEFT and RIGHT are relative.
    outputs : ndarray of shape (T,) of int64
        Row of ``out`` that a tree adds to.
    nodes : ndarray of shape (N, 6) of int32
    values : ndarray of shape (N,)
    masks : ndarray of shape (M, 256) of uint8
    out : ndarray of shape (P, n)
    """
    n_rows = codes.shape[1]
    most = 0
    for tree in range(len(outputs)):
        most = max(most, starts[tree + 1] - starts[tree])
    features, to = np.empty(most, dtype=np.int64), np.empty((most, 256), dtype=np.int32)
    for first in range(0, n_rows, _BLOCK):
        last = min(first + _BLOCK, n_rows)
        for tree in range(len(outputs)):
            root, output = starts[tree], outputs[tree]
            # With many rows it pays to write down where each code goes.
            tabled = last - first >= _MANY
            if tabled:
                for j in range(starts[tree + 1] - root):
                    features[j] = nodes[root + j, FEATURE]
                    if features[j] >= 0:
                        node = root + j
                        _spread(nodes, node, masks, nodes[node, LEFT], nodes[node, RIGHT], to[j])
            for i in range(first, last):
                j = 0
                if tabled:
                    while features[j] >= 0:
                        j = to[j, codes[features[j], i]]
                else:
                    while nodes[root + j, FEATURE] >= 0:
                        node = root + j
                        left = _goes_left(codes[nodes[node, FEATURE], i], nodes, node, masks)
                        j = nodes[node, LEFT] if left else nodes[node, RIGHT]
                out[output, i] += values[root + j]
