"""The health of a fitted mixture: who works, who is idle, who repeats whom, and is it worth it."""

import copy
import math
from dataclasses import dataclass, field, replace
from numbers import Real

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils import _safe_indexing, check_scalar

from ._health import Facts, entropy, fingerprint
from ._validation import check_weight, templates_of
from .experts._folds import make_folds

__all__ = ["Diagnosis"]

_FOLDS = 5
# Standard errors by which a mixture has to be ahead of one expert.
_ERRORS = 2.0


@dataclass(frozen=True, repr=False)
class Diagnosis:
    r"""Health of a mixture on given rows, as `MoERegressor.diagnose` returns it.

    Shares and means are weighted by the sample weights. Variances and losses are fractions
    of the variance of the target on these rows (of the Gini impurity, for classes), so that
    1 is what a constant would leave. All of the following are attributes.

    Parameters
    ----------
    experts : DataFrame
        A row per expert. ``load``: share of the rows whose most probable expert it is;
        ``importance``: mean gate probability; ``utilisation``: share of the rows of which
        it has more than 1 % (after routing, with ``top_k``); ``responsibility``: mean
        posterior probability; ``loss``: mean squared error on its own rows;
        ``noise`` and ``distance``: variance that it claims, and squared distance from the
        mixture, on average where it is used; ``disagreement``: share of its use in rows
        where it is two standard deviations or more from the mixture (and 5 % of the
        variance of the target); ``replaceable``: the smallest cost in ``replacement``;
        ``verdict``.
    specialisation : DataFrame
        Mean squared error of the expert of the column on the rows whose most probable
        expert is that of the row. Experts have specialised where each row has its minimum
        on the diagonal. NaN for an expert that leads nowhere.
    error_correlation : DataFrame
        Correlation of the experts' errors over all rows.
    replacement : DataFrame
        What it costs, in mean log-likelihood per row that the expert of the row is
        responsible for, to let the expert of the column speak for it: 0 for duplicates.
    gate_entropy : float
        Mean entropy of the (routed) gate, in nats; 0 where it is sure.
    effective_experts : float
        Exponential of the entropy of the importance: K if all are used alike.
    variance_within, variance_between : float
        Parts of the predictive variance: noise of the experts and their disagreement.
    gain : float
        Mean log-likelihood per row above that of one expert; NaN if not compared.
    gain_error : float
        Standard error of it over rows.
    verdict : list of str
        What was found, in sentences.

    See Also
    --------
    skmoe.MoERegressor.diagnose : Makes one.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_moe_regression
    >>> X, y = make_moe_regression(600, 2, n_experts=2, random_state=0)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X[:400], y[:400])
    >>> diagnosis = model.diagnose(X[400:], y[400:])
    >>> diagnosis.experts["verdict"].tolist()
    ['fine', 'fine']
    >>> bool(diagnosis.gain > 0.5)
    True
    """

    experts: pd.DataFrame
    specialisation: pd.DataFrame
    error_correlation: pd.DataFrame
    replacement: pd.DataFrame
    gate_entropy: float
    effective_experts: float
    variance_within: float
    variance_between: float
    gain: float = math.nan
    gain_error: float = math.nan
    verdict: list = field(default_factory=list)

    def __repr__(self):
        """Return the verdict, the table of the experts and the specialisation."""
        numbers = (
            f"effective number of experts {self.effective_experts:.2f} of {len(self.experts)}, "
            f"gate entropy {self.gate_entropy:.3f}, variance within "
            f"{self.variance_within:.3f} and between {self.variance_between:.3f}"
        )
        show = {"float_format": "{:.3f}".format, "max_rows": 40, "max_cols": 12}
        parts = [
            *(f"* {sentence}" for sentence in self.verdict),
            "",
            self.experts.to_string(**show),
            "",
            "loss on the rows that a row's expert leads",
            self.specialisation.to_string(**show),
            "",
            numbers,
        ]
        return "\n".join(parts)


@dataclass(frozen=True)
class Limits:
    """Where a verdict begins; see `MoERegressor.diagnose`."""

    dead: float = 0.1
    redundant: float = 0.01
    conflicting: float = 0.5
    min_gain: float = 0.01

    def __post_init__(self):
        for name in ("dead", "redundant", "conflicting", "min_gain"):
            check_scalar(getattr(self, name), name, Real, min_val=0.0)


