"""cgmm: MixtureOfExpertsRegressor, the same family of models, by EM in NumPy."""

import importlib.util

TASK = "regression"


def available():
    """None, or why cgmm cannot run."""
    return None if importlib.util.find_spec("cgmm") else "cgmm is not installed"


def models(n_experts):
    """Models to fit, by name; features are standardised beforehand, as skmoe does inside."""
    from cgmm import ConditionalGMMRegressor, MixtureOfExpertsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    experts = MixtureOfExpertsRegressor(n_components=n_experts, random_state=0)
    joint = ConditionalGMMRegressor(n_components=n_experts, random_state=0)
    return {
        "cgmm MixtureOfExperts": make_pipeline(StandardScaler(), experts),
        "cgmm ConditionalGMM": make_pipeline(StandardScaler(), joint),
    }
