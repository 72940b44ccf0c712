"""Load against held-out log-likelihood for both ways of load balancing; prints the table.

python docs/figures/balance.py docs/figures
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skmoe import MoERegressor
from skmoe.balance import BalanceBias, BalancePenalty

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def heavy_tails(n_rows, seed):
    """A sine in the middle of one feature with heavy tails, flat outside."""
    rng = np.random.default_rng(seed)
    X = np.clip(rng.standard_t(1.5, size=(n_rows, 1)), -30, 30)
    return X, np.sin(2 * np.clip(X[:, 0], -1.6, 1.6)) + 0.1 * rng.normal(size=n_rows)


def fits(n_experts=8):
    """Pairs of a name and what was found: (max/mean load, held-out log-likelihood)."""
    X, y = heavy_tails(2000, 0)
    X_test, y_test = heavy_tails(6000, 1)
    settings = {"n_experts": n_experts, "top_k": 1, "routing": "token", "random_state": 0}
    balances = {"none": None, **{f"penalty {s:g}": BalancePenalty(s) for s in STRENGTHS}}
    balances["bias"] = BalanceBias()
    found = {}
    dense = {"dense, all experts": {}, "dense, top_k=1": {"top_k": 1}}
    for name, options in dense.items():
        model = MoERegressor(n_experts=n_experts, random_state=0, **options).fit(X, y)
        held_out = model.log_likelihood(X_test, y_test).mean()
        print(f"| {name} | {model.load_.max() * n_experts:.2f} | {held_out:.3f} |")
    for name, balance in balances.items():
        model = MoERegressor(load_balance=balance, **settings).fit(X, y)
        held_out = model.log_likelihood(X_test, y_test).mean()
        found[name] = model.load_.max() * n_experts, held_out
    return found


def draw(found, path):
    """Save the trade-off as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
    curve = np.array([value for name, value in found.items() if name != "bias"])
    axes.plot(*curve.T, "o-", color="tab:blue", label="BalancePenalty(strength)")
    axes.plot(*found["bias"], "s", color="tab:orange", label="BalanceBias()")
    for name, (load, held_out) in found.items():
        label = name.removeprefix("penalty ")
        if label in ("0.3", "30"):  # where another one is
            continue
        label = {"1": "0.3, 1", "10": "10, 30"}.get(label, label)
        axes.annotate(label, (load, held_out), xytext=(6, 6), textcoords="offset points")
    axes.set(
        xlim=(0.8, 4.8),
        ylim=(0.38, 0.86),
        xlabel="largest load / mean load",
        ylabel="held-out log-likelihood per row",
    )
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = fits()
    for name, (load, held_out) in results.items():
        print(f"| {name} | {load:.2f} | {held_out:.3f} |")
    draw(results, Path(sys.argv[1]) / "balance.png")
