"""How many experts: options of ``n_experts="auto"``."""

from numbers import Integral

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

__all__ = ["Grow"]


class Grow(BaseEstimator):
    """Choose the number of experts along a grown path.

    For ``n_experts`` of the estimators, where ``"auto"`` means ``Grow()``. The path begins
    with one expert. Each step splits the expert whose rows gain most from two linear fits
    on both sides of a hyperplane, and trains the mixture on from there. It ends after
    ``patience`` steps without a better criterion, or at ``max_experts`` of the estimator.

    Parameters
    ----------
    criterion : {"auto", "bic", "bicc", "icl", "cv"}, default="auto"
        "bic": Bayesian information criterion. "bicc": the same for few rows, with the
        penalty of p parameters multiplied by n / (n - p - 1). "icl": "bic" plus twice the
        entropy of the responsibilities, which asks for experts that are far apart. "cv":
        log-likelihood of rows that were held out; dearer. For linear experts it chooses
        the smallest number that is worse than the best by no more than one standard
        error. "auto": "bicc" for a regressor whose free parameters can all be counted,
        else "cv".
    patience : int, default=2
        Steps without a better criterion after which the path ends.
    folds : int, default=5
        Number of folds of "cv" for linear experts, each with a path of its own. Other
        experts use the folds of ``cross_fit``, three by default.

    References
    ----------
    Schwarz, G. (1978). Estimating the dimension of a model. Annals of Statistics 6,
    461-464.

    McQuarrie, A. D. (1999). A small-sample correction for the Schwarz SIC model selection
    criterion. Statistics and Probability Letters 44, 79-86.

    Biernacki, C., Celeux, G. and Govaert, G. (2000). Assessing a mixture model for
    clustering with the integrated completed likelihood. IEEE Transactions on Pattern
    Analysis and Machine Intelligence 22, 719-725.

    Smyth, P. (2000). Model selection for probabilistic clustering using cross-validated
    likelihood. Statistics and Computing 10, 63-72.

    Breiman, L., Friedman, J. H., Olshen, R. A. and Stone, C. J. (1984). Classification and
    Regression Trees, section 3.4.3.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_moe_regression
    >>> from skmoe.selection import Grow
    >>> X, y = make_moe_regression(500, 2, n_experts=3, random_state=0)
    >>> model = MoERegressor(n_experts=Grow(patience=1), max_experts=6).fit(X, y)
    >>> model.n_experts_
    3
    >>> model.path_[["n_experts", "chosen"]].to_numpy().tolist()
    [[1, False], [2, False], [3, True], [4, False]]
    """

    _parameter_constraints = {
        "criterion": [StrOptions({"auto", "bic", "bicc", "icl", "cv"})],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "folds": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(self, *, criterion="auto", patience=2, folds=5):
        self.criterion = criterion
        self.patience = patience
        self.folds = folds
