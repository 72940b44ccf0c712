"""K networks with the same layers as a few arrays."""

import copy

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state

from .._block_passes import NetworksPass
from .._network import (
    backward_each,
    draw_layers,
    flatten,
    forward_each,
    shaped,
)
from ._descent import DescentExperts, moments


class MLPExperts(DescentExperts):
    """K networks whose outputs are means, in units of the target, or class scores.

    Parameters
    ----------
    n_experts : int
    sizes : tuple of int
        Units of the hidden layers.
    alpha : float
        Ridge on weights of standardised features and target.
    activation : {"relu", "tanh", "logistic", "identity"}
    n_classes : int, default=None
        None for regression.
    random_state : int, RandomState instance or None, default=None
        Of the first weights.

    Attributes
    ----------
    layers : list of ndarray
        The first (D, K, h), the others (K, inputs + 1, outputs); biases come last.
    """

    def __init__(self, n_experts, sizes, alpha, activation, n_classes=None, random_state=None):
        self.n_experts = n_experts
        self.sizes = sizes
        self.alpha = alpha
        self.activation = activation
        self.n_classes = n_classes
        self.random_state = random_state

    def start(self, data):
        """A fresh copy with random weights, whose predictions are near those of the mean."""
        fresh = copy.copy(self)
        rng = check_random_state(self.random_state)
        n_outputs = data.n_classes or data.y.shape[1]
        sizes = [data.X.shape[1] - 1, *self.sizes, n_outputs]
        each = [draw_layers(sizes, self.activation, rng) for _ in range(self.n_experts)]
        stacked = [np.stack(layers) for layers in zip(*each, strict=True)]
        fresh.layers = [np.ascontiguousarray(stacked[0].transpose(1, 0, 2)), *stacked[1:]]
        fresh._center, fresh._scale = data.X.center, data.X.scale
        if data.n_classes is None:
            fresh._shift, fresh._unit = moments(data)
        else:
            fresh._shift, fresh._unit = np.zeros(n_outputs), np.ones(n_outputs)
            counts = np.bincount(data.y, weights=data.weight, minlength=n_outputs)
            fresh.layers[-1][:, -1] = np.log((counts + 1e-3 * counts.sum()) / counts.sum())
        fresh._fresh = True
        return fresh

    def resumed(self, data):
        """A copy with the same functions for features of another fit."""
        fresh = copy.copy(self)
        first = self.layers[0]
        first = data.X.restated(first.reshape(len(first), -1), self._design(None))
        first = first.reshape(-1, *self.layers[0].shape[1:])
        fresh.layers = [first, *self.layers[1:]]
        fresh._center, fresh._scale = data.X.center, data.X.scale
        return fresh if data.n_classes else fresh._in_units(*moments(data))

    def selected(self, kept):
        """A copy with some of the experts, by index."""
        fresh = copy.copy(self)
        fresh.n_experts = len(kept)
        first, *rest = self.layers
        first = np.ascontiguousarray(first[:, kept])
        fresh.layers = [first, *(np.ascontiguousarray(layer[kept]) for layer in rest)]
        return fresh

    def replaced(self, where, others):
        """A copy in which experts, by index, are those of another collection."""
        fresh, others = copy.copy(self), others._in_units(self._shift, self._unit)
        fresh.layers = [layer.copy() for layer in self.layers]
        fresh.layers[0][:, where] = others.layers[0]
        for layer, other in zip(fresh.layers[1:], others.layers[1:], strict=True):
            layer[where] = other
        return fresh

    def predict_with_gradient(self, X):
        """Predictions, and what turns gradients by these into gradients by parameters.

        Parameters
        ----------
        X : view of shape (n, d)

        Returns
        -------
        pred : ndarray of shape (n, K, P)
        pull_back : callable
            ``pull_back(score)``, with (n, K, P), gives the gradient of ``sum score *
            pred`` by the flat parameters.
        """
        hidden, outputs = forward_each(X, self.layers, self.activation)

        def pull_back(score):
            error = np.ascontiguousarray(score * self._unit)
            return flatten(backward_each(X, self.layers, hidden, error, self.activation))

        return self._outputs(outputs), pull_back

    def block_pass(self, reader):
        """What computes predictions of blocks on a device; see `pass_of`."""
        return NetworksPass(reader, self.layers, self.activation, self._shift, self._unit)

    # -- flat parameters and penalty --------------------------------------------------

    def flat(self):
        """All weights and biases, flat."""
        return flatten(self.layers)

    def with_flat(self, values):
        """A copy with other weights and biases."""
        fresh = copy.copy(self)
        fresh.layers = shaped(values, self.layers)
        return fresh

    def slopes(self):
        """Ones (p,) for weights, zeros for biases."""
        first, *rest = (np.ones(layer.shape) for layer in self.layers)
        first[-1] = 0.0
        for layer in rest:
            layer[:, -1] = 0.0
        return flatten([first, *rest])

    def diagonal(self, data, curvature):
        """Rough diagonal (p,) of a Hessian whose curvature by predictions is (K, P)."""
        each = np.mean(curvature * np.square(self._unit), axis=1)
        first, *rest = self.layers
        first = np.broadcast_to(each[:, None], first.shape)
        rest = [np.broadcast_to(each[:, None, None], layer.shape) for layer in rest]
        return flatten([first, *rest]) + self.alpha / data.total_weight

    def penalty(self):
        """What the sum of the log-likelihood loses to the penalty."""
        first, *rest = self.layers
        squares = np.sum(np.square(first[:-1]))
        return 0.5 * self.alpha * (squares + sum(np.sum(np.square(w[:, :-1])) for w in rest))

    def penalty_gradient(self):
        """Gradient of `penalty`, flat."""
        return self.alpha * self.slopes() * self.flat()

    def n_parameters(self):
        """Number of free parameters: the scores of one class may be held at zero."""
        free = self.flat().size
        if self.n_classes is None:
            return free
        return free - self.layers[-1][:, :, 0].size

    # -- published --------------------------------------------------------------------

    def published(self, classes=None):
        """The experts as fitted `MLPRegressor` or `MLPClassifier` estimators.

        They were trained together, so they have no ``loss_`` of their own: it is NaN.
        """
        if self.n_classes == 1:
            only = DummyClassifier(strategy="prior").fit(np.zeros((1, len(self._scale))), classes)
            return [only] * self.n_experts
        return [self._published_one(k, classes) for k in range(self.n_experts)]

    def _published_one(self, k, classes):
        from sklearn.neural_network import MLPClassifier, MLPRegressor  # slow to import

        first, *rest = self.layers
        slopes, intercept = self._design(None).to_raw(first[:, k])
        *middle, last = [layer[k] for layer in rest]
        last = last * self._unit
        last[-1] += self._shift
        settings = {
            "hidden_layer_sizes": self.sizes,
            "activation": self.activation,
            "alpha": self.alpha,
        }
        expert = (MLPRegressor if classes is None else MLPClassifier)(**settings)
        expert = expert if self.origin is None else clone(self.origin)
        expert.out_activation_ = "identity"
        if classes is not None:
            expert.classes_ = classes
            expert._label_binarizer = LabelBinarizer().fit(classes)
            expert.out_activation_ = "logistic" if self.n_classes == 2 else "softmax"
            last = np.diff(last) if self.n_classes == 2 else last
        layers = [*middle, last]
        expert.coefs_ = [slopes, *(layer[:-1] for layer in layers)]
        expert.intercepts_ = [intercept, *(layer[-1] for layer in layers)]
        expert.n_features_in_, expert.n_outputs_ = len(slopes), last.shape[1]
        expert.n_layers_ = len(layers) + 2
        expert.n_iter_, expert.t_, expert._no_improvement_count = 0, 0, 0
        expert.loss_, expert.best_loss_, expert.loss_curve_ = np.nan, np.inf, []
        expert.validation_scores_ = expert.best_validation_score_ = None
        return expert

    # -- private ----------------------------------------------------------------------

    def _forward(self, design):
        return forward_each(design, self.layers, self.activation)[1]

    def _take(self, other):
        self.layers, self._fresh = other.layers, False

    def _in_units(self, shift, unit):
        """The same functions, whose outputs are measured in other units."""
        fresh, last = copy.copy(self), self.layers[-1] * (self._unit / unit)
        last[:, -1] += (self._shift - shift) / unit
        fresh.layers = [*self.layers[:-1], last]
        fresh._shift, fresh._unit = shift, unit
        return fresh
