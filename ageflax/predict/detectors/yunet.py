"""YuNet, OpenCV's FaceDetectorYN: faces from 10 pixels on, with their eyes."""

import cmath
import dataclasses
import math
import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from ageflax.errors import InputError
from ageflax.predict.detectors.detection import (
    MIN_SCORE,
    VIDEO_SIDE,
    Detection,
    Spares,
    distinct,
    rotated_square,
    scaled,
)

# Longest sides, in pixels, at which a photograph is searched. At the smaller one a face may fill the
# image, at the larger one be a hundredth of it: YuNet finds faces from about 10 to 300 pixels.
_COARSE, _FINE = 320, 2048
# YuNet's eyes follow a tilted head by half of its tilt or less, the smaller the face the less. Each face
# is therefore turned upright and searched again until the remaining tilt is below so many degrees.
_TILT, _TURNS = 4.0, 4
# So many faces in one image are turned upright by several threads.
_CROWD, _THREADS = 8, 8
# Side of that upright view, in pixels, and of the face in it.
_UPRIGHT, _FACE = 320, 190.0


def _scales(height: int, width: int, fast: bool) -> list[float]:
    """Factors by which an image is resized for each search, coarse first."""
    longest = max(height, width)
    if fast:
        return [min(VIDEO_SIDE / longest, 1.0)]
    fine = min(longest, _FINE)
    # A fine search hardly finer than the coarse one would find the same.
    return [_COARSE / longest] + [fine / longest] * (fine > 1.3 * _COARSE)


class YuNet:
    """OpenCV's FaceDetectorYN.

    Args:
      model: content of face_detection_yunet_2023mar.onnx, or of a similar model.
      name: name of the detector, for messages.
      min_score: lowest score of a detection that is kept.

    Raises:
      InputError: OpenCV cannot use the model.
    """

    def __init__(self, model: bytes, *, name: str, min_score: float = MIN_SCORE):
        self.name, self._min_score = name, min_score
        self._model = np.frombuffer(model, np.uint8)
        self._networks = Spares(dict[int, cv2.FaceDetectorYN])
        try:
            self(np.zeros((32, 32, 3), np.uint8))
        except (cv2.error, ValueError, IndexError) as error:
            last = str(error).strip().splitlines()[-1][:160]
            raise InputError(f"{name}: not a YuNet model that OpenCV can use: {last}") from error

    def _detect(self, place: int, image: np.ndarray) -> np.ndarray:
        """float32[n, 15]: box, eyes, nose, corners of the mouth and score of each face.

        Args:
          place: number of the search. Each has its own network, since another size is another
            allocation.
          image: uint8[h, w, 3], RGB.
        """
        size = image.shape[1], image.shape[0]
        with self._networks.one() as networks:
            if place not in networks:
                networks[place] = cv2.FaceDetectorYN.create(
                    "onnx", self._model, np.zeros(0, np.uint8), size, self._min_score, 0.3, 5000
                )
            networks[place].setInputSize(size)
            _, rows = networks[place].detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return np.zeros((0, 15), np.float32) if rows is None else rows

    def __call__(
        self, image: np.ndarray, *, fast: bool = False, closely: bool = True
    ) -> list[Detection]:
        """See Detector."""
        height, width = image.shape[:2]
        found = []
        for place, scale in enumerate(_scales(height, width, fast)):
            resized = scaled(image, scale)
            across, down = width / resized.shape[1], height / resized.shape[0]
            for row in self._detect(place, resized):
                x, y, w, h, xl, yl, xr, yr = (row[:8] * np.tile((across, down), 4)).tolist()
                found.append(Detection((x, y, w, h), float(row[14]), ((xl, yl), (xr, yr))))
        faces = distinct(found, height, width)
        if fast or not closely:
            return faces
        if len(faces) < _CROWD:
            return [self._straightened(image, one) for one in faces]
        with ThreadPoolExecutor(min(os.cpu_count() or 1, _THREADS)) as pool:
            return list(pool.map(lambda one: self._straightened(image, one), faces))

    def _straightened(self, image: np.ndarray, found: Detection) -> Detection:
        """The same face, the eyes of a tilted head corrected."""
        x, y, w, h = found.box
        middle, scale = complex(x + w / 2, y + h / 2), max(w, h) / _FACE
        angle, eyes = 0.0, found.eyes
        for view in range(_TURNS):
            assert eyes is not None  # since YuNet found them
            across, down = eyes[1][0] - eyes[0][0], eyes[1][1] - eyes[0][1]
            tilt = math.remainder(math.atan2(down, across) - angle, math.tau)
            # The eyes of the first search are unreliable in small faces, so there is one view at least.
            if view and abs(math.degrees(tilt)) < _TILT:
                break
            angle += tilt
            turn = cmath.rect(scale, angle)
            start = middle - turn * complex(_UPRIGHT / 2, _UPRIGHT / 2)
            rows = self._detect(2, rotated_square(image, _UPRIGHT, turn, start))
            if not len(rows):
                break
            # The nearest to the middle is this face; others may look over its shoulder.
            places = rows[:, :2] + rows[:, 2:4] / 2 - _UPRIGHT / 2
            row = rows[np.argmin(np.hypot(*places.T))]
            left, right = (start + turn * complex(*row[k : k + 2].tolist()) for k in (4, 6))
            eyes = (left.real, left.imag), (right.real, right.imag)
        return dataclasses.replace(found, eyes=eyes)
