"""Figures of a test, computed from every face's answer."""

from ageflax.metrics.ages import Ages, ages
from ageflax.metrics.answers import Answers, joined
from ageflax.metrics.bootstrap import intervals
from ageflax.metrics.calibration import calibration, fit_temperature, tempered
from ageflax.metrics.classification import accuracies, mean_and_std, per_class, ratio
from ageflax.metrics.groups import groups, pooled_groups
from ageflax.metrics.of_age import of_age, under
from ageflax.metrics.paired import paired
from ageflax.metrics.ranges import off_range
from ageflax.metrics.years import ADULT, years

__all__ = [
    "ADULT",
    "Ages",
    "Answers",
    "accuracies",
    "ages",
    "calibration",
    "fit_temperature",
    "groups",
    "intervals",
    "joined",
    "mean_and_std",
    "of_age",
    "off_range",
    "paired",
    "per_class",
    "pooled_groups",
    "ratio",
    "tempered",
    "under",
    "years",
]
