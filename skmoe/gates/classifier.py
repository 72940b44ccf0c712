"""Any classifier as gate, trained on soft targets."""

import copy
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..experts._folds import accepts_nan, accepts_sparse, make_folds
from ..experts._outputs import ClassOutput
from ..experts._slots import make_slots, take_rows
from ..experts._weights import HANDFUL

# Shares of a row below this make no copy of it.
_NEGLIGIBLE = 1e-4
# Optimism per row above which probabilities in training are out of fold.
_MAX_OPTIMISM = 0.05
_AUTO_FOLDS = 3
_LARGEST_SEED = np.iinfo(np.int32).max


class ClassifierGate(BaseEstimator):
    r"""The class probabilities of any classifier, with experts for classes.

    .. math:: g_k(x) = (1 - \epsilon) \, p(k \mid x) + \epsilon / K

    No scikit-learn classifier learns from soft targets, so a row is shown once for every
    expert that has a share of it: its label is the expert, its weight
    ``sample_weight * resp``. For a decision tree with the Gini criterion that is the same
    as growing it on the shares themselves. A classifier that takes no weights gets
    resampled rows, as experts do.

    A classifier given as ``gate=`` of a mixture becomes a `ClassifierGate` by itself.

    Parameters
    ----------
    estimator : classifier
        With ``predict_proba``, such as a tree, boosted trees, or a pipeline that ends in
        one; cloned, never changed. A ``FrozenEstimator`` is used as it is; its classes
        are numbers of experts, from 0.
    cross_fit : {"auto"}, int, splitter or None, default="auto"
        Folds for the probabilities of training rows in a mixture. Flexible classifiers
        know their own training rows too well, and responsibilities would lock in. "auto"
        takes three folds if the first fit is too good to be true by more than 0.05 per
        row (mean of ``sum_k resp_k log g_k``, in-sample less out-of-fold). All copies of
        a row are on one side of a fold. The final gate is fitted to all rows.
    smoothing : float, default=1e-3
        The :math:`\epsilon` above. Trees give exact zeros, and one zero would make the
        log-likelihood infinite.
    random_state : int, RandomState instance or None, default=None
        For folds, and for seeds of the classifier that are None. In a mixture, None means
        a seed from the mixture's.

    Attributes
    ----------
    estimator_ : classifier
        Fitted; a ``DummyClassifier`` where one expert has all rows.
    n_experts_ : int
    cross_fit_ : int or None
        Number of folds in training; there after `fit_log_proba`.

    References
    ----------
    Jordan, M. I. and Xu, L. (1995). Convergence results for the EM approach to mixtures
    of experts architectures. Neural Networks 8, 1409-1431.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skmoe.gates import ClassifierGate
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> resp = np.array([[1.0, 0.0], [0.8, 0.2], [0.2, 0.8], [0.0, 1.0]])
    >>> gate = ClassifierGate(DecisionTreeClassifier(max_depth=1), random_state=0)
    >>> np.exp(gate.fit(X, resp).log_proba(X)).round(2)
    array([[0.9, 0.1],
           [0.9, 0.1],
           [0.1, 0.9],
           [0.1, 0.9]])
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "cross_fit": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
            HasMethods(["split", "get_n_splits"]),
            None,
        ],
        "smoothing": [Interval(Real, 0, 1, closed="left")],
        "random_state": ["random_state"],
    }

    # Whether the columns of a DataFrame arrive as they are, not as numbers.
    takes_frames = True

    def __init__(self, estimator, *, cross_fit="auto", smoothing=1e-3, random_state=None):
        self.estimator = estimator
        self.cross_fit = cross_fit
        self.smoothing = smoothing
        self.random_state = random_state

    def fit(self, X, resp, sample_weight=None):
        """Fit to soft targets.

        Parameters
        ----------
        X : ndarray, CSR matrix or DataFrame of shape (n_samples, n_features)
        resp : ndarray of shape (n_samples, n_experts)
            Non-negative; each row sums to one.
        sample_weight : ndarray of shape (n_samples,), default=None
            Ones by default.

        Returns
        -------
        self : ClassifierGate
        """
        self._forget_training()
        self._start(resp)
        self._fit_all(X, resp, _weight(resp, sample_weight))
        self._forget_training()
        return self

    def fit_log_proba(self, X, resp, sample_weight=None):
        """Fit to soft targets, and give honest probabilities of the same rows.

        Folds, and whether there are any, stay the same from call to call until `fit` is
        called. With folds the gate itself is not fitted to all rows.

        Parameters
        ----------
        X : ndarray, CSR matrix or DataFrame of shape (n_samples, n_features)
        resp : ndarray of shape (n_samples, n_experts)
            Non-negative; each row sums to one.
        sample_weight : ndarray of shape (n_samples,), default=None
            Ones by default.

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
            Logarithms, out of fold where there are folds.
        """
        weight = _weight(resp, sample_weight)
        if getattr(self, "_training_shape", None) != resp.shape:
            self._start(resp)
            self._folds = self._make_folds(resp)
            if self._folds is not None and self.cross_fit == "auto":
                honest = self._out_of_fold(X, resp, weight)
                seen = self._fit_all(X, resp, weight).log_proba(X)
                gain = np.einsum("nk,nk->n", resp, seen - honest)
                if weight @ gain > _MAX_OPTIMISM * weight.sum():
                    seen = honest
                else:
                    self._folds = None
                return self._counted(seen)
        if self._folds is None:
            return self._counted(self._fit_all(X, resp, weight).log_proba(X))
        return self._counted(self._out_of_fold(X, resp, weight))

    def log_proba(self, X):
        """Logarithm of the probability of each expert.

        Parameters
        ----------
        X : ndarray, CSR matrix or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
        """
        check_is_fitted(self, "estimator_")
        return self._output(self.estimator_, X)

    def keep(self):
        """Copy that later fits leave alone."""
        return copy.copy(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = accepts_nan(self.estimator)
        tags.input_tags.sparse = accepts_sparse(self.estimator)
        return tags

    # -- private ------------------------------------------------------------------

    @property
    def _who(self):
        return f"the gate {type(self.estimator).__name__}"

    def _start(self, resp):
        """Draw what stays the same from fit to fit."""
        rng = check_random_state(self.random_state)
        self._slot = make_slots([self.estimator], [self._who], rng.randint(_LARGEST_SEED))[0]
        self._fold_seed = rng.randint(_LARGEST_SEED)
        self._training_shape, self.n_experts_ = resp.shape, resp.shape[1]

    def _forget_training(self):
        for name in ("_folds", "_training_shape", "_slot", "_fold_seed"):
            vars(self).pop(name, None)

    def _make_folds(self, resp):
        """Folds over rows, balanced in the experts that have the largest shares."""
        automatic, n_rows = self.cross_fit == "auto", len(resp)
        if self.cross_fit is None or self._slot.frozen or (automatic and n_rows < 2 * _AUTO_FOLDS):
            return None
        wanted = _AUTO_FOLDS if automatic else self.cross_fit
        top = np.argmax(resp, axis=1)
        return make_folds(top, n_rows, wanted, self._fold_seed, np.arange(self.n_experts_))

    def _counted(self, log_gate):
        self.cross_fit_ = None if self._folds is None else len(self._folds)
        return log_gate

    def _fit_all(self, X, resp, weight):
        self.estimator_ = self._fitted(X, resp, weight, np.arange(len(resp)))
        return self

    def _out_of_fold(self, X, resp, weight):
        log_gate = np.empty(resp.shape)
        for train, test in self._folds:
            fitted = self._fitted(X, resp, weight, train)
            log_gate[test] = self._output(fitted, take_rows(X, test))
        return log_gate

    def _fitted(self, X, resp, weight, train):
        """A fresh classifier fitted to the rows of ``train``."""
        if self._slot.frozen:
            return self.estimator
        rows, experts, shares = expand(resp[train], weight[train])
        least = min(HANDFUL, len(train))
        return self._slot.fit(X, train[rows], experts, shares, least, classify=True)

    def _output(self, fitted, X):
        output = ClassOutput(np.arange(self.n_experts_), self.smoothing)
        return output(self._who, fitted, X)


def _weight(resp, sample_weight):
    return np.ones(len(resp)) if sample_weight is None else np.asarray(sample_weight, dtype=float)


def expand(resp, weight):
    """One copy of a row for every expert that has a share of it.

    Parameters
    ----------
    resp : ndarray of shape (n, K)
    weight : ndarray of shape (n,)

    Returns
    -------
    rows : ndarray of shape (m,)
        Row of each copy, ascending.
    experts : ndarray of shape (m,)
        Its label.
    shares : ndarray of shape (m,)
        ``weight * resp``. Shares below 1e-4 make no copy.
    """
    rows, experts = np.nonzero(resp > _NEGLIGIBLE)
    return rows, experts, weight[rows] * resp[rows, experts]
