"""
Counts: patents of seventy firms
================================

How many patents a firm holds grows with what it spends on research, but not in the same way for
all. Three Poisson regressions on the logarithm of the spending, and a gate that looks at
spending per sale, are the model of Wang, Cockburn and Puterman (1998). The gate and the experts
see different columns, by name.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmoe import MoERegressor
from skmoe.datasets import load_patent
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate

X, y = load_patent(return_X_y=True, as_frame=True)


def poisson(n_experts):
    """Maximum likelihood: no penalties."""
    return MoERegressor(
        LinearExpert(alpha=0.0),
        n_experts,
        gate=SoftmaxGate(alpha=0.0),
        likelihood="poisson",
        gate_features=["RDS"],
        expert_features=["lgRD"],
        n_init=10,
        tol=1e-9,
        max_iter=1000,
        random_state=0,
    ).fit(X, y)


models = {n_experts: poisson(n_experts) for n_experts in (1, 2, 3)}
for n_experts, model in models.items():
    total = model.log_likelihood(X, y).sum()
    print(f"{n_experts} experts: log-likelihood {total:8.2f}, BIC {model.bic(X, y):7.2f}")

# %%
# Left: firms in the colour of their most responsible expert, and the three curves. Right: what the
# gate makes of spending per sale.
model = models[3]
resp = model.responsibilities(X, y).argmax(axis=1)
order = np.argsort(X["lgRD"].to_numpy())
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for k in range(3):
    rows = resp == k
    axes[0].plot(X["lgRD"][rows], y[rows], "o", markersize=4, color=f"C{k}")
    axes[0].plot(X["lgRD"].iloc[order], model.experts_[k].predict(X[["lgRD"]].iloc[order]))
axes[0].set_xlabel("logarithm of spending on research")
axes[0].set_ylabel("patents")
axes[0].set_ylim(-5, 1.1 * y.max())
grid = pd.DataFrame({name: np.full(200, X[name].mean()) for name in X.columns})
grid["RDS"] = np.linspace(0, X["RDS"].max(), 200)
axes[1].plot(grid["RDS"], model.gate_proba(grid))
axes[1].set_xlabel("spending on research per sale")
axes[1].set_ylabel("gate probability")
plt.show()

# %%
# Load: firms by their most responsible expert.
print(pd.Series(resp, name="firms").value_counts().sort_index().to_string())
