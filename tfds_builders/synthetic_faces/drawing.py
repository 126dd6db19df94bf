"""Draws a photograph of a subject: the order in which its parts are painted."""

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
from .population import Subject, generator

# Increment it if a seed gives other pictures than before; it is in the metadata of builds.
DRAWING_VERSION = 1

# Separate the random numbers of looks and photographs.
_LOOKS, _PHOTOGRAPH = 1, 2


def paint(looks: Looks, photo: Photograph, background: np.ndarray) -> np.ndarray:
    """Draws a portrait, without light and lens.

    Args:
      looks: appearance of the subject.
      photo: circumstances of the photograph.
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


def photograph(subject: Subject, number: int, *, size: int, seed: int) -> bytes:
    """Draws a photograph of a subject; the result depends only on the arguments.

    Args:
      subject: subject to draw.
      number: number of the photograph.
      size: side, pixels.
      seed: random seed of the dataset.

    Returns:
      JPEG bytes.
    """
    looks = imagine(generator(_LOOKS, seed, subject.number), age=subject.age, male=subject.male)
    random = generator(_PHOTOGRAPH, seed, subject.number, number)
    photo = compose(random)
    picture = paint(looks, photo, backdrop(random, size, CLOTHES))
    return develop(random, picture, photo)
