"""
Regimes of a real table: what makes a diamond dear
==================================================

The logarithm of the price is nearly linear in the logarithm of the weight, but not with the same
slope, nor with the same value of colour and clarity, for small and large stones. Three linear
experts find where the exchange rates change, and can still be read.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from skmoe import MoERegressor
from skmoe.datasets import load_diamonds
from skmoe.inspection import CoefficientsDisplay

X, y = load_diamonds(return_X_y=True, as_frame=True)
rows = np.random.RandomState(0).permutation(len(y))
rows = rows[: 3000 if "SKMOE_QUICK" in os.environ else 20000]
X, y = X.iloc[rows], np.log(y.iloc[rows])
ranks = {name: X[name].cat.codes for name in ("cut", "color", "clarity")}
features = pd.DataFrame(
    {"log carat": np.log(X["carat"]), **ranks, "depth": X["depth"], "table": X["table"]}
)
X_train, X_test, y_train, y_test = train_test_split(features, y, random_state=0)

models = {}
for n_experts in (1, 3):
    model = MoERegressor(n_experts=n_experts, random_state=0).fit(X_train, y_train)
    models[n_experts] = model
    print(
        f"{n_experts} experts: R2 {model.score(X_test, y_test):.4f}, log-likelihood "
        f"{model.log_likelihood(X_test, y_test).mean():.3f} per held-out row"
    )

# %%
# A row of the picture is an expert: slopes for one standard deviation of each feature.
CoefficientsDisplay.from_estimator(models[3], X_train)
plt.show()

# %%
# Which stones each expert leads.
leader = np.array(models[3].expert_names_)[models[3].gate_proba(X_test).argmax(axis=1)]
carat = np.exp(X_test["log carat"])
print(carat.groupby(leader).describe()[["count", "25%", "50%", "75%"]].round(2))
