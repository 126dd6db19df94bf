"""Predictor, the Python interface: a model and a detector in one, images in, faces out."""

import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from ageflax.bundle.description import Description
from ageflax.bundle.model import Model
from ageflax.errors import InputError
from ageflax.predict import framing_check, given, tracking
from ageflax.predict.alignment import Framing
from ageflax.predict.detectors import MIN_SCORE, Detector, Whole, open_detector
from ageflax.predict.estimator import Estimator
from ageflax.predict.face import INTERVAL, Face, Unread
from ageflax.predict.frames import Failure, Frame, LeftOut, Seen, stream
from ageflax.runtime import progress
from ageflax.weights import shipped


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
      interval: level of Face.age_interval, one of the model's; None or 0 for none. A model that was
        not calibrated for it, or for other crops, has none, which is told.
      under: age in whole years, or several, that Face.under gives the probability of being under; for a
        model with a distribution over years.
      min_score: lowest score of a face that YuNet or MTCNN keeps.
      min_quality: lowest Face.quality, 0 to 1; faces below it are left out, counted, and told.
      engine: library that runs the network: "jax", "onnxruntime", or "auto", the latter on CPUs where
        it is installed (extra: onnx). Probabilities differ by rounding.
      quick: False for many photographs or a video: JAX's first answer comes seconds later, all others
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
        interval: float | None = INTERVAL,
        under: int | Sequence[int] = (),
        min_score: float = MIN_SCORE,
        min_quality: float = 0.0,
        engine: str = "auto",
        quick: bool = True,
        say: Callable[[str], None] = progress.say,
    ):
        self.estimator = Estimator(
            model,
            crops=crops,
            calibrated=calibrated,
            interval=interval,
            under=under,
            quick=quick,
            engine=engine,
            say=say,
        )
        if self.estimator.no_intervals:
            say(self.estimator.no_intervals)
        if isinstance(detector, str):
            detector = open_detector(detector, min_score=min_score, say=say)
        self.detector = detector
        self._min_quality = self._checked(min_quality)
        self._say, self._once = say, threading.Lock()
        self._check_due = isinstance(detector, Whole)
        self._told = False

    def _checked(self, min_quality: float) -> float:
        if not 0.0 <= min_quality <= 1.0:
            raise InputError(f"--min_quality={min_quality:g}: expected a share, 0 to 1")
        if min_quality and self.estimator.quality is None:
            raise InputError(
                f"--min_quality={min_quality:g}: {self.estimator.model.name} carries no measure of"
                " quality; name one bundle or fold, and give one to an older bundle by a run of no steps"
                " (--config.steps=0 --config.transfer.weights=BUNDLE)"
            )
        return min_quality

    @property
    def description(self) -> Description:
        """The model's config.json."""
        return self.estimator.description

    @property
    def framing(self) -> Framing:
        """Framing by which faces are cut out for the model."""
        return self.estimator.framing

    @overload
    def __call__(self, images: Any, *, colors: str = ..., every: int = ...) -> list[Face]: ...
    @overload
    def __call__(
        self, images: Any, *, colors: str = ..., every: int = ..., errors: str
    ) -> list[Face | Unread]: ...
    def __call__(
        self, images: Any, *, colors: str = "rgb", every: int = 1, errors: str = "raise"
    ) -> Any:
        """Predicts the faces of images, image by image, each from left to right.

        An image is a path, its bytes, an open file, a PIL image, or an array of NumPy, JAX or any
        library: [height, width] or [height, width, 1, 3 or 4], integers from 0 to 255 or floats from 0
        to 1 or to 255. A path may be a folder, a glob or a video, as in the command; a video's faces
        are tracked and smoothed as there.

        Args:
          images: one image or several; also a batch [n, height, width, 1, 3 or 4], all of one scale.
          colors: order of an array's channels: "rgb", or "bgr" as OpenCV reads images.
          every: stride through the frames of videos.
          errors: "raise" ends at the first unusable image; "return" gives an Unread in its place.

        Raises:
          InputError: an image is unusable; the message names it and, for arrays, the conversion.
          RunError: the model's outputs are not finite, or the device fails.
        """
        if errors not in ("raise", "return"):
            raise InputError(f"errors={errors!r}: expected raise or return")
        return self._found(images, colors, every, keep=errors == "return")

    def _found(
        self, images: Any, colors: str, every: int, *, keep: bool = False, features: bool = False
    ) -> list[Any]:
        found, low = [], LeftOut(self._min_quality)
        frames = given.frames(images, colors=colors, every=every)
        if self._check_due:
            first = list(itertools.islice(frames, framing_check.MOST))
            readable = [one for one in first if not isinstance(one.content, Failure)]
            self.check_framing([one.content for one in readable if one.number is None])
            frames = itertools.chain(first, frames)
        for seen in tracking.followed(self.stream(frames, features=features), tracking.SHARE):
            if seen.failure is not None:
                unread = Unread(
                    seen.frame.source, seen.frame.place, seen.frame.number, seen.failure
                )
                if not keep:
                    raise InputError(str(unread))
                found.append(unread)
            found.extend(seen.faces)
            low.add(seen)
            self._tell_of_colors(seen, colors)
        if low.line:
            self._say(low.line)
        return found

    def _tell_of_colors(self, seen: Seen, colors: str) -> None:
        """Says once if an array's red and blue look swapped."""
        if seen.bluer and not self._told:
            self._told = True
            other = "bgr" if colors == "rgb" else "rgb"
            self._say(
                f"{seen.frame.source}: a face bluer than red; if the array is {other.upper()}, pass"
                f" colors={other!r}"
            )

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

    def features(
        self, images: Any, *, colors: str = "rgb", every: int = 1
    ) -> tuple[np.ndarray, list[Face]]:
        """Gives the model's features of all faces, and the faces, as a call does.

        Features are the output of the trunk, which the heads take (in recognition networks the
        embedding), averaged over the views of `crops`; not normalised.

        Args:
          images: see __call__.
          colors: see __call__.
          every: see __call__.

        Returns:
          float32[faces, f], and the faces in the same order. Without a face, f is 0.

        Raises:
          InputError: an image is unusable, or the model is an .onnx file or a run.
          RunError: see __call__.
        """
        faces = self._found(images, colors, every, features=True)
        rows = [face.features for face in faces]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32), faces

    def faces(self, image: Any, *, fast: bool = False, colors: str = "rgb") -> list[Face]:
        """Predicts the faces of one image in this thread, from left to right.

        Args:
          image: one image, see __call__.
          fast: True to detect at one coarse scale, as for the frames of a video.
          colors: see __call__.
        """
        found = []
        for seen in self.stream(given.frames(image, colors=colors), workers=1, fast=fast):
            if seen.failure is not None:
                raise InputError(seen.failure)
            self._tell_of_colors(seen, colors)
            found.extend(seen.faces)
        return found

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
            min_quality=self._min_quality,
        )
