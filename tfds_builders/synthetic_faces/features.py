"""Eyes, brows, nose, mouth and glasses."""

import numpy as np

from .canvas import Canvas, curve, ellipse, moved, ribbon
from .head import Head, towards

_EYEBALL = np.array([250.0, 246.0, 240.0])
_INK = np.array([44.0, 30.0, 36.0])
_WHITE = np.array([255.0, 255.0, 255.0])
_TEETH = np.array([250.0, 244.0, 232.0])
_MOUTH = np.array([108.0, 34.0, 44.0])
_LIP = np.array([196.0, 70.0, 82.0])
_GREY = np.array([206.0, 204.0, 204.0])


def draw_eyes(canvas: Canvas, head: Head) -> None:
    """Draws both eyes with lids, lashes and a glint."""
    for side in (-1.0, 1.0):
        if head.photo.eyelids < 0.3:
            _draw_closed_eye(canvas, head, side)
        else:
            _draw_open_eye(canvas, head, side)


def _eye_path(head: Head, side: float, heights: tuple[float, ...]) -> np.ndarray:
    """A line over an eye from its inner to its outer corner; heights in eye widths, upwards."""
    along = np.linspace(-1.0, 1.0, len(heights))
    x = side * (head.eye_distance + along * head.eye_width)
    tilt = (head.looks.eye_tilt + 0.05 * head.looks.lashes) * along
    y = head.eye_level - (np.array(heights) + tilt) * head.eye_width
    return head.surface(curve(np.stack([x, y], axis=1)))


def _draw_closed_eye(canvas: Canvas, head: Head, side: float) -> None:
    lid = _eye_path(head, side, (0.05, -0.22, -0.30, -0.22, 0.05))
    canvas.paint(ribbon(lid, 0.028), towards(head.deep, _INK, 0.7))
    _draw_lashes(canvas, head, side, downwards=True)


def _draw_open_eye(canvas: Canvas, head: Head, side: float) -> None:
    looks, photo = head.looks, head.photo
    tall = (0.50 + 0.34 * looks.child - 0.06 * looks.old) * photo.eyelids
    raised = 0.10 * max(photo.smile, 0.0)  # a smile lifts the lower lids
    droop = 0.16 * looks.old
    upper_heights = (0.0, 0.72 * tall, tall, (0.82 - droop) * tall, -0.03)
    upper = _eye_path(head, side, upper_heights)
    low = -(0.62 - raised) * tall
    lower = _eye_path(head, side, (0.0, 0.8 * low, low, 0.8 * low, -0.03))
    almond = np.concatenate([upper, lower[::-1]])
    socket = head.surface(ellipse(side * head.eye_distance, head.eye_level, 1.25 * head.eye_width))
    canvas.paint(socket, head.shade, alpha=0.30 + 0.2 * looks.old + 0.2 * looks.makeup, soft=0.03)
    canvas.paint(almond, _EYEBALL)
    clip = canvas.mask(almond)
    _draw_iris(canvas, head, side, clip)
    ink = towards(_INK, head.deep, 0.55 * (1.0 - looks.contrast))
    lid = 0.020 + 0.014 * looks.lashes - 0.004 * looks.child
    canvas.paint(moved(upper, 0.0, 0.018), _INK, alpha=0.25, clip=clip)
    canvas.paint(ribbon(upper, lid, start=0.3, end=0.5), ink)
    canvas.paint(ribbon(lower, 0.011), head.deep, alpha=0.7)
    crease = _eye_path(head, side, tuple(height + 0.26 for height in upper_heights[1:]))
    canvas.paint(ribbon(crease, 0.010 + 0.008 * looks.old), head.deep, alpha=0.55)
    _draw_lashes(canvas, head, side, downwards=False)


def _draw_iris(canvas: Canvas, head: Head, side: float, clip: np.ndarray) -> None:
    looks = head.looks
    radius = head.eye_width * (0.50 + 0.19 * looks.child)
    middle = np.array([[side * head.eye_distance, head.eye_level - 0.08 * head.eye_width]])
    x, y = head.surface(middle)[0] + head.photo.gaze * radius * 0.6
    iris = towards(looks.iris, _GREY, 0.35 * (1.0 - looks.contrast))
    canvas.paint(ellipse(x, y, radius), towards(iris, _INK, 0.55), clip=clip)
    canvas.paint(ellipse(x, y, 0.82 * radius), iris, clip=clip)
    canvas.paint(ellipse(x, y, 0.45 * radius), _INK, clip=clip)
    glint = (x - 0.32 * radius, y - 0.38 * radius)
    canvas.paint(ellipse(*glint, 0.26 * radius), _WHITE, clip=clip)


