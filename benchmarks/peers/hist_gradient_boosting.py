"""scikit-learn's gradient boosting, for scale: another kind of model."""

from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

TASK = "both"


def available():
    """None: it comes with scikit-learn."""
    return None


def models(n_experts, classify=False):
    """Models to fit, by name."""
    model = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    return {"sklearn HistGradientBoosting": model(random_state=0)}
