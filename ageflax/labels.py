"""Age groups, genders, and the policies that turn a source's raw labels into classes.

A dataset keeps its source's labels ("(25, 32)", "35", "None"). Their class depends on the protocol to
reproduce, so a named policy decides it when labels are read.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence

# Adience's eight groups, in order. Papers print the third as 8-13; the files have (8, 12).
AGE_GROUPS = ("0-2", "4-6", "8-12", "15-20", "25-32", "38-43", "48-53", "60-100")
GENDERS = ("female", "male")
# Kinds of heads: age groups, years, gender; in this order.
TASKS = ("age", "years", "gender")
UNKNOWN = -1
# First and last whole year of each class, both inclusive.
Intervals = tuple[tuple[int, int], ...]

ADIENCE: Intervals = ((0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))

# Kuprashevich & Tolstykh, MiVOLO, 2023: the stray labels that their public code maps, by group.
_MIVOLO_STRAYS = {
    "0-2": ("2", "3"),
    "8-12": ("13", "(8, 23)"),
    "15-20": ("22",),
    "25-32": ("23", "29", "32", "34", "35", "(27, 32)", "(25, 23)"),
    "38-43": ("36", "42", "45", "(38, 42)", "(38, 48)"),
    "48-53": ("46", "55", "56"),
    "60-100": ("57", "58"),
}
_STRICT = {f"({low}, {high})": k for k, (low, high) in enumerate(ADIENCE)}
_MIVOLO = _STRICT | {
    stray: AGE_GROUPS.index(group) for group, strays in _MIVOLO_STRAYS.items() for stray in strays
}


def _by_years(age: float, intervals: Intervals) -> int:
    """Class whose bounds contain an age, or UNKNOWN."""
    years = math.floor(age)
    return next((k for k, (low, high) in enumerate(intervals) if low <= years <= high), UNKNOWN)


def _nearest(age: float, intervals: Intervals) -> int:
    """Class with the nearest range; a tie goes to the younger class."""
    distances = [max(low - age, age - high, 0.0) for low, high in intervals]
    return distances.index(min(distances))


def _mean(label: str, age: float) -> float:
    """Mean of the years in a label; the age if it has none."""
    numbers = [int(n) for n in re.findall(r"\d+", label)]
    return sum(numbers) / len(numbers) if numbers else age


def _strict(label: str, age: float, intervals: Intervals) -> int:
    return _STRICT.get(label, UNKNOWN) if label else _by_years(age, intervals)


def _mivolo(label: str, age: float, intervals: Intervals) -> int:
    return _MIVOLO.get(label, UNKNOWN) if label else _by_years(age, intervals)


def _to_nearest(label: str, age: float, intervals: Intervals) -> int:
    mean = _mean(label, age)
    return UNKNOWN if math.isnan(mean) else _nearest(mean, intervals)


def _to_interval(label: str, age: float, intervals: Intervals) -> int:
    mean = _mean(label, age)
    return UNKNOWN if math.isnan(mean) else _by_years(mean, intervals)


_POLICIES: dict[str, Callable[[str, float, Intervals], int]] = {
    "strict": _strict,
    "mivolo": _mivolo,
    "nearest": _to_nearest,
    "intervals": _to_interval,
}
LABEL_POLICIES = tuple(_POLICIES)


def age_group(label: str, age: float, *, policy: str, intervals: Intervals = ADIENCE) -> int:
    """Age class of one face under a label policy.

    The label decides if the source has one, else the age in years.

    * ``strict`` (the paper's): the eight labels and no others. The authors' script means to keep
      '(25, 23)' but compares with '(25 23)', so that label is dropped, here as there.
    * ``mivolo``: also the stray labels that MiVOLO's public code maps, as it maps them.
    * ``nearest``: the group with the range nearest to the label's mean; ties go to the younger.
    * ``intervals``: the group of `intervals`, any list of bounds, that contains the label's mean (28 for
      "(25, 32)"); none if it falls between two.

    Args:
      label: text of the source, such as "(25, 32)", "35" or "None"; "" if it has none.
      age: age in years, NaN if unknown.
      policy: one of LABEL_POLICIES.
      intervals: bounds of the classes; Adience's eight for all policies except ``intervals``.

    Returns:
      Index into the intervals, or UNKNOWN.
    """
    label = label.strip()
    if label == "None":
        label = ""
    if not label and math.isnan(age):
        return UNKNOWN
    return _POLICIES[policy](label, age, intervals)


# Years 0 to 100, one class each, as in DEX.
YEARS = tuple(str(year) for year in range(101))


def group_names(intervals: Intervals = ADIENCE) -> tuple[str, ...]:
    """Names of age groups, such as "25-32"."""
    return tuple(f"{low}-{high}" for low, high in intervals)


def intervals_of(names: Sequence[str]) -> Intervals:
    """Bounds from names such as "25-32"; the inverse of `group_names`.

    Raises:
      ValueError: a name has no bounds.
    """
    pairs = (name.split("-") for name in names)
    return tuple((int(low), int(high)) for low, high in pairs)


def class_names(task: str, intervals: Intervals = ADIENCE) -> tuple[str, ...]:
    """Names of a task's classes ("age", "years" or "gender"), in the order of its probabilities."""
    return {"gender": GENDERS, "years": YEARS}.get(task) or group_names(intervals)


def groups_of_years(intervals: Intervals = ADIENCE) -> tuple[int, ...]:
    """Age group of each year from 0 to 100: the group that contains it, else the nearest."""
    return tuple(_nearest(float(year), intervals) for year in range(len(YEARS)))


def centres(intervals: Intervals = ADIENCE) -> tuple[float, ...]:
    """Ages in years that represent each class in an expected age.

    The middle of the range (someone aged 2 is 2.0 to 3.0), at most ten years above its start, as most
    faces of an open last class such as 60-100 are at the young end.
    """
    return tuple(min((low + high + 1) / 2, low + 10.0) for low, high in intervals)


@dataclasses.dataclass(frozen=True)
class Classes:
    """Meaning of a head's outputs, apart from the labels of any face.

    Attributes:
      names: class names; for a "years" head, those of the age groups.
      centres: age in years that represents each name; empty for gender.
      year_groups: age group of each year from 0 to 100 for a "years" head; else empty.
    """

    names: tuple[str, ...]
    centres: tuple[float, ...]
    year_groups: tuple[int, ...]

    @classmethod
    def of(cls, task: str, intervals: Intervals = ADIENCE) -> "Classes":
        """Classes of the head for "age", "years" or "gender"."""
        if task == "gender":
            return Classes(GENDERS, (), ())
        groups = groups_of_years(intervals) if task == "years" else ()
        return Classes(group_names(intervals), centres(intervals), groups)