def diagnose(model, X, y, sample_weight, one_expert, limits):
    """Diagnose a fitted mixture; arguments as in `MixturePredictions.diagnose`.

    Parameters
    ----------
    limits : Limits

    Returns
    -------
    Diagnosis
    """
    _check_one_expert(one_expert)
    failing = model._failing(X)
    if 0 < len(failing) < model.n_experts_:
        return _without_failing(model, failing, X, y, sample_weight, one_expert, limits)
    target, gate, pred, log_lik = model._evidence(X, y)
    weight = check_weight(sample_weight, pred)
    facts = Facts(model, target, gate, pred, log_lik, weight)
    seen = getattr(model, "_fingerprint", None) == fingerprint(
        target[weight > 0], gate[0][weight > 0]
    )
    if seen:
        one_expert = None
    gain, error = _compare_with_one(model, X, y, weight, facts.loglik, one_expert)
    experts = facts.experts()
    found = _findings(experts, facts, limits)
    names = model.expert_names_
    experts["verdict"] = [", ".join(words) or "fine" for words in found]
    square = {
        "specialisation": facts.specialisation(),
        "error_correlation": facts.error_correlation(),
        "replacement": facts.replacement,
    }
    frames = {k: pd.DataFrame(v, index=names, columns=names) for k, v in square.items()}
    return Diagnosis(
        experts=experts,
        **frames,
        gate_entropy=facts.gate_entropy(),
        effective_experts=math.exp(entropy(experts["importance"].to_numpy())),
        variance_within=float(facts.mean(np.sum(facts.used * facts.noise, axis=1))),
        variance_between=float(facts.mean(np.sum(facts.used * facts.distance, axis=1))),
        gain=gain,
        gain_error=error,
        verdict=_sentences(found, frames["specialisation"], gain, error, limits, seen),
    )


def _without_failing(model, failing, X, y, sample_weight, one_expert, limits):
    """The diagnosis of the experts that can predict, which names those that cannot."""
    target, weight = model._decode_target(y), check_weight(sample_weight, X)
    if model._fingerprint == fingerprint(target[weight > 0], model.gate_proba(X)[weight > 0]):
        one_expert = None
    rest = copy.copy(model).remove_expert(list(failing))
    found = diagnose(rest, X, y, sample_weight, one_expert, limits)
    names = model.expert_names_
    experts = found.experts.reindex(names)
    experts.loc[[names[k] for k in failing], "verdict"] = "failing"
    said = [
        f"{names[k]}: failing, that is, it cannot predict these rows and is left out of all "
        f"numbers here ({error})."
        for k, error in failing.items()
    ]
    tables = ("specialisation", "error_correlation", "replacement")
    frames = {name: getattr(found, name).reindex(index=names, columns=names) for name in tables}
    return replace(found, experts=experts, **frames, verdict=said + found.verdict)


# -- one expert ------------------------------------------------------------------------------


def _check_one_expert(one_expert):
    if one_expert is None or hasattr(one_expert, "log_likelihood"):
        return
    if not isinstance(one_expert, str) or one_expert != "auto":
        raise ValueError(
            f"one_expert={one_expert!r} is unknown; use 'auto', None or a fitted model with "
            f"log_likelihood."
        )


def _compare_with_one(model, X, y, weight, loglik, one_expert):
    """Mean gain in log-likelihood over one expert, and its standard error."""
    if one_expert is None or model.n_experts_ == 1:
        return math.nan, math.nan
    if isinstance(one_expert, str):
        single = _out_of_fold(model, X, y, weight)
    else:
        single = one_expert.log_likelihood(X, y)
    known = np.isfinite(single) & np.isfinite(loglik) & (weight > 0)
    if known.sum() < 2:
        return math.nan, math.nan
    difference, share = (loglik - single)[known], weight[known] / weight[known].sum()
    gain = float(share @ difference)
    return gain, float(np.sqrt(np.sum(np.square(share * (difference - gain)))))


