"""The test faces that a run got most wrong, and small pictures of them."""

import base64
import csv
import dataclasses
import heapq
import io
from collections.abc import Iterator
from pathlib import Path

from ageflax.data import images

_SIDE = 96  # pixels of a picture's longer side


@dataclasses.dataclass(frozen=True, order=True)
class Mistake:
    """A test face; the lower the probability of its true class, the earlier it sorts.

    Attributes:
      probability: of the true class.
      fold: it was tested in.
      key: of the face.
      subject: the person.
      true: class.
      predicted: class.
      confidence: probability of the predicted class.
    """

    probability: float
    fold: int
    key: str
    subject: str
    true: str
    predicted: str
    confidence: float


def _faces(path: Path, fold: int, task: str) -> Iterator[Mistake]:
    """The labelled faces of a predictions.csv that were taken for something else."""
    if not path.is_file():
        return
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            true, predicted = row.get(f"{task}_true"), row.get(f"{task}_predicted")
            if not true or not predicted or true == predicted:
                continue
            probability = row.get(f"{task}_probability_{true}")
            confidence = row.get(f"{task}_probability_{predicted}")
            if not probability or not confidence:
                continue
            yield Mistake(
                float(probability), fold, row["key"], row["subject"], true, predicted,
                float(confidence),
            )  # fmt: skip


def worst(workdir: Path, folds: list[int], task: str, *, count: int) -> list[Mistake]:
    """The misclassified test faces whose true class got the lowest probability, worst first.

    Args:
      workdir: of a run; predictions are read from its fold folders.
      folds: which.
      task: "age" or "gender".
      count: how many at most.
    """
    found = (
        mistake
        for fold in folds
        for mistake in _faces(workdir / f"fold_{fold}" / "predictions.csv", fold, task)
    )
    return heapq.nsmallest(count, found)


def picture(content: bytes) -> str | None:
    """A small JPEG as a data: address, or None where the bytes are no image any more."""
    from PIL import Image

    try:
        image = Image.fromarray(images.decode(content))
    except images.BadImageError:
        return None
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
