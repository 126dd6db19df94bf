"""Predictor, the Python interface: a model and a detector in one, images in, faces out."""

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ageflax.bundle.description import Description
from ageflax.bundle.model import Model
from ageflax.errors import InputError
from ageflax.predict import framing_check
from ageflax.predict.alignment import Framing
from ageflax.predict.detectors import MIN_SCORE, Detector, Whole, open_detector
from ageflax.predict.estimator import Estimator
from ageflax.predict.face import Face
from ageflax.predict.frames import Frame, Seen, stream
from ageflax.runtime import progress
from ageflax.weights import shipped

# A file, its content, or uint8[h, w, 3] RGB.
Image = str | Path | bytes | np.ndarray


class Predictor:
    """Finds faces in images and predicts age and gender of each.

        predictor = ageflax.predict.Predictor()
        for face in predictor(["family.jpg"]):
            print(face.box, face.age, face.gender)

    Safe to use from several threads at once.

    Args:
      model: a bundle, a run's fold, a run (averages its folds' models), an .onnx file or
        hf://owner/name; or an opened model. By default the package's own.
      detector: a detector, or a name for detectors.open_detector.
      crops: views of a face whose probabilities are averaged, as eval.crops; by default those
        that the model was tested with. An .onnx file has its own.
      calibrated: True to scale probabilities by the temperatures fitted on the model's validation
        faces; ages stay as they are. By default probabilities are those of evaluation and of an
        exported model.
      min_score: lowest score of a face that YuNet or MTCNN keeps.
      quick: False for many photographs or a video: the first answer comes seconds later, all others
        somewhat earlier. Probabilities differ by rounding.
      say: receives lines for the user.

    Attributes:
      detector: finds faces.
      estimator: predicts age and gender.

    Raises:
      InputError: the model or the detector is unavailable, or does not support an option.
    """

    def __init__(
        self,
        model: str | Path | Model = shipped.NAME,
        *,
        detector: str | Detector = "auto",
        crops: str | None = None,
        calibrated: bool = False,
        min_score: float = MIN_SCORE,
        quick: bool = True,
        say: Callable[[str], None] = progress.say,
    ):
        self.estimator = Estimator(model, crops=crops, calibrated=calibrated, quick=quick)
        if isinstance(detector, str):
            detector = open_detector(detector, min_score=min_score, say=say)
        self.detector = detector
        self._say, self._once = say, threading.Lock()
        self._check_due = isinstance(detector, Whole)

    @property
    def description(self) -> Description:
        """The model's config.json."""
        return self.estimator.description

    @property
    def framing(self) -> Framing:
        """Framing by which faces are cut out for the model."""
        return self.estimator.framing

    def __call__(self, images: Image | Sequence[Image]) -> list[Face]:
        """Predicts the faces of images, image by image, each from left to right.

        Args:
          images: one or several files, their contents, or uint8[h, w, 3] RGB.

        Raises:
          InputError: an image is unusable; the message names it.
          RunError: the model's outputs are not finite, or the device fails.
        """
        return self._found(images)

    def _found(self, images: Image | Sequence[Image], *, features: bool = False) -> list[Face]:
        several = [images] if isinstance(images, Image) else images
        if isinstance(several, Sequence):
            self.check_framing([_frame(k, image).content for k, image in enumerate(several)])
        found = []
        frames = (_frame(k, image) for k, image in enumerate(several))
        for seen in self.stream(frames, features=features):
            if seen.failure is not None:
                raise InputError(f"{seen.frame.source}: {seen.failure}")
            found.extend(seen.faces)
        return found

    def check_framing(self, images: Sequence[Any]) -> None:
        """Says once, of images that are faces already, how they are framed; see framing_check.

        A call does so itself, `faces` and `stream` do not. With a detector nothing is said.

        Args:
          images: files, their contents, or uint8[h, w, 3], RGB.
        """
        with self._once:
            due, self._check_due = self._check_due, False
        if due:
            self._say(framing_check.check(images, self.description))

    def features(self, images: Image | Sequence[Image]) -> tuple[np.ndarray, list[Face]]:
        """Gives the model's features of all faces, and the faces, as a call does.

        Features are the output of the trunk, which the heads take (in recognition networks the
        embedding), averaged over the views of `crops`; not normalised.

        Args:
          images: see __call__.

        Returns:
          float32[faces, f], and the faces in the same order. Without a face, f is 0.

        Raises:
          InputError: an image is unusable, or the model is an .onnx file or a run.
          RunError: see __call__.
        """
        faces = self._found(images, features=True)
        rows = [face.features for face in faces]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32), faces

    def faces(self, image: np.ndarray, *, fast: bool = False) -> list[Face]:
        """Predicts the faces of one image, from left to right.

        Args:
          image: uint8[h, w, 3], RGB, upright.
          fast: True to detect at one coarse scale, as for the frames of a video.
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
        features: bool = False,
    ) -> Generator[Seen, None, None]:
        """Predicts any number of frames in their order; see frames.stream."""
        return stream(
            frames,
            self.detector,
            self.estimator,
            workers=workers,
            keep=keep,
            live=live,
            fast=fast,
            features=features,
        )


def _frame(place: int, image: Any) -> Frame:
    """The frame of an image given to the Python interface."""
    if isinstance(image, str | Path):
        return Frame(str(image), place, None, Path(image))
    if not isinstance(image, bytes | np.ndarray):
        raise InputError(
            f"image {place}: {type(image).__name__}, expected a file, its bytes, or an RGB array"
        )
    if isinstance(image, np.ndarray) and (
        image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size
    ):
        raise InputError(
            f"image {place}: {image.dtype}{list(image.shape)}, expected uint8[height, width, 3], RGB"
        )
    return Frame(f"#{place}", place, None, image)
