"""How many experts: fits along a grown path, and the number that a criterion prefers."""

import numpy as np
import pandas as pd

from ._criteria import confusion, count_parameters, countable, criteria
from ._fit import Parts, objective_value
from ._gate_step import evidence
from ._joint import fit_joint
from ._path import grown_path, posterior
from ._starts import resume, surrogate

# A criterion compares fits: stages go on for longer than those of a mere start, or else
# a split makes up for iterations that its parent lacked.
STAGE_ITER, STAGE_TOL = 60, 1e-5
# With so few rows every promising split is tried, not only the first that helps: paths get
# stuck more often, and cost little.
_FEW_ROWS = 1000
COLUMNS = ["objective", "log_likelihood", "n_parameters", "aic", "bic", "bicc", "icl", "cv"]


def full_path(data, make_parts, fit):
    """The grown path of fits that are compared; arguments as in `_path.grown_path`."""
    every = len(data.y) <= _FEW_ROWS
    options = {"tol": STAGE_TOL, "max_iter": STAGE_ITER, "every": every}
    return grown_path(data, make_parts, fit, **options)


def surrogate_path(data, likelihood, fit_from):
    """Fits of any parts, each begun from a linear mixture on a grown path.

    Parameters
    ----------
    data : FitData
    likelihood : likelihood
    fit_from : callable
        ``fit_from(resp) -> FitResult``, with responsibilities (n, K) to start from.

    Yields
    ------
    FitResult
        With one expert, two experts, and so on.
    """
    linear, make_parts = surrogate(data, likelihood)
    for result in full_path(linear, make_parts, fit_joint):
        yield fit_from(resume(linear, result)[1])


def in_sample(data, result):
    """Log-likelihood and information criteria of a fit, where its parameters are counted."""
    parts = Parts(result.gate, result.experts, result.likelihood)
    resp, loglik = posterior(data, parts)
    total = float(data.weight @ loglik)
    row = {"objective": result.objective, "log_likelihood": total / data.total_weight}
    n_parameters = count_parameters(parts)
    if n_parameters is None:
        return row
    entropy = confusion(resp, data.weight)
    return row | {
        "n_parameters": n_parameters,
        **criteria(total, entropy, n_parameters, data.total_weight),
    }


def out_of_fold(data, result):
    """Log-likelihood at a fit whose experts predicted out of fold.

    The gate has seen the rows: what its free parameters are expected to gain by that (Akaike,
    1974) is taken off, unless its probabilities are out of fold too.
    """
    parts = Parts(result.gate, result.experts, result.likelihood)
    rest = objective_value(data, 0.0, parts, evidence(data, parts.gate))
    loglik = result.objective - rest
    if countable(parts.gate) and not hasattr(parts.gate, "fit_log_proba"):
        loglik -= parts.gate.n_parameters() / data.total_weight
    return {"objective": result.objective, "cv": loglik}


class HeldOut:
    """Held-out log-likelihood of paths on the training parts of folds, step by step.

    Parameters
    ----------
    data : FitData
    folds : tuple of (train, test)
    make_path : callable
        ``make_path(data)`` yields a FitResult per number of experts.
    """

    def __init__(self, data, folds, make_path):
        self._weight = np.concatenate([data.weight[test] for _, test in folds])
        self._paths = [(make_path(data.on(train)), data.on(test)) for train, test in folds]

    def __call__(self):
        """Log-likelihood of every row at the next number of experts, by fold: (n,)."""
        found = []
        for path, test in self._paths:
            result = next(path)
            parts = Parts(result.gate, result.experts, result.likelihood)
            found.append(posterior(test, parts)[1])
        return np.concatenate(found)

    def mean(self, loglik):
        """Weighted mean of what a call returns."""
        return float(self._weight @ loglik / self._weight.sum())

    def error(self, gain):
        """Standard error of the mean of a difference (n,) between two calls."""
        spread = self._weight @ np.square(gain - self.mean(gain)) / self._weight.sum()
        return float(np.sqrt(spread / self._weight.sum()))


def choose(path, judge, criterion, most, patience, held_out=None):
    """Follow a path until a criterion has stopped falling.

    Parameters
    ----------
    path : iterator of FitResult
        With one expert, two experts, and so on.
    judge : callable
        ``judge(result) -> dict``, a row of the table.
    criterion : {"bic", "bicc", "icl", "cv"}
        "cv" rises, the others fall.
    most : int
        Most experts.
    patience : int
        Steps without a better criterion after which the path ends.
    held_out : HeldOut, default=None
        Gives "cv". Then the smallest number is chosen that is worse than the best by no
        more than a standard error of their difference (Breiman et al., 1984).

    Returns
    -------
    n_experts : int
    result : FitResult
    table : DataFrame
    """
    sign = 1.0 if criterion == "cv" else -1.0
    rows, fits, logliks, best = [], [], [], 0
    for n_experts in range(1, most + 1):
        fits.append(next(path))
        rows.append({"n_experts": n_experts, **judge(fits[-1])})
        if held_out is not None:
            logliks.append(held_out())
            rows[-1]["cv"] = held_out.mean(logliks[-1])
        if sign * rows[-1][criterion] > sign * rows[best][criterion]:
            best = n_experts - 1
        elif n_experts - 1 - best >= patience:
            break
    chosen = best
    if held_out is not None:
        chosen = _smallest(logliks, best, held_out)
    table = pd.DataFrame(rows, columns=["n_experts", *COLUMNS])
    table["chosen"] = table.index == chosen
    return chosen + 1, fits[chosen], table


def _smallest(logliks, best, held_out):
    """Index of the first of few experts that are as good as the best, but for chance."""
    gains = [logliks[best] - loglik for loglik in logliks[: best + 1]]
    return next(i for i, gain in enumerate(gains) if held_out.mean(gain) <= held_out.error(gain))
