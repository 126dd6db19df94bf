"""Hair behind the head and on it."""

import math

import numpy as np

from .canvas import Canvas, Colour, curve, ellipse, moved, ribbon
from .head import Head, towards

GREY = np.array([212.0, 210.0, 212.0])
INK = np.array([30.0, 22.0, 30.0])
WHITE = np.array([255.0, 252.0, 246.0])
_LONG = ("bob", "long")


def hair_colour(head: Head) -> Colour:
    """Colour of the hair with its share of grey; babies' hair is lighter."""
    colour = towards(head.looks.hair, GREY, 0.88 * head.looks.grey)
    return towards(colour, head.looks.skin, 0.25 if head.looks.haircut == "wisps" else 0.0)


def _is_bald(head: Head) -> bool:
    return head.looks.recede > 0.72


def _bumps(head: Head, angles: np.ndarray, count: float, depth: float) -> np.ndarray:
    """Growth of curls along an outline, in scallops rather than waves."""
    phase = 6.0 * head.looks.details[62]
    return depth * (np.abs(np.sin(angles * count + phase)) - 0.35)


def draw_back_hair(canvas: Canvas, head: Head) -> None:
    """Draws the parts of long hair, curls, buns and tails behind the face."""
    looks = head.looks
    colour = towards(hair_colour(head), INK, 0.22)
    grow = 0.085 * looks.volume
    if looks.haircut in _LONG:
        angles = np.linspace(-0.25, math.pi + 0.25, 40)
        crown = head.rim(angles, grow)
        low = _length(head)
        wide = head.width + grow * (1.3 if looks.haircut == "bob" else 1.0)
        hem = curve(
            [
                (-wide, 0.2 * low),
                (-wide * 1.04, 0.7 * low),
                (-0.8 * wide, low),
                (0.8 * wide, low),
                (wide * 1.04, 0.7 * low),
                (wide, 0.2 * low),
            ]
        )
        canvas.paint(np.concatenate([crown, hem]), colour)
    elif looks.haircut == "curls" and not _is_bald(head):
        angles = np.linspace(-0.55, math.pi + 0.55, 120)
        grow = 0.13 * looks.volume + _bumps(head, angles, 7.0, 0.06)
        canvas.paint(head.rim(angles, grow), colour)
    elif looks.haircut == "bun":
        x = 0.2 * head.width * (looks.details[59] - 0.5)
        knot = ellipse(x, -1.12 * head.height, 0.20 * looks.volume, 0.17 * looks.volume)
        canvas.paint(knot, colour)
        swirl = curve(
            [
                (x - 0.12, -1.08 * head.height),
                (x, -1.2 * head.height),
                (x + 0.11, -1.12 * head.height),
            ]
        )
        canvas.paint(ribbon(swirl, 0.03), towards(colour, WHITE, 0.25), alpha=0.6)
    elif looks.haircut == "tails":
        _draw_tails(canvas, head, colour)


def _draw_tails(canvas: Canvas, head: Head, colour: Colour) -> None:
    """Draws two tails at the sides, each held by a band."""
    looks = head.looks
    for side in (-1.0, 1.0):
        x, y = side * (head.width * 0.98), -0.25 * head.height
        tail = curve(
            [
                (x, y - 0.06),
                (x + side * 0.17, y - 0.04),
                (x + side * 0.23, y + 0.25),
                (x + side * 0.12, y + 0.52),
                (x + side * 0.06, y + 0.25),
                (x, y + 0.06),
            ],
            closed=True,
        )
        canvas.paint(tail, colour)
        strand = curve(
            [(x + side * 0.06, y), (x + side * 0.15, y + 0.12), (x + side * 0.13, y + 0.4)]
        )
        canvas.paint(ribbon(strand, 0.03), towards(colour, WHITE, 0.25), alpha=0.5)
        canvas.paint(ellipse(x + side * 0.035, y, 0.045, 0.065), looks.second)


def _length(head: Head) -> float:
    """Lower end of long hair, in head coordinates."""
    if head.looks.haircut == "bob":
        return head.height * (0.72 + 0.30 * head.looks.details[58])
    return head.height * (1.25 + 0.5 * head.looks.details[58])


