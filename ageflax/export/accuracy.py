"""Accuracy of an exported model on labelled faces, none of them trained on, beside the given model's."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ageflax.bundle import onnx
from ageflax.data.reading import StoredPixels
from ageflax.errors import InputError
from ageflax.evaluation import protocol
from ageflax.evaluation.figures import scores
from ageflax.evaluation.predictions import Predictions
from ageflax.evaluation.settings import Settings
from ageflax.export.serving import Serving
from ageflax.runtime.files import Json
from ageflax.runtime.progress import Progress

_BATCH = 64
Outputs = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Figures of an exported model and of the model that it was made from, on the same faces.

    Attributes:
      data: name of the dataset.
      folds: folds of the tested faces, none of which the model was trained on.
      faces: number of faces.
      exported: figures of the exported model per task: exact, and mae where ages are known.
      given: the same of the model that was exported, computed in float32.
      given_precision: precision of that model's weights.
    """

    data: str
    folds: tuple[int, ...]
    faces: int
    exported: Mapping[str, Mapping[str, float]]
    given: Mapping[str, Mapping[str, float]]
    given_precision: str

    def to_json(self) -> Json:
        """As an object for config.json and metadata; see card.accuracy_text."""
        return dataclasses.asdict(self) | {"folds": list(self.folds)}


def prepare(served: Serving, given: Settings, say: Callable[[str], None]) -> protocol.Trial:
    """Selects the faces to test on, before anything that takes long.

    Raises:
      InputError: the dataset cannot be opened, the model was trained on its faces, none has a label, or
        the settings ask for other views than the exported ones.
    """
    if given.crops not in (None, served.crops):
        raise InputError(
            f"--config.eval.crops={given.crops}: the exported views are {served.crops}; leave it out"
        )
    trial = protocol.prepare(served.model, dataclasses.replace(given, crops=served.crops), say)
    protocol.tell(trial, say)
    return trial


def _batches(trial: protocol.Trial, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields rows whose image decodes, at most a batch, and their pixels."""
    pixels = StoredPixels(trial.stored, trial.decoding)
    with Progress(len(rows), unit="face", label=f"testing on {trial.stored.name}") as progress:
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            images, readable = pixels(part)
            if readable.any():
                yield part[readable], images[readable]
            progress.update(len(part))


def _figures(
    trial: protocol.Trial, rows: np.ndarray, outputs: list[Outputs]
) -> dict[str, dict[str, float]]:
    """Exact accuracy per task, and the mean absolute error where ages are known."""
    probabilities = {}
    for task in trial.model.heads:
        name = onnx.output_name(task)
        values = [each[name if name in each else onnx.AGE] for each in outputs]
        probabilities[task] = np.concatenate(values).reshape(len(rows), -1)
    found: dict[str, Any] = scores(
        Predictions(rows, probabilities, np.empty(0, int)), trial.faces, trial.labelled
    )
    return {
        task: {"exact": one["exact"]} | ({"mae": one["years"]["mae"]} if "years" in one else {})
        for task, one in found.items()
    }


def measure(
    trial: protocol.Trial,
    exported: Callable[[np.ndarray], Outputs],
    given: Callable[[np.ndarray], Outputs],
) -> Accuracy:
    """Tests an exported model and the given one on the faces of a trial.

    Args:
      trial: faces and their labels.
      exported: function from faces, uint8[b, resize, resize, 3], to the exported outputs by name.
      given: the same of the model that was exported.

    Raises:
      InputError: no image can be read.
      RunError: a probability is not finite.
    """
    kept, of_exported, of_given = [], [], []
    for rows, images in _batches(trial, trial.rows(trial.plan.folds)):
        kept.append(rows)
        of_exported.append(exported(images))
        of_given.append(given(images))
    if not kept:
        raise InputError(f"{trial.stored.name}: none of the images to test on can be read")
    rows = np.concatenate(kept)
    return Accuracy(
        data=trial.stored.name,
        folds=trial.plan.folds,
        faces=len(rows),
        exported=_figures(trial, rows, of_exported),
        given=_figures(trial, rows, of_given),
        given_precision=trial.model.description.storage.get("precision", "float32"),
    )
