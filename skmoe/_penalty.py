"""The elastic-net penalty of slopes of standardised features."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ElasticNet:
    """``alpha * (l1_ratio * |b|_1 + (1 - l1_ratio) / 2 * |b|_2^2)``; intercepts are free.

    Coefficients are arrays (D, ...) whose last row holds the intercepts.

    Attributes
    ----------
    alpha, l1_ratio : float
    unit : float or ndarray
        Coefficients are penalised in this unit; it broadcasts against their last axis.
    """

    alpha: float
    l1_ratio: float = 0.0
    unit: object = 1.0

    @property
    def ridge(self):
        """Factor of ``b ** 2 / 2``, in the shape of ``unit``."""
        return self.alpha * (1.0 - self.l1_ratio) / np.square(self.unit)

    @property
    def has_l1(self):
        """Whether there is an L1 part."""
        return self.alpha * self.l1_ratio > 0.0

    def value(self, coef):
        """The penalty."""
        slopes = coef[:-1] / self.unit
        ridge = 0.5 * (1.0 - self.l1_ratio) * np.sum(np.square(slopes))
        return self.alpha * (ridge + self.l1_ratio * np.sum(np.abs(slopes)))

    def smooth_gradient(self, coef):
        """Gradient of the ridge part, in the shape of the coefficients."""
        gradient = self.ridge * coef
        gradient[-1] = 0.0
        return gradient

    def l1_weights(self, coef):
        """Factors of ``|b|``, in the shape of the coefficients."""
        weights = np.zeros(coef.shape) + self.alpha * self.l1_ratio / self.unit
        weights[-1] = 0.0
        return weights
