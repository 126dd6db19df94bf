"""Report of washing: the records kept, and the reason for each other one."""

import collections
import csv
import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ageflax.data.washing.inspection import FAULTS
from ageflax.runtime import files

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
# All reasons in the order of the checks; a record is rejected for the first that applies.
REASONS = (*RECORD_REASONS, *FAULTS, CONFLICT, DUPLICATE)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """Facts about an image known before it is inspected.

    Attributes:
      key: name of the image in the report.
      subject: name of the subject, "" if unknown.
      age_label: text in the source, "" if none.
      age: years, NaN if unknown.
      gender: 0 female, 1 male, -1 unknown.
      face_score: detector's score, not finite if it found no face; None if no detector ran.
      second_face_score: score of another face in the picture; NaN or None if there is none.
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
        """Labels that identical images must share. No NaN, which would differ from itself."""
        return self.age_label, None if math.isnan(self.age) else self.age, self.gender


@dataclasses.dataclass(frozen=True, slots=True)
class Rejection:
    """A rejected record.

    Attributes:
      row: index of the record.
      key: name of the record.
      reason: one of REASONS.
      detail: offending value, if any.
    """

    row: int
    key: str
    reason: str
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Identical:
    """Records whose images are the same, pixel for pixel.

    Attributes:
      records: two or more records, in their order.
      same_file: True if the files are equal too, byte for byte.
      conflicting: True if their labels differ.
    """

    records: tuple[Record, ...]
    same_file: bool
    conflicting: bool


@dataclasses.dataclass(frozen=True)
class Report:
    """Outcome of washing. Kept and rejected records add up to the input.

    Attributes:
      records: number of records.
      kept: rows of the kept records, ascending.
      sizes: bytes of each kept image's file.
      hashes: perceptual hash of each kept image.
      rejected: the other records, by row.
      identical: groups of the same image, whether its records are kept or not.
      thresholds: values of Thresholds.
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
        """Number of rejected records by reason, in the order of REASONS; only reasons that occur."""
        return count_by_reason(rejection.reason for rejection in self.rejected)

    def as_json(self) -> dict[str, Any]:
        """Counts and thresholds as JSON values; the counts add up to `records`."""
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
        """Writes wash_report.json, rejected.csv and identical_images.csv to a folder."""
        files.write_json(folder / REPORT, self.as_json())
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
    """Counts each reason, in the given order; reasons that do not occur are left out."""
    found = collections.Counter(reasons)
    return {reason: found[reason] for reason in order if found[reason]}


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a table as CSV in UTF-8; without rows, the header alone."""
    with files.naming(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
