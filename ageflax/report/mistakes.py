"""The test faces that a run got most wrong, and thumbnails of them."""

import base64
import csv
import dataclasses
import heapq
import io
from collections.abc import Iterator
from pathlib import Path

from ageflax.data import images
from ageflax.report import wording

_SIDE = 96  # pixels of a thumbnail's longer side


@dataclasses.dataclass(frozen=True, order=True)
class Mistake:
    """A misclassified test face; the more wrong, the earlier it sorts.

    Attributes:
      order: probability of the true class; for years, the negative absolute error.
      fold: test fold.
      key: key of the face.
      true: class, or years.
      predicted: class, or years.
      truth: probability of the true class as text; empty for years.
      guess: probability of the predicted class as text; for years, the error.
    """

    order: float
    fold: int
    key: str
    true: str
    predicted: str
    truth: str
    guess: str


def _faces(path: Path, fold: int, task: str) -> Iterator[Mistake]:
    """The labelled faces of a predictions.csv that were predicted wrongly."""
    if not path.is_file():
        return
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            true, predicted = row.get(f"{task}_true"), row.get(f"{task}_predicted")
            if not true or not predicted or true == predicted:
                continue
            if task == "years":
                error = abs(float(predicted) - float(true))
                words = (f"{float(true):.0f}", f"{float(predicted):.0f}", "")
                yield Mistake(-error, fold, row["key"], *words, f"({error:.0f} years off)")
                continue
            probability = row.get(f"{task}_probability_{true}")
            confidence = row.get(f"{task}_probability_{predicted}")
            if not probability or not confidence:
                continue
            truth, guess = (wording.probability(float(p)) for p in (probability, confidence))
            yield Mistake(float(probability), fold, row["key"], true, predicted, truth, guess)


def worst(workdir: Path, folds: list[int], task: str, *, count: int) -> list[Mistake]:
    """The misclassified test faces with the lowest probability of the true class, worst first.

    For years, the faces with the largest error.

    Args:
      workdir: a run's workdir; predictions are read from its fold folders.
      folds: finished folds.
      task: "age", "years" or "gender".
      count: maximum number of faces.
    """
    found = (
        mistake
        for fold in folds
        for mistake in _faces(workdir / f"fold_{fold}" / "predictions.csv", fold, task)
    )
    return heapq.nsmallest(count, found)


def picture(content: bytes | None) -> str | None:
    """A thumbnail as a data: address; None if there is no content or it is not an image."""
    from PIL import Image

    if content is None:
        return None
    try:
        image = Image.fromarray(images.decode(content))
    except images.BadImageError:
        return None
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
