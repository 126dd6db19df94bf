"""From the bytes of a picture to what the endpoint says of it."""

import collections
import threading
import time
from typing import Any

from ageflax.data import images
from ageflax.demo.limits import Limits, RefusedError
from ageflax.predict import Frame, Predictor, Tracker

# Streams that are followed at once; of more, the one that was longest silent is forgotten.
_STREAMS = 64
# As `python -m ageflax.predict --smooth` has it for videos.
SMOOTHING = 0.8


class _Stream:
    """One camera: its people so far. Of the pictures nothing is kept but one of 16x9 pixels."""

    def __init__(self) -> None:
        self.tracker = Tracker(SMOOTHING)
        self.lock = threading.Lock()
        self.frames = 0


class Looker:
    """Looks at pictures, by any number of threads.

    Args:
      predictor: finds and judges faces.
      limits: of which max_pixels is meant.
    """

    def __init__(self, predictor: Predictor, limits: Limits):
        self._predictor, self._limits = predictor, limits
        self._streams: collections.OrderedDict[str, _Stream] = collections.OrderedDict()
        self._lock = threading.Lock()

    def _stream(self, name: str) -> _Stream:
        with self._lock:
            stream = self._streams.pop(name, None) or _Stream()
            self._streams[name] = stream
            while len(self._streams) > _STREAMS:
                self._streams.popitem(last=False)
        return stream

    def _decoded(self, content: bytes) -> Any:
        try:
            return images.decode(content, max_pixels=self._limits.max_pixels)
        except images.BadImageError as error:
            raise self._refused(error.reason) from error

    def _refused(self, reason: str) -> RefusedError:
        if reason == "empty":
            return RefusedError(400, "No picture: send its bytes as the body, or as a form's file.")
        if reason == "too large":
            most = self._limits.max_pixels / 1e6
            return RefusedError(413, f"Too large: a picture may have {most:g} megapixels.")
        if reason == "truncated":
            return RefusedError(422, "The picture is damaged, or a part of it is missing.")
        return RefusedError(
            415, "Not a picture, whatever its name says: JPEG, PNG, WebP, GIF, BMP, TIFF or PPM."
        )

    def __call__(self, content: bytes, *, stream: str | None = None) -> dict[str, Any]:
        """The endpoint's answer.

        Args:
          content: of a picture.
          stream: the name of a camera, whose frames come one after another: each is looked at once and
            coarsely, and its faces have tracks.

        Raises:
          RefusedError: it is no picture that can be used.
          ageflax.errors.RunError: the model fails.
        """
        started = time.perf_counter()
        pixels = self._decoded(content)
        if stream is None:
            faces = self._predictor.faces(pixels)
        else:
            faces = self._followed(pixels, self._stream(stream))
        return {
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "faces": [face.to_dict() for face in faces],
            "seconds": round(time.perf_counter() - started, 4),
        }

    def _followed(self, pixels: Any, stream: _Stream) -> list[Any]:
        with stream.lock:
            number = stream.frames
            stream.frames += 1
        frame = Frame("#0", 0, number, pixels)
        (seen,) = self._predictor.stream([frame], workers=1, live=True)
        with stream.lock:
            return list(stream.tracker(seen).faces)
