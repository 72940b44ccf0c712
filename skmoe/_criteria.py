"""Information criteria of a mixture whose free parameters can be counted."""

import numpy as np
import scipy.special


def countable(part):
    """Whether a part says how many free parameters it has."""
    return callable(getattr(part, "n_parameters", None))


def count_parameters(parts):
    """Number of free parameters of gate, experts and likelihood; None where one cannot tell."""
    every = vars(parts).values()
    if not all(map(countable, every)):
        return None
    return int(sum(part.n_parameters() for part in every))


def confusion(resp, weight):
    """Weighted sum of the entropies of responsibilities (n, K): what ICL adds to BIC."""
    return -float(weight @ scipy.special.xlogy(resp, resp).sum(axis=1))


def criteria(total_loglik, entropy, n_parameters, total_weight):
    """The criteria at a fit; lower is better.

    Parameters
    ----------
    total_loglik : float
        Weighted sum of the log-likelihoods of rows, without penalties.
    entropy : float
        From `confusion`.
    n_parameters : int
    total_weight : float

    Returns
    -------
    dict
        ``aic`` (Akaike, 1974), ``bic`` (Schwarz, 1978), ``bicc`` (McQuarrie, 1999) and ``icl``
        (Biernacki, Celeux and Govaert, 2000).
    """
    deviance = -2.0 * total_loglik
    price = n_parameters * np.log(total_weight)
    bic, left = deviance + price, total_weight - n_parameters - 1
    dear = price * total_weight / left if left > 0 else np.inf
    return {
        "aic": float(deviance + 2.0 * n_parameters),
        "bic": float(bic),
        "bicc": float(deviance + dear),
        "icl": float(bic + 2.0 * entropy),
    }
