"""Slow, obvious twins of the fast paths: loops and textbook formulas.

Shapes: n rows, D columns (the last one is ones), K experts, C classes, m outputs.
Nothing here imports skmoe.
"""

import math

import numpy as np

# -- rows of densities ----------------------------------------------------------------


def logsumexp(values):
    """Logarithm of the sum of exponentials of a sequence."""
    top = max(values)
    if top == -math.inf:
        return -math.inf
    return top + math.log(sum(math.exp(value - top) for value in values))


def log_softmax(logits):
    """(n, K) -> (n, K)."""
    return np.array([[value - logsumexp(row) for value in row] for row in logits])


def e_step(log_gate, log_lik):
    """Responsibilities (n, K), log-likelihood (n,), number of rows without any."""
    resp, loglik, unexplained = np.empty(log_gate.shape), np.empty(len(log_gate)), 0
    for i in range(len(log_gate)):
        terms = log_gate[i] + log_lik[i]
        loglik[i] = logsumexp(terms)
        if loglik[i] == -math.inf:
            unexplained += 1
            resp[i] = np.exp(log_gate[i])
        else:
            resp[i] = [math.exp(term - loglik[i]) for term in terms]
    return resp, loglik, unexplained


def gaussian_log_lik(y, pred, variance):
    """y (n, m), pred (n, K, m), variance (K, m) -> (n, K)."""
    n_rows, n_experts, n_outputs = pred.shape
    out = np.zeros((n_rows, n_experts))
    for i in range(n_rows):
        for k in range(n_experts):
            for j in range(n_outputs):
                error = y[i, j] - pred[i, k, j]
                density = math.log(2 * math.pi * variance[k, j]) + error**2 / variance[k, j]
                out[i, k] -= density / 2
    return out


def categorical_log_lik(codes, scores):
    """codes (n,), scores (n, K, C) -> (n, K)."""
    pairs = zip(codes, scores, strict=True)
    return np.array([[row[code] - logsumexp(row) for row in rows] for code, rows in pairs])


def categorical_residual(codes, scores, weight):
    """Weight times one-hot code minus softmax: (n, K, C)."""
    out = np.empty(scores.shape)
    for i, k, c in np.ndindex(*scores.shape):
        proba = math.exp(scores[i, k, c] - logsumexp(scores[i, k]))
        out[i, k, c] = weight[i, k] * ((codes[i] == c) - proba)
    return out


def top_k(log_gate, n_chosen):
    """Largest entries of each row, ties to the lower index, renormalised logarithms."""
    indices, log_weights = [], []
    for row in log_gate:
        chosen = sorted(range(len(row)), key=lambda k: (-row[k], k))[:n_chosen]
        total = logsumexp([row[k] for k in chosen])
        indices.append(chosen)
        log_weights.append([row[k] - total for k in chosen])
    return np.array(indices), np.array(log_weights)


def total_variance(weights, pred, variance):
    """Second moment minus squared mean: (n, K), (n, K, m), (K, m) -> (n, m)."""
    n_rows, n_experts, n_outputs = pred.shape
    out = np.empty((n_rows, n_outputs))
    for i in range(n_rows):
        for j in range(n_outputs):
            mean = sum(weights[i, k] * pred[i, k, j] for k in range(n_experts))
            second = sum(
                weights[i, k] * (variance[k, j] + pred[i, k, j] ** 2) for k in range(n_experts)
            )
            out[i, j] = second - mean**2
    return out


# -- columns ----------------------------------------------------------------------------


def standardise(X, weight):
    """Weighted mean and standard deviation (d,) of the values that are not NaN."""
    means, scales = [], []
    for column in np.asarray(X, dtype=np.float64).T:
        pairs = [(w, x) for w, x in zip(weight, column, strict=True) if not math.isnan(x)]
        total = math.fsum(w for w, _ in pairs)
        mean = math.fsum(w * x for w, x in pairs) / total
        variance = math.fsum(w * (x - mean) ** 2 for w, x in pairs) / total
        means.append(mean)
        scales.append(math.sqrt(variance) if variance > 0 else 1.0)
    return np.array(means), np.array(scales)


def columns(X, center, scale):
    """``[(X - center) / scale, 1]`` with NaN as the average: (n, d) -> (n, D)."""
    Z = (np.asarray(X, dtype=np.float64) - center) / scale
    return np.column_stack([np.where(np.isnan(Z), 0.0, Z), np.ones(len(Z))])


