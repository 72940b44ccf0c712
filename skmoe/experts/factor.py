"""Factorisation machines: the template of K experts, and the estimators of one."""

from numbers import Integral, Real

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .._design import Design
from .._fit import FitData
from ._factors import FactorExperts

_CONSTRAINTS = {
    "n_factors": [Interval(Integral, 1, None, closed="left")],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "factor_alpha": [Interval(Real, 0, None, closed="left")],
    "standardize": ["boolean"],
    "random_state": ["random_state"],
}


class FactorExpert(BaseEstimator):
    r"""Template of factorisation machines as experts, for both tasks.

    An output of an expert is linear in the features and in their products,

    .. math:: b + \sum_j w_j x_j + \sum_{i<j} \langle v_i, v_j \rangle x_i x_j,

    where every feature has a vector :math:`v_j` of a few factors. So the product of a user's
    and an item's column has a coefficient though the two may never have met. It is the mean,
    in units of the target's standard deviation, or a class score. All K experts are trained
    together; with sparse data the work is in proportion to the values that are stored. The
    fitted `experts_` are `FactorRegressor` or `FactorClassifier` estimators.

    Parameters
    ----------
    n_factors : int, default=8
        Factors of each feature, in each expert (and class).
    alpha : float, default=1.0
        Strength of the ridge penalty :math:`\frac{\alpha}{2}\|w\|^2` on the sum of the
        log-likelihood; intercepts are free.
    factor_alpha : float, default=10.0
        The same for the factors.
    standardize : bool, default=True
        Whether features are scaled to unit variance; dense ones are centred in any case. Set
        it to False for one-hot columns, so that slopes and factors are penalised in the units
        of the features as given: scaled values of a rare column are so large that the penalty
        all but ignores it.
    random_state : int, RandomState instance or None, default=None
        Of the first factors. With None, a mixture hands down a seed of its own
        ``random_state``.

    References
    ----------
    Rendle, S. (2010). Factorization machines. IEEE International Conference on Data Mining,
    995-1000.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.experts import FactorExpert
    >>> X = np.random.RandomState(0).normal(size=(200, 3))
    >>> y = X[:, 0] * X[:, 1] - X[:, 2]
    >>> model = MoERegressor(FactorExpert(2, factor_alpha=0.1), n_experts=1, random_state=0)
    >>> round(model.fit(X, y).score(X, y), 2)
    1.0
    >>> type(model.experts_[0]).__name__
    'FactorRegressor'
    """

    _parameter_constraints = _CONSTRAINTS

    def __init__(
        self, n_factors=8, alpha=1.0, factor_alpha=10.0, *, standardize=True, random_state=None
    ):
        self.n_factors = n_factors
        self.alpha = alpha
        self.factor_alpha = factor_alpha
        self.standardize = standardize
        self.random_state = random_state

    def check(self):
        """Raise for parameters that make no experts."""
        self._validate_params()

    def form(self):
        """What two fits have in common where one can go on from the other."""
        return type(self).__qualname__, self.n_factors

    def collection(self, n_experts, n_classes=None, likelihood=None):
        """The experts made from this template.

        Parameters
        ----------
        n_experts : int
        n_classes : int, default=None
            None for regression.
        likelihood : likelihood, default=None
            Started; Gaussian if None.

        Returns
        -------
        FactorExperts
        """
        settings = self.get_params(deep=False)
        experts = FactorExperts(n_experts, n_classes=n_classes, **settings)
        experts.origin = (FactorRegressor if n_classes is None else FactorClassifier)(**settings)
        return experts


