"""Which features the gate looks at."""

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._features import is_frame
from .._validation import check_weight
from ..gates.softmax import SoftmaxGate


def gate_importance(model, X, y, sample_weight=None, *, n_repeats=5, random_state=None):
    """Rank features by what they matter to the gate.

    A column is permuted for the gate alone: experts see the rows as they are. How far the
    gate's probabilities move says what it looks at, and the log-likelihood that is lost says
    whether that is worth anything. Routing (``top_k``) is left out of both. As with every
    permutation, columns that go together share their importance.

    Parameters
    ----------
    model : MoERegressor or MoEClassifier
        Fitted, of any experts and gate.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        Features; best of rows that the model has not seen.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets, as given to fit.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative; ones by default.
    n_repeats : int, default=5
        Permutations of each column.
    random_state : int, RandomState instance or None, default=None
        Source of permutations.

    Returns
    -------
    DataFrame
        Indexed by the columns that the gate sees, most important first: ``loss``, the mean
        drop of the log-likelihood per row, and its standard deviation over repeats
        (``loss_std``); ``moved``, the mean probability that changes its expert, from 0 to 1;
        ``coefficient``, for a softmax gate without transformers before it, the root mean
        square over the experts of logit coefficients for one standard deviation of the
        feature.

    References
    ----------
    Breiman, L. (2001). Random forests. Machine Learning 45, 5-32.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.explanation import gate_importance
    >>> X = np.random.default_rng(0).uniform(-1, 1, size=(300, 2))
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> gate_importance(model, X, np.abs(X[:, 0]), random_state=0).index.tolist()
    ['x0', 'x1']
    """
    check_is_fitted(model)
    if n_repeats < 1:
        raise ValueError(f"n_repeats={n_repeats!r} must be at least 1.")
    _, (gate, _), _, log_lik = model._evidence(X, y)
    rows, weight = model._rows(X), check_weight(sample_weight, np.zeros(len(gate)))
    weight = weight / weight.sum()
    rng = check_random_state(random_state)
    before = logsumexp(log_lik, b=gate, axis=1)
    found = []
    for column in _columns(model, rows):
        each = []
        for _ in range(n_repeats):
            log_gate = model._log_gate(_permuted(rows, column, rng))
            lost = before - logsumexp(log_gate + log_lik, axis=1)
            moved = 0.5 * np.abs(np.exp(log_gate) - gate).sum(axis=1)
            each.append([weight @ lost, weight @ moved])
        each = np.array(each)
        found.append([each[:, 0].mean(), each[:, 0].std(), each[:, 1].mean()])
    table = pd.DataFrame(found, columns=["loss", "loss_std", "moved"], index=_names(model, rows))
    own = model._parts.gate
    if type(own) is SoftmaxGate and len(own.mean_) == len(table):
        coef = own.block_coef()[:-1] * (1.0 if own.standardize else _spread(model, rows)[:, None])
        table["coefficient"] = np.sqrt(np.mean(np.square(coef), axis=1))
    return table.sort_values("loss", ascending=False)


def _columns(model, rows):
    columns = model._gate_columns
    return np.arange(rows.shape[1]) if columns is None else columns


def _names(model, rows):
    names = getattr(model, "feature_names_in_", None)
    columns = _columns(model, rows)
    return [f"x{j}" for j in columns] if names is None else list(names[columns])


def _spread(model, rows):
    """Standard deviations of the gate's columns."""
    seen = model._gate_rows(rows)
    if hasattr(seen, "toarray"):
        square = np.asarray(seen.multiply(seen).mean(axis=0)).ravel()
        return np.sqrt(square - np.square(np.asarray(seen.mean(axis=0)).ravel()))
    return np.nanstd(np.asarray(seen, dtype=np.float64), axis=0)


def _permuted(rows, column, rng):
    """A copy of rows in which the values of one column have changed places."""
    order = rng.permutation(rows.shape[0])
    if is_frame(rows):
        values = _safe_indexing(rows.iloc[:, column], order).set_axis(rows.index)
        return rows.assign(**{rows.columns[column]: values})
    if hasattr(rows, "tolil"):
        rows = rows.tolil(copy=True)
        rows[:, column] = rows[order, column]
        return rows.tocsr()
    rows = rows.copy()
    rows[:, column] = rows[order, column]
    return rows
