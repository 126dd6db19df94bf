"""From a face in a photograph to the square that a model was trained on."""

import dataclasses
import math
from typing import Any

import cv2
import numpy as np

from ageflax.data import images
from ageflax.errors import InputError
from ageflax.predict.detectors.yunet import Detection, Point

# Where eyes ask for a square that is so many times smaller or larger than the box does, they are of a
# profile or mistaken, and the box decides.
_SMALLER, _LARGER = 0.65, 1.5
# A square of more pixels is sampled at this side at once.
_MOST = 1024


@dataclasses.dataclass(frozen=True)
class Framing:
    """How a model's training images frame the face.

    Attributes:
      margin: share of the detected box's longer side that is added on each side of the square on it.
      eyes: where the eye on the image's left and the one on its right lie, as fractions of width and
        height; None where images are not aligned, or it is not known.
      size: side, in pixels, that the square is resized to.
      interpolation: by which; one of images.INTERPOLATIONS.
    """

    margin: float
    eyes: tuple[Point, Point] | None
    size: int
    interpolation: str

    @classmethod
    def of(cls, config: dict[str, Any], name: str) -> "Framing":
        """That of a bundle's config.json.

        Args:
          config: whose `input` is known to be sound.
          name: of the model, for messages.

        Raises:
          InputError: its margin or eyes are damaged.
        """
        margin, eyes = config.get("crop_margin", 0.0), config.get("eyes")
        if type(margin) not in (int, float) or not -0.45 <= margin <= 10:
            raise InputError(f"{name}: its config is damaged: crop_margin: {margin!r} is no margin")
        if eyes is not None:
            eyes = _eyes(eyes, name)
        spec = config["input"]
        return cls(float(margin), eyes, spec["resize"], spec["interpolation"])

    def cut(self, image: np.ndarray, found: Detection) -> np.ndarray:
        """The face, uint8[size, size, 3], RGB; what lies outside the image repeats its edge.

        Turned and scaled by the eyes where the model's images are aligned by them, and they are known
        and plausible; else the square on the box, with the margin.

        Args:
          image: uint8[h, w, 3], RGB.
          found: where; without a score, the whole image.
        """
        if found.score is None:
            return images.resize(image, self.size, interpolation=self.interpolation)
        x, y, width, height = found.box
        side = max(width, height) * (1 + 2 * self.margin)
        if self.eyes is not None and found.eyes is not None:
            square = self._aligned(image, found.eyes, self.eyes, side)
            if square is not None:
                return images.resize(square, self.size, interpolation=self.interpolation)
        square = _square(image, x + width / 2, y + height / 2, side)
        return images.resize(square, self.size, interpolation=self.interpolation)

    def _aligned(
        self,
        image: np.ndarray,
        eyes: tuple[Point, Point],
        wanted: tuple[Point, Point],
        boxed: float,
    ) -> np.ndarray | None:
        """The square that puts the eyes where they are wanted; None where that is not plausible.

        It is sampled at the photograph's own scale, so that `interpolation` decides how it shrinks.
        """
        (ax, ay), (bx, by) = eyes
        (px, py), (qx, qy) = wanted
        apart = math.hypot(bx - ax, by - ay)
        side = apart / math.hypot(qx - px, qy - py)
        if not _SMALLER * boxed < side < _LARGER * boxed:
            return None
        pixels = min(max(round(side), self.size), _MOST)
        # Of the similarity as one complex factor: where a vector of the square lies in the image.
        turn = complex(bx - ax, by - ay) / (complex(qx - px, qy - py) * pixels)
        start = complex(ax, ay) - turn * complex(px, py) * pixels
        # Pixel centres are at halves.
        shift = start + turn * complex(0.5, 0.5) - complex(0.5, 0.5)
        matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
        return cv2.warpAffine(
            image,
            matrix,
            (pixels, pixels),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


def _eyes(given: Any, name: str) -> tuple[Point, Point]:
    """Two places in the unit square, or near it, the left one first."""
    try:
        (xl, yl), (xr, yr) = given
        left, right = (float(xl), float(yl)), (float(xr), float(yr))
        if all(-1 < place < 2 for place in (*left, *right)) and right[0] - left[0] > 0.02:
            return left, right
    except (TypeError, ValueError):
        pass
    raise InputError(f"{name}: its config is damaged: eyes: {given!r}: expected [[x, y], [x, y]]")


def _square(image: np.ndarray, middle: float, level: float, side: float) -> np.ndarray:
    """The square about a point, of whole pixels; beyond the image its edge repeats."""
    height, width = image.shape[:2]
    # Larger than both sides of the image it would show edge and nothing else.
    side = max(round(min(side, 4.0 * max(height, width))), 1)
    # A face whose centre is on the last column still shows that column.
    left = min(max(round(middle - side / 2), 1 - side), width - 1)
    top = min(max(round(level - side / 2), 1 - side), height - 1)
    right, bottom = left + side, top + side
    inner = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    beyond = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    if not any(beyond):
        return inner
    return cv2.copyMakeBorder(inner, *beyond, cv2.BORDER_REPLICATE)
