"""How row weights reach an arbitrary estimator: by keyword, by request or by resampling."""

from inspect import signature

import numpy as np
from sklearn import get_config
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE
from sklearn.linear_model import LinearRegression
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multioutput import RegressorChain
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRouter, get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

KEY = "sample_weight"
# Rows that an expert gets at least where it is fitted on a resample.
HANDFUL = 20

# Their fit(X, y, **params) hands every keyword to the inner estimator.
_HAND_OVER = (BaseSearchCV, TransformedTargetRegressor, RegressorChain, RFE)
# Theirs accepts the one keyword `sample_weight` and hands it to every inner estimator.
_HAND_OVER_PLAIN = (VotingClassifier, VotingRegressor, StackingClassifier, StackingRegressor)
_METHODS = ("fit", "partial_fit", "transform", "predict", "score")


def final_parts(estimator):
    """Return the predictors inside `estimator` that learn from its rows' weights.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    parts : list of estimators
        Last step of a pipeline, the estimator of a search, the members of a vote ...;
        empty for an estimator that is not made of others.
    """
    if isinstance(estimator, Pipeline):
        last = estimator.steps[-1][1]
        return [] if last is None or isinstance(last, str) else [last]
    if isinstance(estimator, TransformedTargetRegressor):
        return [LinearRegression() if estimator.regressor is None else estimator.regressor]
    if isinstance(estimator, _HAND_OVER_PLAIN):
        parts = [part for _, part in estimator.estimators if not isinstance(part, str)]
        final = getattr(estimator, "final_estimator", None)
        return parts if final is None else [*parts, final]
    # RegressorChain had it as base_estimator before scikit-learn 1.7.
    inner = getattr(estimator, "estimator", getattr(estimator, "base_estimator", None))
    return [inner] if hasattr(inner, "fit") else []


def weight_key(estimator):
    """Find the keyword under which `estimator.fit` takes row weights.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    key : str or None
        ``"sample_weight"``, ``"<step>__sample_weight"`` for a pipeline, or None if it
        does not take weights.
    """
    keys = {weight_key(part) for part in final_parts(estimator)}
    if isinstance(estimator, Pipeline):
        inner = keys.pop() if keys else None
        return None if inner is None else f"{estimator.steps[-1][0]}__{inner}"
    if has_fit_parameter(estimator, KEY):
        # A wrapper has the parameter whether or not what it wraps can use it.
        return KEY if keys <= {KEY} else None
    if isinstance(estimator, _HAND_OVER_PLAIN):
        return KEY if keys == {KEY} else None
    return keys.pop() if isinstance(estimator, _HAND_OVER) and len(keys) == 1 else None


def routed_key(estimator, key):
    """Make `estimator` ready for row weights and return the keyword to use now.

    With metadata routing enabled the weights travel as plain ``sample_weight`` and the
    requests for them are set on `estimator`, which must be the caller's own clone.

    Parameters
    ----------
    estimator : estimator
    key : str or None
        What `weight_key` found.

    Returns
    -------
    key : str or None
        None also where metadata routing does not bring the weights to `estimator`.
    """
    if key is None or not get_config()["enable_metadata_routing"]:
        return key
    _request_weights(estimator)
    routing = _routing(estimator)
    return KEY if routing is not None and routing.consumes("fit", [KEY]) else None


def _request_weights(estimator):
    """Set weight requests on a clone: True where it learns from them, False elsewhere."""
    learners = {id(part) for part in _learners(estimator)}
    parts = [estimator, *estimator.get_params(deep=True).values()]
    for part in {id(part): part for part in parts if hasattr(part, "fit")}.values():
        if id(part) in learners:
            _set_request(part, {"fit": True})
        _request_scoring(part)
        # Selecting among candidates by weighted scores means the same as fitting by weights.
        _set_request(part, {"score": id(part) in learners}, only_unset=True)
        _set_request(part, dict.fromkeys(_METHODS, False), only_unset=True)


def _learners(estimator):
    """Return the estimators on the way down the final parts that take weights themselves."""
    own = [estimator] if has_fit_parameter(estimator, KEY) else []
    return own + [learner for part in final_parts(estimator) for learner in _learners(part)]


def _routing(part):
    """Return what `part` requests or routes, or None if it knows of neither."""
    try:
        return get_routing_for_object(part)
    except (NotImplementedError, ValueError):  # AdaBoost; MultiTaskElasticNet in 1.9
        return None


def _set_request(part, requests, *, only_unset=False):
    routing = _routing(part)
    own = getattr(routing, "_self_request", routing)
    if own is None:  # a pure router has setters, but nothing of its own to ask for
        return
    for method, value in requests.items():
        setter = getattr(part, f"set_{method}_request", None)
        if setter is None or KEY not in signature(setter).parameters:
            continue
        if only_unset and getattr(own, method).requests.get(KEY) is not None:
            continue
        setter(**{KEY: value})


def _request_scoring(part):
    """Let the named scorers of a search take the weights where they can."""
    scoring = part.get_params(deep=False).get("scoring") if hasattr(part, "get_params") else None
    if scoring is None or not isinstance(_routing(part), MetadataRouter):
        return
    if isinstance(scoring, dict):
        scoring = {name: _weighted_scorer(scorer) for name, scorer in scoring.items()}
    elif isinstance(scoring, str) or callable(scoring):
        scoring = _weighted_scorer(scoring)
    else:
        scoring = {name: _weighted_scorer(name) for name in scoring}
    part.set_params(scoring=scoring)


def _weighted_scorer(scorer):
    if isinstance(scorer, str):
        if scorer not in get_scorer_names():  # a word of the estimator's own
            return scorer
        scorer = get_scorer(scorer)
    if not hasattr(scorer, "set_score_request"):
        return scorer
    if get_routing_for_object(scorer).score.requests.get(KEY) is not None:
        return scorer
    takes_weights = KEY in signature(scorer._score_func).parameters
    return scorer.set_score_request(**{KEY: True}) if takes_weights else scorer


def resample(weight, offset, *, least=None):
    """Choose rows in proportion to their weights, for estimators that take no weights.

    Systematic resampling: row i comes floor or ceil of m w_i / sum(w) times, so the
    result moves little when the weights do, and nothing is drawn at random.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Positive weights.
    offset : float
        In (0, 1); fixed per expert, so that equal weights always choose equal rows.
    least : int, default=None
        Lower limit of m, since neighbours and folds need a handful of rows; None means
        `HANDFUL`, or n if that is less.

    Returns
    -------
    rows : ndarray of shape (m,)
        Ascending row indices, with repetitions. All rows once if the weights are equal
        and there are at least m.

    Notes
    -----
    m is Kish's effective number of rows, sum(w)^2 / sum(w^2): the number of equally
    weighted rows that carry as much information as the weighted ones. More would make
    copies pass for independent observations (neighbours vote several times, Gaussian
    processes grow too sure); fewer would waste rows. It does not depend on the scale of
    the weights.
    """
    n_rows = len(weight)
    least = min(HANDFUL, n_rows) if least is None else least
    if n_rows >= least and weight.max() - weight.min() <= 1e-12 * weight.max():
        return np.arange(n_rows)
    n_effective = weight.sum() ** 2 / np.sum(weight**2)
    n_chosen = max(round(n_effective), least)
    cumulative = np.cumsum(weight)
    points = (offset + np.arange(n_chosen)) / n_chosen * cumulative[-1]
    # The last point may round up to the total.
    return np.minimum(np.searchsorted(cumulative, points, side="right"), n_rows - 1)
