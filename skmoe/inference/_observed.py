"""The observed information of a mixture, and the scores of rows: exact, of all rows."""

import numpy as np
import scipy.special

from ._rows import derivatives

# Numbers by block of rows.
_BLOCK_NUMBERS = 2**20


class ObservedInformation:
    r"""Derivatives of the log-likelihood of a mixture by its coefficients.

    A row's score is the mean :math:`\bar s = \sum_k r_k s_k` of the scores of the complete
    data, and its observed information is (Louis 1982)

    .. math:: \sum_k r_k C_k - \Big(\sum_k r_k s_k s_k' - \bar s \bar s'\Big)

    with the curvatures :math:`C_k` of the complete data. Both are formed for what is linear
    in the features, logits of the gate and predictors of experts, and then multiplied by
    the features.

    Parameters are ordered as in ``parts.flat()``, and experts' coefficients are in units of
    the target: gate (D, K), experts (D, K, P), dispersions.

    Parameters
    ----------
    parts : Parts
        With a softmax gate and linear experts.
    gate_X, X : Design
        Views of the rows.
    y : ndarray
        Encoded targets.
    weight : ndarray of shape (n,)

    References
    ----------
    Louis, T. A. (1982). Finding the observed information matrix when using the EM
    algorithm. Journal of the Royal Statistical Society B 44, 226-233.
    """

    def __init__(self, parts, gate_X, X, y, weight):
        self.parts, self.gate_X, self.X, self.y, self.weight = parts, gate_X, X, y, weight
        self.n_columns, self.n_experts, self.n_outputs = parts.experts.coef.shape
        self.n_gate = gate_X.shape[1]
        self.n_thetas = 0
        flat = parts.likelihood.flat()
        self._shared = bool(getattr(parts.likelihood, "shared", False))
        if flat.size:
            self.n_thetas = flat.size if self._shared else flat.size // self.n_experts
        self.size = self.n_experts * (self.n_gate + self.n_columns * self.n_outputs) + flat.size
        self._where = self._places()

    def _places(self):
        """Flat positions of each coordinate of a row: its features are what it multiplies."""
        K, P, q = self.n_experts, self.n_outputs, self.n_thetas
        gate = np.arange(self.n_gate * K).reshape(self.n_gate, K).T
        start = self.n_gate * K
        experts = start + np.arange(self.n_columns * K * P).reshape(self.n_columns, K * P).T
        start += self.n_columns * K * P
        theta = np.arange(q)[None] if self._shared else np.arange(K * q).reshape(K, q)
        theta = start + np.broadcast_to(theta, (K, q)).ravel()
        return [*gate, *experts, *theta[:, None]]

    def matrices(self, groups=None):
        """Information, and the sums of products of scores; sets ``score`` (p,), their sum.

        Parameters
        ----------
        groups : ndarray of int of shape (n,), default=None
            Rows that go together; each by itself if None.

        Returns
        -------
        information : ndarray of shape (p, p)
        products : ndarray of shape (p, p)
            Of groups' sums of weighted scores; for rows by themselves, weighted once.
        """
        information, products = np.zeros((2, self.size, self.size))
        self.score = np.zeros(self.size)
        sums = None if groups is None else np.zeros((groups.max() + 1, self.size))
        width = (self.n_experts * (1 + self.n_outputs + self.n_thetas)) ** 2
        step = max(1, _BLOCK_NUMBERS // (width + self.size))
        for start in range(0, len(self.weight), step):
            rows = slice(start, start + step)
            blocks, means, curvature = self._block(rows)
            self._add(blocks, self.weight[rows, None, None] * curvature, information)
            scores = self._scores(blocks, means)
            self.score += self.weight[rows] @ scores
            if groups is None:
                products += (self.weight[rows, None] * scores).T @ scores
            else:
                np.add.at(sums, groups[rows], self.weight[rows, None] * scores)
        return information, products if groups is None else sums.T @ sums

    def _block(self, rows):
        """Features, scores (n, S) and observed curvatures (n, S, S) of some rows."""
        gate_X, X = dense(self.gate_X, rows), dense(self.X, rows)
        K, P, q = self.n_experts, self.n_outputs, self.n_thetas
        log_gate = self.parts.gate.log_proba(self.gate_X.on(self.gate_X.X[rows]))
        pred = self.parts.experts.predict(self.X.on(self.X.X[rows]))
        y, likelihood = self.y[rows], self.parts.likelihood
        resp = scipy.special.softmax(log_gate + likelihood.log_lik(y, pred), axis=1)
        own, own_curvature = derivatives(likelihood, y, pred)
        means, curvature = mixed(np.exp(log_gate), resp, own, own_curvature)
        each = K + np.arange(K * (P + q)).reshape(K, P + q)
        order = np.concatenate([np.arange(K), each[:, :P].ravel(), each[:, P:].ravel()])
        ones = np.ones((len(y), 1))
        blocks = [gate_X] * K + [X] * (K * P) + [ones] * (K * q)
        return blocks, means[:, order], curvature[:, order][:, :, order]

    def _add(self, blocks, curvature, out):
        for s, left in enumerate(blocks):
            for t, right in enumerate(blocks):
                part = (curvature[:, s, t, None] * left).T @ right
                out[np.ix_(self._where[s], self._where[t])] += part

    def _scores(self, blocks, means):
        """Scores of rows by all coefficients: (n, p)."""
        out = np.zeros((len(means), self.size))
        for s, block in enumerate(blocks):
            out[:, self._where[s]] += means[:, s, None] * block
        return out


def mixed(gate, resp, scores, curvatures):
    """Score and observed information of rows in their coordinates.

    Parameters
    ----------
    gate, resp : ndarray of shape (n, K)
    scores : ndarray of shape (n, K, Q)
    curvatures : ndarray of shape (n, K, Q, Q)

    Returns
    -------
    means : ndarray of shape (n, S)
        S = K + K * Q: logits of the gate, then the coordinates of each expert.
    observed : ndarray of shape (n, S, S)
    """
    n_rows, K, Q = scores.shape
    size = K + K * Q
    complete = np.zeros((n_rows, K, size))  # the scores if the row were expert k's
    observed = np.zeros((n_rows, size, size))
    complete[:, :, :K] = np.eye(K) - gate[:, None, :]
    observed[:, :K, :K] = -gate[:, :, None] * gate[:, None, :]
    observed[:, range(K), range(K)] += gate
    for k in range(K):
        own = slice(K + k * Q, K + (k + 1) * Q)
        complete[:, k, own] = scores[:, k]
        observed[:, own, own] = resp[:, k, None, None] * curvatures[:, k]
    means = np.einsum("nk,nks->ns", resp, complete)
    spread = complete - means[:, None]
    observed -= np.einsum("nks,nkt->nst", resp[:, :, None] * spread, spread, optimize=True)
    return means, observed


def dense(design, rows):
    """Standardised rows of a view as an array (m, D), of sparse data too."""
    if not design.is_sparse:
        return design.block(rows)
    X = design.X[rows].toarray() / design.scale
    return np.column_stack([X, np.ones(len(X))])
