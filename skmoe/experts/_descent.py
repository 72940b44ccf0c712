"""What K experts have in common that are trained by the gradient of their predictions."""

from dataclasses import replace

import numpy as np

from .._cells import by_output, weighted
from .._design import Design
from .._lbfgs import minimize
from .._ops import get_ops

# Warm iterations of one M-step; the first starts from random parameters and takes more.
_INNER_ITER, _FIRST_ITER = 10, 50
# Most iterations of experts that are trained alone.
_LAST_ITER = 500
# Rows of a block of predictions.
_BLOCK_ROWS = 8192


class DescentExperts:
    """K experts with P outputs: means, in units of the target, or class scores.

    A collection gives ``_forward(design) -> outputs (n, K, P)``, ``predict_with_gradient``,
    its flat parameters and their penalty, and ``_take(other)``, which makes it one with other
    parameters.
    """

    has_l1 = False
    origin = None  # the estimator whose class is published, if not the usual one
    standardize = True  # whether columns of another fit are scaled to unit variance

    def view(self, X, sample_weight):
        """Prepare features once for repeated fits; arguments as in `SoftmaxGate.view`."""
        return Design.standardised(X, sample_weight, self.standardize)

    def additive(self, data):
        """Never: there is no closed form of the M-step."""
        return False

    def on(self, X):
        """A view of other rows, standardised as those of the fit."""
        return self._design(X)

    def predict(self, X, rows=None):
        """Predict the outputs of each expert: means or class scores.

        Parameters
        ----------
        X : view, ndarray or CSR matrix of shape (n, d)
        rows : list of K index arrays, default=None
            Rows that each expert runs on; all by default.

        Returns
        -------
        ndarray of shape (n, K, P), or list of K ndarray of shape (len(rows[k]), P)
        """
        if rows is not None:
            X = X.X if isinstance(X, Design) else X
            each = enumerate(rows)
            return [self.selected([k]).predict(X[some])[:, 0] for k, some in each]
        design = self._design(X)
        if hasattr(design, "predictions") and hasattr(self, "block_pass"):
            return design.predictions(self)  # rows on a device
        out = np.empty((design.shape[0], self.n_experts, len(self._unit)))
        for start in range(0, len(out), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            some = design if len(out) <= _BLOCK_ROWS else design.on(design.X[block])
            out[block] = self._outputs(self._forward(some))
        return out

    def fit_predict(self, data, resp, dispersion=None):
        """A few iterations of L-BFGS on the weighted log-likelihood, and the predictions.

        Parameters
        ----------
        data : FitData
        resp : ndarray of shape (n, K)
        dispersion : ndarray of shape (K, m) or None
            Present noise variances.

        Returns
        -------
        ndarray of shape (n, K, P)
        """
        self._descend(data, resp, dispersion, _FIRST_ITER if self._fresh else _INNER_ITER)
        return self.predict(data.X)

    def fit_to_the_end(self, data, dispersion=None):
        """Descend until there is nothing more to gain, every expert on all rows."""
        resp = np.ones((data.X.shape[0], self.n_experts))
        self._descend(data, resp, dispersion, _LAST_ITER, 1e-13)

    def _descend(self, data, resp, dispersion, max_iter, tol=1e-10):
        there = getattr(data, "expert_loss", None)  # of rows on a device
        loss = None if there is None else there(self, resp, dispersion)
        loss = self._loss(data, resp, dispersion) if loss is None else loss
        found = minimize(loss, self.flat(), max_iter=max_iter, tol=tol)
        self._take(self.with_flat(found.x))

    def _loss(self, data, resp, dispersion):
        """Minus the weighted log-likelihood, penalised: a function of flat parameters."""
        weights = weighted(resp, data.weight / data.total_weight)

        def loss(flat):
            experts = self.with_flat(flat)
            # A step too far overflows; the line search takes it for the failure that it is.
            with np.errstate(over="ignore", invalid="ignore"):
                pred, pull_back = experts.predict_with_gradient(data.X)
                value, score = _weighted_loss(data, pred, weights, dispersion)
                gradient = pull_back(score) - experts.penalty_gradient() / data.total_weight
            return value + experts.penalty() / data.total_weight, -gradient

        return loss

    def fit_predict_rows(self, data, resp, dispersion, rows):
        """One M-step of each expert on its own rows.

        Parameters
        ----------
        data : FitData
        resp : ndarray of shape (n, K)
            Expert k sees no row where ``resp[:, k]`` is zero.
        dispersion : ndarray of shape (K, m) or None
        rows : list of K index arrays
            Where expert k is asked.

        Returns
        -------
        pred : list of K ndarrays of shape (len(rows[k]), P)
        n_fitted : int
            Rows shown to experts.
        """
        totals, n_fitted = data.weight @ resp, 0
        fresh = self
        for k in range(self.n_experts):
            own = np.flatnonzero(resp[:, k])
            if totals[k] <= 1e-12 * totals.sum():
                continue  # nothing to learn from: the expert stays as it is
            one = self.selected([k])
            X = data.X.on(data.X.X[own])
            some = replace(data, gate_X=X, X=X, y=data.y[own], weight=data.weight[own])
            noise = None if dispersion is None else dispersion[k : k + 1]
            one.fit_predict(some, resp[own, k : k + 1], noise)
            fresh = fresh.replaced([k], one)
            n_fitted += len(own)
        self._take(fresh)
        return self.predict(data.X, rows), n_fitted

    def unit(self):
        """What a flat parameter of one means; broadcasts against the flat parameters."""
        return np.ones(1)

    def with_noise(self, dispersion):
        """Itself: the penalty is not in units of noise."""
        return self

    def l1_weights(self):
        """Factors of absolute values in `penalty`, flat: zeros."""
        return np.zeros(self.flat().size)

    def _outputs(self, outputs):
        return self._shift + self._unit * outputs

    def _design(self, X):
        if isinstance(X, Design):
            return X
        X = np.empty((0, len(self._scale))) if X is None else X
        return Design(X, self._center, self._scale)


def moments(data):
    """Mean and scale (m,) of the target."""
    return data.weight @ data.y / data.total_weight, data.y_scale


def _weighted_loss(data, pred, weights, dispersion):
    """Minus the weighted log-likelihood of the experts up to a constant; scores (n, K, P)."""
    ops = get_ops()
    if data.n_classes is None:
        residual = data.y[:, None, :] - pred
        score = by_output(weights) * residual / dispersion
        return 0.5 * np.sum(score * residual), score
    log_lik, score = np.empty(weights.shape), np.empty(pred.shape)
    ops.categorical_log_lik(data.y, pred, log_lik)
    ops.categorical_residual(data.y, pred, weights, score)
    return -np.sum(weights * log_lik), score
