"""The series in the density of Tweedie laws."""

import math

from ._jit import kernel

# Terms so far below the largest one (in logarithms) are left out.
_NEGLIGIBLE = 37.0


@kernel
def tweedie_series(y, log_phi, power, out):
    """Write logarithms of the series divided by y, and the mean index of its terms.

    Parameters
    ----------
    y : (n,), of at least zero
    log_phi : (n,)
        Logarithms of the dispersion.
    power : float between 1 and 2
    out : (2, n), written
        Zeros where y is zero.

    References
    ----------
    Dunn, P. K. and Smyth, G. K. (2005). Series evaluation of Tweedie exponential dispersion
    model densities. Statistics and Computing 15, 267-280.
    """
    ratio = (2.0 - power) / (power - 1.0)
    for i in range(len(y)):
        out[0, i] = 0.0
        out[1, i] = 0.0
        if not y[i] > 0.0:
            continue
        log_y = math.log(y[i])
        log_z = ratio * (log_y - math.log(power - 1.0)) - (1.0 + ratio) * log_phi[i]
        log_z -= math.log(2.0 - power)
        center = math.exp((2.0 - power) * log_y - log_phi[i]) / (2.0 - power)
        center = max(1.0, math.floor(min(center, 1e8)))
        top = center * log_z - math.lgamma(center + 1.0) - math.lgamma(ratio * center)
        total, first = 1.0, center
        for side in range(2):
            j = center
            while True:
                j += 1.0 - 2.0 * side
                if j < 1.0:
                    break
                term = j * log_z - math.lgamma(j + 1.0) - math.lgamma(ratio * j) - top
                if term < -_NEGLIGIBLE:
                    break
                weight = math.exp(term)
                total += weight
                first += weight * j
        out[0, i] = top + math.log(total) - log_y
        out[1, i] = first / total
