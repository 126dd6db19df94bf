"""Framing: cuts a detected face out of a photograph as the model's training images frame it."""

import dataclasses
import math

import cv2
import numpy as np

from ageflax.bundle.description import Description
from ageflax.data import images
from ageflax.predict.detectors import Detection, Point
from ageflax.predict.detectors.detection import rotated_square

# If the eyes are this many times closer or wider apart than the box lets expect, they are wrong, or a
# profile's, whose line says nothing of its rotation; then they are taken to be where the box has them.
_CLOSER, _WIDER = 0.3, 1.5
# How far above a box's middle a frontal face has its eyes, as a share of the longer side: the median of
# 270 photographs of FairFace, by YuNet.
_EYES_ABOVE = 0.117
# A head is turned away if its eyes are closer than this share of the box's longer side; those of a
# frontal face are 0.33 of it apart.
_TURNED = 0.2
# A larger square, in pixels, is sampled at this side at once.
_LARGEST = 1024


def is_turned(found: Detection) -> bool:
    """True if a face's eyes, where they are known, are as close as in half profile and beyond."""
    if found.eyes is None:
        return False
    return math.dist(*found.eyes) < _TURNED * max(found.box[2:])


@dataclasses.dataclass(frozen=True)
class Framing:
    """How a model's training images frame the face.

    Attributes:
      margin: share of the detected box's longer side added on each side of the square around it.
      eyes: eye on the image's left and eye on its right, as fractions of width and height; None if
        the images are not aligned or it is unknown.
      size: side, in pixels, to which the square is resized.
      interpolation: resizing method, one of images.INTERPOLATIONS.
    """

    margin: float
    eyes: tuple[Point, Point] | None
    size: int
    interpolation: str

    @classmethod
    def of(cls, description: Description) -> "Framing":
        """Framing that a bundle's description states."""
        spec = description.input
        return cls(description.crop_margin, description.eyes, spec.resize, spec.interpolation)

    def cut(self, image: np.ndarray, found: Detection) -> np.ndarray:
        """Cuts the face out as uint8[size, size, 3], RGB; beyond the image its edge repeats.

        Its side is the box's with the margin: a turned head foreshortens the distance between the eyes,
        but hardly its box. If the model's images are aligned, the face is rotated by its eyes and placed
        by them and the box; otherwise it is the square around the box.

        Args:
          image: uint8[h, w, 3], RGB.
          found: detected face; without a score, the whole image.
        """
        square = image
        if found.score is not None:
            x, y, width, height = found.box
            side = max(width, height) * (1 + 2 * self.margin)
            if self.eyes is None:
                square = _square(image, x + width / 2, y + height / 2, side)
            else:
                square = self._aligned(image, found, self.eyes, side)
        return images.resize(square, self.size, interpolation=self.interpolation)

    def side(self, image: np.ndarray, found: Detection) -> float:
        """Side in pixels of the square that `cut` takes; the shorter one of a whole image."""
        if found.score is None:
            return float(min(image.shape[:2]))
        return float(max(found.box[2:]) * (1 + 2 * self.margin))

    def _aligned(
        self, image: np.ndarray, found: Detection, eyes: tuple[Point, Point], side: float
    ) -> np.ndarray:
        """Square that puts the eyes in their places.

        The middle between the eyes is taken half from them, half from where the box has them on a
        frontal face: on turned and bent heads the eyes alone would cut the face off. The square is
        sampled at the photograph's own scale, so that `interpolation` decides how it shrinks.

        Args:
          image: uint8[h, w, 3].
          found: detected face.
          eyes: places of the eyes in the square, as fractions of its side.
          side: side of the square in pixels.
        """
        wanted_left, wanted_right = (complex(*eye) for eye in eyes)
        wanted = wanted_right - wanted_left
        x, y, width, height = found.box
        centre, above = complex(x + width / 2, y + height / 2), _EYES_ABOVE * max(width, height)
        rotation, middle = complex(1), centre - complex(0, above)
        if found.eyes is not None:
            left, right = (complex(*eye) for eye in found.eyes)
            line = right - left
            if _CLOSER * side < abs(line) / abs(wanted) < _WIDER * side:
                rotation = line / wanted * abs(wanted) / abs(line)
                middle = ((left + right) / 2 + centre - rotation * complex(0, above)) / 2
        pixels = min(max(round(side), self.size), _LARGEST)
        turn = rotation * side / pixels
        start = middle - turn * pixels * (wanted_left + wanted_right) / 2
        # Pixel centres are at halves.
        half = complex(0.5, 0.5)
        return rotated_square(image, pixels, turn, start + turn * half - half)


def _square(image: np.ndarray, middle: float, level: float, side: float) -> np.ndarray:
    """Square of whole pixels around a point; beyond the image its edge repeats."""
    height, width = image.shape[:2]
    # A square larger than both sides of the image would show edge and nothing else.
    side = max(round(min(side, 4.0 * max(height, width))), 1)
    # A face centred on the last column still shows that column.
    left = min(max(round(middle - side / 2), 1 - side), width - 1)
    top = min(max(round(level - side / 2), 1 - side), height - 1)
    right, bottom = left + side, top + side
    inner = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    beyond = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    if not any(beyond):
        return inner
    return cv2.copyMakeBorder(inner, *beyond, cv2.BORDER_REPLICATE)
