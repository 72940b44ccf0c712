"""The same estimators on dask arrays and DataFrames; needs the package dask[distributed]."""

from ._estimators import MoEClassifier, MoERegressor

__all__ = ["MoEClassifier", "MoERegressor"]
