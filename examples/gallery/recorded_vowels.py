"""
Speech: vowels of speakers who were not heard before
====================================================

Eleven vowels, ten numbers each; eight speakers train, seven others test (Deterding, 1989). The
experts are linear discriminant analyses; their number is chosen on training speakers alone, left
out one after another. Speakers differ, so regimes are voices. Noise is added to test rows only.
Accuracy gains by the mixture at each level of noise; its probabilities are too sure of
themselves, and a single discriminant analysis has the better log-likelihood.

The data may not be shipped: ``SKMOE_DATA`` names the folder that has them. What follows was
recorded:

.. literalinclude:: ../recorded/vowels.txt
   :language: none

.. image:: ../images/recorded_vowels.png
   :alt: Accuracy against noise, for one expert and the mixture; gate probability by speaker
"""

# sphinx_gallery_thumbnail_path = 'images/recorded_vowels.png'
import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score

from skmoe import MoEClassifier
from skmoe.datasets import read_dataset

warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations are enough here

data = read_dataset("vowel")
X, y = data.data.to_numpy(), data.target.to_numpy()
speaker = data.other_columns["speaker"].to_numpy()
test = data.other_columns["is_test"].to_numpy() == 1


def mixture(n_experts):
    """Discriminant analyses behind a linear gate."""
    expert = LinearDiscriminantAnalysis()
    return MoEClassifier(expert, n_experts=n_experts, max_iter=20, tol=1e-2, random_state=0)


voices = LeaveOneGroupOut()
counts = (1, 2) if "SKMOE_QUICK" in os.environ else (1, 2, 3, 4)
chosen = {}
for n_experts in counts:
    scores = cross_val_score(
        mixture(n_experts), X[~test], y[~test], groups=speaker[~test], cv=voices
    )
    chosen[n_experts] = scores.mean()
    print(f"{n_experts} experts: accuracy {chosen[n_experts]:.3f} on training speakers left out")
several = max(counts[1:], key=chosen.get)

# %%
# Clean, and with normal noise of a quarter, half and all of a standard deviation of each column.
models = {n_experts: mixture(n_experts).fit(X[~test], y[~test]) for n_experts in (1, several)}
noise = np.random.RandomState(0).normal(size=X[test].shape) * X[~test].std(axis=0)
levels = (0.0, 0.25, 0.5, 1.0)
accuracy = {n_experts: [] for n_experts in models}
for level in levels:
    noisy = X[test] + level * noise
    for n_experts, model in models.items():
        accuracy[n_experts].append(model.score(noisy, y[test]))
        loglik = model.log_likelihood(noisy, y[test]).mean()
        print(
            f"noise {level:4.2f}, {n_experts} expert(s): accuracy {accuracy[n_experts][-1]:.3f}, "
            f"log-likelihood {loglik:.3f}"
        )

# %%
# Load: the gate probability by new speaker.
load = pd.DataFrame(models[several].gate_proba(X[test])).groupby(speaker[test]).mean()
print("load by new speaker:", load.round(2).to_numpy().tolist())
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for n_experts, values in accuracy.items():
    axes[0].plot(levels, values, "o-", label=f"{n_experts} expert{'s' * (n_experts > 1)}")
axes[0].set_xlabel("noise, standard deviations")
axes[0].set_ylabel("accuracy, new speakers")
axes[0].set_ylim(0)
axes[0].legend(frameon=False)
load.plot.bar(stacked=True, ax=axes[1], legend=False, width=0.8, rot=0)
axes[1].set_xlabel("new speaker")
axes[1].set_ylabel("mean gate probability")
plt.show()
