"""Numbers, lists and paths as a reader wants them."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any


def number(value: float | int | None, scale: int = 1, decimals: int = 0) -> str:
    """With thousands apart; a dash where there is none, or no finite one."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{scale * value:,.{decimals}f}"


def probability(value: float) -> str:
    """In percent, with a digit that tells even where it is tiny."""
    if value < 0.0001:
        return "<\N{NO-BREAK SPACE}0.01\N{NO-BREAK SPACE}%"
    digits = 0 if value >= 0.1 else 1 if value >= 0.01 else 2
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def duration(seconds: float | int | None) -> str:
    """In the two units that matter."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def listed(items: Iterable[Any]) -> str:
    """A, B and C."""
    *first, last = [str(item) for item in items]
    return f"{', '.join(first)} and {last}" if first else last


def counted(count: int, noun: str) -> str:
    """1 fold, 2 folds."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def interval(ends: Sequence[float | None] | None, scale: int = 1, decimals: int = 0) -> str:
    """Both ends; a dash where there is none."""
    if ends is None or None in ends:
        return "–"
    low, high = ends
    return f"{number(low, scale, decimals)} to {number(high, scale, decimals)}"


def without_folders(text: str) -> str:
    """Absolute paths cut to their last component: a page gets shared, home folders should not."""
    key, sign, value = text.partition("=") if text.startswith("-") else ("", "", text)
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(value)
        if path.is_absolute() or value.startswith("~"):
            return key + sign + path.name
    return re.sub(r"(?<![\w.:/~-])~?[\w.-]*(?:/[^/\s'\"(),\]]+)*/([^/\s'\"(),\]]+)",
                  _last_if_absolute, text)  # fmt: skip


def _last_if_absolute(match: re.Match[str]) -> str:
    return match[1] if match[0][0] in "/~" else match[0]
