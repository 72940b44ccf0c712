"""
Dask and GPU: the same fit elsewhere
====================================

The same mixture in memory, by blocks, on rows that lie with two Dask workers, and on a GPU if
CuPy finds one. A fit on Dask is the fit by blocks, number for number. Two workers on one machine
are *slower* than memory at this size: a cluster is for rows that do not fit.

This needs dask, and for its last part a GPU. What follows was recorded **on a machine without a
GPU** (:doc:`nobody has run that code on one yet </gpu>`):

.. literalinclude:: ../recorded/devices.txt
   :language: none

.. image:: ../images/recorded_devices.png
   :alt: Objective by iteration in memory and on dask, which lie on each other, and load
"""

# sphinx_gallery_thumbnail_path = 'images/recorded_devices.png'
import os
import time

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, LocalCluster

import skmoe
import skmoe.dask
from skmoe.datasets import load_diamonds

frame, price = load_diamonds(return_X_y=True, as_frame=True)
rows = np.random.RandomState(0).permutation(len(price))
rows = rows[: 3000 if "SKMOE_QUICK" in os.environ else None]
X = frame[["carat", "depth", "table"]].to_numpy()[rows]
y = np.log(price.to_numpy(dtype=float)[rows])
test = np.arange(len(y)) % 5 == 0
settings = {"n_experts": 4, "n_init": 1, "random_state": 0}
models = {}


def fit(name, fit, *rows):
    """Fit, and tell how long it took by the clock."""
    began = time.perf_counter()
    models[name] = fit(*rows)
    print(f"{name:<24} {time.perf_counter() - began:5.1f} s")


fit("one expert, in memory", skmoe.MoERegressor(n_experts=1).fit, X[~test], y[~test])
fit("four, in memory", skmoe.MoERegressor(**settings).fit, X[~test], y[~test])
fit("four, by blocks", skmoe.MoERegressor(**settings).fit_blocks, (X[~test], y[~test]))
with (
    LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
    Client(cluster),
):
    parts = [da.from_array(part, chunks=(5000, *part.shape[1:])) for part in (X[~test], y[~test])]
    fit("four, dask, two workers", skmoe.dask.MoERegressor(**settings).fit, *parts)
try:
    fit("four, GPU", skmoe.MoERegressor(**settings, device="cuda").fit, X[~test], y[~test])
except (ImportError, RuntimeError) as error:
    print("four, GPU: not here.", str(error).split(";")[0])

for name, model in models.items():
    error = np.sqrt(np.mean(np.square(y[test] - np.asarray(model.predict(X[test])))))
    loglik = np.mean(model.log_likelihood(X[test], y[test]))
    load = np.round(model.load_, 2).tolist()
    print(f"{name:<24} RMSE {error:.4f}, log-likelihood {loglik:.4f}, load {load}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
several = {name: model for name, model in models.items() if name.startswith("four")}
for i, (name, model) in enumerate(several.items()):
    axes[0].plot(model.history_["objective"], label=name, linewidth=4 - 2 * i)
    axes[1].bar(np.arange(4) + 0.3 * i, model.load_, width=0.28, label=name)
axes[0].set_xlabel("iteration")
axes[0].set_ylabel("objective")
axes[0].legend(frameon=False)
axes[1].set_xlabel("expert")
axes[1].set_ylabel("load")
plt.show()
