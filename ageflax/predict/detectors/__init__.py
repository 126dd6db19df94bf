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
    "NAMES",
    "Detection",
    "Detector",
    "Haar",
    "Mtcnn",
    "Point",
    "Whole",
    "YuNet",
    "forget",
    "open_detector",
    "overlap",
]


NAMES = ("auto", "yunet", "mtcnn", "haar", "none")


class Whole:
    """Takes each image as one face, for images that are cropped to faces already."""

    name = "none"

    def __call__(
        self, image: np.ndarray, *, fast: bool = False, closely: bool = True
    ) -> list[Detection]:
        """See Detector."""
        height, width = image.shape[:2]
        return [Detection((0.0, 0.0, float(width), float(height)))]


# Opened detectors by name, lowest score and AGEFLAX_YUNET: they are safe in threads, and a process that
# opens many searches the hub once, and is told once what it lacks.
_opened: dict[tuple[str, float, str | None], Detector] = {}


def open_detector(
    name: str = "auto", *, min_score: float = MIN_SCORE, say: Callable[[str], None]
) -> Detector:
    """Opens a detector, once per process except for files.

    Args:
      name: "yunet"; "mtcnn"; "haar"; "none" for images that are faces already; a file, YuNet's .onnx
        or a cascade's .xml; or "auto", the first of the three that is available.
      min_score: lowest score of a face that YuNet or MTCNN keeps.
      say: receives a line if auto does without YuNet.

    Raises:
      InputError: the detector is unknown or unavailable.
    """
    if name not in NAMES:
        return _of_file(Path(name), min_score=min_score)
    key = name, min_score, os.environ.get(weights.VARIABLE)
    if key not in _opened:
        _opened[key] = _open(name, min_score=min_score, say=say)
    return _opened[key]


def forget() -> None:
    """Frees the opened detectors that no one uses; the next are opened anew."""
    _opened.clear()


def _of_file(path: Path, *, min_score: float) -> Detector:
    if not path.is_file():
        raise InputError(f"--detector={path}: no such file; expected {', '.join(NAMES)} or a file")
    if path.suffix == ".xml":
        return Haar(path)
    return YuNet(weights.read(path, f"--detector={path}"), name=str(path), min_score=min_score)


def _open(name: str, *, min_score: float, say: Callable[[str], None]) -> Detector:
    if name == "none":
        return Whole()
    if name == "haar":
        return Haar()
    if name == "mtcnn":
        return Mtcnn(min_score=min_score)
    try:
        return YuNet(weights.yunet_weights(), name="yunet", min_score=min_score)
    except InputError as error:
        # A file that the user named has no substitute.
        if name == "yunet" or os.environ.get(weights.VARIABLE):
            raise
        return _without_yunet(first_line(error), min_score=min_score, say=say)


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
