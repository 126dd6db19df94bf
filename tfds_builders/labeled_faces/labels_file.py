"""labels.csv, the file that lists photographs and their labels, read as text."""

import csv
import dataclasses
import difflib
import hashlib
import io
import re
from pathlib import Path

from ageflax.errors import InputError, one_line

NAME = "labels.csv"
COLUMNS = ("path", "age", "age_group", "gender", "subject", "fold")
_LABELS = ("age", "age_group", "gender")
_DELIMITERS = (",", ";", "\t")
_DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}
_MOST_BYTES = 256_000_000  # about three million photographs
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A row of the file.

    Attributes:
      number: number of its first line, from 1.
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
      delimiter: comma, semicolon or tab.
      columns: its columns in COLUMNS, in its own order.
      ignored: its other columns.
      md5: md5 of the file.
    """

    lines: list[Line]
    delimiter: str
    columns: tuple[str, ...]
    ignored: tuple[str, ...]
    md5: str

    @property
    def notice(self) -> str:
        """A line for the user if columns are ignored, otherwise ""."""
        if not self.ignored:
            return ""
        meant = [
            f"; did you mean {close[0]!r} instead of {column!r}?"
            for column in self.ignored[:20]
            if (close := difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.75))
            and close[0] not in self.columns
        ]
        return one_line(f"notice: columns not used: {', '.join(self.ignored)}{''.join(meant)}")


def _decode(content: bytes, path: Path) -> str:
    """Decodes the file.

    Raises:
      InputError: the file is not UTF-8 text.
    """
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


def _rows(text: str, delimiter: str, path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of each row that is not blank.

    Raises:
      InputError: the CSV cannot be parsed, for example because a quote is not closed.
    """
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    rows = []
    before = 0
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((before + 1, cells))
            before = reader.line_num
    except csv.Error as error:
        raise InputError(f"{path}, line {before + 1}: {error}") from error
    return rows


def _header(text: str, path: Path) -> tuple[str, list[str]]:
    """The delimiter, and the column names in lower case."""
    first = next((line for line in re.split(r"\r\n|\r|\n", text) if line.strip()), "")
    if not first:
        raise InputError(f"{path}: empty")

    def names(delimiter: str) -> list[str]:
        rows = _rows(first, delimiter, path)
        return [name.lower() for name in rows[0][1]] if rows else []

    best = max(_DELIMITERS, key=lambda delimiter: len(set(names(delimiter)) & set(COLUMNS)))
    return best, names(best)


def read(path: Path) -> LabelsFile:
    """Reads a labels.csv: UTF-8, delimited by comma, semicolon or tab, columns in any order.

    Raises:
      InputError: the file cannot be read, or a required column is missing.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: too large for a list of photographs")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    text = _decode(content, path)
    delimiter, header = _header(text, path)
    found = one_line(", ".join(name or "(no name)" for name in header))
    if "path" not in header:
        raise InputError(f"{path}: no column 'path'; its columns: {found}")
    if not set(header) & set(_LABELS):
        raise InputError(f"{path}: none of the columns {', '.join(_LABELS)}; its columns: {found}")
    for name in COLUMNS:
        if header.count(name) > 1:
            raise InputError(f"{path}: two columns are named {name!r}")
    lines = []
    for number, cells in _rows(text, delimiter, path)[1:]:
        named = zip(header, cells, strict=False)
        problem = ""
        if len(cells) != len(header):
            problem = f"{len(cells)} cells, expected {len(header)} as in the first line"
        lines.append(Line(number, {k: v for k, v in named if k in COLUMNS}, problem))
    return LabelsFile(
        lines=lines,
        delimiter=_DELIMITER_NAMES[delimiter],
        columns=tuple(name for name in header if name in COLUMNS),
        ignored=tuple(name for name in header if name not in COLUMNS and name),
        md5=hashlib.md5(content).hexdigest(),
    )
