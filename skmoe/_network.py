"""Small feed-forward networks on a view of the features, and their gradients."""

from itertools import pairwise

import numpy as np

from ._ops import special_of


def draw_layers(sizes, activation, rng):
    """Random layers, each an array (inputs + 1, outputs) whose last row is the bias.

    Parameters
    ----------
    sizes : list of int
        Numbers of inputs, of units of each hidden layer and of outputs.
    activation : {"tanh", "relu", "logistic", "identity"}
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
        units = activated(scores, activation)
        hidden.append(units)
        scores = units @ layer[:-1] + layer[-1]
    return hidden, scores


def backward(design, layers, hidden, error, activation):
    """Gradients of the layers of ``sum error * outputs``, where error is (n, K)."""
    gradients = []
    for layer, units in zip(layers[:0:-1], hidden[::-1]):
        gradients.append(np.vstack([units.T @ error, error.sum(axis=0)]))
        error = error @ layer[:-1].T
        multiply_slope(error, units, activation)
    gradients.append(design.transposed_dot(error))
    return gradients[::-1]


def activated(scores, activation):
    """Outputs of hidden units, in the place of their scores; arrays of any device."""
    if activation == "tanh":
        return np.tanh(scores, out=scores)
    if activation == "relu":
        return np.maximum(scores, 0.0, out=scores)
    if activation == "logistic":
        return special_of(scores).expit(scores, out=scores)
    return scores


def multiply_slope(error, units, activation):
    """Multiply errors, in place, by the slopes of hidden units with these outputs."""
    if activation == "tanh":
        error *= 1.0 - np.square(units)
    elif activation == "relu":
        error *= units > 0.0
    elif activation == "logistic":
        error *= units * (1.0 - units)


# -- one network for each of K experts: the first layer is an array (D, K, h), so that one
# product serves all; further ones are arrays (K, inputs + 1, outputs) ------------------


def forward_each(design, layers, activation):
    """Outputs of the hidden layers, list of (n, K, h), and of the last, (n, K, P)."""
    first = layers[0]
    scores = design.dot(first.reshape(len(first), -1)).reshape(-1, *first.shape[1:])
    hidden = []
    for layer in layers[1:]:
        units = activated(scores, activation)
        hidden.append(units)
        scores = np.empty((*units.shape[:2], layer.shape[2]))
        np.matmul(units.transpose(1, 0, 2), layer[:, :-1], out=scores.transpose(1, 0, 2))
        scores += layer[:, -1]
    return hidden, scores


def backward_each(design, layers, hidden, error, activation):
    """Gradients of the layers of ``sum error * outputs``, where error is (n, K, P)."""
    gradients = []
    for layer, units in zip(layers[:0:-1], hidden[::-1]):
        by_expert = error.transpose(1, 0, 2)
        gradient = np.empty(layer.shape)
        np.matmul(units.transpose(1, 2, 0), by_expert, out=gradient[:, :-1])
        gradient[:, -1] = error.sum(axis=0)
        gradients.append(gradient)
        error = np.empty(units.shape)
        np.matmul(by_expert, layer[:, :-1].transpose(0, 2, 1), out=error.transpose(1, 0, 2))
        multiply_slope(error, units, activation)
    first = design.transposed_dot(error.reshape(len(error), -1))
    gradients.append(first.reshape(layers[0].shape))
    return gradients[::-1]


def flatten(layers):
    """All numbers as one vector."""
    return np.concatenate([layer.ravel() for layer in layers])


def shaped(flat, layers):
    """A vector in the shapes of layers: the inverse of `flatten`."""
    ends = np.cumsum([layer.size for layer in layers])[:-1].tolist()
    return [part.reshape(layer.shape) for part, layer in zip(np.split(flat, ends), layers)]


def without_biases(layers):
    """The layers with zeros in the place of biases."""
    return [np.vstack([layer[:-1], np.zeros(layer.shape[1])]) for layer in layers]
