"""
Images: digits by their quarters
================================

Each image is cut into nine overlapping patches. A patch is a row: its pixels and its place. Experts
classify patches, the gate decides by place and pixels which expert reads a patch, and the
patches of an image vote by the logarithms of their probabilities. No convolution is needed to
see that experts specialise in places.
"""

import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from skmoe import MoEClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations are enough here

images, digits = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8) / 16.0
if "SKMOE_QUICK" in os.environ:
    images, digits = images[:500], digits[:500]
CORNERS = [(top, left) for top in (0, 2, 4) for left in (0, 2, 4)]


def patches(images):
    """Rows of 4 x 4 pixels, and the place as nine indicators."""
    pixels = [
        images[:, top : top + 4, left : left + 4].reshape(len(images), 16) for top, left in CORNERS
    ]
    place = np.eye(len(CORNERS))
    rows = [np.hstack([part, np.tile(place[i], (len(part), 1))]) for i, part in enumerate(pixels)]
    return np.stack(rows, axis=1).reshape(-1, 16 + len(CORNERS))


train, test, y_train, y_test = train_test_split(
    images, digits, test_size=0.4, random_state=0, stratify=digits
)
X_train, X_test = patches(train), patches(test)
y_patches = np.repeat(y_train, len(CORNERS))


def read(model):
    """Digit of each test image."""
    votes = np.log(model.predict_proba(X_test)).reshape(len(test), len(CORNERS), -1)
    return model.classes_[votes.sum(axis=1).argmax(axis=1)]


models = {}
for n_experts in (1, 6):
    models[n_experts] = MoEClassifier(
        n_experts=n_experts, max_iter=40, n_init=1, tol=1e-4, random_state=0
    ).fit(X_train, y_patches)
    print(f"{n_experts} experts: {np.mean(read(models[n_experts]) == y_test):.3f} of images right")

# %%
# Where each expert is asked: mean gate probability by place of the patch.
gate = models[6].gate_proba(X_test).reshape(len(test), len(CORNERS), -1).mean(axis=0)
figure, axes = plt.subplots(1, 6, figsize=(11, 2.2), layout="constrained")
for k, axis in enumerate(axes):
    picture = axis.imshow(gate[:, k].reshape(3, 3), vmin=0, vmax=1, cmap="Blues")
    axis.set_title(f"expert {k}", fontsize=10)
    axis.set_xticks([])
    axis.set_yticks([])
figure.colorbar(picture, ax=axes, label="gate probability")
plt.show()
