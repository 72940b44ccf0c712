"""The classifier."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import scipy.special
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y

from ._base import BaseMoE
from ._devices import answers_in_kind
from ._online import where_batches_do
from ._validation import refuse_sparse
from .likelihoods import Categorical

if TYPE_CHECKING:
    from typing_extensions import Self


class MoEClassifier(ClassifierMixin, BaseMoE):
    """Mixture of experts for classification.

    The class probabilities are the gate's average of the experts' class probabilities.

    Parameters
    ----------
    experts : None, estimator or list of (str, estimator), default=None
        None: linear experts, that is multinomial logistic regressions
        (`skmoe.experts.LinearExpert`); neural ones are `skmoe.experts.MLPExpert`. An
        estimator: a template, cloned ``n_experts`` times. A list: one expert each. Any
        scikit-learn classifier will do; those without ``sample_weight`` get weighted
        resamples of the rows, those without ``predict_proba`` have their scores turned
        into probabilities.
    n_experts : int, "auto", Grow or None, default=None
        None means 4 for a template, and the length of a list. "auto" chooses the number
        for a template, from one to ``max_experts``: by the log-likelihood of rows that
        were held out. Other criteria: `skmoe.selection.Grow`.
    max_experts : int, default=10
        Largest number that ``n_experts="auto"`` tries; not used otherwise.
    gate : str, gate, classifier or Pipeline, default="softmax"
        As in `MoERegressor`.
    solver : {"auto", "em", "gradient", "minibatch", "pool", "stages"} or solver, default="auto"
        "em": expectation maximisation, for any experts. "gradient": L-BFGS on gate and
        linear or neural experts together, the faster one where it can be used. "auto"
        takes it for built-in experts. "minibatch": Adam, for data of a million rows or
        columns. These two train templates of LogisticRegression and MLPClassifier in this
        way, too. "pool": a gate over experts that are each trained once, on all rows.
        "stages": experts alone on the groups of ``init``, the gate alone, then jointly.
        "boosting": gradients in function space, for `skmoe.experts.AdditiveExpert`, whose
        "auto" it is. Options are on the objects `skmoe.solvers.EM`, `Gradient`,
        `Minibatch`, `Pool`, `Stages` and `Boosting`.
    gate_features, expert_features : column selector, default=None
        As in `MoERegressor`.
    top_k : int, default=None
        Number of experts used per row in prediction; only these run. None uses all.
    routing : {"token", "expert"}, routing or None, default=None
        As in `MoERegressor`.
    load_balance : BalancePenalty, BalanceBias or None, default=None
        As in `MoERegressor`.
    combine : {"mean", "top1", "median", "log_pool", "vote"}, default="mean"
        How the outputs of a row's experts become one prediction: the mixture's class
        probabilities, the most probable expert's, the weighted median of each class
        (rescaled to sum to one), the normalised product of probabilities to the power of
        the experts' weights (logarithmic pool), or the shares of the votes, one label per
        expert.
        It has no part in training or in the likelihood, and may be set after `fit`.
    cross_fit : {"auto"}, int, splitter or None, default="auto"
        As in `MoERegressor`; folds are stratified.
    init : {"auto", "grown", "kmeans", "random"}, callable or array, default="auto"
        As in `MoERegressor`.
    n_init : int, default=2
        As in `MoERegressor`.
    max_iter : int, default=200
        Most iterations of a start.
    tol : float, default=None
        Smallest rise of the objective (mean log-likelihood per row) that counts. None:
        1e-5, or 1e-3 with ``cross_fit`` or minibatches.
    class_weight : dict, "balanced" or None, default=None
        Factors of the sample weights by class, as in scikit-learn's classifiers.
    warm_start : bool, default=False
        Start from the last fit if it had as many experts, features and classes. With
        ``n_experts="auto"`` the number that was chosen first is kept.
    on_expert_error : {"raise", "drop"}, default="raise"
        What to do with an expert other than a linear one that fails. "drop" leaves one
        that fails in training out of the model, with a warning, and trains the rest; one
        that raises or returns NaN or infinity in a prediction is left out of that
        prediction, with a warning and the gate renormalised over the rest.
    device : {"cpu", "cuda"} or None, default=None
        Where passes over the rows are made: those of linear, neural and factorised experts,
        and of EM all but the fits of other ones. None: on the GPU if X is a CuPy array, else
        on the CPU. "cuda" sends arrays to the GPU once. Fitted attributes are on the host. For
        dense features and softmax, Gaussian, neural and hierarchical gates; needs
        ``skmoe[gpu]``. Predictions of linear experts go along; `partial_fit` and changes of
        experts stay on the CPU.
    n_jobs : int, default=None
        Threads that share the rows of a pass for linear experts, parallel fits for other
        ones. Results do not depend on it.
    random_state : int, RandomState instance or None, default=None
        For random starts, folds and the seeds of experts and of the solver.
    verbose : int, default=0
        1: one line of progress, updated (by tqdm where it is installed); 2: a line per
        iteration.
    callbacks : list of callable, default=None
        Called after each iteration of each start with a namespace of ``iteration``,
        ``objective``, ``load``, ``seconds``, ``passes``, ``best`` and ``label`` (which start
        or stage), to log or plot a fit while it runs. An exception ends the fit.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    gate_ : gate or Pipeline
        As in `MoERegressor`.
    experts_ : list of estimators
        Fitted scikit-learn estimators; `LogisticRegression` for linear experts and
        `MLPClassifier` for neural ones.
    expert_names_ : list of str
    likelihood_ : Categorical
    solver_ : solver
        What "auto" chose, or a copy of what was given.
    n_experts_ : int
    dropped_experts_ : dict of str to str
        Names of experts that failed in training, and their errors; see
        ``on_expert_error``.
    n_parameters_ : int or None
        Number of free parameters; None where a part, such as an expert that is not
        linear, does not tell.
    path_ : DataFrame
        With ``n_experts="auto"`` only: a row per number that was tried, as in
        `skmoe.selection.Grow`.
    load_ : ndarray of shape (n_experts,)
        Share of the training weight whose most probable expert is k, with the bias of
        ``load_balance`` if there is one.
    routing_bias_ : ndarray of shape (n_experts,) or None
        As in `MoERegressor`.
    objective_ : float
        Penalised mean log-likelihood at the kept iterate, with the log evidence of the
        features where the gate is Gaussian.
    n_iter_ : int
        Iterations of the run that was kept.
    converged_ : bool
        As in `MoERegressor`.
    history_ : dict
        Lists ``objective``, ``seconds``, ``passes`` and ``load`` by iteration; with
        ``routing`` more, as in `MoERegressor`.
    cross_fit_ : int or None
        Number of folds used in training.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Where X was a DataFrame with string column names.

    See Also
    --------
    MoERegressor : The same for numbers.

    References
    ----------
    Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the EM
    algorithm. Neural Computation 6, 181-214.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoEClassifier
    >>> X = np.array([[-3.0], [-2.0], [-1.0], [0.0], [1.0], [2.0], [3.0]] * 5)
    >>> y = np.where(np.abs(X[:, 0]) > 1.5, "far", "near")
    >>> model = MoEClassifier(n_experts=2).fit(X, y)
    >>> model.predict([[-2.5], [0.0], [2.5]])
    array(['far', 'near', 'far'], dtype='<U4')
    """

    _parameter_constraints = {
        **BaseMoE._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        experts=None,
        n_experts=None,
        *,
        max_experts: int = 10,
        gate="softmax",
        solver="auto",
        gate_features=None,
        expert_features=None,
        top_k: int | None = None,
        routing=None,
        load_balance=None,
        combine: str = "mean",
        cross_fit="auto",
        init="auto",
        n_init: int = 2,
        max_iter: int = 200,
        tol: float | None = None,
        class_weight=None,
        warm_start: bool = False,
        on_expert_error: str = "raise",
        device: str | None = None,
        n_jobs: int | None = None,
        random_state=None,
        verbose: int | bool = 0,
        callbacks=None,
    ) -> None:
        self.experts = experts
        self.n_experts = n_experts
        self.max_experts = max_experts
        self.gate = gate
        self.solver = solver
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.top_k = top_k
        self.routing = routing
        self.load_balance = load_balance
        self.combine = combine
        self.cross_fit = cross_fit
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.on_expert_error = on_expert_error
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    @where_batches_do
    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X, y, sample_weight=None, classes=None) -> Self:
        """Go on learning from another batch of rows.

        The first rows, ten for each parameter (1000 to 5000 of them), are kept and fitted as
        `fit` does, anew whenever they are a quarter more. Every further call takes steps
        of Adam from there, a thousand rows at a time. It goes on from a fit, too. For
        linear experts.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that the first call had.
        y : array-like of shape (n_samples,)
            Labels; a batch may lack classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.
        classes : array-like of shape (n_classes,), default=None
            All labels that will come. The first call needs them, unless there is a fit.

        Returns
        -------
        self : MoEClassifier
            With parameters averaged over steps; see the page of online learning.

        Raises
        ------
        ValueError, TypeError
            Before anything is learned; the model stays as it was.

        References
        ----------
        Kingma, D. P. and Ba, J. (2015). Adam: a method for stochastic optimization. ICLR.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all rows at once, and partial_fit has batches; "
                "give a dict, or sample_weight."
            )
        return self._learn(X, y, sample_weight, classes)

    @answers_in_kind
    def predict_proba(self, X) -> np.ndarray:
        """Predict class probabilities, combined as ``combine`` says.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; rows sum to one.
        """
        proba = self._combined(X)
        return proba / proba.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X) -> np.ndarray:
        """Predict logarithms of class probabilities.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        rows = self._rows(X)
        how, top_k = self._rule
        if how not in ("mean", "top1"):
            with np.errstate(divide="ignore"):  # a class without votes has probability 0
                return np.log(self.predict_proba(X))
        log_weights, pred, _ = self._mixture(rows, top_k)
        log_proba = scipy.special.log_softmax(pred, axis=2) + log_weights[:, :, None]
        return scipy.special.logsumexp(log_proba, axis=1)

    @answers_in_kind
    def predict(self, X) -> np.ndarray:
        """Predict the most probable class.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels as in ``classes_``.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    @answers_in_kind
    def predict_experts(self, X) -> np.ndarray:
        """Class probabilities of every expert, used or not.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.

        Returns
        -------
        ndarray of shape (n_samples, n_experts, n_classes)
            Rows sum to one over the classes.
        """
        pred = self._every_pred(X)
        return scipy.special.softmax(pred, axis=2)

    def _resolve_likelihood(self):
        return Categorical()

    def _n_classes(self):
        return len(self.classes_)

    def _encode_target(self, y):
        y = self._labels(y)
        try:
            check_classification_targets(y)
            self.classes_, codes = np.unique(y, return_inverse=True)
        except TypeError as error:
            raise TypeError(f"y mixes labels of different types; use one type: {error}") from error
        if len(self.classes_) == 1:
            warnings.warn(
                f"y has one class only, {self.classes_[0]!r}; it is all that can be predicted.",
                UserWarning,
                stacklevel=7,
            )
        return codes.astype(np.intp)

    def _labels(self, y):
        """Labels (n,) without missing values."""
        refuse_sparse(y)
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "O":
            missing = sum(x is None or is_scalar_nan(x) or is_pandas_na(x) for x in y)
            if missing:
                raise ValueError(f"Input y contains NaN in {missing} rows; leave them out.")
        return _check_y(y, estimator=self)

    def _target_weight(self, target, weight):
        """Sample weights times class weights."""
        if self.class_weight is None:
            return weight
        return weight * compute_sample_weight(self.class_weight, self.classes_[target])

    def _decode_target(self, y):
        labels = self._labels(y).tolist()
        code_of = {label: code for code, label in enumerate(self.classes_.tolist())}
        unseen = {label for label in labels if label not in code_of}
        if unseen:
            raise ValueError(
                f"y contains labels that fit has not seen: {sorted(unseen, key=str)}; "
                f"known are {self.classes_.tolist()}."
            )
        return np.array([code_of[label] for label in labels], dtype=np.intp)
