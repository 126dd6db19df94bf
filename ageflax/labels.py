"""Age groups, genders, and the policies that turn a source's raw labels into classes.

A dataset keeps its source's labels ("(25, 32)", "35", "None"). Their class depends on the protocol to
reproduce, so a named policy decides it when labels are read.
"""

import dataclasses
import functools
import math
import re
import unicodedata
from collections.abc import Callable, Sequence

# Adience's eight groups, in order. Papers print the third as 8-13; the files have (8, 12).
AGE_GROUPS = ("0-2", "4-6", "8-12", "15-20", "25-32", "38-43", "48-53", "60-100")
GENDERS = ("female", "male")
# Kinds of heads: age groups, years, gender; in this order.
TASKS = ("age", "years", "gender")
# Points of a distribution over years that may count as the age.
READINGS = ("mean", "median")
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


# Marks of a missing value in lists of labels, beside -1.
_UNKNOWN_MARKS = {
    "", "-", "?", "u", "unk", "unknown", "none", "nan", "na", "n/a", "n.a.", "#n/a", "<na>", "null",
}  # fmt: skip
_MINUS_ONE = re.compile(r"-1(?:\.0*)?")

MAX_AGE = 130
NO_LABEL = (
    "is neither a number, a range such as 25-32 nor an open bound such as 70+ or 'more than 70'"
)
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]*)?)")
# Forms of a label in lower case, without blanks and units, N for each number.
_POINT = re.compile("N")
_RANGE = re.compile(r"N(-|to)N|[(\[]N[,-]N[)\]]")
_LEAST = re.compile(
    r"N[+-]|(>=?|\u2265|morethan|over|above|olderthan|atleast)N|N(and|or)(over|above|older|more|up)"
)
_MOST = re.compile(
    r"(<=?|\u2264|lessthan|under|below|youngerthan|upto|atmost)N|N(and|or)(under|below|younger|less)"
)
_UNIT = re.compile(r"(years?|yrs?)(old)?$")
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_BACKWARDS = (25.0, 23.0)  # in Adience's own files

# Beginnings of the months' names in a dozen languages, without accents.
_MONTHS = {
    beginning: month
    for month, beginnings in enumerate(
        ("jan ene gen янв", "feb fev fev фев", "mar mae mrz mrt мар", "apr abr avr апр",
         "may mai mag mei мая маи", "jun juin giu июн", "jul juil lug июл", "aug ago aou авг",
         "sep set сен", "oct okt ott out окт", "nov ноя", "dec dez dic дек"),
        start=1,
    )
    for beginning in beginnings.split()
}  # fmt: skip
# 3/9, 9.3., 03/09/2024, 2024-03-09 00:00:00, 2024年3月9日
_NUMERIC_DATE = re.compile(
    r"(?:[0-9]{4}[-/.年])?([0-9]{1,2})[-/.月]([0-9]{1,2})[.日]?(?:[-/.][0-9]{2,4})?(?:[ T].*)?"
)


def is_unknown(text: str) -> bool:
    """True for an empty text and for marks of a missing value, such as "nan", "N/A", "-1" or "?"."""
    text = text.strip().lower()
    return text in _UNKNOWN_MARKS or _MINUS_ONE.fullmatch(text) is not None


def _month(word: str) -> int | None:
    """Number of a month from any spelling of its name."""
    plain = unicodedata.normalize("NFKD", word.lower())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return next((month for start, month in _MONTHS.items() if plain.startswith(start)), None)


def _range_behind_date(text: str) -> str:
    """Range that a spreadsheet took for this date, such as "3-9" for "9-Mar"; "" if it is no date."""
    if match := _NUMERIC_DATE.fullmatch(text):
        low, high = sorted(int(number) for number in match.groups())
        return f"{low}-{high}" if low <= 12 and high <= 31 else ""
    # The last one, as "martes 3 de abril" begins with a weekday.
    months = [month for word in re.findall(r"[^\W\d_]+", text) if (month := _month(word))]
    numbers = [int(number) for number in re.findall(r"[0-9]+", text[:40])]
    if not months or not numbers:
        return ""
    other = next((number for number in numbers if number < 100), numbers[0] % 100)
    low, high = sorted((months[-1], other))
    return f"{low}-{high}"


