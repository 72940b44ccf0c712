"""
Regimes of a crash: the motorcycle data
=======================================

The head of a dummy after an impact: at rest, thrown back, swinging. One line cannot follow it, and
one variance cannot describe the noise. Four lines, each with its own noise, can, and the gate says
from when to when each holds.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.datasets import load_mcycle
from skmoe.inspection import ExpertsDisplay, GateDisplay

X, y = load_mcycle(return_X_y=True, as_frame=True)
one = MoERegressor(n_experts=1).fit(X, y)
model = MoERegressor(n_experts=4, random_state=0).fit(X, y)

figure, axes = plt.subplots(2, 1, figsize=(7, 7), layout="constrained", sharex=True)
ExpertsDisplay.from_estimator(model, X, y, feature="times", ax=axes[0])
GateDisplay.from_estimator(model, X, "times", ax=axes[1])
plt.show()

# %%
# Ten folds, log-likelihood of held-out rows: noise that is the same everywhere costs much at rest.
from sklearn.model_selection import KFold, cross_val_score

from skmoe.metrics import log_likelihood

folds = KFold(10, shuffle=True, random_state=0)
for name, estimator in (("one line", one), ("four lines", model)):
    scores = cross_val_score(estimator, X, y, cv=folds, scoring=log_likelihood)
    print(f"{name:<11} {scores.mean():6.3f} per row")

# %%
# Load: what share of the rows each expert leads, by time.
leader = model.gate_proba(X).argmax(axis=1)
for k in range(4):
    times = X["times"][leader == k]
    noise = float(np.ravel(model.likelihood_.scale_)[k])
    span = f"{times.min():4.1f} to {times.max():4.1f} ms"
    print(f"expert {k}: {span}, {len(times)} rows, noise {noise:.0f} g")
