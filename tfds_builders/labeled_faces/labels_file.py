"""labels.csv, the file that lists photographs and their labels, read as text."""

import csv
import dataclasses
import difflib
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ageflax.errors import InputError, one_line

from .file_kinds import kind

NAME = "labels.csv"
COLUMNS = ("path", "age", "age_group", "gender", "subject", "fold")
_LABELS = ("age", "age_group", "gender")
# Names in published lists for the same things.
_ALSO = {
    "path": (
        "file", "filename", "file_name", "filepath", "file_path", "full_path", "image", "image_name",
        "image_path", "img", "img_name", "img_path",
    ),
    "age": ("ages", "real_age", "apparent_age", "apparent_age_avg"),
    "age_group": ("agegroup", "age_groups", "age_range"),
    "gender": ("genders", "sex"),
    "subject": ("subject_id", "person", "person_id", "identity", "identity_id"),
    "fold": ("folds",),
}  # fmt: skip
_COLUMN_OF = {name: column for column, names in _ALSO.items() for name in names}
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blank"}
# Excel's first line that names the delimiter.
_SEPARATOR = re.compile(r'\s*"?sep=([,;\t| ])"?\s*', re.IGNORECASE)
_MOST_BYTES = 256_000_000  # about three million photographs
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A row of the file, which is one line.

    Attributes:
      number: line number, from 1.
      cells: stripped text by column, for columns in COLUMNS.
      problem: reason why the row is invalid, or "".
    """

    number: int
    cells: dict[str, str]
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class LabelsFile:
    """A labels.csv.

    Attributes:
      lines: its rows without blank ones.
      delimiter: comma, semicolon, tab, bar or blank.
      columns: its columns in COLUMNS, in its own order.
      read_as: its columns of another name, each with the one in COLUMNS that it is read as.
      ignored: its other columns.
      md5: md5 of the file.
    """

    lines: list[Line]
    delimiter: str
    columns: tuple[str, ...]
    read_as: dict[str, str]
    ignored: tuple[str, ...]
    md5: str

    @property
    def notice(self) -> str:
        """Lines for the user about columns renamed and ignored, otherwise ""."""
        lines = []
        if self.read_as:
            pairs = (f"{name!r} as {column}" for name, column in self.read_as.items())
            lines.append(
                one_line(f"notice: columns are read under other names: {', '.join(pairs)}")
            )
        if self.ignored:
            hints = "".join(f"; {hint}" for hint in _hints(self.ignored[:20], self.columns))
            lines.append(one_line(f"notice: columns not used: {', '.join(self.ignored)}{hints}"))
        return "\n".join(lines)


def _hints(names: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """Renames that may be meant, for columns that are not used."""
    for column in COLUMNS:
        if column in found:
            continue
        if several := [name for name in names if _COLUMN_OF.get(_plain(name)) == column]:
            either = " and ".join(map(repr, several))
            yield f"{either} may both be {column}: rename the right one to {column!r}"
        elif close := difflib.get_close_matches(column, names, n=1, cutoff=0.75):
            yield f"did you mean {column!r} instead of {close[0]!r}?"


def _decode(content: bytes, path: Path) -> str:
    """Decodes the file.

    Raises:
      InputError: the file is not UTF-8 text.
    """
    if found := kind(content):
        raise InputError(f"{path}: {found}")
    if content.startswith(_BYTE_ORDER_MARKS):
        raise InputError(f"{path}: encoded as UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start]
        raise InputError(
            f"{path}, line {line}: not UTF-8 (byte 0x{byte:02x}); save it as UTF-8"
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"{path}, line {line}: holds a NUL byte; not a text file")
    return text


def _cells(line: str, delimiter: str) -> tuple[list[str], str]:
    """Stripped cells of one line, and the reason why they are invalid or "".

    Each line is parsed by itself: a quote that is not closed would swallow the rows below.
    """
    if delimiter == " ":
        line = " ".join(line.split())
    reader = csv.reader((line, ""), delimiter=delimiter, skipinitialspace=delimiter != " ")
    try:
        cells = [cell.strip() for cell in next(reader)]
    except csv.Error as error:
        return [], str(error)
    return (
        cells,
        "a quote is not closed; a cell must end on its line" if reader.line_num > 1 else "",
    )


def _plain(name: str) -> str:
    """A column's name in lower case, its words joined by underscores."""
    return re.sub(r"[\s-]+", "_", name.lower())


