"""Solvers: how the parts of a mixture are trained."""

from functools import partial
from numbers import Integral, Real

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from ._assign import Stochastic, anneal, hard
from ._boost import Boosting
from ._em import fit_em
from ._joint import fit_joint, fit_together
from ._minibatch import Minibatch
from ._pool import fit_pool
from ._revival import fit_with_moves
from ._stages import Stages

__all__ = ["EM", "Boosting", "Gradient", "Minibatch", "Pool", "Stages"]


class EM(BaseEstimator):
    """Expectation maximisation, for any experts and any gate.

    For linear experts every iteration is one pass over the rows: the E-step, closed-form
    updates of the experts, and a Newton step of the gate that is shortened if it would
    lower the objective. For other experts an iteration fits each of them anew.

    Parameters
    ----------
    accelerate : bool, default=True
        Extrapolate pairs of iterations (SQUAREM) for linear Gaussian experts. A jump that
        lowers the objective is not made.
    e_step : {"soft", "hard", "stochastic"}, default="soft"
        What experts are fitted to: responsibilities, each row to its most probable expert
        (classification EM), or to one that is drawn. The objective that is monitored stays
        that of the mixture, which hard and stochastic steps may lower; the best iterate is
        kept. They fit expert after expert, so linear ones take longer than by soft steps.
    temperature : float, default=1.0
        Above 1, the fit begins by deterministic annealing: responsibilities to the power
        of 1 / temperature. These iterations are not in ``history_``.
    cooling : float, default=0.8
        Factor of the temperature from one iteration to the next, until it is 1.
    revive : bool, default=False
        Plant dead experts anew, where another gains most from a split. An expert is dead
        if for five iterations its load, and in the end its responsibility, is below a
        tenth of an equal share. Up to eight splits are tried, and the best one is made if
        the objective is higher after 40 iterations.
    polish : int, default=0
        So often at most, plant the lightest expert of a converged fit anew; again only if
        that raises the objective.
    forgetting : float, default=1.0
        Of ``partial_fit`` only: share of what was learned before a call that still counts
        after it; below 1 for streams whose regimes change.
    random_state : int, default=None
        Seed of stochastic steps. None: drawn from the ``random_state`` of the mixture.

    References
    ----------
    Dempster, A. P., Laird, N. M. and Rubin, D. B. (1977). Maximum likelihood from
    incomplete data via the EM algorithm. JRSS B 39, 1-38.

    Varadhan, R. and Roland, C. (2008). Simple and globally convergent methods for
    accelerating the convergence of any EM algorithm. Scand. J. Statist. 35, 335-353.

    Celeux, G. and Diebolt, J. (1985). The SEM algorithm: a probabilistic teacher algorithm
    derived from the EM algorithm for the mixture problem. Comput. Statist. Quart. 2, 73-82.

    Celeux, G. and Govaert, G. (1992). A classification EM algorithm for clustering and two
    stochastic versions. Comput. Statist. Data Anal. 14, 315-332.

    Ueda, N. and Nakano, R. (1998). Deterministic annealing EM algorithm. Neural Networks
    11, 271-282.

    Ueda, N., Nakano, R., Ghahramani, Z. and Hinton, G. E. (2000). SMEM algorithm for mixture
    models. Neural Computation 12, 2109-2128.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.solvers import EM
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.1, 1.9, 3.0]
    >>> MoERegressor(n_experts=1, solver=EM(accelerate=False)).fit(X, y).solver_
    EM(accelerate=False)
    """

    _parameter_constraints = {
        "accelerate": ["boolean"],
        "e_step": [StrOptions({"soft", "hard", "stochastic"})],
        "temperature": [Interval(Real, 1, None, closed="left")],
        "cooling": [Interval(Real, 0, 1, closed="neither")],
        "revive": ["boolean"],
        "polish": [Interval(Integral, 0, None, closed="left")],
        "forgetting": [Interval(Real, 0, 1, closed="right")],
        "random_state": [Interval(Integral, 0, 2**32 - 1, closed="both"), None],
    }

    def __init__(
        self,
        *,
        accelerate=True,
        e_step="soft",
        temperature=1.0,
        cooling=0.8,
        revive=False,
        polish=0,
        forgetting=1.0,
        random_state=None,
    ):
        self.accelerate = accelerate
        self.e_step = e_step
        self.temperature = temperature
        self.cooling = cooling
        self.revive = revive
        self.polish = polish
        self.forgetting = forgetting
        self.random_state = random_state

    @property
    def draws(self):
        """Whether random numbers are drawn."""
        return self.e_step == "stochastic"

    @property
    def patience(self):
        """Iterations in a row without a rise that count as convergence."""
        return 10 if self.e_step == "stochastic" else 2

    def begin(self, data, parts, monitor, resp):
        """Train without annealing and moves, for starts; arguments as in `fit`.

        Parameters
        ----------
        data : FitData
            Rows, targets and weights.
        parts : Parts
            Started gate, experts and likelihood; copied, not changed.
        monitor : Monitor
            Judges progress.
        resp : ndarray of shape (n, K)
            Responsibilities to start from.

        Returns
        -------
        FitResult
            Parts of the best iterate, objective, history.
        """
        return self._step()(data, parts, monitor, resp)

    def fit(self, data, parts, monitor, resp):
        """Train the parts of a mixture.

        Parameters
        ----------
        data : FitData
            Rows, targets and weights.
        parts : Parts
            Started gate, experts and likelihood; copied, not changed.
        monitor : Monitor
            Judges progress.
        resp : ndarray of shape (n, K)
            Responsibilities to start from.

        Returns
        -------
        FitResult
            Parts of the best iterate, objective, history.
        """
        if self.temperature > 1.0:
            parts, resp = anneal(data, parts, resp, self.temperature, self.cooling)
        step = self._step()
        if self.revive or self.polish:
            moves = {"revive": self.revive, "polish": self.polish}
            return fit_with_moves(step, data, parts, monitor, resp, **moves)
        return step(data, parts, monitor, resp)

    def _step(self):
        """`fit_em` with the options."""
        assign = {"soft": None, "hard": hard, "stochastic": Stochastic(self.random_state)}
        return partial(fit_em, accelerate=self.accelerate, assign=assign[self.e_step])


