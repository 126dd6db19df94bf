"""A model's errors where faces are framed otherwise than in its training, measured as training ends."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ageflax.runtime.files import Json

# Figures by key: heading in the card, factor there, and an amount in words. All are errors.
_FIGURES: dict[str, tuple[str, int, Callable[[float], str]]] = {
    "years": ("Mean absolute error of age, years", 1, "{:.1f} years".format),
    "age_group": (
        "Wrong age groups, %",
        100,
        lambda share: f"{100 * share:.0f} % of the age groups",
    ),
    "gender": ("Wrong genders, %", 100, lambda share: f"{100 * share:.0f} % of the genders"),
}
_MOST, _LARGEST_ERROR = 20, 10_000.0

Grid = tuple[tuple[float, ...], ...]


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

    def in_words(self, *, least: float = 0.005) -> str:
        """Such as "30 % too small and 8 % too low"; empty if each part is below `least`."""
        found = []
        for value, more, less in (
            (self.zoom - 1, "large", "small"),
            (self.right, "far right", "far left"),
            (self.down, "low", "high"),
        ):
            if abs(value) >= least:
                found.append(f"{100 * abs(value):.0f} % too {more if value > 0 else less}")
        return ", ".join([*found[:-2], " and ".join(found[-2:])])


@dataclasses.dataclass(frozen=True)
class FramingErrors:
    """Errors of validation faces that were enlarged and moved.

    Attributes:
      faces: number of faces.
      zooms: factors by which they were enlarged, ascending; 1 is among them.
      shifts: distances by which they were moved, as shares of the image's side, from 0 on.
      errors: error by zoom and shift, per figure: `years`, the mean absolute error; `age_group` and
        `gender`, the share of wrong answers.
    """

    faces: int
    zooms: tuple[float, ...]
    shifts: tuple[float, ...]
    errors: Mapping[str, Grid]

    @classmethod
    def from_json(cls, content: Any) -> "FramingErrors | None":
        """Checks the object `framing_errors` of config.json, which may be absent.

        Raises:
          ValueError: the content is not one.
        """
        if content is None:
            return None
        if not isinstance(content, dict) or type(content.get("faces")) is not int:
            raise ValueError("framing_errors: expected faces, zooms, shifts and errors")
        zooms, shifts = (_ascending(content.get(name)) for name in ("zooms", "shifts"))
        errors = content.get("errors")
        if 1.0 not in zooms or zooms[0] < 0.1 or shifts[0] != 0:
            raise ValueError("framing_errors: expected zooms with 1 and shifts from 0")
        if not isinstance(errors, dict) or not errors or not errors.keys() <= _FIGURES.keys():
            raise ValueError(f"framing_errors: expected errors of {', '.join(_FIGURES)}")
        for grid in errors.values():
            rows = grid if isinstance(grid, list) and len(grid) == len(zooms) else [()]
            for row in rows:
                whole = isinstance(row, list) and len(row) == len(shifts)
                if not (whole and all(_number(value, _LARGEST_ERROR) for value in row)):
                    raise ValueError("framing_errors: expected an error by zoom and shift")
        grids = {name: tuple(map(tuple, grid)) for name, grid in errors.items()}
        return cls(content["faces"], zooms, shifts, grids)

    def to_json(self) -> Json:
        """The object `framing_errors` of config.json."""
        errors = {name: [list(row) for row in grid] for name, grid in self.errors.items()}
        return vars(self) | {
            "zooms": list(self.zooms),
            "shifts": list(self.shifts),
            "errors": errors,
        }

    def cost(self, offset: Offset) -> str:
        """Additional error at an offset in words, such as "1.4 years", in the most telling figure.

        Interpolated linearly in the zoom's logarithm and in the shift, the distance in any direction.
        """
        figure = next(name for name in _FIGURES if name in self.errors)
        grid, shift = np.array(self.errors[figure]), math.hypot(offset.right, offset.down)
        by_zoom = [float(np.interp(shift, self.shifts, row)) for row in grid]
        found = float(np.interp(math.log(offset.zoom), np.log(self.zooms), by_zoom))
        usual = float(grid[self.zooms.index(1.0), 0])
        within = self.zooms[0] <= offset.zoom <= self.zooms[-1] and shift <= self.shifts[-1]
        amount = _FIGURES[figure][2](max(found - usual, 0.0))
        return f"{'about' if within else 'at least'} {amount}"

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Per figure: heading, headings of the columns, and rows of a zoom and its errors."""
        columns = [
            f"moved by {100 * shift:.0f} %" if shift else "in place" for shift in self.shifts
        ]
        found = []
        for name, (heading, factor, _) in _FIGURES.items():
            rows = [
                [f"{zoom:g} times as large", *(f"{factor * value:.1f}" for value in row)]
                for zoom, row in zip(self.zooms, self.errors.get(name, ()), strict=False)
            ]
            if rows:
                found.append((heading, columns, rows))
        return found


def _number(value: Any, most: float) -> bool:
    return type(value) in (int, float) and 0 <= value <= most  # False for NaN


def _ascending(values: Any) -> tuple[float, ...]:
    sized = isinstance(values, list) and 1 <= len(values) <= _MOST
    if not sized or not all(_number(value, 10.0) for value in values):
        raise ValueError("framing_errors: expected lists of zooms and shifts")
    if not all(one < next_ for one, next_ in itertools.pairwise(values)):
        raise ValueError("framing_errors: zooms and shifts: expected ascending numbers")
    return tuple(values)
