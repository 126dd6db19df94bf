"""Errors of estimated ages, in years."""

import numpy as np

from ageflax.metrics.classification import check_numbers, ratio
from ageflax.runtime.files import Json

# First and last whole year of the bands of age for which errors are also given: models err most on
# children and the old.
AGE_BANDS = ((0, 5), (6, 12), (13, 17), (18, 29), (30, 44), (45, 59), (60, 74), (75, 130))
ADULT = 18  # years
_TOLERANCES = range(11)


def years(ages: np.ndarray, estimated: np.ndarray) -> Json:
    """Errors in years: mean absolute error, and CS@k, the share within k years.

    Args:
      ages: float[n], true ages in years; faces of NaN are left out.
      estimated: float[n], estimated ages in years.

    Returns:
      JSON: `faces`, `mae`, `cs5`; `mae_floor` and `cs5_floor`, the scores of the best constant answer
      on these faces; `bias`, the mean of estimated - true; `cs`, the shares within 0 to 10 years;
      `adulthood`, the share of `minors` estimated at 18 or more (`false_adult`) and of `adults` below
      18 (`false_minor`); and `bands`, per age band `faces`, `mae`, `cs5` and `bias`. A mean over no
      faces is null.

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


def _errors(errors: np.ndarray) -> Json:
    return {
        "faces": len(errors),
        "mae": ratio(np.abs(errors).sum(), len(errors)),
        "cs5": ratio((np.abs(errors) <= 5.0).sum(), len(errors)),
        "bias": ratio(errors.sum(), len(errors)),
    }


def _adulthood(true: np.ndarray, estimated: np.ndarray) -> Json:
    adult, taken_for_one = true >= ADULT, estimated >= ADULT
    return {
        "age": ADULT,
        "minors": int((~adult).sum()),
        "adults": int(adult.sum()),
        "false_adult": ratio((~adult & taken_for_one).sum(), (~adult).sum()),
        "false_minor": ratio((adult & ~taken_for_one).sum(), adult.sum()),
    }


def _best_constant(true: np.ndarray, within: float) -> float | None:
    """Largest share of values within this distance of one constant answer."""
    ordered = np.sort(true)
    ends = np.searchsorted(ordered, ordered + 2 * within, side="right")
    return ratio((ends - np.arange(len(ordered))).max(initial=0), len(ordered))