class Gradient(BaseEstimator):
    """Joint gradient training of gate, linear or neural experts and noise by L-BFGS.

    The objective is the same as that of EM. Linear Gaussian experts begin with EM
    iterations for as long as these are fast, others with one. L-BFGS is preconditioned by
    the observed information (Louis 1982) of as many rows as it takes; where that would
    cost too much, by the Gram matrices of EM for Gaussian experts and by one Gram for
    multinomial ones; for neural experts by a rough diagonal. All rows are trained on: for
    early stopping on held-out rows use `Minibatch`.

    Parameters
    ----------
    warm_up : int, default=50
        Most EM iterations before the first gradient step; they end earlier once rises of
        the objective are less than a tenth of the largest one and shrink slowly.
    objective : {"likelihood", "prediction"}, default="likelihood"
        "likelihood": experts compete to explain each row. "prediction": they cooperate, and
        what is trained is half the squared error of their blended output, in units of the
        residual variance of one linear expert; noise is estimated at the end. For
        regression; of classes, the log loss of the blended probabilities is the likelihood,
        and both are the same.
    renew_every : int, default=10
        Iterations after which the preconditioner is computed anew.
    memory : int, default=20
        Pairs of steps and gradient differences that L-BFGS keeps.
    revive : bool, default=False
        Plant experts that are dead at the end of a fit anew, as `EM` does in its midst.
    polish : int, default=0
        So often at most, plant the lightest expert of a fit anew; again only if that
        raises the objective.

    References
    ----------
    Nocedal, J. and Wright, S. J. (2006). Numerical Optimization, 2nd ed., chapter 7.

    Jacobs, R. A., Jordan, M. I., Nowlan, S. J. and Hinton, G. E. (1991). Adaptive
    mixtures of local experts. Neural Computation 3, 79-87.

    Louis, T. A. (1982). Finding the observed information matrix when using the EM
    algorithm. Journal of the Royal Statistical Society B 44, 226-233.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.solvers import Gradient
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.1, 1.9, 3.0]
    >>> MoERegressor(n_experts=1, solver=Gradient(memory=10)).fit(X, y).solver_
    Gradient(memory=10)
    """

    _parameter_constraints = {
        "warm_up": [Interval(Integral, 1, None, closed="left")],
        "objective": [StrOptions({"likelihood", "prediction"})],
        "renew_every": [Interval(Integral, 1, None, closed="left")],
        "memory": [Interval(Integral, 2, None, closed="left")],
        "revive": ["boolean"],
        "polish": [Interval(Integral, 0, None, closed="left")],
    }

    patience = 5

    def __init__(
        self,
        *,
        warm_up=50,
        objective="likelihood",
        renew_every=10,
        memory=20,
        revive=False,
        polish=0,
    ):
        self.warm_up = warm_up
        self.objective = objective
        self.renew_every = renew_every
        self.memory = memory
        self.revive = revive
        self.polish = polish

    def begin(self, data, parts, monitor, resp, until=None):
        """Train without moves of experts, for starts; arguments as in `fit`.

        Parameters
        ----------
        data : FitData
            Rows, targets and weights.
        parts : Parts
            Started gate, experts and likelihood; copied, not changed.
        monitor : Monitor
            Judges progress.
        resp : ndarray of shape (n, K)
            Responsibilities to start from.
        until : None
            Not heeded: a fit goes on to its end.

        Returns
        -------
        FitResult
            Parts of the best iterate, objective, history.
        """
        return fit_joint(
            data,
            parts,
            monitor,
            resp,
            warm_up=self.warm_up,
            renew_every=self.renew_every,
            memory=self.memory,
        )

    def fit(self, data, parts, monitor, resp):
        """Train the parts of a mixture.

        Parameters
        ----------
        data : FitData
            Rows, targets and weights.
        parts : Parts
            Started gate, experts and likelihood; copied, not changed.
        monitor : Monitor
            Judges progress.
        resp : ndarray of shape (n, K)
            Responsibilities to start from.

        Returns
        -------
        FitResult
            Parts of the best iterate, objective, history.
        """
        if self.objective == "prediction" and data.n_classes is None:
            options = {"renew_every": self.renew_every, "memory": self.memory}
            return fit_together(data, parts, monitor, resp, **options)
        if self.revive or self.polish:
            moves = {"revive": self.revive, "polish": self.polish}
            return fit_with_moves(self.begin, data, parts, monitor, resp, **moves)
        return self.begin(data, parts, monitor, resp)


