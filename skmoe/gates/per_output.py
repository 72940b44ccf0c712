"""One gate for each output."""

import copy

import numpy as np
from sklearn.base import BaseEstimator, clone


class OutputGates(BaseEstimator):
    """Gates of the same kind, one for each output, over shared experts.

    ``MoERegressor(gate_per_output=True)`` makes it of the parameter ``gate``.

    Parameters
    ----------
    gate : gate
        Template, with parameters that gradients can train.

    Attributes
    ----------
    gates_ : list of gates
        Fitted, one per output.

    References
    ----------
    Ma, J., Zhao, Z., Yi, X., Chen, J., Hong, L. and Chi, E. H. (2018). Modeling task
    relationships in multi-task learning with multi-gate mixture-of-experts. KDD.
    """

    per_output = True

    def __init__(self, gate):
        self.gate = gate

    def set_params(self, **params):
        """Set parameters, those of the fitted gates included.

        Parameters
        ----------
        **params : dict
            As of the template, with the prefix ``gate__``.

        Returns
        -------
        self : OutputGates
        """
        super().set_params(**params)
        for gate in getattr(self, "gates_", []):
            gate.set_params(**self.gate.get_params(deep=False))
        return self

    def view(self, X, sample_weight):
        """Prepare features once for all gates; arguments as in `SoftmaxGate.view`."""
        return self.gate.view(X, sample_weight)

    def fit(self, X, resp, sample_weight=None):
        """Fit each gate to the responsibilities of its output.

        Parameters
        ----------
        X : view, ndarray or CSR matrix of shape (n, d)
        resp : ndarray of shape (n, K, m)
        sample_weight : ndarray of shape (n,), default=None

        Returns
        -------
        self : OutputGates
        """
        self.gates_ = [clone(self.gate) for _ in range(resp.shape[2])]
        return self.partial_fit(X, resp, sample_weight)

    def partial_fit(self, X, resp, sample_weight=None):
        """Improve the gates from where they stand; arguments as in `fit`."""
        if not hasattr(self, "gates_"):
            return self.fit(X, resp, sample_weight)
        self.gates_ = [
            copy.copy(gate).partial_fit(X, one, sample_weight)
            for gate, one in zip(self.gates_, _by_output(resp), strict=True)
        ]
        return self

    def log_proba(self, X):
        """Log probabilities of the experts for each output.

        Parameters
        ----------
        X : view, ndarray or CSR matrix of shape (n, d)

        Returns
        -------
        ndarray of shape (n, K, m)
        """
        return np.stack([gate.log_proba(X) for gate in self.gates_], axis=2)

    def resumed(self, view):
        """A copy with the same functions for features of another fit."""
        return self._with(gate.resumed(view) for gate in self.gates_)

    def keep(self):
        """A copy that later updates leave alone."""
        return self._with(copy.copy(gate) for gate in self.gates_) if self._fitted else self

    def n_parameters(self):
        """Number of free parameters of all gates."""
        return sum(gate.n_parameters() for gate in self.gates_)

    # -- flat parameters: those of one gate after the other ----------------------------

    def flat(self):
        """All parameters, flat."""
        return np.concatenate([gate.flat() for gate in self.gates_])

    def with_flat(self, values):
        """A copy with other parameters."""
        ends = np.cumsum([gate.flat().size for gate in self.gates_])[:-1]
        pairs = zip(self.gates_, np.split(values, ends), strict=True)
        return self._with(gate.with_flat(one) for gate, one in pairs)

    def penalty(self):
        """What the objective loses to the penalties."""
        return sum(gate.penalty() for gate in self.gates_)

    def penalty_gradient(self):
        """Gradient of `penalty`, flat."""
        return np.concatenate([gate.penalty_gradient().ravel() for gate in self.gates_])

    def resp_gradient(self, X, resp, sample_weight):
        """Gradient of ``sum weight * resp * log_proba`` by the parameters, flat."""
        pairs = zip(self.gates_, _by_output(resp), strict=True)
        each = [gate.resp_gradient(X, one, sample_weight).ravel() for gate, one in pairs]
        return np.concatenate(each)

    # -- private ------------------------------------------------------------------------

    @property
    def _fitted(self):
        return hasattr(self, "gates_")

    def __sklearn_is_fitted__(self):
        return self._fitted

    def _with(self, gates):
        fresh = copy.copy(self)
        fresh.gates_ = list(gates)
        return fresh


def _by_output(resp):
    return [np.ascontiguousarray(resp[:, :, j]) for j in range(resp.shape[2])]
