"""Content of quality.json and quality.html: label counts, images left out, findings of ageflax.wash."""

import collections
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ageflax.data.dataset import Faces

_GENDERS = {0: "female", 1: "male", -1: "unknown"}
_DECADE = 10
_FOLDS = range(5)


def _by_fold(values: Sequence[Any], folds: Sequence[int], order: Sequence[Any]) -> dict[str, Any]:
    """Counts of each value in each fold, in the given order; values that do not occur are left out."""
    found = collections.Counter(zip(values, folds, strict=True))
    counts = {str(value): [found[value, fold] for fold in _FOLDS] for value in order}
    return {value: row for value, row in counts.items() if any(row)}


def _age_band(age: float) -> str:
    """The decade of an age, such as "20-29"; "unknown" for NaN, which is not >= 0."""
    if not age >= 0:
        return "unknown"
    low = int(age // _DECADE * _DECADE)
    return f"{low}-{low + _DECADE - 1}"


def _label_order(label: str) -> tuple[float, str]:
    """Sort key: by the first number in a label; labels without one come last."""
    number = re.search("[0-9]+", label)
    return (float(number[0]) if number else float("inf"), label)


def make(
    faces: Faces, *, name: str, metadata: Mapping[str, Any], washed: Mapping[str, Any]
) -> dict[str, Any]:
    """Content of quality.json.

    Args:
      faces: labels of the dataset.
      name: name of the dataset.
      metadata: metadata recorded by its builder.
      washed: content of wash_report.json.
    """
    folds = faces.folds.tolist()
    pairs = set(zip(faces.subjects.tolist(), folds, strict=True))
    subjects = collections.Counter(fold for _, fold in pairs)
    labels, bands = faces.age_labels.tolist(), [_age_band(age) for age in faces.ages.tolist()]
    genders = [_GENDERS[number] for number in faces.genders.tolist()]
    return {
        "dataset": name,
        "faces": len(faces),
        "persons": len(set(faces.subjects.tolist())),
        "edition": metadata.get("edition"),
        "licence": metadata.get("licence"),
        "fingerprint": faces.fingerprint,
        "left_out_by_the_builder": metadata.get("rejected") or {},
        "faces_by_fold": [folds.count(fold) for fold in _FOLDS],
        "persons_by_fold": [subjects[fold] for fold in _FOLDS],
        "age_labels": _by_fold(labels, folds, sorted(set(labels), key=_label_order)),
        "ages": _by_fold(bands, folds, sorted(set(bands), key=_label_order)),
        "genders": _by_fold(genders, folds, list(_GENDERS.values())),
        "wash": dict(washed),
    }


def findings(content: Mapping[str, Any]) -> list[str]:
    """Lines about possible faults of the dataset; none if there are none."""
    washed, lines = content["wash"], []
    if unusable := sum(washed["unusable"].values()):
        lines.append(f"{unusable:,} images are useless: unreadable, blank or a single pixel")
    pairs = washed["pairs"].values()
    if folds := sum(counts["across_folds"] for counts in pairs):
        lines.append(
            f"{folds:,} pairs show one picture in two folds; test figures will be too good"
        )
    if subjects := sum(counts["across_subjects"] for counts in pairs):
        lines.append(f"{subjects:,} pairs show one picture with two subjects")
    sizes = content["faces_by_fold"]
    if min(sizes) == 0:
        lines.append(f"fold {sizes.index(0)} is empty")
    return lines


def page(content: Mapping[str, Any]) -> str:
    """Content of quality.html, a page that needs no other file."""
    environment = Environment(
        loader=PackageLoader("pipelines.quality"), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    tables = [("Age labels in the source", "age_labels"), ("Ages in years", "ages")]
    tables.append(("Gender", "genders"))
    # A dataset without ages, or without labels, gets no table of them.
    shown = [(t, content[key]) for t, key in tables if set(content[key]) - {"", "unknown"}]
    return environment.get_template("quality.html.jinja").render(
        content=content, tables=shown, findings=findings(content)
    )
