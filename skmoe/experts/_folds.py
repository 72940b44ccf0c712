"""Folds for out-of-fold predictions, and what estimators accept as input."""

import numbers

import numpy as np
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils import get_tags

from ._weights import final_parts


def make_folds(data_y, n_rows, cross_fit, random_state, classes=None):
    """Split the rows into folds for out-of-fold predictions.

    Parameters
    ----------
    data_y : ndarray of shape (n,) or (n, m)
        Class codes or targets.
    n_rows : int
    cross_fit : int, splitter or iterable
        Number of shuffled folds (stratified for classification where every class has
        enough rows), or what sklearn's ``check_cv`` accepts.
    random_state : int
        Seed of the shuffling when `cross_fit` is a number.
    classes : ndarray of shape (C,), default=None
        The labels; None for regression.

    Returns
    -------
    folds : tuple of (train, test)
        Pairs of index arrays; the test parts partition the rows.

    Raises
    ------
    ValueError
        If `cross_fit` gives no such folds.
    """
    y = data_y[:, 0] if data_y.ndim == 2 and data_y.shape[1] == 1 else data_y
    splitter = cross_fit
    if isinstance(cross_fit, numbers.Integral):
        splitter = _splitter(y, n_rows, int(cross_fit), random_state, classes is not None)
    try:
        parts = list(check_cv(splitter).split(np.zeros((n_rows, 1)), y))
    except (ValueError, TypeError) as error:
        raise ValueError(f"cross_fit={cross_fit!r} cannot split the rows: {error}") from error
    folds = tuple((_indices(train), _indices(test)) for train, test in parts)
    _check_partition(folds, n_rows, cross_fit)
    return folds


def _splitter(y, n_rows, n_folds, random_state, classify):
    if not 2 <= n_folds <= n_rows:
        raise ValueError(
            f"cross_fit={n_folds} must be at least 2 and at most the number of rows, {n_rows}"
        )
    settings = {"n_splits": n_folds, "shuffle": True, "random_state": random_state}
    if classify and np.unique(y, return_counts=True)[1].min() >= n_folds:
        return StratifiedKFold(**settings)
    return KFold(**settings)


def _indices(part):
    part = np.asarray(part)
    return np.flatnonzero(part) if part.dtype == bool else part.astype(np.intp)


def _check_partition(folds, n_rows, cross_fit):
    tests = np.sort(np.concatenate([np.empty(0, np.intp), *(test for _, test in folds)]))
    if not np.array_equal(tests, np.arange(n_rows)):
        raise ValueError(
            f"cross_fit={cross_fit!r} must give test parts that contain each of the {n_rows} "
            "rows exactly once; use a KFold-like splitter"
        )
    for train, test in folds:
        if not len(train) or np.intersect1d(train, test).size:
            raise ValueError(
                f"cross_fit={cross_fit!r} must give train parts that are not empty and have "
                "no rows in common with their test parts"
            )


def accepts_nan(estimator):
    """Tell whether NaN in X may be handed to `estimator`.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    accepts : bool
        By its tags; a pipeline's first step decides, a wrapper's inner estimator.
    """
    return _input_tag(estimator, "allow_nan")


def accepts_sparse(estimator):
    """Tell whether a CSR X may be handed to `estimator`.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    accepts : bool
        By its tags; a pipeline's first step decides (scikit-learn's own tag asks all the
        steps, although a later one may get dense rows), a wrapper's inner estimator.
    """
    return _input_tag(estimator, "sparse")


def accepts_many_outputs(estimator):
    """Tell whether y (n, m) with m > 1 may be handed to `estimator`.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    accepts : bool
        By its tags; a pipeline's last step decides, a wrapper's inner estimator.
    """
    if isinstance(estimator, FrozenEstimator):
        return accepts_many_outputs(estimator.estimator)
    if isinstance(estimator, (BaseSearchCV, TransformedTargetRegressor, Pipeline)):
        return all(map(accepts_many_outputs, final_parts(estimator)))
    try:
        return bool(get_tags(estimator).target_tags.multi_output)
    except (AttributeError, TypeError, ValueError):  # no tags: not an estimator
        return False


def _input_tag(estimator, tag):
    if isinstance(estimator, FrozenEstimator):
        return _input_tag(estimator.estimator, tag)
    if isinstance(estimator, (BaseSearchCV, TransformedTargetRegressor)):
        return all(_input_tag(part, tag) for part in final_parts(estimator))
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step is not None]
        steps = [step for step in steps if not isinstance(step, str)]
        return _input_tag(steps[0], tag) if steps else True
    if isinstance(estimator, ColumnTransformer) and tag == "allow_nan":
        # One member that accepts NaN may be all that ever sees it.
        return any(_member_tag(part, tag) for _, part, _ in estimator.transformers)
    if isinstance(estimator, FeatureUnion):
        return all(_member_tag(part, tag) for _, part in estimator.transformer_list)
    try:
        tags = get_tags(estimator)
        unsaid = tag == "sparse" and not _says_sparse()
        return bool(unsaid or tags.no_validation or getattr(tags.input_tags, tag))
    except (AttributeError, TypeError, ValueError):  # no tags: not an estimator
        return False


def _says_sparse():
    """Whether scikit-learn's tags tell of sparse input; those of 1.6.0 never do."""
    return get_tags(LinearRegression()).input_tags.sparse


def _member_tag(part, tag):
    return part == "passthrough" if isinstance(part, str) else _input_tag(part, tag)
