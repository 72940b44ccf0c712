"""
Recommendation: what a gate adds to ratings of films
====================================================

Ratings by users for films, a column for each user, film, genre and range of numbers, all sparse.
One linear model and two behind a gate, on the same columns; the split is by time within every
user. The gate pays beside linear experts, and little. :doc:`The page of the recommender
</recommender>` has all ratings and more models, of which one without a gate is better.

The ratings may not be shipped: ``SKMOE_DATA`` names the folder that has them. What follows was
recorded, on half of the users:

.. literalinclude:: ../recorded/ratings.txt
   :language: none

.. image:: ../images/recorded_ratings.png
   :alt: Load of the second expert by genre
"""

# sphinx_gallery_thumbnail_path = 'images/recorded_ratings.png'
import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge

from skmoe import MoERegressor
from skmoe.datasets import read_dataset
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian

warnings.simplefilter("ignore", ConvergenceWarning)  # 60 iterations are meant

table = read_dataset("movielens_small").frame.sort_values(["userId", "timestamp"])
users = np.sort(table["userId"].unique())[:: 8 if "SKMOE_QUICK" in os.environ else 2]
table = table[table["userId"].isin(users)].reset_index(drop=True)
by_user = table.groupby("userId", observed=True)["rating"]
place = (by_user.cumcount() + 0.5) / by_user.transform("size")
train, test = np.flatnonzero(place < 0.8), np.flatnonzero(place >= 0.8)


def one_hot(values):
    """A column for each distinct value."""
    codes = pd.Categorical(values).codes
    return sp.csr_matrix((np.ones(len(codes)), (np.arange(len(codes)), codes)))


seen = table["movieId"].map(table["movieId"].iloc[train].value_counts()).fillna(0)
year = table["year"].fillna(table["year"].median())
ranges = [one_hot(pd.qcut(numbers, 12, duplicates="drop")) for numbers in (year, np.log1p(seen))]
genres = [name for name in table if name.startswith("genre_")]
kinds = sp.csr_matrix(table[genres].to_numpy(dtype=float))
X = sp.hstack([one_hot(table["userId"]), one_hot(table["movieId"]), kinds, *ranges], format="csr")
y = table["rating"].to_numpy(dtype=float)
print(f"{len(users)} users, {len(y)} ratings, {X.shape[1]} columns")

gated = MoERegressor(
    LinearExpert(6.0, standardize=False),
    n_experts=2,
    gate=SoftmaxGate(1e-5, standardize=False),
    likelihood=Gaussian(shared=True, floor=0.3 * len(train)),  # why: see the page
    solver="gradient",
    max_iter=60,
    n_init=1,
    random_state=0,
)
for name, model in {"one linear model": Ridge(3.0), "two behind a gate": gated}.items():
    model.fit(X[train], y[train])
    error = y[test] - np.clip(model.predict(X[test]), 0.5, 5.0)
    print(f"{name:<18} RMSE {np.sqrt(np.mean(error**2)):.4f}, MAE {np.mean(np.abs(error)):.4f}")

# %%
# Load: the gate probability of the second expert by genre, on test rows.
proba = gated.gate_proba(X[test])[:, 1]
shares = pd.Series(
    {name[6:]: proba[table[name].iloc[test].to_numpy() == 1].mean() for name in genres}
).dropna()
print(shares.sort_values().round(2).to_string())
figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
shares.sort_values().plot.barh(ax=axis, width=0.75)
axis.axvline(proba.mean(), color="0.5", linewidth=1)
axis.set_xlabel("gate probability of the second expert (line: all ratings)")
plt.show()
