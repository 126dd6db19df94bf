"""From a photograph to an age: faces found, cut out as the model was trained, and judged.

    predictor = ageflax.predict.Predictor("runs/faces_age/fold_0")
    for face in predictor(["family.jpg"]):
        print(face.box, face.age, face.gender)

What is named here is imported when it is first used: `python -m ageflax.predict --help`, which runs
this file, should not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ageflax.predict.alignment import Framing
    from ageflax.predict.annotation import annotated
    from ageflax.predict.detectors.weights import open_detector
    from ageflax.predict.detectors.yunet import Detection, Detector
    from ageflax.predict.face import Answer, Face, Smoothing
    from ageflax.predict.frames import Frame, Seen, stream
    from ageflax.predict.predictor import Predictor
    from ageflax.predict.tracking import Tracker

__all__ = [
    "Answer",
    "Detection",
    "Detector",
    "Face",
    "Frame",
    "Framing",
    "Predictor",
    "Seen",
    "Smoothing",
    "Tracker",
    "annotated",
    "open_detector",
    "stream",
]

# The module of each public name.
_MODULES = {
    "annotated": "annotation",
    "Framing": "alignment",
    **dict.fromkeys(("Detection", "Detector"), "detectors.yunet"),
    "open_detector": "detectors.weights",
    **dict.fromkeys(("Answer", "Face", "Smoothing"), "face"),
    **dict.fromkeys(("Frame", "Seen", "stream"), "frames"),
    "Predictor": "predictor",
    "Tracker": "tracking",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
