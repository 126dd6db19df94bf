"""Maps a foreign network's outputs to the classes of ageflax."""

import dataclasses
import itertools
import re
from collections.abc import Mapping

from ageflax import labels
from ageflax.errors import InputError

_GENDERS = {"female": "female", "f": "female", "male": "male", "m": "male"}
_SHOWN = 12  # names in a message


@dataclasses.dataclass(frozen=True)
class Heads:
    """Heads made from rows of a foreign last layer.

    Attributes:
      rows: per task, the file's output for each class, in the order of ageflax; None for a year that
        the file has no output for.
      groups: age groups.
    """

    rows: Mapping[str, tuple[int | None, ...]]
    groups: labels.Intervals

    @property
    def names(self) -> dict[str, list[str]]:
        """Class names per task."""
        return {task: list(labels.class_names(task, self.groups)) for task in self.rows}


def _missing(outputs: int) -> InputError:
    hints = {
        2: "--classes=Male,Female or --classes=Female,Male (sources differ; the wrong one swaps every"
        " answer)",
        8: f"--classes={','.join(labels.AGE_GROUPS)} for Adience's groups in this order",
        101: "--classes=years for the years 0 to 100",
        81: "--classes=years:0-80 for these years",
    }
    hint = hints.get(outputs, "--classes=NAME,NAME,... in the file's order, - for an unused output")
    return InputError(
        f"--classes: needed, since the file does not name its {outputs} outputs; use {hint},"
        " --known=MODEL for a published model, or --classes=none for the trunk alone"
    )


def _intervals(names: dict[int, str]) -> dict[int, tuple[int, int]]:
    """Bounds of the outputs for age groups."""
    found = {}
    for row, name in names.items():
        match = re.fullmatch(r"(\d{1,3})-(\d{1,3})", name)
        if match is None:
            raise InputError(
                f"--classes: {name[:40]!r}: expected female, male, an age group such as 25-32, or - for"
                " an unused output"
            )
        low, high = int(match[1]), int(match[2])
        if low > high:
            raise InputError(f"--classes: {name!r}: ends before it begins")
        found[row] = (low, high)
    return found


def _ages(names: dict[int, str]) -> tuple[tuple[int, ...], labels.Intervals]:
    """Rows from the youngest group to the oldest, and the groups."""
    bounds = _intervals(names)
    rows = sorted(bounds, key=lambda row: bounds[row])
    for before, after in itertools.pairwise(rows):
        if bounds[before][1] >= bounds[after][0]:
            raise InputError(f"--classes: {names[before]} and {names[after]} overlap")
    if len(rows) == 1:
        raise InputError(f"--classes: {names[rows[0]]}: expected at least two age groups")
    return tuple(rows), tuple(bounds[row] for row in rows)


def _genders(names: dict[int, str]) -> tuple[int, ...]:
    rows = {
        gender: [row for row, name in names.items() if name == gender] for gender in labels.GENDERS
    }
    if any(len(found) != 1 for found in rows.values()):
        raise InputError("--classes: expected one output for female and one for male")
    return tuple(rows[gender][0] for gender in labels.GENDERS)


def _years(classes: str, outputs: int) -> tuple[int | None, ...]:
    """Rows of "years" or "years:FIRST-LAST", of one output per year."""
    match = re.fullmatch(r"years(?::(\d{1,3})-(\d{1,3}))?", classes)
    if match is None:
        raise InputError(f"--classes={classes}: expected years or years:FIRST-LAST")
    last = len(labels.YEARS) - 1
    first, end = (int(match[1]), int(match[2])) if match[1] else (0, last)
    if not first < end <= last:
        raise InputError(f"--classes={classes}: expected years from 0 to {last}")
    if outputs != end - first + 1:
        raise InputError(
            f"--classes={classes}: the file has {outputs} outputs, expected {end - first + 1} for the"
            f" years {first} to {end}; years:FIRST-LAST names others"
        )
    return tuple(year - first if first <= year <= end else None for year in range(last + 1))


def heads_of(classes: str | None, outputs: int) -> Heads:
    """Heads for the outputs of a network.

    Args:
      classes: "years" for 0 to 100, "years:0-80" for some of them, "none", or one name per output,
        joined by commas: female or male, an age group such as 25-32, or "-" for an unused output. Each
        task's classes get their own softmax.
      outputs: number of outputs of the last layer.

    Raises:
      InputError: the classes are not given, invalid, or not as many as the outputs.
    """
    if classes is None:
        raise _missing(outputs)
    if classes == "none":
        return Heads({}, labels.ADIENCE)
    if classes.startswith("years"):
        return Heads({"years": _years(classes, outputs)}, labels.ADIENCE)
    names = [name.strip() for name in classes.split(",")]
    if len(names) != outputs:
        raise InputError(
            f"--classes: {len(names)} names ({', '.join(names[:_SHOWN])}) for {outputs} outputs; give"
            " one per output"
        )
    used = {row: _GENDERS.get(name.lower(), name) for row, name in enumerate(names) if name != "-"}
    of_gender = {row: name for row, name in used.items() if name in labels.GENDERS}
    of_age = {row: name for row, name in used.items() if row not in of_gender}
    rows: dict[str, tuple[int | None, ...]] = {}
    groups = labels.ADIENCE
    if of_age:
        rows["age"], groups = _ages(of_age)
    if of_gender:
        rows["gender"] = _genders(of_gender)
    if not rows:
        raise InputError("--classes: no output is used; --classes=none takes the trunk alone")
    return Heads(rows, groups)
