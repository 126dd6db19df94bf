"""Face detectors: YuNet, MTCNN, OpenCV's Haar cascade, or the whole image as a face."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ageflax.errors import InputError, first_line
from ageflax.predict.detectors import weights
from ageflax.predict.detectors.detection import MIN_SCORE, Detection, Detector, Point, overlap
from ageflax.predict.detectors.haar import Haar
from ageflax.predict.detectors.mtcnn import Mtcnn
from ageflax.predict.detectors.yunet import YuNet

__all__ = [
    "MIN_SCORE",
    "Detection",
    "Detector",
    "Haar",
    "Mtcnn",
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
      name: "yunet"; "mtcnn"; "haar"; "none" for images that are faces already; a file, YuNet's .onnx
        or a cascade's .xml; or "auto", the first of the three that is available.
      min_score: lowest score of a face that YuNet or MTCNN keeps.
      say: receives a line if auto does without YuNet.

    Raises:
      InputError: the detector is unknown or unavailable.
    """
    if name == "none":
        return Whole()
    if name == "haar":
        return Haar()
    if name == "mtcnn":
        return Mtcnn(min_score=min_score)
    if name in ("yunet", "auto"):
        try:
            return YuNet(weights.yunet_weights(), name="yunet", min_score=min_score)
        except InputError as error:
            # A file that the user named has no substitute.
            if name == "yunet" or os.environ.get(weights.VARIABLE):
                raise
            return _without_yunet(first_line(error), min_score=min_score, say=say)
    path = Path(name)
    if not path.is_file():
        raise InputError(
            f"--detector={name}: no such file; expected auto, yunet, mtcnn, haar, none or a file"
        )
    if path.suffix == ".xml":
        return Haar(path)
    return YuNet(weights.read(path, f"--detector={name}"), name=name, min_score=min_score)


def _without_yunet(why: str, *, min_score: float, say: Callable[[str], None]) -> Detector:
    """The best detector that needs no download; says why, and how YuNet would differ."""
    # Of 365 faces that YuNet finds in 270 photographs from elsewhere; README.md has the table.
    try:
        detector, share = Mtcnn(min_score=min_score), "89 %"
    except InputError as error:
        why, detector, share = f"{why}; {first_line(error)}", Haar(), "54 %"
    say(
        f"{why}; using {detector.name}, which finds {share} of YuNet's faces (to have YuNet, set"
        f" {weights.VARIABLE}=FILE: {weights.ADDRESS})"
    )
    return detector
