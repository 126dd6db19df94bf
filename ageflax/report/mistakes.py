"""The test faces that a run got most wrong, and small pictures of them."""

import base64
import csv
import dataclasses
import heapq
import io
from collections.abc import Iterator
from pathlib import Path

from ageflax.data import images
from ageflax.report import wording as wording

_SIDE = 96  # pixels of a picture's longer side


@dataclasses.dataclass(frozen=True, order=True)
class Mistake:
    """A test face; the more wrong, the earlier it sorts.

    Attributes:
      order: probability of the true class; of years, the error, negative.
      fold: it was tested in.
      key: of the face.
      subject: the person.
      true: class, or years.
      predicted: class, or years.
      truth: what the model thought of the true class, in words.
      guess: what it thought of the predicted one.
    """

    order: float
    fold: int
    key: str
    subject: str
    true: str
    predicted: str
    truth: str
    guess: str


def _faces(path: Path, fold: int, task: str) -> Iterator[Mistake]:
    """The labelled faces of a predictions.csv that were taken for something else."""
    if not path.is_file():
        return
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            true, predicted = row.get(f"{task}_true"), row.get(f"{task}_predicted")
            if not true or not predicted or true == predicted:
                continue
            if task == "years":
                error = abs(float(predicted) - float(true))
                yield Mistake(
                    -error, fold, row["key"], row["subject"], f"{float(true):.0f}",
                    f"{float(predicted):.0f}", "", f"({error:.0f} years off)",
                )  # fmt: skip
                continue
            probability = row.get(f"{task}_probability_{true}")
            confidence = row.get(f"{task}_probability_{predicted}")
            if not probability or not confidence:
                continue
            yield Mistake(
                float(probability), fold, row["key"], row["subject"], true, predicted,
                wording.probability(float(probability)), wording.probability(float(confidence)),
            )  # fmt: skip


def worst(workdir: Path, folds: list[int], task: str, *, count: int) -> list[Mistake]:
    """The misclassified test faces whose true class got the lowest probability, worst first.

    Of years, the faces furthest off.

    Args:
      workdir: of a run; predictions are read from its fold folders.
      folds: which.
      task: "age", "years" or "gender".
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