def _matched(header: Sequence[str]) -> list[str]:
    """The column in COLUMNS that each name of a header stands for, or "" if none or if in doubt."""
    plain = [_plain(name) for name in header]
    meant = [name if name in COLUMNS else _COLUMN_OF.get(name, "") for name in plain]
    return [
        column if name == column or (column not in plain and meant.count(column) == 1) else ""
        for name, column in zip(plain, meant, strict=True)
    ]


def _header(lines: Iterator[tuple[int, str]], path: Path) -> tuple[str, list[str]]:
    """The delimiter, and the column names; reads the lines up to the header.

    Raises:
      InputError: there is no header, or a quote in it is not closed.
    """
    first = next(((number, line) for number, line in lines if line.strip()), (0, ""))
    delimiters = tuple(_DELIMITERS)
    if match := _SEPARATOR.fullmatch(first[1]):
        delimiters = (match[1],)
        first = next(((number, line) for number, line in lines if line.strip()), (0, ""))
    number, line = first
    if not line:
        raise InputError(f"{path}: empty")
    best = max(delimiters, key=lambda one: len(set(_matched(_cells(line, one)[0])) - {""}))
    cells, problem = _cells(line, best)
    if problem:
        raise InputError(f"{path}, line {number}: {problem}")
    return best, cells


def _check_header(header: Sequence[str], columns: Sequence[str], path: Path) -> None:
    """Refuses a header without the columns needed.

    Raises:
      InputError: names the columns found, and the rename if one is likely.
    """
    for name in COLUMNS:
        if columns.count(name) > 1:
            raise InputError(f"{path}: two columns are named {name!r}")
    names = [name for name in header if name]
    problem = ""
    if "path" not in columns:
        problem = "no column 'path'"
    elif not set(columns) & set(_LABELS):
        problem = f"none of the columns {', '.join(_LABELS)}"
    if problem:
        hints = list(_hints(names, columns)) or ["the first line must name them"]
        found = one_line(", ".join(name or "(no name)" for name in header))
        raise InputError(f"{path}: {problem}; its columns: {found}; {'; '.join(hints)}")


def read(path: Path) -> LabelsFile:
    """Reads a labels.csv: UTF-8, delimited by comma, semicolon, tab, bar or blank, columns in any order.

    Raises:
      InputError: the file cannot be read, or a required column is missing.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: too large for a list of photographs")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    texts = enumerate(re.split(r"\r\n|\r|\n", _decode(content, path)), start=1)
    delimiter, header = _header(texts, path)
    columns = _matched(header)
    _check_header(header, columns, path)
    lines = []
    for number, text in texts:
        cells, problem = _cells(text, delimiter)
        if not problem and not any(cells):
            continue
        if not problem and len(cells) != len(header):
            problem = f"{len(cells)} cells, expected {len(header)} as in the first line"
            if len(cells) > len(header):
                problem += f"; quote a cell that holds a {_DELIMITERS[delimiter]}"
        named = zip(columns, cells, strict=False)
        lines.append(Line(number, {k: v for k, v in named if k}, problem))
    named = list(zip(header, columns, strict=True))
    return LabelsFile(
        lines=lines,
        delimiter=_DELIMITERS[delimiter],
        columns=tuple(column for column in columns if column),
        read_as={name: column for name, column in named if column and name.lower() != column},
        ignored=tuple(name for name, column in named if name and not column),
        md5=hashlib.md5(content).hexdigest(),
    )
