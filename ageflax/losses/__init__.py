"""Training objectives: the probabilities that a head's scores stand for, and their loss."""

from ageflax.losses.build import build
from ageflax.losses.classes import CrossEntropy, Expectation, LabelDistribution, MeanVariance
from ageflax.losses.distillation import divergence
from ageflax.losses.objective import Objective, expected, known, median
from ageflax.losses.ordinal import Coral, Corn
from ageflax.losses.reduction import (
    balance_terms,
    balanced,
    class_counts,
    class_weights,
    combined,
    face_weights,
    regressions,
    weighted_loss,
)
from ageflax.losses.regression import Absolute, Gaussian, Huber

__all__ = [
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
    "divergence",
    "expected",
    "face_weights",
    "known",
    "median",
    "regressions",
    "weighted_loss",
]
