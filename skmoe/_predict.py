"""What a fitted mixture answers, routed or dense."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from ._cells import e_step, log_lik_of, output_by_output
from ._combine import check_combine, combined
from ._devices import answers_in_kind
from ._door import check_lengths, check_rows, rows_for_experts, rows_for_gate, same_columns
from ._failures import predict_surviving
from ._outputs import check_gate_per_output, refuse_by_output
from ._predictor import LinearPredictor, can_predict
from ._validation import check_top_k
from .diagnosis import Limits, diagnose
from .routing import predict_routed, route_rows, top_k_route


class MixturePredictions:
    """Methods of a fitted mixture that both estimators share."""

    @answers_in_kind
    def gate_proba(self, X) -> np.ndarray:
        """Probability of each expert given the features, before any routing.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
            Rows sum to one. With ``gate_per_output`` a last axis is of outputs, here and in
            `route` and `responsibilities`.
        """
        return np.exp(self._log_gate(self._rows(X)))

    @answers_in_kind
    def route(self, X) -> tuple[np.ndarray, np.ndarray]:
        """The experts that each row uses, and their weights.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.

        Returns
        -------
        indices : ndarray of shape (n_samples, k) of int
            The ``top_k`` most probable experts (all if ``top_k`` is None), best first.
        weights : ndarray of shape (n_samples, k)
            Rows sum to one.
        """
        rows, top_k = self._gate_rows(self._rows(X)), self._top_k
        if getattr(self, "gate_per_output", False):
            log_gate = self._parts.gate.log_proba(rows)
            indices = np.argsort(-log_gate, axis=1, kind="stable")
            return indices, np.exp(np.take_along_axis(log_gate, indices, axis=1))
        bias = None if top_k is None else self.routing_bias_
        gate = self._parts.gate
        indices, log_weights = route_rows(gate, rows, top_k or self.n_experts_, bias)
        return indices, np.exp(log_weights)

    @answers_in_kind
    def log_likelihood(self, X, y) -> np.ndarray:
        """Log density (or log probability) of each observed target.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.

        Returns
        -------
        ndarray of shape (n_samples,)
            In units of the target, as given.
        """
        return self._posterior(X, y)[1]

    @answers_in_kind
    def responsibilities(self, X, y) -> np.ndarray:
        """Probability of each expert given features and target.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
            Rows sum to one; experts that are not routed to have 0.
        """
        return self._posterior(X, y)[0]

    def diagnose(
        self,
        X,
        y,
        sample_weight=None,
        *,
        one_expert="auto",
        dead=0.1,
        redundant=0.01,
        conflicting=0.5,
        min_gain=0.01,
    ):
        """Say which experts are dead, redundant or conflicting, and whether a mixture pays.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had. Best of rows that the model has not seen:
            on training rows flexible experts look better than they are.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.
        one_expert : "auto", fitted model or None, default="auto"
            What the log-likelihood is compared with. "auto": one expert of the same kind
            (the best where there are several kinds), refitted on four fifths of these rows
            and judged on the rest, in five folds. A fitted model with ``log_likelihood``,
            such as the same estimator with ``n_experts=1`` fitted to the same training
            rows, is the stricter comparison. None compares nothing, and nor is it compared
            on the very rows of the fit, where the mixture would always win.
        dead : float, default=0.1
            An expert is dead if its load, its mean weight and its mean responsibility are
            all below this fraction of an equal share.
        redundant : float, default=0.01
            It is redundant if another can speak for it at a lower cost, in log-likelihood
            per row that it is responsible for.
        conflicting : float, default=0.5
            It is conflicting if its disagreement is more than this: the share of its use in
            rows where it contradicts the mixture with which it is blended.
        min_gain : float, default=0.01
            A mixture pays if it gains more than this in log-likelihood per row, and more
            than two standard errors.

        Returns
        -------
        Diagnosis
            Tables, numbers and the verdict in sentences; see `skmoe.diagnosis.Diagnosis`.

        Raises
        ------
        ValueError
            If ``one_expert`` is anything else or a limit is negative; before any work.
        """
        limits = Limits(dead, redundant, conflicting, min_gain)
        return diagnose(self, X, y, sample_weight, one_expert, limits)

    # -- private ------------------------------------------------------------------

    @property
    def _top_k(self):
        """Experts per row, or None for all; ``top_k`` may have been set after `fit`."""
        if self.top_k is None:
            return None
        check_gate_per_output(self)
        # Experts that failed, were removed or not chosen are no mistake in `top_k`.
        planned = self.top_k if hasattr(self, "path_") else self._n_planned
        check_top_k(self.top_k, max(self.n_experts_, planned))
        return None if self.top_k >= self.n_experts_ else int(self.top_k)

    @property
    def _rule(self):
        """How experts are combined, and how many of a row are; both may be set after `fit`."""
        check_combine(self.combine, self.likelihood_, is_classifier(self))
        check_gate_per_output(self)
        one = self.combine == "top1" and self.n_experts_ > 1
        return self.combine, 1 if one else self._top_k

    def _rows(self, X):
        check_is_fitted(self)
        return check_rows(self, X, self._as_frame, not self._fitted_foreign, reset=False)

    def _log_gate(self, X):
        return self._parts.gate.log_proba(self._gate_rows(X))

    def _gate_rows(self, X):
        """What the gate sees of rows that passed the door."""
        return self._gating.rows(rows_for_gate(self, self._gating, X, self._gate_columns))

    def _expert_rows(self, X):
        return rows_for_experts(self, X, self._expert_columns, not self._fitted_foreign)

    def _mixture(self, X, top_k):
        """Log weights (n, k), predictions (n, k, P) and experts (n, k) of checked rows.

        Experts are None for the dense mixture, where column k is expert k.
        """
        experts = self._parts.experts
        if self.on_expert_error == "drop" and hasattr(experts, "predict_each"):
            rows = self._expert_rows(X)
            bias = self.routing_bias_
            log_gate = self._log_gate(X)
            *mixture, errors = predict_surviving(experts, rows, log_gate, top_k, bias)
            _warn_of(errors)
            return tuple(mixture)
        if top_k is None:
            same = same_columns(self._gate_columns, self._expert_columns)
            if same and hasattr(experts, "with_gate"):
                return *experts.with_gate(self._parts.gate, self._expert_rows(X)), None
            return self._log_gate(X), experts.predict(self._expert_rows(X)), None
        gate_X = self._gate_rows(X)
        indices, log_weights = route_rows(self._parts.gate, gate_X, top_k, self.routing_bias_)
        return log_weights, predict_routed(experts, self._expert_rows(X), indices), indices

    def _every_pred(self, X):
        """Predictions (n, K, P); NaN from experts that may fail and do."""
        rows, experts = self._expert_rows(self._rows(X)), self._parts.experts
        if self.on_expert_error == "raise" or not hasattr(experts, "predict_each"):
            return experts.predict(rows)
        parts, errors = experts.predict_each(rows)
        _warn_of(errors)
        shape = next((part.shape for part in parts if part is not None), (rows.shape[0], 1))
        return np.stack([np.full(shape, np.nan) if p is None else p for p in parts], axis=1)

    def _combined(self, X, exposure=None):
        """Prediction or class probabilities (n, P) of the routed experts."""
        X = self._rows(X)
        how, top_k = self._rule
        if how in ("mean", "top1") and exposure is None and can_predict(self._parts):
            expert_X = self._expert_rows(X)
            same = same_columns(self._gate_columns, self._expert_columns)
            same = same and not self._gating.foreign
            gate_X = expert_X if same else self._gate_rows(X)
            # The gate takes NaN for the average, which raw coefficients cannot.
            if same or sp.issparse(gate_X) or np.isfinite(gate_X).all():
                bias, classify = self.routing_bias_, is_classifier(self)
                predictor = LinearPredictor(self._parts, top_k, classify, bias)
                return predictor(gate_X, expert_X)
        log_weights, pred, experts = self._mixture(X, top_k)
        classify = is_classifier(self)
        pred = pred if classify else self._exposed(pred, exposure)

        def answer(likelihood, log_weights, pred, experts):
            return combined(how, likelihood, log_weights, pred, experts, classify)

        return output_by_output(answer, self.likelihood_, log_weights, pred, experts)

    def _posterior(self, X, y, exposure=None):
        log_weights, pred, indices = self._mixture(self._rows(X), self._top_k)
        check_lengths(log_weights, y)
        target = self._decode_target(y) if exposure is None else self._decode_target(y, exposure)
        target, observed = self._split_missing(target)
        several = log_weights.ndim == 3
        log_lik = log_lik_of(self.likelihood_, target, pred, observed, several, indices)
        resp, loglik = np.empty(log_lik.shape), np.empty(len(log_lik))
        e_step(log_weights, log_lik, resp, loglik)
        if indices is None:
            return resp, loglik
        scattered = np.zeros((len(resp), self.n_experts_))
        np.put_along_axis(scattered, indices, resp, axis=1)
        return scattered, loglik

    def _split_missing(self, target):
        """Targets that are finite, and which of them were observed; None for all."""
        missing = np.isnan(target) if target.dtype.kind == "f" else np.zeros(1, dtype=bool)
        if not missing.any() or getattr(self, "missing_outputs", "raise") == "raise":
            return target, None
        return np.where(missing, 0.0, target), ~missing

    def _failing(self, X):
        """Errors of the experts that cannot predict these rows, by number."""
        check_is_fitted(self)
        experts = self._parts.experts
        if self.on_expert_error == "raise" or not hasattr(experts, "predict_each"):
            return {}
        _, errors = experts.predict_each(self._expert_rows(self._rows(X)))
        return errors

    def _evidence(self, X, y):
        """Target, gate (n, K) before and its logarithm after routing, pred and log_lik of all."""
        X = self._rows(X)
        check_lengths(X, y)
        refuse_by_output(self, "diagnose")
        log_gate, target = self._log_gate(X), self._decode_target(y)
        log_used = log_gate
        if self._top_k is not None:
            indices, log_weights = top_k_route(log_gate, self._top_k, self.routing_bias_)
            log_used = np.full(log_gate.shape, -np.inf)
            np.put_along_axis(log_used, indices, log_weights, axis=1)
        pred = self._parts.experts.predict(self._expert_rows(X))
        gates = np.exp(log_gate), log_used
        return target, gates, pred, self.likelihood_.log_lik(target, pred)


def _warn_of(errors):
    """Say which experts are left out of a prediction."""
    for error in errors.values():
        warnings.warn(
            f"{error}; it is left out here, and the gate renormalised over the rest.",
            UserWarning,
            stacklevel=5,
        )
