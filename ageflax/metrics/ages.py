"""The only way from a head's probabilities to years."""

import dataclasses

import numpy as np

from ageflax import labels


@dataclasses.dataclass(frozen=True)
class Ages:
    """Ages of faces as one head estimates them.

    Attributes:
      years: float64[n], estimated age: the distribution's mean, or its median.
      std: float64[n], standard deviation of the age around its mean; None for a head
        that gives an age and no distribution.
      groups: float32[n, k], probabilities of the age groups.
    """

    years: np.ndarray
    std: np.ndarray | None
    groups: np.ndarray


def _median(shares: np.ndarray) -> np.ndarray:
    """Age above and below which half of each distribution lies; a year k is spread over k +- 1/2.

    As losses.median, which exported models compute.
    """
    upto = np.cumsum(shares, axis=1)
    missing = upto[:, -1:] / 2 - (upto - shares)
    return np.clip(missing / np.maximum(shares, 1e-30), 0.0, 1.0).sum(1) - 0.5


def ages(probabilities: np.ndarray, classes: labels.Classes) -> Ages:
    """Years and age groups, from the probabilities of an "age" or a "years" head.

    Age groups of a "years" head are sums over its years, each year in the group that holds it or else
    the nearest; for a head without a distribution, the group of its estimate.

    Args:
      probabilities: float[n, classes], or float[n, 1] years.
      classes: meaning of the columns.
    """
    if not classes.year_groups:
        bins, groups = np.array(classes.centres), probabilities
    else:
        bins = np.arange(len(classes.year_groups))
        membership = np.eye(len(classes.names), dtype=np.float32)[list(classes.year_groups)]
        if probabilities.shape[1] == 1:
            estimate = probabilities[:, 0].astype(np.float64)
            nearest = np.clip(estimate, 0, len(bins) - 1).astype(int)
            return Ages(estimate, None, membership[nearest])
        groups = probabilities @ membership
    shares = probabilities.astype(np.float64)
    mean = shares @ bins
    variance = shares @ np.square(bins) - np.square(mean)
    years = _median(shares) if classes.reading == "median" else mean
    return Ages(years, np.sqrt(np.maximum(variance, 0.0)), groups)
