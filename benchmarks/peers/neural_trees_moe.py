"""neural-trees: a hierarchical mixture of neural experts, for classification."""

import importlib.util

TASK = "classification"


def available():
    """None, or why neural-trees cannot run."""
    missing = [name for name in ("neural_trees", "torch") if not importlib.util.find_spec(name)]
    return f"{', '.join(missing)} not installed" if missing else None


def models(n_experts, classify=True):
    """Models to fit, by name; at least as many leaves as experts."""
    import torch
    from neural_trees import HierarchicalMixtureOfExperts
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    torch.set_num_threads(1)
    depth = max(1, (n_experts - 1).bit_length())
    model = HierarchicalMixtureOfExperts(depth=depth, random_state=0)
    return {"neural-trees HMoE": make_pipeline(StandardScaler(), model)}
