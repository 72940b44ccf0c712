"""Experts that come and go in a fitted mixture."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._door import check_lengths
from ._em import load
from ._failures import renormalised
from ._living import Living
from ._ops import get_ops
from ._outputs import refuse_by_output
from ._path import posterior
from ._some import linear_stand_in, starts_of_split, starts_of_worst
from ._validation import check_weight

if TYPE_CHECKING:
    from typing_extensions import Self


class ExpertLife(Living):
    """Methods that change the experts of a fitted mixture."""

    def add_expert(
        self,
        X,
        y,
        expert=None,
        *,
        name: str | None = None,
        sample_weight=None,
        polish: bool = False,
    ) -> Self:
        """Add an expert; the others stay as they are, to the last bit.

        The new expert, its noise and its row of the gate are trained by EM, from starts
        that give it the rows which the mixture explains worst.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows of the new regime together with rows of the old ones, in about the
            proportions of later use: they decide where the gate prefers the new expert.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; classes that fit has seen.
        expert : estimator, default=None
            Template of the new expert. By default one more like the others. A
            ``FrozenEstimator`` is used as it is, and only the gate's row is trained.
        name : str, default=None
            Its name in ``expert_names_``; by default ``"expert_"`` and its number.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.
        polish : bool, default=False
            Train all experts and the gate afterwards, from where they stand.

        Returns
        -------
        self : estimator
            With one more expert, the last.

        Raises
        ------
        ValueError, TypeError
            Before anything is changed.
        """
        data = self._life_data(X, y, sample_weight)
        n_old = self.n_experts_
        name = self._new_names([name], [f"expert_{n_old}"])[0]
        new = self._unfitted(expert, [name])
        free, fixed = [n_old], _with_column(self._log_lik(data))
        parts = self._room([*range(n_old), 0], new, data)
        resp, loglik = posterior(data, self._parts)
        starts = starts_of_worst(data, resp, loglik)
        result, data = self._train_some(data, parts, fixed, free, starts)
        self._settle(data, result, free, [*range(n_old), 0], "add_expert", {n_old: name}, polish)
        return self

    def split_expert(
        self, which, X, y, *, names=None, sample_weight=None, polish=False, force=False
    ):
        """Replace an expert by two, which share its region; the others stay as they are.

        The two are of its own kind, trained out of fold where `fit` would do so. A split
        that ends with a lower objective than one expert trained in the same way is not
        made, and a warning says so.

        Parameters
        ----------
        which : int or str
            Number or name of the expert.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        names : pair of str, default=None
            Names of the two; by default that of the expert, and ``"expert_"`` and the
            number of the new one.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.
        polish : bool, default=False
            Train all experts and the gate afterwards, from where they stand.
        force : bool, default=False
            Make the split whatever its objective.

        Returns
        -------
        self : estimator
            With one more expert: the second half is the last, the first takes the place
            of what was split. As it was if the split does not pay.
        """
        k, n_old = self._number(which), self.n_experts_
        data = self._life_data(X, y, sample_weight)
        pair = [None, None] if names is None else list(names)
        if len(pair) != 2:
            raise ValueError(f"names={names!r} must be two names, one for each half.")
        pair = self._new_names(pair, [self.expert_names_[k], f"expert_{n_old}"], gone=[k])
        template = self._own_template(k)
        free, order = [k, n_old], [*range(n_old), k]
        fixed = _with_column(self._log_lik(data))
        parts = self._room(order, self._unfitted(template, pair), data)
        linear, one = linear_stand_in(data, parts.likelihood, 1)
        one.likelihood = parts.likelihood.selected([0])
        resp = posterior(data, self._parts)[0]
        starts = starts_of_split(linear, one, resp, k)
        result, folded = self._train_some(data, parts, fixed, free, starts)
        whole = None if force else self._retrained(k, template, data, resp).objective
        if whole is not None and result.objective < whole:
            warnings.warn(
                f"A split of expert {self.expert_names_[k]!r} does not pay: the objective would "
                f"be {result.objective:.4f}, and {whole:.4f} with one expert in its place; it "
                f"was not made. force=True makes it all the same.",
                UserWarning,
                stacklevel=2,
            )
            return self
        data = folded
        self._settle(data, result, free, order, "split_expert", dict(zip(free, pair)), polish)
        return self

    def merge_experts(
        self,
        a,
        b,
        X,
        y,
        *,
        name: str | None = None,
        sample_weight=None,
        polish: bool = False,
    ) -> Self:
        """Replace two experts by one for the rows of both; the others stay as they are.

        Parameters
        ----------
        a, b : int or str
            Numbers or names of the experts. The new one is of the kind of ``a``.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Features, in the form that fit had.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        name : str, default=None
            Name of the new expert; by default that of ``a``.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.
        polish : bool, default=False
            Train all experts and the gate afterwards, from where they stand.

        Returns
        -------
        self : estimator
            With one expert less; the new one takes the place of the first of the two.
        """
        a, b = self._number(a), self._number(b)
        if a == b:
            raise ValueError(f"a and b are both expert {self.expert_names_[a]!r}; name two.")
        data = self._life_data(X, y, sample_weight)
        name = self._new_names([name], [self.expert_names_[a]], gone=[a, b])[0]
        new = self._unfitted(self._own_template(a), [name])
        order = [k for k in range(self.n_experts_) if k != max(a, b)]
        free = [min(a, b)]
        resp = posterior(data, self._parts)[0]
        resp[:, free[0]] += resp[:, max(a, b)]
        parts, fixed = self._room(order, new, data), self._log_lik(data)[:, order]
        starts = [np.ascontiguousarray(resp[:, order])]
        result, data = self._train_some(data, parts, np.ascontiguousarray(fixed), free, starts)
        self._settle(data, result, free, order, "merge_experts", {free[0]: name}, polish)
        return self

    def remove_expert(self, which) -> Self:
        """Leave experts out; the gate is renormalised over the rest.

        Parameters
        ----------
        which : int, str or list of these
            Numbers or names of the experts.

        Returns
        -------
        self : estimator
            ``load_`` of the rest is divided by its sum, since the rows are not known here;
            ``objective_`` and ``history_`` are of the last training.
        """
        check_is_fitted(self)
        which = which if isinstance(which, (list, tuple, set, np.ndarray)) else [which]
        gone = {self._number(one) for one in which}
        kept = [k for k in range(self.n_experts_) if k not in gone]
        if not kept:
            raise ValueError("which names all experts; one at least must be left.")
        if gone:
            share = self.load_[kept]
            total = share.sum()
            self._keep_only(kept)
            self.load_ = share / total if total > 0 else np.full(len(kept), 1.0 / len(kept))
        return self

    def prune(
        self,
        X,
        y=None,
        *,
        by: str = "load",
        threshold: float | None = None,
        sample_weight=None,
    ) -> Self:
        """Remove experts that are hardly used, or that the likelihood does not miss.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            For ``by="loss"`` rows that the model has not been trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets; only ``by="loss"`` needs them.
        by : {"load", "loss"}, default="load"
            "load": remove every expert that is the most probable one of less than
            ``threshold`` of the weight. "loss": remove, one by one, the expert without which
            the mean log-likelihood is highest, for as long as it falls by no more than
            ``threshold`` in all.
        threshold : float, default=None
            By default 0.01 for "load" and 0.001 for "loss".
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; ones by default.

        Returns
        -------
        self : estimator
            With the experts that are left, one at least. ``load_`` is of the given rows.
        """
        if by not in ("load", "loss"):
            raise ValueError(f"by={by!r} is unknown; use 'load' or 'loss'.")
        if threshold is not None and not (isinstance(threshold, Real) and threshold >= 0):
            raise ValueError(f"threshold={threshold!r} must be a number of at least 0.")
        if by == "loss" and y is None:
            raise ValueError("prune(by='loss') needs targets y.")
        check_is_fitted(self)
        refuse_by_output(self, "prune")
        rows = self._rows(X)
        log_gate, weight = self._log_gate(rows), check_weight(sample_weight, rows)
        if by == "load":
            share = load(self._preference(log_gate), weight)
            kept = np.flatnonzero(share >= (0.01 if threshold is None else threshold))
            kept = kept if len(kept) else np.array([np.argmax(share)])
        else:
            pred = self._parts.experts.predict(self._expert_rows(rows))
            check_lengths(rows, y)
            log_lik = self.likelihood_.log_lik(self._decode_target(y), pred)
            kept = _missed(log_gate, log_lik, weight, 1e-3 if threshold is None else threshold)
        if len(kept) < self.n_experts_:
            self._keep_only([int(k) for k in kept])
            self.load_ = load(self._preference(self._log_gate(rows)), weight)
        return self


def _with_column(log_lik):
    """Room (n, K + 1) for one more expert."""
    return np.column_stack([log_lik, np.zeros(len(log_lik))])


def _missed(log_gate, log_lik, weight, threshold):
    """Experts that the log-likelihood would miss, by greedy removal."""

    def mean_loglik(kept):
        resp, loglik = np.empty((len(weight), len(kept))), np.empty(len(weight))
        used = np.ascontiguousarray(log_lik[:, kept])
        get_ops().e_step(renormalised(log_gate[:, kept]), used, resp, loglik)
        return weight @ loglik / weight.sum()

    kept = list(range(log_gate.shape[1]))
    least = mean_loglik(kept) - threshold
    while len(kept) > 1:
        rest = [[k for k in kept if k != gone] for gone in kept]
        best = max(rest, key=mean_loglik)
        if mean_loglik(best) < least:
            break
        kept = best
    return kept
