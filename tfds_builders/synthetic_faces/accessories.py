"""Bows, headbands and beanies."""

import math

import numpy as np

from .canvas import Canvas, Colour, curve, ellipse, moved, ribbon
from .hair import INK, WHITE, crown_edge, hairline
from .head import Head, towards


def draw_accessory(canvas: Canvas, head: Head) -> None:
    """Draws a bow, a headband or a beanie, in the colour of clothes."""
    looks = head.looks
    colour = looks.second
    if looks.accessory == "bow":
        x, y = looks.side * 0.45 * head.width, -0.88 * head.height
        for side in (-1.0, 1.0):
            wing = curve(
                [(x, y), (x + side * 0.15, y - 0.10), (x + side * 0.16, y + 0.09)], closed=True
            )
            canvas.paint(wing, colour)
            canvas.paint(
                ellipse(x + side * 0.07, y, 0.05, 0.02), towards(colour, INK, 0.3), alpha=0.6
            )
        canvas.paint(ellipse(x, y, 0.042), towards(colour, INK, 0.18))
    elif looks.accessory == "headband":
        crown, line = crown_edge(head), hairline(head)
        band = crown[3:-3] * 0.55 + line[3:-3] * 0.45
        canvas.paint(ribbon(band, 0.075, start=1.0, end=1.0), colour)
        canvas.paint(ribbon(band - (0.0, 0.015), 0.016), towards(colour, WHITE, 0.5), alpha=0.6)
    elif looks.accessory == "beanie":
        _draw_beanie(canvas, head, colour)


def _draw_beanie(canvas: Canvas, head: Head, colour: Colour) -> None:
    dome = head.rim(np.linspace(0.35, math.pi - 0.35, 30), 0.10)
    brim = curve(
        np.array([(-1.02, -0.42), (-0.6, -0.50), (0.0, -0.53), (0.6, -0.50), (1.02, -0.42)])
        * (head.width + 0.05, head.height)
    )
    canvas.paint(np.concatenate([dome, brim]), colour)
    canvas.paint(ribbon(brim, 0.17, start=1.0, end=1.0), towards(colour, WHITE, 0.28))
    ribs = [
        ribbon(np.array([moved(point, 0.0, -0.07), moved(point, 0.0, 0.07)]), 0.012, start=1, end=1)
        for point in brim[2:-1:3]
    ]
    canvas.paint(ribs, towards(colour, INK, 0.25), alpha=0.6)
    canvas.paint(ellipse(0.0, -1.0 * head.height - 0.13, 0.085), towards(colour, WHITE, 0.45))
