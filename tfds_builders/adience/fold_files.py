"""Adience's five fold files: one row a face, in the authors' own division into folds.

A fold file is tab-separated UTF-8 text whose first line names the columns. Of those only the five
in COLUMNS are used; what else stands there (the face's box, its pose) is ignored.
"""

import collections
import dataclasses
import hashlib
import re
from pathlib import Path

from ageflax.errors import InputError

FOLDS = range(5)
COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")

# md5 of the five files in each edition known to be in use: the authors' server's, and another.
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
# The whole of Adience takes 400 kB a file; anything like this is not a fold file.
_MAX_BYTES = 64_000_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclasses.dataclass(frozen=True, slots=True)
class Face:
    """One row of a fold file: a face cut out of a photograph.

    Attributes:
      fold: index into FOLDS.
      line: where in the fold file it stands, from 1.
      user_id: the Flickr album the photograph is from.
      original_image: the photograph's file name in that album.
      face_id: the person.
      age_label: the file's text as it is, such as "(25, 32)", "35" or "None"; "" for nothing.
      gender: "female", "male" or "" where the file does not say.
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
    """What the five files say, each image once.

    Attributes:
      faces: one for each image, in the order of the files.
      rows: how many rows each fold file has.
      md5: of each fold file, in order.
      disagreeing: keys of images named by rows that give them different labels.
    """

    faces: list[Face]
    rows: tuple[int, ...]
    md5: tuple[str, ...]
    disagreeing: list[str]

    @property
    def duplicates(self) -> int:
        """Rows that name an image which an earlier row names."""
        return sum(self.rows) - len(self.faces)

    @property
    def edition(self) -> str:
        """A name out of EDITIONS, or "unknown (md5 ...)"."""
        return edition(self.md5)


def name(fold: int) -> str:
    """File name of a fold."""
    return f"fold_{fold}_data.txt"


def edition(md5: tuple[str, ...]) -> str:
    """The edition that five md5 sums belong to; files mixed from two editions are unknown."""
    known = next((label for label, sums in EDITIONS.items() if sums == md5), None)
    return known or f"unknown (md5 {', '.join(md5)})"


def _shown(text: str) -> str:
    """A value of the file fit for a one-line message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _columns(header: str, path: Path) -> tuple[dict[str, int], int]:
    """Where each of COLUMNS stands, and how many columns there are."""
    names = header.split("\t")
    for column in COLUMNS:
        if column not in names:
            raise InputError(
                f"{path}, line 1: no column {column!r}; an Adience fold file has the "
                f"tab-separated columns {', '.join(COLUMNS)}"
            )
        if names.count(column) > 1:
            raise InputError(f"{path}, line 1: column {column!r} stands there twice")
    return {column: names.index(column) for column in COLUMNS}, len(names)


def _face(values: dict[str, str], *, fold: int, line: int, where: str) -> Face:
    """One checked row. `where` starts the message of an InputError."""
    for column, value in values.items():
        if _CONTROL.search(value):
            raise InputError(f"{where}: {column} {_shown(value)} holds a control character")
    for column in ("user_id", "original_image"):
        value = values[column]
        # Both become part of a path, which must stay in the folder of images.
        if value in ("", ".", "..") or "/" in value or "\\" in value:
            raise InputError(f"{where}: {column} {_shown(value)} is not a plain file name")
    if not re.fullmatch(r"[0-9]+", values["face_id"]):
        raise InputError(f"{where}: face_id {_shown(values['face_id'])} is not a number")
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
    """The rows of one fold file, duplicates included.

    Args:
      content: the file's bytes. A byte order mark, CRLF line ends and empty lines at the end are
        accepted.
      fold: its index.
      path: where it was read, for messages.

    Raises:
      InputError: empty, not UTF-8, a missing column, or a row that cannot be used; names the line.
    """
    if not content.strip():
        raise InputError(f"{path}: the file is empty")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text") from error
    # Only "\n" ends a line: str.splitlines would also split at characters that file names may hold.
    lines = [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]
    positions, width = _columns(lines[0], path)
    if len(lines) == 1:
        raise InputError(f"{path}: a header and no rows")
    faces = []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split("\t")
        where = f"{path}, line {number}"
        if len(fields) != width:
            raise InputError(f"{where}: {len(fields)} fields where the header has {width}")
        values = {column: fields[position] for column, position in positions.items()}
        faces.append(_face(values, fold=fold, line=number, where=where))
    return faces


def _refuse_leaks(rows: list[Face]) -> None:
    """Raises InputError where a person, or a photograph, is in two folds."""
    people: dict[str, Face] = {}
    photographs: dict[tuple[str, str], Face] = {}
    for row in rows:
        for what, first in (
            (f"the person with face_id {row.face_id}", people.setdefault(row.face_id, row)),
            (
                f"the photograph {row.user_id}/{row.original_image}",
                photographs.setdefault((row.user_id, row.original_image), row),
            ),
        ):
            if first.fold != row.fold:
                raise InputError(
                    f"{name(row.fold)}, line {row.line}: {what} is in fold {first.fold} too "
                    f"({name(first.fold)}, line {first.line}); a test fold would leak into training"
                )


def _merge(rows: list[Face]) -> tuple[list[Face], list[str]]:
    """One face for each image, and the keys of those whose rows disagree.

    A label on which an image's rows disagree becomes unknown: one of them is wrong, and nothing
    says which.
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


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # of a pipe or a device, reading might never end
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
      InputError: a file is absent or cannot be used, or a person or photograph is in two folds.
    """
    absent = [name(fold) for fold in FOLDS if not (folder / name(fold)).exists()]
    if absent:
        raise InputError(
            f"no {', '.join(absent)} in {folder}: that folder must hold Adience's five fold files, "
            f"{name(FOLDS[0])} to {name(FOLDS[-1])}"
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
