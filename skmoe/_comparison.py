"""Information criteria as methods of a fitted mixture."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._criteria import confusion, countable, criteria
from ._validation import check_weight


class InformationCriteria:
    """Methods of a fitted mixture that both estimators share."""

    def aic(self, X, y, sample_weight=None, exposure=None):
        """Compute Akaike's information criterion; lower is better.

        Minus twice the log-likelihood, without penalties, plus twice ``n_parameters_``.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, as given to fit.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default. A row of weight 2 counts as two rows.
        exposure : array-like of shape (n_samples,), default=None
            What counts are counted in, as given to fit.

        Returns
        -------
        float
            In units of twice the log-likelihood.

        Raises
        ------
        TypeError
            If the parameters of a part cannot be counted.

        References
        ----------
        Akaike, H. (1974). A new look at the statistical model identification. IEEE
        Transactions on Automatic Control 19, 716-723.
        """
        return self._criteria(X, y, sample_weight, exposure)["aic"]

    def bic(self, X, y, sample_weight=None, exposure=None):
        """Compute the Bayesian information criterion; lower is better.

        Minus twice the log-likelihood, without penalties, plus ``n_parameters_`` times the
        logarithm of the sum of the weights.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, as given to fit.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default. A row of weight 2 counts as two rows.
        exposure : array-like of shape (n_samples,), default=None
            What counts are counted in, as given to fit.

        Returns
        -------
        float
            In units of twice the log-likelihood.

        Raises
        ------
        TypeError
            If the parameters of a part cannot be counted.

        References
        ----------
        Schwarz, G. (1978). Estimating the dimension of a model. Annals of Statistics 6,
        461-464.
        """
        return self._criteria(X, y, sample_weight, exposure)["bic"]

    def icl(self, X, y, sample_weight=None, exposure=None):
        """Compute the integrated completed likelihood criterion; lower is better.

        The Bayesian information criterion plus twice the entropy of the responsibilities:
        experts that share rows count against a mixture.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, as given to fit.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default. A row of weight 2 counts as two rows.
        exposure : array-like of shape (n_samples,), default=None
            What counts are counted in, as given to fit.

        Returns
        -------
        float
            In units of twice the log-likelihood.

        Raises
        ------
        TypeError
            If the parameters of a part cannot be counted.

        References
        ----------
        Biernacki, C., Celeux, G. and Govaert, G. (2000). Assessing a mixture model for
        clustering with the integrated completed likelihood. IEEE Transactions on Pattern
        Analysis and Machine Intelligence 22, 719-725.
        """
        return self._criteria(X, y, sample_weight, exposure)["icl"]

    def _criteria(self, X, y, sample_weight, exposure=None):
        check_is_fitted(self)
        if self.n_parameters_ is None:
            raise TypeError(
                f"{' and '.join(self._uncounted())}: free parameters cannot be counted, so "
                f"there are no information criteria; compare log_likelihood(X, y) on rows "
                f"that fit has not seen."
            )
        if exposure is not None and hasattr(self, "classes_"):
            raise ValueError("exposure is for counts; leave it out for a classifier.")
        resp, loglik = self._posterior(X, y, exposure)
        weight = check_weight(sample_weight, loglik)
        seen = weight > 0  # a row of weight zero may be impossible
        each = [resp] if resp.ndim == 2 else np.moveaxis(resp, 2, 0)
        entropy = sum(confusion(one[seen], weight[seen]) for one in each)
        total = float(weight[seen] @ loglik[seen])
        return criteria(total, entropy, self.n_parameters_, weight.sum())

    def _uncounted(self):
        """Names of the parts without ``n_parameters()``."""
        names = [
            type(p).__name__ for p in (self._parts.gate, self._parts.likelihood) if not countable(p)
        ]
        if not countable(self._parts.experts):
            names += sorted({type(expert).__name__ for expert in self.experts_})
        return names
