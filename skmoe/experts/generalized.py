"""Generalised linear experts: linear predictors of any law, fitted by Fisher scoring."""

import copy

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression

from .._design import solve_each
from .._lbfgs import minimize
from .._owlqn import minimize_l1
from .._penalty import ElasticNet
from .._precondition import fits_gram
from ._coefficients import CoefficientExperts

# Iterations of one M-step on all rows at once; the first starts from constants.
_INNER_ITER, _FIRST_ITER = 5, 20


class GeneralizedLinearExperts(CoefficientExperts):
    """K generalised linear models whose law is that of a likelihood.

    Parameters
    ----------
    n_experts : int
    likelihood : LinkedLikelihood
        Started.
    alpha, l1_ratio : float, default=0.0
        Elastic net on slopes of standardised features, on the sum of the log-likelihood.

    Attributes
    ----------
    coef : ndarray of shape (D, K, P)
        Coefficients of standardised features; the intercept is the last row.
    """

    def __init__(self, n_experts, likelihood, alpha, l1_ratio=0.0):
        super().__init__(n_experts, alpha, l1_ratio)
        self._likelihood = likelihood

    def start(self, data):
        """A fresh copy whose experts are constants."""
        fresh = copy.copy(self)
        first, fresh._units = self._likelihood.first_pred(), self._likelihood.unit()
        fresh.coef = np.zeros((data.X.shape[1], self.n_experts, first.shape[-1]))
        fresh.coef[-1] = first
        fresh._center, fresh._scale = data.X.center, data.X.scale
        fresh._fresh = True
        return fresh

    def selected(self, kept):
        """A copy with some of the experts, by index."""
        fresh = super().selected(kept)
        fresh._units, fresh._likelihood = self._units[kept], self._likelihood.selected(kept)
        return fresh

    def replaced(self, where, others):
        """A copy in which experts, by index, are those of another collection."""
        fresh = super().replaced(where, others)
        fresh._units = self._units.copy()
        fresh._units[where] = others._units
        fresh._likelihood = self._likelihood.replaced(where, others._likelihood)
        return fresh

    def additive(self, data):
        """Whether sums over rows (Gram matrices) suffice and are no larger than the data."""
        return not self.has_l1 and fits_gram(data.X, self.coef[0].size)

    def unit(self):
        """What a flat parameter of one means: (K, P)."""
        return self._units

    def ridge(self):
        """Factor of ``coef ** 2 / 2`` in `penalty`, where it has no L1 part: (K, P)."""
        return np.broadcast_to(self._net().ridge, self.coef.shape[1:])

    def column_ridge(self):
        """Factor of a row of `column_table`, squared and halved, in the penalty."""
        return (self.ridge() * np.square(self.unit())).ravel()

    def moved(self, stats, likelihood, length=1.0):
        """A copy after a step of Fisher scoring, and the rise that it promises.

        Parameters
        ----------
        stats : LinearStatistics
            With gradients (D, K, P) and Grams (K * P, D, D) by curvatures.
        likelihood : LinkedLikelihood
            Says how far predictors may move.
        length : float, default=1.0
            Share of the step.

        Returns
        -------
        experts : GeneralizedLinearExperts
        rise : float
        """
        n_columns = len(self.coef)
        shape = (*self.coef.shape[1:], n_columns)
        penalty = np.repeat(self.ridge()[:, :, None], n_columns, axis=2)
        penalty[:, :, -1] = 0.0
        right = stats.gradient.transpose(1, 2, 0) - penalty * self.coef.transpose(1, 2, 0)
        grams = likelihood.curved(stats.gram)
        flat = (-1, n_columns)
        step = solve_each(stats.gram, penalty.reshape(flat), right.reshape(flat)).reshape(shape)
        # An expert with nothing to learn from stays as it is.
        step[stats.weight <= 1e-12 * stats.weight.sum()] = 0.0
        moves = np.einsum("kpi,kpij,kpj->kp", step, grams, step)
        moves = np.maximum(moves, 0.0)  # rounding, where a row is very far away
        size = np.sqrt(moves / np.maximum(grams[:, :, -1, -1], 1e-300))
        shrink = np.minimum(1.0, likelihood.longest_step() / np.maximum(size, 1e-300))
        step *= (length * shrink)[:, :, None]
        fresh = copy.copy(self)
        fresh.coef = np.ascontiguousarray(self.coef + step.transpose(2, 0, 1))
        return fresh, float(np.sum(step * right))

    def fit_predict(self, data, resp, dispersion):
        """A few quasi-Newton iterations on the weighted log-likelihood, and the predictors.

        Parameters
        ----------
        data : FitData
        resp : ndarray of shape (n, K)
        dispersion : LinkedLikelihood
            With its present dispersions.

        Returns
        -------
        ndarray of shape (n, K, P)
        """
        law, total = dispersion, data.total_weight
        weights = resp * (data.weight / total)[:, None]
        unit = self.unit()

        def loss(flat):
            coef = flat.reshape(self.coef.shape) * unit
            pred, pull_back = self.with_columns(coef, data.X).predict_with_gradient(data.X)
            log_lik = law.log_lik(data.y, pred)
            scores, _ = law.residual_sums(data.y, pred, weights)
            with np.errstate(invalid="ignore"):
                value = self._net().value(coef) / total
                value -= np.where(weights > 0, weights * log_lik, 0.0).sum()
            gradient = self._net().smooth_gradient(coef) / total - pull_back(scores)
            return value, (gradient * unit).ravel()

        max_iter = _FIRST_ITER if self._fresh else _INNER_ITER
        options = {"max_iter": max_iter, "tol": 1e-10}
        options["precondition"] = self._inverse(data, law, weights)
        flat = self.flat()
        if self.has_l1:
            l1 = (self._net().l1_weights(self.coef) * unit / total).ravel()
            del options["precondition"]
            found = minimize_l1(loss, flat, l1, **options)
        else:
            found = minimize(loss, flat, **options)
        self.coef, self._fresh = found.x.reshape(self.coef.shape) * unit, False
        return self.predict(data.X)

    def _inverse(self, data, law, weights):
        """What applies the inverse of the curvature to flat vectors."""
        curved = law.gram_weights(data.y, self.predict(data.X), weights)
        shape, unit = self.coef.shape, self.unit()
        ridge = self.ridge() / data.total_weight + 1e-10 / np.square(unit)
        if not fits_gram(data.X, curved.shape[1]):
            squares = data.X.column_squares(curved).reshape(shape)
            diagonal = (squares + ridge) * np.square(unit)
            diagonal = np.maximum(diagonal, 1e-3 * diagonal.max() + 1e-300)
            return lambda vector: vector / diagonal.ravel()
        grams = data.X.grams(curved)
        penalty = np.repeat(ridge.reshape(-1, 1), shape[0], axis=1)
        penalty += 1e-8 * np.trace(grams, axis1=1, axis2=2)[:, None] / shape[0] + 1e-300
        inverses = np.linalg.inv(grams + penalty[:, :, None] * np.eye(shape[0]))
        inverses = inverses.reshape(*shape[1:], shape[0], shape[0])

        def apply(vector):
            moved = np.einsum("kpde,ekp->dkp", inverses, vector.reshape(shape) / unit)
            return (moved / unit).ravel()

        return apply

    def fit_predict_rows(self, data, resp, dispersion, rows):
        """As of `CoefficientExperts`; the law goes to each expert with its own dispersions."""
        return super().fit_predict_rows(data, resp, _ByExpert(dispersion), rows)

    def _only(self, k):
        one = super()._only(k)
        one._units, one._likelihood = self._units[[k]], self._likelihood.selected([k])
        return one

    def l1_weights(self):
        """Factors of absolute values in `penalty`, flat."""
        return self._net().l1_weights(self.coef).ravel()

    def n_parameters(self):
        """Number of coefficients; slopes that an L1 penalty holds at zero are not counted."""
        if not self.has_l1:
            return self.coef.size
        return np.count_nonzero(self.coef[:-1]) + self.coef[-1].size

    def published(self, classes=None):
        """The experts as fitted regressors with the same mean, or else of the first predictor."""
        n_outputs = self._likelihood.n_outputs_
        slopes, intercept = self.raw()
        experts = []
        for k in range(self.n_experts):
            expert = self._likelihood.regressor() if n_outputs == 1 else None
            expert = LinearRegression() if expert is None else expert
            inner = expert
            if isinstance(expert, TransformedTargetRegressor):
                inner = expert.regressor_ = LinearRegression()
                expert._training_dim = 1
                expert._fit_transformer(np.full((2, 1), 0.5))
            inner.coef_ = slopes[k, 0] if n_outputs == 1 else slopes[k, :n_outputs]
            inner.intercept_ = intercept[k, 0] if n_outputs == 1 else intercept[k, :n_outputs]
            inner.n_features_in_ = slopes.shape[2]
            if hasattr(inner, "_get_loss"):  # what their `predict` reads
                inner.n_iter_, inner._base_loss = 0, inner._get_loss()
            experts.append(expert)
        return experts

    def _net(self):
        return ElasticNet(self.alpha, self.l1_ratio, self._units)


class _ByExpert:
    """A likelihood that is cut as an array of dispersions is."""

    def __init__(self, likelihood):
        self._likelihood = likelihood

    def __getitem__(self, some):
        return self._likelihood.selected(np.arange(some.start, some.stop))
