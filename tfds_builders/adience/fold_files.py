"""Adience's five fold files: a row per face, in the authors' division into folds.

A fold file is tab-separated UTF-8 text with column names in the first line. Columns that are not in
COLUMNS, such as the face's box and pose, are ignored.
"""

import codecs
import collections
import dataclasses
import hashlib
import re
from pathlib import Path

from ageflax import labels
from ageflax.errors import InputError
from tfds_builders import sources
from tfds_builders.subjects import FOLDS

COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")

# md5 of the five files in each known edition: on the authors' server, and another in circulation.
EDITIONS = {
    "server": (
        "dda2131b5a4934a67f0acfda8b50a65b",
        "bb558fff6aba953b5b05403d74dfd8a8",
        "a156e37bf4292a61ee5e11a06cfc6c5f",
        "7c9f7dab8fb034affe8a08e97da24266",
        "68ebc064a70274551a565fdd5235f0cc",
    ),
    "circulating": (
        "d47c90ff73d9c32ee3f5c57dfe18ff64",
        "a4de4187603d58d90a337ca66ef39420",
        "9a8c4d7735ec09fd9d0cec49dfc06c31",
        "8afe4c80bc03d0ab483996bb0254587b",
        "14ea7047937704b68b77668e0a3372a8",
    ),
}

_GENDERS = {"f": "female", "m": "male", "u": "", "": ""}
# Far above the 400 kB of Adience's own files.
_MAX_BYTES = 64_000_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclasses.dataclass(frozen=True, slots=True)
class Face:
    """A row of a fold file: a face cropped from a photograph.

    Attributes:
      fold: 0 to 4.
      line: line number in the fold file, from 1.
      user_id: the photograph's Flickr album.
      original_image: the photograph's file name in that album.
      face_id: the subject.
      age_label: the file's own text, such as "(25, 32)", "35" or "None"; "" if empty.
      gender: "female", "male" or "" if unknown.
    """

    fold: int
    line: int
    user_id: str
    original_image: str
    face_id: str
    age_label: str
    gender: str

    @property
    def key(self) -> str:
        """Unique name; unambiguous, since no field holds a slash and a face_id is digits."""
        return f"{self.user_id}/{self.face_id}.{self.original_image}"


@dataclasses.dataclass(frozen=True)
class FoldFiles:
    """Content of the five files, each image once.

    Attributes:
      faces: a face per image, in the order of the files.
      rows: number of rows in each fold file.
      md5: md5 of each fold file.
      disagreeing: keys of images whose rows have different labels.
    """

    faces: list[Face]
    rows: tuple[int, ...]
    md5: tuple[str, ...]
    disagreeing: list[str]

    @property
    def duplicates(self) -> int:
        """Number of rows whose image is in an earlier row."""
        return sum(self.rows) - len(self.faces)

    @property
    def edition(self) -> str:
        """A key of EDITIONS, or "unknown (md5 ...)"."""
        return edition(self.md5)


def name(fold: int) -> str:
    """File name of a fold."""
    return f"fold_{fold}_data.txt"


def edition(md5: tuple[str, ...]) -> str:
    """Edition with these five md5 sums; a mixture of two editions is unknown."""
    known = next((label for label, sums in EDITIONS.items() if sums == md5), None)
    return known or f"unknown (md5 {', '.join(md5)})"


