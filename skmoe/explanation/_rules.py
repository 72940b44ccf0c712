"""The routing in words: a small tree that says where the gate sends rows."""

import textwrap
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

from .._features import is_frame, take_columns
from .._outputs import refuse_by_output

_HELD_OUT, _WIDTH = 0.3, 100


class RoutingRules:
    """Rules that mimic the routing of a mixture; printed, a line each.

    Parameters
    ----------
    table : DataFrame
        A row for each rule, the most used first: ``rule``, ``expert``, ``share`` of the rows that
        it covers, and ``purity``, the share of these whose most probable expert it is.
    fidelity : float
        Share of rows, not used to grow the tree, that the rules send to the expert that is most
        probable by the gate.
    baseline : float
        The same of the one rule that sends every row to the most used expert.
    tree : DecisionTreeClassifier
        Fitted to the gate's most probable expert.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> X = np.linspace(-1, 1, 300).reshape(-1, 1)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> rules = model.routing_rules(X)
    >>> len(rules.table)
    2
    >>> rules.fidelity > 0.95
    True
    """

    def __init__(self, table, fidelity, baseline, tree):
        self.table = table
        self.fidelity = fidelity
        self.baseline = baseline
        self.tree = tree

    def __repr__(self):
        names = max(len(str(name)) for name in self.table["expert"])
        lines = []
        for row in self.table.itertuples():
            head = f"{row.expert:<{names}}  {row.share:6.1%} of rows, {row.purity:4.0%} right  if "
            lines += textwrap.wrap(
                row.rule, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head)
            )
        one = f"one expert for all rows: {self.baseline:.3f}"
        return "\n".join([*lines, f"fidelity {self.fidelity:.3f} on held-out rows ({one})"])


def routing_rules(model, X, *, max_rules=8, random_state=0):
    """Describe by a few rules where the gate sends rows.

    A small decision tree is grown on the columns of the gate to tell its most probable expert
    (before routing), on 70 % of the rows; its fidelity is measured on the rest. It describes
    the gate, not the data: low fidelity says that rules of single features do not
    describe it.

    Parameters
    ----------
    model : MoERegressor or MoEClassifier
        Fitted, of any experts and gate.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        Rows to describe; targets are not needed.
    max_rules : int, default=8
        Leaves of the tree, at least 2.
    random_state : int, RandomState instance or None, default=0
        For the split of the rows and ties in the tree.

    Returns
    -------
    RoutingRules
        With ``table``, ``fidelity``, ``baseline`` and ``tree``; print it.

    References
    ----------
    Craven, M. W. and Shavlik, J. W. (1996). Extracting tree-structured representations of
    trained networks. NIPS 8, 24-30.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.explanation import routing_rules
    >>> X = np.linspace(-1, 1, 300).reshape(-1, 1)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> sorted(routing_rules(model, X).table["expert"])
    ['expert_0', 'expert_1']
    """
    check_is_fitted(model)
    if not isinstance(max_rules, Integral) or max_rules < 2:
        raise ValueError(f"max_rules={max_rules!r} must be a whole number of at least 2.")
    refuse_by_output(model, "routing_rules")
    rows = model._rows(X)
    expert = model._log_gate(rows).argmax(axis=1)
    numbers, names, levels = _encoded(model, rows)
    if len(expert) < 10:
        raise ValueError(f"X has {len(expert)} rows; rules and their fidelity need at least 10.")
    grown, held = train_test_split(
        np.arange(len(expert)), test_size=_HELD_OUT, random_state=random_state
    )
    tree = DecisionTreeClassifier(
        max_leaf_nodes=int(max_rules), min_impurity_decrease=1e-3, random_state=random_state
    ).fit(numbers[grown], expert[grown])
    fidelity = float(np.mean(tree.predict(numbers[held]) == expert[held]))
    most = np.bincount(expert[grown]).argmax()
    table = _table(tree, numbers, expert, names, levels, list(model.expert_names_))
    return RoutingRules(table, fidelity, float(np.mean(expert[held] == most)), tree)


def _encoded(model, rows):
    """The gate's columns as numbers (n, q), their names, and levels of those that are words."""
    columns = model._gate_columns
    seen = take_columns(rows, columns)
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        names = [f"x{j}" for j in range(model.n_features_in_)]
    names = np.asarray(names, dtype=object)
    names = list(names if columns is None else names[columns])
    if not is_frame(seen):
        seen = seen.toarray() if hasattr(seen, "toarray") else seen
        return np.asarray(seen, dtype=np.float64), names, [None] * len(names)
    parts, labels, levels = [], [], []
    for name, (_, column) in zip(names, seen.items(), strict=True):
        if pd.api.types.is_numeric_dtype(column):
            parts.append(column.to_numpy(dtype=np.float64, na_value=np.nan))
            labels.append(name)
            levels.append(None)
            continue
        for level in pd.unique(column.dropna()):
            parts.append((column == level).to_numpy(dtype=np.float64))
            labels.append(name)
            levels.append(level)
    return np.column_stack(parts), labels, levels


def _table(tree, numbers, expert, names, levels, experts):
    leaf, inner = tree.apply(numbers), tree.tree_
    found = []
    for node, path in _paths(inner):
        here = expert[leaf == node]
        winner = int(tree.classes_[inner.value[node][0].argmax()])
        found.append(
            {
                "rule": " and ".join(_conditions(path, names, levels)) or "always",
                "expert": experts[winner],
                "share": len(here) / len(expert),
                "purity": float(np.mean(here == winner)) if len(here) else np.nan,
            }
        )
    return pd.DataFrame(found).sort_values("share", ascending=False, ignore_index=True)


def _paths(inner):
    """Leaves, each with its splits (feature, threshold, whether above)."""
    stack = [(0, [])]
    while stack:
        node, path = stack.pop()
        if inner.children_left[node] < 0:
            yield node, path
            continue
        split = inner.feature[node], inner.threshold[node]
        stack.append((inner.children_left[node], [*path, (*split, False)]))
        stack.append((inner.children_right[node], [*path, (*split, True)]))


def _conditions(path, names, levels):
    """Conditions in words, one for each feature, in the order of the splits."""
    bounds = {}
    for feature, threshold, above in path:
        low, high = bounds.get(feature, (-np.inf, np.inf))
        bounds[feature] = (max(low, threshold), high) if above else (low, min(high, threshold))
    words = []
    for feature, (low, high) in bounds.items():
        name = names[feature]
        if levels[feature] is not None:
            words.append(f"{name} {'is' if low > 0.0 else 'is not'} {levels[feature]}")
        elif np.isfinite(low) and np.isfinite(high):
            words.append(f"{low:.4g} < {name} <= {high:.4g}")
        else:
            words.append(f"{name} > {low:.4g}" if np.isfinite(low) else f"{name} <= {high:.4g}")
    return words
