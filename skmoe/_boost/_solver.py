"""The solver for additive experts."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from .._bins import Binner
from .._fit import FitResult
from .._monitor import Monitor
from ..experts._ground import Ground
from ._base import fit_ground
from ._laws import law_of
from ._rounds import Rows, State


class Boosting(BaseEstimator):
    """Joint functional gradient ascent, for `skmoe.experts.AdditiveExpert`.

    Another regressor as the template of experts becomes the learner of one.

    First the shared base is trained, with predictions out of fold. Then every round takes a
    small step of all parts from the same responsibilities: a learner more for each expert, a
    step of the scales, and for the gate a step of its slopes and a tree for each expert. The
    number of rounds is the one that makes held-out rows most probable; the fit is then
    repeated with all rows.

    Parameters
    ----------
    validation_fraction : float or None, default=0.15
        Share of the rows that are held out. None: all ``max_rounds`` of the experts.
    patience : int, default=20
        Rounds without a rise of the held-out log-likelihood after which to stop.
    gate : {"sum", "linear", "trees"}, default="sum"
        Which parts the gate has: slopes, trees, or both.
    corrections : bool, default=True
        False: experts are the base, and only the gate and the scales are trained.
    refit : bool, default=True
        Whether the fit is repeated with all rows.
    random_state : int, default=None
        Seed of the held-out rows and of the rows of each round. None: drawn from the
        ``random_state`` of the mixture.

    References
    ----------
    Friedman, J. H. (2001). Greedy function approximation: a gradient boosting machine.
    Annals of Statistics 29, 1189-1232.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.experts import AdditiveExpert
    >>> from skmoe.solvers import Boosting
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> y = np.abs(X[:, 0])
    >>> solver = Boosting(corrections=False)
    >>> model = MoERegressor(AdditiveExpert(), n_experts=2, solver=solver, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.95)
    True
    """

    _parameter_constraints = {
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "gate": [StrOptions({"sum", "linear", "trees"})],
        "corrections": ["boolean"],
        "refit": ["boolean"],
        "random_state": [Interval(Integral, 0, None, closed="left"), None],
    }

    draws = True

    def __init__(
        self,
        *,
        validation_fraction=0.15,
        patience=20,
        gate="sum",
        corrections=True,
        refit=True,
        random_state=None,
    ):
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.gate = gate
        self.corrections = corrections
        self.refit = refit
        self.random_state = random_state

    def fit(self, data, parts, monitor, resp=None):
        """Train the parts of a mixture.

        Parameters
        ----------
        data : FitData
            Its folds are those of the base.
        parts : Parts
            Gate and experts are plans: an `AdditiveGate` that is not started, and an
            `ExpertPlan` with the template. The likelihood is started.
        monitor : Monitor
            Shows progress.
        resp : None
            Not used: experts begin alike but for their scales.

        Returns
        -------
        FitResult
            ``history`` also has ``held_out``, the log-likelihood per row of the held-out rows
            by round, and ``base_error``, the cross-validated loss of the base.
        """
        seed = self.random_state
        plan, law = parts.experts, law_of(data)
        template = plan.templates[0]
        classes = plan.classes
        ground, codes, base, errors = fit_ground(data, law, template, classes, seed)
        gate_ground = ground
        if data.gate_X is not data.X:
            gate_ground = Ground(Binner(data.gate_X, data.weight), np.zeros(0))
        rows = Rows(data, law, ground, codes, base, gate_ground)
        gate = parts.gate.set_params(linear=self.gate != "trees", trees=self.gate != "linear")

        def begin(weight):
            args = (rows, template, plan.names, gate, parts.likelihood, weight, seed)
            return State(*args, self.corrections)

        n_rounds, curve, stopped = template.max_rounds, [], True
        weight, held_out = data.weight, self._held_out(data)
        if held_out is not None:
            kept = np.where(held_out, 0.0, data.weight)
            curve, stopped = self._search(begin(kept), n_rounds, monitor.progress)
            n_rounds = int(np.argmax(curve))
            weight = data.weight if self.refit else kept
        state = begin(weight)
        monitor.update(state.objective(), state.load())
        for _ in range(n_rounds):
            state.step()
            monitor.update(state.objective(), state.load())
        history = {**monitor.history, "held_out": curve, "base_error": errors}
        parts = state.gate, state.experts, state.likelihood, state.resp
        return FitResult(*parts, state.objective(), n_rounds, stopped, history)

    def _held_out(self, data):
        """Which rows (n,) are held out; None for no rows."""
        size = round((self.validation_fraction or 0.0) * len(data.weight))
        if size < 1:
            return None
        rng = np.random.default_rng(self.random_state)
        held_out = np.zeros(len(data.weight), dtype=bool)
        if data.n_classes is None:
            held_out[rng.permutation(len(held_out))[:size]] = True
            return held_out
        # Every class in proportion, its last row never.
        for label in range(data.n_classes):
            rows = rng.permutation(np.flatnonzero(data.y == label))
            held_out[rows[: int(len(rows) * self.validation_fraction)]] = True
        return held_out if held_out.any() else None

    def _search(self, state, max_rounds, progress):
        """Held-out log-likelihood by round, and whether it has stopped rising."""
        # It records; here, other than in a climb, a drop counts as a round without a rise.
        watch = Monitor(0.0, max_rounds + 1, max_rounds + 2, progress.labelled("held out  "))
        watch.update(state.held_out(), state.load())
        curve, since_best = watch.history["objective"], 0
        while since_best < self.patience and not watch.stop:
            state.step()
            best = watch.update(state.held_out(), state.load())
            since_best = 0 if best else since_best + 1
        watch.close()
        return curve, since_best >= self.patience
