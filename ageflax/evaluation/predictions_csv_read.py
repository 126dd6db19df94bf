"""Reads predictions.csv: one task's answers, or in words what is wrong with the file."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ageflax import labels, metrics
from ageflax.errors import RunError, one_line, shown
from ageflax.runtime import files


class _DamagedError(Exception):
    """What is wrong, without the file's name."""


class _Line:
    """One line's cells by column, with its number to name where a cell is not what it should be."""

    def __init__(self, number: int, places: Mapping[str, int], cells: list[str]):
        self._number, self._places, self._cells = number, places, cells

    def text(self, column: str) -> str:
        """A cell; empty where there is no such column."""
        return self._cells[self._places[column]] if column in self._places else ""

    def number(self, column: str) -> float:
        return self._finite(column, [self.text(column)])[0]

    def number_or_nan(self, column: str) -> float:
        return self.number(column) if self.text(column) else math.nan

    def numbers(self, columns: Sequence[str]) -> np.ndarray:
        """float32, of columns that stand side by side."""
        start = self._places[columns[0]]
        cells = self._cells[start : start + len(columns)]
        return np.array(self._finite(f"one of {columns[0]} ...", cells), np.float32)

    def choice(self, column: str, classes: Mapping[str, int]) -> int:
        """Index of the class that a cell names; unknown where it is empty."""
        text = self.text(column)
        if text and text not in classes:
            names = ", ".join(classes)
            raise _DamagedError(f"line {self._number}: {column} is {shown(text)}, none of {names}")
        return classes[text] if text else labels.UNKNOWN

    def _finite(self, column: str, cells: list[str]) -> list[float]:
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            values = [math.nan]
        if not all(map(math.isfinite, values)):
            raise _DamagedError(f"line {self._number}: {column} is no number")
        return values


def _lines(reader: Iterable[list[str]], header: Sequence[str]) -> Iterator[_Line]:
    places = {name: place for place, name in enumerate(header)}
    for number, cells in enumerate(reader, 2):
        if len(cells) != len(header):
            raise _DamagedError(
                f"line {number} has {len(cells)} cells where the first has {len(header)}"
            )
        yield _Line(number, places, cells)


def _group_names(path: Path) -> list[str]:
    """Of a "years" head, whose columns are years: from the result.json beside the file."""
    result = files.read_json_or(path.with_name("result.json"), None)
    try:
        return [str(name) for name in result["tasks"]["years"]["per_class"]]
    except (KeyError, TypeError) as error:
        raise _DamagedError("no result.json beside it names the age groups of its years") from error


def _answers(
    lines: Iterable[_Line], header: Sequence[str], task: str, names: Sequence[str]
) -> metrics.Answers:
    of_years = task == "years"
    # Before groups stood beside the years, their classes were not told: they stay unknown.
    group = f"{task}_group" if of_years else task
    years = task if of_years else f"{task}_years"
    has_years = f"{years}_predicted" in header
    columns = [name for name in header if name.startswith(f"{task}_probability_")]
    classes = {name: k for k, name in enumerate(names)}
    keys, persons, true, predicted, ages, guesses, scores = ([] for _ in range(7))
    for line in lines:
        keys.append(line.text("key"))
        persons.append(line.text("subject"))
        true.append(line.choice(f"{group}_true", classes))
        predicted.append(line.choice(f"{group}_predicted", classes))
        if has_years:
            ages.append(line.number_or_nan(f"{years}_true"))
            guesses.append(line.number(f"{years}_predicted"))
        if columns:
            scores.append(line.numbers(columns))
    probabilities = np.array(scores, np.float32).reshape(len(keys), len(columns))
    if of_years and columns:
        member_of = labels.groups_of_years(labels.intervals_of(names))
        probabilities = probabilities @ np.eye(len(names), dtype=np.float32)[list(member_of)]
    return metrics.Answers(
        keys=np.array(keys, object),
        persons=np.array(persons, object),
        true=np.array(true, np.int32),
        predicted=np.array(predicted, np.int32),
        years_true=np.array(ages, np.float32) if has_years else None,
        years_predicted=np.array(guesses, np.float64) if has_years else None,
        probabilities=probabilities if columns else None,
        ordered=task != "gender",
    )


def read_predictions(
    path: Path | str, task: str, *, names: Sequence[str] | None = None
) -> metrics.Answers:
    """One task's answers from a predictions.csv.

    Args:
      path: of the file.
      task: "age", "years" or "gender".
      names: of the classes, in order; without them those of the file's columns, and of "years", which
        has none, those in the result.json beside it.

    Raises:
      RunError: the file is absent, cut short or damaged, or has no such task; says where.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            for needed in ("key", "subject", f"{task}_true", f"{task}_predicted"):
                if needed not in header:
                    raise _DamagedError(f"it has no column {needed}")
            if names is None:
                prefix = f"{task}_probability_"
                names = [n.removeprefix(prefix) for n in header if n.startswith(prefix)]
                names = _group_names(path) if task == "years" else names
            return _answers(_lines(reader, header), header, task, names)
    except OSError as error:
        why = error.strerror or str(error)
    except (_DamagedError, UnicodeDecodeError, csv.Error) as error:
        why = one_line(str(error))  # cells and column names may be of any length
    raise RunError(
        f"{path}: {why}. Remove the result.json beside it and start the run again: the fold is then"
        " tested anew"
    )
