"""What a fit has found, in sentences."""

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from .._numbers import percent, plain
from ._columns import is_date, is_numeric, years

# How far distributions must be apart to be named, how many columns are named for an expert,
# and the rank correlation from which two columns say the same.
_CLEAR = 0.25
_MOST = 2
_ALIKE = 0.9


def conclude(problem, trained):
    """Sentences on how good the mixture is, beside one expert, and what each expert is for.

    Parameters
    ----------
    problem : Problem
    trained : Trained

    Returns
    -------
    list of str
    """
    mixture = trained.model[-1]
    lines = [_quality(problem, trained), _against_one(problem, trained)]
    if trained.judged[-1].n_experts_ > 1:
        lines += _callings(trained)
    if not mixture.converged_:
        lines.append(
            f"The fit to all rows stopped after {mixture.n_iter_} iterations, before it had "
            f"converged; a larger --max-iter lets it go on."
        )
    return lines


def _quality(problem, trained):
    mean = trained.scores
    if problem.classify:
        often = mean.loc["constant", "accuracy"]
        return (
            f"On held-out rows the mixture names the right class in "
            f"{percent(mean.loc['mixture', 'accuracy'])} of cases; always naming the most "
            f"frequent one is right in {percent(often)}."
        )
    explained = mean.loc["mixture", "R2"]
    return (
        f"On held-out rows the mixture explains {percent(max(explained, 0.0))} of the variance of "
        f"{problem.target} and is wrong by {plain(mean.loc['mixture', 'MAE'])} on average."
    )


def _against_one(problem, trained):
    """Whether the mixture beats one expert by more than two standard errors over the folds."""
    if trained.model[-1].n_experts_ == 1:
        return "One expert was enough: more experts were no better by the criterion."
    key, words = ("log_loss", "log loss") if problem.classify else ("RMSE", "RMSE")
    one, mixture = (trained.folds[name][key] for name in ("one expert", "mixture"))
    figures = f"{words} {plain(mixture.mean())} against {plain(one.mean())}"
    gain = one - mixture
    noise = gain.std() / np.sqrt(len(gain))
    if abs(gain.mean()) <= 2.0 * noise:
        return (
            f"That is as good as one expert, within what the folds differ by ({figures}), which is "
            f"simpler: --experts 1."
        )
    if gain.mean() < 0.0:
        return f"One expert is better ({figures}): use --experts 1."
    share = percent(gain.mean() / one.mean())
    return f"That is better than one expert of the same kind: {figures}, {share} less."


def _callings(trained):
    """For each expert, the rows that it leads and how they differ from the others."""
    X, _ = trained.held_out
    rows = trained.judged[:-1].transform(X)
    mixture = trained.judged[-1]
    leader = mixture.gate_proba(rows).argmax(axis=1)
    lines = []
    for k, name in enumerate(mixture.expert_names_):
        led = leader == k
        if not led.any():
            lines.append(f"{name.replace('_', ' ').capitalize()} leads no rows.")
            continue
        traits = _traits(X, led)
        what = ", ".join(traits) if traits else "no single column tells its rows from others"
        who = name.replace("_", " ").capitalize()
        lines.append(f"{who} leads {percent(led.mean())} of the rows: {what}.")
    return lines


def _traits(X, led):
    """The columns by which some rows differ most from the others, in words."""
    if led.all():
        return []
    found = [trait for name in X.columns for trait in _trait(X[name], led)]
    found = sorted((trait for trait in found if trait[0] >= _CLEAR), key=lambda trait: -trait[0])
    chosen = []
    for _, name, words in found:
        if not any(_same(X[name], X[other]) for other, _ in chosen):
            chosen.append((name, words))
    return [words for _, words in chosen[:_MOST]]


def _same(one, other):
    """Whether two columns of numbers say nearly the same."""
    if not (is_numeric(one) and is_numeric(other)):
        return False
    return abs(one.corr(other, method="spearman")) > _ALIKE


def _trait(values, led):
    """Triples of the size of a difference, 0 to 1, the name of the column, and words.

    The largest distance between distribution functions (numbers), or of shares (words): the same
    for a column of two values.
    """
    name = values.name
    if is_date(values):
        values = years(values.to_frame())[name]
    inside, outside = values[led].dropna(), values[~led].dropna()
    if not len(inside) or not len(outside):
        return []
    if is_numeric(values):
        size = ks_2samp(inside, outside, method="asymp").statistic
        low, middle, high = map(plain, inside.quantile([0.1, 0.5, 0.9]))
        words = f"{name} around {middle} ({low} to {high}; others around {plain(outside.median())})"
        return [(size, name, words)]
    shares = [part.value_counts(normalize=True) for part in (inside, outside)]
    table = pd.concat(shares, axis=1).fillna(0.0)
    gap = table.iloc[:, 0] - table.iloc[:, 1]
    word = gap.abs().idxmax()
    here, there = map(percent, table.loc[word])
    return [(abs(gap[word]), name, f"{here} have {name} {word} (other rows {there})")]
