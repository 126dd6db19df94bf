"""predictions.csv: every evaluated face with its labels and answers; written and read."""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ageflax import labels, metrics
from ageflax.data.dataset import Faces, Target
from ageflax.errors import RunError, one_line, shown
from ageflax.evaluation.predictions import Predictions
from ageflax.metrics import conformal
from ageflax.metrics.conformal import Conformal
from ageflax.runtime import files

_GENDERS = np.array([*labels.GENDERS, ""], object)  # UNKNOWN, -1, is the last
# Ends an error about a damaged file.
REMEDY = "remove the result.json beside it and start the run again, which tests the fold again"


def _number(value: float) -> str:
    """Nine significant digits, which distinguish any two float32; empty if unknown."""
    return "" if math.isnan(value) else f"{value:.9g}"


def _columns(
    task: str,
    target: Target,
    faces: Faces,
    rows: np.ndarray,
    probabilities: np.ndarray,
    interval: Conformal | None,
) -> dict[str, np.ndarray]:
    """Columns of one task: class names, or numbers."""
    listed = probabilities
    names = np.array([*target.names, ""], object)  # UNKNOWN, -1, is the last
    true, classes = names[target.classes[rows]], target.names
    aged = metrics.ages(probabilities, target) if target.centres else None
    if aged is not None and target.years is not None:
        found = {
            f"{task}_true": target.years[rows],
            f"{task}_predicted": aged.years,
            f"{task}_group_true": true,
            f"{task}_group_predicted": names[aged.groups.argmax(-1)],
        }
        if aged.std is None:
            listed, classes = probabilities[:, :0], ()
        else:
            found[f"{task}_deviation"], classes = aged.std, range(probabilities.shape[1])
    else:
        found = {f"{task}_true": true, f"{task}_predicted": names[probabilities.argmax(-1)]}
        known = faces.ages[rows]
        if aged is not None and not np.isnan(known).all():
            found |= {f"{task}_years_true": known, f"{task}_years_predicted": aged.years}
    if interval is not None and aged is not None:
        ends = interval.intervals(probabilities, aged.years, target)
        for k, level in enumerate(interval.levels):
            named = (f"{task}_low_{100 * level:g}", f"{task}_high_{100 * level:g}")
            found |= dict(zip(named, ends[:, k].T, strict=True))
    shares = zip(classes, listed.T, strict=True)
    return found | {f"{task}_probability_{name}": column for name, column in shares}


def write_predictions(
    path: Path,
    predictions: Predictions,
    faces: Faces,
    targets: Mapping[str, Target],
    intervals: Mapping[str, Conformal] | None = None,
) -> None:
    """Writes predictions.csv: one line per face, in the dataset's order.

    Columns: key, subject, then per task TASK_true (empty if unknown), TASK_predicted and one
    TASK_probability_CLASS per class. If any age is known, age_years_true and age_years_predicted follow
    age_predicted. For years, true and predicted are ages, years_group_true and years_group_predicted
    age groups, and years_deviation the std of the predicted distribution; heads without a distribution
    have neither it nor probabilities. With calibrated intervals, TASK_low_80 and TASK_high_80 are the
    first and last year of the interval that is to contain 80 % of ages; likewise for each level. If
    genders are known, gender_true is there without a head for gender too. Numbers have nine significant
    digits, so that float32 is exact.
    """
    rows, columns = predictions.rows, {}
    for task, target in targets.items():
        shares, interval = predictions.probabilities[task], (intervals or {}).get(task)
        columns |= _columns(task, target, faces, rows, shares, interval)
    if "gender" not in targets and (faces.genders[rows] >= 0).any():
        columns["gender_true"] = _GENDERS[faces.genders[rows]]
    with (
        files.replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "subject", *columns])
        for place, row in enumerate(rows.tolist()):
            cells = (values[place] for values in columns.values())
            written = (cell if isinstance(cell, str) else _number(float(cell)) for cell in cells)
            writer.writerow([faces.keys[row], faces.subjects[row], *written])


class _Line:
    """Cells of one line by column, and its number, which errors name."""

    def __init__(self, number: int, places: Mapping[str, int], cells: list[str]):
        self._number, self._places, self._cells = number, places, cells

    def text(self, column: str) -> str:
        """A cell; empty if there is no such column."""
        return self._cells[self._places[column]] if column in self._places else ""

    def number(self, column: str) -> float:
        return self._finite(column, [self.text(column)])[0]

    def number_or_nan(self, column: str) -> float:
        return self.number(column) if self.text(column) else math.nan

    def numbers(self, columns: Sequence[str]) -> np.ndarray:
        """Numbers of adjacent columns, float32."""
        start = self._places[columns[0]]
        cells = self._cells[start : start + len(columns)]
        return np.array(self._finite(f"one of {columns[0]} ...", cells), np.float32)

    def choice(self, column: str, classes: Mapping[str, int]) -> int:
        """Index of the class in a cell; UNKNOWN if it is empty."""
        text = self.text(column)
        if text and text not in classes:
            names = ", ".join(classes)
            raise ValueError(
                f"line {self._number}: {column} is {shown(text)}, expected one of {names}"
            )
        return classes[text] if text else labels.UNKNOWN

    def _finite(self, column: str, cells: list[str]) -> list[float]:
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            values = [math.nan]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"line {self._number}: {column} is not a number")
        return values


