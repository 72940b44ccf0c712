"""Statistical inference about fitted mixtures."""

from ._bootstrap import Bootstrap, bootstrap
from ._compare import compare_fits
from ._errors import StandardErrors, standard_errors
from ._likelihood_ratio import bootstrap_lr_test

__all__ = [
    "Bootstrap",
    "StandardErrors",
    "bootstrap",
    "bootstrap_lr_test",
    "compare_fits",
    "standard_errors",
]
