"""Kernels of Adam: steps uphill for parameters in one vector or by column."""

import math

from ._jit import kernel

_SMALL = 1e-8


@kernel
def adam(gradient, mean, square, memory, bias, rate, decay, out):
    """Move parameters out (p,) uphill, in place, and renew the moments (p,).

    memory: weights of the past in mean and square; bias: one less their powers; decay
    (p,): share of the rate by which a parameter shrinks.
    """
    for i in range(out.shape[0]):
        mean[i] = memory[0] * mean[i] + (1.0 - memory[0]) * gradient[i]
        square[i] = memory[1] * square[i] + (1.0 - memory[1]) * gradient[i] * gradient[i]
        spread = math.sqrt(square[i] / bias[1]) + _SMALL
        out[i] += rate * (mean[i] / bias[0] / spread - decay[i] * out[i])


@kernel
def lazy_adam(columns, gradient, moments, touched, sizes, ridge, options, out):
    """Move the rows ``columns`` of out (D, q) uphill, in place, and renew their moments.

    gradient (len(columns), q) is without the ridge (q,), which is added for every step
    since touched (D,); the last row of out has none. sizes (D,) scale the steps. options:
    number of the step, rate, decay, and weights of the past in both moments (D, q).
    """
    mean, square = moments
    n_steps, rate, decay, first, second = options
    last = out.shape[0] - 1
    bias = (1.0 - first**n_steps, 1.0 - second**n_steps)
    for r in range(columns.shape[0]):
        c = columns[r]
        missed = n_steps - touched[c] if c < last else 0
        touched[c] = n_steps
        shrink = (1.0 - rate * decay) ** missed
        for j in range(out.shape[1]):
            slope = gradient[r, j] - missed * ridge[j] * out[c, j]
            mean[c, j] = first * mean[c, j] + (1.0 - first) * slope
            square[c, j] = second * square[c, j] + (1.0 - second) * slope * slope
            spread = math.sqrt(square[c, j] / bias[1]) + _SMALL
            out[c, j] = shrink * out[c, j] + rate * sizes[c] * mean[c, j] / bias[0] / spread
