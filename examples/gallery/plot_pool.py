"""
A pool of models that are already there
=======================================

Five regressors of different kinds, each trained once on all rows, and a gate that learns from
out-of-fold predictions whom to trust where. No expert is trained for the mixture's sake.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import MoERegressor
from skmoe.datasets import load_concrete

X, y = load_concrete(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
n_trees = 20 if "SKMOE_QUICK" in os.environ else 100
pool = [
    ("ridge", make_pipeline(StandardScaler(), Ridge())),
    ("boosting", HistGradientBoostingRegressor(random_state=0)),
    ("forest", RandomForestRegressor(n_trees, random_state=0)),
    ("neighbours", make_pipeline(StandardScaler(), KNeighborsRegressor())),
]
model = MoERegressor(pool, solver="pool", random_state=0).fit(X_train, y_train)

rows = {}
for name, member in pool:
    alone = MoERegressor([(name, member)], solver="pool", random_state=0).fit(X_train, y_train)
    rows[name] = alone
rows["mixture"] = model
for name, fitted in rows.items():
    rmse = np.sqrt(np.mean(np.square(y_test - fitted.predict(X_test))))
    loglik = fitted.log_likelihood(X_test, y_test).mean()
    print(f"{name:<11} RMSE {rmse:5.2f} MPa, log-likelihood {loglik:.3f}")

# %%
# Whom the gate trusts, by the age of the concrete.
ages = pd.cut(X_test["age"], [0, 7, 28, 90, 400], labels=["to 7 days", "to 28", "to 90", "older"])
trust = pd.DataFrame(model.gate_proba(X_test), columns=model.expert_names_)
trust = trust.groupby(ages.to_numpy(), observed=True).mean().reindex(ages.cat.categories)
axis = trust.plot.barh(stacked=True, figsize=(7, 3), width=0.7)
axis.set_xlabel("mean gate probability")
axis.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
axis.figure.set_layout_engine("constrained")
plt.show()
