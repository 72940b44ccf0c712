"""Coverage of 95 % intervals in small simulated fits, and the likelihood ratio for one more expert.

Rows are drawn from known mixtures. Intervals belong to an optimum, so that fits start at the
true experts of the rows ("truth"); with starts of their own (10 of them) some end in an
optimum that is worse, which the column "missed" counts. Experts are matched with the true ones by
responsibilities. Penalties are off (``alpha=0``, ``floor=0``) except where the table says
"default". A fit has failed where coefficients are not determined or the fit says that it is far
from an optimum; failed fits are left out and counted.

    python benchmarks/bench_inference.py [n_fits]
"""

import common  # isort: skip  (first: it sets the number of threads)

import sys
import time
import warnings

import numpy as np
import pandas as pd
from scipy.stats import chi2

from skmoe import MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inference import standard_errors
from skmoe.inference._bootstrap import matched
from skmoe.likelihoods import Gaussian

FREE = {"experts": LinearExpert(alpha=0.0), "gate": SoftmaxGate(alpha=0.0)}
TIGHT = {"tol": 1e-8, "max_iter": 2000, "random_state": 0}


def npreg(rng, n):
    """A line and a parabola, the gate on x; true coefficients by (part, expert, term)."""
    x = rng.uniform(0, 10, size=n)
    first = rng.uniform(size=n) < 1 / (1 + np.exp(-0.4 * (x - 5)))
    y = np.where(first, 5 * x, 15 + 10 * x - x**2) + 3 * rng.normal(size=n)
    truth = {("gate", 0, "x"): 0.4, ("gate", 0, "(intercept)"): -2.0}
    for k, values in enumerate(([5.0, 0.0, 0.0], [10.0, -1.0, 15.0])):
        truth |= {("expert", k, t): v for t, v in zip(("x", "square", "(intercept)"), values)}
        truth["noise", k, "log(scale)"] = np.log(3.0)
    return pd.DataFrame({"x": x, "square": x**2}), y, np.where(first, 0, 1), truth, ["x"]


def counts(rng, n):
    """Two Poisson regressions, the gate on another feature than the experts."""
    z, w = rng.uniform(-1, 1, size=(2, n))
    first = rng.uniform(size=n) < 1 / (1 + np.exp(-3.0 * w))
    y = rng.poisson(np.exp(np.where(first, 2.0 + z, 0.5 - z))).astype(float)
    truth = {("gate", 0, "w"): 3.0, ("gate", 0, "(intercept)"): 0.0}
    truth |= {("expert", 0, "z"): 1.0, ("expert", 0, "(intercept)"): 2.0}
    truth |= {("expert", 1, "z"): -1.0, ("expert", 1, "(intercept)"): 0.5}
    return pd.DataFrame({"z": z, "w": w}), y, np.where(first, 0, 1), truth, ["w"]


# Name, rows, penalties, start.
PROBLEMS = {
    ("line and parabola", 200, "none", "truth"): npreg,
    ("line and parabola", 200, "default", "truth"): npreg,
    ("line and parabola", 500, "none", "truth"): npreg,
    ("two Poisson lines", 300, "none", "truth"): counts,
    ("line and parabola", 200, "none", "own"): npreg,
    ("two Poisson lines", 300, "none", "own"): counts,
}


def estimator(draw, penalties, gate_features):
    options = {"n_experts": 2, "n_init": 1, "gate_features": gate_features, **TIGHT}
    if draw is counts:
        options |= {"likelihood": "poisson", "expert_features": ["z"]}
    elif penalties == "none":
        options["likelihood"] = Gaussian(floor=0.0)
    return MoERegressor(**options, **(FREE if penalties == "none" else {}))


def covered(draw, n, penalties, start, seed):
    """Coverage of each coefficient in one fit, {key: bool}; None where the fit failed."""
    X, y, labels, truth, gate_features = draw(np.random.default_rng(seed), n)
    model = estimator(draw, penalties, gate_features).set_params(init=labels)
    try:
        best = model.fit(X, y).objective_
        if start == "own":
            model.set_params(init="auto", n_init=10).fit(X, y)
        order = matched(model.responsibilities(X, y), np.eye(2)[labels], np.ones(n))
        tables = {
            kind: standard_errors(model, X, y, covariance=kind, reference=int(order[1])).table()
            for kind in ("observed", "robust")
        }
    except UserWarning:
        return None
    stands_for = {model.expert_names_[j]: k for k, j in enumerate(order)}
    found = {("missed", "", "", ""): model.objective_ < best - 1e-4}
    for kind, table in tables.items():
        for row in table.itertuples():
            key = (row.part, stands_for[row.expert], row.term)
            found[(kind, *key)] = row.lower <= truth[key] <= row.upper
    return found


def coverage(name, n, penalties, start, n_fits):
    """Rows of the table: one for each kind of covariance."""
    began, draw = time.process_time(), PROBLEMS[name, n, penalties, start]
    found = [covered(draw, n, penalties, start, seed) for seed in range(n_fits)]
    table = pd.DataFrame([one for one in found if one is not None])
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    seconds = round(time.process_time() - began, 1)
    rows = []
    for kind in ("observed", "robust"):
        each = table[kind].mean()
        by_part = {part: round(each[part].mean(), 4) for part in ("gate", "expert")}
        rows.append(
            {
                "problem": name,
                "rows": n,
                "penalties": penalties,
                "start": start,
                "covariance": kind,
                "fits": len(table),
                "missed": int(table["missed"].to_numpy().sum()),
                "failed": n_fits - len(table),
                "coverage": round(each.mean(), 4),
                "least": round(each.min(), 4),
                "most": round(each.max(), 4),
                **by_part,
                "noise": round(each["noise"].mean(), 4) if "noise" in each else "",
                "cpu_s": seconds,
            }
        )
    return rows


def likelihood_ratio(n_fits, n=200):
    """How often the chi-squared law rejects one expert where one is true, at 5 %."""
    statistics = []
    for seed in range(n_fits):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-1, 1, size=(n, 1))
        y = x[:, 0] + 0.3 * rng.normal(size=n)
        one, two = (MoERegressor(n_experts=k, n_init=4, **TIGHT).fit(x, y) for k in (1, 2))
        gain = two.log_likelihood(x, y).sum() - one.log_likelihood(x, y).sum()
        statistics.append(2.0 * gain)
    df = two.n_parameters_ - one.n_parameters_
    share = float(np.mean(np.array(statistics) > chi2.ppf(0.95, df)))
    facts = {"fits": n_fits, "rows": n, "df": df, "mean_statistic": round(np.mean(statistics), 2)}
    return {**facts, "rejected_at_5": round(share, 4)}


def main():
    n_fits = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    warnings.simplefilter("error", UserWarning)
    table = []
    for problem in PROBLEMS:
        fewer = n_fits // 5 if problem[-1] == "own" else n_fits
        for row in coverage(*problem, fewer):
            table.append(row)
            print(*row.values(), flush=True)
    warnings.simplefilter("ignore")
    ratio = likelihood_ratio(n_fits // 2)
    print(ratio, flush=True)
    if len(sys.argv) == 1:
        common.save("inference", table)
        common.save("inference_ratio", [ratio])


if __name__ == "__main__":
    main()
