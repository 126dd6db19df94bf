"""MTCNN: faces and their eyes, by three small networks that come as a package and need no download.

References: Zhang et al., Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks, IEEE Signal Processing Letters 2016.
"""

import cmath
import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from ageflax.predict.detectors.detection import (
    MIN_SCORE,
    VIDEO_SIDE,
    Detection,
    Point,
    distinct,
    rotated_square,
    scaled,
)
from ageflax.predict.detectors.mtcnn_networks import Network, read

# Longest side, in pixels, at which a photograph is searched, and the side of the smallest face there and
# in the frames of a video.
_SIDE, _SMALLEST, _SMALLEST_IN_FRAMES = 1024, 20, 40
# Where an upright search of a photograph finds nobody, it is turned by so many degrees: the networks
# miss every tenth head tilted by 30 degrees and every second one by 45.
_TILTS = (-40.0, 40.0)
# Sides of the windows that the networks judge, in pixels.
_PROPOSING, _REFINING, _COMPLETING = 12, 24, 48
# As in the paper: step between the scales of the search, lowest probabilities of the first two networks,
# and the overlap above which two windows of one scale, or of any, are one.
_STEP, _PROPOSED, _REFINED = 0.709, 0.6, 0.7
_SAME_AT_SCALE, _SAME = 0.5, 0.7
# Most windows that the second network judges, the best ones, and how many at once. A crowd has hundreds.
_MOST, _AT_ONCE = 2000, 128
# The third network is surer than it is right: its logits are scaled so that 0.9 becomes 0.7, from where
# scores are right about as often as YuNet's.
_TEMPER = 0.386
# Eyes are located again, in a view turned upright by those found before, until the remaining tilt is
# below so many degrees, at most so many times. Once halves their error; a tilt of 30 degrees needs two.
_TILT, _TURNS = 4.0, 3
# Grey beyond the image, as in training. Views are shrunk from at most so many times their size.
_GREY, _FINER = 128, 4

_HALF = complex(0.5, 0.5)


def _shares(logits: np.ndarray) -> np.ndarray:
    """Probability of a face from float32[n, 2, ...], logits of "no face" and "a face"."""
    return 1 / (1 + np.exp(np.clip(logits[:, 0] - logits[:, 1], -80, 80)))


def _best(boxes: np.ndarray, scores: np.ndarray, limit: float) -> np.ndarray:
    """Indices of the boxes that no better one overlaps by more, best first.

    Args:
      boxes: float32[n, 4], left, top, right, bottom.
      scores: float32[n].
      limit: largest intersection over union.
    """
    order, kept = np.argsort(-scores, kind="stable"), []
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    while len(order):
        first, order = order[0], order[1:]
        kept.append(first)
        sides = np.minimum(boxes[first, 2:], boxes[order, 2:])
        sides -= np.maximum(boxes[first, :2], boxes[order, :2])
        both = np.prod(np.maximum(sides, 0), axis=1)
        order = order[both <= limit * (areas[first] + areas[order] - both)]
    return np.array(kept, int)


