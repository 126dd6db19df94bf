"""Which output of a foreign network is which class of ours."""

import dataclasses
import itertools
import re

from ageflax import labels
from ageflax.errors import InputError

_GENDERS = {"female": "female", "f": "female", "male": "male", "m": "male"}
_SHOWN = 12  # names in a message


@dataclasses.dataclass(frozen=True)
class Heads:
    """Our heads, made of a foreign last layer's rows.

    Attributes:
      rows: per task, the file's output for each class of ours, in our order.
      groups: the age groups.
    """

    rows: dict[str, tuple[int, ...]]
    groups: labels.Intervals

    @property
    def names(self) -> dict[str, list[str]]:
        """Class names per task."""
        return {task: list(labels.class_names(task, self.groups)) for task in self.rows}


def _ask(outputs: int) -> InputError:
    hints = {
        2: "--classes=Male,Female or --classes=Female,Male: sources differ, and a guess would turn every"
        " answer round",
        8: f"--classes={','.join(labels.AGE_GROUPS)} where they are Adience's groups in this order",
        101: "--classes=years where they are the years 0 to 100",
    }
    hint = hints.get(
        outputs, "--classes=NAME,NAME,... in the file's order, - for one that is not used"
    )
    return InputError(
        f"the file has {outputs} outputs and does not say what they are: {hint}; or --known names a"
        " published model, or --classes=none takes the trunk alone"
    )


def _intervals(names: dict[int, str]) -> dict[int, tuple[int, int]]:
    """Bounds of the outputs that are ages."""
    found = {}
    for row, name in names.items():
        match = re.fullmatch(r"(\d{1,3})-(\d{1,3})", name)
        if match is None:
            raise InputError(
                f"--classes: {name[:40]!r} is none of female, male, an age group such as 25-32, or - for"
                " an output that is not used"
            )
        low, high = int(match[1]), int(match[2])
        if low > high:
            raise InputError(f"--classes: {name!r} ends before it begins")
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
        raise InputError(f"--classes: one age group alone, {names[rows[0]]}")
    return tuple(rows), tuple(bounds[row] for row in rows)


def _genders(names: dict[int, str]) -> tuple[int, ...]:
    rows = {
        gender: [row for row, name in names.items() if name == gender] for gender in labels.GENDERS
    }
    if any(len(found) != 1 for found in rows.values()):
        raise InputError("--classes: expected one output for female and one for male")
    return tuple(rows[gender][0] for gender in labels.GENDERS)


def heads_of(classes: str | None, outputs: int) -> Heads:
    """What the outputs of a network mean.

    Args:
      classes: "years", "none", or a name an output, joined by commas: female or male, an age group such
        as 25-32, or "-" for what is no class of ours. Each task's classes have a softmax of their own.
      outputs: of the network's last layer.

    Raises:
      InputError: they are not given, not as many as the outputs, or no classes.
    """
    if classes is None:
        raise _ask(outputs)
    if classes == "none":
        return Heads({}, labels.ADIENCE)
    if classes == "years":
        if outputs != len(labels.YEARS):
            raise InputError(
                f"--classes=years: the file has {outputs} outputs, and the years 0 to 100 are"
                f" {len(labels.YEARS)}"
            )
        return Heads({"years": tuple(range(outputs))}, labels.ADIENCE)
    names = [name.strip() for name in classes.split(",")]
    if len(names) != outputs:
        raise InputError(
            f"--classes: {len(names)} names ({', '.join(names[:_SHOWN])}), and the file has {outputs}"
            " outputs"
        )
    used = {row: _GENDERS.get(name.lower(), name) for row, name in enumerate(names) if name != "-"}
    of_gender = {row: name for row, name in used.items() if name in labels.GENDERS}
    of_age = {row: name for row, name in used.items() if row not in of_gender}
    rows: dict[str, tuple[int, ...]] = {}
    groups = labels.ADIENCE
    if of_age:
        rows["age"], groups = _ages(of_age)
    if of_gender:
        rows["gender"] = _genders(of_gender)
    if not rows:
        raise InputError(
            "--classes: none of the outputs is used; --classes=none takes the trunk alone"
        )
    return Heads(rows, groups)
