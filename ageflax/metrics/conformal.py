"""Intervals of ages that contain a stated share of ages, at every age: label-conditional conformal.

Of each candidate age (a year, or an age group) the rank in a face's distribution is a number between 0
and 1: the probability of all younger ages, and half of its own. Faces whose answers were not trained on
show the ranks of true ages; a candidate belongs to a face's interval if its rank there is no further
from the middle of such ranks than those of a `level` share of faces of about that true age. The promise
is then kept for each age and not only on average, as for children an interval of one fixed width would
always hold and for the old seldom.

Chosen by ten-fold cross-validation on 740 validation people of the default model (coverage at 80 %,
largest miss over the eight age bands of metrics.years in points, mean width in years; the same at 95 %):

    estimate +- one width               80.1  24.0  14.0    95.0  9.0  28.0
    ranks, one quantile for all ages    80.2  10.1  13.5    95.1  5.0  23.5
    both tails, 90 people near the age  81.6   9.7  15.4    96.6  2.3  27.5
    |rank - 1/2|, 90 people             80.7   7.1  14.8    95.6  5.0  24.9
    |rank - median|, 100 people         80.0   5.6  14.7    95.4  4.2  24.7
    |rank - median|, 5 / (1 - level)    81.2   3.6  15.6    95.6  2.6  24.9

The last is used: windows of 25, 50 and 100 people at 80, 90 and 95 %. Where fewer are near in age, as
above 75 there, windows reach far, and coverage depends on who happened to be among them.

References: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, section 4.5
  (label-conditional); Guan, Localized conformal prediction, Biometrika 2023; Lu et al., Ordinal
  conformal prediction sets, MICCAI 2022.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ageflax import labels
from ageflax.metrics.answers import Answers
from ageflax.metrics.bootstrap import intervals as by_subject
from ageflax.metrics.classification import ratio
from ageflax.metrics.years import AGE_BANDS
from ageflax.runtime.files import Json

LEVELS = (0.8, 0.9, 0.95)
FEWEST = 40  # people to calibrate on
# Years on either side of a window, at least; and people in it, weighed, beyond a level's interval.
_NARROWEST, _BEYOND = 3.0, 5.0
# Logistic scale of the fixed distribution around the estimate of a head that gives none, in years.
_SPREAD = 5.0


def candidates(classes: labels.Classes) -> tuple[np.ndarray, np.ndarray]:
    """int[k], first and last year of each age that a head can answer: years, or age groups."""
    if classes.year_groups:
        years = np.arange(len(classes.year_groups))
        return years, years
    pairs = np.array(labels.intervals_of(classes.names))
    return pairs[:, 0], pairs[:, 1]


def _positions(classes: labels.Classes) -> np.ndarray:
    """float64[k], age of each candidate."""
    low, _ = candidates(classes)
    return low.astype(np.float64) if classes.year_groups else np.array(classes.centres)


def true_candidates(
    classes: labels.Classes, groups: np.ndarray, ages: np.ndarray | None
) -> np.ndarray:
    """int[n], candidate of each face's label, -1 if unknown: its whole year, or its age group."""
    if not classes.year_groups:
        return groups
    ages = np.full(len(groups), np.nan) if ages is None else ages
    whole = np.floor(np.where(ages >= 0, ages, -1.0))
    return np.minimum(whole, len(classes.year_groups) - 1).astype(np.int64)


def label_years(classes: labels.Classes, groups: np.ndarray, ages: np.ndarray | None) -> np.ndarray:
    """float64[n, 2], first and last year of each face's candidate, NaN if unknown."""
    true = true_candidates(classes, groups, ages)
    found = np.stack(candidates(classes), axis=1)[true].astype(np.float64)
    return np.where(true[:, None] >= 0, found, np.nan)