@functools.lru_cache(maxsize=4096)  # a dataset has few labels, and each many times
def bounds(label: str) -> tuple[float, float]:
    """Youngest and oldest age in years that a label names; the second is infinite for "70+".

    A label is a number ("35", "26.5"), a range ("25-32", "25 to 32", "(25, 32)") or an open bound
    ("70+", "60-", "more than 70", "under 3"), within 0 to MAX_AGE.

    Raises:
      ValueError: anything else; the message goes on from the label, such as "is above 130".
    """
    text = label.strip().translate(_DASHES)
    *pieces, last = _NUMBER.split(text.lower())
    numbers = [float(number) for number in pieces[1::2]]
    form = _UNIT.sub("", "".join("N".join([*pieces[::2], last]).split()))
    if form == "-N":
        raise ValueError("is below 0")
    shape = next((one for one in (_POINT, _RANGE, _LEAST, _MOST) if one.fullmatch(form)), None)
    if shape:
        low, high = (numbers * 2)[:2]
        if max(numbers) > MAX_AGE:
            raise ValueError(f"is above {MAX_AGE}")
        if low > high and (low, high) != _BACKWARDS:
            raise ValueError("is a range that runs backwards")
        return (0.0 if shape is _MOST else low), (math.inf if shape is _LEAST else high)
    if behind := _range_behind_date(text):
        raise ValueError(
            f"is a date that a spreadsheet made of the range {behind}; write {behind} in a text column"
        )
    raise ValueError(NO_LABEL)


def _by_years(age: float, intervals: Intervals) -> int:
    """Class whose bounds contain an age, or UNKNOWN."""
    years = math.floor(age)
    return next((k for k, (low, high) in enumerate(intervals) if low <= years <= high), UNKNOWN)


def _nearest(age: float, intervals: Intervals) -> int:
    """Class with the nearest range; a tie goes to the younger class."""
    distances = [max(low - age, age - high, 0.0) for low, high in intervals]
    return distances.index(min(distances))


def _mean(label: str, age: float) -> float:
    """Mean of a label's bounds, NaN if it breaks the grammar; the age if there is no label."""
    if not label:
        return age
    try:
        low, high = bounds(label)
    except ValueError:
        return math.nan
    return low if math.isinf(high) else (low + high) / 2


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

    ``nearest`` and ``intervals`` read the label by `bounds`: "70+" counts as 70, and a label outside
    that grammar has no class.

    Args:
      label: text of the source, such as "(25, 32)" or "35"; "" or another mark of a missing value, such
        as "None", if it has none.
      age: age in years, NaN if unknown; outside 0 to MAX_AGE it counts as unknown.
      policy: one of LABEL_POLICIES.
      intervals: bounds of the classes; Adience's eight for all policies except ``intervals``.

    Returns:
      Index into the intervals, or UNKNOWN.
    """
    label = "" if is_unknown(label) else label.strip()
    if not label and not 0 <= age <= MAX_AGE:  # NaN too
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
      reading: point of a "years" head's distribution that counts as the age, one of READINGS.
    """

    names: tuple[str, ...]
    centres: tuple[float, ...]
    year_groups: tuple[int, ...]
    reading: str

    @classmethod
    def of(cls, task: str, intervals: Intervals = ADIENCE, reading: str = "mean") -> "Classes":
        """Classes of the head for "age", "years" or "gender"; `reading` is that of years alone."""
        if task == "gender":
            return Classes(GENDERS, (), (), "mean")
        if task == "age":
            return Classes(group_names(intervals), centres(intervals), (), "mean")
        years = groups_of_years(intervals)
        return Classes(group_names(intervals), centres(intervals), years, reading)
