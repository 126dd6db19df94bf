"""Faces as a table: one line a face, one column a probability."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ageflax import labels
from ageflax.errors import InputError
from ageflax.predict.face import Face


class Table:
    """A CSV file that grows with each face.

    Columns: source, frame, track, x, y, width, height, detection_score, age, age_deviation; and of each
    question that the model answers, age_group and gender, the label and TASK_probability_CLASS.

    Args:
      path: replaced where it is there.
      config: of the model, for the names of its classes.

    Raises:
      InputError: it cannot be written.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]):
        heads, self._classes = config["heads"], {}
        if "age" in heads or "years" in heads:
            groups = tuple((low, high) for low, high in config["age_groups"])
            self._classes["age_group"] = list(labels.group_names(groups))
        if "gender" in heads:
            self._classes["gender"] = list(heads["gender"])
        try:
            # Names of files are written as they are, be they UTF-8 or not.
            self._file = path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise InputError(f"--csv={path}: cannot be written: {error.strerror}") from error
        self._writer = csv.writer(self._file)
        self._writer.writerow([*_PLACE, "age", "age_deviation", *self._names()])

    def _names(self) -> list[str]:
        return [
            name
            for task, classes in self._classes.items()
            for name in (task, *(f"{task}_probability_{each}" for each in classes))
        ]

    def add(self, faces: Sequence[Face]) -> None:
        """Writes some faces."""
        for face in faces:
            said = face.to_dict()
            row = [said["source"], said["frame"], said.get("track"), *said["box"]]
            row += [said["detection_score"], said["age"], said["age_deviation"]]
            for task, classes in self._classes.items():
                answer = said[task]
                row += [answer["label"], *(answer["probabilities"][each] for each in classes)]
            self._writer.writerow(["" if value is None else value for value in row])
        self._file.flush()

    def close(self) -> None:
        """Ends the file."""
        self._file.close()


_PLACE = ("source", "frame", "track", "x", "y", "width", "height", "detection_score")
