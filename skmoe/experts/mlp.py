"""Neural experts: K small networks behind the interface of an expert collection."""

from numbers import Integral, Real

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from ._networks import MLPExperts


class MLPExpert(BaseEstimator):
    r"""Template of small neural networks as experts, for both tasks.

    Each expert is a network with one or two hidden layers, on standardised features. In
    regression its output is the mean, in units of the target's standard deviation; in
    classification its outputs are the class scores. With ``solver="gradient"`` or
    ``"minibatch"`` networks, gate and noise are trained together by the gradient of the
    one objective, after a step of EM from a start that linear experts have found. The
    fitted `experts_` are ``MLPRegressor`` or ``MLPClassifier`` estimators.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(16,)
        Units of the hidden layers, one or two.
    alpha : float, default=10.0
        Strength of the penalty :math:`\frac{\alpha}{2}\|w\|^2` of all weights but the
        biases, on the sum of the log-likelihood. In classification it is the ``alpha``
        of ``MLPClassifier``; in regression that of ``MLPRegressor`` on a standardised
        target is ``alpha * noise_variance / target_variance``. Training on all rows needs
        it; with early stopping on held-out rows it matters less.
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Of the hidden units. Those of "tanh" give smoother functions.
    random_state : int, RandomState instance or None, default=None
        Of the first weights. With None, a mixture hands down a seed of its own
        ``random_state``.

    References
    ----------
    Jacobs, R. A., Jordan, M. I., Nowlan, S. J. and Hinton, G. E. (1991). Adaptive
    mixtures of local experts. Neural Computation 3, 79-87.

    Rumelhart, D. E., Hinton, G. E. and Williams, R. J. (1986). Learning representations
    by back-propagating errors. Nature 323, 533-536.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.experts import MLPExpert
    >>> X = np.linspace(-2, 2, 100).reshape(-1, 1)
    >>> y = np.where(X[:, 0] < 0, np.sin(4 * X[:, 0]), 3.0)
    >>> model = MoERegressor(MLPExpert((8,), alpha=0.01), n_experts=2, random_state=0)
    >>> round(model.fit(X, y).score(X, y), 1)
    1.0
    >>> type(model.experts_[0]).__name__
    'MLPRegressor'
    """

    _parameter_constraints = {
        "hidden_layer_sizes": [tuple, list],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "activation": [StrOptions({"relu", "tanh", "logistic", "identity"})],
        "random_state": ["random_state"],
    }

    # The estimator that this template stands for; its class is what is published.
    origin = None
    standardize = True

    def __init__(
        self, hidden_layer_sizes=(16,), alpha=10.0, *, activation="relu", random_state=None
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alpha = alpha
        self.activation = activation
        self.random_state = random_state

    def check(self):
        """Raise for parameters that make no network."""
        self._validate_params()
        sizes = self.hidden_layer_sizes
        numbers = all(isinstance(size, Integral) and size > 0 for size in sizes)
        if len(sizes) not in (1, 2) or not numbers:
            raise ValueError(
                f"MLPExpert: hidden_layer_sizes={sizes!r} must hold one or two positive "
                f"integers, the units of each hidden layer, such as (16,)."
            )

    def form(self):
        """What two fits have in common where one can go on from the other."""
        names = type(self).__qualname__, type(self.origin).__qualname__
        return *names, tuple(self.hidden_layer_sizes), self.activation

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
        MLPExperts
        """
        experts = MLPExperts(
            n_experts,
            tuple(self.hidden_layer_sizes),
            self.alpha,
            self.activation,
            n_classes,
            self.random_state,
        )
        experts.origin = self.origin
        return experts
