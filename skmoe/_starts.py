"""From starts to a fit: several starts, a race where there are many, the best kept."""

import copy
from dataclasses import replace

import numpy as np

from ._design import FAR, Design
from ._em import fit_em, is_additive, require
from ._failures import ExpertsFailed, keep_survivors
from ._fit import Parts
from ._gate_step import refit_gate
from ._init import kmeans_start, random_start, thinned
from ._joint import fit_joint
from ._monitor import Interrupted, Monitor
from ._path import grow, posterior
from ._precondition import fits_gram
from ._sweep import is_linear
from .experts.linear import LinearExpert
from .gates.softmax import SoftmaxGate

# With more starts than this, all run for a while and only so many to the end.
_FINALISTS = 3
_RACE_ITER = 30
# Share of the rows up to which far ones are left out of starts.
_MOST_FAR = 0.05
# Linear surrogates only point the way for other experts.
_SURROGATE_ITER, _SURROGATE_TOL = 50, 1e-4
# Rows on which minibatch training, and linear surrogates of other experts, look for a start.
_SAMPLE_ROWS = 20_000


def start_kinds(init, n_init):
    """Names of the starts to run.

    ``"auto"`` means the grown start, then k-means, then random ones; any other name
    stands first, and random starts follow.
    """
    first = ["grown", "kmeans"] if init == "auto" else [init]
    return (first + ["random"] * n_init)[:n_init]


def fit_from_starts(
    data, make_parts, n_experts, kinds, new_monitor, rng, fit=fit_em, *, grown=None, begin=None
):
    """Fit from every start and return the result with the highest objective.

    Parameters
    ----------
    data : FitData
        With views for gate and experts, both numeric.
    make_parts : callable
        ``make_parts(n_experts) -> Parts``, started, with an unfitted gate.
    n_experts : int
    kinds : list of {"grown", "kmeans", "random"}
    new_monitor : callable
        ``new_monitor(label) -> Monitor``.
    rng : numpy.random.RandomState
    fit : callable, default=fit_em
        Trainer: ``fit(data, parts, monitor, resp) -> FitResult``.
    grown : FitResult, default=None
        Of a path that reached ``n_experts``; takes the place of the grown start.
    begin : callable, default=None
        Trainer of the starts; ``fit`` by default.

    Returns
    -------
    FitResult
    """
    begin = begin or fit
    if n_experts == 1:
        return run(fit, data, make_parts(1), new_monitor(""), np.ones((len(data.y), 1)))
    begun = [] if grown is None else [resume(data, grown)]
    rest = kinds if grown is None else _others(kinds)
    begun += [_begin_near(kind, data, make_parts, n_experts, rng, begin) for kind in rest]
    if len(begun) > _FINALISTS:
        heats = [begin(data, parts, Monitor(1e-6, _RACE_ITER), resp) for parts, resp in begun]
        heats.sort(key=lambda result: -result.objective)
        begun = [resume(data, result) for result in heats[:_FINALISTS]]
    results = []
    for number, (parts, resp) in enumerate(begun):
        label = f"start {number + 1}/{len(begun)}  " if len(begun) > 1 else ""
        try:
            results.append(run(fit, data, parts, new_monitor(label), resp))
        except Interrupted as stop:
            stop.result = max([*results, stop.result], key=lambda result: result.objective)
            raise
    return max(results, key=lambda result: result.objective)


def _begin_near(kind, data, make_parts, n_experts, rng, begin):
    """Parts and responsibilities to go on from, found without rows far beyond the rest."""
    near = _near(data)
    parts, resp = _begin(kind, near, make_parts, n_experts, rng, begin)
    if near is data:
        return parts, resp
    found = begin(near, parts, Monitor(1e-6, _RACE_ITER), resp)
    parts = Parts(found.gate, found.experts, found.likelihood).keep()
    resp, loglik = posterior(data, parts)
    if not np.isfinite(loglik).all():  # counts that are impossible so far away
        return _begin(kind, data, make_parts, n_experts, rng, begin)
    # What noise explains must not weigh in the first step.
    noise = hasattr(parts.likelihood, "expert_resp") and is_additive(data, parts)
    return parts, None if noise else resp


