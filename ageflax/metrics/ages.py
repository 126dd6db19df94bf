"""Ages, from what a head says of groups or of years."""

import dataclasses

import numpy as np

from ageflax.data.dataset import Target


def expected(probabilities: np.ndarray, values: np.ndarray) -> np.ndarray:
    """float64[n], what each class stands for, weighted by the classes' probabilities."""
    return probabilities.astype(np.float64) @ values


@dataclasses.dataclass(frozen=True)
class Ages:
    """What a head says of ages.

    Attributes:
      years: float64[n], the expected age.
      deviation: float64[n], standard deviation of the age under the head's distribution; None of a
        head that gives an age and no distribution.
      groups: float32[n, k], probabilities of the age groups.
    """

    years: np.ndarray
    deviation: np.ndarray | None
    groups: np.ndarray


def ages_of(probabilities: np.ndarray, target: Target) -> Ages:
    """Years and groups, from probabilities of groups ("age") or of years.

    Age groups of a "years" head are sums over its years, each year in the group that holds it or else
    the nearest; of a head without a distribution, the group of its estimate.

    Args:
      probabilities: float[n, classes], or float[n, 1] years.
      target: what the head learned; of "age" or "years".
    """
    if target.years is None:
        bins, groups = np.array(target.centres), probabilities
    else:
        bins = np.arange(len(target.groups))
        membership = np.eye(len(target.names), dtype=np.float32)[list(target.groups)]
        if probabilities.shape[1] == 1:
            estimate = probabilities[:, 0].astype(np.float64)
            nearest = np.clip(estimate, 0, len(bins) - 1).astype(int)
            return Ages(estimate, None, membership[nearest])
        groups = probabilities @ membership
    mean = expected(probabilities, bins)
    variance = expected(probabilities, np.square(bins)) - np.square(mean)
    return Ages(mean, np.sqrt(np.maximum(variance, 0.0)), groups)
