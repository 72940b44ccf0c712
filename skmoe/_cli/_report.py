"""A report in one HTML file, pictures inside."""

import base64
import html
import io

import numpy as np

from .. import __version__
from .._numbers import plain_column
from ..inspection import (
    CoefficientsDisplay,
    CoverageDisplay,
    ExpertCountDisplay,
    GateDisplay,
    LoadDisplay,
    PITDisplay,
    ResponsibilitiesDisplay,
    SpecialisationDisplay,
)
from ._conclusion import conclude
from ._table import CliError

_MOST_COLUMNS = 16
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2430; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
p.lead { font-size: 1.12rem; margin: 1rem 0 0.6rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.note, figcaption { color: #6b7280; font-size: 0.9rem; } figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.92rem; }
th, td { padding: 0.3rem 0.8rem; text-align: right; border-bottom: 1px solid #e5e7eb; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
tr.best td { font-weight: 600; } ul { padding-left: 1.2rem; }
@media (max-width: 30rem) { th, td { padding: 0.3rem 0.4rem; } }
"""


def write_report(path, problem, trained):
    """Write the report of a fit.

    Parameters
    ----------
    path : Path
    problem : Problem
    trained : Trained
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
    except ImportError as error:
        raise CliError("--report needs matplotlib (pip install 'skmoe[plot]').") from error
    kind = "Classification" if problem.classify else "Regression"
    body = [
        f"<h1>{html.escape(problem.target)}</h1>",
        f'<p class="note">{kind} by a mixture of {trained.model[-1].n_experts_} experts; skmoe '
        f"{__version__}</p>",
        *_conclusion(problem, trained),
        *_merit(problem, trained),
        *_health(trained),
        *_pictures(problem, trained),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(problem.target)}: mixture of experts</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error}") from error


def _conclusion(problem, trained):
    """What there is to know first, and what it is about."""
    first, *experts = conclude(problem, trained)
    second, experts = experts[0], experts[1:]
    items = "".join(f"<li>{html.escape(line)}</li>" for line in experts)
    return [
        f'<p class="lead">{html.escape(first)} {html.escape(second)}</p>',
        *([f"<ul>{items}</ul>"] if items else []),
        *(f'<p class="note">{html.escape(line)}</p>' for line in problem.summary.split("\n")),
    ]


def _merit(problem, trained):
    scores = trained.scores
    first = scores.columns[0]
    best = scores[first].idxmax() if first == "accuracy" else scores[first].idxmin()
    return [
        "<h2>Held-out figures of merit</h2>",
        _table(scores.apply(plain_column), best),
        f'<p class="note">Means over folds that were held out. "One expert" is the same kind of '
        f"model without a gate, and the row in bold has the best {first.replace('_', ' ')}.</p>",
    ]


def _health(trained):
    X, y = trained.held_out
    transform, mixture = trained.judged[:-1], trained.judged[-1]
    diagnosis = mixture.diagnose(transform.transform(X), y)
    table = diagnosis.experts[["load", "importance", "loss", "noise", "verdict"]]
    table = table.rename(index=lambda name: str(name).replace("_", " "))
    numbers = table.drop(columns="verdict").apply(plain_column)
    lines = [line.replace("expert_", "expert ") for line in diagnosis.verdict]
    verdicts = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return [
        "<h2>The experts</h2>",
        f"<ul>{verdicts}</ul>",
        _table(numbers.assign(verdict=table["verdict"])),
        '<p class="note">On a quarter of the rows, by a model that was fitted to the rest. Load: '
        "share of the rows whose first choice is the expert. Importance: mean gate probability. "
        "Loss and noise: squared error on its own rows and the one that it expects, as shares of "
        "the variance of the target.</p>",
    ]


def _pictures(problem, trained):
    """Figures with captions; of the model that the held-out rows have judged."""
    X, y = trained.held_out
    mixture = trained.judged[-1]
    rows = trained.judged[:-1].transform(X)
    found = ["<h2>Pictures</h2>"]
    if hasattr(mixture, "path_"):
        found += _figure(ExpertCountDisplay.from_estimator(mixture), "Why this number of experts.")
    if mixture.n_experts_ > 1:
        display = LoadDisplay.from_estimator(mixture, rows)
        found += _figure(display, "How much each expert is used.")
        found += _gate_pictures(mixture, rows)
        display = SpecialisationDisplay.from_estimator(mixture, rows, y)
        found += _figure(display, "Squared error of each expert on the rows that each leads.")
        display = ResponsibilitiesDisplay.from_estimator(mixture, rows, y)
        found += _figure(display, "On the diagonal, the gate is right about the experts.")
    linear = all(hasattr(expert, "coef_") for expert in mixture.experts_)
    if linear:
        found += _coefficients(mixture, rows)
    if not problem.classify:
        found += _figure(PITDisplay.from_estimator(mixture, rows, y, n_bins=12), "Flat is right.")
        display = CoverageDisplay.from_estimator(mixture, rows, y)
        found += _figure(display, "Whether intervals hold as many targets as they promise.")
    return found


def _coefficients(mixture, rows):
    """Slopes of the features that matter most to any expert."""
    display = CoefficientsDisplay.from_estimator(mixture, rows)
    strength = np.nanmax(np.abs(display.coef), axis=0)
    chosen = np.sort(np.argsort(-strength)[:_MOST_COLUMNS])
    names = [display.feature_names[i] for i in chosen]
    caption = "What moves the prediction of each expert."
    if len(chosen) < len(strength):
        caption += f" The {len(chosen)} of {len(strength)} columns with the largest slopes."
        display = CoefficientsDisplay(
            display.coef[:, chosen], names, display.expert_names, standardized=True
        ).plot()
    return _figure(display, caption)


def _gate_pictures(mixture, rows):
    """The gate over the features by which it tells experts apart most."""
    coef = getattr(mixture.gate_, "coef_", None)
    if coef is None or coef.shape[1] != rows.shape[1]:
        return []
    strength = np.ptp(coef, axis=0) * rows.to_numpy(dtype=float).std(axis=0)
    order = [str(rows.columns[i]) for i in np.argsort(-strength)]
    several = [name for name in order if rows[name].nunique() > 2]
    found = []
    if several:
        display = GateDisplay.from_estimator(mixture, rows, several[0])
        found += _figure(display, "The feature by which the gate decides most.")
    if len(several) > 1:
        display = GateDisplay.from_estimator(mixture, rows, several[:2])
        found += _figure(display, "The two features by which it decides most.")
    return found


def _figure(display, caption):
    import matplotlib.pyplot as plt

    memory = io.BytesIO()
    display.figure_.savefig(memory, dpi=110, format="png")
    plt.close("all")
    data = base64.b64encode(memory.getvalue()).decode("ascii")
    text = html.escape(caption)
    return [
        f'<figure><img alt="{text}" src="data:image/png;base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    ]


def _table(frame, best=None):
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in ["", *frame.columns])
    rows = []
    for name, values in frame.iterrows():
        cells = "".join(f"<td>{html.escape(str(value))}</td>" for value in [name, *values])
        rows.append(f"<tr{' class=best' if name == best else ''}>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
