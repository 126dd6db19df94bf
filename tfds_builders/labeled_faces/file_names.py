"""Labels in the file names of published datasets."""

import dataclasses
import re
from pathlib import PurePosixPath

from .labels_file import Line


@dataclasses.dataclass(frozen=True)
class Naming:
    """How a dataset names its files.

    Attributes:
      example: a name, for messages.
      pattern: whole name up to its first dot; groups `age`, `gender` and `subject`.
      genders: words for what `gender` matches.
      complete: photographs and people of the whole dataset; None if it is not one fixed set.
    """

    example: str
    pattern: re.Pattern[str]
    genders: dict[str, str] = dataclasses.field(default_factory=dict)
    complete: tuple[int, int] | None = None


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII | re.IGNORECASE)


NAMINGS = {
    # Person, age, and a letter for another photograph of that age; some names are in lower case.
    "fgnet": Naming(
        "001A43a.JPG",
        _pattern(r"(?P<subject>\d{3})A(?P<age>\d{2})[a-z]?"),
        complete=(1002, 82),
    ),
    "agedb": Naming(
        "12345_MariaCallas_35_f.jpg",
        _pattern(r"\d+_(?P<subject>.+)_(?P<age>\d{1,3})_(?P<gender>[fm])"),
        {"f": "female", "m": "male"},
    ),
    # Age, gender, race, date; a name that lacks one of the middle two does not say which.
    "utkface": Naming(
        "26_0_2_20170104023102422.jpg",
        _pattern(r"(?P<age>\d{1,3})_((?P<gender>[01])_[0-4]_|.*_)\d{8,}"),
        {"0": "male", "1": "female"},
    ),
}


def line(path: str, naming: Naming) -> Line | None:
    """The row that a labels.csv would have for a file, its number 0; None for a name of another form."""
    match = naming.pattern.fullmatch(PurePosixPath(path).name.partition(".")[0])
    if match is None:
        return None
    cells = {key: text for key, text in match.groupdict().items() if text is not None}
    if "gender" in cells:
        cells["gender"] = naming.genders[cells["gender"].lower()]
    return Line(0, cells | {"path": path})
