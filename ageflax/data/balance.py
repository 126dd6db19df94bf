"""How often training draws each face of an epoch, so that rare ages are not forgotten."""

import dataclasses
from collections.abc import Mapping

import numpy as np

# Draws are counted in units of 2^-16: in whole numbers an epoch's faces are the same on every machine,
# whose powers of floats differ in the last bit.
ONE = 2**16
# Half the width, in years, of the window in which faces count as of the same age.
_WINDOW = 2.5
# Largest number of draws per epoch: a single face of 116 years would fill a percent of it otherwise.
_MOST = 10.0


@dataclasses.dataclass(frozen=True)
class Draws:
    """Expected number of draws of each face in an epoch of as many draws as there are faces.

    Attributes:
      expected: int64[n], draws in units of 1 / ONE; their sum is n ONE.
      place: int64[n], rank of the face's stratum: faces of one gender and age, ages in order.
    """

    expected: np.ndarray
    place: np.ndarray

    def __len__(self) -> int:
        return len(self.expected)


def draws(
    labels: Mapping[str, np.ndarray], rows: np.ndarray, *, balance: float, by: str
) -> Draws | None:
    """Draws proportional to c^-balance, for a face that shares its age (or gender) with c others.

    In years, the c faces are those at most 2.5 years younger or older, in age groups those of the
    group, by "age+gender" those of them with the same gender. At most ten draws per epoch go to one
    face. A face without such a label is drawn once, as all are without a balance.

    References: Yang et al., Delving into deep imbalanced regression, ICML 2021, which smooths the
      density of labels likewise, with a Gaussian, to weight losses.

    Args:
      labels: labels of all faces per task, NaN or UNKNOWN (-1) where a face has none.
      rows: training faces.
      balance: 0 for every face once, 1 for every age (or gender) equally often.
      by: "age", "gender" or "age+gender"; ages are those of the task "years", else of "age".

    Returns:
      Draws of the rows; None for a balance of 0.
    """
    if not balance:
        return None
    age_task = "years" if "years" in labels else "age"
    each = np.zeros(len(rows))
    cell = np.zeros(len(rows), np.int64)
    if "age" in by:
        each = labels[age_task][rows].astype(np.float64)
    if "gender" in by:
        cell = labels["gender"][rows].astype(np.int64)
    known = ~np.isnan(each) & (each >= 0) & (cell >= 0)
    sizes = _sizes(each, cell, known, _WINDOW if age_task == "years" else 0.0)
    expected = np.ones(len(rows))
    expected[known] = _limited(sizes[known] ** -balance)
    strata = np.stack([known, cell, np.where(known, each, 0.0)])
    _, place = np.unique(strata, axis=1, return_inverse=True)
    return Draws(_in_units(expected), place.reshape(-1))


def _sizes(each: np.ndarray, cell: np.ndarray, known: np.ndarray, window: float) -> np.ndarray:
    """float64[n], number of known faces of the same cell whose value is within the window."""
    sizes = np.zeros(len(each))
    for number in np.unique(cell[known]):
        chosen = known & (cell == number)
        ordered, values = np.sort(each[chosen]), each[chosen]
        ends = np.searchsorted(ordered, values + window, side="right")
        sizes[chosen] = ends - np.searchsorted(ordered, values - window, side="left")
    return sizes


def _limited(shares: np.ndarray) -> np.ndarray:
    """Multiple of the shares with a mean of 1, no value above _MOST."""
    expected, capped = np.zeros(len(shares)), np.zeros(len(shares), bool)
    while not capped.all():
        rest = len(shares) - _MOST * capped.sum()
        expected[~capped] = shares[~capped] * (rest / shares[~capped].sum())
        over = ~capped & (expected > _MOST)
        if not over.any():
            break
        expected[over], capped = _MOST, capped | over
    return expected


def _in_units(expected: np.ndarray) -> np.ndarray:
    """int64[n] in units of 1 / ONE, with the sum n ONE exactly."""
    units = np.rint(expected * ONE).astype(np.int64)
    missing = len(units) * ONE - int(units.sum())
    units[np.argsort(-units, kind="stable")[: abs(missing)]] += np.sign(missing)
    return units
