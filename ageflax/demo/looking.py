"""Looker: from the bytes of a picture to the endpoint's answer."""

import collections
import threading
import time
from typing import Any

import numpy as np

from ageflax.data import images
from ageflax.demo.limits import Limits, RefusedError
from ageflax.predict import Face, Frame, Predictor, Tracker

# Number of streams followed at once; beyond it the longest silent is dropped.
_STREAMS = 64
# The default of `python -m ageflax.predict --smooth`.
SMOOTHING = 0.8


class _Stream:
    """A camera and the faces tracked in it. Of its pictures only one of 16x9 pixels is kept."""

    def __init__(self) -> None:
        self.tracker = Tracker(SMOOTHING)
        self.lock = threading.Lock()
        self.frames = 0


class Looker:
    """Decodes pictures and predicts their faces; safe to call from several threads at once.

    Args:
      predictor: finds faces and predicts their age and gender.
      limits: only max_pixels is used.
    """

    def __init__(self, predictor: Predictor, limits: Limits):
        self._predictor, self._max_pixels = predictor, limits.max_pixels
        self._streams: collections.OrderedDict[str, _Stream] = collections.OrderedDict()
        self._lock = threading.Lock()

    def _stream(self, name: str) -> _Stream:
        with self._lock:
            stream = self._streams.pop(name, None) or _Stream()
            self._streams[name] = stream
            while len(self._streams) > _STREAMS:
                self._streams.popitem(last=False)
        return stream

    def _refused(self, reason: str) -> RefusedError:
        if reason == "empty":
            return RefusedError(400, "No picture: send its bytes as the body or as a form's file.")
        if reason == "too large":
            most = self._max_pixels / 1e6
            return RefusedError(413, f"Too large: a picture may have {most:g} megapixels.")
        if reason == "truncated":
            return RefusedError(422, "The picture is damaged or incomplete.")
        return RefusedError(415, "Not a picture: expected JPEG, PNG, WebP, GIF, BMP, TIFF or PPM.")

    def __call__(self, content: bytes, *, stream: str | None = None) -> dict[str, Any]:
        """Makes the endpoint's answer for a picture.

        Args:
          content: bytes of the picture.
          stream: name of the camera whose frames arrive one after another. They are searched for faces
            once, at a coarse scale, and the faces are tracked.

        Raises:
          RefusedError: the picture is unusable.
          ageflax.errors.RunError: the model fails.
        """
        started = time.perf_counter()
        try:
            pixels = images.decode(content, max_pixels=self._max_pixels)
        except images.BadImageError as error:
            raise self._refused(error.reason) from error
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

    def _followed(self, pixels: np.ndarray, stream: _Stream) -> list[Face]:
        with stream.lock:
            number = stream.frames
            stream.frames += 1
        frame = Frame("#0", 0, number, pixels)
        (seen,) = self._predictor.stream([frame], workers=1, live=True)
        with stream.lock:
            return list(stream.tracker(seen).faces)