class Pool(BaseEstimator):
    r"""A gate over experts that are trained once, each on all rows.

    For a pool of different estimators, or of models that one already has. Every expert is
    predicted out of fold (``cross_fit``, five folds by default), and the gate is trained on
    how likely these predictions make the targets; responsibilities are not fed back into
    the experts, which are fitted on all rows at the end. The gate's slopes are shrunk
    towards none, the constant gate, by a strength that is chosen by cross-validation on the
    out-of-fold predictions. Experts in a ``FrozenEstimator`` are not fitted: give `fit` rows
    that they have not seen.

    Parameters
    ----------
    loss : {"log", "squared"}, default="log"
        What the gate minimises: minus the log-likelihood, or, where only the mean matters,
        the squared error of the mixture's mean. Noise is estimated in both cases.
    alphas : sequence of float, default=(1e-3, 1e-2, 1e-1, 1.0, 1e6)
        Strengths of the ridge on the gate's slopes to choose from, in the units of
        `skmoe.gates.SoftmaxGate`. The last of the defaults is the constant gate.
    n_folds : int, default=4
        Folds of the rows that choose the strength.

    References
    ----------
    Wolpert, D. H. (1992). Stacked generalization. Neural Networks 5, 241-259.

    Yao, Y., Pirs, G., Vehtari, A. and Gelman, A. (2022). Bayesian hierarchical stacking:
    some models are (somewhere) useful. Bayesian Analysis 17, 1043-1071.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skmoe import MoERegressor
    >>> from skmoe.solvers import Pool
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> y = np.where(X[:, 0] < 0, X[:, 0], np.sign(np.sin(9 * X[:, 0])))
    >>> experts = [("line", Ridge()), ("steps", DecisionTreeRegressor(max_depth=4))]
    >>> model = MoERegressor(experts, solver=Pool(), random_state=0).fit(X, y)
    >>> round(model.score(X, y), 1)
    1.0
    >>> model.cross_fit_
    5
    """

    _parameter_constraints = {
        "loss": [StrOptions({"log", "squared"})],
        "alphas": ["array-like"],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
    }

    patience = 1

    def __init__(self, *, loss="log", alphas=(1e-3, 1e-2, 1e-1, 1.0, 1e6), n_folds=4):
        self.loss = loss
        self.alphas = alphas
        self.n_folds = n_folds

    def fit(self, data, parts, monitor, resp=None):
        """Train gate and noise on out-of-fold predictions.

        Parameters
        ----------
        data : FitData
            Rows, targets, weights and folds.
        parts : Parts
            Started gate, experts and likelihood; copied, not changed.
        monitor : Monitor
            Judges progress of the final gate.
        resp : None
            Not used.

        Returns
        -------
        FitResult
            ``history["strengths"]`` maps each strength to its
            mean held-out log-likelihood (target as given), or minus its squared error
            (target in units of its standard deviation).
        """
        alphas = [float(alpha) for alpha in self.alphas]
        if not alphas or not all(isinstance(a, Real) and 0 <= a < float("inf") for a in alphas):
            raise ValueError(
                f"Pool(alphas={self.alphas!r}) must hold finite strengths of at least 0."
            )
        if self.loss == "squared" and data.n_classes is not None:
            raise ValueError("Pool(loss='squared') is for regression; use Pool(loss='log').")
        return fit_pool(data, parts, monitor, loss=self.loss, alphas=alphas, n_folds=self.n_folds)
