"""LightGBM with linear models in its leaves."""

import importlib.util

TASK = "both"


def available():
    """None, or why LightGBM cannot run."""
    return None if importlib.util.find_spec("lightgbm") else "lightgbm is not installed"


def models(n_experts, classify=False):
    """Models to fit, by name."""
    import lightgbm

    model = lightgbm.LGBMClassifier if classify else lightgbm.LGBMRegressor
    return {"LightGBM linear_tree": model(linear_tree=True, n_jobs=1, verbose=-1, random_state=0)}