def _shown(text: str) -> str:
    """A value of the file for a one-line message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _cells(line: str) -> list[str]:
    """Cells of a line, without the quotes that a spreadsheet puts around "(25, 32)"."""
    return [
        cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell
        for cell in line.split("\t")
    ]


def _columns(header: str, path: Path) -> tuple[dict[str, int], int]:
    """Position of each of COLUMNS, and the number of columns."""
    names = _cells(header)
    for column in COLUMNS:
        if column not in names:
            other = next((mark for mark in ",;| " if len(header.split(mark)) >= len(COLUMNS)), "")
            found = f"; this one is separated by {other!r}" if other and len(names) == 1 else ""
            raise InputError(
                f"{path}, line 1: no column {column!r}; an Adience fold file has the "
                f"tab-separated columns {', '.join(COLUMNS)}{found}"
            )
        if names.count(column) > 1:
            raise InputError(f"{path}, line 1: two columns are named {column!r}")
    return {column: names.index(column) for column in COLUMNS}, len(names)


def _face(values: dict[str, str], *, fold: int, line: int, where: str) -> Face:
    """Checks a row; `where` starts the message of an InputError."""
    for column, value in values.items():
        if _CONTROL.search(value):
            raise InputError(f"{where}: {column} {_shown(value)} holds a control character")
    for column in ("user_id", "original_image"):
        value = values[column]
        # Both become part of a path, which must not leave the folder of images.
        if value in ("", ".", "..") or "/" in value or "\\" in value:
            raise InputError(f"{where}: {column} {_shown(value)} is not a plain file name")
    if not re.fullmatch(r"[0-9]+", values["face_id"]):
        raise InputError(f"{where}: face_id {_shown(values['face_id'])} is not a number")
    if not labels.is_unknown(values["age"]):
        try:
            labels.bounds(values["age"])
        except ValueError as error:
            raise InputError(f"{where}: age {_shown(values['age'])} {error}") from error
    if values["gender"] not in _GENDERS:
        raise InputError(f"{where}: gender {_shown(values['gender'])} is not m, f, u or nothing")
    return Face(
        fold=fold,
        line=line,
        user_id=values["user_id"],
        original_image=values["original_image"],
        face_id=values["face_id"],
        age_label=values["age"],
        gender=_GENDERS[values["gender"]],
    )


def parse(content: bytes, *, fold: int, path: Path) -> list[Face]:
    """Parses a fold file; returns all rows, duplicates included.

    Args:
      content: the file's bytes; a byte order mark, CRLF, quoted cells and empty lines at the end are
        accepted.
      fold: its fold.
      path: its path, for messages.

    Raises:
      InputError: the file is empty or not UTF-8, a column is missing, or a row is invalid.
    """
    if not content.strip():
        raise InputError(f"{path}: the file is empty")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{path}: encoded as UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text") from error
    # Only "\n" ends a line; str.splitlines would also split at characters that may be in file names.
    lines = [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]
    positions, width = _columns(lines[0], path)
    if len(lines) == 1:
        raise InputError(f"{path}: a header and no rows")
    faces = []
    for number, line in enumerate(lines[1:], start=2):
        fields = _cells(line)
        where = f"{path}, line {number}"
        if len(fields) != width:
            raise InputError(f"{where}: {len(fields)} fields, expected {width} as in the header")
        values = {column: fields[position] for column, position in positions.items()}
        faces.append(_face(values, fold=fold, line=number, where=where))
    return faces


def _refuse_leaks(rows: list[Face]) -> None:
    """Raises InputError if a subject or a photograph is in two folds."""
    subjects: dict[str, Face] = {}
    photographs: dict[tuple[str, str], Face] = {}
    for row in rows:
        for what, first in (
            (f"face_id {row.face_id}", subjects.setdefault(row.face_id, row)),
            (
                f"photograph {row.user_id}/{row.original_image}",
                photographs.setdefault((row.user_id, row.original_image), row),
            ),
        ):
            if first.fold != row.fold:
                raise InputError(
                    f"{name(row.fold)}, line {row.line}: {what} is also in fold {first.fold} "
                    f"({name(first.fold)}, line {first.line}); a test fold would leak into training"
                )


def _merge(rows: list[Face]) -> tuple[list[Face], list[str]]:
    """Merges rows into a face per image; also returns the keys of images whose rows disagree.

    A label on which an image's rows disagree is taken as unknown, since nothing says which is wrong.
    """
    named: dict[str, list[Face]] = collections.defaultdict(list)
    for row in rows:
        named[row.key].append(row)
    faces, disagreeing = [], []
    for key, same in named.items():
        face = same[0]
        if any(other.age_label != face.age_label for other in same):
            face = dataclasses.replace(face, age_label="")
        if any(other.gender != face.gender for other in same):
            face = dataclasses.replace(face, gender="")
        if face is not same[0]:
            disagreeing.append(key)
        faces.append(face)
    return faces, disagreeing


def find(manual_dir: Path) -> Path | None:
    """The folder with the fold files: this one, or the only one in it that has any; else None."""

    def has_any(folder: Path) -> bool:
        return any((folder / name(fold)).exists() for fold in FOLDS)

    if has_any(manual_dir):
        return manual_dir
    found = [path for path in sources.folders_in(manual_dir) if has_any(path)]
    return found[0] if len(found) == 1 else None


def _instead(folder: Path) -> str:
    """Where fold files are, or that only frontal ones are there; "" if there are none."""
    for pattern in (f"*/{name(0)}", f"*/*/{name(0)}", f"../{name(0)}"):
        if near := sorted(folder.glob(pattern)):
            places = " and ".join(str(path.parent.resolve()) for path in near[:2])
            return (
                f"; they are in {places}: name {'one of them' if len(near) > 1 else 'that folder'}"
            )
    for pattern in ("fold_frontal_?_data.txt", "*/fold_frontal_?_data.txt"):
        if near := sorted(folder.glob(pattern)):
            return (
                f"; {near[0].relative_to(folder)} is there, but the frontal folds list only faces seen"
                " from the front: download the other five from the same page"
            )
    return ""


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # reading a pipe or a device might never end
            what = "Is a directory" if path.is_dir() else "not a file"
            raise InputError(f"{path}: cannot be read ({what})")
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: too large for an Adience fold file")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def read(folder: Path) -> FoldFiles:
    """Reads and checks the five fold files of a folder.

    Raises:
      InputError: a file is absent or invalid, or a subject or photograph is in two folds.
    """
    absent = [name(fold) for fold in FOLDS if not (folder / name(fold)).exists()]
    if absent:
        raise InputError(
            f"{folder}: no {', '.join(absent)}; the folder must hold Adience's five fold files, "
            f"{name(FOLDS[0])} to {name(FOLDS[-1])}{_instead(folder)}"
        )
    contents = [_read(folder / name(fold)) for fold in FOLDS]
    by_fold = [parse(contents[fold], fold=fold, path=folder / name(fold)) for fold in FOLDS]
    rows = [row for fold in by_fold for row in fold]
    _refuse_leaks(rows)
    faces, disagreeing = _merge(rows)
    return FoldFiles(
        faces=faces,
        rows=tuple(len(fold) for fold in by_fold),
        md5=tuple(hashlib.md5(content).hexdigest() for content in contents),
        disagreeing=disagreeing,
    )
