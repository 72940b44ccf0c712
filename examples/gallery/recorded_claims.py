"""
Counts with exposure: when one expert is enough
===============================================

Claims of car insurance in 64 cells of district, size of car and age of driver (Baxter, Coutts
and Ross, 1980). Claims are in proportion to the number of policy holders, which is given as
``exposure``; to ignore it costs 0.8 in log-likelihood per cell. A second expert does not pay on
64 rows: it costs 0.4.

The data may not be shipped: ``SKMOE_DATA`` names the folder that has them. What follows was
recorded:

.. literalinclude:: ../recorded/claims.txt
   :language: none

.. image:: ../images/recorded_claims.png
   :alt: Held-out log-likelihood by number of experts, and observed against expected claims
"""

# sphinx_gallery_thumbnail_path = 'images/recorded_claims.png'
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import KFold

from skmoe import MoERegressor
from skmoe.datasets import read_dataset

data = read_dataset("motor_insurance")
claims, holders = data.target.to_numpy(), data.data["Holders"].to_numpy(dtype=float)
cells = data.data[["District", "Group", "Age"]].astype(str)
X = pd.get_dummies(cells, drop_first=True, dtype=float)
folds = KFold(4 if "SKMOE_QUICK" in os.environ else 16, shuffle=True, random_state=0)


def held_out(n_experts, exposure):
    """Log-likelihood per cell, each fold held out in turn; expected claims; gate probabilities."""
    loglik, expected = np.empty(len(X)), np.empty(len(X))
    gate = np.empty((len(X), n_experts))
    for train, test in folds.split(X):
        model = MoERegressor(n_experts=n_experts, likelihood="poisson", random_state=0)
        model.fit(X.iloc[train], claims[train], exposure=exposure[train])
        loglik[test] = model.log_likelihood(X.iloc[test], claims[test], exposure=exposure[test])
        expected[test] = model.predict(X.iloc[test], exposure=exposure[test])
        gate[test] = model.gate_proba(X.iloc[test])
    return loglik.mean(), expected, gate


counts = (1, 2, 3)
runs = {
    name: [held_out(n_experts, exposure) for n_experts in counts]
    for name, exposure in (("ignored", np.ones(len(X))), ("holders", holders))
}
for name, run in runs.items():
    for n_experts, (loglik, _, gate) in zip(counts, run):
        load = np.bincount(gate.argmax(axis=1), minlength=n_experts)
        print(
            f"exposure {name:<8} {n_experts} expert(s): log-likelihood {loglik:7.3f} per cell, "
            f"load {load.tolist()}"
        )

# %%
# Left: higher is better. Right: every cell was predicted by a model that had not seen it.
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for name, run in runs.items():
    axes[0].plot(counts, [loglik for loglik, _, _ in run], "o-", label=f"exposure: {name}")
axes[0].set_xticks(counts)
axes[0].set_xlabel("experts")
axes[0].set_ylabel("held-out log-likelihood per cell")
axes[0].legend(frameon=False)
axes[1].plot(runs["holders"][0][1], claims, "o", markersize=4)
axes[1].axline((1, 1), slope=1, color="0.7", zorder=0)
axes[1].set_xscale("log")
axes[1].set_yscale("symlog", linthresh=1)
axes[1].set_ylim(-0.5)
axes[1].set_xlabel("expected claims, one expert")
axes[1].set_ylabel("claims")
plt.show()
