"""Where faces are: YuNet, OpenCV's Haar cascade, or the whole image."""

import cmath
import dataclasses
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from ageflax.errors import InputError

# Below it YuNet finds hands and knots in curtains; faces that a person would name score above.
MIN_SCORE = 0.7
# Boxes that overlap by more are one face; two heads behind each other overlap by less.
_SAME_FACE = 0.4
# Longest sides, in pixels, at which an image is looked at. At the smaller one a face may fill the image,
# at the larger one be a hundredth of it: YuNet finds faces from about 10 to 300 pixels.
_COARSE, _FINE = 320, 2048
# Of a video, once at this size.
_VIDEO = 640
# YuNet's eyes follow a tilted head by half of its tilt or less, the smaller the face the less. So each
# is turned upright and looked at once more, until what is left of the tilt is less than so many degrees.
_TILT, _TURNS = 4.0, 4
# The side of that look, in pixels, and of the face in it.
_UPRIGHT, _FACE = 320, 190.0
# From a Haar box to the frame of YuNet's, and where the eyes are: medians over 418 faces on which both
# agreed (396 of labeled_faces, padded, and 22 of group photographs), spread 0.02 to 0.08 of the side.
_HAAR_CENTRE, _HAAR_SIDES = (0.495, 0.51), (0.83, 1.08)
_HAAR_EYES = ((0.31, 0.39), (0.69, 0.39))

Point = tuple[float, float]
Box = Sequence[float] | Sequence[int]


@dataclasses.dataclass(frozen=True)
class Detection:
    """A face found.

    Attributes:
      box: x, y, width, height in pixels; parts of it may lie outside the image.
      score: see Face.detection_score.
      eyes: the one on the left of an upright image, then the one on its right; None where unknown.
    """

    box: tuple[float, float, float, float]
    score: float | None = None
    eyes: tuple[Point, Point] | None = None


@runtime_checkable
class Detector(Protocol):
    """Finds faces; several threads may use one at once."""

    name: str

    def __call__(
        self, image: np.ndarray, *, fast: bool = False, closely: bool = True
    ) -> list[Detection]:
        """Faces of uint8[h, w, 3], RGB, from the left to the right.

        Args:
          image: upright.
          fast: look once and coarsely, as suits the frames of a video.
          closely: look at each face once more and larger, so that the eyes of tilted heads are right.
        """
        ...


def _scales(height: int, width: int, fast: bool) -> list[float]:
    """By what an image is multiplied before it is looked at, coarse first."""
    longest = max(height, width)
    if fast:
        return [min(_VIDEO / longest, 1.0)]
    fine = min(longest, _FINE)
    # A fine look that is hardly finer than the coarse one would find the same.
    return [_COARSE / longest] + [fine / longest] * (fine > 1.3 * _COARSE)


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    height, width = image.shape[:2]
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if size == (width, height):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes x, y, width, height; 0 to 1."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(across, 0.0) * max(down, 0.0)
    return both / max(one[2] * one[3] + other[2] * other[3] - both, 1e-9)


