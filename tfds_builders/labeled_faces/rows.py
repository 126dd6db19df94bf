"""Parses rows of labels.csv into faces; each invalid row is listed with its line and the reason."""

import dataclasses
import math
import posixpath
import re
from collections.abc import Callable, Iterable

from ageflax import labels
from ageflax.data.washing.inspection import FAULTS
from ageflax.errors import shown
from ageflax.labels import GENDERS, UNKNOWN

from .labels_file import Line

# Reasons to leave out a row before its photograph is read, in the order of the checks.
ROW_REASONS = (
    "cells",
    "path",
    "age",
    "age group",
    "gender",
    "subject",
    "fold",
    "no label",
    "duplicate row",
    "conflicting rows",
)
REASONS = ROW_REASONS + FAULTS

_GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male"}
_INTEGER = re.compile(r"-?[0-9]+")
# "26,5"; three digits may be thousands.
_DECIMAL_COMMA = re.compile(r"^([0-9]+),([0-9]{1,2}|[0-9]{4,})$")
# Spreadsheets write "2.0" in a column of whole numbers with empty cells.
_FOLD = re.compile(r"([0-5])(\.0*)?")
_DRIVE = re.compile(r"[A-Za-z]:")


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
      line: line number in labels.csv, from 1; 0 for a label in the photograph's name.
      path: path of its photograph, as written.
      reason: one of REASONS.
      detail: explanation, if there is more to say.
    """

    line: int
    path: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        if not self.line:
            return f"{self.path}: {self.detail or self.reason}"
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
    if labels.is_unknown(text):
        return math.nan
    try:
        low, high = labels.bounds(_DECIMAL_COMMA.sub(r"\1.\2", text))
    except ValueError as error:
        why = "is not a number of years" if str(error) == labels.NO_LABEL else error
        raise RowError(
            "age", f"age {text if _INTEGER.fullmatch(text) else shown(text)} {why}"
        ) from error
    if low != high:
        raise RowError(
            "age",
            f"age {shown(text)} is not a number of years; rename age to age_group if it holds ranges",
        )
    return low


def _age_group(text: str) -> str:
    if labels.is_unknown(text):
        return ""
    try:
        labels.bounds(text)
    except ValueError as error:
        raise RowError("age group", f"age group {shown(text)} {error}") from error
    return text


def _gender(text: str) -> int:
    word = text.lower()
    if labels.is_unknown(word):
        return UNKNOWN
    if word in _GENDERS:
        return GENDERS.index(_GENDERS[word])
    if re.fullmatch(r"[-+]?[0-9.]+", word):
        raise RowError(
            "gender",
            f"gender {text!r}: datasets disagree on the meaning of numbers; write female or male",
        )
    raise RowError("gender", f"gender {text!r} is neither female (f) nor male (m)")


def _subject(text: str) -> str:
    """The subject, "" if unknown; "U" is a name here."""
    if labels.is_unknown(text) and text.lower() != "u":
        return ""
    if text.count('"') % 2:
        raise RowError("subject", f"subject {shown(text)} has a stray quote")
    return text


def _fold(text: str) -> int | None:
    # -1 is no fold: elsewhere it means never tested.
    if labels.is_unknown(text) and not text.startswith("-1"):
        return None
    match = _FOLD.fullmatch(text)
    if match is None or match[1] == "5":
        raise RowError("fold", f"fold {shown(text)} is not one of 0 to 4")
    return int(match[1])


def counted_from_1(lines: Iterable[Line]) -> bool:
    """True if folds 5 and not 0 occur, as where five folds are counted from 1."""
    matches = (_FOLD.fullmatch(line.cells.get("fold", "")) for line in lines)
    numbers = {match[1] for match in matches if match}
    return "5" in numbers and "0" not in numbers


def parse(line: Line, locate: Callable[[str], str] = str) -> Face:
    """Parses a row.

    Args:
      line: the row.
      locate: function that returns a path as the disk spells it.

    Raises:
      RowError: the row is invalid.
    """
    if line.problem:
        raise RowError("cells", line.problem)
    cells = line.cells
    face = Face(
        line=line.number,
        path=locate(_path(cells.get("path", ""))),
        age=_age(cells.get("age", "")),
        age_group=_age_group(cells.get("age_group", "")),
        gender=_gender(cells.get("gender", "")),
        subject=_subject(cells.get("subject", "")),
        fold=_fold(cells.get("fold", "")),
    )
    if math.isnan(face.age) and not face.age_group and face.gender == UNKNOWN:
        raise RowError("no label", "no age, age group or gender")
    return face


def parse_all(
    lines: Iterable[Line], locate: Callable[[str], str] = str
) -> tuple[list[Face], list[Rejection]]:
    """Parses all rows, each into a face or a rejection; see `parse`.

    Only the first of rows with the same labels of a photograph is used; none if they disagree, since
    nothing says which is right.
    """
    rejected = []
    rows_of: dict[str, list[Face]] = {}
    for line in lines:
        try:
            face = parse(line, locate)
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
