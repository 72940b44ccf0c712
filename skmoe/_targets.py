"""Targets of regression: checked, with their exposures, in the terms of the likelihood."""

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import _check_y

from ._devices import answers_in_kind
from ._validation import LIKELIHOODS, refuse_sparse, resolve_part, who_refuses
from .experts.estimators import accepts_many_outputs
from .experts.linear import LinearExpert
from .likelihoods import Mixed


class RegressionTargets:
    """Methods about targets; a part of `MoERegressor`."""

    @answers_in_kind
    def log_likelihood(self, X, y, exposure=None):
        """Log density (or log probability) of each observed target.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.
        exposure : array-like of shape (n_samples,), default=None
            Of counts, as in `fit`; ones by default.

        Returns
        -------
        ndarray of shape (n_samples,)
            In units of the target, as given.
        """
        return self._posterior(X, y, exposure)[1]

    @answers_in_kind
    def responsibilities(self, X, y, exposure=None):
        """Probability of each expert given features and target.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.
        exposure : array-like of shape (n_samples,), default=None
            Of counts, as in `fit`; ones by default.

        Returns
        -------
        ndarray of shape (n_samples, n_experts)
            Rows sum to one; experts that are not routed to have 0.
        """
        return self._posterior(X, y, exposure)[0]

    def score(self, X, y, sample_weight=None, exposure=None):
        """Coefficient of determination (R²) of `predict`.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.
        exposure : array-like of shape (n_samples,), default=None
            Of counts, as in `fit`; ones by default.

        Returns
        -------
        float
            At most 1.
        """
        predicted = self.predict(X, exposure=exposure)
        if hasattr(self.likelihood_, "observed"):
            y = self._shaped(self.likelihood_.observed(self._decode_target(y, exposure)))
        return r2_score(y, predicted, sample_weight=sample_weight)

    def _resolve_likelihood(self):
        if isinstance(self.likelihood, list):
            return _resolve_list(self.likelihood)
        return resolve_part(self.likelihood, LIKELIHOODS, "likelihood", ("log_lik", "update"))

    def _n_classes(self):
        return None

    def _encode_target(self, y, exposure=None):
        likelihood = self._resolve_likelihood()
        y = self._numbers(y, likelihood)
        if hasattr(likelihood, "encode"):
            found = likelihood.encode(y, check_exposure(exposure, y))
            self._many_outputs = y.ndim == 2 and likelihood.width(found) == y.shape[1]
            return found
        refuse_exposure(likelihood, exposure)
        refuses = who_refuses(self.experts, accepts_many_outputs)
        if y.ndim == 2 and refuses:
            if y.shape[1] > 1:
                raise ValueError(
                    f"y has {y.shape[1]} outputs, and {refuses} predicts one; wrap it in a "
                    f"MultiOutputRegressor, or fit one model per output."
                )
            y = column_or_1d(y, warn=True)
        self._many_outputs = y.ndim == 2
        return y.reshape(len(y), -1)

    def _numbers(self, y, likelihood):
        """A finite target of one or two dimensions as float64."""
        refuse_sparse(y)
        if getattr(likelihood, "takes_infinite", False):
            return check_array(y, ensure_all_finite=False, ensure_2d=False, dtype=np.float64)
        if self.missing_outputs == "mask":
            y = check_array(
                y, ensure_all_finite="allow-nan", ensure_2d=False, dtype=np.float64, input_name="y"
            )
            if hasattr(likelihood, "of_outputs"):
                return y
        y = _check_y(y, multi_output=True, y_numeric=True, estimator=self)
        return np.asarray(y, dtype=np.float64)

    def _target_weight(self, target, weight):
        return weight

    def _decode_target(self, y, exposure=None):
        y = self._numbers(y, self.likelihood_)
        if hasattr(self.likelihood_, "encode"):
            found = self.likelihood_.encode(y, check_exposure(exposure, y))
            n_given, n_known = self.likelihood_.width(found), self.likelihood_.n_outputs_
        else:
            refuse_exposure(self.likelihood_, exposure)
            found = y.reshape(len(y), -1)
            n_given, n_known = found.shape[1], self.likelihood_.dispersion.shape[1]
        if n_given != n_known:
            raise ValueError(f"y has {n_given} columns; fit had {n_known}.")
        return found

    def _exposed(self, pred, exposure):
        """Predictions (n, k, P) at exposures (n,), or as they are."""
        if exposure is None:
            return pred
        if not hasattr(self.likelihood_, "exposed"):
            refuse_exposure(self.likelihood_, exposure)
        return self.likelihood_.exposed(pred, check_exposure(exposure, pred))

    def _shaped(self, values):
        return values if self._many_outputs else values[:, 0]


