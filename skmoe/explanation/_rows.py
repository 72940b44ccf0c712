"""Predictions taken apart into what each expert contributes."""

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from .._combine import one_by_one


def explain(model, X, exposure=None):
    """Take predictions apart: who decides, with which weight, and what each expert adds.

    Parameters
    ----------
    model : MoERegressor or MoEClassifier
        Fitted, of any experts and gate, with ``combine="mean"`` or ``"top1"``.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        Features, in the form that fit had.
    exposure : array-like of shape (n_samples,), default=None
        Of counts, as in `MoERegressor.predict`.

    Returns
    -------
    DataFrame
        A row for each row of X (index of the DataFrame, if X is one), and for each class or
        output where there are several. Two levels of columns: ``("mixture", "expert")``, the
        expert with the largest weight; ``("mixture", "prediction")``; and for every expert
        its ``"weight"`` (gate probability after routing), ``"prediction"`` (NaN where it
        was not asked) and ``"contribution"``, their product. Contributions of a row add
        up to the prediction (or class probability).

    Raises
    ------
    ValueError
        If experts are combined by a rule that is no weighted sum.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.explanation import explain
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> table = explain(model, [[-0.5], [0.5]])
    >>> table["contribution"].sum(axis=1).round(2).tolist()
    [0.5, 0.5]
    >>> table["mixture", "expert"].nunique()
    2
    """
    check_is_fitted(model)
    classify = hasattr(model, "classes_")
    if exposure is not None and classify:
        raise ValueError("exposure is for counts; leave it out for a classifier.")
    how, top_k = model._rule
    if how not in ("mean", "top1"):
        raise ValueError(
            f"combine={how!r} is no weighted sum of experts, so that there are no contributions; "
            f"set combine='mean' or 'top1' for the explanation."
        )
    log_weights, pred, indices = model._mixture(model._rows(X), top_k)
    pred = pred if exposure is None else model._exposed(pred, exposure)
    values = one_by_one(model.likelihood_, pred, indices)
    weights = np.exp(log_weights)
    weights = weights if weights.ndim == 3 else np.repeat(weights[:, :, None], values.shape[2], 2)
    if indices is not None:
        weights, values = _scattered(indices, model.n_experts_, weights, values)
    return _table(model, X, weights, values)


def _scattered(indices, n_experts, weights, values):
    """Arrays (n, k, m) of chosen experts as (n, K, m): no weight and NaN for the others."""
    shape = (len(weights), n_experts, weights.shape[2])
    all_weights, all_values = np.zeros(shape), np.full(shape, np.nan)
    np.put_along_axis(all_weights, indices[:, :, None], weights, axis=1)
    np.put_along_axis(all_values, indices[:, :, None], values, axis=1)
    return all_weights, all_values


def _table(model, X, weights, values):
    n_rows, n_experts, n_outputs = weights.shape
    names = list(model.expert_names_)
    added = np.where(weights > 0.0, weights * values, 0.0)
    # A list has an attribute `index` as well.
    index = pd.Index(X.index if hasattr(X, "iloc") else np.arange(n_rows), name="row")
    classes = getattr(model, "classes_", None)
    if n_outputs > 1 or classes is not None:
        second = np.arange(n_outputs) if classes is None else classes
        level = "output" if classes is None else "class"
        index = pd.MultiIndex.from_arrays(
            [np.repeat(index.to_numpy(), n_outputs), np.tile(second, n_rows)], names=["row", level]
        )
    by_row = [part.transpose(0, 2, 1).reshape(-1, n_experts) for part in (weights, values, added)]
    blocks = dict(zip(("weight", "prediction", "contribution"), by_row, strict=True))
    top = np.array(names, dtype=object)[blocks["weight"].argmax(axis=1)]
    head = pd.DataFrame({"expert": top, "prediction": by_row[2].sum(axis=1)}, index=index)
    frames = {"mixture": head}
    for name, block in blocks.items():
        frames[name] = pd.DataFrame(block, index=index, columns=names)
    return pd.concat(frames, axis=1)
