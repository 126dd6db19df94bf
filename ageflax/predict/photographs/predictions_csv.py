"""predictions.csv of a test on photographs: a row per row of the list, answered or not."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ageflax import labels
from ageflax.bundle.description import Description
from ageflax.predict.face import classes_of, under_name
from ageflax.predict.photographs.choice import Photograph
from ageflax.runtime import files
from tfds_builders.labeled_faces.rows import Rejection

_BOX = ("x", "y", "width", "height")
_QUALITY = ("quality", "quality_reason")


def _cells(one: Photograph, tasks: Sequence[str]) -> dict[str, Any]:
    label = one.label
    row: dict[str, Any] = {
        "key": label.path,
        "subject": label.subject,
        "age_true": label.age_group if math.isnan(label.age) else f"{label.age:g}",
        "gender_true": "" if label.gender == labels.UNKNOWN else labels.GENDERS[label.gender],
        "faces": one.found,
        "reason": one.reason,
        "detail": one.detail,
    }
    if one.face is None:
        return row
    record = one.face.to_dict()
    row |= dict(zip(_BOX, record["box"], strict=True))
    row |= {key: record[key] for key in ("detection_score", "age", "age_deviation")}
    row |= {under_name(age): record[under_name(age)] for age in one.face.under}
    row |= {key: record[key] for key in _QUALITY if key in record}
    for task in tasks:
        row[task] = record[task]["label"]
        for name, share in record[task]["probabilities"].items():
            row[f"{task}_probability_{name}"] = share
    return row


def _rows(
    tested: Sequence[Photograph], rejected: Sequence[Rejection], tasks: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Rows in the order of the list."""
    placed = [(one.label.line, one.label.path, _cells(one, tasks)) for one in tested]
    placed += [
        (bad.line, bad.path, {"key": bad.path, "reason": bad.reason, "detail": bad.detail})
        for bad in rejected
    ]
    for *_, row in sorted(placed, key=lambda item: item[:2]):
        yield row


def write(
    path: Path,
    tested: Sequence[Photograph],
    rejected: Sequence[Rejection],
    description: Description,
) -> None:
    """Writes predictions.csv.

    Columns: key (path), subject, age_true and gender_true (labels); those of the table of
    ageflax.predict for the chosen face: x, y, width, height, detection_score, age, age_deviation,
    age_group, gender and their probabilities, and probability_under_18 if the model tells it; faces
    (number detected), reason and detail of a row without an answer; quality and quality_reason, if the
    model tells them. Cells without a value are empty.
    """
    classes = classes_of(description)
    # The same for all photographs with an answer.
    under = next((one.face.under for one in tested if one.face is not None), ())
    header = ["key", "subject", "age_true", "gender_true", *_BOX, "detection_score"]
    header += ["age", "age_deviation"]
    for task, names in classes.items():
        header += [task, *(f"{task}_probability_{name}" for name in names)]
    header += list(map(under_name, under))
    header += ["faces", "reason", "detail"]
    header += _QUALITY if description.quality is not None else ()
    with (
        files.replacing(path) as temporary,
        # File names are written byte for byte, UTF-8 or not.
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rows(tested, rejected, list(classes)))
