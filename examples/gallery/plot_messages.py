"""
Text: how long was the English message?
=======================================

The message catalogues of Sphinx have the same short messages in many languages. From a
translation we guess the length of the English original. How length carries over differs between
scripts: a gate reads the characters (TF-IDF, sparse), and each expert sees one number, the
length of the translation. One expert on length alone is hopeless; one on length and characters
comes near, but the three experts have two numbers each, which can be read. (That three do well
was seen on the same messages.)
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.sparse as sp
import sphinx
from babel.messages.pofile import read_po
from sklearn.feature_extraction.text import TfidfVectorizer

from skmoe import MoERegressor
from skmoe.gates import SoftmaxGate

LANGUAGES = "ar cs de el es fi fr he hi hu it ja ko nl pl pt_BR ru sv tr uk_UA zh_CN zh_TW".split()
if "SKMOE_QUICK" in os.environ:
    LANGUAGES = ["de", "fr", "ja", "ru", "zh_CN"]

rows = []
for language in LANGUAGES:
    path = Path(sphinx.__file__).parent / "locale" / language / "LC_MESSAGES" / "sphinx.po"
    with path.open("rb") as file:
        for message in read_po(file):
            english, text = message.id, message.string
            if isinstance(english, str) and english and text and not message.fuzzy:
                rows.append((language, english, text))
table = pd.DataFrame(rows, columns=["language", "english", "text"])
length = np.log(table["text"].str.len().to_numpy())
y = np.log(table["english"].str.len().to_numpy())

# Whole messages are held out, in all languages at once.
message = table["english"].astype("category").cat.codes.to_numpy()
held = np.random.RandomState(0).permutation(message.max() + 1) < 0.3 * message.max()
test, train = held[message], ~held[message]
characters = TfidfVectorizer(analyzer="char", min_df=10, max_features=300)
characters.fit(table["text"][train])
X = sp.hstack([characters.transform(table["text"]), length[:, None]], format="csr")
letters, last = list(range(X.shape[1] - 1)), [X.shape[1] - 1]
print(f"{X.shape[0]} messages in {len(LANGUAGES)} languages, {X.shape[1]} columns")


def mixture(n_experts, expert_features):
    """The gate reads characters."""
    return MoERegressor(
        n_experts=n_experts,
        gate=SoftmaxGate(alpha=1e-3),
        gate_features=letters,
        expert_features=expert_features,
        n_init=1,
        random_state=0,
    ).fit(X[train], y[train])


models = {
    "one expert, length alone": mixture(1, last),
    "one expert, length and characters": mixture(1, None),
    "three experts, length alone": mixture(3, last),
}
for name, model in models.items():
    error = np.sqrt(np.mean(np.square(y[test] - model.predict(X[test]))))
    loglik = model.log_likelihood(X[test], y[test]).mean()
    print(f"{name:<34} RMSE of log length {error:.3f}, log-likelihood {loglik:.3f}")

# %%
# The load by language: nobody told the gate which language a message is in. Right: length in
# English against length of the translation, in the colour of the most probable expert.
model = models["three experts, length alone"]
gate = pd.DataFrame(model.gate_proba(X[test]), columns=["expert 0", "expert 1", "expert 2"])
load = gate.groupby(table["language"][test].to_numpy()).mean().sort_values("expert 0")
figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
load.plot.barh(stacked=True, ax=axes[0], width=0.8, legend=False)
axes[0].set_xlabel("mean gate probability")
first = gate.to_numpy().argmax(axis=1)
for k, name in enumerate(gate.columns):
    some = np.flatnonzero(test)[first == k]
    axes[1].plot(np.exp(length[some]), np.exp(y[some]), ".", markersize=2, label=name)
axes[1].set_xscale("log")
axes[1].set_yscale("log")
axes[1].set_xlabel("characters of the translation")
axes[1].set_ylabel("characters in English")
axes[1].legend(frameon=False, markerscale=5)
plt.show()

# %%
print(load.round(2).to_string())
