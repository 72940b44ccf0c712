"""
A stream whose regime changes
=============================

Electricity demand, say, against temperature, until one day heat pumps come in. ``partial_fit``
learns from batches; with ``forgetting`` old batches count less and less, and the mixture
follows the change. (The stream is drawn, so that the moment of the change is known.)
"""

import os

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.solvers import EM

rng = np.random.RandomState(0)
n_batches, size = (30, 200) if "SKMOE_QUICK" in os.environ else (100, 200)
change = n_batches // 2


def batch(number):
    """Temperatures, and demand with two branches; the cold one turns steeper."""
    X = rng.uniform(-15.0, 30.0, size=(size, 1))
    slope = 1.0 if number < change else 2.5
    demand = np.where(X[:, 0] < 12.0, slope * (12.0 - X[:, 0]), 0.8 * (X[:, 0] - 12.0))
    return X, 20.0 + demand + rng.normal(size=size)


X, y = batch(0)
models = {
    name: MoERegressor(n_experts=2, solver=EM(forgetting=forgetting), random_state=0)
    for name, forgetting in (("forgetting", 0.8), ("remembering", 1.0))
}
models["one line"] = MoERegressor(n_experts=1, solver=EM(forgetting=0.8), random_state=0)
errors = {name: [] for name in models}
for number in range(n_batches):
    X, y = batch(number)
    for name, model in models.items():
        if number > 0:  # first predict, then learn
            errors[name].append(np.sqrt(np.mean(np.square(y - model.predict(X)))))
        model.partial_fit(X, y)
for name, values in errors.items():
    before, after = np.mean(values[change - 10 : change - 1]), np.mean(values[-10:])
    print(f"{name:<12} RMSE {before:.2f} before the change, {after:.2f} at the end")
load = models["forgetting"].load_
print("load of the last batch:", ", ".join(f"{share:.2f}" for share in load))

# %%
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for name, values in errors.items():
    axis.plot(np.arange(1, n_batches), values, label=name)
axis.axvline(change, color="0.5", linestyle="--")
axis.set_xlabel("batch of 200 rows")
axis.set_ylabel("RMSE before learning from it")
axis.set_ylim(0)
axis.legend(frameon=False)
plt.show()