class _FactorMachine(BaseEstimator):
    """What both estimators share."""

    _parameter_constraints = _CONSTRAINTS

    def __init__(
        self, n_factors=8, alpha=1.0, factor_alpha=10.0, *, standardize=True, random_state=None
    ):
        self.n_factors = n_factors
        self.alpha = alpha
        self.factor_alpha = factor_alpha
        self.standardize = standardize
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _train(self, X, target, sample_weight, n_classes=None):
        """Experts of one, fitted to a target (n, m) or class codes (n,)."""
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        view = Design.standardised(X, weight, self.standardize)
        data = FitData(view, view, target, weight, n_classes=n_classes)
        dispersion = None
        if n_classes is None:
            mean = weight @ target / weight.sum()
            spread = np.sqrt(weight @ np.square(target - mean) / weight.sum())
            data = FitData(view, view, target, weight, y_scale=np.where(spread > 0, spread, 1.0))
            dispersion = np.square(data.y_scale)[None, :]
        settings = self.get_params(deep=False)
        experts = FactorExperts(1, n_classes=n_classes, **settings).start(data)
        experts.fit_to_the_end(data, dispersion)
        return experts

    def _set(self, slopes, factors, classes=None):
        """Take coefficients (d + 1, P), intercepts last, and factors (d, P, F)."""
        self.coef_, self.intercept_ = np.ascontiguousarray(slopes[:-1].T), slopes[-1].copy()
        self.factors_ = np.ascontiguousarray(factors.transpose(1, 0, 2))
        self.n_features_in_ = len(factors)
        if classes is not None:
            self.classes_ = classes
        elif len(self.coef_) == 1:
            self.coef_, self.factors_ = self.coef_[0], self.factors_[0]
            self.intercept_ = self.intercept_[0]
        return self

    def _outputs(self, X):
        """Means or class scores (n, P)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=np.float64)
        slopes = np.atleast_2d(self.coef_)
        out = X @ slopes.T + self.intercept_
        squares = X.multiply(X).tocsr() if hasattr(X, "multiply") else np.square(X)
        factors = self.factors_.reshape(*slopes.shape, -1)
        for output, own in enumerate(factors):
            pairs = np.square(X @ own).sum(axis=1) - squares @ np.square(own).sum(axis=1)
            out[:, output] += 0.5 * pairs
        return out


class FactorRegressor(RegressorMixin, _FactorMachine):
    r"""A factorisation machine of second order, by penalised least squares.

    What `FactorExpert` experts of a regression are published as; it can be fitted alone, too.

    Parameters
    ----------
    n_factors : int, default=8
        Factors of each feature.
    alpha : float, default=1.0
        Strength of the ridge penalty on slopes: that of ``Ridge`` on a standardised target.
    factor_alpha : float, default=10.0
        The same for the factors.
    standardize : bool, default=True
        Whether features are scaled to unit variance in `fit`; set it to False for one-hot
        columns.
    random_state : int, RandomState instance or None, default=None
        Of the first factors.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Slopes of features as given.
    factors_ : ndarray of shape (n_features, n_factors) or (n_outputs, n_features, n_factors)
        Their factors; the coefficient of a product is that of two rows.
    intercept_ : float or ndarray of shape (n_outputs,)
    n_features_in_ : int

    References
    ----------
    Rendle, S. (2010). Factorization machines. IEEE International Conference on Data Mining,
    995-1000.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.experts import FactorRegressor
    >>> X = np.random.RandomState(0).normal(size=(200, 3))
    >>> y = X[:, 0] * X[:, 1] - X[:, 2]
    >>> model = FactorRegressor(2, alpha=0.1, factor_alpha=0.1, random_state=0).fit(X, y)
    >>> round(float(model.factors_[0] @ model.factors_[1]), 1)
    1.0
    """

    def fit(self, X, y, sample_weight=None):
        """Fit by L-BFGS.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : FactorRegressor
        """
        self._validate_params()
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=np.float64,
            multi_output=True,
            y_numeric=True,
        )
        target = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        return self._take(self._train(X, target, sample_weight))

    def predict(self, X):
        """Predict the mean.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        out = self._outputs(X)
        return out[:, 0] if self.coef_.ndim == 1 else out

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _take(self, experts):
        slopes, factors = experts.in_raw_units()
        return self._set(slopes[:, 0], factors[:-1, 0])


class FactorClassifier(ClassifierMixin, _FactorMachine):
    r"""Multinomial logistic regression whose class scores are factorisation machines.

    What `FactorExpert` experts of a classification are published as; it can be fitted alone,
    too.

    Parameters
    ----------
    n_factors : int, default=8
        Factors of each feature and class.
    alpha : float, default=1.0
        Strength of the ridge penalty on slopes, on the sum of the log-likelihood.
    factor_alpha : float, default=10.0
        The same for the factors.
    standardize : bool, default=True
        Whether features are scaled to unit variance in `fit`; set it to False for one-hot
        columns.
    random_state : int, RandomState instance or None, default=None
        Of the first factors.

    Attributes
    ----------
    coef_ : ndarray of shape (n_classes, n_features)
        Slopes of features as given.
    factors_ : ndarray of shape (n_classes, n_features, n_factors)
        Their factors; the coefficient of a product is that of two rows.
    intercept_ : ndarray of shape (n_classes,)
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int

    References
    ----------
    Rendle, S. (2010). Factorization machines. IEEE International Conference on Data Mining,
    995-1000.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.experts import FactorClassifier
    >>> X = np.random.RandomState(0).normal(size=(200, 2))
    >>> y = X[:, 0] * X[:, 1] > 0
    >>> model = FactorClassifier(2, factor_alpha=0.1, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    def fit(self, X, y, sample_weight=None):
        """Fit by L-BFGS.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : FactorClassifier
        """
        self._validate_params()
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        experts = self._train(X, codes, sample_weight, n_classes=len(self.classes_))
        slopes, factors = experts.in_raw_units()
        return self._set(slopes[:, 0], factors[:-1, 0], self.classes_)

    def predict_proba(self, X):
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return softmax(self._outputs(X), axis=1)

    def predict(self, X):
        """Predict the class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        scores = self._outputs(X)
        return self.classes_[scores.argmax(axis=1)]
