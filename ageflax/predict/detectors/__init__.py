"""Face detectors: YuNet, OpenCV's Haar cascade, or the whole image as a face."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ageflax.errors import InputError, first_line
from ageflax.predict.detectors import weights
from ageflax.predict.detectors.detection import Detection, Detector, Point, overlap
from ageflax.predict.detectors.haar import Haar
from ageflax.predict.detectors.yunet import MIN_SCORE, YuNet

__all__ = [
    "MIN_SCORE",
    "Detection",
    "Detector",
    "Haar",
    "Point",
    "Whole",
    "YuNet",
    "open_detector",
    "overlap",
]


class Whole:
    """Takes each image as one face, for images that are cropped to faces already."""

    name = "none"

    def __call__(
        self, image: np.ndarray, *, fast: bool = False, closely: bool = True
    ) -> list[Detection]:
        """See Detector."""
        height, width = image.shape[:2]
        return [Detection((0.0, 0.0, float(width), float(height)))]


def open_detector(
    name: str = "auto", *, min_score: float = MIN_SCORE, say: Callable[[str], None]
) -> Detector:
    """Opens a detector.

    Args:
      name: "yunet"; "haar"; "none" for images that are faces already; a file, YuNet's .onnx or a
        cascade's .xml; or "auto", YuNet, or Haar if YuNet is unavailable.
      min_score: lowest score of a face that YuNet keeps.
      say: receives a line if auto falls back to Haar.

    Raises:
      InputError: the detector is unknown or unavailable.
    """
    if name == "none":
        return Whole()
    if name == "haar":
        return Haar()
    if name in ("yunet", "auto"):
        try:
            return YuNet(weights.yunet_weights(), name="yunet", min_score=min_score)
        except InputError as error:
            # A file that the user named has no substitute.
            if name == "yunet" or os.environ.get(weights.VARIABLE):
                raise
            say(f"{first_line(error)}; using Haar, which finds frontal faces only")
            return Haar()
    path = Path(name)
    if not path.is_file():
        raise InputError(
            f"--detector={name}: no such file; expected auto, yunet, haar, none or a file"
        )
    if path.suffix == ".xml":
        return Haar(path)
    return YuNet(weights.read(path, f"--detector={name}"), name=name, min_score=min_score)
