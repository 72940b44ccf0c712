"""
Sentiment: four kinds of text, one gate that reads the style
============================================================

Tweets, sentences of film reviews, of product reviews and of editorials, each rated by twenty
people from −4 (bad) to 4 (good) (Hutto and Gilbert, 2014). The experts are lines on what the words
say, the gate sees the style only: length, capitals, exclamation marks and the like. Nobody tells it
where a text comes from. The number of experts is chosen on training texts.

On texts held out, two lines have a better log-likelihood than one, and than four that are told
the source. In error they are worse than both; whoever wants the mean rating only takes one line.

The texts are not shipped. ``SKMOE_SENTIMENT`` names a folder with the four files
``*_GroundTruth.txt`` that come with the source of VADER. What follows was recorded:

.. literalinclude:: ../recorded/sentiment.txt
   :language: none

.. image:: ../images/recorded_sentiment.png
   :alt: Gate probability by source; error by source for one line and the mixture
"""

# sphinx_gallery_thumbnail_path = 'images/recorded_sentiment.png'
import os
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GroupShuffleSplit

from skmoe import MoERegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # the gates of six are slow to settle
if "SKMOE_SENTIMENT" not in os.environ:
    sys.exit("Set SKMOE_SENTIMENT to the folder of the texts; see the head of this file.")
quick = "SKMOE_QUICK" in os.environ
tables = []
for path in sorted(Path(os.environ["SKMOE_SENTIMENT"]).glob("*_GroundTruth.txt")):
    names = ["item", "rating", "text"]
    table = pd.read_csv(path, sep="\t", names=names, quoting=3, encoding="latin-1", dtype={0: str})
    tables.append(table.assign(source=path.stem.removesuffix("_GroundTruth")))
table = pd.concat(tables, ignore_index=True).dropna()
if quick:
    table = table[::10].reset_index(drop=True)
text, y, source = table["text"], table["rating"].to_numpy(), table["source"].to_numpy()
words = text.str.split().str.len()
style = pd.DataFrame(
    {
        "log words": np.log(words),
        "letters per word": text.str.len() / words,
        "capitals": text.str.count(r"\b[A-Z]{2,}\b"),
        "!": text.str.count("!").clip(upper=3),
        "?": text.str.count(r"\?").clip(upper=3),
        "@ # http": text.str.count("@|#|http").clip(upper=3),
        "commas": text.str.count(",").clip(upper=5),
        "quotes": text.str.count("''").clip(upper=4),
        "small begin": text.str.match(r"[a-z]").astype(float),
        "I, my": text.str.count(r"(?i)\b(?:i|my|me)\b").clip(upper=4),
    }
)

# All sentences of a review are on the same side.
review = source + table["item"].str.split("_").str[0]


def halves(rows, share, seed):
    """Rows to train on and to hold out, whole reviews together."""
    split = GroupShuffleSplit(1, test_size=share, random_state=seed)
    train, test = next(split.split(rows, groups=review.to_numpy()[rows]))
    return rows[train], rows[test]


train, test = halves(np.arange(len(y)), 0.3, 0)
tfidf = TfidfVectorizer(min_df=5, ngram_range=(1, 2), sublinear_tf=True).fit(text.iloc[train])
svd = TruncatedSVD(50 if quick else 150, random_state=0).fit(tfidf.transform(text.iloc[train]))
said = pd.DataFrame(svd.transform(tfidf.transform(text))).add_prefix("said ")
X = pd.concat([said, style], axis=1)


def mixture(n_experts, rows):
    """Lines on all columns, gated by style."""
    gate = None if n_experts == 1 else list(style)
    model = MoERegressor(n_experts=n_experts, gate_features=gate, random_state=0)
    return model.fit(X.iloc[rows], y[rows])


part, rest = halves(train, 0.3, 1)
chosen = {}
for n_experts in (1, 2) if quick else (1, 2, 3, 4, 6):
    fitted = mixture(n_experts, part)
    chosen[n_experts] = fitted.log_likelihood(X.iloc[rest], y[rest]).mean()
    print(f"{n_experts} experts: log-likelihood {chosen[n_experts]:.4f} on training texts left out")
several = max(list(chosen)[1:], key=chosen.get)
models = {"one line": mixture(1, train), f"{several} lines": mixture(several, train)}
errors = {}
for name, model in models.items():
    errors[name] = np.square(y[test] - model.predict(X.iloc[test]))
    loglik = model.log_likelihood(X.iloc[test], y[test]).mean()
    print(f"{name:<18} RMSE {np.sqrt(errors[name].mean()):.4f}, log-likelihood {loglik:.4f}")
told = np.empty(len(test))
loglik = np.empty(len(test))
for one in np.unique(source):
    here = source[test] == one
    model = mixture(1, train[source[train] == one])
    told[here] = np.square(y[test][here] - model.predict(X.iloc[test[here]]))
    loglik[here] = model.log_likelihood(X.iloc[test[here]], y[test][here])
errors["a line per source"] = told
print(
    f"{'a line per source':<18} RMSE {np.sqrt(told.mean()):.4f}, log-likelihood {loglik.mean():.4f}"
)
by_source = np.sqrt(pd.DataFrame(errors).groupby(source[test]).mean())
print("RMSE by source")
print(by_source.round(3).to_string())
gate = models[f"{several} lines"].gate_proba(X.iloc[test])
load = pd.DataFrame(gate).add_prefix("expert ").groupby(source[test]).mean()
print("load by source")
print(load.round(2).to_string())

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
load.plot.barh(stacked=True, ax=axes[0], width=0.7)
axes[0].legend(
    fontsize="small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False
)
axes[0].set_xlabel("mean gate probability")
by_source.plot.barh(ax=axes[1], width=0.7)
axes[1].set_xlabel("RMSE of the rating")
axes[1].set_yticklabels([])
axes[1].legend(
    fontsize="small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False
)
plt.show()
