"""Answers to changed images of the same faces, and the model's errors on them."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jax.sharding import Mesh

from ageflax.bundle.framing_errors import FramingErrors, Offset
from ageflax.bundle.quality import measure
from ageflax.data.batches import Batch
from ageflax.data.dataset import Faces, Target
from ageflax.evaluation.figures import answers_of
from ageflax.evaluation.predictions import Predictions, predict
from ageflax.runtime.mesh import own_share, shard_batch, whole

# (image, number of the face) to image; uint8[size, size, 3].
Change = Callable[[np.ndarray, int], np.ndarray]
# Framings that are measured: as far as images of faces differ that are cut by other rules.
ZOOMS, SHIFTS = (0.7, 0.85, 1.0, 1.18, 1.4), (0.0, 0.1, 0.2)
_SIDES = ((1, 0), (0, 1), (-1, 0), (0, -1))


def framed(image: np.ndarray, offset: Offset) -> np.ndarray:
    """The image with its face larger by a factor and moved; beyond the image its edge repeats.

    Args:
      image: uint8[size, size, 3].
      offset: zoom around the middle, then the move.
    """
    size = len(image)
    middle = (size - 1) / 2
    rest = middle * (1 - offset.zoom)
    matrix = np.array([[offset.zoom, 0, rest + size * offset.right],
                       [0, offset.zoom, rest + size * offset.down]])  # fmt: skip
    return cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)


def sample(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, spread evenly over them."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]


def on_host(batches: Iterable[Batch]) -> list[Batch]:
    """Batches whose images and masks are read once, for any number of views."""
    return [
        dataclasses.replace(batch, images=whole(batch.images), mask=whole(batch.mask))
        for batch in batches
    ]


@dataclasses.dataclass(frozen=True)
class View:
    """Changed images of faces.

    Attributes:
      predictions: predictions of the readable ones.
      factors: factors of each image's quality, see bundle.quality; empty if not read.
    """

    predictions: Predictions
    factors: tuple[Mapping[str, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Subjects:
    """Faces to be shown changed, and the model that answers.

    Attributes:
      answer: function from a batch's images to probabilities per task.
      batches: the rows' batches; see on_host.
      rows: int[n], rows of the dataset.
      mesh: devices that the batches are split over.
      faces: labels of the dataset.
      targets: classes per task.
    """

    answer: Callable[[Any], Mapping[str, Any]]
    batches: Sequence[Batch]
    rows: np.ndarray
    mesh: Mesh
    faces: Faces
    targets: Mapping[str, Target]

    def under(self, change: Change, *, factors: bool = False) -> View:
        """Shows the faces to the model, each changed by a function of image and number."""
        read = []

        def changed(batch: Batch) -> Batch:
            size = len(batch.images)
            images = np.stack([change(image, k) for k, image in enumerate(batch.images)])
            if factors:
                read.extend(measure(image, float(len(image))) for image in images[batch.mask])
            own = own_share(size, self.mesh)
            return dataclasses.replace(batch, images=shard_batch(images[own], self.mesh, size))

        found = predict(self.answer, map(changed, self.batches), self.rows)
        return View(found, tuple(read))

    def errors(self, view: View) -> dict[str, np.ndarray]:
        """See errors."""
        return errors(view.predictions, self.faces, self.targets)


def errors(
    predictions: Predictions, faces: Faces, targets: Mapping[str, Target]
) -> dict[str, np.ndarray]:
    """Error of each face by figure, NaN where its label is unknown; without figures of no face.

    `years` is the absolute error of a head for years; without one, or without ages, `age_group` is 1
    where the group is wrong; `gender` likewise.
    """
    found = {}
    for task, target in targets.items():
        given = answers_of(predictions, faces, task, target)
        figure = "gender" if task == "gender" else "age_group"
        values = np.where(given.known, given.true != given.predicted, np.nan)
        if task == "years" and given.years_true is not None and given.years_predicted is not None:
            figure, values = "years", np.abs(given.years_true - given.years_predicted)
        if not np.isnan(values).all():
            found[figure] = values
    return found


def _moved(zoom: float, shift: float) -> Change:
    offsets = [Offset(zoom, right * shift, down * shift) for right, down in _SIDES]
    return lambda image, k: framed(image, offsets[k % len(offsets)])


# Every fourth face is moved to the same side.
FRAMINGS = tuple(_moved(*pair) for pair in itertools.product(ZOOMS, SHIFTS))


def framing_errors(views: Sequence[View], subjects: Subjects) -> FramingErrors | None:
    """Errors under each of FRAMINGS; None if no face has a label."""
    means = [
        {name: float(np.nanmean(values)) for name, values in subjects.errors(view).items()}
        for view in views
    ]
    if not means[0]:
        return None
    grids = {
        name: tuple(map(tuple, np.reshape([e[name] for e in means], (len(ZOOMS), -1)).tolist()))
        for name in means[0]
    }
    return FramingErrors(len(subjects.rows), ZOOMS, SHIFTS, grids)
