"""Looker: from the bytes of pictures to the endpoint's answer."""

import collections
import threading
import time

import numpy as np
from starlette.exceptions import HTTPException

from ageflax.data import images
from ageflax.demo import upload
from ageflax.demo.limits import Limits
from ageflax.predict import Face, Frame, Predictor, Tracker
from ageflax.runtime.files import Json

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
      limits: max_pixels and max_pictures are used.
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

    def _refused(self, error: images.BadImageError) -> HTTPException:
        match error.reason:
            case "empty":
                return HTTPException(400, "No picture: send its bytes, as the body or in a form.")
            case "too large":
                most = f"{self._limits.max_pixels / 1e6:g} megapixels"
                return HTTPException(413, f"Too large: the pictures of a request may have {most}.")
            case "truncated":
                return HTTPException(422, "The picture is damaged or incomplete.")
        known = error.said != error.reason
        said = error.said if known else "expected JPEG, PNG, WebP, GIF, BMP, TIFF or PPM"
        return HTTPException(415, f"Not a picture: {said}.")

    def __call__(
        self, content: bytes, *, stream: str | None = None, max_pixels: int | None = None
    ) -> Json:
        """Makes the endpoint's answer for a picture.

        Args:
          content: bytes of the picture.
          stream: name of the camera whose frames arrive one after another. They are searched for faces
            once, at a coarse scale, and the faces are tracked.
          max_pixels: largest picture, if not that of the limits.

        Raises:
          HTTPException: the picture is unusable.
          ageflax.errors.RunError: the model fails.
        """
        started = time.perf_counter()
        most = self._limits.max_pixels if max_pixels is None else max_pixels
        try:
            pixels = images.decode(content, max_pixels=most)
        except images.BadImageError as error:
            raise self._refused(error) from error
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

    def several(self, content: bytes, *, stream: str | None = None) -> Json:
        """Makes the endpoint's answer for a list of pictures; an unusable one has its reason there.

        Args:
          content: JSON, see upload.listed.
          stream: see `__call__`.

        Raises:
          HTTPException: no such list.
          ageflax.errors.RunError: the model fails.
        """
        answers: list[Json] = []
        left = self._limits.max_pixels
        for text in upload.listed(content, self._limits):
            try:
                answers.append(self(upload.decoded(text), stream=stream, max_pixels=left))
                left -= answers[-1]["width"] * answers[-1]["height"]
            except HTTPException as error:
                answers.append({"error": error.detail})
        return {"images": answers}

    def _followed(self, pixels: np.ndarray, stream: _Stream) -> list[Face]:
        with stream.lock:
            number = stream.frames
            stream.frames += 1
        frame = Frame("#0", 0, number, pixels)
        (seen,) = self._predictor.stream([frame], workers=1, live=True)
        with stream.lock:
            return list(stream.tracker(seen).faces)
