"""The figures of summary.json that pages and tables show, and a task's confusion matrix."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ageflax.report import wording


class Figure(NamedTuple):
    """A figure of summary.json and its presentation.

    Attributes:
      key: its key in summary.json.
      name: row heading.
      short: start of a column heading.
      unit: "%" for shares, which summary.json has from 0 to 1; "years" or "groups" for errors.
      floor: key of the best constant answer's figure; None if there is none.
    """

    key: str
    name: str
    short: str
    unit: str
    floor: str | None = None

    @property
    def is_share(self) -> bool:
        """True if it is a share, where more is better; otherwise it is an error."""
        return self.unit == "%"

    @property
    def heading(self) -> str:
        """Column heading, such as "exact %" or "MAE, years"."""
        return f"{self.short}{'' if self.is_share else ','} {self.unit}"

    @property
    def scale(self) -> int:
        """Factor from summary.json to the unit."""
        return 100 if self.is_share else 1

    @property
    def decimals(self) -> int:
        """Digits shown after the point."""
        return 1 if self.is_share else 2

    def show(self, value: float | None) -> str:
        """A value as text; a dash for None."""
        return wording.number(value, self.scale, self.decimals)

    def signed(self, value: float | None) -> str:
        """A difference as text with its sign; a dash for None."""
        return wording.signed(value, self.scale, self.decimals)

    def interval(self, ends: Sequence[float | None] | None) -> str:
        """An interval as text; a dash for None."""
        return wording.interval(ends, self.scale, self.decimals)


EXACT = Figure("exact", "Exact accuracy", "exact", "%", "majority_floor")
ONE_OFF = Figure("one_off", "One-off accuracy", "one-off", "%", "one_off_floor")
MAE = Figure("mae", "Mean absolute error", "MAE", "years", "mae_floor")
CS5 = Figure("cs5", "CS@5, within five years", "CS@5", "%", "cs5_floor")
DISTANCE = Figure("mae_classes", "Mean distance", "distance", "groups")
FIGURES = (EXACT, ONE_OFF, MAE, CS5, DISTANCE)


def known(*tasks: Mapping[str, Any]) -> list[Figure]:
    """Those of FIGURES that any of these tasks' figures have."""
    return [figure for figure in FIGURES if any(figure.key in task for task in tasks)]


_DRAWN = {
    "subject": "{}, each with all of their faces, are",
    "subject or face": "{} (a face without one counts as one), each with all of their faces, are",
    "face": "{}, not people, are",
}


def interval_words(intervals: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """How a task's intervals were made, in a sentence.

    Args:
      intervals: the task's intervals.
      data: description of the dataset.
    """
    unit = wording.drawn_by(data)
    drawn = wording.counted(intervals["persons"], unit.partition(" ")[0])
    if intervals["persons"] < 2:
        return f"No interval can be computed from {drawn}."
    return (
        f"The interval is for the figure over all faces together, by bootstrap:"
        f" {_DRAWN[unit].format(drawn)} drawn with replacement {intervals['resamples']:,} times."
    )


def matrix(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pooled confusion matrix: a row per true class, with recall and precision."""
    counts = figures["confusion"]
    rows = []
    for k, name in enumerate(figures["per_class"]):
        faces, predicted = sum(counts[k]), sum(row[k] for row in counts)
        rows.append(
            {
                "name": name,
                "counts": counts[k],
                "faces": faces,
                "predicted": predicted,
                "recall": counts[k][k] / faces if faces else None,
                "precision": counts[k][k] / predicted if predicted else None,
            }
        )
    return rows
