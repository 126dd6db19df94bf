"""Figures of a test, from every face's answer: sums and counts, nothing averaged early."""

from ageflax.metrics._classification import classification, confusion, constant_floor
from ageflax.metrics._folds import mean_and_deviation, ratio
from ageflax.metrics._years import AGE_BANDS, years

__all__ = [
    "AGE_BANDS",
    "classification",
    "confusion",
    "constant_floor",
    "mean_and_deviation",
    "ratio",
    "years",
]
