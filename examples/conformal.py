"""Intervals of a mixture, calibrated on held-out rows by MAPIE.

The intervals of a mixture hold what they promise as far as the model is right. MAPIE moves
their ends by as much as rows that were held out for it ask for; then they cover the wanted share of
new rows on average, whatever the model, as long as all rows are exchangeable. Three ways on the
concrete data: the mixture's own quantiles, the same calibrated (conformalised quantile
regression), and the mean plus and minus a constant (split conformal prediction). Needs the
extra ``mapie`` (``pip install skmoe[mapie]``).
"""

import argparse
import warnings

import numpy as np
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from skmoe import MoERegressor
from skmoe.datasets import load_concrete

LEVEL = 0.9


class QuantileOf(RegressorMixin, BaseEstimator):
    """One quantile of a fitted mixture, as a regressor.

    Parameters
    ----------
    model : MoERegressor
        Fitted.
    level : float
        Of the quantile.
    """

    def __init__(self, model, level):
        self.model = model
        self.level = level

    def fit(self, X, y):
        """Do nothing: the mixture is fitted."""
        return self

    def predict(self, X):
        """Return the quantile of each row."""
        return self.model.predict(X, quantiles=[self.level])[:, 0]

    @property
    def n_features_in_(self):
        """Number of features, by which MAPIE sees that it is fitted."""
        return self.model.n_features_in_


def intervals(model, X, y, new):
    """Lower and upper ends (n, 2) for new rows, by name; X and y are held out for calibration."""
    tails = (0.5 - 0.5 * LEVEL, 0.5 + 0.5 * LEVEL, 0.5)
    moved = ConformalizedQuantileRegressor(
        [QuantileOf(model, tail) for tail in tails], confidence_level=LEVEL, prefit=True
    )
    constant = SplitConformalRegressor(model, confidence_level=LEVEL, prefit=True)
    found = {"own quantiles": model.predict_interval(new, 1.0 - LEVEL)}
    for name, calibrated in (("calibrated quantiles", moved), ("mean and constant", constant)):
        calibrated.conformalize(X, y)
        found[name] = calibrated.predict_interval(new)[1][:, :, 0]
    return found


def main():
    """Print coverage and mean width over several random splits into three parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, y = load_concrete(return_X_y=True)
    for n_experts in (1, 4):
        covered, width = {}, {}
        for seed in range(options.splits):
            train, rest = train_test_split(np.arange(len(y)), train_size=0.5, random_state=seed)
            calibration, test = train_test_split(rest, train_size=0.5, random_state=seed)
            model = MoERegressor(n_experts=n_experts, random_state=0).fit(X[train], y[train])
            for name, ends in intervals(model, X[calibration], y[calibration], X[test]).items():
                inside = (ends[:, 0] <= y[test]) & (y[test] <= ends[:, 1])
                covered.setdefault(name, []).append(inside.mean())
                width.setdefault(name, []).append(np.mean(ends[:, 1] - ends[:, 0]))
        print(f"{n_experts} expert(s), {options.splits} splits, wanted {LEVEL:.0%}")
        for name in covered:
            share, error = np.mean(covered[name]), np.std(covered[name]) / len(covered[name]) ** 0.5
            mean = np.mean(width[name])
            print(f"  {name:21s} coverage {share:.3f} ± {error:.3f}  width {mean:.1f}")


if __name__ == "__main__":
    main()
