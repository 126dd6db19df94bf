"""Parses rows of labels.csv into faces; each invalid row is listed with its line and the reason."""

import dataclasses
import math
import posixpath
import re
from collections.abc import Iterable

from ageflax.data.washing.inspection import FAULTS
from ageflax.labels import GENDERS, UNKNOWN

from .labels_file import Line

# Reasons to leave out a row before its photograph is read, in the order of the checks.
ROW_REASONS = (
    "cells",
    "path",
    "age",
    "age group",
    "gender",
    "fold",
    "no label",
    "duplicate row",
    "conflicting rows",
)
REASONS = ROW_REASONS + FAULTS
MAX_AGE = 130

_UNKNOWN = frozenset(("", "u", "unknown", "none", "nan", "na", "n/a", "null"))
_GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male"}
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?")
# Spreadsheets write "2.0" in a column of whole numbers with empty cells.
_FOLD = re.compile(r"([0-4])(\.0*)?")
_DRIVE = re.compile(r"[A-Za-z]:")
_LONGEST_AGE_GROUP = 40


@dataclasses.dataclass(frozen=True, slots=True)
class Face:
    """A row with valid text.

    Attributes:
      line: line number in labels.csv, from 1.
      path: path of the photograph below the folder of labels.csv, normalised, with forward slashes.
      age: years, NaN if unknown.
      age_group: the file's own text, "" if none.
      gender: index into GENDERS, -1 if unknown.
      subject: the subject, "" if not given.
      fold: 0 to 4, None if not given.
    """

    line: int
    path: str
    age: float
    age_group: str
    gender: int
    subject: str
    fold: int | None

    @property
    def labels(self) -> tuple[float | None, str, int, str, int | None]:
        """Labels that rows of a photograph must agree on; None for NaN, which differs from itself."""
        age = None if math.isnan(self.age) else self.age
        return age, self.age_group, self.gender, self.subject, self.fold


@dataclasses.dataclass(frozen=True, slots=True)
class Rejection:
    """A row that is left out.

    Attributes:
      line: line number in labels.csv, from 1.
      path: path of its photograph, as written.
      reason: one of REASONS.
      detail: explanation, if there is more to say.
    """

    line: int
    path: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.detail or f'{self.path}: {self.reason}'}"


class RowError(Exception):
    """An invalid row; `reason` is one of ROW_REASONS, the message explains."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


def _path(text: str) -> str:
    """Normalises a relative path; backslashes are taken for Windows' separators.

    Links are followed anywhere: whoever can put them into the folder owns it.
    """
    if not text:
        raise RowError("path", "no path")
    path = text.replace("\\", "/")
    if path.startswith("/") or _DRIVE.match(path):
        raise RowError(
            "path", f"path {text!r} is absolute; write it relative to the folder of labels.csv"
        )
    path = posixpath.normpath(path)
    if path == ".." or path.startswith("../"):
        raise RowError("path", f"path {text!r} leaves the folder of labels.csv")
    return path


def _age(text: str) -> float:
    if text.lower() in _UNKNOWN:
        return math.nan
    if text.startswith("-") and _NUMBER.fullmatch(text[1:]):
        raise RowError("age", f"age {text} is below 0")
    if not _NUMBER.fullmatch(text):
        raise RowError("age", f"age {text!r} is not a number of years")
    age = float(text)
    if age > MAX_AGE:
        raise RowError("age", f"age {text} is above {MAX_AGE}")
    return age


def _age_group(text: str) -> str:
    if text.lower() in _UNKNOWN:
        return ""
    if not re.search("[0-9]", text):
        raise RowError("age group", f"age group {text!r} holds no number")
    if len(text) > _LONGEST_AGE_GROUP:
        raise RowError("age group", f"age group {text[:20]!r}... is {len(text)} characters long")
    return text


def _gender(text: str) -> int:
    word = text.lower()
    if word in _UNKNOWN:
        return UNKNOWN
    if word in _GENDERS:
        return GENDERS.index(_GENDERS[word])
    if re.fullmatch(r"[-+]?[0-9.]+", word):
        raise RowError(
            "gender",
            f"gender {text!r}: datasets disagree on the meaning of numbers; write female or male",
        )
    raise RowError("gender", f"gender {text!r} is neither female (f) nor male (m)")


def _fold(text: str) -> int | None:
    if text.lower() in _UNKNOWN:
        return None
    match = _FOLD.fullmatch(text)
    if match is None:
        raise RowError("fold", f"fold {text!r} is not one of 0 to 4")
    return int(match[1])


def parse(line: Line) -> Face:
    """Parses a row.

    Raises:
      RowError: the row is invalid.
    """
    if line.problem:
        raise RowError("cells", line.problem)
    cells = line.cells
    face = Face(
        line=line.number,
        path=_path(cells["path"]),
        age=_age(cells.get("age", "")),
        age_group=_age_group(cells.get("age_group", "")),
        gender=_gender(cells.get("gender", "")),
        subject=cells.get("subject", ""),
        fold=_fold(cells.get("fold", "")),
    )
    if math.isnan(face.age) and not face.age_group and face.gender == UNKNOWN:
        raise RowError("no label", "no age, age group or gender")
    return face


def parse_all(lines: Iterable[Line]) -> tuple[list[Face], list[Rejection]]:
    """Parses all rows, each into a face or a rejection.

    Only the first of rows with the same labels of a photograph is used; none if they disagree, since
    nothing says which is right.
    """
    rejected = []
    rows_of: dict[str, list[Face]] = {}
    for line in lines:
        try:
            face = parse(line)
        except RowError as error:
            written = line.cells.get("path", "")
            rejected.append(Rejection(line.number, written, error.reason, str(error)))
        else:
            rows_of.setdefault(face.path, []).append(face)
    faces = []
    for first, *others in rows_of.values():
        rows = [first, *others]
        if all(other.labels == first.labels for other in others):
            faces.append(first)
            rejected += [
                Rejection(
                    face.line, face.path, "duplicate row", f"says the same as line {first.line}"
                )
                for face in others
            ]
        else:
            lines_named = ", ".join(str(face.line) for face in rows)
            detail = f"lines {lines_named} disagree on {first.path}"
            rejected += [
                Rejection(face.line, face.path, "conflicting rows", detail) for face in rows
            ]
    return faces, sorted(rejected, key=lambda rejection: rejection.line)