def hairline(head: Head) -> np.ndarray:
    """Edge between forehead and hair, from the picture's right to its left, float[37, 2]."""
    looks = head.looks
    back = looks.recede
    top = -0.62 + 0.05 * looks.child - 0.16 * back
    temple = -0.50 - 0.36 * back
    ear = -0.02
    if looks.haircut in ("fringe", "bob") and back < 0.4:
        low = -0.34 + 0.22 * looks.child
        points = [
            (0.95, ear),
            (0.86, -0.22),
            (0.66, low - 0.06),
            (0.0, low),
            (-0.66, low - 0.06),
            (-0.86, -0.22),
            (-0.95, ear),
        ]
    elif looks.haircut in ("parted", "long"):
        points = [
            (0.95, ear),
            (0.88, -0.30),
            (0.72, temple),
            (0.36, top - 0.14),
            (-0.25, top + 0.10 - 0.1 * back),
            (-0.82, temple + 0.2),
            (-0.95, ear),
        ]
    elif looks.haircut == "wisps":
        points = [
            (0.85, -0.45),
            (0.68, -0.62),
            (0.4, -0.70),
            (0.0, -0.72),
            (-0.4, -0.70),
            (-0.68, -0.62),
            (-0.85, -0.45),
        ]
    else:
        peak = top + 0.10 * back
        points = [
            (0.95, ear),
            (0.87, -0.30),
            (0.70, temple),
            (0.38, top - 0.08 * back),
            (0.0, peak),
            (-0.38, top - 0.08 * back),
            (-0.70, temple),
            (-0.87, -0.30),
            (-0.95, ear),
        ]
    knots = np.array(points) * (head.width, head.height)
    if looks.side < 0:
        knots = knots[::-1] * (-1.0, 1.0)
    line = curve(knots)
    spread = np.linspace(0, len(line) - 1, 37).round().astype(int)
    return head.surface(line[spread])


def crown_edge(head: Head) -> np.ndarray:
    """Outer edge of the hair, from the picture's right to its left, float[37, 2]."""
    looks = head.looks
    start = 0.35 if looks.haircut == "wisps" else -0.02
    angles = np.linspace(start, math.pi - start, 37)
    lift = np.sin(np.clip(angles, 0.0, math.pi))
    grow = {"buzz": 0.018, "wisps": 0.022, "swept": 0.075, "curls": 0.10}.get(looks.haircut, 0.065)
    grow = grow * looks.volume * (0.45 + 0.55 * lift) + 0.006
    if looks.haircut == "curls":
        grow = grow + _bumps(head, angles, 7.0, 0.06)
    elif looks.haircut == "swept":
        toss = 0.05 * looks.volume * (0.5 + 0.5 * np.cos(2.0 * (angles - math.pi / 2)))
        quiff = 0.02 * looks.curly * np.sin(9.0 * angles + 6.0 * looks.details[57])
        grow = grow + lift * (toss + quiff)
    return head.rim(angles, grow)


def draw_front_hair(canvas: Canvas, head: Head) -> None:
    """Draws the hair on top and at the sides of the face, with strands and a shine."""
    looks = head.looks
    colour = hair_colour(head)
    if _is_bald(head) and looks.haircut not in _LONG:
        _draw_fringe_of_the_bald(canvas, head, colour)
        return
    if looks.haircut in _LONG:
        _draw_curtains(canvas, head, colour)
    crown, line = crown_edge(head), hairline(head)
    cap = np.concatenate([crown, line[::-1]])
    thin = looks.haircut == "wisps"
    buzz = looks.haircut == "buzz"
    shadow = moved(cap, 0.0, 0.022)
    if not thin:
        canvas.paint(shadow, head.deep, alpha=0.35, soft=0.012, clip=canvas.mask(head.outline))
    if thin or buzz:
        canvas.paint(cap, colour, alpha=0.55 if thin else 0.86, soft=0.02 if thin else 0.008)
    else:
        canvas.paint(cap, colour)
    if not buzz:
        _draw_strands(canvas, head, crown, line, canvas.mask(cap))
    if thin and looks.details[56] < 0.5:  # a lock that stands up
        lock = curve(
            [(0.0, -head.height), (0.03, -head.height - 0.10), (-0.05, -head.height - 0.12)]
        )
        canvas.paint(ribbon(lock, 0.035, start=1.0), colour)


