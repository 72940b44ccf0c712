"""What a fitted mixture tells about itself."""

from .inference._report import report


class Explanations:
    """Methods of a fitted mixture that both estimators share."""

    def report(
        self,
        X,
        y,
        sample_weight=None,
        *,
        covariance="observed",
        groups=None,
        reference=0,
        level=0.95,
        exposure=None,
    ):
        """Print a regression-style table of gate and linear experts, and return it.

        A column for each expert: coefficients in units of the features and target as
        given, standard errors in brackets, and stars for p-values of Wald tests.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            The features that the model was fitted to.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets that it was fitted to.
        sample_weight : array-like of shape (n_samples,), default=None
            The weights of the fit; ones by default.
        covariance : {"observed", "robust"}, default="observed"
            From the observed information, or the sandwich; see
            `skmoe.inference.standard_errors`.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that are not independent; they make the covariance robust to it.
        reference : int or str, default=0
            Expert whose gate coefficients are zero.
        level : float, default=0.95
            Coverage of the confidence intervals in the table that is returned.
        exposure : array-like of shape (n_samples,), default=None
            Of counts, as in `fit`.

        Returns
        -------
        DataFrame
            A row for each coefficient; see `skmoe.inference.StandardErrors.table`.

        Raises
        ------
        TypeError
            If gate or experts have no coefficients.
        """
        return report(
            self,
            X,
            y,
            sample_weight,
            exposure=exposure,
            level=level,
            covariance=covariance,
            groups=groups,
            reference=reference,
        )
