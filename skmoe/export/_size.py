"""How many bytes a mixture has, and how many of them a row needs."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted


def model_size(model) -> dict[str, Any]:
    """Measure the bytes of a fitted mixture, in all and for one row.

    A part is as large as its pickle, which leaves out nothing that predictions need.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        Whatever its parts.

    Returns
    -------
    Series
        ``gate`` and ``experts``: bytes of the gate and of all experts; ``total``: both;
        ``active``: the gate and the ``top_k`` largest experts, the most that a row needs;
        ``parameters``: number of free parameters, NaN where a part does not tell.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skmoe import MoERegressor
    >>> from skmoe.export import model_size
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> tree = DecisionTreeRegressor(max_depth=3)
    >>> model = MoERegressor(tree, n_experts=4, top_k=1, random_state=0)
    >>> size = model_size(model.fit(X, np.abs(X[:, 0])))
    >>> bool(size["active"] < size["total"])
    True
    """
    check_is_fitted(model)
    gate = _bytes(model.gate_)
    experts = np.sort([_bytes(expert) for expert in model.experts_])[::-1]
    _, top_k = model._rule
    parameters = model.n_parameters_
    return pd.Series(
        {
            "gate": gate,
            "experts": int(experts.sum()),
            "total": gate + int(experts.sum()),
            "active": gate + int(experts[:top_k].sum()),
            "parameters": np.nan if parameters is None else parameters,
        },
        name="bytes",
    )


def _bytes(part):
    return len(pickle.dumps(part, protocol=pickle.HIGHEST_PROTOCOL))
