"""Inspects one image: its faults, and the digests that identify it."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable

import cv2
import numpy as np

from ageflax.data import images
from ageflax.data.washing.near_duplicates import perceptual_hash

# Reasons why an image that decodes is still no photograph of a face, in the order of the checks.
FLAWS = ("too small", "all zero", "flat")
# All reasons to leave an image out.
FAULTS = images.REASONS + FLAWS

_DIGEST_BYTES = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """Result of looking at an image: some hundred bytes, whatever the image's size.

    Attributes:
      fault: one of FAULTS, or "" for a good image; the other fields are empty if there is a fault.
      size: bytes of the file.
      file_digest: hash of the file.
      pixel_digest: hash of height, width and decoded pixels.
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
    """One of FLAWS for uint8[h, w, 3], or ""."""
    if min(image.shape[:2]) < smallest_side:
        return "too small"
    _, stds = cv2.meanStdDev(image)
    std = float(stds.max())
    if std == 0.0 and not image.any():
        return "all zero"
    return "flat" if std < flatness else ""


def inspect(read: Callable[[], bytes], *, smallest_side: int, flatness: float) -> Inspection:
    """Reads and decodes an image, and keeps only the facts that washing needs.

    Args:
      read: function that gives the file's bytes; may raise images.BadImageError.
      smallest_side: pixels; an image with a shorter side is "too small".
      flatness: grey levels of 255; an image whose std is below in every channel is "flat". 0 accepts
        every image that is not all zero.
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


def by_pixels(inspections: Iterable[tuple[int, Inspection]]) -> list[list[int]]:
    """Groups the rows of good images by equal pixels; groups and rows keep the given order."""
    rows_of: dict[bytes, list[int]] = {}
    for row, inspection in inspections:
        if not inspection.fault:
            rows_of.setdefault(inspection.pixel_digest, []).append(row)
    return list(rows_of.values())
