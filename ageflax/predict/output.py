"""Predictions as lines of JSON, one JSON array, or CSV: on standard output, and as a table beside it."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ageflax.bundle.description import Description
from ageflax.errors import InputError
from ageflax.predict.face import classes_of, under_name
from ageflax.predict.frames import Seen
from ageflax.runtime import files
from ageflax.runtime.files import Json

FORMATS = ("jsonl", "json", "csv")


def _blank(seen: Seen) -> Json:
    """The record of an image without a face, or of one that could not be read."""
    record: Json = {"source": seen.frame.source, "frame": seen.frame.number, "faces": 0}
    if seen.frame.seconds is not None:
        record["seconds"] = round(seen.frame.seconds, 3)
    if seen.failure is not None:
        record["error"] = seen.failure
    return record


def records(seen: Seen, *, blank: bool) -> Iterator[Json]:
    """Yields the records of an image: one per face; with `blank`, one also without any."""
    yield from (face.to_dict() for face in seen.faces)
    if blank and not seen.faces:
        yield _blank(seen)


class Columns:
    """Columns of a table of faces.

    They are source, frame, track, x, y, width, height, detection_score, age, age_deviation; with a
    level, age_low and age_high, the ends of the interval; for age_group and gender, if the model
    predicts them, the label and TASK_probability_CLASS; probability_under_AGE for each age asked for;
    quality and quality_reason, if the model tells them; and seconds, the time of a video's frame. With
    `blank` also faces (0 or 1) and error.

    Args:
      description: description of the model; gives the names of its classes.
      under: ages of Face.under.
      interval: level of Face.age_interval; None without intervals.
      blank: True to give a row also for an image without a face.
    """

    def __init__(
        self,
        description: Description,
        under: Sequence[int] = (),
        *,
        interval: float | None = None,
        blank: bool = False,
    ):
        self._classes, self._blank = classes_of(description), blank
        self.header = ["source", "frame", "track", "x", "y", "width", "height", "detection_score"]
        self.header += ["age", "age_deviation", *["age_low", "age_high"] * (interval is not None)]
        for task, classes in self._classes.items():
            self.header += [task, *(f"{task}_probability_{name}" for name in classes)]
        self.header += [*map(under_name, under)]
        self.header += ["quality", "quality_reason"] * (description.quality is not None)
        self.header += ["seconds", *["faces", "error"] * blank]

    def rows(self, seen: Seen) -> Iterator[list[Any]]:
        """Yields a row per record; see `records`."""
        for record in records(seen, blank=self._blank):
            flat = {"faces": 1, **record}
            flat |= dict(zip(("x", "y", "width", "height"), record.get("box", ()), strict=False))
            for end, year in record.get("age_interval", {}).items():
                flat[f"age_{end}"] = year
            for task in self._classes:
                answer = record.get(task, {"label": None, "probabilities": {}})
                flat[task] = answer["label"]
                shares = answer["probabilities"].items()
                flat |= {f"{task}_probability_{name}": share for name, share in shares}
            yield [flat.get(name) for name in self.header]


class Table:
    """A CSV file of faces.

    Args:
      path: file to write; replaced if present.
      columns: its columns.

    Raises:
      InputError: the file cannot be written.
    """

    def __init__(self, path: Path, columns: Columns):
        self._path, self._columns = path, columns
        try:
            # File names are written byte for byte, UTF-8 or not.
            self._file = path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise InputError(f"--csv={path}: cannot be written: {error.strerror}") from error
        self._writer = csv.writer(self._file)
        self._writer.writerow(columns.header)

    def add(self, seen: Seen) -> None:
        """Writes the rows of an image."""
        with files.naming(self._path):
            self._writer.writerows(self._columns.rows(seen))
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        with files.naming(self._path):
            self._file.close()


class Printer:
    """Prints the faces of images on standard output, in a `with` block.

    Args:
      form: one of FORMATS: an object per line, one array of them, or a table.
      columns: columns of the table.
      blank: True to print a record also for an image without a face.

    Attributes:
      wanted: False once the reader has enough, as `head` does; that is no failure.
    """

    def __init__(self, form: str, columns: Columns, *, blank: bool):
        self._form, self._columns, self._blank = form, columns, blank
        self._opened, self.wanted = False, True

    def __enter__(self) -> "Printer":
        if self._form == "csv":
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="surrogateescape")  # as in a Table
            self._emit([_csv(self._columns.header)])
        return self

    def add(self, seen: Seen) -> None:
        """Prints the records of an image."""
        if self._form == "csv":
            self._emit(map(_csv, self._columns.rows(seen)))
            return
        # Bytes of a name that are not UTF-8 become lone surrogates.
        lines = (json.dumps(one, allow_nan=False) for one in records(seen, blank=self._blank))
        self._emit(lines if self._form == "jsonl" else map(self._element, lines))

    def __exit__(self, *_: object) -> None:
        if self._form == "json":
            self._emit(["]" if self._opened else "[]"])

    def _element(self, line: str) -> str:
        before, self._opened = "," if self._opened else "[", True
        return before + line

    def _emit(self, lines: Iterator[str] | Sequence[str]) -> None:
        try:
            for line in lines:
                # Above any progress bar, if both go to one terminal.
                if sys.stdout.isatty():
                    tqdm.write(line, file=sys.stdout)
                else:
                    print(line)
            sys.stdout.flush()
        except OSError as error:
            # Python would write again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                raise OSError(error.errno, error.strerror, "standard output") from error
            self.wanted = False


def _csv(row: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(row)
    return line.getvalue()
