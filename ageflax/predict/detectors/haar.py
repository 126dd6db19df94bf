"""OpenCV's Haar cascade: frontal faces, no download."""

from pathlib import Path

import cv2
import numpy as np

from ageflax.errors import InputError
from ageflax.predict.detectors.detection import VIDEO_SIDE, Detection, Spares, distinct, scaled

# Longest side, in pixels, at which a photograph is searched.
_SIDE = 1280
# From a Haar box to the frame of YuNet's, and where the eyes are: medians over 418 faces on which both
# agreed (396 of labeled_faces, padded, and 22 of group photographs), spread 0.02 to 0.08 of the side.
_CENTRE, _SIDES = (0.495, 0.51), (0.83, 1.08)
_EYES = ((0.31, 0.39), (0.69, 0.39))


class Haar:
    """A Haar cascade.

    Its boxes are converted to the frame of YuNet's, so that one crop margin suits both. A cascade does
    not locate eyes: they are placed where a frontal face has them.

    Args:
      path: cascade's .xml; by default the frontal one that OpenCV 4 ships.

    Raises:
      InputError: the cascade cannot be read.
    """

    def __init__(self, path: Path | None = None):
        self.name = "haar" if path is None else str(path)
        if path is None:
            path = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"
        if not path.is_file():
            raise InputError(f"--detector={self.name}: no such file: {path}")
        self._path, self._cascades = path, Spares(self._cascade)
        with self._cascades.one():
            pass  # which raises an error now, not at the first image

    def _cascade(self) -> cv2.CascadeClassifier:
        try:
            cascade = cv2.CascadeClassifier(str(self._path))
        except (cv2.error, UnicodeError, SystemError):
            cascade = None
        if cascade is None or cascade.empty():
            raise InputError(f"{self._path}: not a Haar cascade")
        return cascade

    def __call__(
        self, image: np.ndarray, *, fast: bool = False, closely: bool = True
    ) -> list[Detection]:
        """See Detector."""
        height, width = image.shape[:2]
        scale = min((VIDEO_SIDE if fast else _SIDE) / max(height, width), 1.0)
        grey = cv2.cvtColor(scaled(image, scale), cv2.COLOR_RGB2GRAY)
        with self._cascades.one() as cascade:
            boxes, _, weights = cascade.detectMultiScale3(
                grey, 1.1, 5, minSize=(24, 24), outputRejectLevels=True
            )
        found = []
        for (x, y, side, _), weight in zip(boxes, np.ravel(weights), strict=True):
            x, y, side = (float(value) / scale for value in (x, y, side))
            w, h = (share * side for share in _SIDES)
            left, top = (share * side for share in _CENTRE)
            (xl, yl), (xr, yr) = _EYES
            eyes = (x + xl * side, y + yl * side), (x + xr * side, y + yr * side)
            found.append(Detection((x + left - w / 2, y + top - h / 2, w, h), float(weight), eyes))
        return distinct(found, height, width)
