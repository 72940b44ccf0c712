"""Small real data sets that may be shipped, and samples from a known mixture."""

from ._loaders import (
    load_co2data,
    load_concrete,
    load_credit,
    load_diamonds,
    load_mcycle,
    load_nodata,
    load_patent,
    load_tonedata,
)
from ._reading import read_dataset
from ._samples import make_moe_classification, make_moe_regression

__all__ = [
    "load_co2data",
    "load_concrete",
    "load_credit",
    "load_diamonds",
    "load_mcycle",
    "load_nodata",
    "load_patent",
    "load_tonedata",
    "make_moe_classification",
    "make_moe_regression",
    "read_dataset",
]
