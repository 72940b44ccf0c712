"""
A new regime: add an expert, leave the others alone
===================================================

A model of diamonds was fitted when only stones up to one carat were sold. Now larger ones come
in. ``add_expert`` trains one more expert and the gate's row for it; the old experts stay as
they are, bit for bit. (One line that is refitted to all stones is as good for the large ones, and
worse for the small ones.)
"""

import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from skmoe import MoERegressor
from skmoe.datasets import load_diamonds

X, y = load_diamonds(return_X_y=True, as_frame=True)
X = X.select_dtypes("number")
rows = np.random.RandomState(0).permutation(len(y))
rows = rows[: 3000 if "SKMOE_QUICK" in os.environ else 20000]
X, y = X.iloc[rows], np.log(y.iloc[rows])
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
small = X_train["carat"] <= 1.0

model = MoERegressor(n_experts=3, random_state=0).fit(X_train[small], y_train[small])
old = [expert.coef_.copy() for expert in model.experts_]


def error(fitted):
    """Root mean squared error of held-out stones, by size."""
    residual = np.square(y_test - fitted.predict(X_test))
    groups = np.where(X_test["carat"] <= 1.0, "small", "large")
    return np.sqrt(residual.groupby(groups).mean())


results = {"small stones only": error(model)}
model.add_expert(X_train, y_train)

assert all(np.array_equal(a, b.coef_) for a, b in zip(old, model.experts_))
results["one expert added"] = error(model)
anew = MoERegressor(n_experts=4, random_state=0).fit(X_train, y_train)
results["all retrained"] = error(anew)
results["one line"] = error(MoERegressor(n_experts=1).fit(X_train, y_train))
for name, by_size in results.items():
    print(f"{name:<18}" + "  ".join(f"{size} {value:.3f}" for size, value in by_size.items()))

# %%
# Load: what share of the held-out stones of a size each expert leads.
names = np.array(model.expert_names_)
leader = names[model.gate_proba(X_test).argmax(axis=1)]
sizes = np.where(X_test["carat"] <= 1.0, "small", "large")
table = pd.crosstab(sizes, leader, rownames=["size"], colnames=["leader"], normalize="index")
print(table.round(2).to_string())

# %%
# The new expert takes what is new.
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
proba, order = model.gate_proba(X_test), np.argsort(X_test["carat"].to_numpy())
carat = X_test["carat"].to_numpy()[order]
bins = np.array_split(np.arange(len(carat)), 40)
for k, name in enumerate(model.expert_names_):
    share = [proba[order, k][part].mean() for part in bins]
    newest = k == model.n_experts_ - 1
    axis.plot(
        [carat[part].mean() for part in bins],
        share,
        label=f"{name} (new)" if newest else name,
        linewidth=2.5 if newest else 1.2,
    )
axis.set_xlabel("carat")
axis.set_ylabel("mean gate probability")
axis.legend(frameon=False)
plt.show()
