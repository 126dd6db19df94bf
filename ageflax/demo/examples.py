"""Drawn faces to try the page with, rendered in memory on request."""

import dataclasses
import functools
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ageflax.data import images

if TYPE_CHECKING:
    from tfds_builders.synthetic_faces.population import Subject

# No config trains on the people of this seed.
_SEED, _PEOPLE, _SIDE = 2026, 80, 320
# One per age group, women and men in turn, all found by each detector.
PORTRAITS = (59, 50, 57, 51, 74, 75, 67, 77)
# Four people in one picture.
_GROUP = (30, 37, 21, 60)


@dataclasses.dataclass(frozen=True)
class Example:
    """A picture to try.

    Attributes:
      name: name in its address.
      caption: gender and age as drawn.
    """

    name: str
    caption: str


@functools.cache
def _people() -> "dict[int, Subject]":
    from tfds_builders.synthetic_faces import population

    return {subject.number: subject for subject in population.populate(_PEOPLE, _SEED)}


def _drawn(number: int) -> bytes:
    from tfds_builders.synthetic_faces import drawing

    return drawing.photograph(_people()[number], 0, size=_SIDE, seed=_SEED)


def examples() -> list[Example]:
    """Lists all examples: portraits from the youngest to the oldest, then a group."""
    people = ((number, _people()[number]) for number in PORTRAITS)
    portraits = [
        Example(str(number), f"{person.gender}, {person.age:.0f}") for number, person in people
    ]
    return [*portraits, Example("group", "four people")]


@functools.cache
def picture(name: str) -> bytes:
    """Renders an example as JPEG.

    Raises:
      KeyError: no example has that name.
    """
    if name == "group":
        tiles = [images.decode(_drawn(number)) for number in _GROUP]
        together = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
        bgr = cv2.cvtColor(together, cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, 92))[1]
        return encoded.tobytes()
    if name not in map(str, PORTRAITS):
        raise KeyError(name)
    return _drawn(int(name))
