"""The head as a rounded body: outline, surface when turned, skin and wrinkles.

Head coordinates: origin at the centre of the head, x to the right, y downwards, in the picture's unit;
the head extends `width` and `height` in each direction.
"""

import functools

import numpy as np

from .canvas import Canvas, Colour, curve, ellipse, moved, ribbon
from .looks import Looks
from .photograph import Photograph

_WHITE = np.array([255.0, 250.0, 240.0])
_SHADOW = np.array([96.0, 40.0, 62.0])  # shadows on skin are warm, never grey
_BLUSH = np.array([222.0, 84.0, 78.0])


def towards(colour: Colour, other: Colour, share: float) -> Colour:
    """Mixture of two colours, with `share` of the other."""
    return colour + (other - colour) * share


class Head:
    """Geometry and colours of a head in a photograph."""

    def __init__(self, looks: Looks, photo: Photograph):
        self.looks = looks
        self.photo = photo
        self.width = (0.435 + 0.055 * looks.child) * looks.face_width
        self.height = (0.575 - 0.055 * looks.child) * looks.face_height
        self.middle = np.array([0.0, -0.02 + 0.06 * looks.child])
        # Children have features low on the face, below a large forehead.
        self.eye_level = (0.02 + 0.25 * looks.child) * self.height
        self.eye_distance = 0.43 * self.width * looks.eye_gap
        self.eye_width = 0.205 * self.width * looks.eyes
        self.nose_level = (0.37 + 0.16 * looks.child) * self.height
        self.mouth_level = (0.625 + 0.095 * looks.child) * self.height
        self.shade = towards(looks.skin, _SHADOW, 0.26)
        self.deep = towards(looks.skin, _SHADOW, 0.52)
        self.bright = towards(looks.skin, _WHITE, 0.30)
        self._turn = np.array([np.sin(photo.yaw), np.sin(photo.pitch)]) * 0.80 * self.width

    def surface(self, points: np.ndarray, *, lift: float = 0.0) -> np.ndarray:
        """Positions of a frontal face's points after the head is turned, float[n, 2].

        Args:
          points: float[n, 2] in head coordinates, seen from the front.
          lift: distance from the surface, as a share of the head's depth.
        """
        rest = 1.0 - ((points / (self.width, self.height)) ** 2).sum(axis=1)
        depth = np.sqrt(np.maximum(rest, 0.0)) + lift
        return points + depth[:, None] * self._turn

    def rim(self, angles: np.ndarray, grow: float | np.ndarray = 0.0) -> np.ndarray:
        """Points of the outline, float[n, 2].

        Args:
          angles: float[n], radians; 0 is the picture's right, pi / 2 the crown, -pi / 2 the chin.
          grow: distance outside the skin, for hair.
        """
        cos, sin = np.cos(angles), np.sin(angles)
        below = sin < 0.0
        round_, square = 2.0 + 0.25 * self.looks.cheeks, 2.0 + 1.3 * self.looks.jaw
        power = np.where(below, 2.0 / max(round_, square), 2.0 / 2.25)
        x = np.sign(cos) * np.abs(cos) ** power
        y = -np.sign(sin) * np.abs(sin) ** power
        taper = 0.30 - 0.16 * self.looks.jaw - 0.16 * self.looks.cheeks
        x *= 1.0 - taper * np.maximum(y, 0.0) ** 1.5
        return np.stack([x * (self.width + grow), y * (self.height + grow)], axis=1)

    @functools.cached_property
    def outline(self) -> np.ndarray:
        """The outline as a polygon, float[72, 2]."""
        return self.rim(np.linspace(0.0, 2.0 * np.pi, 72, endpoint=False))


def draw_ears(canvas: Canvas, head: Head) -> None:
    """Draws ears, which grow with age; the ear that the face turns away from shows more."""
    looks = head.looks
    size = (0.105 + 0.025 * looks.old - 0.01 * looks.child) * (1.0 + 0.1 * looks.jaw)
    level = 0.5 * (head.eye_level + head.nose_level)
    turn = -np.sin(head.photo.yaw) * 0.28 * head.width
    for side in (-1.0, 1.0):
        x = side * (head.width * 0.97) + turn
        canvas.paint(ellipse(x, level, 0.62 * size, size, turn=side * 0.15), looks.skin)
        inner = ellipse(x + side * 0.012, level, 0.36 * size, 0.66 * size, turn=side * 0.15)
        canvas.paint(inner, head.shade, alpha=0.8)
        if looks.earrings:
            canvas.paint(ellipse(x, level + size * 1.12, 0.030), looks.second)
            canvas.paint(ellipse(x - 0.008, level + size * 1.10, 0.010), _WHITE, alpha=0.8)


def draw_skin(canvas: Canvas, head: Head) -> np.ndarray:
    """Draws the face without features: skin, light from one side, cheeks.

    Returns:
      Mask of the face, for clipping.
    """
    looks, light = head.looks, head.photo.light
    clip = canvas.mask(head.outline)
    canvas.paint(head.outline, head.shade)
    offset = light * 0.10 + (0.0, -0.02)
    canvas.paint(head.outline * (0.99, 0.98) + offset, looks.skin, soft=0.035, clip=clip)
    forehead = ellipse(0.0, -0.35 * head.height, 0.5 * head.width, 0.3 * head.height)
    glow = [head.surface(forehead) + 0.15 * light]
    for side in (-1.0, 1.0):
        cheek = ellipse(side * 0.5 * head.width, head.nose_level - 0.05, 0.16 * head.width)
        glow.append(head.surface(cheek) + 0.05 * light)
    canvas.paint(glow, head.bright, alpha=0.45, soft=0.05, clip=clip)
    _draw_cheeks(canvas, head, clip)
    _draw_marks(canvas, head, clip)
    return clip


