"""
How many experts? By a grid search, or by the library
=====================================================

``n_experts`` is a parameter like any other, so a search in a pipeline over a table with words
and gaps works. ``n_experts="auto"`` grows the mixture, splitting one expert at a time, and
stops by a criterion; its path is kept.
"""

import os

import matplotlib.pyplot as plt
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import load_concrete, load_credit
from skmoe.experts import LinearExpert
from skmoe.inspection import ExpertCountDisplay

quick = "SKMOE_QUICK" in os.environ
X, y = load_credit(return_X_y=True)
if quick:
    X, y = X[:800], y[:800]
numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
prepare = make_column_transformer(
    (numbers, make_column_selector(dtype_include="number")),
    (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
)
model = make_pipeline(prepare, MoEClassifier(LinearExpert(alpha=10.0), random_state=0))
grid = {"moeclassifier__n_experts": [1, 2] if quick else [1, 2, 3, 4]}
search = GridSearchCV(model, grid, scoring="neg_log_loss", cv=2 if quick else 5).fit(X, y)
for n_experts, loss, spread in zip(
    search.cv_results_["param_moeclassifier__n_experts"],
    -search.cv_results_["mean_test_score"],
    search.cv_results_["std_test_score"],
):
    print(f"{n_experts} experts: log loss {loss:.4f} (folds differ by {spread:.4f})")

# %%
# On the concrete data the criterion has a clear minimum.
X, y = load_concrete(return_X_y=True, as_frame=True)
grown = MoERegressor(n_experts="auto", max_experts=4 if quick else 10, random_state=0).fit(X, y)
print(f"chosen: {grown.n_experts_} experts, load {grown.load_.round(2)}")
ExpertCountDisplay.from_estimator(grown)
plt.show()
