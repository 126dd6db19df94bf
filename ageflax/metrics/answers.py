"""Answers of a model face by face: the basis of figures, intervals and comparisons."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ageflax.runtime.files import Json


@dataclasses.dataclass(frozen=True)
class Answers:
    """One task's answers; n faces, each once.

    Attributes:
      keys: str[n], names of the faces.
      subjects: str or int[n], subject of each face.
      true: int[n], true class; negative where unknown.
      predicted: int[n], predicted class.
      years_true: float[n], age in years, NaN where unknown; None if no age is known or needed.
      years_predicted: float[n], estimated age in years; None with `years_true`.
      probabilities: float[n, classes]; None for a head that gives an age and no distribution.
      intervals: int[n, levels, 2], first and last year of each face's intervals; None without any.
      label_years: float[n, 2], first and last year that a label names for them, NaN if unknown.
      levels: levels of the intervals.
      ordered: True if a neighbouring class is nearly right: age, not gender.
      minor: float[n], probability of being under 18; None for a head without a distribution over years.
      genders: int[n], gender of each face, negative where unknown; None if none was read.
    """

    keys: np.ndarray
    subjects: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    years_true: np.ndarray | None = None
    years_predicted: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    intervals: np.ndarray | None = None
    label_years: np.ndarray | None = None
    levels: tuple[float, ...] = ()
    ordered: bool = True
    minor: np.ndarray | None = None
    genders: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def known(self) -> np.ndarray:
        """bool[n], True where the true class is known."""
        return self.true >= 0

    def at(self, rows: np.ndarray) -> "Answers":
        """Selects some of the faces by index or mask."""
        chosen = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return dataclasses.replace(self, **chosen)

    def per_face(self) -> dict[str, np.ndarray]:
        """float64[n] per figure: each face's contribution, NaN where its label is unknown.

        A figure is the mean over the faces that have the label: `exact`; for ordered classes `one_off`
        and `mae_classes`; if ages are known `mae`, `cs5` and `bias` (estimated - true), in years.
        """
        unknown = np.where(self.known, 0.0, np.nan)
        distance = np.abs(self.predicted - self.true)
        values = {"exact": (distance == 0) + unknown}
        if self.ordered:
            values |= {"one_off": (distance <= 1) + unknown, "mae_classes": distance + unknown}
        if self.years_true is not None and self.years_predicted is not None:
            error = self.years_predicted.astype(np.float64) - self.years_true.astype(np.float64)
            off = np.abs(error)
            values |= {"mae": off, "cs5": np.where(np.isnan(off), np.nan, off <= 5), "bias": error}
        return values


def joined(parts: Sequence[Answers]) -> Answers:
    """Answers of several folds as one; ages of a fold without known ages become NaN."""
    found: Json = {}
    alike = len({part.levels for part in parts}) == 1
    for name in (field.name for field in dataclasses.fields(Answers)):
        if name in ("levels", "ordered"):
            continue
        values: list[Any] = [
            getattr(part, name) if alike or name != "intervals" else None for part in parts
        ]
        if name.startswith("years") and any(value is not None for value in values):
            values = [
                np.full(len(part), np.nan) if value is None else value
                for part, value in zip(parts, values, strict=True)
            ]
        found[name] = None if any(v is None for v in values) else np.concatenate(values)
    return Answers(**found, levels=parts[0].levels if alike else (), ordered=parts[0].ordered)
