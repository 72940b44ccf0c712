"""M-steps of linear experts by descent, where closed forms do not serve.

All experts take their steps in the same passes over the rows. ``experts`` is a
`LinearExperts`, ``resp`` (n, K); results are coefficients (D, K, m).
"""

import copy

import numpy as np

from .._owlqn import minimize_l1

# Conjugate-gradient steps of one M-step where Gram matrices would be too large.
_CG_STEPS = 10
# Descent steps of one M-step with an L1 penalty.
_L1_STEPS = 20


def elastic_net_step(experts, data, resp, dispersion):
    """Descend on each expert's squares with an L1 penalty, all in the same passes."""
    weights = (resp * data.weight[:, None])[:, :, None] / dispersion
    shape, total = experts.coef.shape, data.total_weight

    def loss(flat):
        fresh = copy.copy(experts)
        fresh.coef = flat.reshape(shape)
        error = data.y[:, None, :] - fresh.predict(data.X)
        weighted = weights * error
        gradient = -data.X.transposed_dot(weighted.reshape(len(error), -1)).reshape(shape)
        gradient += fresh.penalty_gradient()
        value = 0.5 * np.sum(weighted * error) + fresh.penalty()
        return value / total, gradient.ravel() / total

    curvature = np.maximum(weights.sum(axis=0), 1e-300) / total
    scale = np.broadcast_to(1.0 / curvature, shape).ravel()
    found = minimize_l1(
        loss,
        experts.coef.ravel(),
        experts.l1_weights() / total,
        precondition=lambda vector: scale * vector,
        max_iter=_L1_STEPS,
        tol=1e-10,
    )
    return found.x.reshape(shape)


def conjugate_gradient_step(experts, data, resp, ridge_by_output):
    """Descend on each expert's penalised squares, all in the same passes.

    Every step lowers the quadratic, so that EM stays monotone.
    """
    n_columns, n_experts, n_outputs = experts.coef.shape
    weights = resp * data.weight[:, None]
    ridge = np.zeros((n_columns, n_experts, n_outputs))
    ridge[:-1] = ridge_by_output
    inverse = 1.0 / (data.X.column_squares(weights)[:, :, None] + ridge + 1e-300)

    def transposed(values):
        weighted = (weights[:, :, None] * values).reshape(len(values), -1)
        products = data.X.transposed_dot(weighted)
        return products.reshape(n_columns, n_experts, n_outputs)

    rest = transposed(data.y[:, None, :] - experts.predict(data.X)) - ridge * experts.coef
    direction = inverse * rest
    size = np.einsum("dkm,dkm->km", rest, direction)
    coef, tiny = experts.coef.copy(), 1e-24 * size + 1e-300
    for _ in range(_CG_STEPS):
        image = data.X.dot(direction.reshape(n_columns, -1))
        image = transposed(image.reshape(-1, n_experts, n_outputs)) + ridge * direction
        curvature = np.einsum("dkm,dkm->km", direction, image)
        active = (size > tiny) & (curvature > 0)
        rate = np.where(active, size / np.where(active, curvature, 1.0), 0.0)
        coef += rate * direction
        rest -= rate * image
        scaled = inverse * rest
        new_size = np.einsum("dkm,dkm->km", rest, scaled)
        ratio = np.where(active, new_size / np.where(active, size, 1.0), 0.0)
        direction = scaled + ratio * direction
        size = new_size
    return coef
