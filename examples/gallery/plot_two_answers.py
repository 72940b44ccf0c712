"""
Two answers to one question: what a mean cannot say
===================================================

How rich was the mixture in an ethanol engine, given the nitric oxide in its exhaust? There are two
answers, a lean and a rich one. Any regression of the mean predicts a value in between that never
occurs. The predictive distribution of a mixture has two peaks.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.datasets import load_nodata

X, y = load_nodata(return_X_y=True)
one = MoERegressor(n_experts=1).fit(X, y)
model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
for name, fitted in (("one line", one), ("two lines", model)):
    print(f"{name}: log-likelihood {fitted.log_likelihood(X, y).sum():.1f}")
print("load:", np.round(model.load_, 2))

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
grid = np.linspace(X.min(), X.max(), 160)
values = np.linspace(0.45, 1.35, 200)
dist = model.predict_dist(grid[:, None])
density = np.stack([np.exp(dist.logpdf(value)) for value in values])
axes[0].imshow(
    density,
    origin="lower",
    aspect="auto",
    extent=(grid[0], grid[-1], values[0], values[-1]),
    cmap="Blues",
    vmax=np.quantile(density, 0.995),
)
axes[0].plot(X[:, 0], y, "o", markersize=3, color="0.2")
axes[0].plot(grid, one.predict(grid[:, None]), "--", color="C3", label="mean of one line")
axes[0].set_xlabel("nitric oxide")
axes[0].set_ylabel("equivalence ratio")
axes[0].legend(frameon=False)
at = model.predict_dist([[1.0]])
axes[1].plot(values, [np.exp(at.logpdf(value))[0] for value in values], label="two lines")
at = one.predict_dist([[1.0]])
axes[1].plot(values, [np.exp(at.logpdf(value))[0] for value in values], "--C3", label="one line")
axes[1].set_xlabel("equivalence ratio where nitric oxide is 1")
axes[1].set_ylabel("density")
axes[1].legend(frameon=False)
plt.show()
