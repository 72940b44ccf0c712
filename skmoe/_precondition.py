"""Initial inverse Hessians for softmax models: one Gram for every class and expert."""

import numpy as np
import scipy.linalg


def fits_gram(design, n_grams):
    """Whether Gram matrices are no larger than the data (or small anyway)."""
    n_columns = design.shape[1]
    stored = design.X.nnz if design.is_sparse else design.shape[0] * n_columns
    return n_grams * n_columns**2 <= max(stored, 2**21)


def gram_preconditioner(design, weight, curvature, ridge, n_blocks):
    """Return a function that applies ``(curvature * Z'WZ + ridge)^-1`` to blocks.

    Parameters
    ----------
    design : Design of shape (n, D)
    weight : ndarray of shape (n,)
    curvature : float
        Factor of the Gram.
    ridge : float
        Added to the diagonal of slopes.
    n_blocks : int
        The vector has ``D * n_blocks`` numbers, in C order of (D, n_blocks).

    Returns
    -------
    callable
        Diagonal where the Gram would be larger than the data.
    """
    n_columns = design.shape[1]
    penalty = np.full(n_columns, ridge)
    penalty[-1] = 0.0
    if not fits_gram(design, 1):
        squares = curvature * design.column_squares(weight[:, None])[:, 0] + penalty
        diagonal = np.maximum(squares, 1e-3 * squares.max())[:, None]
        return lambda vector: (vector.reshape(n_columns, n_blocks) / diagonal).ravel()
    gram = curvature * design.curvature_gram(weight)
    penalty += 1e-8 * np.trace(gram) / n_columns  # keeps collinear columns solvable
    key = (curvature, ridge)
    if design.factor is None or design.factor[0] is not weight or design.factor[1] != key:
        found = scipy.linalg.cho_factor(gram + np.diag(penalty), lower=True)
        design.factor = (weight, key, found)
    factor = design.factor[2]

    def apply(vector):
        return scipy.linalg.cho_solve(factor, vector.reshape(n_columns, n_blocks)).ravel()

    return apply
