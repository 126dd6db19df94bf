"""A model's errors where faces are framed otherwise than in its training, measured as training ends."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ageflax.runtime.files import Json

# Figures by key: text in the card, and an amount in words. All are errors, so less is better.
_FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "years": ("age: mean absolute error, years", lambda value: f"{value:.1f} years"),
    "age_group": ("age group: wrong, %", lambda value: f"{100 * value:.1f} points of age group"),
    "gender": ("gender: wrong, %", lambda value: f"{100 * value:.1f} points of gender"),
}
_MOST_POINTS, _LARGEST_ERROR = 100, 10_000.0


@dataclasses.dataclass(frozen=True)
class Offset:
    """Framing of an image beside that of the training images.

    Attributes:
      zoom: factor by which the face is larger.
      right: how far the face is to the right, as a share of the image's side.
      down: likewise, how far down.
    """

    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0


@dataclasses.dataclass(frozen=True)
class FramingErrors:
    """Errors by framing; made of one offset at a time.

    Attributes:
      faces: number of validation faces.
      points: errors at each offset, by figure: `years`, the mean absolute error; `age_group` and
        `gender`, the share of wrong answers. Without an offset first.
    """

    faces: int
    points: tuple[tuple[Offset, Mapping[str, float]], ...]

    @classmethod
    def from_json(cls, content: Any) -> "FramingErrors | None":
        """Checks the object `framing_errors` of config.json.

        Raises:
          ValueError: the content is not one.
        """
        if content is None:
            return None
        points = content.get("points") if isinstance(content, dict) else None
        if not isinstance(points, list) or not 1 <= len(points) <= _MOST_POINTS:
            raise ValueError("framing_errors: expected faces and points")
        if type(content.get("faces")) is not int or content["faces"] < 1:
            raise ValueError("framing_errors: faces: expected a positive integer")
        found = [_point(each) for each in points]
        if found[0][0] != Offset() or any(
            errors.keys() != found[0][1].keys() for _, errors in found
        ):
            raise ValueError(
                "framing_errors: expected errors without an offset first, all of a kind"
            )
        return cls(content["faces"], tuple(found))

    def to_json(self) -> Json:
        """The object `framing_errors` of config.json."""
        points = [vars(offset) | {"errors": dict(errors)} for offset, errors in self.points]
        return {"faces": self.faces, "points": points}

    def cost(self, offset: Offset) -> tuple[str, float]:
        """The most telling figure, and how much larger it is at an offset; at least 0.

        Offsets along the axes add up, between measured points linearly and beyond the last as there.
        """
        figure = next(name for name in _FIGURES if name in self.points[0][1])
        clean, total = self.points[0][1][figure], 0.0
        for name in Offset.__dataclass_fields__:
            own = [(o, e[figure]) for o, e in self.points if o == _alone(o, name)]
            places, values = zip(*sorted((_place(o, name), e) for o, e in own), strict=True)
            total += float(np.interp(_place(offset, name), places, values)) - clean
        return figure, max(total, 0.0)

    def cost_in_words(self, offset: Offset) -> str:
        """Such as "1.4 years"."""
        figure, value = self.cost(offset)
        return _FIGURES[figure][1](value)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings, and rows of an offset in words and its errors, for the card."""
        figures = [name for name in _FIGURES if name in self.points[0][1]]
        rows = []
        for offset, errors in self.points:
            shown = [errors[name] if name == "years" else 100 * errors[name] for name in figures]
            rows.append(
                [in_words(offset) or "as in training", *(f"{value:.1f}" for value in shown)]
            )
        return [_FIGURES[name][0] for name in figures], rows


def in_words(offset: Offset, *, least: float = 0.005) -> str:
    """An offset such as "30 % too small and 8 % too low"; empty if each is below `least`."""
    found = []
    for value, more, less in (
        (offset.zoom - 1, "large", "small"),
        (offset.right, "far right", "far left"),
        (offset.down, "low", "high"),
    ):
        if abs(value) >= least:
            found.append(f"{100 * abs(value):.0f} % too {more if value > 0 else less}")
    return " and ".join(found)


def _alone(offset: Offset, name: str) -> Offset:
    """The offset along one axis only."""
    return Offset(**{name: getattr(offset, name)})


def _place(offset: Offset, name: str) -> float:
    """Place on an axis: zooms by their logarithm; as far left as right, for faces are alike mirrored."""
    value = getattr(offset, name)
    return math.log(value) if name == "zoom" else abs(value) if name == "right" else value


def _number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high  # False for NaN


def _point(content: Any) -> tuple[Offset, dict[str, float]]:
    names = tuple(Offset.__dataclass_fields__)
    if not isinstance(content, dict) or not isinstance(errors := content.get("errors"), dict):
        raise ValueError("framing_errors: a point: expected an offset and its errors")
    offset = [content.get(name) for name in names]
    if not _number(offset[0], 0.1, 10.0) or not all(
        _number(part, -1.0, 1.0) for part in offset[1:]
    ):
        raise ValueError(
            "framing_errors: a point: expected zoom from 0.1 to 10, right and down to 1"
        )
    if not errors or not errors.keys() <= _FIGURES.keys():
        raise ValueError(f"framing_errors: expected errors of {', '.join(_FIGURES)}")
    if not all(_number(value, 0.0, _LARGEST_ERROR) for value in errors.values()):
        raise ValueError("framing_errors: an error is not a number from 0 on")
    return Offset(**dict(zip(names, offset, strict=True))), errors