def _distinct(found: list[Detection], height: int, width: int) -> list[Detection]:
    """The better of detections of one face, inside the image, from the left to the right."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda each: -(each.score or 0.0)):
        x, y, w, h = one.box
        inside = -w / 2 < x < width - w / 2 and -h / 2 < y < height - h / 2 and min(w, h) >= 1
        if inside and all(overlap(one.box, other.box) < _SAME_FACE for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda each: each.box[:2])


class YuNet:
    """OpenCV's FaceDetectorYN.

    Args:
      model: content of face_detection_yunet_2023mar.onnx, or another of its kind.
      name: for messages.
      min_score: what is found with less is left out.

    Raises:
      InputError: it is no such model.
    """

    def __init__(self, model: bytes, *, name: str, min_score: float = MIN_SCORE):
        self.name, self._min_score = name, min_score
        self._model = np.frombuffer(model, np.uint8)
        self._threads = threading.local()
        try:
            self(np.zeros((32, 32, 3), np.uint8))
        except (cv2.error, ValueError, IndexError) as error:
            first = str(error).strip().splitlines()[-1][:160]
            raise InputError(f"{name}: not a YuNet model that OpenCV can use: {first}") from error

    def _network(self, place: int, size: tuple[int, int]) -> cv2.FaceDetectorYN:
        """This thread's network for a look; one a look, since another size is another allocation."""
        networks = self._threads.__dict__.setdefault("networks", {})
        if place not in networks:
            networks[place] = cv2.FaceDetectorYN.create(
                "onnx", self._model, np.zeros(0, np.uint8), size, self._min_score, 0.3, 5000
            )
        networks[place].setInputSize(size)
        return networks[place]

    def __call__(
        self, image: np.ndarray, *, fast: bool = False, closely: bool = True
    ) -> list[Detection]:
        """See Detector."""
        height, width = image.shape[:2]
        found = []
        for place, scale in enumerate(_scales(height, width, fast)):
            seen = cv2.cvtColor(_scaled(image, scale), cv2.COLOR_RGB2BGR)
            network = self._network(place, (seen.shape[1], seen.shape[0]))
            _, rows = network.detect(seen)
            for row in [] if rows is None else rows:
                across, down = width / seen.shape[1], height / seen.shape[0]
                points = [float(value) for value in row[:14] * np.tile((across, down), 7)]
                x, y, w, h, *eyes = points[:8]
                found.append(
                    Detection(
                        (x, y, w, h), float(row[14]), ((eyes[0], eyes[1]), (eyes[2], eyes[3]))
                    )
                )
        distinct = _distinct(found, height, width)
        if fast or not closely:
            return distinct
        return [self._straightened(image, one) for one in distinct]

    def _straightened(self, image: np.ndarray, found: Detection) -> Detection:
        """The same face, with the eyes of a tilted head where they are."""
        x, y, w, h = found.box
        middle, scale = complex(x + w / 2, y + h / 2), max(w, h) / _FACE
        angle, eyes = 0.0, found.eyes
        for look in range(_TURNS):
            assert eyes is not None  # since YuNet found them
            across, down = eyes[1][0] - eyes[0][0], eyes[1][1] - eyes[0][1]
            tilt = math.remainder(math.atan2(down, across) - angle, math.tau)
            # What the first look said of a small face is not to be relied on.
            if look and abs(math.degrees(tilt)) < _TILT:
                break
            angle += tilt
            turn = cmath.rect(scale, angle)
            start = middle - turn * complex(_UPRIGHT / 2, _UPRIGHT / 2)
            matrix = np.array(
                [[turn.real, -turn.imag, start.real], [turn.imag, turn.real, start.imag]]
            )
            upright = cv2.warpAffine(
                image, matrix, (_UPRIGHT, _UPRIGHT),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
            network = self._network(2, (_UPRIGHT, _UPRIGHT))
            _, rows = network.detect(cv2.cvtColor(upright, cv2.COLOR_RGB2BGR))
            if rows is None:
                break
            # The nearest to the middle is this face; others may look over its shoulder.
            places = rows[:, :2] + rows[:, 2:4] / 2 - _UPRIGHT / 2
            row = rows[np.argmin(np.hypot(*places.T))]
            left, right = (start + turn * complex(*row[k : k + 2].tolist()) for k in (4, 6))
            eyes = (left.real, left.imag), (right.real, right.imag)
        return dataclasses.replace(found, eyes=eyes)


class Haar:
    """A Haar cascade, by default the frontal one that OpenCV 4 ships.

    Its boxes are moved to the frame that YuNet's have, so that one crop margin serves both; eyes are
    where they lie in a frontal face, for the cascade does not see them.

    Raises:
      InputError: the cascade cannot be read.
    """

    def __init__(self, path: Path | None = None):
        self.name = "haar" if path is None else str(path)
        if path is None:
            path = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"
        if not path.is_file():
            raise InputError(f"--detector={self.name}: no such file: {path}")
        self._path, self._threads = path, threading.local()
        self._cascade()

    def _cascade(self) -> cv2.CascadeClassifier:
        if not hasattr(self._threads, "cascade"):
            try:
                cascade = cv2.CascadeClassifier(str(self._path))
            except (cv2.error, UnicodeError, SystemError) as error:
                raise InputError(f"{self._path}: not a Haar cascade") from error
            if cascade.empty():
                raise InputError(f"{self._path}: not a Haar cascade")
            self._threads.cascade = cascade
        return self._threads.cascade

    def __call__(
        self, image: np.ndarray, *, fast: bool = False, closely: bool = True
    ) -> list[Detection]:
        """See Detector."""
        height, width = image.shape[:2]
        scale = min((_VIDEO if fast else 1280) / max(height, width), 1.0)
        grey = cv2.cvtColor(_scaled(image, scale), cv2.COLOR_RGB2GRAY)
        boxes, _, weights = self._cascade().detectMultiScale3(
            grey, 1.1, 5, minSize=(24, 24), outputRejectLevels=True
        )
        found = []
        for (x, y, side, _), weight in zip(boxes, np.ravel(weights), strict=True):
            x, y, side = (float(value) / scale for value in (x, y, side))
            w, h = (share * side for share in _HAAR_SIDES)
            left, top = (share * side for share in _HAAR_CENTRE)
            (xl, yl), (xr, yr) = _HAAR_EYES
            eyes = (x + xl * side, y + yl * side), (x + xr * side, y + yr * side)
            found.append(Detection((x + left - w / 2, y + top - h / 2, w, h), float(weight), eyes))
        return _distinct(found, height, width)


class Whole:
    """For images that are faces already: the whole of each."""

    name = "none"

    def __call__(
        self, image: np.ndarray, *, fast: bool = False, closely: bool = True
    ) -> list[Detection]:
        """See Detector."""
        height, width = image.shape[:2]
        return [Detection((0.0, 0.0, float(width), float(height)))]
