"""Facial hair."""

import math

import numpy as np

from .canvas import Canvas, curve, ellipse
from .hair import GREY, INK
from .head import Head, towards


def draw_beard(canvas: Canvas, head: Head) -> None:
    """Draws stubble, a moustache, a goatee or a full beard; it turns grey a little before the hair."""
    looks = head.looks
    if not looks.beard:
        return
    colour = towards(towards(looks.hair, INK, 0.15), GREY, 0.9 * min(1.3 * looks.grey, 1.0))
    clip = canvas.mask(head.outline * 1.05)
    if looks.beard in ("stubble", "full"):
        mask = _jaw_area(head)
        alpha = 0.36 if looks.beard == "stubble" else 0.95
        canvas.paint(mask, colour, alpha=alpha, soft=0.02 if looks.beard == "stubble" else 0.008)
    elif looks.beard == "goatee":
        low = 0.96 * head.height
        chin = head.surface(
            ellipse(
                0.0,
                0.5 * (head.mouth_level + low) + 0.03,
                0.27 * head.width,
                0.5 * (low - head.mouth_level) + 0.03,
            )
        )
        canvas.paint(chin, colour, alpha=0.92, soft=0.008, clip=clip)
    if looks.beard != "stubble":
        canvas.paint(_moustache(head), colour, alpha=0.95)


def _jaw_area(head: Head) -> np.ndarray:
    angles = np.linspace(-math.pi + 0.02, -0.02, 40)
    outer = head.rim(angles, 0.022 if head.looks.beard == "full" else 0.0)
    nose = head.nose_level / head.height
    inner = [(0.93, 0.02), (0.80, 0.26), (0.60, 0.48), (0.30, nose + 0.10), (0.0, nose + 0.09)]
    right = curve(np.array(inner) * (head.width, head.height))
    return np.concatenate([outer, head.surface(np.concatenate([right, right[::-1] * (-1.0, 1.0)]))])


def _moustache(head: Head) -> np.ndarray:
    nose, mouth = head.nose_level + 0.035, head.mouth_level
    reach = 0.30 * head.width
    side = [
        (0.0, nose + 0.01),
        (0.5 * reach, nose + 0.02),
        (reach, mouth - 0.005),
        (1.12 * reach, mouth + 0.05),
        (0.8 * reach, mouth + 0.005),
        (0.0, mouth - 0.022),
    ]
    right = curve(side)
    return head.surface(np.concatenate([right, right[::-1] * (-1.0, 1.0)]), lift=0.05)
