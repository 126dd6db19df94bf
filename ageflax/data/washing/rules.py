"""Washes records: keeps those fit to learn from, and names the reason for each other one.

The default is the usual rule for crawled faces, as public code applies it to IMDB-WIKI: a face score of
1 or more, no second face, a known gender, an age of 0 to 100. Checks of the image itself, which that
code lacks, are added.
"""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ageflax.data.washing.inspection import Inspection, by_pixels, inspect
from ageflax.data.washing.report import (
    CONFLICT,
    DUPLICATE,
    Identical,
    Record,
    Rejection,
    Report,
)
from ageflax.errors import InputError

# Images in flight. Only hashes and rows are kept, so memory does not grow with the images.
_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Conditions for keeping a record; the defaults are the usual rule.

    Attributes:
      min_age: lowest age in years.
      max_age: highest age in years.
      age_needed: True rejects records with neither age nor age label.
      gender_needed: True rejects records without a gender.
      min_face_score: lowest score of the face detector, if the source has one; None ignores scores.
      second_face_allowed: True allows another face in the picture.
      smallest_side: shortest allowed side in pixels; 2 rejects the 1x1 images of crawls.
      flatness: std in grey levels (of 255) below which an image is flat; 0 rejects only all-zero images.
      duplicates_allowed: True allows an image to occur again; False keeps its first record.
      conflicts_allowed: True allows identical images with different labels; False keeps none of them,
        because the right label is unknown.

    Raises:
      InputError: no record can meet the bounds, or a value is not a number.
    """

    min_age: float = 0.0
    max_age: float = 100.0
    age_needed: bool = True
    gender_needed: bool = True
    min_face_score: float | None = 1.0
    second_face_allowed: bool = False
    smallest_side: int = 2
    flatness: float = 1.0
    duplicates_allowed: bool = True
    conflicts_allowed: bool = True

    def __post_init__(self):
        if not self.min_age <= self.max_age:
            raise InputError(f"washing: min_age={self.min_age} is above max_age={self.max_age}")
        if self.min_face_score is not None and math.isnan(self.min_face_score):
            raise InputError("washing: min_face_score is not a number")
        if self.smallest_side < 1:
            raise InputError(f"washing: smallest_side={self.smallest_side} is below 1 pixel")
        if not 0.0 <= self.flatness <= 127.5:
            raise InputError(f"washing: flatness={self.flatness} is not in 0 to 127.5 grey levels")

    def as_json(self) -> dict[str, float | bool | None]:
        """All thresholds; infinite ones, which JSON cannot express, become None."""
        return {
            name: None if isinstance(value, float) and math.isinf(value) else value
            for name, value in dataclasses.asdict(self).items()
        }


USUAL = Thresholds()
# Keeps every record whose image can be read and shows something.
READABLE = Thresholds(
    min_age=-math.inf,
    max_age=math.inf,
    age_needed=False,
    gender_needed=False,
    min_face_score=None,
    second_face_allowed=True,
)


def check_record(record: Record, thresholds: Thresholds) -> tuple[str, str]:
    """Checks a record before its image is read.

    Returns:
      One of RECORD_REASONS and the offending value; two empty texts for a good record.
    """
    score, second = record.face_score, record.second_face_score
    if score is not None and thresholds.min_face_score is not None:
        if not math.isfinite(score):
            return "no face", ""
        if score < thresholds.min_face_score:
            return "low face score", f"{score:g}"
    if not thresholds.second_face_allowed and second is not None and not math.isnan(second):
        return "second face", f"{second:g}"
    if thresholds.gender_needed and record.gender not in (0, 1):
        return "gender unknown", ""
    if math.isnan(record.age):
        if thresholds.age_needed and not record.age_label:
            return "age unknown", ""
    elif not thresholds.min_age <= record.age <= thresholds.max_age:
        return "age out of range", f"{record.age:g}"
    return "", ""


def _inspections(
    rows: Sequence[int],
    read: Callable[[int], bytes],
    thresholds: Thresholds,
    progress: Callable[[int], object],
) -> Iterator[Inspection]:
    """Inspects the images of some rows, in order, on all cores (decoding releases the GIL)."""

    def look(row: int) -> Inspection:
        return inspect(
            functools.partial(read, row),
            smallest_side=thresholds.smallest_side,
            flatness=thresholds.flatness,
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(rows), _BATCH):
            for inspection in pool.map(look, rows[start : start + _BATCH]):
                yield inspection
                progress(1)


def _identical(
    records: Sequence[Record], inspections: dict[int, Inspection]
) -> list[tuple[list[int], Identical]]:
    """Groups of two or more rows with the same pixels, each with its entry in the report."""
    groups = []
    for rows in by_pixels(inspections.items()):
        if len(rows) > 1:
            members = tuple(records[row] for row in rows)
            files = {inspections[row].file_digest for row in rows}
            conflicting = len({record.labels for record in members}) > 1
            groups.append((rows, Identical(members, len(files) == 1, conflicting)))
    return groups


def _rejected_groups(
    groups: Sequence[tuple[list[int], Identical]], thresholds: Thresholds
) -> Iterator[tuple[int, str, str]]:
    """Yields row, reason and detail of the records rejected for identical images."""
    for rows, group in groups:
        if group.conflicting and not thresholds.conflicts_allowed:
            for k, row in enumerate(rows):
                yield row, CONFLICT, f"same image as {group.records[0 if k else 1].key}"
        elif not thresholds.duplicates_allowed:
            for row in rows[1:]:
                yield row, DUPLICATE, f"same image as {group.records[0].key}"


def wash(
    records: Sequence[Record],
    read: Callable[[int], bytes],
    thresholds: Thresholds = USUAL,
    *,
    progress: Callable[[int], object] = lambda done: None,
) -> Report:
    """Checks every record, then the images of those that passed, in threads.

    Args:
      records: rows of the source.
      read: row -> bytes of its image; called from several threads; raises images.BadImageError if there
        are none.
      thresholds: conditions for keeping a record.
      progress: called with 1 for each inspected image.

    Returns:
      Rows kept and rejected, each once. A record is rejected for the first reason that applies.
    """
    rejections = {}
    to_see = []
    for row, record in enumerate(records):
        reason, detail = check_record(record, thresholds)
        if reason:
            rejections[row] = Rejection(row, record.key, reason, detail)
        else:
            to_see.append(row)
    seen: dict[int, Inspection] = {}
    for row, inspection in zip(
        to_see, _inspections(to_see, read, thresholds, progress), strict=True
    ):
        if inspection.fault:
            rejections[row] = Rejection(row, records[row].key, inspection.fault)
        else:
            seen[row] = inspection
    groups = _identical(records, seen)
    for row, reason, detail in _rejected_groups(groups, thresholds):
        rejections[row] = Rejection(row, records[row].key, reason, detail)
    kept = [row for row in seen if row not in rejections]
    return Report(
        records=len(records),
        kept=kept,
        sizes=[seen[row].size for row in kept],
        hashes=[seen[row].perceptual_hash for row in kept],
        rejected=[rejections[row] for row in sorted(rejections)],
        identical=[group for _, group in groups],
        thresholds=thresholds.as_json(),
    )