def weighted_grams(Z, weights):
    """Sum of weighted outer products: (n, D), (n, K) -> (K, D, D)."""
    out = np.zeros((weights.shape[1], Z.shape[1], Z.shape[1]))
    for i in range(len(Z)):
        for k in range(weights.shape[1]):
            out[k] += weights[i, k] * np.outer(Z[i], Z[i])
    return out


def csr_weighted_grams(X, weights, scale):
    """Grams of ``[X / scale, 1]`` of a sparse matrix."""
    return weighted_grams(columns(X.toarray(), 0.0, scale), weights)


# -- the objective, from its formula ----------------------------------------------------


def _penalised_mean(loglik, weight, gate_coef, inside, gate_alpha):
    total = math.fsum(weight)
    value = (math.fsum(weight * loglik) + inside) / total
    return value - gate_alpha / 2 * np.sum(gate_coef[:-1] ** 2)


def regression_objective(
    Z, y, weight, gate_coef, coef, variance, *, gate_alpha, alpha, floor, base, gate_Z=None
):
    """Penalised mean log-likelihood of y in units of its standard deviation.

    Parameters
    ----------
    Z : (n, D) standardised columns of the experts; gate_Z : of the gate, if others
    y : (n, m)
    weight : (n,)
    gate_coef : (D, K), coef : (D, K, m), variance : (K, m)
    gate_alpha, alpha, floor : float
    base : (m,) residual variance of one expert
    """
    mean = weight @ y / weight.sum()
    scale = np.sqrt(weight @ (y - mean) ** 2 / weight.sum())
    log_gate = log_softmax((Z if gate_Z is None else gate_Z) @ gate_coef)
    pred = np.einsum("nd,dkm->nkm", Z, coef)
    _, loglik, _ = e_step(log_gate, gaussian_log_lik(y, pred, variance))
    penalty = alpha / 2 * np.sum((coef[:-1] / scale) ** 2)
    rows = 1.0 if floor > 0 else 0.0
    log_prior = -rows / 2 * np.sum(floor * base / variance + np.log(variance / base))
    inside = log_prior - penalty
    return _penalised_mean(loglik + np.log(scale).sum(), weight, gate_coef, inside, gate_alpha)


def classification_objective(Z, codes, weight, gate_coef, coef, *, gate_alpha, alpha):
    """The same with class scores ``Z @ coef[:, k]``: codes (n,), coef (D, K, C)."""
    scores = np.einsum("nd,dkc->nkc", Z, coef)
    log_gate = log_softmax(Z @ gate_coef)
    _, loglik, _ = e_step(log_gate, categorical_log_lik(codes, scores))
    inside = -alpha / 2 * np.sum(coef[:-1] ** 2)
    return _penalised_mean(loglik, weight, gate_coef, inside, gate_alpha)


# -- EM of linear-Gaussian experts, as in a textbook ----------------------------------------


def ridge(Z, y, row_weight, penalty):
    """Weighted ridge regression with a free intercept: (n, D), (n,), (n,) -> (D,)."""
    shrink = np.append(np.full(Z.shape[1] - 1, penalty), 0.0)
    gram = Z.T @ (row_weight[:, None] * Z) + np.diag(shrink)
    return np.linalg.solve(gram, Z.T @ (row_weight * y))


def soft_log_lik(Z, resp, weight, coef, alpha):
    """What a softmax gate maximises given responsibilities."""
    log_gate = log_softmax(Z @ coef)
    value = np.sum(weight[:, None] * resp * log_gate) / weight.sum()
    return value - alpha / 2 * np.sum(coef[:-1] ** 2)


