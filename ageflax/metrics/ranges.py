"""Errors of estimated ages against labels that are ranges of ages, such as 20-29 or 70+."""

import numpy as np


def off_range(low: np.ndarray, high: np.ndarray, estimated: np.ndarray) -> np.ndarray:
    """float64[n], signed distance of an estimate from a range, in years.

    0 from `low` to `high`, both included; negative below, positive above. A range of one age gives the
    plain error.

    Args:
      low: float[n], youngest age of each label, NaN if unknown.
      high: float[n], oldest age of each label; infinite for an open one.
      estimated: float[n], estimated ages.
    """
    return np.minimum(estimated - low, 0.0) + np.maximum(estimated - high, 0.0)
