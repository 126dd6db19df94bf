"""Numbers, lists and paths as text; most functions are filters of the templates."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any


def number(value: float | int | None, scale: int = 1, decimals: int = 0) -> str:
    """A scaled number with thousands separators; a dash for None and for non-finite numbers."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{scale * value:,.{decimals}f}"


def signed(value: float | None, scale: int = 1, decimals: int = 0) -> str:
    """A number with its sign, zero with a plus."""
    text = number(value, scale, decimals)
    if text == "–" or (text.startswith("-") and text.strip("-0.")):
        return text
    return "+" + text.removeprefix("-")


def probability(value: float) -> str:
    """A probability in percent, with more digits for small ones."""
    if value < 0.0001:
        return "<\N{NO-BREAK SPACE}0.01\N{NO-BREAK SPACE}%"
    digits = 0 if value >= 0.1 else 1 if value >= 0.01 else 2
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def p_value(value: float | None) -> str:
    """A p-value with as many digits as matter; a dash for None."""
    if value is None:
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def duration(seconds: float | int | None) -> str:
    """Seconds in the two largest units."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def listed(items: Iterable[Any]) -> str:
    """A list as "A, B and C"."""
    *first, last = [str(item) for item in items]
    return f"{', '.join(first)} and {last}" if first else last


def drawn_by(data: Mapping[str, Any]) -> str:
    """Unit that bootstraps draw: subjects, or faces if the dataset has no subjects.

    Args:
      data: description of the dataset; of earlier versions without `subjects`.
    """
    given = data.get("subjects", {}).get("given")
    return {"some": "subject or face", "none": "face"}.get(given, "subject")


def counted(count: int, noun: str) -> str:
    """A count with its noun, such as "1 fold" and "2 folds"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def devices(counts: Mapping[str, int], absent: str) -> str:
    """Devices by count and kind; `absent` if there are none."""
    return listed(f"{count} × {kind}" for kind, count in counts.items()) if counts else absent


def interval(ends: Sequence[float | None] | None, scale: int = 1, decimals: int = 0) -> str:
    """Both ends of an interval; a dash if it or an end is None."""
    if ends is None or None in ends:
        return "–"
    low, high = ends
    return f"{number(low, scale, decimals)} to {number(high, scale, decimals)}"


def without_folders(text: object) -> str:
    """Text whose absolute paths are cut to their last component: shared pages hide home folders."""
    text = str(text)
    key, sign, value = text.partition("=") if text.startswith("-") else ("", "", text)
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(value)
        if path.is_absolute() or value.startswith("~"):
            return key + sign + path.name
    return re.sub(r"(?<![\w.:/~-])~?[\w.-]*(?:/[^/\s'\"(),\]]+)*/([^/\s'\"(),\]]+)",
                  _last_if_absolute, text)  # fmt: skip


def _last_if_absolute(match: re.Match[str]) -> str:
    return match[1] if match[0][0] in "/~" else match[0]
