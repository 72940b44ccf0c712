"""Predictions of an exported mixture of experts. Needs NumPy only."""

import json

import numpy as np


class ExportedMixture:
    """Gate, experts and what joins them, as arrays.

    Parameters
    ----------
    parts : dict
        As `skmoe.export.to_json` writes it.
    dtype : dtype, default=numpy.float64
        Of all arrays.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,) or None
    nbytes : int
        Of all arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.export import to_numpy
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> exported = to_numpy(model)
    >>> exported.predict([[0.5]]).round(2)
    array([0.5])
    """

    def __init__(self, parts, dtype=np.float64):
        self.dtype = np.dtype(dtype)
        self.parts = parts
        self.nbytes = 0
        self.gate = self._arrays(parts["gate"])
        self.experts = [self._arrays(expert) for expert in parts["experts"]]
        self.top_k, self.n_features = parts["top_k"], parts["n_features"]
        self.bias = None if parts["routing_bias"] is None else np.asarray(parts["routing_bias"])
        self.classes = np.asarray(parts["classes"]) if "classes" in parts else None

    def _arrays(self, part):
        part = dict(part)
        for name in ("center", "scale", "weights", "biases", "constants"):
            if part.get(name) is not None:
                part[name] = self._array(part[name])
        if "layers" in part:
            part["layers"] = [tuple(map(self._array, layer)) for layer in part["layers"]]
        if part["columns"] is not None:
            part["columns"] = np.asarray(part["columns"], dtype=np.intp)
        return part

    def _array(self, values):
        values = np.asarray(values, dtype=self.dtype)
        self.nbytes += values.nbytes
        return values

    # -- predictions ------------------------------------------------------------------

    def predict(self, X):
        """Mean of the target, or the most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, as the mixture was fitted to.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In units of the target.
        """
        if self.classes is not None:
            return self.classes[self.predict_proba(X).argmax(axis=1)]
        mean = self._mean(self._rows(X))
        return mean[:, 0] if self.parts["single_output"] else mean

    def predict_proba(self, X):
        """Probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, as the mixture was fitted to.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Rows sum to one.
        """
        if self.classes is None:
            raise AttributeError("a regressor has no predict_proba")
        return self._mean(self._rows(X))

    def gate_proba(self, X):
        """Probability of each expert given the features, before any routing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, as the mixture was fitted to.

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
            Rows sum to one.
        """
        return np.exp(self._log_gate(self._rows(X)))

    def log_likelihood(self, X, y):
        """Log density or log probability of observed targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, as the mixture was fitted to.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.

        Returns
        -------
        ndarray of shape (n_samples,)
            In units of the target.
        """
        X, y = self._rows(X), np.asarray(y)
        if self.classes is not None:
            proba = self._mean(X)
            return np.log(proba[np.arange(len(y)), np.searchsorted(self.classes, y)])
        if "scale" not in self.parts:
            raise AttributeError("only Gaussian laws are exported with their noise")
        scale = np.asarray(self.parts["scale"], dtype=self.dtype)
        total = np.full(len(X), -np.inf)
        for expert, rows, weight in self._routed(X):
            z = (y[rows].reshape(len(weight), -1) - self._answer(expert, X[rows])) / scale[expert]
            log_density = -0.5 * z**2 - np.log(scale[expert]) - 0.5 * np.log(2.0 * np.pi)
            with np.errstate(divide="ignore"):
                total[rows] = np.logaddexp(total[rows], np.log(weight) + log_density.sum(axis=1))
        return total

    # -- private ------------------------------------------------------------------------

    def _rows(self, X):
        X = np.asarray(X, dtype=self.dtype)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"X has shape {X.shape}; expected (n_samples, {self.n_features})")
        return X

    def _mean(self, X):
        out = 0.0
        for expert, rows, weight in self._routed(X):
            answer = weight[:, None] * self._answer(expert, X[rows])
            if np.isscalar(out):
                out = np.zeros((len(X), answer.shape[1]), dtype=self.dtype)
            out[rows] += answer
        return out

    def _routed(self, X):
        """Yield each expert with its rows and their weights: only these are computed."""
        log_gate = self._log_gate(X)
        if self.top_k is None:
            for k in range(len(self.experts)):
                yield k, np.arange(len(X)), np.exp(log_gate[:, k])
            return
        ranked = log_gate if self.bias is None else log_gate + self.bias
        chosen = np.argsort(-ranked, axis=1, kind="stable")[:, : self.top_k]
        kept = np.full(log_gate.shape, -np.inf, dtype=self.dtype)
        np.put_along_axis(kept, chosen, np.take_along_axis(log_gate, chosen, axis=1), axis=1)
        weights = np.exp(_log_softmax(kept))
        for k in range(len(self.experts)):
            rows = np.flatnonzero((chosen == k).any(axis=1))
            if len(rows):
                yield k, rows, weights[rows, k]

    def _log_gate(self, X):
        gate = self.gate
        Z = (_columns(X, gate) - gate["center"]) / gate["scale"]
        Z = np.where(np.isnan(Z), 0.0, Z).astype(self.dtype, copy=False)
        if gate["kind"] == "gaussian":
            spread = np.einsum("nd,kdq->nkq", Z, gate["weights"]) + gate["biases"]
            return _log_softmax(gate["constants"] - 0.5 * np.square(spread).sum(axis=2))
        scores = _network(Z, gate)
        if gate["kind"] == "network":
            return _log_softmax(scores)
        log_gate = np.zeros((len(X), len(self.experts)), dtype=self.dtype)
        for node in gate["nodes"]:
            branches = _log_softmax(scores[:, slice(*node["columns"])])
            for branch, (start, stop) in zip(branches.T, node["branches"], strict=True):
                log_gate[:, start:stop] += branch[:, None]
        return log_gate

    def _answer(self, k, X):
        """Means (n, m) or class probabilities (n, C) of one expert."""
        expert = self.experts[k]
        scores = _network(_columns(X, expert), expert)
        if self.classes is None:
            return np.exp(np.minimum(scores, 200.0)) if self.parts["link"] == "exp" else scores
        proba = np.zeros((len(X), len(self.classes)), dtype=self.dtype)
        proba[:, expert["labels"]] = np.exp(_log_softmax(scores))
        smoothing = expert["smoothing"]
        return (1.0 - smoothing) * proba + smoothing / len(self.classes)


def from_json(text, dtype=np.float64):
    """Read what `skmoe.export.to_json` has written.

    Parameters
    ----------
    text : str
        The JSON itself.
    dtype : dtype, default=numpy.float64
        Of all arrays.

    Returns
    -------
    ExportedMixture
        Ready to predict.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.export import from_json, to_json
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> exported = from_json(to_json(model))
    >>> exported.predict([[0.5]]).round(2)
    array([0.5])
    """
    return ExportedMixture(json.loads(text), dtype)


def _columns(X, part):
    return X if part["columns"] is None else X[:, part["columns"]]


def _network(units, part):
    """Scores of the last layer."""
    *hidden, (weight, bias) = part["layers"]
    for inner, shift in hidden:
        units = _activated(units @ inner + shift, part["activation"])
    return units @ weight + bias


def _activated(scores, activation):
    if activation == "relu":
        return np.maximum(scores, 0.0)
    if activation == "tanh":
        return np.tanh(scores)
    if activation == "logistic":
        return 0.5 * (1.0 + np.tanh(0.5 * scores))
    return scores


def _log_softmax(scores):
    scores = scores - scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
