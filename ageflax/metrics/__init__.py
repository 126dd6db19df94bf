"""Figures of a test, from every face's answer: sums and counts, nothing averaged early."""

from ageflax.metrics._answers import Answers, joined
from ageflax.metrics._bootstrap import intervals
from ageflax.metrics._calibration import BINS, calibration, fit_temperature, tempered
from ageflax.metrics._classification import (
    accuracies,
    classification,
    confusion,
    constant_floor,
)
from ageflax.metrics._folds import mean_and_deviation, ratio
from ageflax.metrics._groups import groups, pooled_groups
from ageflax.metrics._paired import paired
from ageflax.metrics._years import ADULT, AGE_BANDS, years

__all__ = [
    "ADULT",
    "AGE_BANDS",
    "BINS",
    "Answers",
    "accuracies",
    "calibration",
    "classification",
    "confusion",
    "constant_floor",
    "fit_temperature",
    "groups",
    "intervals",
    "joined",
    "mean_and_deviation",
    "paired",
    "pooled_groups",
    "ratio",
    "tempered",
    "years",
]
