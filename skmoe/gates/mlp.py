"""The MLP gate: a small neural network whose outputs are the gating logits."""

import copy
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._block_passes import NetworkPass
from .._design import Design
from .._lbfgs import minimize
from .._network import backward, draw_layers, flatten, forward, shaped, without_biases
from .._ops import get_ops

# Warm iterations of one M-step; the first starts from random weights and takes more.
_INNER_ITER, _FIRST_ITER = 10, 50
_LARGEST_SEED = np.iinfo(np.int32).max


class MLPGate(BaseEstimator):
    r"""Softmax of the outputs of a neural network with one or two hidden layers.

    For boundaries between experts that are curved, or regions that are closed or in
    several pieces, which no softmax of linear logits can cut out. Features are
    standardised internally and NaN counts as the average. Training is by L-BFGS on all
    rows with exact gradients.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(32,)
        Units of the hidden layers, one or two.
    alpha : float, default=1e-4
        Strength of the penalty :math:`\frac{\alpha}{2}\|w\|^2` of all weights but the
        biases, on the mean log-likelihood per row.
    activation : {"tanh", "relu"}, default="tanh"
        Of the hidden units. The gradient of "relu" has jumps, which slow L-BFGS down.
    max_iter : int, default=200
        Iterations of L-BFGS in `fit`.
    tol : float, default=1e-6
        Relative decrease at which `fit` stops.
    early_stopping : bool, default=False
        Hold rows out of the training of the gate, and keep the weights with the highest
        held-out log-likelihood. For ``solver="em"``; the experts see all rows.
    validation_fraction : float, default=0.1
        Share of the rows that is held out.
    n_iter_no_change : int, default=30
        Iterations without a better held-out log-likelihood after which training stops.
        Few stop EM early, too: a step of the gate that finds nothing better is none.
    random_state : int, RandomState instance or None, default=None
        Of the first weights and the rows held out. With None, a mixture hands down a
        seed of its own ``random_state``.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_inputs, n_outputs)
        Weights of each layer, the first for standardised features.
    intercepts_ : list of ndarray of shape (n_outputs,)
    mean_, scale_ : ndarray of shape (n_features,)
        Shift and scale of the internal standardisation.
    n_experts_ : int
    n_iter_ : int
        Iterations of the last `fit` or `partial_fit`.

    References
    ----------
    Jacobs, R. A., Jordan, M. I., Nowlan, S. J. and Hinton, G. E. (1991). Adaptive
    mixtures of local experts. Neural Computation 3, 79-87.

    Liu, D. C. and Nocedal, J. (1989). On the limited memory BFGS method for large scale
    optimization. Mathematical Programming 45, 503-528.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import MLPGate
    >>> X = np.linspace(-2, 2, 20)[:, None]
    >>> inside = (np.abs(X) < 1).astype(float)
    >>> gate = MLPGate((8,), random_state=0).fit(X, np.hstack([inside, 1 - inside]))
    >>> np.exp(gate.log_proba([[-2.0], [0.0], [2.0]])).argmax(axis=1)
    array([1, 0, 1])
    """

    _parameter_constraints = {
        "hidden_layer_sizes": [tuple, list],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "activation": [StrOptions({"tanh", "relu"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(32,),
        alpha=1e-4,
        *,
        activation="tanh",
        max_iter=200,
        tol=1e-6,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=30,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alpha = alpha
        self.activation = activation
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def view(self, X, sample_weight):
        """Prepare features once for repeated fits; as `SoftmaxGate.view`."""
        self._check_sizes()
        return Design.standardised(X, sample_weight)

    def fit(self, X, resp, sample_weight=None):
        """Fit to soft targets, from random weights.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)
            NaN counts as the average.
        resp : ndarray of shape (n_samples, n_experts)
            Non-negative; each row sums to one.
        sample_weight : ndarray of shape (n_samples,), default=None
            Ones by default.

        Returns
        -------
        self : MLPGate
        """
        return self._start(X, resp, sample_weight, self.max_iter)

    def partial_fit(self, X, resp, sample_weight=None):
        """Improve the present weights by a few iterations.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)
        resp : ndarray of shape (n_samples, n_experts)
        sample_weight : ndarray of shape (n_samples,), default=None

        Returns
        -------
        self : MLPGate
        """
        if getattr(self, "n_experts_", None) != resp.shape[1]:
            return self._start(X, resp, sample_weight, min(_FIRST_ITER, self.max_iter))
        sample_weight = np.ones(len(resp)) if sample_weight is None else sample_weight
        max_iter = max(_INNER_ITER, self.n_iter_no_change) if self.early_stopping else _INNER_ITER
        return self._descend(self._design(X), resp, sample_weight, max_iter, 1e-14)

    def log_proba(self, X):
        """Logarithm of the probability of each expert.

        Parameters
        ----------
        X : ndarray, CSR matrix or view, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
        """
        check_is_fitted(self)
        return self._forward(self._design(X), self._layers)[1]

    def resumed(self, view):
        """A copy with the same function of features of another fit."""
        gate = copy.copy(self)
        design = Design(np.empty((0, len(self.mean_))), self.mean_, self.scale_)
        gate._layers = [view.restated(self._layers[0], design), *self._layers[1:]]
        gate.mean_, gate.scale_ = view.center, view.scale
        return gate

    def penalty(self):
        """What the objective loses to the penalty, per row of weight one."""
        return 0.5 * self.alpha * sum(np.sum(np.square(layer[:-1])) for layer in self._layers)

    def n_parameters(self):
        """Number of free weights and biases: one output may be held at zero."""
        return self.flat().size - len(self._layers[-1])

    @property
    def coefs_(self):
        """Weights of each layer, list of (n_inputs, n_outputs)."""
        check_is_fitted(self)
        return [layer[:-1] for layer in self._layers]

    @property
    def intercepts_(self):
        """Biases of each layer, list of (n_outputs,)."""
        check_is_fitted(self)
        return [layer[-1] for layer in self._layers]

    # -- gradient: flat parameters --------------------------------------------------

    def flat(self):
        """Return all weights and biases, flat."""
        return flatten(self._layers)

    def with_flat(self, values):
        """A copy with other weights and biases."""
        gate = copy.copy(self)
        gate._layers = shaped(values, self._layers)
        return gate

    def penalty_gradient(self):
        """Gradient of `penalty`, flat."""
        return self.alpha * flatten(without_biases(self._layers))

    def resp_gradient(self, X, resp, sample_weight):
        """Gradient of ``sum weight * resp * log_proba`` by the flat parameters."""
        design = self._design(X)
        hidden, log_gate = self._forward(design, self._layers)
        error = resp - resp.sum(axis=1, keepdims=True) * np.exp(log_gate)
        error *= sample_weight[:, None]
        return flatten(backward(design, self._layers, hidden, error, self.activation))

    def block_pass(self, reader):
        """What computes logits of blocks on a device; see `pass_of`."""
        return NetworkPass(reader, self._layers, self.activation)

    # -- private ------------------------------------------------------------------

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_layers")

    def _check_sizes(self):
        sizes = self.hidden_layer_sizes
        numbers = all(isinstance(size, Integral) and size > 0 for size in sizes)
        if len(sizes) not in (1, 2) or not numbers:
            raise ValueError(
                f"hidden_layer_sizes={sizes!r} must hold one or two positive integers, the "
                f"units of each hidden layer, such as (32,)."
            )

    def _design(self, X):
        if isinstance(X, Design):
            return X
        X = X if hasattr(X, "shape") else np.asarray(X, dtype=np.float64)
        return Design(X, self.mean_, self.scale_)

    def _start(self, X, resp, sample_weight, max_iter):
        self._check_sizes()
        sample_weight = np.ones(len(resp)) if sample_weight is None else sample_weight
        design = X if isinstance(X, Design) else self.view(X, sample_weight)
        rng = check_random_state(self.random_state)
        self._seed = rng.randint(_LARGEST_SEED)
        sizes = [design.shape[1] - 1, *self.hidden_layer_sizes, resp.shape[1]]
        self._layers = draw_layers(sizes, self.activation, rng)
        self.mean_, self.scale_ = design.center, design.scale
        self.n_experts_ = resp.shape[1]
        return self._descend(design, resp, sample_weight, max_iter, self.tol)

    def _forward(self, design, layers):
        hidden, log_gate = forward(design, layers, self.activation)
        get_ops().log_softmax(log_gate, log_gate)
        return hidden, log_gate

    def _descend(self, design, resp, weight, max_iter, tol):
        held_out = self._held_out(len(resp))
        descent = _Descent(self, design, resp, weight, held_out)
        found = minimize(
            descent.loss,
            self.flat(),
            watch=None if held_out is None else descent.watch,
            max_iter=max_iter,
            tol=tol,
        )
        best = found.x if held_out is None else descent.best
        self._layers, self.n_iter_ = shaped(best, self._layers), found.n_iter
        return self

    def _held_out(self, n_rows):
        """Whether each row is held out (n,); None without early stopping."""
        if not self.early_stopping:
            return None
        n_held_out = int(np.ceil(self.validation_fraction * n_rows))
        if n_held_out >= n_rows:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {n_rows} rows leaves none "
                f"to train on; lower it, or set early_stopping=False."
            )
        held_out = np.zeros(n_rows, dtype=bool)
        # The same rows in each step of EM: otherwise none would stay unseen.
        held_out[np.random.RandomState(self._seed).permutation(n_rows)[:n_held_out]] = True
        return held_out


class _Descent:
    """The loss of an `MLPGate` on the rows it trains on, and that on the others.

    Rows that are held out have no weight, so that one pass gives both losses.
    """

    def __init__(self, gate, design, resp, weight, held_out):
        self.gate, self.design, self.resp = gate, design, resp
        self.patience = gate.n_iter_no_change
        train = weight if held_out is None else np.where(held_out, 0.0, weight)
        self.train = (train / train.sum())[:, None]
        self.others = None if held_out is None else (weight / weight.sum() * held_out)[:, None]
        self.seen, self.best, self.least, self.still = [], None, np.inf, 0
        self.there = None  # what gives the sums of rows on a device
        if held_out is None and hasattr(design, "network_loss"):
            self.there = design.network_loss(resp, weight)

    def loss(self, flat):
        """Penalised mean loss of the training rows, and its gradient."""
        gate = self.gate.with_flat(flat)
        # A step too far overflows; the line search takes it for the failure that it is.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.there is not None:
                value, gradient = self.there(gate)
                return value + gate.penalty(), gradient + gate.penalty_gradient()
            hidden, log_gate = gate._forward(self.design, gate._layers)
            value = gate.penalty() - np.sum(self.train * self.resp * log_gate)
            error = self.train * (np.exp(log_gate) - self.resp)
            gradient = backward(self.design, gate._layers, hidden, error, gate.activation)
            if self.others is not None:
                self.seen.append((flat, -np.sum(self.others * self.resp * log_gate)))
                if self.best is None:
                    self._judge(flat)
        return value, flatten(gradient) + gate.penalty_gradient()

    def watch(self, flat, value):
        """Keep the best weights; whether to stop."""
        self._judge(flat)
        return self.still >= self.patience

    def _judge(self, flat):
        loss = next(loss for seen, loss in self.seen if seen is flat)
        self.seen = []
        self.still = 0 if loss < self.least else self.still + 1
        if loss < self.least:
            self.best, self.least = flat, loss
