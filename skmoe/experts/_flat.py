"""Fitted trees of scikit-learn as flat tables, for many short predictions.

The numbers are those of the estimators' own ``predict``, bit for bit; what is saved is the
overhead of a call, which with few rows to each of many forests is nearly all of the time.
"""

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from joblib import effective_n_jobs
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing, check_array, get_tags

from .._ops.leaves import add_leaves, lay_out

# What a table costs, in nodes a tree, against one call without: a call has a cost of its own
# by tree, and one by row. An expert that is asked again is worth a table at any size.
_NODES_A_CALL, _NODES_A_ROW = 600, 0.2
# Rows from which the many threads of histogram boosting are left to it.
_MANY_ROWS = 4096


class Tables:
    """Tables of fitted estimators, made when these predict and again where they changed.

    They are kept as long as the estimators, not by them: copies and pickles have none.
    """

    def __init__(self):
        self._kept = WeakKeyDictionary()

    def __reduce__(self):
        return Tables, ()

    def ask(self, output, who, estimator, rows):
        """Predictions of an estimator, by its table where there is one.

        Parameters
        ----------
        output : MeanOutput or ClassOutput
        who : str
        estimator : fitted estimator
        rows : RowsOf

        Returns
        -------
        ndarray of shape (m, P)
        """
        kind = _kind(estimator)
        X = None if kind is None else _seen(estimator, kind, rows)
        table = None if X is None else self._table(estimator, kind, rows.n_rows)
        if table is None:
            return output(who, estimator, rows.taken(rows.X))
        return output(who, kind.twin(table, estimator), rows.taken(X))

    def _table(self, estimator, kind, n_rows):
        """The table of an estimator, or None while it is not worth one."""
        parts = kind.parts(estimator)
        known, table = self._kept.get(estimator, (None, None))
        same = known is not None and _same(known, parts)
        if not same or table is None:
            n_nodes = sum(kind.size(part) for part in parts)
            worth = n_nodes <= len(parts) * (_NODES_A_CALL + _NODES_A_ROW * n_rows)
            table = kind.table(estimator, parts) if same or worth else None
            self._kept[estimator] = parts, table
        return table


class RowsOf:
    """Rows that experts are asked about, and what their tables see of these.

    Parameters
    ----------
    X : array, CSR or frame of shape (n, d)
    """

    def __init__(self, X):
        self.X = X
        self.rows = None
        self._numbers = {}

    def at(self, rows):
        """The same with other rows chosen, by index; None for all."""
        self.rows = rows
        return self

    @property
    def n_rows(self):
        """Rows that are chosen."""
        return self.X.shape[0] if self.rows is None else len(self.rows)

    def taken(self, X):
        """The chosen rows of X in one form or another."""
        if self.rows is None:
            return X
        return X.take(self.rows, axis=0) if type(X) is np.ndarray else _safe_indexing(X, self.rows)

    @property
    def names(self):
        """Names of columns, or None of an array."""
        return None if isinstance(self.X, np.ndarray) else list(self.X.columns)

    def numbers(self, dtype):
        """X as scikit-learn converts it, whether it has NaN, and whether infinities.

        None where it is no table of numbers.
        """
        if dtype not in self._numbers:
            self._numbers[dtype] = self._converted(dtype) if self._is_numeric() else None
        return self._numbers[dtype]

    def _is_numeric(self):
        if issparse(self.X) or not hasattr(self.X, "shape") or 0 in self.X.shape:
            return False
        types = [self.X.dtype] if isinstance(self.X, np.ndarray) else list(self.X.dtypes)
        return all(isinstance(t, np.dtype) and t.kind in "fiub" for t in types)

    def _converted(self, dtype):
        with np.errstate(over="ignore"):  # then there are infinities, which are refused
            X = check_array(self.X, dtype=dtype, ensure_all_finite=False)
        if np.isfinite(X).all():
            return X, False, False
        return X, bool(np.isnan(X).any()), bool(np.isinf(X).any())


class _Table(NamedTuple):
    """Arguments of `add_leaves` between X and the sums."""

    words: np.ndarray
    thresholds: np.ndarray
    values: np.ndarray
    roots: np.ndarray
    columns: np.ndarray

    def sums(self, X, start):
        """Add up leaves, onto rows (Q,) or (n, Q) of a start: (n, Q)."""
        out = np.array(np.broadcast_to(start, (len(X), np.shape(start)[-1])), dtype=np.float64)
        add_leaves(np.ascontiguousarray(X), *self, out)
        return out


def _make_table(lefts, rights, codes, thresholds, values, sizes, columns, dtype):
    """A table from arrays (N,) of nodes, tree after tree."""
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    words, order = np.zeros((len(lefts), 4), dtype=np.int32), np.empty(len(lefts), dtype=np.int64)
    lay_out(lefts, rights, codes, starts, words, order)
    view = words.view(dtype)
    # The last column in either type: no other word is written.
    view[:, -1] = _at_most(thresholds, dtype)[order]
    return _Table(words, view[:, -1], values[order], starts[:-1].copy(), columns)