def _near(data):
    """The data without rows that are far beyond the rest in a feature of the gate.

    All of it where there are none, or too many to be exceptions.
    """
    if not isinstance(data.gate_X, Design) or data.gate_X.is_sparse:
        return data
    near = data.gate_X.reach() <= FAR
    left_out = len(near) - np.count_nonzero(near)
    return data.on(np.flatnonzero(near)) if 0 < left_out <= _MOST_FAR * len(near) else data


def can_grow(data, gate, template):
    """Whether the fit itself is grown, or a linear surrogate of it.

    Other than linear experts would be fitted again after each split.
    A gate that is a density of the features could be grown too, but experts would then
    follow the features more than the target: held-out likelihoods were lower.
    """
    linear = isinstance(data.gate_X, Design) and hasattr(gate, "block_coef")
    linear = linear and data.observed is None
    linear = linear and is_linear(template.collection(1, data.n_classes))
    return linear and data.balance is None


def _others(kinds):
    """The starts that are left, as many in all, where the grown one is there already."""
    rest = [kind for kind in kinds if kind != "grown"]
    return rest[: len(kinds) - 1]


def run(fit, data, parts, monitor, resp):
    """Fit, end the line of progress, and fit a gate to all rows that was trained on folds.

    Ctrl-C raises `Interrupted` with the best iterate where there is one.
    """
    try:
        result = fit(data, parts, monitor, resp)
    except KeyboardInterrupt as stop:
        result = monitor.best_so_far()
        if result is None:
            raise
        raise Interrupted(data, result) from stop
    finally:
        monitor.close()
    refit_gate(data, result)
    return result


def _begin(kind, data, make_parts, n_experts, rng, fit):
    if kind == "grown":
        return resume(data, grow(data, make_parts, n_experts, fit))
    start = kmeans_start if kind == "kmeans" else random_start
    return make_parts(n_experts), start(data.gate_X, data.weight, n_experts, rng)


def resume(data, result):
    """Parts and responsibilities from which a fit goes on."""
    parts = Parts(result.gate, result.experts, result.likelihood).keep()
    return parts, posterior(data, parts)[0]


def one_expert_variance(data):
    """Residual variance (m,) of one linear expert; as of `one_expert`."""
    return one_expert(data)[1]


def one_expert(data):
    """One linear expert of data with a view as X, and its residual variance (m,).

    Where columns are many for the rows, residuals say nothing, and the variance of the
    target takes their place.
    """
    spread = np.square(data.y_scale)
    experts = LinearExpert().collection(1).start(data)
    if data.total_weight < 2 * data.X.shape[1]:
        return experts, spread
    pred = experts.fit_predict(data, np.ones((len(data.y), 1)), spread[None, :])
    squares = np.square(data.y - pred[:, 0])
    return experts, np.maximum(data.weight @ squares / data.total_weight, 1e-8 * spread)


def surrogate(data, likelihood):
    """Data and parts of a linear mixture in the place of any other.

    Parameters
    ----------
    data : FitData
    likelihood : likelihood

    Returns
    -------
    linear : FitData
    make_parts : callable
        ``make_parts(n_experts) -> Parts``.
    """
    view = data.gate_X if data.start_X is None else data.start_X
    expert_view = data.X if isinstance(data.X, Design) else view
    linear = replace(data, gate_X=view, X=expert_view, folds=None, balance=None, observed=None)

    def make_parts(n):
        return linear_parts(linear, LinearExpert(), SoftmaxGate(), likelihood, n)

    return linear, make_parts


def linear_parts(data, template, gate, likelihood, n_experts):
    """Started parts of a mixture of linear experts, with an unfitted gate."""
    likelihood = likelihood.start(data, n_experts)
    experts = template.collection(n_experts, data.n_classes, likelihood).start(data)
    return Parts(gate, experts, likelihood)


def surrogate_start(data, gate, likelihood, n_experts, kinds, rng):
    """Responsibilities for any experts and gate, handed over by linear ones.

    Parameters
    ----------
    data : FitData
    gate : gate
        May choose which expert stands where, by ``order_experts``.
    likelihood : likelihood
    n_experts, kinds, rng :
        As in `fit_from_starts`.

    Returns
    -------
    ndarray of shape (n, n_experts)
    """
    linear, make_parts = surrogate(data, likelihood)
    rows = thinned(len(data.weight), _SAMPLE_ROWS)
    some = linear if len(rows) == len(data.weight) else linear.on(rows)
    result = fit_from_starts(some, make_parts, n_experts, kinds, brief, rng, fit_joint)
    resp = resume(linear, result)[1]
    if not hasattr(gate, "order_experts"):
        return resp
    return np.ascontiguousarray(resp[:, gate.order_experts(linear.gate_X, resp, data.weight)])


