"""A model and a detector as one: images in, faces out."""

from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ageflax.bundle import loading
from ageflax.errors import InputError
from ageflax.predict import frames as look
from ageflax.predict.alignment import Framing
from ageflax.predict.detectors.weights import open_detector
from ageflax.predict.detectors.yunet import MIN_SCORE, Detector
from ageflax.predict.estimator import Estimator
from ageflax.predict.face import Face
from ageflax.predict.frames import Frame, Seen
from ageflax.runtime import progress

# What can be looked at: a file, its content, or uint8[h, w, 3] RGB.
Image = str | Path | bytes | np.ndarray


class Predictor:
    """Finds faces in images and says age and gender of each.

        predictor = ageflax.predict.Predictor("runs/faces_age/fold_0")
        for face in predictor(["family.jpg"]):
            print(face.box, face.age, face.gender)

    Several threads may use one at once.

    Args:
      model: a bundle, a run's fold, a run (its folds' models answer together), an .onnx file or
        hf://owner/name; or what model_files.open_model gave.
      detector: see detectors.open_detector; or a detector.
      crops: views of a face whose probabilities are averaged: center, mirror or ten; by default those
        that the model was tested with. An .onnx file has its own.
      calibrated: scale probabilities by the temperatures that the model's validation faces gave, which
        makes them as sure as they are right; ages stay as they are. By default they are those that
        evaluation and an exported model give.
      min_score: of YuNet; what is found with less is left out.
      say: takes lines for the user.

    Attributes:
      detector: finds faces.
      estimator: says what they are.

    Raises:
      InputError: the model or the detector cannot be had or used so.
    """

    def __init__(
        self,
        model: str | Path | loading.Opened,
        *,
        detector: str | Detector = "auto",
        crops: str | None = None,
        calibrated: bool = False,
        min_score: float = MIN_SCORE,
        say: Callable[[str], None] = progress.say,
    ):
        self.estimator = Estimator(model, crops=crops, calibrated=calibrated)
        if isinstance(detector, str):
            detector = open_detector(detector, min_score=min_score, say=say)
        self.detector = detector

    @property
    def config(self) -> dict[str, Any]:
        """config.json of the model."""
        return self.estimator.config

    @property
    def framing(self) -> Framing:
        """How faces are cut out for the model."""
        return self.estimator.framing

    def __call__(self, images: Image | Sequence[Image]) -> list[Face]:
        """The faces of images, image by image, each from the left to the right.

        Args:
          images: files, their contents, or uint8[h, w, 3] RGB; one or several.

        Raises:
          InputError: one of them is no image that can be used; names it.
          RunError: the model's answers are not finite, or the device fails.
        """
        found = []
        for seen in self.stream(_frames(images)):
            if seen.failure is not None:
                raise InputError(f"{seen.frame.source}: {seen.failure}")
            found.extend(seen.faces)
        return found

    def faces(self, image: np.ndarray, *, fast: bool = False) -> list[Face]:
        """The faces of one image, from the left to the right.

        Args:
          image: uint8[h, w, 3], RGB, upright.
          fast: look once and coarsely, as suits the frames of a video.
        """
        frame = Frame("#0", 0, None, image)
        (seen,) = self.stream([frame], workers=1, fast=fast)
        if seen.failure is not None:
            raise InputError(seen.failure)
        return list(seen.faces)

    def stream(
        self,
        frames: Iterable[Frame],
        *,
        workers: int | None = None,
        keep: bool = False,
        live: bool = False,
        fast: bool | None = None,
    ) -> Generator[Seen, None, None]:
        """Looks at frames one after another, however many; see look.stream."""
        return look.stream(
            frames, self.detector, self.estimator, workers=workers, keep=keep, live=live, fast=fast
        )


def _frames(images: Image | Sequence[Image]) -> Generator[Frame, None, None]:
    several = [images] if isinstance(images, Image) else images
    return (_frame(place, image) for place, image in enumerate(several))


def _frame(place: int, image: Any) -> Frame:
    """An image given to the Python interface, to be looked at."""
    if isinstance(image, str | Path):
        return Frame(str(image), place, None, Path(image))
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(
                f"image {place}: {image.dtype}{list(image.shape)}: expected uint8[height, width, 3], RGB"
            )
        return Frame(f"#{place}", place, None, image)
    if isinstance(image, bytes):
        return Frame(f"#{place}", place, None, image)
    raise InputError(
        f"image {place}: {type(image).__name__}: expected a file, its bytes, or an RGB array"
    )
