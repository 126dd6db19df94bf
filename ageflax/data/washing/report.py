"""What washing found: which records are kept, why the others are not, and the books balanced."""

import collections
import csv
import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ageflax.data.washing.inspection import FAULTS
from ageflax.runtime.files import write_json

REPORT, REJECTED, IDENTICAL = "wash_report.json", "rejected.csv", "identical_images.csv"
RECORD_REASONS = (
    "no face",
    "low face score",
    "second face",
    "gender unknown",
    "age unknown",
    "age out of range",
)
DUPLICATE, CONFLICT = "duplicate", "conflicting labels"
# All reasons, in the order of the checks: a record is rejected for the first that applies.
REASONS = (*RECORD_REASONS, *FAULTS, CONFLICT, DUPLICATE)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What washing knows of an image before it looks at it.

    Attributes:
      key: names the image in the report.
      subject: the person, "" if unknown.
      age_label: the source's text, "" if none.
      age: years, NaN if unknown.
      gender: 0 female, 1 male, -1 unknown.
      face_score: the detector's, not finite where it found no face; None where no detector ran.
      second_face_score: of another face in the picture; NaN or None where there is none.
    """

    key: str
    subject: str = ""
    age_label: str = ""
    age: float = math.nan
    gender: int = -1
    face_score: float | None = None
    second_face_score: float | None = None

    @property
    def labels(self) -> tuple[str, float | None, int]:
        """What identical images must agree on. No NaN, which would differ from itself."""
        return self.age_label, None if math.isnan(self.age) else self.age, self.gender


@dataclasses.dataclass(frozen=True, slots=True)
class Rejection:
    """A record that is left out.

    Attributes:
      row: its index among the records.
      key: its name.
      reason: one of REASONS.
      detail: the offending value, where there is one.
    """

    row: int
    key: str
    reason: str
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Identical:
    """Records whose images are the same, pixel for pixel.

    Attributes:
      records: two or more, in their order.
      same_file: whether the files are equal too, byte for byte.
      conflicting: whether their labels differ.
    """

    records: tuple[Record, ...]
    same_file: bool
    conflicting: bool


@dataclasses.dataclass(frozen=True)
class Report:
    """The outcome of washing. Kept and rejected records add up to the input.

    Attributes:
      records: how many there were.
      kept: rows of the good ones, ascending.
      sizes: bytes of each kept image's file.
      hashes: perceptual hash of each kept image.
      rejected: the others, by row.
      identical: groups of the same image, whether its records are kept or not.
      thresholds: what was asked for.
    """

    records: int
    kept: Sequence[int]
    sizes: Sequence[int]
    hashes: Sequence[int]
    rejected: Sequence[Rejection]
    identical: Sequence[Identical]
    thresholds: dict[str, float | bool | None]

    def __post_init__(self):
        rows = [*self.kept, *(rejection.row for rejection in self.rejected)]
        assert sorted(rows) == list(range(self.records)), "records got lost or counted twice"
        assert len(self.sizes) == len(self.hashes) == len(self.kept)

    @property
    def counts(self) -> dict[str, int]:
        """Rejected records by reason, in the order of REASONS; only reasons that occur."""
        return count_by_reason(rejection.reason for rejection in self.rejected)

    def as_json(self) -> dict[str, Any]:
        """Counts and thresholds, JSON values only; the counts add up to `records`."""
        conflicts = [group for group in self.identical if group.conflicting]
        return {
            "records": self.records,
            "kept": len(self.kept),
            "rejected": self.counts,
            "identical_images": {
                "groups": len(self.identical),
                "records": sum(len(group.records) for group in self.identical),
                "groups_with_conflicting_labels": len(conflicts),
            },
            "thresholds": self.thresholds,
        }

    def write(self, folder: Path) -> None:
        """Writes wash_report.json, rejected.csv and identical_images.csv into a folder."""
        write_json(folder / REPORT, self.as_json())
        rows = ((r.row, r.key, r.reason, r.detail) for r in self.rejected)
        write_csv(folder / REJECTED, ("row", "key", "reason", "detail"), rows)
        write_csv(
            folder / IDENTICAL,
            ("group", "key", "subject", "age_label", "age", "gender", "same_file", "conflicting"),
            (
                (number, *_cells(record), group.same_file, group.conflicting)
                for number, group in enumerate(self.identical)
                for record in group.records
            ),
        )


def _cells(record: Record) -> tuple[str | float | int, ...]:
    age = "" if math.isnan(record.age) else record.age
    return record.key, record.subject, record.age_label, age, record.gender


def count_by_reason(reasons: Iterable[str], order: Sequence[str] = REASONS) -> dict[str, int]:
    """How often each reason occurs, in the given order; those that do not occur are left out."""
    found = collections.Counter(reasons)
    return {reason: found[reason] for reason in order if found[reason]}


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table as CSV in UTF-8; with no rows, the header stands alone."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
