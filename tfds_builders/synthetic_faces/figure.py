"""Neck, shoulders and clothes."""

import numpy as np

from .canvas import Canvas, curve, ellipse, moved, ribbon, rotation
from .head import Head, towards
from .photograph import PIVOT

_INK = np.array([40.0, 34.0, 44.0])
_WHITE = np.array([255.0, 252.0, 246.0])


def draw_figure(canvas: Canvas, head: Head) -> None:
    """Draws the neck, and shoulders in one of five outfits."""
    looks = head.looks
    half = looks.neck * head.width
    base = 0.75 - 0.13 * looks.child
    spread = 0.80 - 0.20 * looks.child + 0.9 * (looks.neck - 0.58)
    _draw_neck(canvas, head, half, base)
    shoulders = _shoulders(half, base, spread)
    canvas.paint(shoulders, looks.clothes)
    clip = canvas.mask(shoulders)
    light = head.photo.light
    canvas.paint(
        shoulders - (0.10 * light[0], -0.08),
        towards(looks.clothes, _WHITE, 0.18),
        soft=0.05,
        alpha=0.6,
        clip=clip,
    )
    if looks.outfit == 4:
        stripes = [
            ribbon(np.array([(-1.3, y), (1.3, y)]), 0.06, start=1, end=1)
            for y in (base + 0.14, base + 0.28, base + 0.42)
        ]
        canvas.paint(stripes, looks.second, clip=clip)
    _draw_collar(canvas, head, half, base, clip)


def _shoulders(half: float, base: float, spread: float) -> np.ndarray:
    right = curve(
        [
            (0.95 * half, base - 0.05),
            (1.25 * half, base + 0.02),
            (0.72 * spread, base + 0.11),
            (spread, base + 0.24),
            (1.08 * spread, base + 0.55),
            (1.1 * spread, base + 0.9),
        ]
    )
    return np.concatenate([right, right[::-1] * (-1.0, 1.0)])


def _draw_neck(canvas: Canvas, head: Head, half: float, base: float) -> None:
    pivot = np.array(PIVOT)
    top = rotation(head.photo.roll) @ (moved(head.middle, 0.0, 0.45 * head.height) - pivot)
    x, y = top + pivot
    neck = np.array(
        [
            (x - 0.95 * half, y),
            (x + 0.95 * half, y),
            (half, base),
            (1.3 * half, base + 0.16),
            (-1.3 * half, base + 0.16),
            (-half, base),
        ]
    )
    canvas.paint(neck, head.shade)
    lit = neck * (0.85, 1.0) + 0.05 * head.photo.light
    canvas.paint(lit, head.looks.skin, soft=0.03, clip=canvas.mask(neck))
    chin = ellipse(x, base - 0.18 + 0.05 * head.looks.child, 1.2 * half, 0.12)
    canvas.paint(chin, head.deep, alpha=0.45, soft=0.03, clip=canvas.mask(neck))
    old = head.looks.folds
    if old > 0.35:
        cords = [
            curve([(s * 0.3 * half, base - 0.12), (s * 0.22 * half, base + 0.04)])
            for s in (-1.0, 1.0)
        ]
        canvas.paint([ribbon(cord, 0.02) for cord in cords], head.deep, alpha=0.5 * old)


def _draw_collar(canvas: Canvas, head: Head, half: float, base: float, clip: np.ndarray) -> None:
    looks = head.looks
    dark = towards(looks.clothes, _INK, 0.28)
    if looks.outfit == 1:  # V-neck
        notch = np.array(
            [(-1.05 * half, base - 0.06), (1.05 * half, base - 0.06), (0.0, base + 0.24)]
        )
        canvas.paint(notch, head.looks.skin, clip=clip)
        edges = [np.array([notch[0], notch[2]]), np.array([notch[1], notch[2]])]
        canvas.paint([ribbon(edge, 0.035, start=1, end=1) for edge in edges], dark)
    elif looks.outfit == 2:  # shirt collar
        for side in (-1.0, 1.0):
            wing = np.array(
                [
                    (0.0, base + 0.12),
                    (side * 0.95 * half, base - 0.09),
                    (side * 1.35 * half, base + 0.03),
                    (side * 0.75 * half, base + 0.20),
                ]
            )
            canvas.paint(wing, towards(looks.clothes, _WHITE, 0.35))
            canvas.paint(ribbon(wing[[2, 3, 0]], 0.014, start=1, end=1), dark)
    elif looks.outfit == 3:  # roll neck
        roll = curve(
            [
                (-1.02 * half, base - 0.10),
                (0.0, base - 0.04),
                (1.02 * half, base - 0.10),
                (1.12 * half, base + 0.06),
                (0.0, base + 0.12),
                (-1.12 * half, base + 0.06),
            ],
            closed=True,
        )
        canvas.paint(roll, towards(looks.clothes, _WHITE, 0.12))
        fold = curve([(-1.05 * half, base), (0.0, base + 0.06), (1.05 * half, base)])
        canvas.paint(ribbon(fold, 0.02), dark, alpha=0.7)
    else:  # round neck
        neckline = curve(
            [
                (-1.1 * half, base - 0.06),
                (-0.7 * half, base + 0.07),
                (0.0, base + 0.12),
                (0.7 * half, base + 0.07),
                (1.1 * half, base - 0.06),
            ]
        )
        canvas.paint(neckline, head.looks.skin, clip=clip)
        canvas.paint(ribbon(neckline, 0.04, start=1, end=1), dark)
