"""Detection and Detector, and the geometry that detectors share."""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

import cv2
import numpy as np

# Longest side, in pixels, at which the frames of a video are searched.
VIDEO_SIDE = 640
# Below it YuNet finds hands and knots in curtains; faces that a person would name score above.
MIN_SCORE = 0.7
# Boxes that overlap by more are one face; two heads behind each other overlap by less.
_SAME_FACE = 0.4

Point = tuple[float, float]
Box = Sequence[float] | Sequence[int]


@dataclasses.dataclass(frozen=True)
class Detection:
    """A detected face.

    Attributes:
      box: x, y, width, height in pixels; may reach beyond the image.
      score: see Face.detection_score.
      eyes: the eye on the left of an upright image, then the one on its right; None if unknown.
    """

    box: tuple[float, float, float, float]
    score: float | None = None
    eyes: tuple[Point, Point] | None = None


@runtime_checkable
class Detector(Protocol):
    """Finds faces; safe to call from several threads at once."""

    name: str

    def __call__(
        self, image: np.ndarray, *, fast: bool = False, closely: bool = True
    ) -> list[Detection]:
        """Finds the faces of uint8[h, w, 3], RGB, from left to right.

        Args:
          image: upright image.
          fast: True to search once, at a coarse scale, as for the frames of a video.
          closely: True to look at each face again, enlarged, which locates the eyes of tilted heads.
        """
        ...


T = TypeVar("T")


class Spares(Generic[T]):
    """Objects that one thread at a time may use; as many are made as threads need at once.

    Threads come and go with every call: what they leave is kept for the next ones.

    Args:
      make: makes another one.
    """

    def __init__(self, make: Callable[[], T]):
        self._make, self._free = make, collections.deque[T]()

    @contextlib.contextmanager
    def one(self) -> Iterator[T]:
        """Lends one for a block; one whose block failed is not lent again."""
        try:
            spare = self._free.pop()
        except IndexError:
            spare = self._make()
        yield spare
        self._free.append(spare)


def scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """Resizes an image by a factor; each side keeps at least one pixel."""
    height, width = image.shape[:2]
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if size == (width, height):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def rotated_square(
    image: np.ndarray, side: int, turn: complex, start: complex, *, beyond: int | None = None
) -> np.ndarray:
    """Samples a square of an image through a similarity.

    Args:
      image: uint8[h, w, 3].
      side: side of the square, in its own pixels.
      turn: displacement in the image, x + iy, per pixel of the square to the right.
      start: position in the image of the square's first pixel.
      beyond: level of grey beyond the image; None to repeat its edge.
    """
    matrix = np.array([[turn.real, -turn.imag, start.real], [turn.imag, turn.real, start.imag]])
    return cv2.warpAffine(
        image,
        matrix,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if beyond is None else cv2.BORDER_CONSTANT,
        borderValue=(beyond or 0,) * 3,
    )


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes x, y, width, height; 0 to 1."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(across, 0.0) * max(down, 0.0)
    return both / max(one[2] * one[3] + other[2] * other[3] - both, 1e-9)


def distinct(found: list[Detection], height: int, width: int) -> list[Detection]:
    """Keeps the best detection of each face centred inside the image, from left to right."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda each: -(each.score or 0.0)):
        x, y, w, h = one.box
        inside = -w / 2 < x < width - w / 2 and -h / 2 < y < height - h / 2 and min(w, h) >= 1
        if inside and all(overlap(one.box, other.box) < _SAME_FACE for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda each: each.box[:2])
