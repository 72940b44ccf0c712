"""SHAP values of a mixture and of its gate, on the concrete data.

SHAP takes any function of the features: the prediction of the mixture, or the probability of
an expert. Needs the extra ``explain`` (``pip install skmoe[explain]``). ``--rows`` says how many
rows are explained.
"""

import argparse

import numpy as np
import pandas as pd
import shap

from skmoe import MoERegressor
from skmoe.datasets import load_concrete


def main():
    """Fit, explain some rows twice, and check that the values add up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40)
    n_rows = parser.parse_args().rows
    X, y = load_concrete(return_X_y=True, as_frame=True)
    model = MoERegressor(n_experts=3, random_state=0, tol=1e-4).fit(X, y)
    background = X.sample(30, random_state=0)
    some = X.sample(n_rows, random_state=1)

    def first_expert(rows):
        return model.gate_proba(pd.DataFrame(rows, columns=X.columns))[:, 0]

    def prediction(rows):
        return model.predict(pd.DataFrame(rows, columns=X.columns))

    for name, function in (("prediction", prediction), ("first expert", first_expert)):
        explainer = shap.PermutationExplainer(function, background.to_numpy(), seed=0)
        values = explainer(some.to_numpy(), silent=True)
        gap = np.abs(values.values.sum(axis=1) + values.base_values - function(some.to_numpy()))
        mean = pd.Series(np.abs(values.values).mean(axis=0), index=X.columns)
        print(f"{name}: largest gap between the sum of the values and the output {gap.max():.1e}")
        print(mean.sort_values(ascending=False).head(4).round(3).to_string())


if __name__ == "__main__":
    main()
