"""Which features a boosted mixture uses, and for what."""

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted


def additive_importance(model):
    """Rank features by their shares in base, corrections and gate of a boosted mixture.

    What counts is the gain in the objective from the splits on a feature (and, in the gate,
    from its slope), summed over rounds. It comes from the training rows: a feature with many
    values can look more useful than it is. `gate_importance` permutes columns of other rows.

    Parameters
    ----------
    model : MoERegressor or MoEClassifier
        Fitted, with `skmoe.experts.AdditiveExpert`.

    Returns
    -------
    DataFrame
        A row for each feature, and one for each score of the base where there is one, which
        corrections and gate see as a feature: ``base score``, or ``base score of`` a class. A
        column for the ``base``, for the corrections of each expert by its name, and for the
        ``gate``. Columns sum to one, or are zero where a part does nothing. NaN: a base or
        learner that is no forest on bins.

    Raises
    ------
    TypeError
        If the experts of the model are not additive.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.experts import AdditiveExpert
    >>> from skmoe.explanation import additive_importance
    >>> X = np.random.default_rng(0).uniform(-1, 1, size=(300, 2))
    >>> y = np.abs(X[:, 0])
    >>> model = MoERegressor(AdditiveExpert(), n_experts=2, random_state=0)
    >>> table = additive_importance(model.fit(X, y))
    >>> table.index.tolist(), table.columns.tolist()
    (['x0', 'x1', 'base score'], ['base', 'expert_0', 'expert_1', 'gate'])
    >>> bool(table.loc["x0", "base"] > 0.9)
    True
    """
    check_is_fitted(model)
    gate, experts = model._parts.gate, model._parts.experts
    if not hasattr(gate, "ground") or not hasattr(experts, "ground"):
        raise TypeError(
            "additive_importance is of mixtures of AdditiveExpert; gate_importance(model, X, y) "
            "is of any."
        )
    ground = experts.ground
    table = pd.DataFrame(0.0, index=[*_names(model), *_base_names(model)], columns=[])
    own, seen = _positions(model, model._expert_columns), _base_positions(model, ground)
    _put(table, "base", own, _base_gains(ground, len(own)))
    for name, gains in experts.gains().items():
        _put(table, name, own + seen, gains)
    own, seen = _positions(model, model._gate_columns), _base_positions(model, gate.ground)
    _put(table, "gate", own + seen, gate.importance())
    return table


def _put(table, name, where, gains):
    column = np.zeros(len(table))
    column[where] = gains
    table[name] = column / (column.sum() or 1.0)


def _base_gains(ground, n_features):
    if ground.forest is not None:
        return ground.forest.importance()
    return np.full(n_features, 0.0 if ground.estimator is None else np.nan)


def _names(model):
    names = getattr(model, "feature_names_in_", None)
    return [f"x{j}" for j in range(model.n_features_in_)] if names is None else list(names)


def _base_names(model):
    experts = model._parts.experts
    n_scores = len(experts.ground.constant) if experts.ground.has_base else 0
    if n_scores < 2:
        return ["base score"] * n_scores
    owners = getattr(model, "classes_", range(n_scores))
    return [f"base score of {owner}" for owner in owners]


def _positions(model, columns):
    return list(range(model.n_features_in_) if columns is None else columns)


def _base_positions(model, ground):
    n_scores = len(ground.constant) if ground.has_base else 0
    return list(range(model.n_features_in_, model.n_features_in_ + n_scores))
