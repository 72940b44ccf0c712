"""
Text: the language of short messages
====================================

Messages that a program shows, in ten languages, some of them close: two kinds of Portuguese,
Catalan beside Spanish, Danish beside Norwegian. Features are a few ten thousand n-grams of
characters in a sparse matrix that is never made dense. The messages are the translations that
Sphinx brings along; a sentence is in the training rows or in the test rows, in all languages.
"""

import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sphinx
from babel.messages.pofile import read_po
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import confusion_matrix, log_loss

from skmoe import MoEClassifier
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate

warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations are enough here

LANGUAGES = ["es", "ca", "pt_PT", "pt_BR", "it", "fr", "da", "nb_NO", "sv", "de"]
if "SKMOE_QUICK" in os.environ:
    LANGUAGES = LANGUAGES[:5]


def messages(language):
    """Pairs of an English message and its translation."""
    folder = Path(sphinx.__file__).parent / "locale" / language / "LC_MESSAGES"
    with open(folder / "sphinx.po", "rb") as file:
        for message in read_po(file):
            if message.id and isinstance(message.string, str) and len(message.string) > 8:
                yield str(message.id), message.string


table = [
    (english, text, language) for language in LANGUAGES for english, text in messages(language)
]
sentences = sorted({english for english, _, _ in table})
held_out = set(np.random.RandomState(0).permutation(sentences)[: len(sentences) // 3])
test = np.array([english in held_out for english, _, _ in table])
texts = np.array([text for _, text, _ in table], dtype=object)
labels = np.array([language for _, _, language in table])
vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), min_df=2, sublinear_tf=True)
X_train = vectorizer.fit_transform(texts[~test])
X_test = vectorizer.transform(texts[test])
print(f"{X_train.shape[0]} messages, {X_train.shape[1]} features, {X_train.nnz} non-zeros")

models = {}
for n_experts in (1, 3):
    models[n_experts] = MoEClassifier(
        LinearExpert(alpha=0.3, standardize=False),
        n_experts,
        gate=SoftmaxGate(alpha=1e-3, standardize=False),
        max_iter=60,
        n_init=1,
        tol=1e-4,
        random_state=0,
    ).fit(X_train, labels[~test])
    proba = models[n_experts].predict_proba(X_test)
    accuracy = models[n_experts].score(X_test, labels[test])
    loss = log_loss(labels[test], proba, labels=models[n_experts].classes_)
    print(f"{n_experts} experts: accuracy {accuracy:.3f}, log loss {loss:.3f}")

# %%
# Which languages each expert leads, and what is still confused: one message may be right in
# two languages.
model = models[3]
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
gate = model.gate_proba(X_test)
load = np.array([gate[labels[test] == language].mean(axis=0) for language in model.classes_])
left = np.zeros(len(load))
for k, share in enumerate(load.T):
    axes[0].barh(model.classes_, share, left=left, label=f"expert {k}")
    left += share
axes[0].set_xlabel("mean gate probability")
axes[0].legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
counts = confusion_matrix(labels[test], model.predict(X_test), labels=model.classes_)
axes[1].imshow(counts / counts.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
axes[1].set_xticks(range(len(counts)), model.classes_, rotation=60)
axes[1].set_yticks(range(len(counts)), model.classes_)
axes[1].set_xlabel("predicted")
for i, j in zip(*np.nonzero(counts)):
    colour = "white" if counts[i, j] > 0.6 * counts[i].sum() else "black"
    axes[1].text(j, i, counts[i, j], ha="center", va="center", fontsize=8, color=colour)
plt.show()
