"""A supersampled canvas: smooth curves, tapered strokes and soft shapes in unit coordinates.

Coordinates run from -1 (left, top) to 1 (right, bottom), y downwards. Everything is drawn
`SUPERSAMPLING` times as large as the result, then averaged.
"""

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

SUPERSAMPLING = 3
# OpenCV takes fixed-point coordinates, here with four fractional bits.
_SHIFT = 4
_ONE = 1 << _SHIFT
# Above this blur, in pixels, a mask is drawn at a quarter of the size, with no visible difference.
_COARSE_BLUR = 4.0

Colour = np.ndarray  # float[3], RGB, 0 to 255.
Shapes = np.ndarray | Sequence[np.ndarray]


@functools.lru_cache(maxsize=256)
def _catmull_rom(knots: int, steps: int, closed: bool) -> np.ndarray:
    """Matrix from `knots` control points to points on the curve through them."""
    segments = knots if closed else knots - 1
    t = np.arange(steps) / steps
    powers = np.stack([np.ones_like(t), t, t**2, t**3], axis=1)
    basis = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
    weights = powers @ basis  # [steps, 4]
    rows = np.zeros((segments * steps + (not closed), knots))
    for segment in range(segments):
        for tap in range(4):
            knot = segment + tap - 1
            knot = knot % knots if closed else min(max(knot, 0), knots - 1)
            rows[segment * steps : (segment + 1) * steps, knot] += weights[:, tap]
    if not closed:
        rows[-1, -1] = 1.0
    return rows


def curve(points: Sequence[Sequence[float]] | np.ndarray, *, closed: bool = False) -> np.ndarray:
    """A smooth curve through control points, float[n, 2] in and out (six times as many)."""
    knots = np.asarray(points, np.float64)
    return _catmull_rom(len(knots), 6, closed) @ knots


def moved(points: np.ndarray, x: float, y: float) -> np.ndarray:
    """Points shifted by (x, y), float[n, 2]."""
    return points + np.array([x, y])


