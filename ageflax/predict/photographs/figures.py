"""Figures of a test on photographs, over all and by age band and gender, with intervals by subject."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ageflax import labels, metrics
from ageflax.bundle.description import Description
from ageflax.metrics import conformal
from ageflax.metrics.years import AGE_BANDS
from ageflax.predict.face import Face
from ageflax.predict.photographs.choice import Photograph
from ageflax.runtime.files import Json

# Classes of photographs: name to int[n], the group of each (negative if unknown), and the groups' names.
Groupings = Mapping[str, tuple[np.ndarray, Sequence[str]]]


def age_task(description: Description) -> str | None:
    """The head that gives ages in years; None if the model has none."""
    return next((task for task in ("years", "age") if task in description.heads), None)


def _band(low: float, high: float) -> tuple[float, float]:
    """Band of a label: the range itself; for one age, the band of metrics.years."""
    if low < high:
        return low, high
    first, last = next(band for band in AGE_BANDS if band[0] <= math.floor(low) <= band[1])
    return float(first), float(last)


def _bands(ages: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Age band of each label, and the bands' names by age.

    Args:
      ages: float[n, 2], youngest and oldest age, NaN if unknown.
    """
    bands = [None if math.isnan(low) else _band(low, high) for low, high in ages.tolist()]
    present = sorted({band for band in bands if band})
    names = [f"{low:g}+" if math.isinf(high) else f"{low:g}-{high:g}" for low, high in present]
    return np.array([present.index(band) if band else -1 for band in bands], int), names


def _figures(values: Mapping[str, np.ndarray], mask: np.ndarray) -> Json:
    found: Json = {}
    for name, value in values.items():
        counted = value[mask & ~np.isnan(value)]
        found.setdefault("faces", len(counted))
        found[name] = metrics.ratio(counted.sum(), len(counted))
        if name == "mae":
            found["median"] = float(np.median(counted)) if len(counted) else None
    return found


def _summary(values: Mapping[str, np.ndarray], subjects: np.ndarray, groupings: Groupings) -> Json:
    """Means over all faces and over those of each group, each with its interval.

    Args:
      values: figure to float[n], each face's contribution, NaN where it does not count.
      subjects: str[n], subject of each face.
      groupings: classes of the faces.

    Returns:
      JSON: `faces`, the figures, for `mae` also `median`, `intervals` (see metrics.intervals), and
      `groups`: grouping to group to `faces`, figures and `intervals`; groups without a face are absent.
    """
    masks = {("", ""): np.ones(len(subjects), bool)} | {
        (grouping, name): group == k
        for grouping, (group, names) in groupings.items()
        for k, name in enumerate(names)
    }
    columns = {
        f"{place}:{figure}": np.where(mask, value, np.nan)
        for place, mask in masks.items()
        for figure, value in values.items()
    }
    drawn = metrics.intervals(subjects, columns)
    how = {key: value for key, value in drawn.items() if key not in columns}
    groups: dict[str, dict[str, Json]] = {}
    result: Json = {}
    for place, mask in masks.items():
        found = _figures(values, mask)
        found["intervals"] = {figure: drawn[f"{place}:{figure}"] for figure in values}
        grouping, name = place
        if not grouping:
            result = found
        elif found["faces"]:
            groups.setdefault(grouping, {})[name] = found
    return result | {"intervals": how | result["intervals"], "groups": groups}


def _of_ages(
    ages: np.ndarray, estimated: np.ndarray, subjects: np.ndarray, groupings: Groupings
) -> Json:
    """Figures against single ages, `years`, and against ranges, `ranges`; each only if there are any."""
    low, high = ages.T
    off, single = metrics.off_range(low, high, estimated), low == high
    found: Json = {"faces": int((~np.isnan(off)).sum())}
    shared = {"bias": off, "answered": np.where(np.isnan(off), np.nan, estimated)}
    for key, mask, values in (
        ("years", single, {"mae": np.abs(off), "cs5": np.abs(off) <= 5}),
        ("ranges", low < high, {"outside": np.abs(off), "inside": off == 0}),
    ):
        if mask.any():
            masked = {k: np.where(mask, v, np.nan) for k, v in (values | shared).items()}
            found[key] = _summary(masked, subjects, groupings)
    if single.any():
        found["years"] = metrics.years(np.where(single, low, np.nan), estimated) | found["years"]
    return found