def _out_of_fold(model, X, y, weight):
    """Log-likelihood (n,) of one expert that other folds of the rows were fitted to.

    Of experts of several kinds, the best that can predict. NaN for classes that a fold has
    not seen.
    """
    positive = np.flatnonzero(weight > 0)
    loglik = np.full(len(weight), np.nan)
    if len(positive) < 2 * _FOLDS:
        return loglik
    y, classes = np.asarray(y), getattr(model, "classes_", None)
    target = model._decode_target(y)[positive]
    folds = make_folds(target, len(positive), _FOLDS, 0, classes)
    best = -np.inf
    for template in _templates(model):
        found = np.full(len(weight), np.nan)
        for train, test in folds:
            train, test = positive[train], positive[test]
            single = _single(model, template)
            rows = _safe_indexing(X, train)
            single.fit(rows, y[train], sample_weight=weight[train])
            if classes is not None:
                test = test[np.isin(y[test], single.classes_)]
            rows = _safe_indexing(X, test)
            if single._failing(rows):
                found[:] = np.nan  # no rival, since it cannot predict all rows
                break
            found[test] = single.log_likelihood(rows, y[test])
        known = np.isfinite(found)
        value = weight[known] @ found[known] / max(weight[known].sum(), 1e-300)
        if known.any() and value > best:
            best, loglik = value, found
    return loglik


def _templates(model):
    """What the experts of a mixture are made of; of a list, those that are left."""
    if isinstance(model.experts, list):
        left = [template for name, template in model.experts if name in model.expert_names_]
        return left or templates_of(model.experts)
    return templates_of(model.experts) or [model.experts]


def _single(model, template):
    """An unfitted mixture of one expert of a kind, which no gate or router touches."""
    plain = {
        "gate": "softmax",
        "n_experts": 1,
        "top_k": None,
        "routing": None,
        "load_balance": None,
        "combine": "mean",
        "solver": "auto",
        "init": "auto",
        "n_init": 1,
        "max_iter": 200,
        "tol": None,
        "warm_start": False,
        "verbose": 0,
    }
    single = clone(model)
    single.set_params(experts=clone(template) if template is not None else None)
    known = single.get_params(deep=False)
    return single.set_params(**{k: v for k, v in plain.items() if k in known})


# -- verdicts --------------------------------------------------------------------------------


def _findings(experts, facts, limits):
    """What is wrong with each expert: a list of lists of words."""
    share = limits.dead / len(experts)
    used = experts[["load", "responsibility"]].max(axis=1).to_numpy()
    used = np.maximum(used, facts.mean(facts.used))
    dead = used < share
    found = []
    for k in range(len(experts)):
        words = ["dead"] if dead[k] else []
        others = [j for j in range(len(experts)) if j != k and not dead[j]]
        if not dead[k] and others:
            twin = min(others, key=lambda j: facts.replacement[k, j])
            if facts.replacement[k, twin] < limits.redundant:
                words.append(f"redundant with {experts.index[twin]}")
        if not dead[k] and experts["disagreement"].iloc[k] > limits.conflicting:
            words.append("conflicting")
        found.append(words)
    return found


def _sentences(found, specialisation, gain, error, limits, seen):
    """The verdict in sentences."""
    said = []
    for word, advice in (
        ("dead", "hardly used; refit with fewer experts or another start"),
        ("redundant", "another could speak for it at no cost; merge them or use fewer experts"),
        (
            "conflicting",
            "mostly blended with others that contradict it; give the gate more features or "
            "flexibility, and trust the mean less",
        ),
    ):
        pairs = zip(specialisation.index, found)
        names = [name for name, words in pairs if any(w.startswith(word) for w in words)]
        if names:
            said.append(f"{', '.join(names)}: {word}, that is, {advice}.")
    said += _strays(specialisation)
    if seen:
        said.append(
            "Not compared with one expert: the model was fitted to these rows, on which more "
            "experts always look better; give rows that it has not seen."
        )
    elif math.isnan(gain):
        said.append("Not compared with one expert.")
    else:
        pays = gain > max(limits.min_gain, _ERRORS * error)
        said.append(
            f"A mixture {'pays' if pays else 'does not pay'} here: {gain:+.3f} (standard error "
            f"{error:.3f}) in log-likelihood per row against one expert."
        )
    return said


def _strays(specialisation):
    """Sentences on groups of rows that another expert predicts better."""
    said = []
    for name, row in specialisation.iterrows():
        if row.notna().all() and row.idxmin() != name:
            said.append(
                f"{name}: not the best on its own rows (loss {row[name]:.3f}; "
                f"{row.idxmin()} has {row.min():.3f})."
            )
    return said
