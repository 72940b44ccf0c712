"""Statistical inference about fitted mixtures."""

from ._compare import compare_fits
from ._errors import StandardErrors, standard_errors

__all__ = ["StandardErrors", "compare_fits", "standard_errors"]
