"""One photograph of one person, drawn: the painter's order of everything in the picture."""

import numpy as np

from .accessories import draw_accessory
from .beard import draw_beard
from .canvas import Canvas
from .features import draw_brows, draw_eyes, draw_glasses, draw_mouth, draw_nose
from .figure import draw_figure
from .hair import draw_back_hair, draw_front_hair
from .head import Head, draw_ears, draw_skin, draw_wrinkles
from .looks import CLOTHES, Looks, imagine
from .photograph import Photograph, backdrop, compose, develop
from .population import Citizen, generator

# Raise it whenever the same seed gives other pictures; builds carry it in their metadata.
DRAWING_VERSION = 1

# Keeps the random numbers of looks and photographs apart.
_LOOKS, _PHOTOGRAPH = 1, 2


def paint(looks: Looks, photo: Photograph, background: np.ndarray) -> np.ndarray:
    """Draws a portrait, before light and lens.

    Args:
      looks: who.
      photo: how.
      background: uint8[size, size, 3], RGB.

    Returns:
      uint8[size, size, 3], RGB.
    """
    canvas = Canvas(background)
    head = Head(looks, photo)
    canvas.frame = photo.head_frame(head.middle)
    draw_back_hair(canvas, head)
    canvas.frame = photo.body_frame()
    draw_figure(canvas, head)
    canvas.frame = photo.head_frame(head.middle)
    draw_ears(canvas, head)
    face = draw_skin(canvas, head)
    draw_wrinkles(canvas, head, face)
    draw_eyes(canvas, head)
    draw_brows(canvas, head)
    draw_beard(canvas, head)
    draw_mouth(canvas, head)
    draw_nose(canvas, head)
    draw_front_hair(canvas, head)
    draw_glasses(canvas, head)
    draw_accessory(canvas, head)
    return canvas.finish()


def photograph(citizen: Citizen, number: int, *, size: int, seed: int) -> bytes:
    """One photograph of a person.

    The picture depends on the arguments alone, whatever else is drawn, before or beside it.

    Args:
      citizen: who.
      number: which of the person's photographs.
      size: side in pixels.
      seed: the data set's.

    Returns:
      JPEG bytes.
    """
    looks = imagine(generator(_LOOKS, seed, citizen.number), age=citizen.age, male=citizen.male)
    random = generator(_PHOTOGRAPH, seed, citizen.number, number)
    photo = compose(random)
    picture = paint(looks, photo, backdrop(random, size, CLOTHES))
    return develop(random, picture, photo)
