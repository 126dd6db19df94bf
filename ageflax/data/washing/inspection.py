"""One look at one image: can it be used, is it a picture at all, and what identifies it."""

import dataclasses
import hashlib
from collections.abc import Callable

import cv2
import numpy as np

from ageflax.data import images
from ageflax.data.washing.near_duplicates import perceptual_hash

# Why an image that decodes is still no photograph of a face, in the order of the checks.
FLAWS = ("too small", "all zero", "flat")
# Every reason under which an image is left out.
FAULTS = images.REASONS + FLAWS

_DIGEST_BYTES = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """What is kept of an image once it was looked at: some hundred bytes, whatever its size.

    Attributes:
      fault: one of FAULTS, "" for a good image; the other fields are empty where there is one.
      size: of the file, in bytes.
      file_digest: equal for equal files.
      pixel_digest: equal for equal pictures: same height, width and pixels once decoded.
      perceptual_hash: 64 bits, close for pictures that look alike; see near_duplicates.
    """

    fault: str = ""
    size: int = 0
    file_digest: bytes = b""
    pixel_digest: bytes = b""
    perceptual_hash: int = 0


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _flaw(image: np.ndarray, smallest_side: int, flatness: float) -> str:
    """One of FLAWS, or "" for uint8[h, w, 3] with something in it."""
    if min(image.shape[:2]) < smallest_side:
        return "too small"
    _, deviations = cv2.meanStdDev(image)
    deviation = float(deviations.max())
    if deviation == 0.0 and not image.any():
        return "all zero"
    return "flat" if deviation < flatness else ""


def inspect(read: Callable[[], bytes], *, smallest_side: int, flatness: float) -> Inspection:
    """Reads and decodes an image, and keeps what washing needs of it.

    Args:
      read: gives the file's bytes; may raise images.BadImageError.
      smallest_side: pixels; an image with a shorter side is "too small".
      flatness: grey levels of 0 to 255; where no channel's standard deviation reaches it, the image
        is "flat". 0 lets every image pass that is not all zero.
    """
    try:
        content = read()
        image = images.decode(content)
    except images.BadImageError as error:
        return Inspection(error.reason)
    if flaw := _flaw(image, smallest_side, flatness):
        return Inspection(flaw)
    height, width = image.shape[:2]
    pixels = np.ascontiguousarray(image)
    return Inspection(
        size=len(content),
        file_digest=_digest(content),
        pixel_digest=_digest(b"%d %d " % (height, width) + _digest(pixels.data)),
        perceptual_hash=perceptual_hash(image),
    )
