"""What a fitted mixture tells about itself."""

from __future__ import annotations

from typing import Any

from .explanation import explain, gate_importance, routing_rules
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

    def explain(self, X, exposure=None) -> Any:
        """Take predictions apart: who decides, and what each expert contributes.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        exposure : array-like of shape (n_samples,), default=None
            Of counts, as in `fit`.

        Returns
        -------
        DataFrame
            Weights, predictions and contributions of all experts, which add up to the
            prediction of each row; see `skmoe.explanation.explain`.

        Raises
        ------
        ValueError
            If ``combine`` is a rule that is no weighted sum.
        """
        return explain(self, X, exposure)

    def gate_importance(
        self,
        X,
        y,
        sample_weight=None,
        *,
        n_repeats: int = 5,
        random_state=None,
    ) -> Any:
        """Rank features by what they matter to the gate.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features; best of rows that the model has not seen.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as given to fit.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.
        n_repeats : int, default=5
            Permutations of each column.
        random_state : int, RandomState instance or None, default=None
            Source of permutations.

        Returns
        -------
        DataFrame
            Loss of log-likelihood, change of the routing and coefficient by feature; see
            `skmoe.explanation.gate_importance`.
        """
        options = {"n_repeats": n_repeats, "random_state": random_state}
        return gate_importance(self, X, y, sample_weight, **options)

    def routing_rules(self, X, *, max_rules: int = 8, random_state=0) -> Any:
        """Describe by a few rules where the gate sends rows.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows to describe.
        max_rules : int, default=8
            Most rules.
        random_state : int, RandomState instance or None, default=0
            For the rows that are held out to measure fidelity.

        Returns
        -------
        RoutingRules
            Print it; see `skmoe.explanation.routing_rules`.
        """
        return routing_rules(self, X, max_rules=max_rules, random_state=random_state)
