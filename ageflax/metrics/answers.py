"""Answers of a model face by face: the basis of figures, intervals and comparisons."""

import dataclasses
from collections.abc import Sequence

import numpy as np


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
      ordered: True if a neighbouring class is nearly right: age, not gender.
    """

    keys: np.ndarray
    subjects: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    years_true: np.ndarray | None = None
    years_predicted: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    ordered: bool = True

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def known(self) -> np.ndarray:
        """bool[n], True where the true class is known."""
        return np.asarray(self.true) >= 0

    def at(self, rows: np.ndarray) -> "Answers":
        """Selects some of the faces by index or mask."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        chosen = {
            name: np.asarray(value)[rows]
            for name, value in fields.items()
            if value is not None and name != "ordered"
        }
        return dataclasses.replace(self, **chosen)

    def per_face(self) -> dict[str, np.ndarray]:
        """float64[n] per figure: each face's contribution, NaN where its label is unknown.

        A figure is the mean over the faces that have the label: `exact`; for ordered classes `one_off`
        and `mae_classes`; if ages are known `mae`, `cs5` and `bias` (estimated - true), in years.
        """
        unknown = np.where(self.known, 0.0, np.nan)
        distance = np.abs(np.asarray(self.predicted) - np.asarray(self.true))
        values = {"exact": (distance == 0) + unknown}
        if self.ordered:
            values |= {"one_off": (distance <= 1) + unknown, "mae_classes": distance + unknown}
        if self.years_true is not None and self.years_predicted is not None:
            error = np.asarray(self.years_predicted, np.float64) - np.asarray(
                self.years_true, np.float64
            )
            off = np.abs(error)
            values |= {"mae": off, "cs5": np.where(np.isnan(off), np.nan, off <= 5), "bias": error}
        return values


def joined(parts: Sequence[Answers]) -> Answers:
    """Answers of several folds as one; ages of a fold without known ages become NaN."""

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    def years(name: str) -> np.ndarray | None:
        values = [getattr(part, name) for part in parts]
        if all(value is None for value in values):
            return None
        return np.concatenate(
            [
                np.full(len(part), np.nan) if value is None else value
                for part, value in zip(parts, values, strict=True)
            ]
        )

    distributions = all(part.probabilities is not None for part in parts)
    return Answers(
        keys=column("keys"),
        subjects=column("subjects"),
        true=column("true"),
        predicted=column("predicted"),
        years_true=years("years_true"),
        years_predicted=years("years_predicted"),
        probabilities=column("probabilities") if distributions else None,
        ordered=parts[0].ordered,
    )
