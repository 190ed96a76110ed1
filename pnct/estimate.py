"""An estimate: value, standard error, effective sample size. Prints as -0.12060(32)."""

import math
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A mean with its standard error and the number of independent samples that it is worth."""

    value: float
    error: float
    ess: float

    def __str__(self) -> str:
        if not (math.isfinite(self.value) and math.isfinite(self.error)):
            return f"{self.value:.6g}({self.error:.2g})"
        if self.error == 0:
            return f"{self.value:.6f}(0)"
        decimals = min(1 - math.floor(math.log10(self.error)), 300)  # beyond, 10**decimals is no float
        digits = round(self.error * 10**decimals)
        if digits == 100:  # 0.0996 rounds up to three digits: 0.10 has one decimal less
            decimals = decimals - 1
            digits = 10
        if decimals <= 0:
            return f"{round(self.value, decimals):.0f}({digits * 10**-decimals})"
        return f"{self.value:.{decimals}f}({digits})"

    def scaled(self, factor: float) -> "Estimate":
        """The same estimate in another unit, or per electron."""
        return Estimate(self.value * factor, self.error * abs(factor), self.ess)

    def to_json(self) -> dict[str, float]:
        return {"value": float(self.value), "error": float(self.error)}


def mean_of_independent(x) -> Estimate:
    """The mean of independent samples x, shape (n,), with standard error std/sqrt(n); nan for a single
    sample.
    """
    x = np.asarray(x, float)
    if x.size < 2:
        return Estimate(float(x.mean()), math.nan, float(x.size))
    return Estimate(float(x.mean()), float(x.std(ddof=1) / np.sqrt(x.size)), float(x.size))
