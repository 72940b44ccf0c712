"""A regression-style table of a fitted mixture, as text."""

import numpy as np

from .._validation import check_weight
from ._errors import standard_errors

WIDTH = 100
_TERM, _CELL = 22, 26
_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


def report(model, X, y, sample_weight=None, *, exposure=None, level=0.95, **options):
    """Print a regression-style table of gate and experts, and return it.

    A column for each expert: coefficients, standard errors in brackets and stars for
    p-values of Wald tests. Lines have at most 100 characters.

    Parameters
    ----------
    model : MoERegressor or MoEClassifier
        Fitted, with ``gate="softmax"`` and linear experts.
    X, y, sample_weight, exposure
        What the model was fitted to; see `standard_errors`.
    level : float, default=0.95
        Coverage of the confidence intervals in the table that is returned.
    **options
        ``covariance``, ``groups`` and ``reference`` of `standard_errors`.

    Returns
    -------
    DataFrame
        See `StandardErrors.table`.
    """
    found = standard_errors(model, X, y, sample_weight, exposure=exposure, **options)
    table = found.table(level)
    robust = options.get("groups") is not None or options.get("covariance") == "robust"
    head = _head(model, X, y, sample_weight, exposure, robust, options.get("groups"))
    print("\n".join([*head, *lines(table, model, X, found.reference)]))
    return table


def _head(model, X, y, sample_weight, exposure, robust, groups):
    values = model._criteria(X, y, sample_weight, exposure)
    total = model.n_parameters_ - values["aic"] / 2.0
    weight = check_weight(sample_weight, y)
    kind = "observed information"
    if robust:
        kind = "robust" if groups is None else "robust, by group"
    law = type(model.likelihood_).__name__
    facts = [
        ("rows", f"{weight.sum():g}"),
        ("log-likelihood", f"{total:.2f}"),
        ("experts", f"{model.n_experts_}"),
        ("AIC", f"{values['aic']:.2f}"),
        ("parameters", f"{model.n_parameters_}"),
        ("BIC", f"{values['bic']:.2f}"),
    ]
    out = [f"{type(model).__name__}: {law} law, linear experts, softmax gate", "=" * WIDTH]
    for left, right in zip(facts[::2], facts[1::2], strict=True):
        out.append(f"{left[0]:<16}{left[1]:>24}{'':20}{right[0]:<16}{right[1]:>24}")
    return [*out, f"{'standard errors':<16}{kind:>24}", "=" * WIDTH]


def lines(table, model, X, reference):
    """Lines of the table; more experts than fit go below each other.

    Parameters
    ----------
    table : DataFrame
        From `StandardErrors.table`.
    model : fitted mixture
    X : array-like
        Rows over which gate probabilities are averaged.
    reference : str
        Expert without gate coefficients.

    Returns
    -------
    list of str
    """
    names, out = list(model.expert_names_), []
    share = dict(zip(names, model.gate_proba(X).mean(axis=0), strict=True))
    at_once = (WIDTH - _TERM) // _CELL
    label = "" if not hasattr(model, "classes_") else str(model.classes_[0])
    for start in range(0, len(names), at_once):
        some = names[start : start + at_once]
        out.append(
            " " * _TERM + "".join(f"{_short(name, _CELL - 4):>{_CELL - 3}}   " for name in some)
        )
        for part, title in _sections(table, reference, label):
            rows = table[(table["part"] == part[0]) & (table["outcome"] == part[1])]
            out += [
                "-" * WIDTH,
                title,
                *_rows(rows, some, reference if part[0] == "gate" else None),
            ]
        cells = "".join(f"{share[name]:>{_CELL - 3}.3f}   " for name in some)
        out += ["-" * WIDTH, f"{'mean gate probability':<{_TERM}}{cells}", "=" * WIDTH]
    return [
        *[line.rstrip() for line in out],
        "Standard errors in brackets. Wald tests against zero: *** p < 0.001, ** 0.01, * 0.05.",
    ]


def _sections(table, reference, first_class):
    """Parts and outcomes in the order of the table, with titles."""
    experts = table.loc[table["part"] == "expert", "outcome"].drop_duplicates()
    found = []
    for outcome in experts:
        title = "EXPERTS" if not outcome else f"EXPERTS, {outcome}"
        if first_class:
            title = f"EXPERTS: log odds of {outcome} against {first_class}"
        found.append((("expert", outcome), title))
    noise = table.loc[table["part"] == "noise", "outcome"].drop_duplicates()
    found += [(("noise", o), "NOISE" if not o else f"NOISE, {o}") for o in noise]
    if (table["part"] == "gate").any():
        found.append((("gate", ""), f"GATE: log odds of an expert against {reference}"))
    return found


def _rows(rows, experts, reference):
    out = []
    for term in rows["term"].drop_duplicates():
        own = rows[rows["term"] == term].set_index("expert")
        cells = []
        for expert in experts:
            if expert == reference:
                cells.append(f"{'0 (reference)':>{_CELL - 3}}   ")
            else:
                name = "all" if "all" in own.index else expert
                cells.append(_cell(own.loc[name]) if name in own.index else " " * _CELL)
        out.append(f"{_short(str(term), _TERM - 2):<{_TERM}}{''.join(cells)}")
    return out


def _cell(row):
    """Coefficient, standard error and stars in a fixed width."""
    stars = next((marks for bound, marks in _STARS if row["p_value"] < bound), "")
    value, error = numbers(row["estimate"], row["std_error"])
    return f"{value:>11} {f'({error})':>11}{stars:<3}"


def numbers(value, error):
    """A number and its error as text; the error has three digits, the number as many decimals."""
    if not np.isfinite(error) or error <= 0.0:
        return f"{value:.4g}", "-"
    decimals = 2 - int(np.floor(np.log10(error)))
    if decimals > 5 or abs(value) >= 1e8 or error >= 1e7:
        return f"{value:.3e}", f"{error:.1e}"
    decimals = max(decimals, 0)
    return f"{value:.{decimals}f}", f"{error:.{decimals}f}"


def _short(text, width):
    return text if len(text) <= width else f"{text[: width - 1]}…"