def _of_classes(
    true: np.ndarray,
    predicted: np.ndarray,
    names: Sequence[str],
    subjects: np.ndarray,
    groupings: Groupings,
    *,
    ordered: bool,
) -> Json:
    """Accuracies of a head for classes."""
    known = true >= 0
    unknown, distance = np.where(known, 0.0, np.nan), np.abs(predicted - true)
    values = {"exact": (distance == 0) + unknown}
    if ordered:
        values["one_off"] = (distance <= 1) + unknown
    found = metrics.accuracies(true[known], predicted[known], names, ordered=ordered)
    return found | _summary(values, subjects, groupings)


def measure(tested: Sequence[Photograph], description: Description) -> dict[str, Json]:
    """Figures per head whose labels are known, over the photographs with an answer.

    * The head for ages ("years" or "age"): `faces`; `years`, for labels that are one age: the figures
      of metrics.years, `median` (of the absolute error) and `answered` (mean answer); `ranges`, for
      other labels: `outside`, mean years outside the range, `inside`, the share within it, `bias`, the
      mean of the signed distance, and `answered`; `of_age`, see metrics.of_age, for both; and
      `age_interval`, see conformal.coverage: an interval counts as right if it meets the label.
    * A head "age" also has `groups_of_model`: accuracies of its age groups, for labels that lie within
      one of them.
    * "gender": see metrics.accuracies.

    Each has `intervals`, by subject, and `groups`, the same by age band and by gender.

    Args:
      tested: photographs; those without a face are left out.
      description: description of the model.
    """
    answered = [(one, one.face) for one in tested if one.face is not None]
    subjects = np.array(
        [one.label.subject or f"face of {one.label.path}" for one, _ in answered], object
    )
    ages = np.array([one.ages for one, _ in answered], np.float64).reshape(-1, 2)
    genders = np.array([one.label.gender for one, _ in answered], int)
    groupings: Groupings = {"age": _bands(ages), "gender": (genders, labels.GENDERS)}
    result: dict[str, Json] = {}
    task = age_task(description)
    if task is not None and not np.isnan(ages).all():
        estimated = np.array([face.age for _, face in answered], np.float64)
        minor = None
        if description.tells_years:
            minor = np.array([face.under[metrics.ADULT] for _, face in answered], np.float64)
        result[task] = _of_ages(ages, estimated, subjects, groupings)
        result[task]["of_age"] = metrics.of_age(
            ages, estimated, minor, genders=genders, subjects=subjects
        )
        if (
            covered := _intervals([face for _, face in answered], ages, subjects, groupings)
        ) is not None:
            result[task]["age_interval"] = covered
    if task == "age":
        names = description.heads["age"]
        true = np.array([_class(one, description.intervals) for one, _ in answered], int)
        guessed = [names.index(face.age_group.label) for _, face in answered if face.age_group]
        if (true >= 0).any():
            result[task]["groups_of_model"] = _of_classes(
                true, np.array(guessed, int), names, subjects, groupings, ordered=True
            )
    if "gender" in description.heads and (genders >= 0).any():
        guessed = [labels.GENDERS.index(face.gender.label) for _, face in answered if face.gender]
        result["gender"] = _of_classes(
            genders, np.array(guessed, int), labels.GENDERS, subjects, groupings, ordered=False
        )
    return result


def _intervals(
    faces: Sequence[Face], ages: np.ndarray, subjects: np.ndarray, groupings: Groupings
) -> Json | None:
    """Coverage and width of the faces' intervals; None if the model gives none."""
    levels = [one.level for one in faces[0].age_intervals]
    if not levels:
        return None
    spans = np.array([[(one.low, one.high) for one in face.age_intervals] for face in faces])
    whole = np.floor(ages)
    whole[:, 0] = np.minimum(whole[:, 0], 100)  # for which a model's last year stands
    return conformal.coverage(levels, spans, whole, subjects, groupings)


def _class(one: Photograph, intervals: labels.Intervals) -> int:
    """The model's age group that contains the whole label; UNKNOWN if none does. The last is open."""
    low, high = (min(age, intervals[-1][1]) for age in one.ages)
    places = (k for k, (first, last) in enumerate(intervals) if first <= low and high < last + 1)
    return next(places, labels.UNKNOWN)
