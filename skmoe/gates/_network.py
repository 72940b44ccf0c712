"""A small feed-forward network on a view of the features, and its gradient."""

from itertools import pairwise

import numpy as np


def draw_layers(sizes, activation, rng):
    """Random layers, each an array (inputs + 1, outputs) whose last row is the bias.

    Parameters
    ----------
    sizes : list of int
        Numbers of inputs, of units of each hidden layer and of outputs.
    activation : {"tanh", "relu"}
    rng : numpy.random.RandomState

    Returns
    -------
    list of ndarray

    References
    ----------
    Glorot, X. and Bengio, Y. (2010). Understanding the difficulty of training deep
    feedforward neural networks. AISTATS 9, 249-256.
    """
    layers = []
    for n_inputs, n_outputs in pairwise(sizes):
        gain = 2.0 if activation == "relu" else 1.0
        width = np.sqrt(gain * 6.0 / (n_inputs + n_outputs))
        layers.append(rng.uniform(-width, width, size=(n_inputs + 1, n_outputs)))
    for layer in layers[:-1]:
        layer[-1] = rng.uniform(-1.0, 1.0, size=layer.shape[1])
    layers[-1][:] *= 0.1  # nearly the same probability for all, to begin with
    layers[-1][-1] = 0.0
    return layers


def forward(design, layers, activation):
    """Outputs of the hidden layers, and of the last: list of (n, h), (n, K)."""
    hidden, scores = [], design.dot(layers[0])
    for layer in layers[1:]:
        units = np.tanh(scores, out=scores) if activation == "tanh" else np.maximum(scores, 0.0)
        hidden.append(units)
        scores = units @ layer[:-1] + layer[-1]
    return hidden, scores


def backward(design, layers, hidden, error, activation):
    """Gradients of the layers of ``sum error * outputs``, where error is (n, K)."""
    gradients = []
    for layer, units in zip(layers[:0:-1], hidden[::-1]):
        gradients.append(np.vstack([units.T @ error, error.sum(axis=0)]))
        error = error @ layer[:-1].T
        if activation == "tanh":
            error *= 1.0 - np.square(units)
        else:
            error *= units > 0.0
    gradients.append(design.transposed_dot(error))
    return gradients[::-1]


def flatten(layers):
    """All numbers as one vector."""
    return np.concatenate([layer.ravel() for layer in layers])


def shaped(flat, layers):
    """A vector in the shapes of layers: the inverse of `flatten`."""
    ends = np.cumsum([layer.size for layer in layers])[:-1]
    return [part.reshape(layer.shape) for part, layer in zip(np.split(flat, ends), layers)]


def without_biases(layers):
    """The layers with zeros in the place of biases."""
    return [np.vstack([layer[:-1], np.zeros(layer.shape[1])]) for layer in layers]
