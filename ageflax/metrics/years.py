"""Errors of estimated ages, in years."""

from typing import Any

import numpy as np

from ageflax.metrics.classification import check_numbers
from ageflax.metrics.folds import ratio

# First and last whole year of the bands in which errors of age are also given: children and the old
# are who such models get wrong.
AGE_BANDS = ((0, 5), (6, 12), (13, 17), (18, 29), (30, 44), (45, 59), (60, 74), (75, 130))
ADULT = 18  # from this many years on
_TOLERANCES = range(11)


def years(ages: np.ndarray, estimated: np.ndarray) -> dict[str, Any]:
    """Errors in years: mean absolute error, and CS@k, the share within k years.

    Args:
      ages: float[n], years; faces of NaN are left out.
      estimated: float[n], years.

    Returns:
      JSON: `faces`, `mae`, `cs5`; `mae_floor` and `cs5_floor`, what the best constant answer scores on
      these very faces; `bias`, the mean of estimated - true; `cs`, the share within 0 to 10 years;
      `adulthood`, how many `minors` are estimated at 18 or more (`false_adult`) and how many `adults`
      below it (`false_minor`), as shares of theirs; and `bands`, per age band `faces`, `mae`, `cs5`
      and `bias`. A mean of nothing is null.

    Raises:
      InputError: an estimate is not finite.
    """
    known = ~np.isnan(ages)
    true, guesses = ages[known].astype(np.float64), estimated[known].astype(np.float64)
    check_numbers(guesses, "estimated ages")
    errors = guesses - true
    figures = _errors(errors)
    figures["mae_floor"] = (
        ratio(np.abs(true - np.median(true)).sum(), len(true)) if len(true) else None
    )
    figures["cs5_floor"] = _best_constant(true, 5.0)
    figures["cs"] = {str(k): ratio((np.abs(errors) <= k).sum(), len(errors)) for k in _TOLERANCES}
    figures["adulthood"] = _adulthood(true, guesses)
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


def _adulthood(true: np.ndarray, estimated: np.ndarray) -> dict[str, Any]:
    adult, taken_for_one = true >= ADULT, estimated >= ADULT
    return {
        "age": ADULT,
        "minors": int((~adult).sum()),
        "adults": int(adult.sum()),
        "false_adult": ratio((~adult & taken_for_one).sum(), (~adult).sum()),
        "false_minor": ratio((adult & ~taken_for_one).sum(), adult.sum()),
    }


def _best_constant(true: np.ndarray, within: float) -> float | None:
    """Largest share of values within so much of one and the same answer."""
    ordered = np.sort(true)
    ends = np.searchsorted(ordered, ordered + 2 * within, side="right")
    return ratio((ends - np.arange(len(ordered))).max(initial=0), len(ordered))
