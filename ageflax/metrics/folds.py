"""Shares, and means over folds."""

from collections.abc import Sequence
from typing import Any, SupportsFloat

import numpy as np


def ratio(part: SupportsFloat, whole: SupportsFloat) -> float | None:
    """The share, or None of nothing."""
    return float(part) / float(whole) if float(whole) else None


def mean_and_deviation(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and sample standard deviation (n - 1) over folds; null where there are too few."""
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "folds": list(values),
    }