@functools.lru_cache(maxsize=8)
def _circle(count: int) -> np.ndarray:
    angles = np.linspace(0.0, 2.0 * math.pi, count, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def ellipse(
    x: float, y: float, width: float, height: float | None = None, *, turn: float = 0.0
) -> np.ndarray:
    """An ellipse as float[28, 2]; `width` and `height` are half-axes, `turn` is in radians."""
    ring = _circle(28) * (width, width if height is None else height)
    if turn:
        ring = ring @ rotation(turn).T
    return moved(ring, x, y)


def rotation(angle: float) -> np.ndarray:
    """Rotation matrix, 2x2; as y points down, a positive angle is clockwise."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


@functools.lru_cache(maxsize=256)
def _taper(count: int, start: float, end: float) -> np.ndarray:
    """Relative widths along a stroke."""
    t = np.linspace(0.0, 1.0, count)
    return np.minimum(np.sin(math.pi * t) ** 0.7 + start * (1.0 - t) ** 2 + end * t**2, 1.0)


def ribbon(path: np.ndarray, width: float, *, start: float = 0.15, end: float = 0.15) -> np.ndarray:
    """A stroke as a polygon: full `width` in the middle, tapering towards both ends.

    Args:
      path: float[n, 2], the middle of the stroke.
      width: in unit coordinates.
      start: share of the width left at the first point.
      end: share of the width left at the last point.
    """
    along = np.empty_like(path)
    along[1:-1] = path[2:] - path[:-2]
    along[0], along[-1] = path[1] - path[0], path[-1] - path[-2]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    half = along[:, ::-1] * (-0.5 * width, 0.5 * width)
    half *= (_taper(len(path), start, end) / length)[:, None]
    return np.concatenate([path + half, (path - half)[::-1]])


class Canvas:
    """RGB pixels to draw on, and the coordinate frame of the next shapes.

    Attributes:
      size: side of the finished picture.
      pixels: uint8[SUPERSAMPLING * size, SUPERSAMPLING * size, 3].
    """

    def __init__(self, background: np.ndarray):
        """Starts from a background, uint8[size, size, 3]."""
        self.size = len(background)
        self._side = self.size * SUPERSAMPLING
        self.pixels = cv2.resize(background, (self._side, self._side))
        self.frame = np.eye(2, 3)

    @property
    def frame(self) -> np.ndarray:
        """Affine map from the shapes' coordinates to unit coordinates, float[2, 3]."""
        return self._frame

    @frame.setter
    def frame(self, frame: np.ndarray) -> None:
        # Computed once per frame: the map to OpenCV's fixed-point pixels.
        self._frame = frame
        unit, middle = self._side / 2.0 * _ONE, (self._side / 2.0 - 0.5) * _ONE
        self._turn, self._origin = frame[:, :2].T * unit, frame[:, 2] * unit + middle

    def mask(self, shapes: Shapes) -> np.ndarray:
        """Area covered by shapes, uint8[side, side], for clipping other shapes."""
        mask = np.zeros((self._side, self._side), np.uint8)
        for shape in _as_list(shapes):
            cv2.fillPoly(mask, [self._fixed(shape)], 255, cv2.LINE_AA, _SHIFT)
        return mask

    def paint(
        self,
        shapes: Shapes,
        colour: Colour,
        *,
        alpha: float = 1.0,
        soft: float = 0.0,
        clip: np.ndarray | None = None,
    ) -> None:
        """Fills shapes with a colour; overlaps of shapes in a call are not darker.

        Args:
          shapes: one polygon float[n, 2] or several, in the current frame.
          colour: RGB.
          alpha: opacity.
          soft: std of the edge's blur, in unit coordinates.
          clip: mask from `mask`; nothing is painted outside it.
        """
        polygons = [self._fixed(shape) for shape in _as_list(shapes)]
        if not polygons:
            return
        if alpha >= 1.0 and soft == 0.0 and clip is None:
            rgb = tuple(float(channel) for channel in colour)
            for polygon in polygons:
                cv2.fillPoly(self.pixels, [polygon], rgb, cv2.LINE_AA, _SHIFT)
            return
        blur = soft * self._side / 2.0
        area = self._area(polygons, margin=2 + math.ceil(2.5 * blur))
        if area is None:
            return
        rows, columns = area
        mask = _draw_mask(polygons, rows, columns, blur)
        if clip is not None:
            mask = cv2.multiply(mask, clip[rows, columns], scale=1.0 / 255.0)
        self._blend(rows, columns, mask, colour, alpha)

    def finish(self) -> np.ndarray:
        """The picture at its final size, uint8[size, size, 3]."""
        return cv2.resize(self.pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)

    def _blend(
        self, rows: slice, columns: slice, mask: np.ndarray, colour: Colour, alpha: float
    ) -> None:
        below = self.pixels[rows, columns]
        flat = np.empty_like(below)
        flat[:] = np.clip(colour, 0.0, 255.0)
        weight = mask.astype(np.float32) * (alpha / 255.0)
        self.pixels[rows, columns] = cv2.blendLinear(flat, below, weight, 1.0 - weight)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        """Frame coordinates to OpenCV's fixed-point pixels, int32[n, 2]."""
        return np.rint(points @ self._turn + self._origin).astype(np.int32)

    def _area(self, polygons: list[np.ndarray], *, margin: int) -> tuple[slice, slice] | None:
        """Rows and columns of the polygons with a margin; None if they are outside the picture."""
        x, y, width, height = cv2.boundingRect(
            polygons[0] if len(polygons) == 1 else np.concatenate(polygons)
        )
        left, right = max((x >> _SHIFT) - margin, 0), ((x + width) >> _SHIFT) + margin + 1
        top, bottom = max((y >> _SHIFT) - margin, 0), ((y + height) >> _SHIFT) + margin + 1
        right, bottom = min(right, self._side), min(bottom, self._side)
        if left >= right or top >= bottom:
            return None
        return slice(top, bottom), slice(left, right)


def _as_list(shapes: Shapes) -> Sequence[np.ndarray]:
    return [shapes] if isinstance(shapes, np.ndarray) else shapes


def _draw_mask(polygons: list[np.ndarray], rows: slice, columns: slice, blur: float) -> np.ndarray:
    """Blurred coverage of an area by polygons, uint8[rows, columns]."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    shrink = 2 if blur > _COARSE_BLUR else 0  # as a power of two
    small = (-(-height // (1 << shrink)), -(-width // (1 << shrink)))
    mask = np.zeros(small, np.uint8)
    origin = np.array([columns.start, rows.start]) << _SHIFT
    for polygon in polygons:
        cv2.fillPoly(mask, [(polygon - origin) >> shrink], 255, cv2.LINE_AA, _SHIFT)
    if blur > 0.3:
        mask = cv2.GaussianBlur(mask, (0, 0), blur / (1 << shrink))
    return cv2.resize(mask, (width, height)) if shrink else mask
