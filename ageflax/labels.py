"""Age groups, genders, and the policies that turn a source's raw labels into classes.

A dataset keeps what its source says ("(25, 32)", "35", "None"). Which class that is depends on the
protocol one reproduces, so the decision is taken when labels are read, by a named policy.
"""

import math
import re
from collections.abc import Callable

# Adience's eight groups, in order. Papers print the third as 8-13; the files say (8, 12).
AGE_GROUPS = ("0-2", "4-6", "8-12", "15-20", "25-32", "38-43", "48-53", "60-100")
GENDERS = ("female", "male")
UNKNOWN = -1
CLASSES = {"age": AGE_GROUPS, "gender": GENDERS}
# Years that stand for a group when an expected age is formed from group probabilities: the middle of
# its range (a person of "2" is 2.0 to 3.0), but 70 for 60-100, where most faces are at the young end.
GROUP_CENTRES = (1.5, 5.5, 10.5, 18.0, 29.0, 41.0, 51.0, 70.0)

_BOUNDS = ((0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))

# Kuprashevich & Tolstykh, MiVOLO, 2023: the strays that public code maps, and where to.
_MIVOLO_STRAYS = {
    "0-2": ("2", "3"),
    "8-12": ("13", "(8, 23)"),
    "15-20": ("22",),
    "25-32": ("23", "29", "32", "34", "35", "(27, 32)", "(25, 23)"),
    "38-43": ("36", "42", "45", "(38, 42)", "(38, 48)"),
    "48-53": ("46", "55", "56"),
    "60-100": ("57", "58"),
}
_STRICT = {f"({low}, {high})": k for k, (low, high) in enumerate(_BOUNDS)}
_MIVOLO = _STRICT | {
    stray: AGE_GROUPS.index(group) for group, strays in _MIVOLO_STRAYS.items() for stray in strays
}


def _by_years(age: float) -> int:
    """The group whose bounds hold a person of this many years, or UNKNOWN."""
    years = math.floor(age)
    return next((k for k, (low, high) in enumerate(_BOUNDS) if low <= years <= high), UNKNOWN)


def _nearest(age: float) -> int:
    """The group whose range lies nearest; a tie goes to the younger group."""
    distances = [max(low - age, age - high, 0.0) for low, high in _BOUNDS]
    return distances.index(min(distances))


def _strict(label: str, age: float) -> int:
    return _STRICT.get(label, UNKNOWN) if label else _by_years(age)


def _mivolo(label: str, age: float) -> int:
    return _MIVOLO.get(label, UNKNOWN) if label else _by_years(age)


def _to_nearest(label: str, age: float) -> int:
    numbers = [int(n) for n in re.findall(r"\d+", label)]
    mean = sum(numbers) / len(numbers) if numbers else age
    return UNKNOWN if math.isnan(mean) else _nearest(mean)


_POLICIES: dict[str, Callable[[str, float], int]] = {
    "strict": _strict,
    "mivolo": _mivolo,
    "nearest": _to_nearest,
}
LABEL_POLICIES = tuple(_POLICIES)


def age_group(label: str, age: float, *, policy: str) -> int:
    """Age class of one face under a label policy.

    Where the source gives a label, the label decides; years decide only where it gives none.

    * ``strict`` (the paper's): the eight labels and nothing else. The authors' script meant to keep
      '(25, 23)' but compares with '(25 23)', so it is dropped, here as there.
    * ``mivolo``: the strays that MiVOLO's public code maps, mapped as it does.
    * ``nearest``: the group whose range lies nearest to the label's mean; ties go to the younger.

    Args:
      label: the source's text, such as "(25, 32)", "35" or "None"; "" where it has none.
      age: years, NaN where unknown.
      policy: one of LABEL_POLICIES.

    Returns:
      Index into AGE_GROUPS, or UNKNOWN.
    """
    label = label.strip()
    if label == "None":
        label = ""
    if not label and math.isnan(age):
        return UNKNOWN
    return _POLICIES[policy](label, age)