def refit_experts(data, result):
    """The result with its experts fitted on all rows; those that fail are left out.

    Parameters
    ----------
    data : FitData
        Without folds.
    result : FitResult
        With responsibilities.

    Returns
    -------
    FitResult
    """
    own = result.resp if result.expert_resp is None else result.expert_resp
    try:
        result.experts.fit(data, own)
        return result
    except ExpertsFailed as failure:
        parts = Parts(result.gate, result.experts, result.likelihood)
        kept = [k for k in range(parts.experts.n_experts) if k not in failure.errors]
        parts, resp = keep_survivors(parts, result.resp, failure, refit=False)
        bias = None if result.routing_bias is None else result.routing_bias[kept]
        return replace(result, **vars(parts), resp=resp, routing_bias=bias)


def groups_start(data, gate, likelihood, n_experts, kinds, rng):
    """Responsibilities for experts that are to be trained on their own rows only.

    One named start is taken as it is; otherwise as in `surrogate_start`, which trains
    linear experts on all rows.
    """
    if kinds not in (["kmeans"], ["random"]):
        return surrogate_start(data, gate, likelihood, n_experts, kinds, rng)
    view = data.gate_X if data.start_X is None else data.start_X
    start = kmeans_start if kinds == ["kmeans"] else random_start
    return start(view, data.weight, n_experts, rng)


def minibatch_start(data, make_parts, n_experts, kinds, given, rng):
    """Parts, and responsibilities (n, K) or None, that minibatch training begins with.

    Parameters
    ----------
    data : FitData
        With views for gate and experts.
    make_parts, n_experts, kinds, rng :
        As in `fit_from_starts`.
    given : ndarray of shape (n, K) or None
        Responsibilities to start from.

    Returns
    -------
    parts : Parts
    resp : ndarray of shape (n, K) or None
        None where the parts are trained already.
    """
    parts = make_parts(n_experts)
    require(parts.gate, "resp_gradient", "penalty_gradient")
    if hasattr(parts.gate, "uniform") and not fits_gram(data.X, n_experts):
        parts.gate = parts.gate.uniform(data.gate_X, n_experts)
        start = random_start(data.gate_X, data.weight, n_experts, rng) if given is None else given
        return parts, start
    rows = thinned(len(data.weight), _SAMPLE_ROWS)
    sample = data.on(rows)

    def sample_parts(n):
        return make_parts(n, sample)

    parts = sample_parts(n_experts)
    if given is not None:
        given = given[rows]
    elif hasattr(parts.gate, "block_coef") and is_linear(parts.experts) and data.observed is None:
        result = fit_from_starts(sample, sample_parts, n_experts, kinds, brief, rng, fit_joint)
        return Parts(result.gate, result.experts, result.likelihood), None
    else:
        given = surrogate_start(sample, parts.gate, parts.likelihood, n_experts, kinds, rng)
    result = fit_em(sample, parts, Monitor(0.0, 1), given)
    return Parts(result.gate, result.experts, result.likelihood), None


class _Brief(Monitor):
    """Of a fit that only points the way, and is nothing to keep if it is interrupted."""

    def best_so_far(self):
        return None


def brief(label):
    """A monitor of a fit that only points the way."""
    return _Brief(_SURROGATE_TOL, _SURROGATE_ITER)


def optimism(data, parts, resp, fit=fit_em):
    """In-sample minus out-of-fold mean log-likelihood of the first M-step.

    Parameters
    ----------
    data : FitData
        With folds.
    parts : Parts
    resp : ndarray of shape (n, K)
    fit : callable, default=fit_em
        Trainer.

    Returns
    -------
    float
    """
    plain = replace(data, folds=None)
    values = []
    for rows in (plain, data):
        trial = Parts(
            copy.deepcopy(parts.gate), copy.copy(parts.experts), copy.copy(parts.likelihood)
        )
        monitor = Monitor(0.0, 1)
        values.append(fit(rows, trial, monitor, resp).history["objective"][0])
    return values[0] - values[1]
