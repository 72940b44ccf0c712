"""
Few experts per row: what it costs and what it saves
====================================================

Sixteen forests, of which each row asks one, two, four or all. Only the chosen ones run.
``top_k`` may be set after the fit, so that one model serves both a fast and an exact answer. On
these data one forest of the same size predicts as well as the sixteen: the example shows what
routing costs, not a gain in accuracy.
"""

import os
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from skmoe import MoERegressor
from skmoe.datasets import load_diamonds

warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations are enough here

quick = "SKMOE_QUICK" in os.environ
X, y = load_diamonds(return_X_y=True, as_frame=True)
X = X.select_dtypes("number").to_numpy()
rows = np.random.RandomState(0).permutation(len(y))[: 3000 if quick else 20000]
X, y = X[rows], np.log(y.to_numpy()[rows])
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
forest = RandomForestRegressor(5 if quick else 20, max_depth=8)
model = MoERegressor(
    forest, n_experts=16, top_k=2, routing="token", max_iter=8, tol=1e-2, random_state=0
).fit(X_train, y_train)


def seconds(fitted):
    """Best of three predictions."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        fitted.predict(X_test)
        times.append(time.perf_counter() - began)
    return min(times)


chosen, scores, costs = [1, 2, 4, 8, 16], [], []
for top_k in chosen:
    model.set_params(top_k=top_k)
    scores.append(model.score(X_test, y_test))
    costs.append(seconds(model))
    print(f"top_k={top_k:<3} R2 {scores[-1]:.4f}, {1e6 * costs[-1] / len(y_test):.1f} us a row")
one = RandomForestRegressor(5 if quick else 20, max_depth=8, random_state=0).fit(X_train, y_train)
took = 1e6 * seconds(one) / len(y_test)
print(f"one forest R2 {one.score(X_test, y_test):.4f}, {took:.1f} us a row")
load = model.set_params(top_k=2).route(X_test)[0]
print("load %:", np.round(100 * np.bincount(load[:, 0], minlength=16) / len(load)).astype(int))

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
axes[0].plot(chosen, scores, "o-")
axes[0].set_ylabel("R² of held-out rows")
axes[1].plot(chosen, np.array(costs) / costs[-1], "o-", color="C1")
axes[1].set_ylabel("time of a prediction, share of all 16")
axes[1].set_ylim(0, 1.05)
for axis in axes:
    axis.set_xscale("log", base=2)
    axis.set_xticks(chosen, chosen)
    axis.set_xlabel("experts per row")
plt.show()