def _draw_strands(
    canvas: Canvas, head: Head, crown: np.ndarray, line: np.ndarray, clip: np.ndarray
) -> None:
    """Draws a shine, and strands from crown to hairline, or along it if combed to a side."""
    looks = head.looks
    colour = hair_colour(head)
    light, dark = towards(colour, WHITE, 0.30), towards(colour, INK, 0.45)
    groups: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for k in range(8):
        t = 0.12 + 0.10 * k + 0.06 * looks.details[k]
        if looks.haircut in ("swept", "parted", "long", "wisps"):
            part = crown[10:-10] * (1 - t) + line[10:-10] * t
            path = part[: 6 + 2 * k] if looks.side > 0 else part[-6 - 2 * k :]
        else:
            at = int(2 + t * 33) % 36
            path = np.linspace(crown[at], line[at], 6)
            path[:, 0] += 0.03 * looks.curly * np.sin(np.arange(6) * 2.0 + k)
        groups[k % 2].append(ribbon(path, 0.020))
    canvas.paint(groups[0], dark, alpha=0.36, clip=clip)
    # Strands turn grey before the rest does.
    early = looks.grey * (1.0 - looks.grey)
    canvas.paint(groups[1], towards(light, GREY, looks.grey), alpha=0.26 + early, clip=clip)
    shine = crown[9:28] * 0.68 + line[9:28] * 0.32
    canvas.paint(
        ribbon(shine, 0.06), towards(colour, WHITE, 0.45), alpha=0.35, soft=0.02, clip=clip
    )


def _draw_curtains(canvas: Canvas, head: Head, colour: Colour) -> None:
    """Draws long hair beside the face, over the ears."""
    looks = head.looks
    low, grow = _length(head), 0.07 * looks.volume
    wave = 0.05 * looks.curly
    w, h = head.width, head.height
    for side in (-1.0, 1.0):
        outer = [
            (0.50 * w, -0.90 * h - grow),
            (0.90 * w + grow, -0.52 * h),
            (w + grow, 0.0),
            (w + grow + wave, 0.45 * low),
            (w + grow - wave, 0.75 * low),
            (w + 0.4 * grow, low),
        ]
        inner = [
            (0.92 * w, 0.95 * low),
            (0.86 * w + wave, 0.6 * low),
            (0.86 * w, 0.25 * h),
            (0.83 * w, -0.15 * h),
            (0.70 * w, -0.50 * h),
        ]
        mirrored = np.array([*outer, *inner]) * (side, 1.0)
        mirrored[7:] = head.surface(mirrored[7:])
        lock = curve(mirrored, closed=True)
        canvas.paint(moved(lock, 0.0, 0.02), head.deep, alpha=0.3, soft=0.015)
        canvas.paint(lock, colour)
        strands = [
            ribbon(curve(mirrored[1:5] * (1.0 - 0.05 * k, 1.0) + (0.0, 0.05 * k)), 0.022)
            for k in (1, 3)
        ]
        canvas.paint(strands[:1], towards(colour, WHITE, 0.35), alpha=0.45, clip=None)
        canvas.paint(strands[1:], towards(colour, INK, 0.45), alpha=0.4)


def _draw_fringe_of_the_bald(canvas: Canvas, head: Head, colour: Colour) -> None:
    """Draws hair at the sides only, and a shine on top."""
    canvas.paint(
        ellipse(0.12 * head.photo.light[0], -0.80 * head.height, 0.36 * head.width, 0.06),
        WHITE,
        alpha=0.30,
        soft=0.03,
    )
    turn = -np.sin(head.photo.yaw) * 0.06
    for side in (-1.0, 1.0):
        angles = np.linspace(0.62, -0.05, 12)
        outer = head.rim(angles, 0.03 * head.looks.volume)
        inner = np.array([(0.93, 0.05), (0.86, -0.20), (0.82, -0.42)]) * (head.width, head.height)
        patch = np.concatenate([outer, curve(inner)]) * (side, 1.0) + (turn, 0.0)
        canvas.paint(patch, colour, alpha=0.92, soft=0.006)