def _draw_lashes(canvas: Canvas, head: Head, side: float, *, downwards: bool) -> None:
    looks = head.looks
    if looks.lashes < 0.25:
        return
    length = 0.45 * head.eye_width * looks.lashes
    strokes = []
    for along, lean in ((0.45, 0.25), (0.75, 0.6), (0.98, 0.95)):
        x = side * (head.eye_distance + along * head.eye_width)
        arch = 0.46 * (1.0 - along**2)
        y = head.eye_level + (0.15 if downwards else -arch - looks.eye_tilt) * head.eye_width
        rise = 0.5 * length if downwards else -(1.1 - 0.6 * lean) * length
        tip = (x + side * lean * length, y + rise)
        strokes.append(ribbon(head.surface(np.array([(x, y), tip])), 0.020, start=1.0, end=0.2))
    canvas.paint(strokes, _INK)


def draw_brows(canvas: Canvas, head: Head) -> None:
    """Draws brows, thicker on masculine faces, arched on feminine ones, thin and grey on old ones."""
    looks, photo = head.looks, head.photo
    colour = towards(towards(looks.hair, _INK, 0.30), _GREY, 0.75 * looks.grey)
    colour = towards(colour, looks.skin, 0.45 * looks.child**2)
    level = head.eye_level - (0.235 + 0.03 * looks.child + 0.035 * photo.brow_lift) * head.height
    arch = 0.018 + 0.034 * looks.brow_arch
    reach = (0.235 - 0.02 * looks.child) * head.width
    for side in (-1.0, 1.0):
        frown = 0.03 * photo.brow_lift
        points = [
            (side * (head.eye_distance - reach), level - 0.4 * frown - 0.03 * looks.child),
            (side * (head.eye_distance + 0.25 * reach), level - arch),
            (side * (head.eye_distance + 1.05 * reach), level + 0.022 - 0.006 * looks.brow_arch),
        ]
        path = head.surface(curve(points))
        width = (0.048 - 0.014 * looks.child) * looks.brows
        canvas.paint(ribbon(path, width, start=0.75, end=0.15), colour, alpha=0.92)


def draw_nose(canvas: Canvas, head: Head) -> None:
    """Draws a nose with a shaded side, a lit tip and nostrils; a button on small children."""
    looks = head.looks
    half = 0.165 * head.width * looks.nose
    tip = np.array([[0.0, head.nose_level - 0.02]])
    x, y = head.surface(tip, lift=0.28)[0]
    bridge_y = head.eye_level + 0.02 + 0.07 * looks.child
    away = -1.0 if head.photo.light[0] > 0 else 1.0
    top = head.surface(np.array([[away * 0.35 * half, bridge_y]]), lift=0.08)[0]
    side = curve([top, (x + away * 0.55 * half, y - 0.07), (x + away * half, y + 0.01), (x, y)])
    canvas.paint(side, head.shade, alpha=0.65 * (1.0 - 0.55 * looks.child), soft=0.008)
    light = ellipse(x - 0.15 * away * half, y - 0.045, 0.42 * half, 0.5 * half)
    canvas.paint(light, head.bright, alpha=0.55, soft=0.010)
    base = curve(
        [
            (x - half, y - 0.012),
            (x - 0.75 * half, y + 0.025),
            (x - 0.3 * half, y + 0.018),
            (x, y + 0.032),
            (x + 0.3 * half, y + 0.018),
            (x + 0.75 * half, y + 0.025),
            (x + half, y - 0.012),
        ]
    )
    canvas.paint(ribbon(base, 0.020), head.deep, alpha=0.85)
    holes = [ellipse(x + s * 0.48 * half, y + 0.016, 0.26 * half, 0.012) for s in (-1.0, 1.0)]
    canvas.paint(holes, towards(head.deep, _MOUTH, 0.5), alpha=0.75)


def _mouth_line(head: Head, half: float, heights: tuple[float, ...]) -> np.ndarray:
    """A line across the mouth; heights in half mouth widths, downwards."""
    x = np.linspace(-half, half, len(heights))
    y = head.mouth_level + half * np.array(heights)
    return head.surface(curve(np.stack([x, y], axis=1)), lift=0.05)


