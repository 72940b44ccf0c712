"""A mixture of linear experts along a path of penalties."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils import Bunch

from ._validation import templates_of
from .experts.linear import LinearExpert
from .gates.softmax import SoftmaxGate

__all__ = ["penalty_path"]


def penalty_path(
    model,
    X,
    y,
    alphas,
    *,
    gate_alphas=None,
    sample_weight=None,
    validation=None,
) -> Any:
    """Fit along a path of penalties, each fit from the one before.

    Where most columns are noise, begin with penalties that are weak enough for the regimes
    to show, and go on to stronger ones: the regimes stay, and columns leave. A strong
    penalty from the start would see no regimes.

    Parameters
    ----------
    model : MoERegressor or MoEClassifier
        With linear experts and a softmax gate; not changed.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Features.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    alphas : sequence of float
        Values of ``LinearExpert.alpha``, in the order of the path.
    gate_alphas : sequence of float, default=None
        Values of ``SoftmaxGate.alpha``, as many; by default that of the model.
    sample_weight : array-like of shape (n_samples,), default=None
        As in ``fit``.
    validation : tuple (X, y), default=None
        Rows on which the log-likelihood is measured.

    Returns
    -------
    Bunch
        ``models``: fitted estimators, one per step. ``table``: a DataFrame with a row per
        step and the columns ``alpha``, ``gate_alpha``, ``objective``, ``n_expert_features``
        and ``n_gate_features`` (columns that some expert, or the gate, uses),
        ``converged`` and, with ``validation``, ``log_likelihood`` (mean per row).

    Raises
    ------
    ValueError
        If experts are not linear, or the sequences are empty or of different lengths.

    Examples
    --------
    >>> from skmoe import MoERegressor, penalty_path
    >>> from skmoe.datasets import make_moe_regression
    >>> from skmoe.experts import LinearExpert
    >>> X, y = make_moe_regression(300, 20, n_experts=2, n_informative=3, random_state=2)
    >>> model = MoERegressor(LinearExpert(l1_ratio=1.0), n_experts=2, max_iter=1000)
    >>> path = penalty_path(model, X, y, [3.0, 12.0])
    >>> bool(path.table.n_expert_features[1] < path.table.n_expert_features[0])
    True
    """
    alphas = list(alphas)
    if templates_of(model.experts):
        raise ValueError("penalty_path: experts must be linear, such as LinearExpert(l1_ratio=1).")
    gate = SoftmaxGate() if isinstance(model.gate, str) else model.gate
    gate_alphas = [gate.alpha] * len(alphas) if gate_alphas is None else list(gate_alphas)
    if not alphas or len(gate_alphas) != len(alphas):
        raise ValueError(
            f"alphas has {len(alphas)} values and gate_alphas {len(gate_alphas)}; give as many "
            f"of both, at least one."
        )
    expert = LinearExpert() if model.experts is None else model.experts
    current = clone(model).set_params(experts=clone(expert), gate=clone(gate), warm_start=True)
    models, rows = [], []
    for alpha, gate_alpha in zip(alphas, gate_alphas):
        current.set_params(experts__alpha=alpha, gate__alpha=gate_alpha)
        current.fit(X, y, sample_weight=sample_weight)
        models.append(copy.deepcopy(current).set_params(warm_start=model.warm_start))
        rows.append(_row(current, alpha, gate_alpha, validation))
    return Bunch(models=models, table=pd.DataFrame(rows))


def _row(model, alpha, gate_alpha, validation):
    slopes = [np.atleast_2d(expert.coef_) for expert in model.experts_]
    row = {
        "alpha": alpha,
        "gate_alpha": gate_alpha,
        "objective": model.objective_,
        "n_expert_features": int(np.any(np.vstack(slopes) != 0.0, axis=0).sum()),
        "n_gate_features": int(np.any(model.gate_.coef_ != 0.0, axis=0).sum()),
        "converged": model.converged_,
    }
    if validation is not None:
        row["log_likelihood"] = float(np.mean(model.log_likelihood(*validation)))
    return row
