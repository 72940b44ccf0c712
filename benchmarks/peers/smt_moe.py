"""SMT: its mixture of experts clusters features and target, then picks surrogates."""

from sklearn.base import BaseEstimator, RegressorMixin

TASK = "regression"


def available():
    """None, or why SMT cannot run."""
    try:
        from smt.applications import MOE  # noqa: F401
    except ImportError as error:
        return f"smt cannot be imported: {error}"
    return None


class Mixture(RegressorMixin, BaseEstimator):
    """`smt.applications.MOE` with the interface of scikit-learn."""

    def __init__(self, n_clusters=4):
        self.n_clusters = n_clusters

    def fit(self, X, y):
        """Fit with polynomials of first and second order as candidates."""
        from smt.applications import MOE

        self.mixture_ = MOE(
            n_clusters=self.n_clusters, allow=["LS", "QP"], smooth_recombination=True
        )
        self.mixture_.set_training_values(X, y)
        self.mixture_.train()
        return self

    def predict(self, X):
        """Mean."""
        return self.mixture_.predict_values(X)[:, 0]


def models(n_experts):
    """Models to fit, by name."""
    return {"SMT MOE (LS, QP)": Mixture(n_experts)}
