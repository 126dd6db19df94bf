"""Figures of a test, from every face's answer: sums and counts, nothing averaged early."""

from ageflax.metrics.answers import Answers, joined
from ageflax.metrics.bootstrap import intervals
from ageflax.metrics.calibration import BINS, calibration, fit_temperature, tempered
from ageflax.metrics.classification import accuracies, classification, confusion, constant_floor
from ageflax.metrics.folds import mean_and_deviation, ratio
from ageflax.metrics.groups import groups, pooled_groups
from ageflax.metrics.paired import paired
from ageflax.metrics.years import ADULT, AGE_BANDS, years

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