def _at_most(thresholds, dtype):
    """The largest numbers of a type that are not above: the same rows go left."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(dtype)
    return np.where(near > thresholds, np.nextafter(near, dtype(-np.inf)), near)


class _Mean:
    """Stands for a fitted regressor."""

    def __init__(self, predict):
        self.predict = predict


class _Proba:
    """Stands for a fitted classifier."""

    def __init__(self, predict_proba, classes):
        self.predict_proba = predict_proba
        self.classes_ = classes


class _Trees:
    """How trees and forests of `sklearn.tree` are read."""

    dtype = np.float32

    def __init__(self, forest, classify):
        self.forest = forest
        self.classify = classify

    def fits(self, estimator, n_rows):
        """Whether a table says what the estimator does, in no more time."""
        if self.classify and estimator.n_outputs_ > 1:
            return False
        # Forests with threads of their own are left to these.
        return not self.forest or not (estimator.verbose or effective_n_jobs(estimator.n_jobs) > 1)

    def allows_nan(self, estimator):
        """Whether it takes missing values."""
        tree = estimator.estimators_[0] if self.forest else estimator
        return get_tags(tree).input_tags.allow_nan

    def parts(self, estimator):
        """The trees."""
        return [tree.tree_ for tree in estimator.estimators_] if self.forest else [estimator.tree_]

    @staticmethod
    def size(tree):
        """Number of nodes."""
        return tree.node_count

    def table(self, estimator, trees):
        """Read the trees."""
        lefts, rights, features, thresholds = (
            np.concatenate([getattr(tree, name) for tree in trees])
            for name in ("children_left", "children_right", "feature", "threshold")
        )
        codes = 2 * features + np.concatenate([tree.missing_go_to_left == 0 for tree in trees])
        n_classes = estimator.n_classes_ if self.classify else 1
        values = np.concatenate([tree.value[:, :, :n_classes] for tree in trees])
        values = values.reshape(len(lefts), -1)
        sizes, columns = [len(tree.feature) for tree in trees], np.zeros(len(trees), dtype=np.int64)
        return _make_table(lefts, rights, codes, thresholds, values, sizes, columns, self.dtype)

    def twin(self, table, estimator):
        """What predicts in the place of the estimator."""

        def answer(X):
            out = table.sums(X, np.zeros(table.values.shape[1]))
            if self.forest:
                out /= len(table.roots)
            return out

        return _Proba(answer, estimator.classes_) if self.classify else _Mean(answer)


class _Boosted:
    """How histogram boosting is read."""

    dtype = np.float64

    def __init__(self, classify):
        self.classify = classify

    def fits(self, estimator, n_rows):
        """Whether a table says what the estimator does, in no more time."""
        if estimator.is_categorical_ is not None or n_rows >= _MANY_ROWS:
            return False
        return estimator._baseline_prediction.dtype == np.float64

    def allows_nan(self, estimator):
        """It does."""
        return True

    def parts(self, estimator):
        """Records of nodes, tree after tree."""
        return [tree.nodes for together in estimator._predictors for tree in together]

    @staticmethod
    def size(nodes):
        """Number of nodes."""
        return len(nodes)

    def table(self, estimator, trees):
        """Read the trees."""
        nodes = np.concatenate(trees)
        inner = nodes["is_leaf"] == 0
        lefts = np.where(inner, nodes["left"].astype(np.int64), -1)
        rights = np.where(inner, nodes["right"].astype(np.int64), -1)
        codes = 2 * nodes["feature_idx"].astype(np.int64) + (nodes["missing_go_to_left"] == 0)
        values = np.ascontiguousarray(nodes["value"])[:, None]
        columns = np.arange(len(trees), dtype=np.int64) % estimator.n_trees_per_iteration_
        sizes, thresholds = [len(tree) for tree in trees], nodes["num_threshold"]
        return _make_table(lefts, rights, codes, thresholds, values, sizes, columns, self.dtype)

    def twin(self, table, estimator):
        """What predicts in the place of the estimator."""
        loss, start = estimator._loss, estimator._baseline_prediction
        if not self.classify:
            return _Mean(lambda X: loss.link.inverse(table.sums(X, start).ravel()))
        return _Proba(lambda X: loss.predict_proba(table.sums(X, start)), estimator.classes_)


_KINDS: dict[str, _Trees | _Boosted] = {
    f"{name}{task}": _Trees(forest, task == "Classifier")
    for name, forest in [
        ("DecisionTree", False),
        ("ExtraTree", False),
        ("RandomForest", True),
        ("ExtraTrees", True),
    ]
    for task in ("Regressor", "Classifier")
}
_KINDS |= {
    f"HistGradientBoosting{task}": _Boosted(task == "Classifier")
    for task in ("Regressor", "Classifier")
}


def _kind(estimator):
    """How to read an estimator of a known class, not one that inherits from it; else None."""
    kind = type(estimator)
    # Classes are told by where they are from: importing them is slow.
    ours = kind.__module__.startswith(("sklearn.tree.", "sklearn.ensemble."))
    return _KINDS.get(kind.__name__) if ours else None


def _seen(estimator, kind, rows) -> Any:
    """What a table sees of rows; None where the estimator itself is to judge them."""
    seen = rows.numbers(kind.dtype)
    if seen is None or not kind.fits(estimator, rows.n_rows):
        return None
    X, has_nan, has_inf = seen
    names = getattr(estimator, "feature_names_in_", None)
    names = None if names is None else list(names)
    if X.shape[1] != estimator.n_features_in_ or names != rows.names:
        return None
    if kind.dtype is np.float32 and (has_inf or (has_nan and not kind.allows_nan(estimator))):
        return None
    return X


def _same(known, parts):
    """Whether two lists are of the same objects."""
    return len(known) == len(parts) and all(a is b for a, b in zip(known, parts))
