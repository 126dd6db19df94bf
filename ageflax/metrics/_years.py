"""Errors of estimated ages, in years."""

from typing import Any

import numpy as np

from ageflax.metrics._folds import ratio

# First and last whole year of the bands in which errors of age are also given: children and the old
# are who such models get wrong.
AGE_BANDS = ((0, 5), (6, 12), (13, 17), (18, 29), (30, 44), (45, 59), (60, 74), (75, 130))


def years(ages: np.ndarray, estimated: np.ndarray) -> dict[str, Any]:
    """Errors in years: mean absolute error, and CS@5, the share within five years.

    Args:
      ages: float[n], years; faces of NaN are left out.
      estimated: float[n], years.

    Returns:
      JSON: `faces`, `mae`, `cs5`; `mae_floor` and `cs5_floor`, what the best constant answer scores on
      these very faces; `bias`, the mean of estimated - true; and `bands`, per age band `faces`, `mae`,
      `cs5` and `bias`. A mean of nothing is null.
    """
    known = ~np.isnan(ages)
    true = ages[known].astype(np.float64)
    errors = estimated[known] - true
    figures = _errors(errors)
    figures["mae_floor"] = (
        ratio(np.abs(true - np.median(true)).sum(), len(true)) if len(true) else None
    )
    figures["cs5_floor"] = _best_constant(true, 5.0)
    figures["bands"] = {
        f"{low}-{high}": _errors(errors[(np.floor(true) >= low) & (np.floor(true) <= high)])
        for low, high in AGE_BANDS
    }
    return figures


def _errors(errors: np.ndarray) -> dict[str, Any]:
    return {
        "faces": len(errors),
        "mae": ratio(np.abs(errors).sum(), len(errors)),
        "cs5": ratio((np.abs(errors) <= 5.0).sum(), len(errors)),
        "bias": ratio(errors.sum(), len(errors)),
    }


def _best_constant(true: np.ndarray, within: float) -> float | None:
    """Largest share of values within so much of one and the same answer."""
    ordered = np.sort(true)
    ends = np.searchsorted(ordered, ordered + 2 * within, side="right")
    return ratio((ends - np.arange(len(ordered))).max(initial=0), len(ordered))