def _ranks(probabilities: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """float64[n, k], share below each candidate and half of its own."""
    if probabilities.shape[1] == 1:
        away = (positions - probabilities.astype(np.float64)) / _SPREAD
        return 1.0 / (1.0 + np.exp(-np.clip(away, -40.0, 40.0)))
    shares = probabilities.astype(np.float64)
    shares = shares / shares.sum(1, keepdims=True)
    return np.clip(np.cumsum(shares, axis=1) - shares / 2, 0.0, 1.0)


def _distances(ranks: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Distance of ranks from their middle, as a share of what lies on that side: 0 to 1."""
    above = (ranks - centres) / (1.0 - centres)
    return np.maximum(above, (centres - ranks) / centres)


def _weights(ages: np.ndarray, people: np.ndarray, position: float, level: float) -> np.ndarray:
    """Weights of faces near an age: triangular, in a window that grows until it has enough people."""
    enough = min(_BEYOND / (1.0 - level), 0.9 * people.sum())
    width = _NARROWEST
    while True:
        near = people * np.maximum(1.0 - np.abs(ages - position) / width, 0.0)
        if near.sum() >= enough:
            return near
        width *= 1.1


def _quantile(values: np.ndarray, weights: np.ndarray, mass: float) -> float:
    """Smallest value up to which the weights add up to a mass; infinite if all of them do not."""
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[order])
    place = np.searchsorted(upto, mass - 1e-9)
    return float(values[order][place]) if place < len(values) else math.inf


@dataclasses.dataclass(frozen=True)
class Conformal:
    """Calibration of a head's intervals.

    A candidate belongs to an interval if its rank is at least centre * (1 - reach) and at most
    centre + reach * (1 - centre).

    Attributes:
      levels: shares of ages that intervals contain, ascending.
      centres: float64[k], median rank of faces of about each candidate age, above 0 and below 1.
      reaches: float64[levels, k], ascending by level, 0 to 1; 1 for an interval without bounds, where
        too few faces were near.
      faces: number of faces calibrated on.
      people: number of subjects among them.
    """

    levels: tuple[float, ...]
    centres: np.ndarray
    reaches: np.ndarray
    faces: int
    people: int

    def to_json(self) -> Json:
        """JSON values."""
        return {
            "levels": list(self.levels),
            "centres": self.centres.tolist(),
            "reaches": self.reaches.tolist(),
            "faces": self.faces,
            "people": self.people,
        }

    @classmethod
    def from_json(cls, content: Any, classes: labels.Classes) -> "Conformal":
        """Checks a calibration that may come from anyone.

        Raises:
          ValueError: it is not one for these classes.
        """
        if not isinstance(content, dict):
            raise ValueError("expected an object")
        levels = content.get("levels")
        if not isinstance(levels, list) or not 1 <= len(levels) <= 20:
            raise ValueError("levels: expected 1 to 20 shares")
        levels = _checked(levels, "levels", 20)
        if not ((levels > 0) & (levels < 1)).all() or (np.diff(levels) <= 0).any():
            raise ValueError("levels: expected ascending shares between 0 and 1")
        count = len(_positions(classes))
        centres = _checked(content.get("centres"), "centres", count)
        rows = content.get("reaches")
        if not isinstance(rows, list) or len(rows) != len(levels):
            raise ValueError("reaches: expected a list for each level")
        reaches = np.stack([_checked(row, "reaches", count) for row in rows])
        if not ((centres > 0) & (centres < 1)).all() or len(centres) != count:
            raise ValueError(f"centres: expected {count} numbers between 0 and 1")
        if not ((reaches >= 0) & (reaches <= 1)).all() or (np.diff(reaches, axis=0) < 0).any():
            raise ValueError("reaches: expected numbers from 0 to 1, ascending by level")
        counts: dict[str, Any] = {name: content.get(name) for name in ("faces", "people")}
        for name, value in counts.items():
            if type(value) is not int or not 0 <= value < 2**53:
                raise ValueError(f"{name}: expected a count")
        return cls(tuple(levels.tolist()), centres, reaches, **counts)

    def intervals(
        self, probabilities: np.ndarray, years: np.ndarray, classes: labels.Classes
    ) -> np.ndarray:
        """int[n, levels, 2], first and last year of each face's interval at each level.

        An interval spans every candidate that belongs to it and that of the estimated age; those of
        higher levels contain those of lower ones. The last year of years, 100, stands for all above.

        Args:
          probabilities: see metrics.ages.
          years: float[n], estimated ages.
          classes: meaning of the probabilities.
        """
        positions = _positions(classes)
        away = _distances(_ranks(probabilities, positions), self.centres)
        middle = np.abs(positions - years[:, None]).argmin(1)
        low, high = candidates(classes)
        found = np.empty((len(years), len(self.levels), 2), np.int64)
        for k, reach in enumerate(self.reaches):
            inside = away <= reach
            inside[np.arange(len(years)), middle] = True
            found[:, k, 0] = low[inside.argmax(1)]
            found[:, k, 1] = high[inside.shape[1] - 1 - inside[:, ::-1].argmax(1)]
        return found


def _checked(values: Any, name: str, most: int) -> np.ndarray:
    plain = isinstance(values, list) and len(values) <= most
    if not plain or not all(type(value) in (int, float) for value in values):
        raise ValueError(f"{name}: expected a list of {most} numbers")
    found = np.array([float(value) if abs(value) < 2 else math.nan for value in values])
    if len(found) != most and name != "levels":
        raise ValueError(f"{name}: expected a list of {most} numbers")
    return found


def fit(
    probabilities: np.ndarray,
    true: np.ndarray,
    subjects: np.ndarray,
    classes: labels.Classes,
    *,
    levels: Sequence[float] = LEVELS,
) -> Conformal | None:
    """Calibrates intervals on faces that were neither trained on nor will be tested.

    Each person weighs as one face, as their faces are not independent: what is promised is a random
    face of a random person.

    Args:
      probabilities: see metrics.ages.
      true: int[n], see `true_candidates`; faces of -1 do not count.
      subjects: str or int[n], subject of each face.
      classes: meaning of the probabilities.
      levels: shares of ages to contain, ascending.

    Returns:
      The calibration; None with fewer than 40 people of known age.
    """
    known = true >= 0
    true, positions = true[known], _positions(classes)
    _, person, faces = np.unique(
        np.asarray(subjects)[known].astype(str), return_inverse=True, return_counts=True
    )
    if len(faces) < FEWEST:
        return None
    people = 1.0 / faces[person]
    own = _ranks(probabilities[known], positions)[np.arange(len(true)), true]
    centres, reaches = np.empty(len(positions)), np.ones((len(levels), len(positions)))
    for k, position in enumerate(positions):
        windows = [_weights(positions[true], people, position, level) for level in levels]
        middle = _quantile(own, windows[0], windows[0].sum() / 2)
        centre = round(float(np.clip(middle, 1e-3, 1 - 1e-3)), 5)
        away = _distances(own, np.array(centre))
        # One more person, of this very age and beyond all bounds, stands for the one to come.
        found = [
            _quantile(away, near, level * (near.sum() + 1.0))
            for level, near in zip(levels, windows, strict=True)
        ]
        found = np.maximum.accumulate(found)  # windows differ, but higher levels hold lower ones
        centres[k] = centre
        reaches[:, k] = [
            min(math.ceil(reach * 1e5) / 1e5, 1.0) if reach < 1 else 1.0 for reach in found
        ]
    return Conformal(tuple(levels), centres, reaches, len(true), len(faces))


def _figures(values: np.ndarray, mask: np.ndarray, interval: Any) -> Json:
    """Figures of one group of faces; `values` is float[n, 2], covered and width."""
    covered, width = values[mask].T
    return {
        "faces": len(covered),
        "coverage": ratio(covered.sum(), len(covered)),
        "interval": interval,
        "mean_width": ratio(width.sum(), len(width)),
        "median_width": float(np.median(width)) if len(width) else None,
    }


def coverage(
    levels: Sequence[float],
    found: np.ndarray,
    bounds: np.ndarray,
    subjects: np.ndarray,
    groupings: Mapping[str, tuple[np.ndarray, Sequence[str]]],
) -> Json:
    """Shares of faces whose interval meets their label, and the widths of intervals.

    Args:
      levels: levels of the intervals.
      found: int[n, levels, 2]; see Conformal.intervals.
      bounds: float[n, 2], first and last whole year that each label names, NaN if unknown: one year, or
        a range such as 20-29, which an interval meets if they share a year.
      subjects: str or int[n], subject of each face.
      groupings: further groups of faces; see metrics.groups. Those without a face are left out.

    Returns:
      JSON: by level `faces`, `coverage`, `interval` (95 %, by subject; see metrics.intervals),
      `mean_width` and `median_width` in years, one year being 1; and the same per grouping and group.
    """
    known = ~np.isnan(bounds).any(1)
    found, bounds, subjects = found[known], bounds[known], np.asarray(subjects)[known]
    everyone = np.ones(len(found), bool)
    masks = {("", ""): everyone} | {
        (grouping, name): of[known] == k
        for grouping, (of, names) in groupings.items()
        for k, name in enumerate(names)
    }
    result = {}
    for k, level in enumerate(levels):
        low, high = found[:, k].T
        covered = ((low <= bounds[:, 1]) & (high >= bounds[:, 0])).astype(np.float64)
        values = np.stack([covered, high + 1.0 - low], axis=1)
        spread = by_subject(
            subjects, {repr(key): np.where(m, covered, np.nan) for key, m in masks.items()}
        )
        figures: Json = {}
        for (grouping, name), mask in masks.items():
            of_group = _figures(values, mask, spread[repr((grouping, name))])
            if not grouping:
                figures |= of_group
            elif of_group["faces"]:
                figures.setdefault(grouping, {})[name] = of_group
        result[str(level)] = figures
    return result


def of_answers(given: Answers, names: Sequence[str]) -> Json | None:
    """Figures of `coverage` by age band, or by class if no age in years is known, and by gender.

    Args:
      given: answers of a head; None results without intervals or without a label.
      names: names of the classes.
    """
    if given.intervals is None or given.label_years is None or np.isnan(given.label_years).all():
        return None
    ages = (given.true, names) if given.years_true is None else age_bands(given.years_true)
    groupings: dict[str, tuple[np.ndarray, Sequence[str]]] = {"age": ages}
    if given.genders is not None:
        groupings["gender"] = (given.genders, labels.GENDERS)
    return coverage(given.levels, given.intervals, given.label_years, given.subjects, groupings)


def age_bands(ages: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """int[n], band of metrics.years that each age lies in, -1 if unknown; and the bands' names."""
    found = np.full(len(ages), -1)
    for k, (low, high) in enumerate(AGE_BANDS):
        found[(np.floor(ages) >= low) & (np.floor(ages) <= high)] = k
    return found, tuple(f"{low}-{high}" for low, high in AGE_BANDS)


def table(figures: Mapping[str, Any]) -> list[list[str]]:
    """Coverage, with its interval, and mean width in years as a table of text, its header first.

    Args:
      figures: result of `coverage`.

    Raises:
      ArithmeticError, AttributeError, LookupError, TypeError, ValueError: figures of another form.
    """
    first = next(iter(figures.values()))
    places = [("", "all")]
    places += [
        (grouping, name) for grouping in ("age", "gender") for name in first.get(grouping, {})
    ]
    header = ["true age", "faces"]
    for level in figures:
        header += [f"{100 * float(level):g} % intervals hold, %", "years wide"]
    rows = [header]
    for grouping, name in places:
        of_levels = [each[grouping][name] if grouping else each for each in figures.values()]
        row = [name, f"{int(of_levels[0]['faces']):,}"]
        for each in of_levels:
            low, high = each["interval"]
            ends = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
            row += [f"{100 * each['coverage']:.1f}{ends}", f"{each['mean_width']:.1f}"]
        rows.append(row)
    return rows
