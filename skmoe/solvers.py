"""Solvers: how the parts of a mixture are trained."""

from numbers import Integral

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from ._em import fit_em
from ._joint import fit_joint

__all__ = ["EM", "Gradient"]


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

    References
    ----------
    Dempster, A. P., Laird, N. M. and Rubin, D. B. (1977). Maximum likelihood from
    incomplete data via the EM algorithm. JRSS B 39, 1-38.

    Varadhan, R. and Roland, C. (2008). Simple and globally convergent methods for
    accelerating the convergence of any EM algorithm. Scand. J. Statist. 35, 335-353.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.solvers import EM
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.1, 1.9, 3.0]
    >>> MoERegressor(n_experts=1, solver=EM(accelerate=False)).fit(X, y).solver_
    EM(accelerate=False)
    """

    _parameter_constraints = {"accelerate": ["boolean"]}

    # Iterations in a row without a rise that count as convergence.
    patience = 2

    def __init__(self, *, accelerate=True):
        self.accelerate = accelerate

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
        return fit_em(data, parts, monitor, resp, accelerate=self.accelerate)


class Gradient(BaseEstimator):
    """Joint gradient training of gate, linear experts and noise by L-BFGS.

    The objective is the same as that of EM. Gaussian experts begin with EM iterations
    for as long as these are fast. L-BFGS is preconditioned by the observed information
    (Louis 1982) of as many rows as it takes; where that would cost too much, by the Gram
    matrices of EM for Gaussian experts and by one Gram for multinomial ones.

    Parameters
    ----------
    warm_up : int, default=50
        Most EM iterations before the first gradient step; they end earlier once rises of
        the objective are less than a tenth of the largest one and shrink slowly.
    renew_every : int, default=10
        Iterations after which the preconditioner is computed anew.
    memory : int, default=20
        Pairs of steps and gradient differences that L-BFGS keeps.

    References
    ----------
    Nocedal, J. and Wright, S. J. (2006). Numerical Optimization, 2nd ed., chapter 7.

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
        "renew_every": [Interval(Integral, 1, None, closed="left")],
        "memory": [Interval(Integral, 2, None, closed="left")],
    }

    patience = 5

    def __init__(self, *, warm_up=50, renew_every=10, memory=20):
        self.warm_up = warm_up
        self.renew_every = renew_every
        self.memory = memory

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
        return fit_joint(
            data,
            parts,
            monitor,
            resp,
            warm_up=self.warm_up,
            renew_every=self.renew_every,
            memory=self.memory,
        )
