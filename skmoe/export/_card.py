"""A model card: what a mixture is, how good it is, and what its experts do, in Markdown."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .. import __version__
from .._numbers import percent, plain, plain_column
from ..inspection import CoverageDisplay, LoadDisplay, ResponsibilitiesDisplay
from ._size import model_size

_LEVEL = 0.9
_COLUMNS = ["load", "importance", "loss", "noise", "verdict"]


def model_card(
    model, X, y, path=None, *, title=None, description=None, fitted_to=None, sections=None
) -> str:
    """Write a card of a fitted mixture, for whoever has to decide whether to use it.

    It says what the model is, how good it is on the rows given beside one expert, what
    each expert does, by which rules the gate decides, and how large all of it is.

    Parameters
    ----------
    model : fitted MoERegressor, MoEClassifier, or Pipeline that ends in one
        Whatever its parts.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        Best of rows that the model has not seen.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    path : str or Path, default=None
        Markdown file to write; pictures (PNG) are put beside it where matplotlib is installed.
    title : str, default=None
        The name of the class by default.
    description : str, default=None
        A paragraph after the title: what is predicted, from what, for whom.
    fitted_to : tuple of (X, y), default=None
        The rows that a mixture of linear experts was fitted to: adds the table of
        `MoERegressor.report`, with standard errors.
    sections : dict of str, default=None
        More sections in Markdown by title, such as intended use and limitations.

    Returns
    -------
    str
        The card.

    Raises
    ------
    NotFittedError
        If the mixture is not fitted.
    TypeError
        If ``fitted_to`` is given and the experts have no coefficients.
    ValueError
        If rows are not those of the model's features.

    See Also
    --------
    skmoe.MoERegressor.diagnose : Verdicts on the experts.
    skmoe.MoERegressor.routing_rules : The rules.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_moe_regression
    >>> from skmoe.export import model_card
    >>> X, y = make_moe_regression(600, 2, n_experts=2, random_state=0)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X[:400], y[:400])
    >>> card = model_card(model, X[400:], y[400:], title="Two regimes")
    >>> print(card.splitlines()[2])
    A mixture of 2 experts (MoERegressor) of 2 features.
    """
    rows, mixture = _rows(model, X), _mixture(model)
    check_is_fitted(mixture)
    diagnosis = mixture.diagnose(rows, y)
    parts = [
        f"# {title or type(mixture).__name__}",
        *([description] if description else []),
        *_identity(model, mixture),
        *_merit(mixture, rows, y, diagnosis),
        *_experts(mixture, diagnosis),
        *(_rules(mixture, rows) if mixture.n_experts_ > 1 else []),
        *(_report(mixture, model, fitted_to) if fitted_to is not None else []),
        *_size(mixture),
        *(_pictures(mixture, rows, y, Path(path)) if path is not None else []),
    ]
    for name, text in (sections or {}).items():
        parts += [f"## {name}", text]
    card = "\n\n".join(parts) + "\n"
    if path is not None:
        Path(path).write_text(card, encoding="utf-8")
    return card


def _mixture(model):
    return model[-1] if isinstance(model, Pipeline) else model


def _rows(model, X):
    """What the mixture sees of rows."""
    return model[:-1].transform(X) if isinstance(model, Pipeline) and len(model) > 1 else X


def _identity(model, mixture):
    kinds = ", ".join(dict.fromkeys(type(expert).__name__ for expert in mixture.experts_))
    facts = {"experts": kinds, "gate": type(mixture.gate_).__name__}
    if not is_classifier(mixture):
        facts["law of the target"] = type(mixture.likelihood_).__name__
    facts["converged"] = "yes" if mixture.converged_ else "no"
    facts["made with"] = f"skmoe {__version__}, scikit-learn {sklearn.__version__}"
    return [
        f"A mixture of {mixture.n_experts_} experts ({type(mixture).__name__}) of "
        f"{mixture.n_features_in_} features.",
        _table(pd.DataFrame({"": facts.keys(), " ": facts.values()})),
        f"```python\n{model!r}\n```",
    ]


def _merit(mixture, rows, y, diagnosis):
    y = np.asarray(y)
    loglik = float(np.mean(mixture.log_likelihood(rows, y)))
    if is_classifier(mixture):
        facts = {"accuracy": mixture.score(rows, y), "log loss": -loglik}
    else:
        error = np.sqrt(np.mean(np.square(y - mixture.predict(rows))))
        facts = {"R²": mixture.score(rows, y), "RMSE": error, "log-likelihood per row": loglik}
        if y.ndim == 1:
            lower, upper = mixture.predict_dist(rows).interval(_LEVEL)
            facts[f"targets inside {percent(_LEVEL)} intervals"] = np.mean(
                (lower <= y) & (y <= upper)
            )
    table = pd.DataFrame({"": facts.keys(), " ": map(plain, facts.values())})
    return [
        f"## How good, on {len(y)} rows",
        _table(table),
        "\n".join(f"- {line}" for line in diagnosis.verdict),
    ]


def _experts(mixture, diagnosis):
    table = diagnosis.experts[_COLUMNS]
    numbers = table.drop(columns="verdict").apply(plain_column)
    table = numbers.assign(verdict=table["verdict"]).rename_axis("expert").reset_index()
    return [
        "## The experts",
        _table(table),
        f"Load: share of the rows whose first choice is the expert. Importance: mean gate "
        f"probability. Loss and noise: squared error on its own rows and the one that it "
        f"expects, as shares of the variance of the target. Used like "
        f"{diagnosis.effective_experts:.1f} equal experts.",
    ]


def _rules(mixture, rows):
    rules = mixture.routing_rules(rows)
    return [
        "## Which rows go where",
        f"```text\n{rules}\n```",
        "A small tree that imitates the gate; its fidelity tells how well.",
    ]


def _report(mixture, model, fitted_to):
    X, y = fitted_to
    memory = io.StringIO()
    with contextlib.redirect_stdout(memory):
        mixture.report(_rows(model, X), y)
    return ["## Coefficients", f"```text\n{memory.getvalue().rstrip()}\n```"]


def _size(mixture):
    size = model_size(mixture)
    line = f"{size['total']:,.0f} bytes, of which a row needs {size['active']:,.0f}"
    if not np.isnan(size["parameters"]):
        line += f"; {size['parameters']:,.0f} free parameters"
    return ["## Size", line + "."]


def _pictures(mixture, rows, y, path):
    """Files beside the card, and what shows them."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        return ["Pictures need matplotlib, which was not installed when this card was made."]
    makers = {}
    if mixture.n_experts_ > 1:
        makers["load"] = lambda: LoadDisplay.from_estimator(mixture, rows)
        makers["gate"] = lambda: ResponsibilitiesDisplay.from_estimator(mixture, rows, y)
    if not is_classifier(mixture) and np.ndim(y) == 1:
        makers["coverage"] = lambda: CoverageDisplay.from_estimator(mixture, rows, y)
    captions = {
        "load": "How much each expert is used.",
        "gate": "On the diagonal, the gate is right about the experts.",
        "coverage": "Whether intervals hold as many targets as they promise.",
    }
    found = ["## Pictures"] if makers else []
    for name, make in makers.items():
        figure = make().figure_
        file = path.with_name(f"{path.stem}_{name}.png")
        figure.savefig(file, dpi=110)
        plt.close(figure)
        found.append(f"![{captions[name]}]({file.name})")
    return found


def _table(frame):
    """A Markdown table; bars inside cells are escaped."""
    cells = [list(map(str, frame.columns)), ["---"] * frame.shape[1]]
    cells += [[str(value).replace("|", "\\|") for value in row] for row in frame.to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
