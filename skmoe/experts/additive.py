"""Experts that are sums: a shared base, and corrections that are trained with the gate."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from .._forest import Forest
from ._ground import as_pred


class AdditiveExpert(BaseEstimator):
    r"""Template of experts that gradient steps in function space train jointly with the gate.

    .. math:: f_k(x) = f_0(x) + \nu \sum_t h_{kt}(x)

    The base :math:`f_0` is shared, and trained first; every round of `skmoe.solvers.Boosting`
    then adds a learner :math:`h_{kt}` to each expert, fitted to the gradient of the
    mixture's log-likelihood. For classes, :math:`f` are scores.

    Parameters
    ----------
    learner : None or regressor, default=None
        What a round adds to an expert, cloned. None: a small regression tree on binned
        features, which takes missing values, and columns of words or categories in a
        DataFrame, as they are. Other regressors see the base as a further column, unless
        X is a DataFrame.
    base : "auto", None or estimator, default="auto"
        "auto": boosted trees of 15 leaves whose number is chosen by cross-validation, as the
        mean of ``base_repeats`` forests. Any regressor (classifier for classes), or None for
        a constant. The corrections are trained on what it predicts out of fold
        (``cross_fit``, five folds by default), and it is then fitted to all rows.
    rate : float, default=0.1
        Learning rate of corrections and gate.
    max_rounds : int, default=1000
        Most rounds; held-out rows decide when to stop.
    max_leaves : int, default=8
        Leaves of a tree.
    min_weight : float, default=10.0
        Least weight, times responsibility, of the rows in a leaf.
    l2 : float, default=1.0
        Ridge on the values of leaves, in rows.
    base_rounds : int, default=2000
        Most rounds of the base "auto".
    base_repeats : int or "auto", default="auto"
        Forests that the base "auto" is the mean of, each with draws of rows of its own;
        one where ``subsample`` is 1. "auto": three below 20,000 rows, one from there on.
    subsample : float, default=0.7
        Share of the rows, drawn anew for every round, that its trees are grown on.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.experts import AdditiveExpert
    >>> rng = np.random.RandomState(0)
    >>> X = rng.uniform(size=(300, 1))
    >>> y = np.sin(6 * X[:, 0]) + np.where(X[:, 0] > 0.5, 0.3, 0.01) * rng.normal(size=300)
    >>> model = MoERegressor(AdditiveExpert(), n_experts=3, random_state=0).fit(X, y)
    >>> std = model.predict([[0.25], [0.75]], return_std=True)[1]
    >>> bool(std[1] > 3 * std[0])
    True
    """

    _parameter_constraints = {
        "learner": [None, HasMethods(["fit", "predict"])],
        "base": [None, StrOptions({"auto"}), HasMethods(["fit", "predict"])],
        "rate": [Interval(Real, 0, 1, closed="right")],
        "max_rounds": [Interval(Integral, 1, None, closed="left")],
        "max_leaves": [Interval(Integral, 2, None, closed="left")],
        "min_weight": [Interval(Real, 0, None, closed="left")],
        "l2": [Interval(Real, 0, None, closed="left")],
        "base_rounds": [Interval(Integral, 1, None, closed="left")],
        "base_repeats": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "subsample": [Interval(Real, 0, 1, closed="right")],
    }

    # Marks a template whose experts are trained in function space.
    is_additive = True

    def __init__(
        self,
        learner=None,
        *,
        base="auto",
        rate=0.1,
        max_rounds=1000,
        max_leaves=8,
        min_weight=10.0,
        l2=1.0,
        base_rounds=2000,
        base_repeats="auto",
        subsample=0.7,
    ):
        self.learner = learner
        self.base = base
        self.rate = rate
        self.max_rounds = max_rounds
        self.max_leaves = max_leaves
        self.min_weight = min_weight
        self.l2 = l2
        self.base_rounds = base_rounds
        self.base_repeats = base_repeats
        self.subsample = subsample

    def check(self):
        """Raise for parameters of the wrong type or range."""
        self._validate_params()

    def __sklearn_tags__(self):
        from ._folds import accepts_nan  # here, since that module looks at estimators

        tags = super().__sklearn_tags__()
        parts = [p for p in (self.learner, self.base) if p is not None and p != "auto"]
        tags.input_tags.allow_nan = all(map(accepts_nan, parts))
        tags.target_tags.multi_output = False
        return tags


class AdditiveExperts:
    """K sums of learners on a shared base.

    Parameters
    ----------
    names : list of K str
    ground : Ground
    n_scores : int
        Free scores S of a row and expert.
    n_classes : int or None

    Attributes
    ----------
    slant : ndarray of shape (K,)
        Factor of the base in the scores of each expert.
    forest : Forest
        Trees of all corrections; output k S + s is score s of expert k.
    learned : list of (round, int, slot, fitted estimator, output, rate)
        Corrections by other learners, with the number of the score they add to.
    record : Record or None
        What else changed from round to round.
    """

    def __init__(self, names, ground, n_scores, n_classes=None):
        self.names, self.ground = list(names), ground
        self.n_scores, self.n_classes = n_scores, n_classes
        self.slant = np.ones(len(self.names))
        self.forest = Forest(len(self.names) * n_scores, len(ground.bins[0]))
        self.learned, self.record = [], None

    @property
    def n_experts(self):
        """K."""
        return len(self.names)

    def begin(self, base):
        """Scores (K S, n) of experts without corrections, from the base (S, n)."""
        return np.concatenate([slant * base for slant in self.slant])

    def predict(self, X, rows=None, last=None):
        """Predict with every expert, or with each on rows of its own.

        Parameters
        ----------
        X : ndarray or frame of shape (n, d)
        rows : list of K index arrays, default=None
            Where expert k is asked.
        last : int, default=None
            Corrections of so many rounds only.

        Returns
        -------
        ndarray of shape (n, K, P), or list of K ndarrays of shape (len(rows[k]), P)
        """
        if rows is not None:
            return [self.predict(_safe_indexing(X, some))[:, k] for k, some in enumerate(rows)]
        return self.of_seen(X, *self.ground.see(X), last)

    def with_gate(self, gate, X):
        """What gate and experts say of the same rows: log_gate (n, K), pred (n, K, P)."""
        if gate.ground is not self.ground:
            return gate.log_proba(X), self.predict(X)
        seen = self.ground.see(X)
        return gate.of_seen(X, *seen), self.of_seen(X, *seen)

    def of_seen(self, X, codes, base, last=None):
        """`predict` of rows that the ground has seen: codes (d, n), base (S, n)."""
        scores = self.forest.add_to(self.begin(base), codes, last=last)
        if self.learned:
            self.add_learned(scores, self.ground.table(X, base), 0, last)
        return self.as_pred(scores)

    def add_learned(self, scores, table, first, last=None):
        """Add what other learners than trees say in some rounds to scores (K S, n)."""
        for number, which, slot, fitted, output, rate in self.learned:
            if first <= number and (last is None or number < last):
                scores[which] += rate * output(slot.who, fitted, table)[:, 0]

    def as_pred(self, scores):
        """Predictions (n, K, P) from scores (K S, n)."""
        return as_pred(scores.reshape(self.n_experts, self.n_scores, -1), self.n_classes)

    def gains(self):
        """Gains (d + S,) of the corrections, by name of the expert; NaN of other learners."""
        found = {}
        for number, name in enumerate(self.names):
            outputs = range(number * self.n_scores, (number + 1) * self.n_scores)
            other = any(which in outputs for _, which, *_ in self.learned)
            gains = self.forest.importance(outputs)
            found[name] = np.full(len(gains), np.nan) if other else gains
        return found

    def penalty(self):
        """Nothing is penalised in function space: 0."""
        return 0.0

    def published(self, classes=None):
        """One `AdditiveComponent` for each expert."""
        return [AdditiveComponent(self, k, classes) for k in range(self.n_experts)]


class AdditiveComponent:
    """One expert of a boosted mixture.

    Parameters
    ----------
    experts : AdditiveExperts
    number : int
    classes : ndarray, default=None
    """

    def __init__(self, experts, number, classes=None):
        self.experts, self.number = experts, number
        if classes is not None:
            self.classes_ = classes

    @property
    def feature_importances_(self):
        """Share (d + S,) of each column in the gains of the corrections, the base's last."""
        gains = self.experts.gains()[self.experts.names[self.number]]
        return gains / (gains.sum() or 1.0)

    def predict(self, X):
        """Mean of the target (n,), or the most probable class.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        X = X if hasattr(X, "iloc") else np.asarray(X, dtype=np.float64)
        pred = self.experts.predict(X)[:, self.number]
        if self.experts.n_classes is not None:
            return self.classes_[pred.argmax(axis=1)]
        return pred[:, 0] if pred.shape[1] == 1 else pred

    def __repr__(self):
        return f"<additive expert {self.experts.names[self.number]!r}>"
