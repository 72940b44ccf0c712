"""
Mixture against boosting, honestly
==================================

On the strength of concrete a mixture of lines is far better than one line and less accurate than
boosted trees. Its predictive distribution is what it is good at: a mixture of boosted experts
claims the right noise where one boosted model has the same noise everywhere.
"""

import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

from skmoe import MoERegressor
from skmoe.datasets import load_concrete

warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations are enough here

X, y = load_concrete(return_X_y=True)
quick = "SKMOE_QUICK" in os.environ
if quick:
    X, y = X[::3], y[::3]
folds = KFold(2 if quick else 5, shuffle=True, random_state=1)
boosting = HistGradientBoostingRegressor(max_iter=60, random_state=0)
models = {
    "one line": Ridge(),
    "boosting": boosting,
    "4 lines": MoERegressor(n_experts=4, random_state=0),
    "3 x boosting": MoERegressor(boosting, n_experts=3, max_iter=15, tol=1e-2, random_state=0),
}


def judge(model):
    """Squared errors and log-likelihoods of held-out rows."""
    errors, loglik = np.empty(len(y)), np.empty(len(y))
    for train, test in folds.split(X):
        model.fit(X[train], y[train])
        errors[test] = np.square(y[test] - model.predict(X[test]))
        if hasattr(model, "log_likelihood"):
            loglik[test] = model.log_likelihood(X[test], y[test])
            continue
        # One variance for all rows, from errors out of fold.
        inner = cross_val_predict(model, X[train], y[train], cv=3)
        variance = np.mean(np.square(y[train] - inner))
        loglik[test] = -0.5 * (np.log(2 * np.pi * variance) + errors[test] / variance)
    return np.sqrt(errors.mean()), loglik.mean()


scores = {name: judge(model) for name, model in models.items()}
for name, (rmse, loglik) in scores.items():
    print(f"{name:<13} RMSE {rmse:5.2f} MPa, log-likelihood {loglik:.3f} per row")

# %%
# Load of the four lines: what share of each age of concrete each leads.
ages = pd.cut(X[:, -1], [0, 7, 28, 90, 400], labels=["to 7 days", "to 28", "to 90", "older"])
leader = models["4 lines"].gate_proba(X).argmax(axis=1)
table = pd.crosstab(ages, leader, rownames=["age"], colnames=["leader"], normalize="index")
print(table.round(2).to_string())

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained", sharey=True)
for axis, column, label in zip(axes, (0, 1), ("RMSE, MPa", "log-likelihood per row")):
    values = [pair[column] for pair in scores.values()]
    axis.plot(values, list(scores), "o", color="C0", markersize=8)
    axis.set_xlabel(label)
    axis.grid(axis="x", alpha=0.3)
axes[0].invert_yaxis()
axes[0].set_title("lower is better", fontsize=10)
axes[1].set_title("higher is better", fontsize=10)
plt.show()
