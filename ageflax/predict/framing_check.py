"""Checks that images which are faces already are cut as the model's training images were."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ageflax.bundle.description import Description
from ageflax.bundle.framing_errors import Offset
from ageflax.data import images
from ageflax.errors import InputError, first_line
from ageflax.predict import framing
from ageflax.predict.detectors import weights
from ageflax.predict.framing import Measured

# Images that are measured, spread over those given.
MOST = 32
# Largest harmless change of size and place, and twice the spread of one face's, which many even out.
_SIZE, _SIZE_OF_ONE = 0.1, 0.2
_PLACE, _PLACE_OF_ONE = 0.05, 0.1


def offset(measured: Measured, description: Description) -> Offset:
    """Framing of the measured images beside that of a model's training images.

    Faces of models without alignment are expected in the image's middle.
    """
    zoom = (1 + 2 * description.crop_margin) / (1 + 2 * measured.margin)
    place, expected = measured.centre, np.array((0.5, 0.5))
    if description.eyes is not None:
        place, expected = (
            np.reshape(eyes, (2, 2)).mean(0) for eyes in (measured.eyes, description.eyes)
        )
    right, down = place - (0.5 + zoom * (expected - 0.5))
    return Offset(float(zoom), float(right), float(down))


def _is_right(found: Offset, faces: int) -> bool:
    less = 1 / math.sqrt(faces)
    return (
        abs(math.log(found.zoom)) <= _SIZE + _SIZE_OF_ONE * less
        and max(abs(found.right), abs(found.down)) <= _PLACE + _PLACE_OF_ONE * less
    )


def line(measured: Measured, description: Description) -> str:
    """One line for the user: the framing is right, or off by how much and at what cost."""
    counted = f"{measured.faces} of {measured.images} images measured"
    found = offset(measured, description)
    if _is_right(found, measured.faces):
        return f"framing: as in the model's training ({counted})"
    costs = ""
    if errors := description.framing_errors:
        costs = f"by this model's own curve that costs {errors.cost(found)}; "
    keys = f"crop_margin={description.crop_margin:g}"
    if description.eyes is not None:
        keys += " and the eyes at ({:g}, {:g}), ({:g}, {:g})".format(*np.ravel(description.eyes))
    return (
        f"framing: faces {found.in_words(least=0.02)} ({counted}); {costs}run with a detector, or cut"
        f" the images to {keys}"
    )


def _content(image: str | Path | bytes | np.ndarray) -> bytes | np.ndarray:
    if isinstance(image, str | Path):
        try:
            return images.read(Path(image))
        except images.BadImageError:
            return b""
    return image


def check(given: Sequence[str | Path | bytes | np.ndarray], description: Description) -> str:
    """Measures the framing of some of the images; returns one line for the user.

    Args:
      given: files, their contents, or uint8[h, w, 3], RGB.
      description: description of the model.
    """
    if not given:
        return "framing: not checked: no photograph"
    places = np.linspace(0, len(given) - 1, min(MOST, len(given))).astype(int)
    detector = "yunet" if weights.at_hand() else "mtcnn"
    try:
        measured = framing.measure((_content(given[k]) for k in places), detector=detector)
    except InputError as error:
        return f"framing: not checked: {first_line(error)}"
    return line(measured, description)
