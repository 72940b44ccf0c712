"""The shared base: trained out of fold for the corrections, and on all rows for prediction."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from sklearn.utils import _safe_indexing

from .._bins import Binner
from .._forest import Forest, TreeGrower
from ..experts._ground import Ground, as_scores
from ..experts._outputs import ClassOutput, MeanOutput
from ..experts._slots import make_slots

_RATE, _MAX_LEAVES = 0.1, 15
# From so many rows on, more forests gain less than they cost.
_MANY_ROWS = 20_000
# Rounds without a lower error after which cross-validation ends.
_PATIENCE = 30


def fit_ground(data, law, template, classes, seed):
    """The base of a fit, and what it says of the training rows out of fold.

    Parameters
    ----------
    data : FitData
        Its folds cross-fit the base; without any it is in-sample.
    law : Means or Classes
    template : AdditiveExpert
    classes : ndarray or None
    seed : int

    Returns
    -------
    ground : Ground
    codes : ndarray of shape (d, n) of uint8
    base : ndarray of shape (S, n)
        Out of fold.
    errors : list of float
        Cross-validated loss per row by round, where the base is boosted trees.
    """
    binner = Binner(data.X, data.weight)
    codes = binner.transform(data.X)
    constant, errors = law.constant(data.weight), []
    ground = Ground(binner, constant)
    base = np.repeat(constant[:, None], codes.shape[1], axis=1)
    if isinstance(template.base, str):
        # A leaf stands for as many rows, also where only a share of them is drawn.
        limits = _MAX_LEAVES, law.base_curvature * template.subsample, 1.0
        grower = TreeGrower(codes, binner.n_bins, binner.categorical, *limits)
        n_rounds, oof, errors = _cross_validated(data, law, grower, template)
        ground.forest, base = _boosted(law, grower, data, n_rounds, template, seed)
        base = base if oof is None else oof
    elif template.base is not None:
        ground.estimator, base = _other_base(data, template.base, classes, seed)
    ground.watch(base, data.weight)
    return ground, codes, base, errors


@contextmanager
def _mapping(n_threads):
    """A map that uses so many threads."""
    if n_threads == 1:
        yield map
        return
    with ThreadPoolExecutor(n_threads) as pool:
        yield pool.map


class _Run:
    """Boosted trees on rows of positive weight, with scores (S, n) of all rows."""

    def __init__(self, law, grower, weight, template, seed):
        self.law, self.grower, self.weight, self.template = law, grower, weight, template
        self.rows = np.flatnonzero(weight > 0)
        self.scores = np.repeat(law.constant(weight)[:, None], len(weight), axis=1)
        self.forest = Forest(law.n_scores, len(grower.n_bins))
        self.rng = np.random.default_rng(seed)

    def step(self):
        rows = drawn(self.rows, self.template.subsample, self.rng)
        slopes = self.law.slopes(self.scores[None], self.weight[None])
        for s in range(self.law.n_scores):
            tree = self.grower.grow(rows, slopes[0][0, s], slopes[1][0, s])
            self.forest.add(tree, s, _RATE, self.scores, self.grower.codes)
        self.forest.close_round()


def drawn(rows, share, rng):
    """Some of the rows, in order."""
    if share >= 1.0:
        return rows
    size = max(1, round(share * len(rows)))
    return np.sort(rng.choice(rows, size, replace=False, shuffle=False))


def _cross_validated(data, law, grower, template):
    """Number of rounds, scores (S, n) out of fold at it, and the loss by round."""
    if data.folds is None:
        return min(template.base_rounds, 100), None, []
    runs = []
    for number, (train, _) in enumerate(data.folds):
        weight = np.zeros(len(data.weight))
        weight[train] = data.weight[train]
        runs.append(_Run(law, grower, weight, template, number))
    oof = np.empty((law.n_scores, len(data.weight)))
    errors, best = [], np.inf
    kept, n_rounds = oof.copy(), 0
    with _mapping(data.n_threads) as over:
        for number in range(template.base_rounds + 1):
            if number:
                list(over(_Run.step, runs))
            for run, (_, test) in zip(runs, data.folds, strict=True):
                oof[:, test] = run.scores[:, test]
            errors.append(float(data.weight @ law.loss(oof) / data.total_weight))
            if errors[-1] < best:
                best, n_rounds = errors[-1], number
                kept[:] = oof
            if number - n_rounds >= _PATIENCE:
                break
    return n_rounds, kept, errors


def _boosted(law, grower, data, n_rounds, template, seed):
    """The mean of forests of so many rounds on all rows, and its scores."""
    repeats = template.base_repeats
    if template.subsample == 1:
        repeats = 1  # without draws of rows all forests would be the same
    elif repeats == "auto":
        repeats = 3 if np.count_nonzero(data.weight) < _MANY_ROWS else 1
    runs = [_Run(law, grower, data.weight, template, seed + number) for number in range(repeats)]

    def grow(run):
        for _ in range(n_rounds):
            run.step()

    with _mapping(data.n_threads) as over:
        list(over(grow, runs))
    return Forest.mean([run.forest for run in runs]), np.mean([run.scores for run in runs], axis=0)


def _other_base(data, template, classes, seed):
    """Another model as the base: how to ask it, and its scores (S, n) out of fold."""
    classify = classes is not None
    (slot,) = make_slots([template], ["the base of AdditiveExpert"], seed)
    target = classes[data.y] if classify else data.y
    target = target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target
    n_outputs = 1 if classify else data.y.shape[1]
    output = ClassOutput(classes, 1e-3) if classify else MeanOutput(n_outputs)

    def fitted_on(rows):
        weight = data.weight[rows]
        return slot.fit(data.X, rows, target[rows], weight, min(10, len(rows)), classify)

    every = np.arange(len(data.weight))
    whole = fitted_on(every)
    folds = [(every, every)] if data.folds is None else data.folds
    pred = None
    for train, test in folds:
        model = whole if data.folds is None else fitted_on(train)
        part = output(slot.who, model, _safe_indexing(data.X, test))
        pred = np.empty((len(every), part.shape[1])) if pred is None else pred
        pred[test] = part
    return (slot, whole, output), as_scores(pred, classify)
