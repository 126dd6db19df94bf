"""Writes predictions.csv: every evaluated face with its labels and answers."""

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ageflax.data.dataset import Faces, Target
from ageflax.evaluation.predictions import Predictions
from ageflax.metrics.ages import Ages, ages_of
from ageflax.runtime import files

# Columns of one task: names, and a function from a face's place among the predictions to its cells.
_Columns = tuple[list[str], Callable[[int], list[str]]]


def _number(value: float) -> str:
    """Nine significant digits, which tell any two float32 apart; empty where unknown."""
    return "" if math.isnan(value) else f"{value:.9g}"


def _class_columns(
    task: str,
    target: Target,
    rows: np.ndarray,
    probabilities: np.ndarray,
    aged: Ages | None,
    true_ages: np.ndarray,
) -> _Columns:
    """Of a head for classes; with ages in years where some face's is known."""
    names = [f"{task}_true", f"{task}_predicted"]
    in_years = aged if not np.isnan(true_ages).all() else None
    if in_years is not None:
        names += [f"{task}_years_true", f"{task}_years_predicted"]
    names += [f"{task}_probability_{name}" for name in target.names]

    def cells(place: int) -> list[str]:
        true, scores = target.classes[rows[place]], probabilities[place]
        found = [target.names[true] if true >= 0 else "", target.names[scores.argmax()]]
        if in_years is not None:
            found += [_number(float(true_ages[place])), _number(float(in_years.years[place]))]
        return found + [_number(score) for score in scores.tolist()]

    return names, cells


def _year_columns(
    task: str, target: Target, rows: np.ndarray, probabilities: np.ndarray, aged: Ages
) -> _Columns:
    """Of a head for years; with the age groups that its accuracies are of."""
    assert target.years is not None
    years, deviation = target.years, aged.deviation
    names = [f"{task}_true", f"{task}_predicted", f"{task}_group_true", f"{task}_group_predicted"]
    if deviation is not None:
        names.append(f"{task}_deviation")
        names += [f"{task}_probability_{year}" for year in range(probabilities.shape[1])]

    def cells(place: int) -> list[str]:
        true = target.classes[rows[place]]
        found = [
            _number(float(years[rows[place]])),
            _number(float(aged.years[place])),
            target.names[true] if true >= 0 else "",
            target.names[aged.groups[place].argmax()],
        ]
        if deviation is not None:
            found.append(_number(float(deviation[place])))
            found += [_number(score) for score in probabilities[place].tolist()]
        return found

    return names, cells


def write_predictions(
    path: Path, predictions: Predictions, faces: Faces, targets: Mapping[str, Target]
) -> None:
    """predictions.csv: one line a face, in the dataset's order.

    Columns: key, subject, then per task TASK_true (empty where unknown), TASK_predicted and one
    TASK_probability_CLASS a class. Where any face's age is known, age_years_true and
    age_years_predicted follow age_predicted. Of years, true and predicted are ages; years_group_true
    and years_group_predicted are the age groups; and years_deviation is the predicted distribution's,
    which heads without one have no columns of. Numbers have nine significant digits: float32 exactly.
    """
    rows = predictions.rows
    columns = []
    for task, target in targets.items():
        probabilities = predictions.probabilities[task]
        aged = ages_of(probabilities, target) if target.centres else None
        if aged is not None and target.years is not None:
            columns.append(_year_columns(task, target, rows, probabilities, aged))
        else:
            known = faces.ages[rows]
            columns.append(_class_columns(task, target, rows, probabilities, aged, known))
    with (
        files.replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "subject", *(name for names, _ in columns for name in names)])
        for place, row in enumerate(rows.tolist()):
            line = [faces.keys[row], faces.subjects[row]]
            for _, cells in columns:
                line += cells(place)
            writer.writerow(line)
