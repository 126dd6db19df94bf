"""Training objectives: what a head's scores mean, and how far they are from the labels."""

from ageflax.losses.balance import balance_terms, balanced, combined, regressions
from ageflax.losses.build import AGE_LOSSES, YEARS_LOSSES, build
from ageflax.losses.classes import CrossEntropy, LabelDistribution, MeanVariance
from ageflax.losses.expectation import Expectation
from ageflax.losses.objective import Objective, expected, known
from ageflax.losses.ordinal import Coral, Corn
from ageflax.losses.reduction import class_counts, class_weights, face_weights, weighted_sum
from ageflax.losses.regression import Absolute, Gaussian, Huber

__all__ = [
    "AGE_LOSSES",
    "YEARS_LOSSES",
    "Absolute",
    "Coral",
    "Corn",
    "CrossEntropy",
    "Expectation",
    "Gaussian",
    "Huber",
    "LabelDistribution",
    "MeanVariance",
    "Objective",
    "balance_terms",
    "balanced",
    "build",
    "class_counts",
    "class_weights",
    "combined",
    "expected",
    "face_weights",
    "known",
    "regressions",
    "weighted_sum",
]
