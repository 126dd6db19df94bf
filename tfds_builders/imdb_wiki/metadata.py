"""Metadata of each face, from wiki.mat and imdb.mat."""

import dataclasses
import datetime
import math
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ageflax.errors import InputError, one_line
from ageflax.labels import UNKNOWN

from . import mat_file

DATABASES = ("wiki", "imdb")
# MATLAB counts days from year 0, Python from year 1.
_MATLAB_EPOCH = 366
_LAST_DAY = datetime.date.max.toordinal()


@dataclasses.dataclass(frozen=True, eq=False)
class Metadata:
    """Records of one of the two databases, as in the file.

    Attributes:
      database: one of DATABASES.
      paths: str[n], paths below the database's folder, such as "17/10000217_1981-05-05_2009.jpg".
      names: str[n], the subjects' names, "" if not given.
      celebrities: int[n], celeb_id, from 1; 0 if there is none, as in all of wiki.
      celebrity_names: names by celeb_id, in order; empty for wiki.
      ages: float64[n], whole years on 1 July of the photo's year; NaN without a valid date.
      genders: int[n], 0 female, 1 male, -1 unknown.
      face_scores: float64[n], the detector's score; -inf if it found no face.
      second_face_scores: float64[n], score of another face; NaN if there is none.
      photo_years: int[n], year of the photo; 0 if unknown.
    """

    database: str
    paths: Sequence[str]
    names: Sequence[str]
    celebrities: np.ndarray
    celebrity_names: Sequence[str]
    ages: np.ndarray
    genders: np.ndarray
    face_scores: np.ndarray
    second_face_scores: np.ndarray
    photo_years: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int]) -> "Metadata":
        """Some of the records."""
        index = np.array(rows, np.int64)
        return Metadata(
            database=self.database,
            paths=[self.paths[row] for row in rows],
            names=[self.names[row] for row in rows],
            celebrities=self.celebrities[index],
            celebrity_names=self.celebrity_names,
            ages=self.ages[index],
            genders=self.genders[index],
            face_scores=self.face_scores[index],
            second_face_scores=self.second_face_scores[index],
            photo_years=self.photo_years[index],
        )


def _years(born: float, taken: float) -> float:
    """Age in years if the photo is from 1 July; NaN if a date is invalid.

    Args:
      born: day of birth as MATLAB counts days.
      taken: year of the photo.
    """
    day = born - _MATLAB_EPOCH
    if not (1 <= day <= _LAST_DAY and datetime.MINYEAR <= taken <= datetime.MAXYEAR):  # or NaN
        return math.nan
    birth = datetime.date.fromordinal(int(day))
    return int(taken) - birth.year - (birth.month >= 7)


def _load(content: bytes, name: str, database: str) -> mat_file.Struct:
    """Reads the struct in a .mat file."""
    try:
        variables = mat_file.read(content)
    except mat_file.DamagedError as error:
        raise InputError(f"{name}: not a readable .mat file, or damaged ({error})") from error
    if database not in variables:
        found = one_line(", ".join(variables)) or "nothing"
        raise InputError(f"{name}: no struct {database!r}; it holds {found}")
    struct = variables[database]
    if not isinstance(struct, mat_file.Struct):
        raise InputError(f"{name}: {database!r} is not one struct")
    return struct


class _Fields:
    """Checked access to the fields of a struct; errors name the file and the field."""

    def __init__(self, fields: mat_file.Struct, name: str):
        self._fields, self._name = fields, name
        self._length: tuple[str, int] | None = None

    def refuse(self, field: str, problem: str) -> InputError:
        return InputError(f"{self._name}: field {field!r} {problem}")

    def _row(self, field: str, *, of_records: bool = True) -> np.ndarray:
        if field not in self._fields:
            raise InputError(f"{self._name}: no field {field!r}")
        try:
            values = np.atleast_1d(np.asarray(self._fields[field]))
        except mat_file.DamagedError as error:
            raise self.refuse(field, f"is damaged ({error})") from error
        if values.size not in values.shape and values.size > 0:
            raise self.refuse(field, f"is a table of {values.shape}, not a row")
        values = values.reshape(-1)
        if of_records:
            first, length = self._length or (field, len(values))
            self._length = first, length
            if len(values) != length:
                problem = f"has {len(values):,} values where {first!r} has {length:,}"
                raise self.refuse(field, problem)
        return values

    def numbers(self, field: str) -> np.ndarray:
        """float64[n]."""
        values = self._row(field)
        if values.dtype.kind not in "iufb":
            raise self.refuse(field, "does not hold numbers")
        return values.astype(np.float64)

    def texts(self, field: str, *, of_records: bool = True) -> list[str]:
        """str[n], without blanks at the end, since a list of strings is saved padded; "" if empty."""
        values = self._row(field, of_records=of_records)
        if len(values) and values.dtype.kind not in "OU":
            raise self.refuse(field, "does not hold texts")
        found = []
        for number, value in enumerate(values, 1):
            text = _text(value)
            if text is None:
                raise self.refuse(field, f"holds no text in record {number:,}")
            found.append(text.rstrip(" "))
        return found


def _text(value: Any) -> str | None:
    """A cell's text; None if it holds something else."""
    if isinstance(value, str):
        return value
    return "" if np.size(value) == 0 else None


def _leaves_the_folder(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not parts or parts[0] == "/" or ".." in parts or "\0" in path or "\\" in path


def _paths(fields: _Fields) -> list[str]:
    paths = fields.texts("full_path")
    for number, path in enumerate(paths, 1):
        if _leaves_the_folder(path):
            raise fields.refuse("full_path", f"leaves the folder in record {number:,}: {path!r}")
    return paths


def _genders(fields: _Fields) -> np.ndarray:
    values = fields.numbers("gender")
    unknown = np.isnan(values)
    wrong = np.flatnonzero(~unknown & (values != 0) & (values != 1))
    if wrong.size:
        number, value = wrong[0] + 1, values[wrong[0]]
        raise fields.refuse("gender", f"is {value:g} in record {number:,}, not 0, 1 or NaN")
    return np.where(unknown, UNKNOWN, values).astype(np.int64)


def _whole(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """int64[n]; 0 for values outside the bounds."""
    good = (values >= low) & (values <= high)
    return np.where(good, values, 0).astype(np.int64)


def read(content: bytes, *, database: str, name: str) -> Metadata:
    """Reads wiki.mat or imdb.mat.

    Args:
      content: the file's bytes.
      database: one of DATABASES, also the struct's name in the file.
      name: the file's name, for messages.

    Raises:
      InputError: not such a file; a field is absent or has the wrong length or type; a path leaves the
        folder of images.
    """
    fields = _Fields(_load(content, name, database), name)
    paths = _paths(fields)
    if not paths:
        raise InputError(f"{name}: has no records")
    born, taken = fields.numbers("dob"), fields.numbers("photo_taken")
    celebrity_names: list[str] = []
    celebrities = np.zeros(len(paths), np.int64)
    if database == "imdb":
        celebrity_names = fields.texts("celeb_names", of_records=False)
        celebrities = _whole(fields.numbers("celeb_id"), 1, len(celebrity_names))
    return Metadata(
        database=database,
        paths=paths,
        names=fields.texts("name"),
        celebrities=celebrities,
        celebrity_names=celebrity_names,
        ages=np.array([_years(*pair) for pair in zip(born, taken, strict=True)], np.float64),
        genders=_genders(fields),
        face_scores=fields.numbers("face_score"),
        second_face_scores=fields.numbers("second_face_score"),
        photo_years=_whole(taken, datetime.MINYEAR, datetime.MAXYEAR),
    )
