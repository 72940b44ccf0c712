"""From a table to a fitted pipeline, and its figures of merit on held-out folds."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from .._numbers import plain_column
from ..classifier import MoEClassifier
from ..regressor import MoERegressor
from ._columns import (
    as_text,
    has_infinite,
    is_constant,
    is_date,
    is_name,
    is_numeric,
    suggestion,
    years,
)
from ._conclusion import conclude
from ._store import check_suffix
from ._table import CliError

_MOST_LEVELS = 20
_HELD_OUT = 0.25


@dataclass
class Problem:
    """A table, ready to be fitted.

    Attributes
    ----------
    X : DataFrame of shape (n, d)
    y : ndarray of shape (n,)
    weight : ndarray of shape (n,) or None
    target : str
    classify : bool
    summary : str
    """

    X: pd.DataFrame
    y: np.ndarray
    weight: np.ndarray | None
    target: str
    classify: bool
    summary: str


@dataclass
class Trained:
    """A pipeline fitted to all rows, and what held-out rows say of such pipelines.

    Attributes
    ----------
    model : Pipeline
    folds : dict of DataFrame
        Figures of merit of each model, a row per fold.
    judged : Pipeline
        The same fitted to part of the rows.
    held_out : tuple of DataFrame and ndarray
        The other rows.
    """

    model: object
    folds: dict
    judged: object
    held_out: tuple

    @property
    def scores(self):
        """Means over the folds, a row per model."""
        return pd.DataFrame({name: table.mean() for name, table in self.folds.items()}).T


def check_options(options):
    """Raise for options that cannot work, before any file is read."""
    if options.experts != "auto" and not (options.experts.isdigit() and int(options.experts) > 0):
        raise CliError(f"--experts {options.experts} must be a positive number or auto.")
    if options.max_experts < 1:
        raise CliError(f"--max-experts {options.max_experts} must be at least 1.")
    if options.max_iter < 1:
        raise CliError(f"--max-iter {options.max_iter} must be at least 1.")
    if options.folds < 2:
        raise CliError(f"--folds {options.folds} must be at least 2.")
    if options.out is not None:
        check_suffix(options.out)
    for path in (options.out, options.report):
        if path is not None and not path.absolute().parent.is_dir():
            raise CliError(f"there is no folder {path.parent} for {path.name}.")


def prepare(frame, options):
    """The problem that a table and options pose.

    Parameters
    ----------
    frame : DataFrame
    options : Namespace

    Returns
    -------
    Problem

    Raises
    ------
    CliError
        If a column is missing or cannot be used.
    """
    named = [options.target, *options.drop, *filter(None, [options.weight])]
    for name in named:
        if name not in frame.columns:
            known = ", ".join(frame.columns[:12])
            more = " ..." if frame.shape[1] > 12 else ""
            raise CliError(
                f"there is no column {name!r}; the table has {known}{more}."
                f"{suggestion(name, frame.columns)}"
            )
    kept = frame[frame[options.target].notna()].reset_index(drop=True)
    n_dropped = len(frame) - len(kept)
    weight = _weights(kept, options.weight)
    X = kept.drop(columns=list(dict.fromkeys(named)))
    infinite = [name for name in X.columns if has_infinite(X[name])]
    X = as_text(X)
    constant = [name for name in X.columns if is_constant(X[name])]
    X = X.drop(columns=constant)
    if not X.shape[1]:
        raise CliError("no column is left to predict from.")
    y, classify = _target(kept[options.target], options)
    if len(X) < 4 * options.folds:
        raise CliError(f"{len(X)} rows are too few for {options.folds} folds; lower --folds.")
    lines = [
        f"{len(X)} rows, {X.shape[1]} features ({_kinds(X)}), "
        f"{'classification' if classify else 'regression'} of {options.target!r}",
        *([f"{n_dropped} rows without a target were left out"] if n_dropped else []),
        *([f"columns of one value were left out: {', '.join(constant)}"] if constant else []),
        *([f"infinite values are taken for missing: {', '.join(infinite)}"] if infinite else []),
        *_names_of_rows(X),
    ]
    return Problem(X, y, weight, options.target, classify, "\n".join(lines))


def _kinds(X):
    _, words, dates = _by_kind(X)
    return f"{len(words)} of words" + (f", {len(dates)} of dates" if dates else "")


def _by_kind(X):
    """Names of the columns of numbers, of words and of dates."""
    dates = [name for name in X.columns if is_date(X[name])]
    numbers = [name for name in X.columns if is_numeric(X[name])]
    return numbers, [name for name in X.columns if name not in {*dates, *numbers}], dates


def _names_of_rows(X):
    found = [name for name in X.columns if is_name(X[name]) and not is_date(X[name])]
    return [f"nearly every row has its own {', '.join(found)}; perhaps --drop it"] if found else []


def _weights(frame, name):
    if name is None:
        return None
    if not is_numeric(frame[name]):
        raise CliError(f"--weight {name} does not hold numbers.")
    weight = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    if not np.isfinite(weight).all() or weight.min() < 0 or not weight.max() > 0:
        raise CliError(f"--weight {name} must hold non-negative numbers, some positive.")
    return weight


def _target(values, options):
    numeric = is_numeric(values)
    classify = options.task == "classification"
    if options.task == "auto":
        classify = not numeric or values.nunique() == 2
    if not classify and not numeric:
        raise CliError(f"the target {options.target!r} does not hold numbers; use --task auto.")
    if classify:
        counts = values.astype(str).value_counts() if not numeric else values.value_counts()
        if len(counts) < 2:
            raise CliError(f"the target {options.target!r} has one value only.")
        if counts.min() < options.folds:
            raise CliError(
                f"class {counts.idxmin()!r} has {counts.min()} rows, fewer than --folds "
                f"{options.folds}; lower it or merge classes."
            )
        return (values if numeric else values.astype(str)).to_numpy(), True
    y = values.to_numpy(dtype=np.float64)
    if not np.isfinite(y).all():
        raise CliError(f"the target {options.target!r} holds infinite values.")
    if np.ptp(y) == 0.0:
        raise CliError(f"the target {options.target!r} has one value only.")
    return y, False


def make_model(problem, options):
    """The pipeline: numbers with gaps filled, years of dates, indicators of words, the mixture."""
    numbers, words, dates = _by_kind(problem.X)
    fill = SimpleImputer(strategy="constant", fill_value="missing")
    encode = OneHotEncoder(
        handle_unknown="ignore", max_categories=_MOST_LEVELS, sparse_output=False
    )
    time = FunctionTransformer(years, feature_names_out="one-to-one")
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="median"), numbers),
            ("dates", make_pipeline(time, SimpleImputer(strategy="median")), dates),
            ("words", make_pipeline(fill, encode), words),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    templates = {
        "linear": (None, None),
        "tree": (DecisionTreeRegressor(max_depth=5), DecisionTreeClassifier(max_depth=5)),
        "boosting": (
            HistGradientBoostingRegressor(max_iter=60),
            HistGradientBoostingClassifier(max_iter=60),
        ),
    }
    kind = MoEClassifier if problem.classify else MoERegressor
    n_experts = "auto" if options.experts == "auto" else int(options.experts)
    mixture = kind(
        templates[options.kind][int(problem.classify)],
        n_experts=n_experts,
        max_experts=options.max_experts,
        max_iter=options.max_iter,
        gate=options.gate,
        random_state=options.seed,
    )
    return Pipeline([("columns", columns), ("mixture", mixture)])


def train(problem, options, say=print):
    """Judge the pipeline on held-out folds beside simpler ones, then fit it to all rows.

    Parameters
    ----------
    problem : Problem
    options : Namespace
    say : callable
        Is told of the progress.

    Returns
    -------
    Trained
    """
    model = make_model(problem, options)
    dummy = DummyClassifier() if problem.classify else DummyRegressor()
    models = {
        "constant": make_pipeline(clone(model[0]), dummy),
        "one expert": clone(model).set_params(mixture__n_experts=1),
        "mixture": model,
    }
    folds = {}
    for name, one in models.items():
        folds[name] = _cross_validate(one, problem, options)
        shown = "  ".join(
            f"{key} {value}" for key, value in plain_column(folds[name].mean()).items()
        )
        say(f"{name:<12}{shown}")
    held = np.zeros(len(problem.y), dtype=bool)
    stratify = problem.y if problem.classify else None
    _, test = train_test_split(
        np.arange(len(held)), test_size=_HELD_OUT, random_state=options.seed, stratify=stratify
    )
    held[test] = True
    judged = _fitted(model, problem, ~held)
    fitted = _fitted(model, problem, np.ones(len(held), dtype=bool))
    trained = Trained(fitted, folds, judged, (problem.X[held], problem.y[held]))
    for line in conclude(problem, trained):
        say(line)
    return trained


def _fitted(model, problem, rows):
    model = clone(model)
    own = {} if problem.weight is None else {"sample_weight": problem.weight[rows]}
    step = model.steps[-1][0]
    own = {f"{step}__{name}": value for name, value in own.items()}
    with warnings.catch_warnings():
        # Said once at the end; held-out rows judge a fit that has stopped early, too.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(problem.X[rows], problem.y[rows], **own)


def _cross_validate(model, problem, options):
    """Figures of merit of held-out folds, a row each."""
    kind = StratifiedKFold if problem.classify else KFold
    folds = kind(options.folds, shuffle=True, random_state=options.seed)
    found = []
    for train_rows, test_rows in folds.split(problem.X, problem.y):
        mask = np.zeros(len(problem.y), dtype=bool)
        mask[train_rows] = True
        fitted = _fitted(model, problem, mask)
        found.append(_merit(fitted, problem.X.iloc[test_rows], problem.y[test_rows], problem))
    return pd.DataFrame(found)


def _merit(fitted, X, y, problem):
    if problem.classify:
        proba = fitted.predict_proba(X)
        return {
            "accuracy": float(np.mean(fitted.classes_[proba.argmax(axis=1)] == y)),
            "log_loss": float(log_loss(y, proba, labels=fitted.classes_)),
        }
    error = y - fitted.predict(X)
    spread = np.mean(np.square(y - y.mean()))
    return {
        "RMSE": float(np.sqrt(np.mean(np.square(error)))),
        "R2": float(1.0 - np.mean(np.square(error)) / spread) if spread > 0 else np.nan,
        "MAE": float(np.mean(np.abs(error))),
    }


def rows_of(stored, X):
    """The features that the mixture of a stored pipeline sees of a table."""
    try:
        return stored.model[:-1].transform(as_text(X))
    except ValueError as error:
        raise CliError(f"the table does not look like that of the fit: {error}") from error


def predictions(stored, X, level):
    """A table of predictions.

    Parameters
    ----------
    stored : StoredModel
    X : DataFrame of shape (n, d)
    level : float
        Probability inside the interval.

    Returns
    -------
    DataFrame of n rows
    """
    rows, mixture = rows_of(stored, X), stored.model[-1]
    found = {stored.target: mixture.predict(rows)}
    if stored.classify:
        for label, values in zip(mixture.classes_, mixture.predict_proba(rows).T):
            found[f"probability {label}"] = values
    else:
        found["lower"], found["upper"] = mixture.predict_dist(rows).interval(level)
    names = np.array(mixture.expert_names_)
    found["expert"] = names[mixture.gate_proba(rows).argmax(axis=1)]
    return pd.DataFrame(found)


def explanations(stored, X):
    """A table of what each expert adds to each prediction.

    Parameters
    ----------
    stored : StoredModel
    X : DataFrame of shape (n, d)

    Returns
    -------
    DataFrame
        A row for each row of X, or for each of its classes.
    """
    table = stored.model[-1].explain(rows_of(stored, X))
    table.columns = [
        name if block == "mixture" else f"{block} {name}" for block, name in table.columns
    ]
    return table.reset_index()