def _moved(boxes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Moves the sides of boxes, float32[n, 4], by shares of their widths and heights."""
    return boxes + shares * np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def _square(boxes: np.ndarray) -> np.ndarray:
    """Squares with the boxes' middles and longer sides."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = np.max(boxes[:, 2:] - boxes[:, :2], axis=1, keepdims=True) / 2
    return np.concatenate([middles - halves, middles + halves], axis=1)


def _view(
    image: np.ndarray, middle: complex, extent: float, *, side: int, angle: float = 0.0
) -> np.ndarray:
    """A square of an image as uint8[side, side, 3]; beyond the image it is grey.

    Args:
      image: uint8[h, w, 3].
      middle: place of its middle in the image, x + iy.
      extent: its side in the image, in pixels.
      side: its side in its own pixels.
      angle: radians by which its sides are turned clockwise in the image.
    """
    # Sampled at about the image's own scale and then shrunk: samples far apart would alias.
    pixels = side * min(max(math.ceil(extent / side), 1), _FINER)
    turn = cmath.rect(extent / pixels, angle)
    # Pixel centres are at halves.
    start = middle - turn * (pixels - 1) * _HALF - _HALF
    return scaled(rotated_square(image, pixels, turn, start, beyond=_GREY), side / pixels)


def _judged(network: Network, image: np.ndarray, boxes: np.ndarray, side: int) -> list[np.ndarray]:
    """Outputs of a network for the square windows float32[n, 4], each float32[n, d]; n is not 0."""
    outputs = []
    for first in range(0, len(boxes), _AT_ONCE):
        views = [
            _view(image, complex(left + right, top + bottom) / 2, right - left, side=side)
            for left, top, right, bottom in boxes[first : first + _AT_ONCE].tolist()
        ]
        outputs.append([each[:, :, 0, 0] for each in network(np.stack(views))])
    return [np.concatenate(each) for each in zip(*outputs, strict=True)]


class Mtcnn:
    """MTCNN. Its boxes frame a face as YuNet's do: medians differ by 0.015 of the side.

    Args:
      min_score: lowest score of a detection that is kept.

    Raises:
      InputError: the package with the weights is absent or another.
    """

    name = "mtcnn"

    def __init__(self, *, min_score: float = MIN_SCORE):
        self._min_score = min_score
        self._proposing, self._refining, self._completing = read()

    def __call__(
        self, image: np.ndarray, *, fast: bool = False, closely: bool = True
    ) -> list[Detection]:
        """See Detector."""
        height, width = image.shape[:2]
        scale = min((VIDEO_SIDE if fast else _SIDE) / max(height, width), 1.0)
        searched = scaled(image, scale)
        if fast:
            found = list(self._found(searched, _SMALLEST_IN_FRAMES))
        else:
            found = list(self._found(searched, _SMALLEST))
            if not found:
                found = [one for degrees in _TILTS for one in self._tilted(searched, degrees)]
        faces = distinct([_resized(one, 1 / scale) for one in found], height, width)
        if fast or not closely:
            return faces
        return [self._straightened(image, one) for one in faces]

    def _found(self, image: np.ndarray, smallest: int) -> Iterator[Detection]:
        """Faces of an image, each perhaps several times.

        Args:
          image: uint8[h, w, 3].
          smallest: side of the smallest face, in pixels.
        """
        boxes = self._proposed(image, smallest)
        if not len(boxes):
            return
        moves, logits = _judged(self._refining, image, boxes, _REFINING)
        shares = _shares(logits)
        likely = shares > _REFINED
        boxes = _moved(boxes[likely], moves[likely])
        boxes = _square(boxes[_best(boxes, shares[likely], _SAME)])
        if not len(boxes):
            return
        moves, points, logits = _judged(self._completing, image, boxes, _COMPLETING)
        scores = _shares(_TEMPER * logits)
        # x of eyes, nose and corners of the mouth, then y, as shares of the window.
        eyes = points.reshape(-1, 2, 5).transpose(0, 2, 1)[:, :2]
        eyes = boxes[:, None, :2] + eyes * (boxes[:, None, 2:] - boxes[:, None, :2])
        moved = _moved(boxes, moves)
        for place in np.flatnonzero(scores >= self._min_score).tolist():
            left, top, right, bottom = moved[place].tolist()
            (xl, yl), (xr, yr) = eyes[place].tolist()
            box = left, top, right - left, bottom - top
            yield Detection(box, float(scores[place]), ((xl, yl), (xr, yr)))

    def _proposed(self, image: np.ndarray, smallest: int) -> np.ndarray:
        """Square windows, float32[n, 4], that may show a face, best first.

        Args:
          image: uint8[h, w, 3].
          smallest: see _found.
        """
        height, width = image.shape[:2]
        found, scores = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
        scale = _PROPOSING / smallest
        while round(min(height, width) * scale) >= _PROPOSING:
            level = scaled(image, scale)
            moves, logits = self._proposing(level[None])
            likely = _shares(logits)[0]
            rows, columns = np.nonzero(likely > _PROPOSED)
            # The network judges every second window.
            corners = 2 * np.stack([columns, rows], axis=1)
            boxes = np.concatenate([corners, corners + _PROPOSING], axis=1)
            boxes = _moved(boxes, moves[0, :, rows, columns])
            boxes *= np.tile([width / level.shape[1], height / level.shape[0]], 2)
            best = _best(boxes, likely[rows, columns], _SAME_AT_SCALE)
            found.append(boxes[best])
            scores.append(likely[rows, columns][best])
            scale *= _STEP
        boxes = np.concatenate(found)
        return _square(boxes[_best(boxes, np.concatenate(scores), _SAME)][:_MOST])

    def _tilted(self, image: np.ndarray, degrees: float) -> Iterator[Detection]:
        """Faces of heads tilted by about so many degrees clockwise, in upright boxes."""
        height, width = image.shape[:2]
        side, turn = math.ceil(math.hypot(height, width)), cmath.rect(1, math.radians(degrees))
        start = complex(width, height) / 2 - turn * side * _HALF
        upright = _view(
            image, complex(width, height) / 2, float(side), side=side, angle=math.radians(degrees)
        )

        def placed(x: float, y: float) -> Point:
            there = start + turn * complex(x, y)
            return there.real, there.imag

        for found in self._found(upright, _SMALLEST):
            x, y, w, h = found.box
            assert found.eyes is not None
            left, right = found.eyes
            across, down = placed(x + w / 2, y + h / 2)
            box = across - w / 2, down - h / 2, w, h
            yield Detection(box, found.score, (placed(*left), placed(*right)))

    def _straightened(self, image: np.ndarray, found: Detection) -> Detection:
        """The same face, its eyes located again in upright views."""
        x, y, w, h = found.box
        middle, extent = complex(x + w / 2, y + h / 2), max(w, h)
        angle, eyes = 0.0, found.eyes
        for view in range(_TURNS):
            assert eyes is not None
            seen = cmath.phase(complex(*eyes[1]) - complex(*eyes[0]))
            if view and abs(math.degrees(math.remainder(seen - angle, math.tau))) < _TILT:
                break
            angle = seen
            upright = _view(image, middle, extent, side=_COMPLETING, angle=angle)
            _, points, _ = self._completing(upright[None])
            turn, (across, down) = cmath.rect(extent, angle), points.reshape(2, 5)[:, :2].tolist()
            left, right = (
                middle + turn * (complex(px, py) - _HALF)
                for px, py in zip(across, down, strict=True)
            )
            eyes = (left.real, left.imag), (right.real, right.imag)
        return dataclasses.replace(found, eyes=eyes)


def _resized(found: Detection, scale: float) -> Detection:
    """The same face in a resized image."""
    x, y, w, h = (scale * extent for extent in found.box)
    assert found.eyes is not None
    (xl, yl), (xr, yr) = found.eyes
    eyes = (scale * xl, scale * yl), (scale * xr, scale * yr)
    return Detection((x, y, w, h), found.score, eyes)