def some_missing(target):
    """Whether targets are missing; in rows that have none at all, these are left out."""
    return target.dtype.kind == "f" and bool(np.isnan(target).any())


def check_exposure(exposure, rows):
    """Exposures (n,) of float64, positive; None stays None."""
    if exposure is None:
        return None
    exposure = np.asarray(exposure, dtype=np.float64)
    if exposure.shape != (len(rows),):
        raise ValueError(
            f"exposure has shape {exposure.shape}, expected {(len(rows),)}; give one per row."
        )
    if not (np.isfinite(exposure).all() and (exposure > 0).all()):
        raise ValueError(
            "exposure must be positive and finite: counts are divided by it; leave out rows "
            "without any."
        )
    return exposure


def refuse_exposure(likelihood, exposure):
    """Raise for an exposure where the law has no use for it."""
    if exposure is not None:
        raise ValueError(
            f"exposure is for counts, and likelihood={type(likelihood).__name__} has no use for "
            f"it; leave it out, or use 'poisson' or 'negative_binomial'."
        )


def _resolve_list(given):
    """The law of a list of likelihoods, one per expert."""
    if not given:
        raise ValueError("likelihood is an empty list; give one likelihood per expert.")
    laws = [resolve_part(law, LIKELIHOODS, "likelihood", ("log_lik", "update")) for law in given]
    alone = [type(law).__name__ for law in laws if not hasattr(law, "first_pred")]
    if alone:
        raise ValueError(
            f"likelihood: {alone[0]} cannot stand in a list; use others, such as 'student_t' with "
            f"many degrees of freedom."
        )
    law = Mixed(laws)
    law.check()
    return law


def check_law(likelihood, plan, solver):
    """Raise where experts cannot give what the likelihood takes."""
    if not hasattr(likelihood, "first_pred"):
        return
    name = type(likelihood).__name__
    if getattr(solver, "loss", "log") == "squared":
        raise ValueError(
            f"Pool(loss='squared') has no use for likelihood={name}; use Pool(loss='log')."
        )
    if isinstance(likelihood, Mixed):
        if plan.growth is not None or plan.n_experts != len(likelihood.likelihoods):
            number = "'auto'" if plan.growth is not None else plan.n_experts
            raise ValueError(
                f"likelihood is a list of {len(likelihood.likelihoods)}, and n_experts={number}; "
                f"give one likelihood per expert."
            )
    if plan.linear is not None and not isinstance(plan.linear, LinearExpert):
        raise ValueError(
            f"likelihood={name} trains linear experts and scikit-learn regressors, but experts "
            f"are {type(plan.linear).__name__}; use LinearExpert(), or a regressor such as "
            f"MLPRegressor with solver='em'."
        )
    if plan.linear is None and likelihood.only_linear:
        raise ValueError(
            f"likelihood={name} is for linear experts: it does not say what a scikit-learn "
            f"regressor should be trained on; use experts=None."
        )
    if plan.linear is None and likelihood.n_predictors > 1:
        raise ValueError(
            f"likelihood={name} has {likelihood.n_predictors} predictors per expert, and a "
            f"scikit-learn regressor gives one; use linear experts (experts=None)."
        )