def _draw_cheeks(canvas: Canvas, head: Head, clip: np.ndarray) -> None:
    looks = head.looks
    size = (0.24 + 0.09 * looks.child) * head.width
    level = head.nose_level + 0.03
    spots = [
        head.surface(ellipse(side * 0.60 * head.width, level, size, 0.75 * size))
        for side in (-1.0, 1.0)
    ]
    strength = 0.16 + 0.20 * looks.child + 0.14 * looks.makeup - 0.08 * looks.old
    canvas.paint(spots, towards(looks.skin, _BLUSH, 0.65), alpha=strength, soft=0.04, clip=clip)


def _draw_marks(canvas: Canvas, head: Head, clip: np.ndarray) -> None:
    """Draws freckles across the nose, and pimples or age spots anywhere."""
    looks, details = head.looks, head.looks.details
    dots = []
    for k in range(looks.freckles):
        x = (details[k] - 0.5) * 1.3 * head.width
        y = head.nose_level - (0.02 + 0.20 * details[k + 20]) * head.height
        dots.append(head.surface(ellipse(x, y, 0.011)))
    canvas.paint(dots, head.deep, alpha=0.5)
    spots = []
    for k in range(looks.spots):
        x = (details[k + 40] - 0.5) * 1.5 * head.width
        y = (1.3 * details[k + 50] - 0.55) * head.height
        spots.append(head.surface(ellipse(x, y, 0.012 + 0.012 * details[k + 45])))
    colour = towards(looks.skin, _BLUSH, 0.6) if looks.child > 0.0 else head.deep
    canvas.paint(spots, colour, alpha=0.55, clip=clip)


def draw_wrinkles(canvas: Canvas, head: Head, clip: np.ndarray) -> None:
    """Draws forehead lines, crow's feet, folds from nose to mouth, bags, and lines beside the mouth."""
    looks = head.looks
    _draw_lines(canvas, head, _forehead_lines(head), looks.forehead, clip)
    _draw_lines(canvas, head, _crows_feet(head), looks.crow, clip)
    smile = max(head.photo.smile, 0.0)
    _draw_lines(canvas, head, _folds(head, smile), min(looks.folds + 0.15 * smile, 1.0), clip)
    _draw_lines(canvas, head, _bags(head), looks.bags, clip)


def _draw_lines(
    canvas: Canvas, head: Head, paths: list[np.ndarray], depth: float, clip: np.ndarray
) -> None:
    """Draws dark lines with a faint light edge below, which makes them look like folds."""
    if depth < 0.06:
        return
    width = 0.016 + 0.016 * depth
    lines = [ribbon(head.surface(path), width) for path in paths]
    canvas.paint(
        [moved(line, 0.0, width) for line in lines], head.bright, alpha=0.4 * depth, clip=clip
    )
    canvas.paint(lines, head.deep, alpha=min(0.25 + 0.65 * depth, 0.9), clip=clip)


def _forehead_lines(head: Head) -> list[np.ndarray]:
    looks = head.looks
    count = 1 + round(2.3 * looks.forehead)
    paths = []
    for k in range(count):
        y = head.eye_level - (0.34 + 0.115 * k) * head.height
        reach = (0.50 - 0.07 * k) * head.width * (0.5 + 0.5 * looks.forehead)
        sway = 0.02 * (looks.details[k] - 0.5)
        wave = [(-reach, y + 0.02), (-0.4 * reach, y - 0.008), (0, y + sway), (reach, y + 0.015)]
        paths.append(curve(wave))
    return paths


def _crows_feet(head: Head) -> list[np.ndarray]:
    paths = []
    length = (0.07 + 0.09 * head.looks.crow) * head.width / 0.45
    for side in (-1.0, 1.0):
        x = side * (head.eye_distance + 1.12 * head.eye_width)
        for slope in (-0.5, 0.05, 0.6)[: 1 + round(2.0 * head.looks.crow)]:
            y = head.eye_level + 0.04 * slope
            end = (x + side * length, y + slope * length)
            paths.append(curve([(x, y), (x + side * 0.5 * length, y + 0.35 * slope * length), end]))
    return paths


def _folds(head: Head, smile: float) -> list[np.ndarray]:
    looks = head.looks
    paths = []
    drop = head.mouth_level - head.nose_level
    for side in (-1.0, 1.0):
        x = side * 0.22 * head.width
        wide = side * (0.40 + 0.08 * smile) * head.width
        end = head.nose_level + drop * (0.45 + 0.6 * looks.folds)
        middle = (0.55 * x + 0.45 * wide, head.nose_level + 0.25 * drop)
        paths.append(curve([(x, head.nose_level - 0.03), middle, (wide, end)]))
        if looks.folds > 0.5:
            low = head.mouth_level + 0.05
            paths.append(curve([(wide * 0.92, low), (wide, low + 0.05), (wide * 0.95, low + 0.10)]))
    return paths


def _bags(head: Head) -> list[np.ndarray]:
    paths = []
    y = head.eye_level + 0.75 * head.eye_width
    sag = 0.035 + 0.035 * head.looks.bags
    for side in (-1.0, 1.0):
        x, half = side * head.eye_distance, 0.85 * head.eye_width
        paths.append(curve([(x - half, y), (x, y + sag), (x + half, y - 0.005)]))
    return paths
