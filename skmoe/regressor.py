"""The regressor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, StrOptions

from ._base import BaseMoE
from ._cells import output_by_output
from ._combine import combined, combined_variance, one_by_one
from ._devices import answers_in_kind
from ._distribution import DistributionPredictions
from ._online import where_batches_do
from ._targets import RegressionTargets
from ._validation import LIKELIHOODS

if TYPE_CHECKING:
    from typing_extensions import Self


class MoERegressor(DistributionPredictions, RegressionTargets, RegressorMixin, BaseMoE):
    r"""Mixture of experts for regression.

    .. math:: p(y \mid x) = \sum_k g_k(x) \, p_k(y \mid x)

    A gate :math:`g` decides from the features how much each expert counts; an expert
    predicts the mean of the target, and a likelihood adds its noise. All are trained
    together by expectation maximisation.

    Parameters
    ----------
    experts : None, estimator or list of (str, estimator), default=None
        None: linear experts (`skmoe.experts.LinearExpert`); neural ones are
        `skmoe.experts.MLPExpert`. An estimator: a template, cloned ``n_experts`` times. A
        list: one expert each. Any scikit-learn regressor will do; those without
        ``sample_weight`` get weighted resamples of the rows.
    n_experts : int, "auto", Grow or None, default=None
        None means 4 for a template, and the length of a list. "auto" chooses the number
        for a template, from one to ``max_experts``: by the Bayesian information criterion
        for linear experts, corrected for few rows, and by out-of-fold log-likelihood for
        other ones. Other criteria: `skmoe.selection.Grow`.
    max_experts : int, default=10
        Largest number that ``n_experts="auto"`` tries; not used otherwise.
    gate : str, gate, classifier or Pipeline, default="softmax"
        "softmax", "gaussian", "hierarchical" or "mlp", a gate such as
        ``SoftmaxGate(alpha=1e-3)``, or any object with ``fit(X, resp,
        sample_weight)`` and ``log_proba(X)``. A scikit-learn classifier with
        ``predict_proba`` becomes a `skmoe.gates.ClassifierGate`. A pipeline may end in
        either; its transformers are fitted to the gate's columns, without a target.
    gate_per_output : bool, default=False
        With several outputs, give each a gate of its own over experts that all share; for
        linear and neural experts. It pays where outputs change regime in different places.
    missing_outputs : {"raise", "mask"}, default="raise"
        What NaN in y means: an error, or a target that was not observed. "mask" trains on
        those that were; rows without any are left out. For linear and neural experts.
    likelihood : str, likelihood or list of them, default="gaussian"
        Law of the target given an expert, by name or as an object such as
        ``Gaussian(shared=True)``. Any numbers: "gaussian", "gaussian_with_noise" (a noise
        expert beside the others absorbs outliers), "heteroscedastic_gaussian", "student_t",
        "laplace", "asymmetric_laplace", "truncated_gaussian". Known to lie in an interval:
        "censored_gaussian", "censored_lognormal". Positive numbers: "lognormal", "gamma",
        "inverse_gaussian", "truncated_lognormal", and with zeros "tweedie". Counts: "poisson",
        "negative_binomial", "zero_inflated_poisson", "zero_inflated_negative_binomial",
        "binomial". Linear experts get the link of the law, and other ones predict means. A
        list of names or objects gives each (linear) expert a law of its own.
    solver : {"auto", "em", "gradient", "minibatch", "pool", "stages"} or solver, default="auto"
        "em": expectation maximisation, for any experts. "gradient": L-BFGS on gate and
        linear or neural experts together, the faster one where it can be used. "auto"
        takes it for built-in experts. "minibatch": Adam, for data of a million rows or
        columns. These two train templates of LinearRegression, Ridge and MLPRegressor in this
        way, too. "pool": a gate over experts that are each trained once, on all rows.
        "stages": experts alone on the groups of ``init``, the gate alone, then jointly.
        "boosting": gradients in function space, for `skmoe.experts.AdditiveExpert`, whose
        "auto" it is. Options are on the objects `skmoe.solvers.EM`, `Gradient`,
        `Minibatch`, `Pool`, `Stages` and `Boosting`.
    gate_features, expert_features : column selector, default=None
        Columns that the gate or the experts see: a name, an index, a list of them, a
        slice, a boolean mask or a callable of X. By default all; of a DataFrame, linear
        experts and gates of numbers see all numeric columns, other experts, classifiers
        and pipelines all as they are.
    top_k : int, default=None
        Number of experts used per row in prediction; only these run. None uses all.
    routing : {"token", "expert"}, routing or None, default=None
        How experts are kept to some of the rows in training, too. None: all experts are
        trained on all rows. "token": each row picks the ``top_k`` experts that its gate
        ranks first. "expert": each expert picks an equal number of rows. Options are on
        `skmoe.routing.TokenRouting` and `skmoe.routing.ExpertRouting`.
    load_balance : BalancePenalty, BalanceBias or None, default=None
        `skmoe.balance.BalancePenalty` makes uneven experts cost something in the
        objective; `skmoe.balance.BalanceBias` evens the choice of experts only.
    combine : {"mean", "top1", "median", "log_pool"}, default="mean"
        How the outputs of a row's experts become one prediction: the mean of the mixture,
        the most probable expert's, the weighted median, or the mean of the normalised
        product of the experts' densities to the power of their weights (logarithmic pool).
        It has no part in training or in the likelihood, and may be set after `fit`.
    cross_fit : {"auto"}, int, splitter or None, default="auto"
        Folds for out-of-fold predictions of experts in training. "auto" takes three
        where in-sample predictions are too good to be true (by more than 0.05 in
        log-likelihood per row). Linear experts do not need it.
    init : {"auto", "grown", "kmeans", "random"}, callable or array, default="auto"
        Start. "auto" runs a grown start (experts are split one by one), then k-means on
        the gate's features, then random ones. A callable ``(X, y, n_experts,
        random_state)`` returns labels (n_samples,) or responsibilities (n_samples,
        n_experts); an array gives them (and needs ``n_init=1``). A callable is one start,
        whatever ``n_init`` is.
    n_init : int, default=2
        Number of starts; the fit with the highest objective is kept. Of more than three,
        all run for a while and the best three to the end. Experts other than linear
        ones are started from a mixture of linear experts that is chosen in this way.
    max_iter : int, default=200
        Most iterations of a start.
    tol : float, default=None
        Smallest rise of the objective (mean log-likelihood per row, target in units of
        its standard deviation) that counts. None: 1e-5, or 1e-3 with ``cross_fit``
        or minibatches.
    warm_start : bool, default=False
        Start from the last fit if it had as many experts and features. With
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
    gate_ : gate or Pipeline
        Fitted; a pipeline where one was given that ends in a gate.
    experts_ : list of estimators
        Fitted scikit-learn estimators; `LinearRegression` for linear experts and
        `MLPRegressor` for neural ones.
    expert_names_ : list of str
    likelihood_ : likelihood
        With ``scale_``, the noise of each expert.
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
        With ``load_balance=BalanceBias()``: added to the logarithms of gate probabilities
        in the choice of experts, and nowhere else.
    objective_ : float
        Penalised mean log-likelihood at the kept iterate, target in units of its
        standard deviation; with the log evidence of the features where the gate is
        Gaussian.
    n_iter_ : int
        Iterations of the run that was kept.
    converged_ : bool
        Whether the best objective stopped rising by ``tol``: for two iterations of EM with
        linear experts, for five otherwise.
    history_ : dict
        Lists ``objective``, ``seconds``, ``passes`` and ``load`` by iteration. With
        ``routing`` also ``rows_fitted`` and ``rows_predicted`` (pairs of a row and an
        expert, over all folds), and ``renewed``, where candidate sets were chosen anew. Of
        `skmoe.experts.AdditiveExpert` also ``held_out``, the log-likelihood of held-out rows
        by round, and ``base_error``, the cross-validated loss of the base by round.
    cross_fit_ : int or None
        Number of folds used in training.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Where X was a DataFrame with string column names.

    See Also
    --------
    MoEClassifier : The same for classes.

    References
    ----------
    Jacobs, R. A., Jordan, M. I., Nowlan, S. J. and Hinton, G. E. (1991). Adaptive
    mixtures of local experts. Neural Computation 3, 79-87.

    Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the EM
    algorithm. Neural Computation 6, 181-214.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> y = np.abs(X[:, 0])
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> model.predict([[-0.5], [0.5]]).round(2)
    array([0.5, 0.5])
    >>> model.gate_proba([[-0.5], [0.5]]).argmax(axis=1) != model.gate_proba([[0.5]]).argmax()
    array([ True, False])
    """

    _parameter_constraints = {
        **BaseMoE._parameter_constraints,
        "gate_per_output": ["boolean"],
        "missing_outputs": [StrOptions({"raise", "mask"})],
        "likelihood": [StrOptions(set(LIKELIHOODS)), HasMethods(["log_lik", "update"]), list],
    }

    def __init__(
        self,
        experts=None,
        n_experts=None,
        *,
        max_experts: int = 10,
        gate="softmax",
        gate_per_output: bool = False,
        missing_outputs: str = "raise",
        likelihood="gaussian",
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
        self.gate_per_output = gate_per_output
        self.missing_outputs = missing_outputs
        self.likelihood = likelihood
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
        self.warm_start = warm_start
        self.on_expert_error = on_expert_error
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, exposure=None, *, checkpoint=None) -> Self:
        """Fit gate and experts.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            A DataFrame reaches experts as it is, unless they are linear.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; what their columns mean is up to ``likelihood``.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default. Rows of weight zero are left out.
        exposure : array-like of shape (n_samples,), default=None
            Positive; what counts are proportional to, such as the length of time or the number
            of contracts. Ones by default. For likelihoods of counts.
        checkpoint : str or path, default=None
            File that the state of the fit is written to every few iterations. Where it is
            there already, a fit of the same data and parameters goes on from it. For linear,
            neural and factorised experts.

        Returns
        -------
        self : MoERegressor
            Fitted.

        Raises
        ------
        ValueError, TypeError
            Before any training; the message names the parameter or column and the cure.
        """
        more = {"exposure": exposure, "checkpoint": checkpoint}
        return self._guarded(self._fit, X, y, sample_weight, **more)

    @where_batches_do
    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X, y, sample_weight=None) -> Self:
        """Go on learning from another batch of rows.

        The first rows, ten for each parameter (1000 to 5000 of them), are kept and fitted as
        `fit` does, anew whenever they are a quarter more. Every further call takes steps
        from there, a thousand rows at a time: stepwise EM, or Adam with
        ``solver="minibatch"`` and for parts without additive statistics. It goes on from
        a fit, too. For linear experts.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that the first call had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.

        Returns
        -------
        self : MoERegressor
            With parameters averaged over steps; see the page of online learning.

        Raises
        ------
        ValueError, TypeError
            Before anything is learned; the model stays as it was.

        References
        ----------
        Cappe, O. and Moulines, E. (2009). On-line expectation-maximization algorithm for
        latent data models. Journal of the Royal Statistical Society B 71, 593-613.
        """
        return self._learn(X, y, sample_weight)

    @answers_in_kind
    def predict(
        self,
        X,
        return_std: bool = False,
        exposure=None,
        quantiles: float | list[float] | None = None,
    ) -> Any:
        """Predict the target: the mean of the mixture, or what ``combine`` says.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        return_std : bool, default=False
            Also return the standard deviation of the predictive mixture: the noise of
            the experts and their disagreement. With ``combine="top1"`` it is that of the
            expert, with "log_pool" that of the pool.
        exposure : array-like of shape (n_samples,), default=None
            Of counts, as in `fit`; ones by default.
        quantiles : float or list of float, default=None
            Levels from 0 to 1: return these quantiles of the mixture instead.

        Returns
        -------
        mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In units of the target; with a list of ``quantiles`` there is an axis for them
            after the first.
        std : ndarray of the same shape
            Only with ``return_std``.
        """
        if quantiles is not None:
            return self._quantiles(X, quantiles, return_std, exposure)
        if not return_std:
            return self._shaped(self._combined(X, exposure))
        rows = self._rows(X)
        how, top_k = self._rule
        log_weights, pred, indices = self._mixture(rows, top_k)
        mixture = log_weights, self._exposed(pred, exposure), indices
        answers = (partial(rule, how) for rule in (combined, combined_variance))
        prediction, variance = (
            output_by_output(answer, self.likelihood_, *mixture) for answer in answers
        )
        return self._shaped(prediction), self._shaped(np.sqrt(variance))

    @answers_in_kind
    def predict_experts(self, X) -> np.ndarray:
        """Prediction of every expert, used or not.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.

        Returns
        -------
        ndarray of shape (n_samples, n_experts) or (n_samples, n_experts, n_outputs)
            In units of the target.
        """
        pred = self._every_pred(X)
        pred = one_by_one(self.likelihood_, pred)
        return pred if self._many_outputs else pred[:, :, 0]