def draw_mouth(canvas: Canvas, head: Head) -> None:
    """Draws lips, less full and colourful with age, and teeth if they part."""
    looks, photo = head.looks, head.photo
    half = 0.285 * head.width * looks.mouth * (1.0 + 0.22 * photo.smile)
    bend = 0.28 * photo.smile
    gap = 0.42 * photo.open * (0.6 + 0.4 * max(photo.smile, 0.0))
    full = 0.15 * looks.lips + 0.03
    corner, inner = -bend, 0.35 * bend
    upper = (corner, inner - 0.5 * full, inner - full, inner - 0.75 * full)
    top = _mouth_line(head, half, (*upper, *upper[-2::-1]))
    under = inner + gap + 1.15 * full
    bottom = _mouth_line(head, half, (corner, 0.75 * under, under, 0.75 * under, corner))
    middle = _mouth_line(head, half, (corner, 0.8 * inner, inner, 0.8 * inner, corner))
    red = towards(_LIP, np.array([172.0, 24.0, 58.0]), looks.makeup)
    strength = (0.52 + 0.40 * looks.makeup) * looks.contrast
    lips = towards(looks.skin, red, strength)
    canvas.paint(np.concatenate([top, bottom[::-1]]), lips)
    shine = head.surface(ellipse(0.0, head.mouth_level + half * (under - 0.5 * full), 0.4 * half))
    canvas.paint(shine, head.bright, alpha=0.18, soft=0.012)
    if gap > 0.05:
        jaw = inner + gap
        below = _mouth_line(head, half, (corner, 0.7 * jaw, jaw, 0.7 * jaw, corner))
        opening = np.concatenate([middle, below[::-1]])
        canvas.paint(opening, _MOUTH)
        _draw_teeth(canvas, head, half, middle, canvas.mask(opening))
    line = ribbon(middle, 0.014 + 0.004 * looks.contrast, start=0.6, end=0.6)
    canvas.paint(line, towards(_MOUTH, head.deep, 0.3), alpha=0.85)


def _draw_teeth(
    canvas: Canvas, head: Head, half: float, middle: np.ndarray, clip: np.ndarray
) -> None:
    looks = head.looks
    if looks.child > 0.93:  # no teeth yet
        return
    row = np.concatenate([middle, moved(middle[::-1], 0.0, 0.24 * half)])
    canvas.paint(row, towards(_TEETH, np.array([226.0, 206.0, 160.0]), 0.6 * looks.old), clip=clip)
    if 0.58 < looks.child < 0.80 and looks.details[60] < 0.6:  # milk teeth fall out
        at = 0.22 * half * (1.0 if looks.details[61] < 0.5 else -1.0)
        x, y = head.surface(np.array([[at, head.mouth_level + 0.1 * half]]), lift=0.05)[0]
        canvas.paint(ellipse(x, y + 0.02, 0.13 * half, 0.3 * half), _MOUTH, clip=clip)


def draw_glasses(canvas: Canvas, head: Head) -> None:
    """Draws glasses with a glare on each lens."""
    looks = head.looks
    if not looks.glasses:
        return
    tall = {"round": 1.0, "square": 0.80, "oval": 0.72}[looks.glasses]
    radius = min(1.5 * head.eye_width, 0.92 * head.eye_distance)
    lenses = []
    for side in (-1.0, 1.0):
        ring = ellipse(0.0, 0.0, 1.0)
        if looks.glasses == "square":
            ring = np.sign(ring) * np.abs(ring) ** 0.45
        place = (side * head.eye_distance, head.eye_level + 0.01)
        lenses.append(head.surface(ring * (radius, radius * tall) + place, lift=0.12))
    canvas.paint(lenses, _WHITE, alpha=0.10)
    rims = [_ring(lens, 0.030) for lens in lenses]
    bridge = np.array([lenses[0][0], lenses[1][14]])
    temples = [
        np.array([lenses[0][14], (-head.width * 1.0, head.eye_level)]),
        np.array([lenses[1][0], (head.width * 1.0, head.eye_level)]),
    ]
    bars = [ribbon(path, 0.026, start=1.0, end=1.0) for path in (bridge, *temples)]
    canvas.paint([*rims, *bars], looks.frames)
    for lens in lenses:
        x, y = lens.mean(axis=0)
        glare = curve([(x - 0.5 * radius, y), (x - 0.25 * radius, y - 0.4 * radius)])
        canvas.paint(ribbon(glare, 0.022), _WHITE, alpha=0.55)


def _ring(shape: np.ndarray, width: float) -> np.ndarray:
    """Rim of a closed shape as one polygon: along the outer edge, back along the inner edge."""
    middle = shape.mean(axis=0)
    radius = np.linalg.norm(shape - middle, axis=1).mean()
    closed = np.concatenate([shape, shape[:1]])
    inner = middle + (closed - middle) * (1.0 - width / radius)
    return np.concatenate([closed, inner[::-1]])