def fit_gate(Z, resp, weight, alpha, n_steps=50):
    """Coefficients (D, K) by Newton's method with the full Hessian and halved steps."""
    n_columns, n_experts = Z.shape[1], resp.shape[1]
    share = weight / weight.sum()
    shrink = np.tile(np.append(np.full(n_columns - 1, alpha), 0.0), n_experts)
    coef = np.zeros((n_columns, n_experts))
    value = soft_log_lik(Z, resp, weight, coef, alpha)
    for _ in range(n_steps):
        proba = np.exp(log_softmax(Z @ coef))
        gradient = (Z.T @ (share[:, None] * (resp - proba))).T.ravel()
        gradient -= shrink * coef.T.ravel()
        hessian = np.diag(shrink)
        for j in range(n_experts):
            for k in range(n_experts):
                curvature = share * proba[:, j] * ((j == k) - proba[:, k])
                rows, cols = (slice(e * n_columns, (e + 1) * n_columns) for e in (j, k))
                hessian[rows, cols] += Z.T @ (curvature[:, None] * Z)
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-12)[0].reshape(n_experts, -1).T
        length = 1.0
        while length > 1e-10:
            trial = coef + length * step
            new = soft_log_lik(Z, resp, weight, trial, alpha)
            if new >= value:
                break
            length /= 2
        if length <= 1e-10 or np.abs(trial - coef).max() < 1e-13:
            break
        coef, value = trial, new
    return coef - coef.mean(axis=1, keepdims=True)


def m_step(Z, y, weight, resp, variance, *, gate_alpha, alpha, floor, base):
    """Gate (D, K), experts (D, K, m) at the old variances, then variances (K, m)."""
    spread = weight @ (y - weight @ y / weight.sum()) ** 2 / weight.sum()
    n_experts, n_outputs = resp.shape[1], y.shape[1]
    coef = np.empty((Z.shape[1], n_experts, n_outputs))
    new_variance = np.empty((n_experts, n_outputs))
    for k in range(n_experts):
        row_weight = weight * resp[:, k]
        for j in range(n_outputs):
            coef[:, k, j] = ridge(Z, y[:, j], row_weight, alpha * variance[k, j] / spread[j])
            squares = np.sum(row_weight * (y[:, j] - Z @ coef[:, k, j]) ** 2)
            rows = 1.0 if floor > 0 else 0.0
            new_variance[k, j] = (squares + floor * base[j]) / (row_weight.sum() + rows)
    return fit_gate(Z, resp, weight, gate_alpha), coef, new_variance


def em_iteration(Z, y, weight, gate_coef, coef, variance, **priors):
    """One iteration from parameters to parameters."""
    log_lik = gaussian_log_lik(y, np.einsum("nd,dkm->nkm", Z, coef), variance)
    resp = e_step(log_softmax(Z @ gate_coef), log_lik)[0]
    return m_step(Z, y, weight, resp, variance, **priors)


def factorisation_machine(Z, slopes, intercept, factors):
    """Outputs (n,) of one machine: every pair of features, one by one."""
    out = intercept + Z @ slopes
    for i in range(Z.shape[1]):
        for j in range(i):
            out = out + (factors[i] @ factors[j]) * Z[:, i] * Z[:, j]
    return out


def naive_tree(codes, categorical, rows, gradient, curvature, max_leaves, least, l2):
    """Values of ``rows`` by a tree that is grown best split first, tried one by one."""
    missing = 255

    def score(some):
        return gradient[some].sum() ** 2 / (curvature[some].sum() + l2)

    def cuts(f, some):
        found = codes[f, some]
        if categorical[f]:
            key = {
                c: gradient[some[found == c]].sum() / (curvature[some[found == c]].sum() + 10.0)
                for c in set(found.tolist())
            }
            ranked = sorted(key, key=lambda c: (key[c], c))
            for cut in range(1, len(ranked)):
                yield np.isin(found, ranked[:cut])
            return
        for threshold in range(255):
            for side in (False, True) if (found == missing).any() else (False,):
                yield np.where(found == missing, side, found <= threshold)

    def best(some):
        gain, parts = 0.0, None
        for f in range(len(codes)):
            for left in cuts(f, some):
                pair = some[left], some[~left]
                if any(len(p) == 0 or curvature[p].sum() < least for p in pair):
                    continue
                found = score(pair[0]) + score(pair[1]) - score(some)
                if found > gain * (1 + 1e-9):
                    gain, parts = found, pair
        return gain, parts

    leaves = [(rows, *best(rows))]
    while len(leaves) < max_leaves:
        chosen = max(range(len(leaves)), key=lambda i: leaves[i][1])
        _, _, parts = leaves[chosen]
        if parts is None:
            break
        del leaves[chosen]
        leaves += [(part, *best(part)) for part in parts]
    values = {}
    for some, _, _ in leaves:
        for row in some:
            values[row] = gradient[some].sum() / (curvature[some].sum() + l2)
    return np.array([values[row] for row in rows])
