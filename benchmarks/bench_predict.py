"""Prediction against the products that it cannot avoid.

Input checks are left out by ``config_context(assume_finite=True)``. ``--full`` takes
200,000 rows.
"""

import argparse

import common
import numpy as np
from problems import _softmax
from sklearn import config_context

from skmoe import MoEClassifier, MoERegressor

D = 50


def fitted(n_experts, top_k=None, n_classes=None):
    """A mixture of the given size, fitted on a few rows and few iterations."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20 * n_experts + 500, D))
    gate = _softmax(X @ rng.normal(size=(D, n_experts)))
    scores = np.sum(gate * (X @ rng.normal(size=(D, n_experts))), axis=1)
    model, y = MoERegressor, scores
    if n_classes:
        model, y = MoEClassifier, np.argsort(np.argsort(scores)) * n_classes // len(scores)
    model = model(n_experts=n_experts, top_k=top_k, n_init=1, init="random", tol=10.0)
    return model.fit(X, y)


def compared(name, model, X, widths, repeats):
    """Rows of a table: prediction against products of X with so many columns."""
    coefs = [np.random.default_rng(1).normal(size=(width, D)) for width in widths]
    blocks = [X[start : start + 2048] for start in range(0, len(X), 2048)]

    def predict():
        with config_context(assume_finite=True):
            return model.predict_proba(X) if hasattr(model, "classes_") else model.predict(X)

    functions = {
        "predict": predict,
        "products": lambda: [X @ coef.T for coef in coefs],
        "products in blocks": lambda: [coef @ rows.T for rows in blocks for coef in coefs],
    }
    times = common.median_cpu(common.interleaved(functions, repeats))
    row = {"what": name, "n": len(X), "d": D}
    row |= {f"{key} ms": 1e3 * value for key, value in times.items()}
    row["times products"] = times["predict"] / times["products"]
    return row | {"times blocks": times["predict"] / times["products in blocks"]}


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="200,000 rows")
    full = parser.parse_args().full
    print(common.machine(), "\n")
    X = np.random.default_rng(2).normal(size=(200_000 if full else 50_000, D))
    rows = [
        compared("top 1 of 64, against the gate's product", fitted(64, 1), X, [64], 7),
        compared("top 2 of 64, against the gate's product", fitted(64, 2), X, [64], 7),
        compared("dense K=8, against its two products", fitted(8), X, [8, 8], 7),
        compared("dense K=64, against its two products", fitted(64), X, [64, 64], 7),
        compared("dense K=4, 3 classes, its two products", fitted(4, None, 3), X, [4, 12], 7),
        compared("top 1 of 8, 3 classes, the gate's", fitted(8, 1, 3), X, [8], 7),
    ]
    common.save("predict" if full else "predict_short", rows)


if __name__ == "__main__":
    main()