def _lines(reader: Iterable[list[str]], header: Sequence[str]) -> Iterator[_Line]:
    places = {name: place for place, name in enumerate(header)}
    for number, cells in enumerate(reader, 2):
        if len(cells) != len(header):
            raise ValueError(f"line {number} has {len(cells)} cells, expected {len(header)}")
        yield _Line(number, places, cells)


def _group_names(path: Path) -> list[str]:
    """Age groups of a "years" head, from the result.json beside the file: its columns are years."""
    result = files.read_json_or(path.with_name("result.json"), None)
    try:
        return [str(name) for name in result["tasks"]["years"]["per_class"]]
    except (KeyError, TypeError) as error:
        raise ValueError("no result.json beside it names the age groups") from error


def _answers(
    lines: Iterable[_Line], header: Sequence[str], task: str, names: Sequence[str]
) -> metrics.Answers:
    of_years = task == "years"
    # Older files have no columns of age groups for years: those classes stay unknown.
    group = f"{task}_group" if of_years else task
    years = task if of_years else f"{task}_years"
    has_years = f"{years}_predicted" in header
    columns = [name for name in header if name.startswith(f"{task}_probability_")]
    ends = [name for name in header if re.fullmatch(rf"{task}_(low|high)_[0-9.]+", name)]
    classes = {name: k for k, name in enumerate(names)}
    named = {name: k for k, name in enumerate(labels.GENDERS)}
    keys, subjects, true, predicted, ages, guesses, scores, genders, spans = ([] for _ in range(9))
    for line in lines:
        keys.append(line.text("key"))
        subjects.append(line.text("subject"))
        true.append(line.choice(f"{group}_true", classes))
        predicted.append(line.choice(f"{group}_predicted", classes))
        genders.append(line.choice("gender_true", named))
        if has_years:
            ages.append(line.number_or_nan(f"{years}_true"))
            guesses.append(line.number(f"{years}_predicted"))
        if columns:
            scores.append(line.numbers(columns))
        if ends:
            spans.append(line.numbers(ends))
    probabilities = np.array(scores, np.float32).reshape(len(keys), len(columns))
    minor = None
    if of_years and columns:
        minor = metrics.under(probabilities, metrics.ADULT)
        member_of = labels.groups_of_years(labels.intervals_of(names))
        probabilities = probabilities @ np.eye(len(names), dtype=np.float32)[list(member_of)]
    of_intervals: dict[str, Any] = {}
    if ends:
        meaning = labels.Classes.of(task, labels.intervals_of(names))
        known = np.array(ages, np.float64) if has_years else None
        of_intervals = {
            "intervals": np.array(spans).reshape(len(keys), -1, 2),
            "levels": tuple(float(name.rpartition("_")[2]) / 100 for name in ends[::2]),
            "label_years": conformal.label_years(meaning, np.array(true, np.int64), known),
        }
    return metrics.Answers(
        **of_intervals,
        keys=np.array(keys, object),
        subjects=np.array(subjects, object),
        true=np.array(true, np.int32),
        predicted=np.array(predicted, np.int32),
        years_true=np.array(ages, np.float32) if has_years else None,
        years_predicted=np.array(guesses, np.float64) if has_years else None,
        probabilities=probabilities if columns else None,
        ordered=task != "gender",
        minor=minor,
        genders=np.array(genders, np.int32),
    )


def read_predictions(
    path: Path | str, task: str, *, names: Sequence[str] | None = None
) -> metrics.Answers:
    """Reads one task's answers from a predictions.csv.

    Args:
      path: file to read.
      task: "age", "years" or "gender".
      names: class names in order; default those of the columns, or for "years", whose columns have none,
        those of the result.json beside the file.

    Raises:
      RunError: the file is absent, cut short or damaged, or has no such task; names the line.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            for needed in ("key", "subject", f"{task}_true", f"{task}_predicted"):
                if needed not in header:
                    raise ValueError(f"no column {needed}")
            if names is None:
                prefix = f"{task}_probability_"
                names = [n.removeprefix(prefix) for n in header if n.startswith(prefix)]
                names = _group_names(path) if task == "years" else names
            return _answers(_lines(reader, header), header, task, names)
    except OSError as error:
        why = error.strerror or str(error)
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        why = one_line(str(error))  # cells and column names may be of any length
    raise RunError(f"{path}: {why}; {REMEDY}")
